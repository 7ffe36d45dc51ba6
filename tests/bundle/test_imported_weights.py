# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Imported weights in the bundle: they see slices as the original code cut them, however a volume is stored."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import itk
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow
from monai.transforms import Orientation

from c2f_monai.handlers import InitialWeights, save_weights
from c2f_monai.inferers import CoarseToFineInferer, StopRule
from c2f_monai.networks import CoarseToFineNet, FCN8s, SaliencyTransform
from c2f_monai.networks.weights import RSTN_AXCODES, import_rstn, rstn_view
from c2f_monai.utils import scale_to_unit, slice_axcodes_of_array
from tests.bundle.test_inference_bundle import probability_of
from tests.bundle.volumes import make_volume, write_dicom_series, write_nifti
from tests.networks.port import random_tensors, rstn_shapes

WIDTH, FC, DIVISOR = 2, 128, 32
SMALL: dict[str, Any] = {
    "fcn_def#width": WIDTH,
    "fcn_def#fc_channels": FC,
    "margin": 3,
    "max_rounds": 1,
    "component_fraction": 0.0,
    "progress": False,
}
SHAPE = (14, 18, 11)  # columns, rows, slices of the series
# As a scanner writes a series: columns to the left, rows to the back, slices to the head.
LPS = np.array([[-2.0, 0, 0, 30], [0, -2.0, 0, 20], [0, 0, 2.5, -40], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def imported() -> dict[str, torch.Tensor]:
    """Small networks, different for each plane, that tell left from right, front from back and head from feet."""
    snapshots = {plane: random_tensors(rstn_shapes(DIVISOR), seed) for seed, plane in enumerate("XYZ", start=4)}
    for snapshot in snapshots.values():
        for part in ("coarse_model", "fine_model"):  # the skip of the finest grid decides, not the constant border
            snapshot[f"{part}.score_pool3.weight"] *= 4.0
    return import_rstn(snapshots, view=partial(rstn_view, WIDTH, FC))


@pytest.fixture
def make(project_root: Path, imported: dict[str, torch.Tensor], tmp_path: Path):
    """Make an initialized inference workflow with the imported weights."""
    save_weights(imported, tmp_path / "model.pt")
    bundle = project_root / "bundle"

    def workflow(**override: Any) -> ConfigWorkflow:
        flow = ConfigWorkflow(
            config_file=[
                str(bundle / "configs" / "inference.json"),
                str(bundle / "configs" / "three_views.json"),
                str(project_root / "configs" / "network" / "imported_rstn.json"),
            ],
            workflow_type="infer",
            logging_file=False,
            bundle_root=str(bundle),
            **SMALL | {"ckpt_path": str(tmp_path / "model.pt")} | override,
        )
        flow.initialize()
        return flow

    return workflow


def by_the_original_array(series: Path, imported: dict[str, torch.Tensor]) -> np.ndarray:
    """What the port does: its networks X, Y and Z along the first, second and third axis of (row, column, slice)."""
    files = sorted(series.glob("*.dcm"))  # named by instance number
    array = np.stack([itk.array_from_image(itk.imread(str(file))).squeeze() for file in files], axis=-1)
    # Without slice_axcodes a network named "sagittal" cuts the first axis, whatever lies along it.
    along = {"coronal": "sagittal", "sagittal": "coronal", "axial": "axial"}
    state = {}
    for key, value in imported.items():
        _, view, rest = key.split(".", 2)
        if rest != "slice_axes":
            state[f"views.{along[view]}.{rest}"] = value
    part = partial(FCN8s, width=WIDTH, fc_channels=FC, padding=100)
    network = CoarseToFineNet(part, part, partial(SaliencyTransform, kernel_sizes=(3, 5)))
    network.load_state_dict(state)
    inferer = CoarseToFineInferer(margin=3, crop_multiple=1, stopping=StopRule(max_rounds=1))
    return inferer(scale_to_unit(torch.from_numpy(array))[None, None], network.eval())[0, 0].numpy()


def test_the_same_patient_gets_the_same_answer_from_dicom_and_nifti(
    make, imported: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    volume = make_volume(SHAPE)
    flipped = np.diag([-1.0, -1.0, 1.0, 1.0])
    flipped[:2, 3] = np.array(SHAPE[:2]) - 1
    files = [
        write_dicom_series(tmp_path / "series", volume, LPS),
        write_nifti(tmp_path / "lps.nii.gz", volume, LPS),
        write_nifti(tmp_path / "ras.nii.gz", np.ascontiguousarray(volume[::-1, ::-1]), LPS @ flipped),
        # PIR: another order of the axes, and slices from the head down
        write_nifti(
            tmp_path / "pir.nii.gz",
            np.ascontiguousarray(volume.transpose(1, 2, 0)[:, ::-1, ::-1]),
            LPS @ np.array([[0, 0, -1.0, 13], [1, 0, 0, 0], [0, -1, 0, 10], [0, 0, 0, 1]]),
        ),
    ]
    # (row, column, slice) is (P, L, S): rows and columns change places and run the other way in RAS
    expected = by_the_original_array(files[0], imported).transpose(1, 0, 2)[::-1, ::-1]
    assert 0.02 < (expected >= 0.5).mean() < 0.98
    turned = [expected[::-1], expected[:, ::-1], expected[:, :, ::-1]]
    assert min(np.abs(other - expected).max() for other in turned) > 0.1  # an answer that is turned is another one
    to_ras = Orientation("RAS", labels=None)
    affine = None
    for path in files:
        found = to_ras(probability_of(make, path))
        affine = found.affine if affine is None else affine
        np.testing.assert_allclose(found.affine, affine, atol=1e-4, err_msg=path.name)
        np.testing.assert_allclose(found[0].numpy(), expected, atol=1e-5, err_msg=path.name)


@pytest.mark.parametrize("codes", ["RAS", "PLI", "LPS"])
def test_another_orientation_of_the_weights_is_another_answer(
    make, imported: dict[str, torch.Tensor], tmp_path: Path, codes: str
) -> None:
    """The checkpoint decides, and each of its codes counts."""
    path = write_nifti(tmp_path / "ct.nii.gz", make_volume(SHAPE), LPS)
    expected = probability_of(make, path)
    sources = {"coronal": "P", "sagittal": "L", "axial": "S"}
    axes = {"R": 1, "A": 2, "S": 3, "L": -1, "P": -2, "I": -3}
    turned = dict(imported)
    for view in sources:
        own = slice_axcodes_of_array(codes)[view]
        turned[f"views.{view}.slice_axes"] = torch.tensor([axes[code] for code in own])
    save_weights(turned, tmp_path / "turned.pt")
    found = probability_of(make, path, ckpt_path=str(tmp_path / "turned.pt"))
    assert (torch.as_tensor(found) - torch.as_tensor(expected)).abs().max() > 0.01


def test_the_volume_forward_is_the_coarse_answer_in_that_orientation(imported: dict[str, torch.Tensor]) -> None:
    part = partial(FCN8s, width=WIDTH, fc_channels=FC, padding=100)
    saliency = partial(SaliencyTransform, kernel_sizes=(3, 5))
    codes = slice_axcodes_of_array(RSTN_AXCODES)
    network = CoarseToFineNet(part, part, saliency, size_divisor=1, slice_axcodes=codes).eval()
    network.load_state_dict(imported)
    volume = torch.rand(1, 1, 9, 12, 7)
    expected = CoarseToFineInferer(stopping=StopRule(max_rounds=0), crop_multiple=1)(volume, network)
    scripted = torch.jit.script(network)
    with torch.no_grad():
        torch.testing.assert_close(network(volume), expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(scripted(volume), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        CoarseToFineInferer(stopping=StopRule(max_rounds=0), crop_multiple=1)(volume, scripted),
        expected,
        atol=1e-5,
        rtol=0,
    )


def test_the_overlay_is_the_network_of_the_port(project_root: Path) -> None:
    parser = ConfigParser()
    files = ["bundle/configs/inference.json", "bundle/configs/three_views.json", "configs/network/imported_rstn.json"]
    parser.read_config([str(project_root / name) for name in files])
    parser["bundle_root"] = str(project_root / "bundle")
    with torch.device("meta"):
        network = parser.get_parsed_content("network_def")
    shapes = {key: value.shape for key, value in rstn_view().state_dict().items()}
    for view in ("sagittal", "coronal", "axial"):
        own = network.views[view].state_dict()
        assert own.pop("slice_axes").shape == (3,)
        assert {key: value.shape for key, value in own.items()} == shapes
        assert network.views[view].coarse.original_padding
    overlay = json.loads((project_root / "configs" / "network" / "imported_rstn.json").read_text(encoding="utf-8"))
    assert overlay["slice_axcodes"] == slice_axcodes_of_array(RSTN_AXCODES)


def test_training_continues_from_imported_weights(
    project_root: Path, imported: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    """The overlay's axis codes reach the network and its training data, and the weights keep theirs."""
    start = {key: value for key, value in imported.items() if key.startswith("views.axial.")}
    save_weights(start, tmp_path / "model.pt")
    lists: dict[str, list[dict[str, str]]] = {"training": [], "validation": []}
    for i, split in enumerate(("training", "validation")):
        volume = make_volume(SHAPE, seed=i)
        write_nifti(tmp_path / f"{split}.nii.gz", volume, LPS)
        write_nifti(tmp_path / f"{split}_label.nii.gz", (volume > 100).astype(np.uint8), LPS)
        lists[split].append({"image": f"{split}.nii.gz", "label": f"{split}_label.nii.gz"})
    (tmp_path / "dataset.json").write_text(json.dumps(lists), encoding="utf-8")
    names = [
        "bundle/configs/train.json",
        "bundle/configs/three_views.json",
        "configs/baseline/published.json",
        "configs/network/imported_rstn.json",
    ]
    options: dict[str, Any] = {"epochs": 1, "val_interval": 1, "items_per_epoch": 2, "min_pixels": 1}
    flow = ConfigWorkflow(
        config_file=[str(project_root / name) for name in names],
        workflow_type="train",
        logging_file=False,
        bundle_root=str(project_root / "bundle"),
        dataset_dir=str(tmp_path),
        output_dir=str(tmp_path / "run"),
        init_weights=str(tmp_path / "model.pt"),
        views=["axial"],
        **{key: value for key, value in SMALL.items() if key != "progress"} | options,
    )
    flow.initialize()
    flow.run()
    assert flow.parser.get_parsed_content("train#dataset").axes == {"axial": [3, -2, -1]}
    trained = torch.load(tmp_path / "run" / "model.pt", weights_only=True)
    assert trained.keys() == start.keys()
    moved = {key for key, value in trained.items() if not torch.equal(value, start[key])}
    assert any(".conv1_1." in key for key in moved) and any(".saliency." in key for key in moved)
    assert not any("upscore" in key or key.endswith("slice_axes") for key in moved)


def test_weights_of_another_orientation_are_no_start_for_a_network_without(
    imported: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    save_weights(imported, tmp_path / "model.pt")
    part = partial(FCN8s, width=WIDTH, fc_channels=FC)
    with pytest.raises(ValueError, match=r"slices of another orientation \(views.axial.slice_axes\)"):
        InitialWeights(CoarseToFineNet(part, views=["axial"]), str(tmp_path / "model.pt"))(None)
