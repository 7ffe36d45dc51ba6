# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The bundle's inference, run as its consumers run it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import itk
import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow, ckpt_export, verify_metadata, verify_net_in_out
from monai.data import MetaTensor, decollate_batch
from monai.transforms import Orientation

from c2f_monai.metrics.tables import read_cases
from c2f_monai.utils import root_cause
from tests.bundle.conftest import TINY, inference_files
from tests.bundle.volumes import itk_image, make_volume, write_dataset, write_dicom_series, write_nifti

LPS = np.array([[-2.0, 0, 0, 30], [0, -2.0, 0, 20], [0, 0, 2.5, -40], [0, 0, 0, 1]])
OBLIQUE = np.array([[1.9, -0.5, 0.1, 3], [0.5, 1.9, -0.2, 4], [-0.1, 0.2, 2.4, 5], [0, 0, 0, 1]])
SHARED_IDS = (
    "bundle_root package_path work_root views slice_axcodes pixdim window label_value classes in_slices "
    "out_slices slab target_prior coarse_downsample antialias backbone_def coarse_def fine_def saliency_def "
    "network_def margin crop_multiple result min_size fusion "
    "prior stop_dice max_rounds stopping component_fraction amp_dtype pixels_per_batch"
).split()

Make = Callable[..., ConfigWorkflow]
Run = Callable[..., CompletedProcess]


def probability_of(make: Make, path: Path, **override) -> MetaTensor:
    """Probability on the image's own grid, (1, H, W, D)."""
    workflow = make(input=str(path), **override)
    parser = workflow.parser
    network = parser.get_parsed_content("network")
    for handler in parser.get_parsed_content("handlers")[:1]:
        handler(None)
    batch = next(iter(parser.get_parsed_content("dataloader")))
    batch["pred"] = parser.get_parsed_content("inferer")(batch["image"], network.eval())
    invert = parser.get_parsed_content("postprocessing").transforms[0]
    return invert(decollate_batch(batch)[0])["pred"]


@pytest.mark.parametrize("key", SHARED_IDS)
def test_what_is_written_twice_is_equal(bundle_root: Path, key: str) -> None:
    train, inference = (
        json.loads((bundle_root / "configs" / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("train", "inference")
    )
    assert inference[key] == train[key]


def test_all_properties_are_there(inference_workflow: Make, tmp_path: Path) -> None:
    workflow = inference_workflow(input=str(write_nifti(tmp_path / "a.nii.gz", make_volume())))
    assert workflow.check_properties() == []


def test_metadata_is_valid(bundle_root: Path, shared_data: Path, tmp_path: Path) -> None:
    schema = shutil.copy(shared_data / "meta_schema_20240725.json", tmp_path / "schema.json")
    meta = str(bundle_root / "configs" / "metadata.json")
    verify_metadata(meta_file=meta, filepath=schema)
    content = json.loads(Path(meta).read_text(encoding="utf-8"))
    assert content["version"] in content["changelog"]


def test_the_network_answers_what_the_metadata_says(bundle_root: Path) -> None:
    configs = bundle_root / "configs"
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(configs / "metadata.json"),
        config_file=str(configs / "inference.json"),
        bundle_root=str(bundle_root),
        device="cpu",
    )


def test_the_exported_script_gives_the_coarse_probability(
    inference_workflow: Make, bundle_root: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    ckpt_export(
        net_id="network_def",
        filepath=str(tmp_path / "model.ts"),
        ckpt_file=str(tiny_weights),
        meta_file=str(bundle_root / "configs" / "metadata.json"),
        config_file=inference_files(bundle_root),
        bundle_root=str(bundle_root),
        **{key: value for key, value in TINY.items() if key.startswith(("fcn_def", "crop_multiple"))},
    )
    image = write_nifti(tmp_path / "a.nii.gz", make_volume())
    network = inference_workflow(input=str(image)).parser.get_parsed_content("network_def").eval()
    network.load_state_dict(torch.load(tiny_weights, weights_only=True))
    volume = torch.rand(1, 1, 17, 20, 9)
    with torch.no_grad():
        found, expected = torch.jit.load(str(tmp_path / "model.ts"))(volume), network(volume)
    assert 0 < expected.min() < expected.max() < 1
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_the_command_line_works_from_any_directory(run_bundle: Run, tmp_path: Path) -> None:
    write_nifti(tmp_path / "my.ct.nii.gz", make_volume(), OBLIQUE)
    done = run_bundle(tmp_path, input="my.ct.nii.gz", output_dir="out", output_value=5)
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.search(r"my\.ct: \d+ rounds, .* ml", done.stdout)
    mask = nib.load(tmp_path / "out" / "my.ct_seg.nii.gz")
    assert mask.shape == (40, 36, 30)
    assert np.allclose(mask.affine, OBLIQUE, atol=1e-5)
    assert mask.get_data_dtype() == np.uint8
    assert set(np.unique(np.asarray(mask.dataobj))) <= {0, 5}


def test_the_command_line_names_a_missing_file(run_bundle: Run, tmp_path: Path) -> None:
    done = run_bundle(tmp_path, input="nope.nii.gz", output_dir="out")
    assert done.returncode != 0
    # Python's chained traceback shows what failed first, before what MONAI makes of it.
    assert re.search(r"^\w+: input .*nope\.nii\.gz does not exist\.$", done.stderr, re.MULTILINE)
    assert not (tmp_path / "out").exists()


def test_without_an_input_nothing_is_made_or_segmented(
    inference_workflow: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("C2F_MONAI_CACHE", str(tmp_path / "cache"))
    with pytest.raises(RuntimeError) as raised:
        inference_workflow(output_dir=str(tmp_path / "out")).run()
    assert "give --input" in str(root_cause(raised.value)) and "--dataset_dir" in str(root_cause(raised.value))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["v.nii.gz", "v.nrrd", "v.mha", "series"])
@pytest.mark.parametrize("affine", [LPS], ids=["LPS"])
def test_formats_give_a_mask_on_the_images_own_grid(
    inference_workflow: Make, tmp_path: Path, name: str, affine: np.ndarray
) -> None:
    path, volume = tmp_path / name, make_volume()
    if name == "series":
        write_dicom_series(path, volume, affine)
    elif name.startswith("v.nii"):
        write_nifti(path, volume, affine)
    else:
        itk.imwrite(itk_image(volume, affine), str(path))
    inference_workflow(input=str(path), output_dir=str(tmp_path / "out")).run()
    mask = nib.load(tmp_path / "out" / ("series_seg.nii.gz" if name == "series" else "v_seg.nii.gz"))
    assert mask.shape == volume.shape
    assert np.allclose(mask.affine, affine, atol=1e-4)


def test_native_resolution_and_one_slice(inference_workflow: Make, tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "thin.nii.gz", make_volume((24, 20, 1)))
    workflow = inference_workflow(input=str(path), output_dir=str(tmp_path / "out"), pixdim=None)
    names = [type(t).__name__ for t in workflow.parser.get_parsed_content("preprocessing").transforms]
    assert "ResampleToSpacingd" not in names
    workflow.run()
    assert nib.load(tmp_path / "out" / "thin_seg.nii.gz").shape == (24, 20, 1)


def test_a_labelled_data_set_is_scored_and_drawn(inference_workflow: Make, tmp_path: Path) -> None:
    dataset, out = write_dataset(tmp_path / "set"), tmp_path / "out"
    inference_workflow(dataset_dir=str(dataset), output_dir=str(out), keep_rounds=True, overlays=True).run()
    assert {path.name for path in out.iterdir()} == {
        "case_0_seg.nii.gz",
        "case_1_seg.nii.gz",
        "case_0_overlay.png",
        "case_1_overlay.png",
        "cases.csv",
        "summary.json",
    }
    rows = read_cases(out / "cases.csv", ["dsc", "hd95", "dsc_round_0"])
    for name, row in rows.items():
        mask = np.asarray(nib.load(out / f"{name}_seg.nii.gz").dataobj) > 0
        truth = np.asarray(nib.load(dataset / "labelsTs" / f"{name}.nii.gz").dataobj) > 0
        assert row.number("dsc") == pytest.approx(2 * (mask & truth).sum() / (mask.sum() + truth.sum()), abs=1e-6)
    assert [row.group for row in rows.values()] == ["plain", "shifted"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_bad_voxels_stop_with_the_name_of_the_file_and_finished_masks_stay(
    inference_workflow: Make, tmp_path: Path, value: float
) -> None:
    volume = make_volume().astype(np.float32)
    write_nifti(tmp_path / "in_a.nii.gz", volume)
    volume[3, 4, 5] = value
    folder = tmp_path / "images"
    folder.mkdir()
    (tmp_path / "in_a.nii.gz").rename(folder / "a.nii.gz")
    write_nifti(folder / "b.nii.gz", volume)
    with pytest.raises(RuntimeError) as raised:
        inference_workflow(input=str(folder), output_dir=str(tmp_path / "out")).run()
    assert str(raised.value.__cause__) == f"{folder / 'b.nii.gz'}: 1 voxels are NaN or infinite; " + (
        "replace them, for instance by -1024 HU."
    )
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a_seg.nii.gz"]


def test_two_processes_share_the_cases(
    inference_workflow: Make, bundle_root: Path, project_root: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    """Each of three cases is done once, and one process writes the table of all."""
    folder, out = tmp_path / "images", tmp_path / "out"
    folder.mkdir()
    for index in range(3):
        write_nifti(folder / f"{index}.nii.gz", make_volume(seed=index))
    files = [
        str(bundle_root / "configs" / f"{name}.json") for name in ("inference", "three_views", "multi_gpu_inference")
    ]
    options = {**TINY, "bundle_root": bundle_root, "ckpt_path": tiny_weights, "input": folder, "output_dir": out}
    options |= {"device": "cpu", "backend": "gloo"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += ["-m", "monai.bundle", "run", "--config_file", str(files)]
    command += [text for key, value in options.items() for text in (f"--{key}", str(value))]
    environment = os.environ | {"PYTHONPATH": str(project_root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, encoding="utf-8", env=environment, timeout=400, check=False)
    assert done.returncode == 0, done.stderr[-6000:]
    assert [len(re.findall(rf"\b{index}: \d+ rounds", done.stdout)) for index in range(3)] == [1, 1, 1]
    assert list(read_cases(out / "cases.csv")) == ["0", "1", "2"]
    inference_workflow(input=str(folder), output_dir=str(tmp_path / "one")).run()
    for index in range(3):
        one, two = (nib.load(place / f"{index}_seg.nii.gz").get_fdata() for place in (tmp_path / "one", out))
        assert np.array_equal(one, two)


def test_weights_of_another_network_stop_the_run(inference_workflow: Make, tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii.gz", make_volume())
    torch.save({"x": torch.zeros(1)}, tmp_path / "other.pt")
    out = tmp_path / "out"
    with pytest.raises(RuntimeError) as raised:
        inference_workflow(input=str(path), output_dir=str(out), ckpt_path=str(tmp_path / "other.pt")).run()
    assert "other.pt does not fit the network" in str(raised.value.__cause__)
    assert not list(out.glob("*")) if out.exists() else True


def _rewritten(kind: str, folder: Path, volume: np.ndarray, affine: np.ndarray) -> Path:
    """The volume as another file: turned to LPS, laid obliquely in the world, or as a DICOM series."""
    if kind == "LPS":
        flip = np.diag([-1.0, -1.0, 1.0, 1.0])
        flip[:2, 3] = np.array(volume.shape[:2]) - 1
        return write_nifti(folder / "lps.nii.gz", volume[::-1, ::-1], affine @ flip)
    if kind == "oblique":
        a, b = np.deg2rad(12), np.deg2rad(-9)
        turn = np.eye(4)
        turn[:3, :3] = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]) @ np.array(
            [[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]]
        )
        return write_nifti(folder / "oblique.nii.gz", volume, turn @ affine)
    return write_dicom_series(folder / "series", volume, affine)


@pytest.mark.parametrize("kind", ["LPS", "oblique", "series"])
def test_a_real_ct_gets_the_same_probability_however_it_is_stored(
    inference_workflow: Make, shared_data: Path, tmp_path: Path, kind: str
) -> None:
    source = shared_data / "real_ct" / "ct.nii.gz"
    image = nib.load(source)
    volume = np.asarray(image.dataobj).astype(np.int16)
    path = _rewritten(kind, tmp_path, volume, image.affine)
    expected = probability_of(inference_workflow, source)
    found = probability_of(inference_workflow, path)
    assert expected.shape == (1, *volume.shape)
    assert float(expected.max() - expected.min()) > 0.01  # a constant would be equal in any orientation
    # The world coordinates of an oblique file are turned with its voxels, so all are compared voxel by voxel in RAS.
    to_ras = Orientation(axcodes="RAS", labels=None)
    expected, found = to_ras(expected), to_ras(found)
    if kind != "oblique":
        assert np.allclose(found.affine, expected.affine, atol=1e-3)
    assert torch.allclose(torch.as_tensor(found), torch.as_tensor(expected), atol=1e-3)
