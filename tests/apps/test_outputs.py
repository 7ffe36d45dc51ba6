# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Places are checked before anything is segmented."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from c2f_monai.apps.outputs import Job, check_places, made_here, plan_jobs
from c2f_monai.data.writers import write_nifti
from c2f_monai.utils import case_name

NIFTI = (".nii.gz", ".nii")


def cases_of(*images: str | Path) -> list[dict[str, str]]:
    return [{"image": str(image), "case": case_name(image)} for image in images]


def job_of(image: str | Path, mask: Path) -> Job:
    return Job(*cases_of(image), mask)


@pytest.mark.parametrize(
    ("images", "output", "expected"),
    [
        (["a.nii.gz"], "mask.nii.gz", ["mask.nii.gz"]),
        (["a.nii.gz"], "mask.NII", ["mask.NII"]),
        (["a.nii.gz"], "masks", ["masks/a_seg.nii.gz"]),
        (["dicom.v1/series.2"], "masks", ["masks/series.2_seg.nii.gz"]),
        (["a.mha", "b.nrrd"], "run.v1", ["run.v1/a_seg.nii.gz", "run.v1/b_seg.nii.gz"]),
    ],
)
def test_a_file_for_one_image_and_a_folder_for_several(images: list[str], output: str, expected: list[str]) -> None:
    jobs = plan_jobs(cases_of(*images), Path(output), NIFTI)
    assert [job.mask.as_posix() for job in jobs] == expected
    assert [list(job.files()) for job in jobs] == [[job.mask] for job in jobs]


def test_maps_lie_where_they_are_asked_for() -> None:
    (job,) = plan_jobs(cases_of("a.nii"), Path("m.nii"), NIFTI, probabilities=Path("maps"), uncertainty=Path("maps"))
    maps = [Path("maps/a_probability.nii.gz"), Path("maps/a_uncertainty.nii.gz")]
    assert list(job.files()) == [Path("m.nii"), *maps]


@pytest.mark.parametrize(
    ("images", "output", "preview", "message"),
    [
        (["a.nii", "b.nii"], "mask.nii.gz", None, "mask.nii.gz is one file, but there are 2 images: give a folder"),
        (["a.nii", "b.nii"], "masks", "a.png", "a.png is one file, but there are 2 images"),
        (["a.nii"], "mask.nrrd", None, "mask.nrrd must end in .nii.gz or .nii, or be a folder"),
        (["a.nii"], "mask.nii", "a.jpg", "a.jpg must end in .png, or be a folder"),
    ],
)
def test_a_place_that_cannot_be_meant_is_refused(
    images: list[str], output: str, preview: str | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        plan_jobs(cases_of(*images), Path(output), NIFTI, None if preview is None else Path(preview))


def test_pictures_and_probabilities_have_places_of_their_own() -> None:
    (job,) = plan_jobs(cases_of("a.nii"), Path("m"), NIFTI, Path("m"), Path("p.nii.gz"))
    assert [path.as_posix() for path in job.files()] == ["m/a_seg.nii.gz", "m/a_preview.png", "p.nii.gz"]


def write_file(path: Path, own: bool) -> Path:
    """A file of the kind that its suffix says, as the command or as another program writes it."""
    if path.suffix == ".json":
        path.write_text('{"c2f_monai": "0", "cases": {}}' if own else '{"a": 1}', encoding="utf-8")
    elif path.suffix == ".png":
        info = PngInfo()
        info.add_text("Software", "c2f_monai" if own else "other")
        Image.new("L", (2, 2)).save(path, pnginfo=info)
    else:
        write_nifti(path, np.zeros((2, 2, 2), np.uint8), np.eye(4), "c2f_monai 0 abc" if own else "FSL")
    return path


@pytest.mark.parametrize("name", ["m.nii.gz", "m.nii", "m.json", "m.png"])
def test_a_file_of_another_program_stays_unless_it_may_be_overwritten(tmp_path: Path, name: str) -> None:
    path = write_file(tmp_path / name, own=False)
    assert not made_here(path)
    job = job_of(tmp_path / "a.nii.gz", path)
    with pytest.raises(FileExistsError, match=f"{name} exists and was not written by c2f: give --overwrite"):
        check_places([job], [], overwrite=False)
    check_places([job], [], overwrite=True)
    assert made_here(write_file(path, own=True))
    check_places([job], [], overwrite=False)


def test_what_is_no_image_at_all_is_another_programs(tmp_path: Path) -> None:
    for name in ("m.nii.gz", "m.json", "m.png"):
        (tmp_path / name).write_text("text", encoding="utf-8")
        assert not made_here(tmp_path / name)
    (tmp_path / "list.json").write_text("[1]", encoding="utf-8")
    assert not made_here(tmp_path / "list.json")


def test_images_and_folders_are_never_written_over(tmp_path: Path) -> None:
    image = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4)), image)
    with pytest.raises(ValueError, match="a.nii.gz is an image to segment"):
        check_places([job_of(image, tmp_path / "." / "a.nii.gz")], [], overwrite=True)
    (tmp_path / "m.json").mkdir()
    with pytest.raises(ValueError, match="m.json is a folder"):
        check_places([job_of(image, tmp_path / "m.nii.gz")], [tmp_path / "m.json"], overwrite=True)
    with pytest.raises(ValueError, match="s.json would hold two results"):
        check_places([job_of(image, tmp_path / "m.nii.gz")], [tmp_path / "s.json"] * 2, overwrite=True)
    with pytest.raises(PermissionError, match="a.nii.gz/masks cannot be written to"):
        check_places([job_of(tmp_path / "b.nii.gz", image / "masks" / "b.nii.gz")], [], overwrite=False)
    (tmp_path / "ct").mkdir()
    with pytest.raises(ValueError, match="deep/m.nii.gz lies in the series .*ct, which would be another one then"):
        check_places([job_of(tmp_path / "ct", tmp_path / "ct" / "deep" / "m.nii.gz")], [], overwrite=True)
    assert not (tmp_path / "masks").exists()


def test_the_places_of_thousands_of_cases_are_looked_at_once_each(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    asked: list[Path] = []
    is_dir = Path.is_dir
    monkeypatch.setattr(Path, "is_dir", lambda path: bool(asked.append(path)) or is_dir(path))
    check_places([job_of(tmp_path / f"{n}.nii", tmp_path / f"{n}_seg.nii.gz") for n in range(300)], [], False)
    assert len(asked) <= 2 * 300 + 1  # of image and mask, and the folder


def test_what_other_commands_write_is_no_report(tmp_path: Path) -> None:
    """The manifest of a folder of masks, whose loss would do all of them again, and that of an export."""
    for content in ({"c2f_monai": "0", "options": {}, "cases": {}}, {"c2f_monai": "0", "views": {}}):
        (tmp_path / "a.json").write_text(json.dumps(content), encoding="utf-8")
        assert not made_here(tmp_path / "a.json")


def test_one_place_in_two_spellings_holds_one_result(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    job = job_of(tmp_path / "a.nii.gz", tmp_path / "m.nii.gz")
    with pytest.raises(ValueError, match="would hold two results"):
        check_places([job], [tmp_path / "s.json", tmp_path / "link" / "s.json"], overwrite=True)


def test_what_a_case_is_read_from_is_never_written_over(tmp_path: Path) -> None:
    for key in ("archive", "label"):
        job = Job({"image": "/tmp/x/a.nii.gz", "case": "a", key: str(tmp_path / "in.zip")}, tmp_path / "m.nii.gz")
        with pytest.raises(ValueError, match="in.zip holds images to segment, or is the label of one"):
            check_places([job], [tmp_path / "in.zip"], overwrite=True)


def test_no_result_lies_among_the_slices_of_several_series(tmp_path: Path) -> None:
    """Each is named after its UID in the folder; files there would be counted among its slices."""
    job = job_of(tmp_path / "two" / "1.2.3", tmp_path / "two" / "m.nii.gz")
    (tmp_path / "two").mkdir()
    with pytest.raises(ValueError, match="lies in the series .*two, which would be another one then"):
        check_places([job], [], overwrite=True)
