# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``c2f segment --output-type dicom-seg`` and ``rtstruct``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from c2f_monai import Segmenter, segment
from c2f_monai.apps.cli import main
from c2f_monai.apps.training_config import parse_option
from c2f_monai.inferers import CoarseToFineInferer
from tests.bundle.conftest import TINY
from tests.bundle.volumes import make_volume, write_dicom_series, write_nifti

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("highdicom")
AFFINE = np.diag([2.0, 2.0, 2.5, 1.0])


def test_dicom_of_a_series_and_a_refusal_of_a_file(
    tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overlay = tmp_path / "tiny.json"
    overlay.write_text(json.dumps({**TINY, "output_names": {"1": "liver"}}), encoding="utf-8")
    model = ["--model", tiny_weights, "--config", "three_views.json", "--config", overlay, "--device", "cpu"]
    series = write_dicom_series(tmp_path / "in" / "ct", make_volume(), AFFINE)
    image = write_nifti(tmp_path / "in" / "a.nii.gz", make_volume(), AFFINE)

    def command(*words: object) -> int:
        return main(["segment", *map(str, model), *map(str, words)])

    assert command(image, tmp_path / "no.dcm", "--output-type", "dicom-seg") == 1
    assert "a.nii.gz is no DICOM series, which DICOM output refers to" in capsys.readouterr().err
    assert command(tmp_path / "in", tmp_path / "out", "--output-type", "rtstruct") == 1
    assert "1 of 2 cases failed" in capsys.readouterr().err
    assert pydicom.dcmread(tmp_path / "out" / "ct_seg.dcm").Modality == "RTSTRUCT"
    before = (tmp_path / "out" / "ct_seg.dcm").read_bytes()
    assert command(series.parent, tmp_path / "out", "--output-type", "rtstruct") == 1
    assert (tmp_path / "out" / "ct_seg.dcm").read_bytes() == before
    capsys.readouterr()
    assert command(series.parent, tmp_path / "out", "--output-type", "dicom-seg") == 1
    assert "output_type rtstruct there, dicom-seg now" in capsys.readouterr().err
    assert command(series, tmp_path / "seg.dcm", "--output-type", "dicom-seg") == 0
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    (segment_of,) = seg.SegmentSequence
    assert (seg.Modality, segment_of.SegmentLabel) == ("SEG", "liver")
    assert segment_of.SegmentedPropertyTypeCodeSequence[0].CodeValue == "10200004"  # the liver in SNOMED CT
    assert command(series, tmp_path / "seg.dcm", "--output-type", "dicom-seg") == 0  # its own is replaced


def test_masks_are_named_by_what_comes_with_the_weights(tiny_weights: Path, tmp_path: Path, bundle_root: Path) -> None:
    """The bundle's metadata speaks of its own weights alone, wherever these lie; another organ is no pancreas."""
    names = {1: "pancreas"}
    assert Segmenter(device="cpu").origin.labels == names
    assert Segmenter("phantom-rstn", "cpu").origin.labels == names
    copied = Path(shutil.copy(bundle_root / "models" / "model.pt", tmp_path / "copied.pt"))
    assert Segmenter(copied, "cpu").origin.labels == names
    own = Path(shutil.copy(tiny_weights, tmp_path / "own.pt"))
    configs = ["three_views.json"]
    options = {**TINY}
    without = Segmenter(own, "cpu", configs=configs, options=options)
    assert without.origin.labels == {}
    own.with_suffix(".json").write_text(json.dumps({"output_names": {"1": "liver"}}), encoding="utf-8")
    named = Segmenter(own, "cpu", configs=configs, options=options)
    assert named.origin.labels == {1: "liver"}
    assert named.signature == without.signature  # the masks are the same
    given = dict([parse_option("output_names={1: 'left kidney'}")])
    assert Segmenter(own, "cpu", configs=configs, options={**options, **given}).origin.labels == {1: "left kidney"}


def test_several_organs_apart_are_named_as_their_networks_are(tiny_weights: Path) -> None:
    organs = {"liver": [3], "spleen": [1, 2]}
    options = {**TINY, "organ_values": organs, "ckpt_paths": dict.fromkeys(organs, str(tiny_weights))}
    segmenter = Segmenter(device="cpu", configs=["three_views.json", "task/organs_alone.json"], options=options)
    assert segmenter.origin.labels == {3: "liver", 1: "spleen"}


@pytest.mark.parametrize("kind", ["dicom-seg", "rtstruct"])
def test_values_without_a_name_are_refused_before_the_network_runs(
    kind: str, tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*arguments: object) -> None:
        raise AssertionError("the network ran")

    monkeypatch.setattr(CoarseToFineInferer, "__call__", run)
    overlay = tmp_path / "two.json"
    overlay.write_text(json.dumps(TINY), encoding="utf-8")
    series = write_dicom_series(tmp_path / "ct", make_volume(), AFFINE)
    configs = ["three_views.json", str(overlay)]
    words = ["--model", str(tiny_weights), "--config", configs[0], "--config", configs[1], "--device", "cpu"]
    for output in (tmp_path / "mask.dcm", tmp_path / "masks"):
        assert main(["segment", str(series), str(output), "--output-type", kind, *words]) == 1
        assert capsys.readouterr().err.startswith(
            "error: masks hold 1, of which the weights bring no name: name each by"
        )
        assert not output.exists()
    with pytest.raises(ValueError, match="masks hold 1"):
        segment(series, tmp_path / "mask.dcm", tiny_weights, "cpu", configs=configs, output_type=kind)
