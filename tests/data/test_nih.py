# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The Pancreas-CT download in small: converted, broken cases listed, continued, and the same twice."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from c2f_monai.data import nih
from c2f_monai.data.nih import find_nih_cases, prepare_nih
from tests.data.nih_download import AFFINE, SHAPE, make_patient, write_case, write_label, write_series

NUMBERS = (1, 2, 3, 24, 26)  # 25 was withdrawn from the collection


@pytest.fixture(scope="module")
def download(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("Pancreas-CT")
    for number in NUMBERS:
        write_case(root, number)
    return root


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_images_are_hu_on_the_scanners_grid_and_labels_lie_on_them(download: Path, tmp_path: Path) -> None:
    report = prepare_nih(download, tmp_path, progress=False)
    assert (len(report.written), report.kept, report.skipped) == (5, {}, {})
    for number in NUMBERS:
        hu, mask = make_patient(number)
        image, label = (nib.load(tmp_path / f / f"pancreas_{number:04d}.nii.gz") for f in ("imagesTr", "labelsTr"))
        np.testing.assert_array_equal(np.asarray(image.dataobj), hu)
        np.testing.assert_array_equal(np.asarray(label.dataobj), mask)
        assert (image.get_data_dtype(), label.get_data_dtype()) == (np.int16, np.uint8)
        for volume in (image, label):
            np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-4)
    record = json.loads((tmp_path / "cases" / "pancreas_0024.json").read_text(encoding="utf-8"))
    assert (record["change"], record["evidence"]) == ("mirrored front-back", "voxels")
    assert record["instance_axcodes"] == "PLS"
    assert record["spacing"] == [0.8, 0.8, 1.5] and record["foreground"] == make_patient(24)[1].sum()


def test_folds_go_by_the_cases_numbers(download: Path, tmp_path: Path) -> None:
    content = json.loads(prepare_nih(download, tmp_path, progress=False).dataset.read_text(encoding="utf-8"))
    names = [f"pancreas_{number:04d}.nii.gz" for number in NUMBERS]
    assert content["training"] == [
        {"image": f"imagesTr/{name}", "label": f"labelsTr/{name}", "fold": fold}
        for name, fold in zip(names, (0, 0, 0, 1, 1), strict=True)
    ]
    assert (content["labels"], content["numTraining"], content["skipped"]) == (
        {"0": "background", "1": "pancreas"},
        5,
        [],
    )


def test_two_runs_write_the_same_bytes_and_a_killed_one_continues(
    download: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_nih(download, tmp_path / "one", progress=False)

    class KilledError(Exception):
        pass

    written: list[Path] = []
    write = nih.write_nifti

    def killed(path: Path, *args: np.ndarray) -> None:
        if len(written) == 5:  # the image of the third case is written, its label not
            raise KilledError
        written.append(path)
        write(path, *args)

    monkeypatch.setattr(nih, "write_nifti", killed)
    with pytest.raises(KilledError):
        prepare_nih(download, tmp_path / "two", progress=False)
    assert not (tmp_path / "two" / "dataset.json").exists()
    monkeypatch.setattr(nih, "write_nifti", write)
    report = prepare_nih(download, tmp_path / "two", progress=False)
    assert (list(report.kept), sorted(report.written)) == (
        ["pancreas_0001", "pancreas_0002"],
        ["pancreas_0003", "pancreas_0024", "pancreas_0026"],
    )
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")
    assert prepare_nih(download, tmp_path / "two", progress=False).written == {}
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


def test_a_case_whose_files_changed_is_written_again(download: Path, tmp_path: Path) -> None:
    source = shutil.copytree(download, tmp_path / "in")
    prepare_nih(source, tmp_path / "out", progress=False)
    shutil.rmtree(source / "PANCREAS_0002")
    write_series(source, 2, make_patient(2, (30, 30, 13))[0])
    write_label(source, 2, make_patient(2, (30, 30, 13))[1], AFFINE)
    report = prepare_nih(source, tmp_path / "out", progress=False)
    assert list(report.written) == ["pancreas_0002"]
    assert nib.load(tmp_path / "out" / "imagesTr" / "pancreas_0002.nii.gz").shape == (30, 30, 13)


def series_of(root: Path, number: int) -> list[Path]:
    return sorted((root / f"PANCREAS_{number:04d}").rglob("*.dcm"))


def no_label(root: Path) -> None:
    (root / "TCIA_pancreas_labels" / "label0002.nii.gz").unlink()


def no_series(root: Path) -> None:
    shutil.rmtree(root / "PANCREAS_0002")


def missing_slice(root: Path) -> None:
    series_of(root, 2)[5].unlink()


def missing_last_slice(root: Path) -> None:
    series_of(root, 2)[-1].unlink()


def unreadable_slice(root: Path) -> None:
    series_of(root, 2)[5].write_bytes(b"not DICOM")


def two_series(root: Path) -> None:
    shutil.copytree(series_of(root, 2)[0].parent, root / "PANCREAS_0002" / "again")


def damaged_label(root: Path) -> None:
    path = root / "TCIA_pancreas_labels" / "label0002.nii.gz"
    path.write_bytes(path.read_bytes()[:-60])


def empty_label(root: Path) -> None:
    write_label(root, 2, np.zeros(SHAPE), AFFINE)


def label_of_a_slice(root: Path) -> None:
    write_label(root, 2, make_patient(2)[1][:, :, 4], AFFINE)


def label_of_two_channels(root: Path) -> None:
    write_label(root, 2, np.stack([make_patient(2)[1]] * 2, axis=-1), AFFINE)


def flat_image(root: Path) -> None:
    shutil.rmtree(root / "PANCREAS_0002")
    write_series(root, 2, np.full(SHAPE, 40, np.int16))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (no_label, "there is no label"),
        (no_series, "there is no image series"),
        (missing_slice, "a slice is missing between PANCREAS_0002/"),
        (missing_last_slice, "label0002.nii.gz: the label has the shape (30, 30, 12), the image (30, 30, 11)"),
        (unreadable_slice, "_0005.dcm cannot be read as DICOM"),
        (two_series, "there are 2 image series folders or files: PANCREAS_0002/"),
        (damaged_label, "label0002.nii.gz cannot be read: "),
        (empty_label, "label0002.nii.gz: the label is empty"),
        (label_of_a_slice, "label0002.nii.gz has the shape (30, 30), but a label has three axes"),
        (label_of_two_channels, "label0002.nii.gz has the shape (30, 30, 12, 2), but a label has three axes"),
        (flat_image, "label0002.nii.gz: the label's orientation is not clear: "),
    ],
)
def test_broken_cases_are_skipped_and_listed(
    download: Path, tmp_path: Path, damage: Callable[[Path], None], reason: str
) -> None:
    source = shutil.copytree(download, tmp_path / "in")
    damage(source)
    report = prepare_nih(source, tmp_path / "out", progress=False)
    assert list(report.skipped) == ["pancreas_0002"] and reason in report.skipped["pancreas_0002"]
    content = json.loads(report.dataset.read_text(encoding="utf-8"))
    assert content["skipped"] == [{"case": "pancreas_0002", "reason": report.skipped["pancreas_0002"]}]
    # The others stay in the folds of their numbers.
    assert [case["fold"] for case in content["training"]] == [0, 0, 1, 1]
    assert not list((tmp_path / "out").rglob("pancreas_0002*"))


@pytest.mark.parametrize(("folds", "expected"), [(4, [0, 0, 1, 1, 2, 2, 3, 3]), (2, [0, 0, 0, 0, 1, 1, 1, 1])])
def test_a_fold_is_that_of_the_whole_collection(tmp_path: Path, folds: int, expected: list[int]) -> None:
    """20, 20, 21 and 21 cases: 1 to 20, 21 to 40, 41 to 61, 62 to 82; halves of 41."""
    numbers = (1, 20, 21, 40, 42, 61, 62, 82)
    for number in numbers:
        write_case(tmp_path / "in", number)
    content = json.loads(
        prepare_nih(tmp_path / "in", tmp_path / "out", folds, progress=False).dataset.read_text(encoding="utf-8")
    )
    assert [case["fold"] for case in content["training"]] == expected


def test_a_case_that_the_collection_never_had_is_skipped(download: Path, tmp_path: Path) -> None:
    source = shutil.copytree(download, tmp_path / "in")
    write_case(source, 83)
    report = prepare_nih(source, tmp_path / "out", progress=False)
    assert report.skipped == {"pancreas_0083": "the collection has the cases 1 to 82."}


def write_unclear(root: Path, number: int) -> np.ndarray:
    """A case whose other side looks nearly like the organ; the label is flipped as all are."""
    hu, mask = make_patient(number)
    hu[mask[::-1]] = np.where(np.random.default_rng(0).random(mask.sum()) < 0.75, 90, -100)
    write_series(root, number, hu)
    write_label(root, number, np.flip(mask, 1), np.diag([-0.8, -0.8, 1.5, 1.0]))
    return mask


def test_a_label_that_does_not_tell_alone_lies_as_the_others(download: Path, tmp_path: Path) -> None:
    source = shutil.copytree(download, tmp_path / "in")
    mask = write_unclear(source, 6)
    report = prepare_nih(source, tmp_path / "out", progress=False)
    assert report.skipped == {} and report.written["pancreas_0006"]["evidence"] == "collection"
    label = nib.load(tmp_path / "out" / "labelsTr" / "pancreas_0006.nii.gz")
    np.testing.assert_array_equal(np.asarray(label.dataobj), mask)
    names = [Path(case["image"]).name for case in json.loads(report.dataset.read_text(encoding="utf-8"))["training"]]
    assert names == sorted(names) and len(names) == 6
    assert len(prepare_nih(source, tmp_path / "out", progress=False).kept) == 6


def test_two_labels_are_too_few_to_say_how_all_lie(tmp_path: Path) -> None:
    for number in (1, 2):
        write_case(tmp_path / "in", number)
    write_unclear(tmp_path / "in", 6)
    report = prepare_nih(tmp_path / "in", tmp_path / "out", progress=False)
    assert "orientation is not clear" in report.skipped["pancreas_0006"]


def test_no_usable_case_is_an_error(tmp_path: Path) -> None:
    write_case(tmp_path, 7)
    missing_slice_7 = series_of(tmp_path, 7)[4]
    missing_slice_7.unlink()
    with pytest.raises(ValueError, match="no case can be used: pancreas_0007: a slice is missing"):
        prepare_nih(tmp_path, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("kept", "message"),
    [("TCIA_pancreas_labels", "holds no PANCREAS_0001 folders"), ("PANCREAS_0001", "holds no labels such as")],
)
def test_half_a_download_is_told(download: Path, tmp_path: Path, kept: str, message: str) -> None:
    shutil.copytree(download / kept, tmp_path / "half" / kept)
    with pytest.raises(FileNotFoundError, match=message):
        find_nih_cases(tmp_path / "half")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        find_nih_cases(tmp_path / "none")
