# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Where ``prepare folders`` writes: not over the user's files, nor another data set, and whole or without a list."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from c2f_monai.apps.cli import main
from c2f_monai.data import plain_folders
from c2f_monai.data.folder_pairs import FolderCases, find_folder_cases
from c2f_monai.data.plain_folders import join_masks, list_folder_cases
from c2f_monai.data.readers import read_image
from c2f_monai.utils import files
from tests.bundle import volumes

SHAPE = (3, 4, 5)


def write_nifti(path: Path, volume: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return volumes.write_nifti(path, volume)


def write_masks(root: Path, cases: tuple[str, ...] = ("c1", "c2", "c3"), organs: tuple[str, ...] = ("a", "b")) -> None:
    """Images ``im/c1.nii.gz`` and masks ``mk/c1/a.nii.gz``, each organ in a part of its own."""
    for number, case in enumerate(cases):
        write_nifti(root / "im" / f"{case}.nii.gz", np.full(SHAPE, number, np.int16))
        for part, organ in enumerate(organs):
            mask = np.zeros(SHAPE, np.uint8)
            mask[part] = 1
            write_nifti(root / "mk" / case / f"{organ}.nii.gz", mask)


def write_scans(root: Path, cases: tuple[str, ...] = ("s1", "s2")) -> Path:
    """TotalSegmentator's layout: all images are called the same, and results get links named after the cases."""
    for number, case in enumerate(cases):
        write_nifti(root / case / "ct.nii.gz", np.full(SHAPE, number, np.int16))
        write_nifti(root / case / "segmentations" / "a.nii.gz", np.ones(SHAPE, np.uint8))
    return root


def prepare(images: Path, labels: Path, output: Path, *names: str) -> int:
    places = ["--images", str(images), "--labels", str(labels), "--output", str(output)]
    return main(["prepare", "folders", *places, "--names", *names, "--folds", "2"])


def content_of(folder: Path) -> dict[str, tuple[bytes, bool]]:
    return {str(p.relative_to(folder)): (p.read_bytes(), p.is_symlink()) for p in folder.rglob("*") if p.is_file()}


def test_a_rerun_that_stops_at_a_header_has_written_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_masks(tmp_path)
    options = (tmp_path / "im", tmp_path / "mk", tmp_path / "out")
    assert prepare(*options, "a", "b") == 0
    before = content_of(tmp_path / "out")
    write_nifti(tmp_path / "mk" / "c3" / "b.nii.gz", np.zeros((3, 4, 6), np.uint8))
    assert prepare(*options, "b", "a") == 1
    assert "mk/c3/b.nii.gz has the shape (3, 4, 6), but its image" in capsys.readouterr().err
    assert content_of(tmp_path / "out") == before


def test_a_rerun_that_stops_at_voxels_leaves_no_list_of_mixed_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_masks(tmp_path)
    options = (tmp_path / "im", tmp_path / "mk", tmp_path / "out")
    assert prepare(*options, "a", "b") == 0

    def read(path: Path, **options: Any) -> Any:
        if path == tmp_path / "mk" / "c3" / "b.nii.gz":
            raise ValueError(f"{path} is damaged")
        return read_image(path, **options)

    with monkeypatch.context() as damaged:
        damaged.setattr(plain_folders, "read_image", read)
        assert prepare(*options, "b", "a") == 1
    assert "b.nii.gz is damaged" in capsys.readouterr().err
    assert not (tmp_path / "out" / "dataset.json").exists()
    assert prepare(*options, "b", "a") == 0  # labels of an earlier run are known without the list, too
    assert json.loads((tmp_path / "out" / "dataset.json").read_text(encoding="utf-8"))["labels"]["1"] == "b"
    values = [nib.load(tmp_path / "out" / "labels" / f"{case}.nii.gz").dataobj[0, 0, 0] for case in ("c1", "c2", "c3")]
    assert values == [2, 2, 2]


@pytest.mark.parametrize("listed", [False, True])
def test_label_maps_of_the_user_in_the_output_folder_stay(
    tmp_path: Path, listed: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where a data set of an earlier call lists them."""
    write_masks(tmp_path)
    for case in ("c1", "c2", "c3"):
        write_nifti(tmp_path / "labels" / f"{case}.nii.gz", np.full(SHAPE, 7, np.uint8))
    if listed:
        assert prepare(tmp_path / "im", tmp_path / "labels", tmp_path, "mine=7") == 0
    before = content_of(tmp_path)
    assert prepare(tmp_path / "im", tmp_path / "mk", tmp_path, "a") == 1
    assert "labels/c1.nii.gz is in the place of a result, and no run of prepare folders" in capsys.readouterr().err
    assert content_of(tmp_path) == before


def test_labels_of_an_earlier_version_are_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_masks(tmp_path)
    options = (tmp_path / "im", tmp_path / "mk", tmp_path / "out")
    with monkeypatch.context() as earlier:
        earlier.setattr(plain_folders, "JOINED", "")
        assert prepare(*options, "a", "b") == 0
    assert prepare(*options, "b", "a") == 0
    assert nib.load(tmp_path / "out" / "labels" / "c1.nii.gz").dataobj[0, 0, 0] == 2


@pytest.mark.parametrize("linked", [False, True])
def test_images_of_the_user_in_the_output_folder_stay(
    tmp_path: Path, linked: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    source, place = write_scans(tmp_path / "src"), tmp_path / "out" / "images" / "s1.nii.gz"
    if linked:
        place.parent.mkdir(parents=True)
        place.symlink_to(write_nifti(tmp_path / "other" / "s1.nii.gz", np.full(SHAPE, 9, np.int16)))
    else:
        write_nifti(place, np.full(SHAPE, 9, np.int16))
    before = content_of(tmp_path / "out")
    assert prepare(source, source, tmp_path / "out", "a") == 1
    assert f"{place} is in the place of a result" in capsys.readouterr().err
    assert content_of(tmp_path / "out") == before


def test_a_copy_of_an_image_is_no_link_afterwards(tmp_path: Path) -> None:
    source, place = write_scans(tmp_path / "src"), tmp_path / "out" / "images" / "s1.nii.gz"
    place.parent.mkdir(parents=True)
    shutil.copyfile(source / "s1" / "ct.nii.gz", place)
    for _ in range(2):
        assert prepare(source, source, tmp_path / "out", "a") == 0
        assert not place.is_symlink() and place.with_name("s2.nii.gz").is_symlink()


def test_copies_of_a_system_without_links_are_known_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(self: Path, target: Path) -> None:
        raise OSError("a privilege is missing")

    monkeypatch.setattr(files.Path, "symlink_to", no_links)
    source = write_scans(tmp_path / "src")
    for _ in range(2):
        assert prepare(source, source, tmp_path / "out", "a") == 0
    assert not (tmp_path / "out" / "images" / "s1.nii.gz").is_symlink()


@pytest.mark.parametrize("stopped", [False, True])
def test_links_of_an_earlier_run_are_made_anew(tmp_path: Path, stopped: bool) -> None:
    source, output = write_scans(tmp_path / "src"), tmp_path / "out"
    assert prepare(source, source, output, "a") == 0
    if stopped:
        (output / "dataset.json").unlink()
        (output / "images" / "s2.nii.gz").unlink()
    else:  # listed, though it leads to another file now
        (output / "images" / "s2.nii.gz").unlink()
        (output / "images" / "s2.nii.gz").symlink_to(tmp_path / "gone")
    assert prepare(source, source, output, "a") == 0
    assert os.path.samefile(output / "images" / "s2.nii.gz", source / "s2" / "ct.nii.gz")


@pytest.mark.parametrize("layout", ["maps", "scans"])
def test_other_images_are_another_data_set_of_the_same_name(
    tmp_path: Path, layout: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("A", "B"):
        if layout == "scans":
            write_scans(tmp_path / name)
        for case in ("c1", "c2") if layout == "maps" else ():
            write_nifti(tmp_path / name / "im" / f"{case}.nii.gz", np.zeros(SHAPE, np.int16))
            write_nifti(tmp_path / name / "lb" / f"{case}.nii.gz", np.ones(SHAPE, np.uint8))
    folders = {n: [tmp_path / n / part for part in (("im", "lb") if layout == "maps" else ("", ""))] for n in "AB"}
    output = tmp_path / "out"
    assert prepare(*folders["A"], output, "a") == 0
    before = content_of(output)
    assert prepare(*folders["B"], output, "a") == 1
    assert "out/dataset.json describes a data set of other images, such as" in capsys.readouterr().err
    assert content_of(output) == before


def test_a_data_set_grows_with_its_folders(tmp_path: Path) -> None:
    write_masks(tmp_path, ("c1", "c2"))
    options = (tmp_path / "im", tmp_path / "mk", tmp_path / "out")
    assert prepare(*options, "a") == 0
    (tmp_path / "im" / "c1.nii.gz").unlink()
    write_masks(tmp_path, ("c2", "c3"))
    assert prepare(*options, "a") == 0
    cases = json.loads((tmp_path / "out" / "dataset.json").read_text(encoding="utf-8"))["training"]
    assert [case["label"] for case in cases] == ["labels/c2.nii.gz", "labels/c3.nii.gz"]


def test_cases_that_some_disk_takes_for_one_are_refused(tmp_path: Path) -> None:
    write_masks(tmp_path, ("c1",), ("a",))
    found = find_folder_cases(tmp_path / "im", tmp_path / "mk", ["a"])
    # The disk that the test runs on may be one.
    cases = FolderCases(*({"C1": case["c1"], "c1": case["c1"]} for case in (found.images, found.labels)))
    with pytest.raises(ValueError, match="the cases 'C1' and 'c1' differ in upper and lower case"):
        list_folder_cases(cases, {1: "a"}, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_a_joined_label_says_so_in_its_header(tmp_path: Path) -> None:
    """It is no image to segment, and the next run knows it for its own."""
    write_masks(tmp_path, ("c1",))
    join_masks({"a": tmp_path / "mk" / "c1" / "a.nii.gz"}, {1: "a"}, tmp_path / "c1.nii.gz")
    assert bytes(nib.load(tmp_path / "c1.nii.gz").header["descrip"]).startswith(b"masks joined by c2f_monai")
