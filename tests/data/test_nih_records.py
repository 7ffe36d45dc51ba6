# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What a run of ``prepare nih`` keeps, does again, and does not touch."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from c2f_monai.apps.cli import main
from c2f_monai.data import nih
from c2f_monai.data.nih import prepare_nih
from tests.data.nih_download import AFFINE, make_patient, write_case

NUMBERS = (1, 2, 3)


@pytest.fixture
def download(tmp_path: Path) -> Path:
    for number in NUMBERS:
        write_case(tmp_path / "in", number)
    return tmp_path / "in"


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write_unpacked(root: Path, mask: np.ndarray) -> Path:
    """The label of case 2 as a file that has the same size whatever is in it."""
    folder = root / "TCIA_pancreas_labels"
    (folder / "label0002.nii.gz").unlink(missing_ok=True)
    nib.save(nib.Nifti1Image(np.flip(mask, 1).astype(np.uint8), AFFINE), folder / "label0002.nii")
    return folder / "label0002.nii"


def test_another_label_of_the_same_size_is_converted(download: Path, tmp_path: Path) -> None:
    mask = make_patient(2)[1]
    label = write_unpacked(download, mask)
    size, status = label.stat().st_size, label.stat()
    prepare_nih(download, tmp_path / "out", progress=False)
    smaller = mask & (np.arange(mask.shape[2]) != np.flatnonzero(mask.any(axis=(0, 1)))[0])
    write_unpacked(download, smaller)
    os.utime(label, ns=(status.st_atime_ns, status.st_mtime_ns))  # as unpacked from an archive
    assert label.stat().st_size == size
    report = prepare_nih(download, tmp_path / "out", progress=False)
    assert (list(report.written), sorted(report.kept)) == (["pancreas_0002"], ["pancreas_0001", "pancreas_0003"])
    written = nib.load(tmp_path / "out" / "labelsTr" / "pancreas_0002.nii.gz")
    np.testing.assert_array_equal(np.asarray(written.dataobj), smaller)


def test_other_slices_of_the_same_size_are_converted(download: Path, tmp_path: Path) -> None:
    prepare_nih(download, tmp_path / "out", progress=False)
    one = sorted((download / "PANCREAS_0003").rglob("*.dcm"))[4]
    content = bytearray(one.read_bytes())
    content[-1] ^= 1
    one.write_bytes(content)
    assert list(prepare_nih(download, tmp_path / "out", progress=False).written) == ["pancreas_0003"]


def test_a_download_that_was_unpacked_again_is_kept(download: Path, tmp_path: Path) -> None:
    prepare_nih(download, tmp_path / "out", progress=False)
    before = files_of(tmp_path / "out")
    for path in download.rglob("*"):
        os.utime(path, (1, 1))
    assert prepare_nih(download, tmp_path / "out", progress=False).written == {}
    assert files_of(tmp_path / "out") == before


@pytest.mark.parametrize("text", ["[]", "null", "{", "\udcff", '{"version": 2, "source": {"files": 12}}'])
def test_a_case_without_a_good_record_is_done_again(download: Path, tmp_path: Path, text: str) -> None:
    prepare_nih(download, tmp_path / "out", progress=False)
    before = files_of(tmp_path / "out")
    record = tmp_path / "out" / "cases" / "pancreas_0002.json"
    record.write_text(text, encoding="utf-8", errors="surrogateescape")
    assert list(prepare_nih(download, tmp_path / "out", progress=False).written) == ["pancreas_0002"]
    assert files_of(tmp_path / "out") == before
    shutil.rmtree(tmp_path / "out" / "cases")
    assert len(prepare_nih(download, tmp_path / "out", progress=False).written) == 3


@pytest.mark.parametrize("name", ["imagesTr/pancreas_0002.nii.gz", "labelsTr/pancreas_0002.nii.gz"])
def test_files_that_no_run_wrote_stay(
    download: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "out" / name
    own.parent.mkdir(parents=True)
    own.write_bytes(b"drawn by hand")
    assert main(["prepare", "nih", "--input", str(download), "--output", str(tmp_path / "out")]) == 1
    assert f"{own} is in the place of a result, and no run of prepare nih wrote it: move it" in capsys.readouterr().err
    assert files_of(tmp_path / "out") == {name: b"drawn by hand"}


def test_a_rerun_that_is_killed_leaves_no_list_and_no_record_of_half_a_case(
    download: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    label = write_unpacked(download, make_patient(2)[1])
    prepare_nih(download, tmp_path / "out", progress=False)
    before, first = files_of(tmp_path / "out"), label.read_bytes()
    write_unpacked(download, make_patient(2)[1] & (np.arange(12) < 6))
    write = nih.write_nifti

    def killed(path: Path, *args: np.ndarray) -> None:
        write(path, *args)
        if path.parent.name == "labelsTr":
            raise KeyboardInterrupt

    with monkeypatch.context() as stopped, pytest.raises(KeyboardInterrupt):
        stopped.setattr(nih, "write_nifti", killed)
        prepare_nih(download, tmp_path / "out", progress=False)
    assert not (tmp_path / "out" / "dataset.json").exists()
    assert json.loads((tmp_path / "out" / "cases" / "pancreas_0002.json").read_text(encoding="utf-8")) == {"version": 3}
    label.write_bytes(first)  # the files that are half replaced are not those of the record any more
    assert list(prepare_nih(download, tmp_path / "out", progress=False).written) == ["pancreas_0002"]
    assert files_of(tmp_path / "out") == before
