# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The example app of MONAI Deploy: its operator alone, and with the SDK, where that is installed, all of it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from c2f_monai import Segmenter
from c2f_monai.apps.cli import main
from c2f_monai.data import read_image
from tests.bundle.conftest import TINY
from tests.bundle.volumes import make_volume, write_dicom_series

pytest.importorskip("pydicom")
HAS_SDK = importlib.util.find_spec("monai.deploy") is not None
AFFINE = np.array([[-2.0, 0, 0, 30], [0, -2.0, 0, 20], [0, 0, 2.5, -40], [0, 0, 0, 1]])
# What the app takes from the SDK, by its modules.
SDK = {
    "": (),
    ".conditions": ("CountCondition",),
    ".core": ("Application", "OperatorSpec"),
    ".operators": (),
    ".operators.dicom_data_loader_operator": ("DICOMDataLoaderOperator",),
    ".operators.dicom_seg_writer_operator": ("DICOMSegmentationWriterOperator", "SegmentDescription"),
    ".operators.dicom_series_selector_operator": ("DICOMSeriesSelectorOperator",),
    ".operators.dicom_series_to_volume_operator": ("DICOMSeriesToVolumeOperator",),
    ".operators.dicom_utils": ("ModelInfo",),
}


class Image:
    """As the SDK's."""

    def __init__(self, data: np.ndarray, metadata: dict[str, Any] | None = None) -> None:
        self.data, self.data_of = data, metadata or {}

    def asnumpy(self) -> np.ndarray:
        return self.data

    def metadata(self) -> dict[str, Any]:
        return self.data_of


class Operator:
    """As the SDK's, which is an object of C++."""

    def __init__(self, fragment: Any, *args: Any, **kwargs: Any) -> None:
        self.fragment = fragment


class Port(dict):
    """What an operator receives from and emits to."""

    def receive(self, name: str) -> Any:
        return self[name]

    def emit(self, value: Any, name: str) -> None:
        self[name] = value


@pytest.fixture
def app(project_root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The example as a module, with stand-ins for the SDK."""
    for name, classes in SDK.items():
        module = ModuleType(f"monai.deploy{name}")
        for found in classes:
            setattr(module, found, type(found, (), {}))
        monkeypatch.setitem(sys.modules, module.__name__, module)
    core: Any = sys.modules["monai.deploy.core"]
    core.Image, core.Operator = Image, Operator
    spec = importlib.util.spec_from_file_location("deploy_app", project_root / "docs" / "examples" / "deploy_app.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_operator_takes_and_gives_slices_first(app: Any, tiny_weights: Path, tmp_path: Path) -> None:
    series = write_dicom_series(tmp_path / "ct", make_volume(), AFFINE)
    segmenter = Segmenter(tiny_weights, "cpu", configs=["three_views.json"], options=TINY)
    expected = segmenter(series).mask.numpy()
    assert 0 < expected.sum() < expected.size
    volume = read_image(series, dtype=None)
    metadata = {"affine": volume.affine.numpy(), "row_pixel_spacing": 2.0, "col_pixel_spacing": 2.0}
    operator = app.SegmentOperator(None, segmenter=segmenter)
    output = Port()
    operator.compute(Port(image=Image(volume[0].numpy().T, metadata)), output, None)
    assert output["seg_image"].asnumpy().dtype == np.uint8
    assert np.array_equal(output["seg_image"].asnumpy(), expected.T)
    with pytest.raises(ValueError, match="pixels of 2.0 x 1.5 mm are no squares"):
        operator.mask_of(volume[0].numpy().T, metadata | {"col_pixel_spacing": 1.5})


def frames(segmentation: Any) -> dict[tuple[float, ...], np.ndarray]:
    """Planes of a segmentation by their places in the patient: corner and directions, and the size of pixels."""
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    grid = (*shared.PlaneOrientationSequence[0].ImageOrientationPatient, *shared.PixelMeasuresSequence[0].PixelSpacing)
    places = [
        (*group.PlanePositionSequence[0].ImagePositionPatient, *grid)
        for group in segmentation.PerFrameFunctionalGroupsSequence
    ]
    return dict(zip(places, segmentation.pixel_array, strict=True))


@pytest.mark.skipif(not HAS_SDK, reason="needs MONAI Deploy App SDK and holoscan")
def test_the_app_writes_the_segmentation_of_the_command_line(
    project_root: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    highdicom = pytest.importorskip("highdicom")
    # The SDK passes over files without a SeriesNumber.
    tags = {"0010|0010": "A^B", "0010|0020": "17", "0020|0011": "2", "0008|103e": "venous"}
    series = write_dicom_series(tmp_path / "ct", make_volume(), AFFINE, tags=tags)
    named = {**TINY, "output_names": {"1": "pancreas"}}
    (tmp_path / "tiny.json").write_text(json.dumps(named), encoding="utf-8")
    overlays = ["--config", "three_views.json", "--config", str(tmp_path / "tiny.json")]
    bundle, masks = tmp_path / "bundle", tmp_path / "masks"
    assert main(["pack", str(tiny_weights), str(bundle), *overlays]) == 0
    words = ["--model", str(tiny_weights), *overlays, "--device", "cpu", "--output-type", "dicom-seg"]
    assert main(["segment", str(series), str(tmp_path / "seg.dcm"), *words]) == 0
    masks.mkdir()
    app = project_root / "docs" / "examples" / "deploy_app.py"
    done = subprocess.run(
        [sys.executable, str(app), "--input", str(series), "--output", str(masks), "--model", str(bundle)],
        env=os.environ | {"PYTHONPATH": str(project_root), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (written,) = masks.glob("*.dcm")
    got, expected = (highdicom.seg.segread(file) for file in (written, tmp_path / "seg.dcm"))
    assert got.get_segment_description(1).SegmentLabel == "pancreas"
    assert got.FrameOfReferenceUID == expected.FrameOfReferenceUID == "1.2.3.9"
    places = frames(got)
    assert len(places) > 1 and places.keys() == frames(expected).keys()
    assert all(np.array_equal(plane, places[place]) for place, plane in frames(expected).items())
