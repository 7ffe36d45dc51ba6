# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``c2f segment --output-type dicom-seg`` and ``rtstruct``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from c2f_monai.apps.cli import main
from tests.bundle.conftest import TINY
from tests.bundle.volumes import make_volume, write_dicom_series, write_nifti

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("highdicom")
AFFINE = np.diag([2.0, 2.0, 2.5, 1.0])


def test_dicom_of_a_series_and_a_refusal_of_a_file(
    tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overlay = tmp_path / "tiny.json"
    overlay.write_text(json.dumps(TINY), encoding="utf-8")
    model = ["--model", tiny_weights, "--config", "three_views.json", "--config", overlay, "--device", "cpu"]
    series = write_dicom_series(tmp_path / "in" / "ct", make_volume(), AFFINE)
    image = write_nifti(tmp_path / "in" / "a.nii.gz", make_volume(), AFFINE)

    def segment(*words: object) -> int:
        return main(["segment", *map(str, model), *map(str, words)])

    assert segment(image, tmp_path / "no.dcm", "--output-type", "dicom-seg") == 1
    assert "a.nii.gz is no DICOM series, which DICOM output refers to" in capsys.readouterr().err
    assert segment(tmp_path / "in", tmp_path / "out", "--output-type", "rtstruct") == 1
    assert "1 of 2 cases failed" in capsys.readouterr().err
    assert pydicom.dcmread(tmp_path / "out" / "ct_seg.dcm").Modality == "RTSTRUCT"
    before = (tmp_path / "out" / "ct_seg.dcm").read_bytes()
    assert segment(series.parent, tmp_path / "out", "--output-type", "rtstruct") == 1
    assert (tmp_path / "out" / "ct_seg.dcm").read_bytes() == before
    capsys.readouterr()
    assert segment(series.parent, tmp_path / "out", "--output-type", "dicom-seg") == 1
    assert "output_type rtstruct there, dicom-seg now" in capsys.readouterr().err
    assert segment(series, tmp_path / "seg.dcm", "--output-type", "dicom-seg") == 0
    assert pydicom.dcmread(tmp_path / "seg.dcm").Modality == "SEG"
    assert segment(series, tmp_path / "seg.dcm", "--output-type", "dicom-seg") == 0  # its own is replaced
