# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The bundle's inference, run as its consumers run it."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import itk
import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow, ckpt_export, verify_metadata, verify_net_in_out
from monai.data import MetaTensor, decollate_batch
from monai.transforms import Orientation

from c2f_monai.data import writers
from c2f_monai.data.manifest import CasesFailed
from c2f_monai.metrics.tables import read_cases
from c2f_monai.utils import root_cause
from tests.bundle.conftest import TINY, inference_files
from tests.bundle.volumes import itk_image, make_volume, write_dataset, write_dicom_series, write_nifti
from tests.processes import run_processes

LPS = np.array([[-2.0, 0, 0, 30], [0, -2.0, 0, 20], [0, 0, 2.5, -40], [0, 0, 0, 1]])
OBLIQUE = np.array([[1.9, -0.5, 0.1, 3], [0.5, 1.9, -0.2, 4], [-0.1, 0.2, 2.4, 5], [0, 0, 0, 1]])
SHARED_IDS = (
    "bundle_root package_path has_package missing package work_root views slice_axcodes pixdim window label_value "
    "classes in_slices out_slices slab target_prior coarse_downsample antialias backbone_def coarse_def fine_def "
    "saliency_def network_def margin crop_multiple result min_size fusion "
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
    return parser.get_parsed_content("invert")(decollate_batch(batch)[0])["pred"]


@pytest.mark.parametrize("key", SHARED_IDS)
def test_what_is_written_twice_is_equal(bundle_root: Path, key: str) -> None:
    train, inference = (
        json.loads((bundle_root / "configs" / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("train", "inference")
    )
    assert inference[key] == train[key]


@pytest.mark.parametrize("given", [True, False], ids=["an image", "no image"])
def test_all_properties_are_there(given: bool, inference_workflow: Make, tmp_path: Path) -> None:
    """The model zoo asks for them without an image."""
    image = {"input": str(write_nifti(tmp_path / "a.nii.gz", make_volume()))} if given else {}
    assert inference_workflow(**image).check_properties() == []


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
    workflow = inference_workflow(dataset_dir=str(dataset), output_dir=str(out), keep_rounds=True, overlays=True)
    workflow.run()
    workflow.finalize()
    assert {path.name for path in out.iterdir()} == {
        "case_0_seg.nii.gz",
        "case_1_seg.nii.gz",
        "case_0_overlay.png",
        "case_1_overlay.png",
        "cases.csv",
        "manifest.json",
        "summary.json",
    }
    rows = read_cases(out / "cases.csv", ["dsc", "hd95", "dsc_round_0"])
    for name, row in rows.items():
        mask = np.asarray(nib.load(out / f"{name}_seg.nii.gz").dataobj) > 0
        truth = np.asarray(nib.load(dataset / "labelsTs" / f"{name}.nii.gz").dataobj) > 0
        assert row.number("dsc") == pytest.approx(2 * (mask & truth).sum() / (mask.sum() + truth.sum()), abs=1e-6)
    assert [row.group for row in rows.values()] == ["plain", "shifted"]


def write_three(folder: Path, value: float = np.nan) -> list[str]:
    """Two good cases, b with a bad voxel and c whose header says nothing between them; what is said of the two."""
    folder.mkdir()
    volume = make_volume().astype(np.float32)
    for name in ("a", "d"):
        write_nifti(folder / f"{name}.nii.gz", volume)
    volume[3, 4, 5] = value
    write_nifti(folder / "b.nii.gz", volume)
    (folder / "c.nii.gz").write_bytes(b"no image")
    bad_voxel = f"{folder / 'b.nii.gz'}: 1 voxels are NaN or infinite; replace them, for instance by -1024 HU."
    return [bad_voxel, f"{folder / 'c.nii.gz'} cannot be read as an image: "]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_bad_case_is_noted_and_costs_no_other(inference_workflow: Make, tmp_path: Path, value: float) -> None:
    folder, out = tmp_path / "images", tmp_path / "out"
    bad_voxel, bad_header = write_three(folder, value)
    workflow = inference_workflow(input=str(folder), output_dir=str(out))
    workflow.run()
    with (out / "cases.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["case"], row["status"]) for row in rows] == [
        ("a", "done"),
        ("b", "failed"),
        ("c", "failed"),
        ("d", "done"),
    ]
    assert rows[1]["reason"] == bad_voxel and rows[2]["reason"].startswith(bad_header)
    assert {path.name for path in out.glob("*.nii.gz")} == {"a_seg.nii.gz", "d_seg.nii.gz"}
    assert list(read_cases(out / "cases.csv")) == ["a", "d"]
    with pytest.raises(CasesFailed, match=re.escape(f"2 of 4 cases failed, see {out}: {bad_voxel}")):
        workflow.finalize()


def test_an_output_that_is_nan_fails_its_case_alone(inference_workflow: Make, tmp_path: Path) -> None:
    folder, out = tmp_path / "images", tmp_path / "out"
    folder.mkdir()
    for name in ("a", "b", "c"):
        write_nifti(folder / f"{name}.nii.gz", make_volume())
    workflow = inference_workflow(input=str(folder), output_dir=str(out))
    evaluator = workflow.parser.get_parsed_content("evaluator")

    def overflow(module: torch.nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        return output * np.nan if evaluator.state.batch["case"] == ["b"] else output

    evaluator.network.views["axial"].coarse.register_forward_hook(overflow)
    workflow.run()
    reason = f"{folder / 'b.nii.gz'}: the network's output is NaN"
    with pytest.raises(CasesFailed, match=re.escape(f"1 of 3 cases failed, see {out}: {reason}")):
        workflow.finalize()
    assert {path.name for path in out.glob("*.nii.gz")} == {"a_seg.nii.gz", "c_seg.nii.gz"}
    assert list(read_cases(out / "cases.csv")) == ["a", "c"]


def test_strict_stops_at_the_first_bad_case_and_finished_masks_stay(inference_workflow: Make, tmp_path: Path) -> None:
    folder, out = tmp_path / "images", tmp_path / "out"
    bad_voxel, _ = write_three(folder)
    with pytest.raises(RuntimeError) as raised:
        inference_workflow(input=str(folder), output_dir=str(out), strict=True).run()
    assert str(root_cause(raised.value)) == bad_voxel
    assert [path.name for path in out.glob("*.nii.gz")] == ["a_seg.nii.gz"]


def test_the_command_ends_with_status_1_and_a_line(run_bundle: Run, tmp_path: Path) -> None:
    write_three(tmp_path / "images")
    done = run_bundle(tmp_path, input="images", output_dir="out")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: 2 of 4 cases failed, see out: /")
    assert "Traceback" not in done.stderr


def test_a_mask_that_cannot_be_written_is_a_failed_case(
    inference_workflow: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table never claims it, though it is written in the background."""
    folder, out = tmp_path / "images", tmp_path / "out"
    folder.mkdir()
    for name in ("a", "b"):
        write_nifti(folder / f"{name}.nii.gz", make_volume())
    original = writers.nifti_image

    def broken(*args: Any) -> Any:
        if not (out / "a_seg.nii.gz").exists():
            return original(*args)
        raise ValueError("the mask cannot be packed")

    monkeypatch.setattr(writers, "nifti_image", broken)
    inference_workflow(input=str(folder), output_dir=str(out)).run()
    with (out / "cases.csv").open(encoding="utf-8") as file:
        found = [(row["case"], row["status"], row["reason"]) for row in csv.DictReader(file)]
    assert found == [("a", "done", ""), ("b", "failed", f"{folder / 'b.nii.gz'}: the mask cannot be packed")]


def test_a_second_run_does_what_is_missing_failed_or_changed(inference_workflow: Make, tmp_path: Path) -> None:
    folder, out = tmp_path / "images", tmp_path / "out"
    write_three(folder)
    make = partial(inference_workflow, input=str(folder), output_dir=str(out))
    make().run()
    first = read_cases(out / "cases.csv")
    write_nifti(folder / "b.nii.gz", make_volume())  # mended
    (out / "d_seg.nii.gz").unlink()
    again = make()
    assert [case["case"] for case in again.parser.get_parsed_content("dataset").data] == ["b", "c", "d"]
    again.run()
    second = read_cases(out / "cases.csv")
    assert list(second) == ["a", "b", "d"] and second["a"] == first["a"]
    write_nifti(folder / "a.nii.gz", make_volume(seed=1))
    (folder / "c.nii.gz").unlink()
    (folder / "sub").mkdir()
    write_nifti(folder / "sub" / "a.nii.gz", make_volume())
    third = make()
    assert [case["case"] for case in third.parser.get_parsed_content("dataset").data] == ["a", "sub/a"]
    third.run()
    assert (out / "sub" / "a_seg.nii.gz").is_file()
    assert list(read_cases(out / "cases.csv")) == ["a", "b", "d", "sub/a"]
    fourth = make()
    fourth.run()
    assert len(fourth.parser.get_parsed_content("dataset")) == 0
    fourth.finalize()  # all that is listed now is done
    assert len(make(overwrite=True).parser.get_parsed_content("dataset")) == 4


def test_other_options_or_weights_are_refused_with_the_difference(
    inference_workflow: Make, tiny_weights: Path, tmp_path: Path
) -> None:
    image, out = write_nifti(tmp_path / "a.nii.gz", make_volume()), tmp_path / "out"
    make = partial(inference_workflow, input=str(image), output_dir=str(out))
    make().run()
    state = torch.load(tiny_weights, weights_only=True)
    torch.save({key: value + 1 for key, value in state.items()}, tmp_path / "other.pt")
    for change, told in (
        ({"margin": 5}, r"made otherwise \(margin 8 there, 5 now\): write to another folder, or give overwrite"),
        ({"ckpt_path": str(tmp_path / "other.pt")}, r"\(weights \w{12} there, \w{12} now\)"),
    ):
        with pytest.raises(RuntimeError) as raised:
            make(**change).run()
        assert re.search(told, str(root_cause(raised.value)))
    before = nib.load(out / "a_seg.nii.gz").get_fdata()
    make(margin=5, overwrite=True).run()
    assert json.loads((out / "manifest.json").read_text(encoding="utf-8"))["options"]["margin"] == 5
    assert before.shape == nib.load(out / "a_seg.nii.gz").shape


def test_no_file_that_the_run_did_not_make_is_replaced(inference_workflow: Make, tmp_path: Path) -> None:
    """Masks may lie beside their images, and are no images of the next run."""
    folder = tmp_path / "cts"
    folder.mkdir()
    write_nifti(folder / "a.nii.gz", make_volume())
    users = write_nifti(folder / "a_seg.nii.gz", np.ones((3, 3, 3), np.uint8))
    make = partial(inference_workflow, output_dir=str(folder))
    for options, told in (
        ({"input": str(folder)}, "a_seg.nii.gz is an image to segment: write to another folder."),
        ({"input": str(folder), "overwrite": True}, "a_seg.nii.gz is an image to segment: write to another folder."),
        ({"input": str(folder / "a.nii.gz")}, "a_seg.nii.gz exists and no run in this folder made it"),
    ):
        with pytest.raises(RuntimeError) as raised:
            make(**options).run()
        assert told in str(root_cause(raised.value))
        assert nib.load(users).shape == (3, 3, 3)
    users.unlink()
    for _ in range(2):
        make(input=str(folder)).run()
        assert sorted(path.name for path in folder.glob("*.nii.gz")) == ["a.nii.gz", "a_seg.nii.gz"]
        assert list(read_cases(folder / "cases.csv")) == ["a"]


def test_another_image_of_the_same_name_is_refused(inference_workflow: Make, tmp_path: Path) -> None:
    for patient, seed in (("PAT1", 0), ("PAT2", 1)):
        write_dicom_series(tmp_path / patient / "CT", make_volume(seed=seed), LPS)
    make = partial(inference_workflow, output_dir=str(tmp_path / "out"))
    make(input=str(tmp_path / "PAT1" / "CT")).run()
    with pytest.raises(RuntimeError) as raised:
        make(input=str(tmp_path / "PAT2" / "CT")).run()
    told = f"CT_seg.nii.gz belongs to {tmp_path / 'PAT1' / 'CT'}, not to {tmp_path / 'PAT2' / 'CT'}"
    assert told in str(root_cause(raised.value))
    make(input=str(tmp_path)).run()
    assert list(read_cases(tmp_path / "out" / "cases.csv")) == ["CT", "PAT1/CT", "PAT2/CT"]


def run_two_processes(bundle_root: Path, project_root: Path, **override: Any) -> CompletedProcess:
    files = [
        str(bundle_root / "configs" / f"{name}.json") for name in ("inference", "three_views", "multi_gpu_inference")
    ]
    options = {**TINY, "bundle_root": bundle_root, "device": "cpu", "backend": "gloo", **override}
    command = ["-m", "monai.bundle", "run", "--config_file", str(files)]
    command += [text for key, value in options.items() for text in (f"--{key}", str(value))]
    environment = os.environ | {"PYTHONPATH": str(project_root), "OMP_NUM_THREADS": "1"}
    return run_processes(command, env=environment)


def test_two_processes_share_the_cases(
    inference_workflow: Make, bundle_root: Path, project_root: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    """Each of three cases is done once, and one process writes the table of all."""
    folder, out = tmp_path / "images", tmp_path / "out"
    folder.mkdir()
    for index in range(3):
        write_nifti(folder / f"{index}.nii.gz", make_volume(seed=index))
    done = run_two_processes(bundle_root, project_root, ckpt_path=tiny_weights, input=folder, output_dir=out)
    assert done.returncode == 0, done.stderr[-6000:]
    assert [len(re.findall(rf"\b{index}: \d+ rounds", done.stdout)) for index in range(3)] == [1, 1, 1]
    assert done.stdout.count("masks: ") == 1  # not one a process
    assert list(read_cases(out / "cases.csv")) == ["0", "1", "2"]
    inference_workflow(input=str(folder), output_dir=str(tmp_path / "one")).run()
    for index in range(3):
        one, two = (nib.load(place / f"{index}_seg.nii.gz").get_fdata() for place in (tmp_path / "one", out))
        assert np.array_equal(one, two)


def test_a_process_without_a_case_ends_with_the_others(
    bundle_root: Path, project_root: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    """Two processes for one case, and then for none that is open."""
    out = tmp_path / "out"
    places = {"ckpt_path": tiny_weights, "input": write_nifti(tmp_path / "a.nii", make_volume()), "output_dir": out}
    for told in ("1 cases: ", "1 of 1 cases are done already."):
        done = run_two_processes(bundle_root, project_root, **places)
        assert done.returncode == 0, done.stderr[-6000:]
        assert told in done.stdout + done.stderr
        assert (out / "cases.csv").read_text(encoding="utf-8").splitlines()[1].startswith("a,done,")
        assert json.loads((out / "summary.json").read_text(encoding="utf-8"))["all"]["cases"] == 1
        assert not list(out.glob("*.jsonl"))


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
