# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``c2f segment`` on small files, with the tiny network."""

from __future__ import annotations

import csv
import json
import os
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from c2f_monai.apps.cli import main
from c2f_monai.apps.segmenter import Segmenter
from c2f_monai.metrics.tables import read_cases
from tests.bundle.conftest import TINY
from tests.bundle.volumes import make_volume, write_dicom_series, write_nifti

AFFINE = np.diag([2.0, 2.0, 2.5, 1.0])

Segment = Callable[..., int]


@pytest.fixture
def segment(tiny_weights: Path, tmp_path: Path) -> Segment:
    """The command with the tiny network on the CPU; returns its exit status."""
    overlay = tmp_path / "tiny.json"
    overlay.write_text(json.dumps(TINY), encoding="utf-8")
    model = ["--model", str(tiny_weights), "--config", "three_views.json", "--config", str(overlay), "--device", "cpu"]

    def run(*words: Any) -> int:
        return main(["segment", *model, *map(str, words)])

    return run


def read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def test_one_image_with_everything_beside_it(
    segment: Segment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = write_nifti(tmp_path / "ct.nii.gz", make_volume(), AFFINE)
    names = {"--preview": "p.png", "--statistics": "s.json", "--report": "r.json", "--probabilities": "q.nii.gz"}
    words = [word for option, name in names.items() for word in (option, tmp_path / name)]
    assert segment(image, tmp_path / "m.nii.gz", *words, "--verbose") == 0
    mask, probability = (nib.load(tmp_path / name) for name in ("m.nii.gz", "q.nii.gz"))
    values = np.asarray(mask.dataobj)
    assert mask.get_data_dtype() == np.uint8 and np.array_equal(mask.affine, AFFINE)
    assert np.array_equal(np.asarray(probability.dataobj) >= 0.5, values > 0)
    found = read_json(tmp_path / "s.json")["cases"]["ct"]
    assert found["ml"] == pytest.approx(values.sum() * 0.010)
    assert found["mean_hu"] == pytest.approx(make_volume()[values > 0].mean())
    report = read_json(tmp_path / "r.json")
    assert report["precision"] == "float32" and len(next(iter(report["weights"].values()))) == 64
    assert report["versions"]["torch"] and report["cases"]["ct"]["ml"] == pytest.approx(found["ml"])
    assert [entry["index"] for entry in report["cases"]["ct"]["rounds"]] == [0, 1]
    with Image.open(tmp_path / "p.png") as picture:
        assert picture.width > 500
    out = capsys.readouterr().out
    assert f"ct: {found['ml']:.1f} ml, 1 rounds" in out and "round 1:" in out


def test_a_folder_of_masks_is_gone_on_with_where_it_stopped(
    segment: Segment, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        write_nifti(tmp_path / f"{name}.nii.gz", make_volume(), AFFINE)
    write_dicom_series(tmp_path / "archive" / "patient" / "series", make_volume(), AFFINE)
    for name in ("a", "b"):
        shutil.move(tmp_path / f"{name}.nii.gz", tmp_path / "archive" / "patient")
    out, statistics = tmp_path / "masks", tmp_path / "s.json"
    words = (tmp_path / "archive", out, "--statistics", statistics, "--quiet")
    assert segment(*words) == 0
    assert capsys.readouterr().out == ""
    masks = sorted(out.glob("patient/*"))
    assert [path.name for path in masks] == ["a_seg.nii.gz", "b_seg.nii.gz", "series_seg.nii.gz"]
    assert list(read_cases(out / "cases.csv", ["ml"])) == ["patient/a", "patient/b", "patient/series"]
    before = read_json(statistics)
    masks[1].unlink()
    seen: list[str] = []
    each = Segmenter.each_case

    def counted(self: Segmenter, cases: list[dict[str, Any]], **more: Any) -> Any:
        seen.extend(case["case"] for case in cases)
        return each(self, cases, **more)

    monkeypatch.setattr(Segmenter, "each_case", counted)
    assert segment(*words[:-1]) == 0
    assert seen == ["patient/b"]
    assert "2 of 3 cases are done already" in capsys.readouterr().out
    assert read_json(statistics) == before
    # Pictures that are not there yet need the cases again.
    assert segment(*words, "--preview", out) == 0
    assert len(seen) == 4 and len(list(out.glob("patient/*_preview.png"))) == 3
    capsys.readouterr()
    assert segment(*words, "--config", "network/deeplab.json") == 1  # another answer
    assert "error: " in capsys.readouterr().err
    assert segment(*words, "--overwrite") == 0 and len(seen) == 7


def test_a_bad_case_costs_no_other(segment: Segment, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in ("a", "c"):
        write_nifti(folder / f"{name}.nii.gz", make_volume(), AFFINE)
    write_nifti(folder / "b.nii.gz", np.full((16, 16, 12), np.nan, np.float32), AFFINE)
    assert segment(folder, out) == 1
    error = capsys.readouterr().err
    assert f"error: 1 of 3 cases failed, see {out}: {folder / 'b.nii.gz'}: 3072 voxels are NaN" in error
    assert sorted(path.name for path in out.glob("*.nii.gz")) == ["a_seg.nii.gz", "c_seg.nii.gz"]
    assert [line.split(",")[1] for line in (out / "cases.csv").read_text().splitlines()] == [
        "status",
        "done",
        "failed",
        "done",
    ]
    assert segment(folder, tmp_path / "strict", "--strict") == 1
    assert [path.name for path in (tmp_path / "strict").glob("*.nii.gz")] == ["a_seg.nii.gz"]


def test_nothing_starts_where_something_does_not_fit(
    segment: Segment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = write_nifti(tmp_path / "ct.nii.gz", make_volume((8, 8, 8)), AFFINE)
    mask = tmp_path / "m.nii.gz"
    for words, message in (
        ((tmp_path / "no.nii.gz", mask), "no.nii.gz does not exist."),
        ((image, tmp_path / "m.nrrd"), "m.nrrd must end in .nii.gz or .nii, or be a folder."),
        ((image, image, "--overwrite"), "ct.nii.gz is an image to segment: write to another place."),
        ((image, mask, "--device", "gpu:99"), "there is no device gpu:99 here"),
        ((image, mask, "--model", "liver"), "there is no model liver: give one of pancreas"),
        ((image, mask, "--config", "no.json"), "there is no configuration no.json"),
    ):
        assert segment(*words) == 1
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1 and error.startswith("error: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ct.nii.gz", "tiny.json"]


def test_a_mask_of_the_command_is_replaced_and_another_file_is_not(
    segment: Segment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = write_nifti(tmp_path / "ct.nii.gz", make_volume((16, 16, 12)), AFFINE)
    mask = write_nifti(tmp_path / "m.nii.gz", np.ones((2, 2, 2), np.uint8))
    assert segment(image, mask) == 1
    assert "was not written by c2f" in capsys.readouterr().err and nib.load(mask).shape == (2, 2, 2)
    assert segment(image, mask, "--overwrite") == 0
    assert nib.load(mask).shape == (16, 16, 12)
    assert segment(image, mask) == 0


def test_masks_beside_their_images_are_no_images(segment: Segment, tmp_path: Path) -> None:
    write_nifti(tmp_path / "a.nii.gz", make_volume(), AFFINE)
    assert segment(tmp_path, tmp_path) == 0 and segment(tmp_path, tmp_path) == 0
    assert sorted(path.name for path in tmp_path.glob("*.nii.gz")) == ["a.nii.gz", "a_seg.nii.gz"]


def test_an_image_that_was_replaced_is_segmented_again(segment: Segment, tmp_path: Path) -> None:
    image, mask = write_nifti(tmp_path / "a.nii.gz", make_volume(), AFFINE), tmp_path / "m.nii.gz"
    assert segment(image, mask) == 0
    write_nifti(image, np.full((16, 16, 12), -1000, np.int16), AFFINE)
    os.utime(image, (time.time() + 10, time.time() + 10))
    assert segment(image, mask) == 0
    assert nib.load(mask).shape == (16, 16, 12)


def test_a_series_takes_no_mask_into_its_folder(
    segment: Segment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    series = write_dicom_series(tmp_path / "ct", make_volume(), AFFINE)
    assert segment(series, tmp_path / "ct" / "mask.nii.gz") == 1
    assert "lies in the series" in capsys.readouterr().err
    assert not list((tmp_path / "ct").glob("*.nii.gz"))


def test_a_page_of_the_folder(segment: Segment, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        (tmp_path / "images").mkdir(exist_ok=True)
        write_nifti(tmp_path / "images" / f"{name}.nii.gz", make_volume(), AFFINE)
    assert segment(tmp_path / "images" / "a.nii.gz", tmp_path / "m.nii.gz", "--html") == 1
    assert "--html is about a folder of masks" in capsys.readouterr().err and not (tmp_path / "m.nii.gz").exists()
    assert segment(tmp_path / "images", tmp_path / "masks", "--html") == 0
    page = (tmp_path / "masks" / "report.html").read_text(encoding="utf-8")
    assert page.count('class="has-slices"') == 2 and page.count("1, fixed rounds") + page.count("1, max rounds") == 2
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "masks" / "report.html")


def test_the_models_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("pancreas (default): ") and "model.pt, " in lines[1]


def write_archive(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        write_nifti(folder / f"{number}.nii.gz", make_volume(seed=number), AFFINE)
    return folder


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "cases.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_shares_of_an_archive_make_one_table(
    segment: Segment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive, out = write_archive(tmp_path / "archive", 4), tmp_path / "masks"
    # The third of the shares is lost; more shares than cases leave some without any.
    for shard, cases in (("1/3", ["0", "3"]), ("2/3", ["1"]), ("9/9", [])):
        assert segment(archive, out, "--shard", shard) == 0
        number, shares = shard.split("/")
        assert f"share {number} of {shares}: {len(cases)} cases" in capsys.readouterr().out
        written = (out / "shards" / f"{number}-of-{shares}").rglob("*_seg.nii.gz")
        assert sorted(path.name[:1] for path in written) == cases
    assert segment(archive, out) == 0  # takes in what is there, does what was lost
    said = capsys.readouterr().out
    assert "3 cases taken in from shares" in said and "2: " in said and "0: " not in said
    assert sorted(read_cases(out / "cases.csv")) == ["0", "1", "2", "3"] and {
        row["status"] for row in rows_of(out)
    } == {"done"}
    assert sorted(path.name for path in out.rglob("*_seg.nii.gz")) == [f"{number}_seg.nii.gz" for number in range(4)]
    assert not list((out / "shards").iterdir())
    assert segment(archive, tmp_path / "at once") == 0
    once, shared = (
        {row["case"]: row | {"seconds": ""} for row in rows_of(place)} for place in (tmp_path / "at once", out)
    )
    assert once == shared
    capsys.readouterr()
    assert segment(archive, out) == 0 and "4 of 4 cases are done already" in capsys.readouterr().out
    assert segment(archive, out, "--shard", "1/3") == 0 and "share 1 of 3: 0 cases" in capsys.readouterr().out


def test_a_share_that_was_made_otherwise_or_of_another_image_is_not_taken_in(
    segment: Segment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive, out = write_archive(tmp_path / "archive", 2), tmp_path / "masks"
    other = tmp_path / "other.json"
    other.write_text('{"max_rounds": 0}', encoding="utf-8")
    assert segment(archive, out, "--shard", "1/2") == 0
    assert segment(archive, out, "--config", other) == 1
    assert "max_rounds 1 there, 0 now" in capsys.readouterr().err
    write_nifti(archive / "0.nii.gz", make_volume(seed=7), AFFINE)
    assert segment(archive, out) == 0
    assert "taken in" not in (said := capsys.readouterr().out) and "0: " in said and "1: " in said


def test_a_share_does_what_the_folder_of_all_has_not_done_like_this(
    segment: Segment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive, out = write_archive(tmp_path / "archive", 3), tmp_path / "masks"
    other = tmp_path / "other.json"
    other.write_text('{"max_rounds": 0}', encoding="utf-8")
    assert segment(archive, out) == 0
    capsys.readouterr()

    assert segment(archive, out, "--shard", "1/2", "--config", other) == 1  # as without --shard
    assert f"{out} holds masks that were made otherwise (max_rounds 1 there, 0 now)" in capsys.readouterr().err
    assert not (out / "shards").exists()

    write_nifti(archive / "2.nii.gz", make_volume(seed=7), AFFINE)
    assert segment(archive, out, "--shard", "1/2") == 0
    assert "share 1 of 2: 1 cases" in (said := capsys.readouterr().out) and "2: " in said
    assert segment(archive, out) == 0
    assert "1 cases taken in from shares" in (said := capsys.readouterr().out) and "2 of 3 cases" not in said

    before = (out / "0_seg.nii.gz").stat().st_mtime_ns
    assert segment(archive, out, "--shard", "1/2", "--overwrite", "--config", other) == 0
    assert "share 1 of 2: 2 cases" in capsys.readouterr().out
    share = out / "shards" / "1-of-2"
    assert {row["case"]: row["rounds"] for row in rows_of(share)} == {"0": "0", "2": "0"}
    assert (out / "0_seg.nii.gz").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["masks", "--shard", "0/4"], "must be a share such as 3/8, from 1/8 to 8/8, got '0/4'"),
        (["masks", "--shard", "5/4"], "got '5/4'"),
        (["masks", "--shard", "1"], "got '1'"),
        (["mask.nii.gz", "--shard", "1/4"], "--shard is about a folder of masks"),
        (["masks", "--shard", "1/4", "--html"], "call c2f report when all shares are done"),
    ],
)
def test_what_is_no_share_is_refused(
    words: list[str], message: str, segment: Segment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = write_archive(tmp_path / "archive", 1)
    try:
        status = segment(archive, tmp_path / words[0], *words[1:])
    except SystemExit as end:
        status = int(end.code or 0)
    assert status != 0 and message in capsys.readouterr().err


def test_a_mask_that_was_corrected_by_hand_is_not_replaced(
    segment: Segment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By a program that keeps the header, which says that a run made it."""
    image, out = write_nifti(tmp_path / "a.nii.gz", make_volume(), AFFINE), tmp_path / "out"
    assert segment(image, out) == 0
    mask = out / "a_seg.nii.gz"
    made = nib.load(mask)
    voxels = 1 - np.asarray(made.dataobj).astype(np.uint8)
    nib.save(nib.Nifti1Image(voxels, made.affine, made.header), mask)
    corrected = mask.read_bytes()
    assert segment(image, out) == 0  # it is done
    for words in (("--report", tmp_path / "r.json"), ("--probabilities", out)):  # which need the case again
        capsys.readouterr()
        assert segment(image, out, *words) == 1
        assert "a_seg.nii.gz was changed since a run made it, and would be replaced" in capsys.readouterr().err
        assert mask.read_bytes() == corrected
    os.utime(image, (time.time() + 10, time.time() + 10))
    assert segment(image, out) == 1 and mask.read_bytes() == corrected
    assert segment(image, out, "--overwrite") == 0 and mask.read_bytes() != corrected


def test_what_lies_beside_a_mask_is_of_the_same_run(segment: Segment, tmp_path: Path) -> None:
    """The image is another one, the mask is made again without the rest, and then the rest is asked for again."""
    image, out, statistics = write_nifti(tmp_path / "a.nii.gz", make_volume(), AFFINE), tmp_path / "out", "s.json"
    words = (image, out, "--statistics", tmp_path / statistics, "--probabilities", out)
    assert segment(*words) == 0
    before = read_json(tmp_path / statistics), (out / "a_probability.nii.gz").read_bytes()
    write_nifti(image, make_volume(seed=5), AFFINE)
    os.utime(image, (time.time() + 10, time.time() + 10))
    assert segment(image, out) == 0
    assert segment(*words) == 0
    after = read_json(tmp_path / statistics), (out / "a_probability.nii.gz").read_bytes()
    assert after[0] != before[0] and after[1] != before[1]
    assert segment(image, tmp_path / "fresh", "--statistics", tmp_path / "f.json", "--probabilities", out / "f") == 0
    assert after[0]["cases"] == read_json(tmp_path / "f.json")["cases"]


def test_statistics_of_another_folder_are_not_taken_for_these(segment: Segment, tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("two", 5)):
        (tmp_path / name).mkdir()
        write_nifti(tmp_path / name / "a.nii.gz", make_volume(seed=seed), AFFINE)
    assert segment(tmp_path / "one", tmp_path / "out1", "--statistics", tmp_path / "s.json") == 0
    first = read_json(tmp_path / "s.json")["cases"]
    assert segment(tmp_path / "two", tmp_path / "out2") == 0
    assert segment(tmp_path / "two", tmp_path / "out2", "--statistics", tmp_path / "s.json") == 0
    assert read_json(tmp_path / "s.json")["cases"] != first


def test_a_case_that_fails_now_leaves_no_statistics_of_before(segment: Segment, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a", "b"):
        write_nifti(folder / f"{name}.nii.gz", make_volume(), AFFINE)
    words = (folder, tmp_path / "out", "--statistics", tmp_path / "s.json")
    assert segment(*words) == 0 and sorted(read_json(tmp_path / "s.json")["cases"]) == ["a", "b"]
    write_nifti(folder / "b.nii.gz", np.full((16, 16, 12), np.nan, np.float32), AFFINE)
    assert segment(*words) == 1
    assert sorted(read_json(tmp_path / "s.json")["cases"]) == ["a"]


def test_another_image_of_the_same_size_and_time_is_another_one(
    segment: Segment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unpacked files of one shape, by programs that set times."""
    for name, seed in (("one", 0), ("two", 5)):
        (tmp_path / name).mkdir()
        os.utime(write_nifti(tmp_path / name / "a.nii", make_volume(seed=seed), AFFINE), (1e9, 1e9))
    assert segment(tmp_path / "one", tmp_path / "out") == 0
    assert segment(tmp_path / "two", tmp_path / "out") == 1
    assert "belongs to" in capsys.readouterr().err
    (tmp_path / "one").rename(tmp_path / "moved")
    assert segment(tmp_path / "moved", tmp_path / "out") == 0
    assert "1 of 1 cases are done already" in capsys.readouterr().out


def test_an_error_about_a_zipped_image_names_the_zip(
    segment: Segment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where it was unpacked to is gone by then."""
    write_nifti(tmp_path / "b.nii.gz", np.full((16, 16, 12), np.nan, np.float32), AFFINE)
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        archive.write(tmp_path / "b.nii.gz", "b.nii.gz")
    assert segment(tmp_path / "in.zip", tmp_path / "masks.v1.2") == 1
    assert f"{tmp_path / 'in.zip'}/b.nii.gz: 3072 voxels are NaN" in capsys.readouterr().err
    assert f"{tmp_path / 'in.zip'}/b.nii.gz" in (tmp_path / "masks.v1.2" / "cases.csv").read_text(encoding="utf-8")
