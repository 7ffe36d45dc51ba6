# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

from c2f_monai.apps import import_weights
from c2f_monai.apps.cli import main
from c2f_monai.handlers import InitialWeights, load_weights, save_weights
from c2f_monai.networks import CoarseToFineNet, CoarseToFineView, FCN8s, LiteUNet, SaliencyTransform
from c2f_monai.networks.weights import import_fcn8s, import_rstn, rstn_view
from c2f_monai.utils import SlabSpec
from tests.networks.port import fcn_shapes, random_tensors, rstn_shapes

WIDTH, FC, DIVISOR = 2, 128, 32
SMALL = partial(FCN8s, width=WIDTH, fc_channels=FC)
CODES = {"sagittal": "LPS", "coronal": "PLS", "axial": "SPL"}


@pytest.fixture(autouse=True)
def small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command's own networks have 134 million parameters each."""
    monkeypatch.setattr(import_weights, "import_rstn", partial(import_rstn, view=partial(rstn_view, WIDTH, FC)))
    _, rest = import_weights.STARTS["fcn8s"]
    monkeypatch.setitem(import_weights.STARTS, "fcn8s", (partial(import_fcn8s, fcn=SMALL), rest))


def network(**options) -> CoarseToFineNet:
    part = partial(SMALL, padding=100)
    return CoarseToFineNet(part, part, partial(SaliencyTransform, kernel_sizes=(3, 5)), **options)


def test_snapshots_become_one_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the format of the port's time, and one trained on several GPUs."""
    snapshots = {plane: random_tensors(rstn_shapes(DIVISOR), seed) for seed, plane in enumerate("XYZ")}
    options = []
    for plane, snapshot in snapshots.items():
        path = tmp_path / f"FD0:{plane}J3_1.pkl"
        wrapped = {f"module.{key}": value for key, value in snapshot.items()} if plane == "Y" else snapshot
        torch.save(wrapped, path, _use_new_zipfile_serialization=plane == "Z")
        options += [f"--{plane.lower()}", str(path)]
    assert main(["import-weights", "rstn", *options, "--output", str(tmp_path / "model.pt")]) == 0
    assert "249 tensors of the views sagittal, coronal, axial, trained on PLS arrays" in capsys.readouterr().out
    filled = network(slice_axcodes=CODES)
    load_weights(filled, str(tmp_path / "model.pt"))
    assert torch.equal(filled.views["sagittal"].fine.score_fr.weight, snapshots["Y"]["fine_model.score_fr.weight"])
    with pytest.raises(ValueError, match=r"3 unexpected \(views.axial.slice_axes"):
        load_weights(network(), str(tmp_path / "model.pt"))  # which would cut other slices


def test_one_plane_and_other_arrays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(random_tensors(rstn_shapes(DIVISOR)), tmp_path / "z.pkl")
    command = ["import-weights", "rstn", "--z", str(tmp_path / "z.pkl"), "--axcodes", "PLI"]
    assert main([*command, "--output", str(tmp_path / "model.pt")]) == 0
    assert """--views "['axial']\"""" in capsys.readouterr().out
    filled = network(views=["axial"], slice_axcodes=CODES)
    load_weights(filled, str(tmp_path / "model.pt"))
    assert filled.views["axial"].slice_axes.tolist() == [-3, -2, -1]  # the checkpoint's, not the given ones


def test_training_goes_on_from_weights_of_its_own_orientation_alone(tmp_path: Path) -> None:
    """The data set cuts slices by slice_axcodes: a network that took the file's axes would validate on others."""
    snapshots = {plane: random_tensors(rstn_shapes(DIVISOR), seed) for seed, plane in enumerate("XYZ")}
    view = partial(rstn_view, WIDTH, FC)
    for name, axcodes in (("same.pt", "PLS"), ("other.pt", "PLI")):
        save_weights(import_rstn(snapshots, axcodes, view), tmp_path / name)
    started = network(views=["axial"], slice_axcodes=CODES)
    InitialWeights(started, str(tmp_path / "same.pt"))(None)
    assert torch.equal(started.views["axial"].fine.fc.fc6.bias, snapshots["Z"]["fine_model.fc6.bias"])
    for target in (network(views=["axial"], slice_axcodes=CODES), network(views=["axial"])):
        with pytest.raises(ValueError, match=r"other.pt was trained on slices of another orientation \(views.axial"):
            InitialWeights(target, str(tmp_path / "other.pt"))(None)


def test_a_start_of_training_fills_both_stages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = random_tensors(fcn_shapes(21, DIVISOR))
    torch.save(source, tmp_path / "fcn8s_from_caffe.pth", _use_new_zipfile_serialization=False)
    command = ["import-weights", "fcn8s", str(tmp_path / "fcn8s_from_caffe.pth"), "--views", "axial", "sagittal"]
    assert main([*command, "--output", str(tmp_path / "start.pt")]) == 0
    out = capsys.readouterr().out
    assert "120 tensors for the coarse and fine networks of sagittal, axial." in out
    assert "Left out: score and up-sampling layers (21 classes)" in out
    # one tensor under four names is one tensor in the file
    assert (tmp_path / "start.pt").stat().st_size < 2 * 4 * sum(value.numel() for value in source.values())
    started = CoarseToFineNet(SMALL, SMALL, views=["sagittal", "axial"])
    InitialWeights(started, str(tmp_path / "start.pt"))(None)
    assert torch.equal(started.views["axial"].fine.block5.conv5_3.weight, source["conv5_3.weight"])
    assert torch.equal(started.views["sagittal"].coarse.fc.fc6.weight, source["fc6.weight"])


def test_a_start_for_single_slices_fits_them(tmp_path: Path) -> None:
    source = random_tensors(fcn_shapes(21, DIVISOR))
    torch.save(source, tmp_path / "fcn8s.pth")
    command = ["import-weights", "fcn8s", str(tmp_path / "fcn8s.pth"), "--in-slices", "1", "--views", "axial"]
    assert main([*command, "--output", str(tmp_path / "start.pt")]) == 0
    started = CoarseToFineNet(
        partial(SMALL, 1, 1), partial(SMALL, 1, 1), views=["axial"], slab=SlabSpec(in_slices=1, out_slices=1)
    )
    InitialWeights(started, str(tmp_path / "start.pt"))(None)
    own = started.views["axial"].fine.block1.conv1_1.weight
    torch.testing.assert_close(own, source["conv1_1.weight"].sum(dim=1, keepdim=True))


def test_bad_input_is_one_line_and_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rstn, fcn, text = tmp_path / "rstn.pkl", tmp_path / "fcn.pth", tmp_path / "text.pth"
    torch.save(random_tensors(rstn_shapes(DIVISOR)), rstn)
    torch.save(random_tensors(fcn_shapes(21, DIVISOR)), fcn)
    torch.save({"epoch": 3, "state": {}}, tmp_path / "checkpoint.pth")
    text.write_text("no weights", encoding="utf-8")
    for arguments, message in (
        (["rstn"], "give at least one snapshot: --x, --y and --z"),
        (["rstn", "--x", str(fcn)], "the snapshot of plane X is not a snapshot of RSTN's port: 82 missing"),
        (["rstn", "--x", str(rstn), "--axcodes", "up"], "axis codes must be letters"),
        (["rstn", "--x", str(tmp_path / "none.pkl")], "there are no weights at"),
        (["fcn8s", str(rstn)], f"error: {rstn}: the file is not FCN-8s of 21 classes: 39 missing"),
        (["fcn8s", str(fcn), "--in-slices", "0"], "in_slices must be at least 1, got 0"),
        (["fcn8s", str(text)], f"error: {text} cannot be read as weights"),
        (["fcn8s", str(tmp_path / "checkpoint.pth")], "not a flat state_dict of tensors: epoch, state are none"),
        (["fcn8s", str(fcn), "--views", "front"], "'front' is not a valid View"),
        (["vgg16", str(fcn)], "is not VGG-16 of 1000 classes without batch norm: 32 missing"),
    ):
        assert main(["import-weights", *arguments, "--output", str(tmp_path / "model.pt")]) == 1
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1, error
    assert not (tmp_path / "model.pt").exists()


def test_lite0_and_vgg16_features_become_a_start(
    tmp_path: Path, shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, start = shared_data / "pretrained", tmp_path / "start.pt"
    for kind, file, part, key in (
        ("lite0", "efficientnet_lite0_imagenet.fp16.pt", partial(LiteUNet, 1, 1), "unet.encoder._conv_stem.weight"),
        ("vgg16", "vgg16_imagenet_features.fp16.pt", partial(FCN8s, 1, 1, fc_channels=8), "block5.conv5_3.weight"),
    ):
        slices = ["--in-slices", "1"] if kind == "vgg16" else []
        command = ["import-weights", kind, str(folder / file), "--views", "axial", *slices]
        assert main([*command, "--output", str(start)]) == 0
        assert "for the coarse and fine networks of axial. Left out: the" in capsys.readouterr().out
        state = torch.load(start, weights_only=True)
        started = CoarseToFineView(part, part)
        own = {k.removeprefix("views.axial."): v for k, v in state.items()}
        _, unexpected = started.load_state_dict(own, strict=False)  # raises for other shapes
        assert unexpected == [] and torch.equal(started.fine.state_dict()[key], own[f"coarse.{key}"])


def test_what_is_read_and_what_is_no_weights_of_views_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fcn, rstn = tmp_path / "fcn.pth", tmp_path / "z.pkl"
    torch.save(random_tensors(fcn_shapes(21, DIVISOR)), fcn)
    torch.save(random_tensors(rstn_shapes(DIVISOR)), rstn)
    torch.save({"weight": torch.ones(1)}, tmp_path / "other.pt")
    (tmp_path / "thesis.txt").write_text("five years", encoding="utf-8")
    (tmp_path / "new.json").write_text('{"window": [-5, 5]}', encoding="utf-8")
    (tmp_path / "sub").mkdir()
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    for words, output, message in (
        (["fcn8s", str(fcn)], "sub/../fcn.pth", "is one of the files to import, which stay as they are"),
        (["rstn", "--z", str(rstn)], "z.pkl", "is one of the files to import, which stay as they are"),
        (["fcn8s", str(fcn)], "thesis.txt", "thesis.txt exists and holds no weights of views"),
        (["fcn8s", str(fcn)], "other.pt", "other.pt exists and holds no weights of views"),
        (["rstn", "--z", str(rstn)], "new.pt", "new.json is about other weights than"),
        (["fcn8s", str(fcn)], "sub", "sub is a folder: give a file as --output"),
    ):
        assert main(["import-weights", *words, "--output", str(tmp_path / output)]) == 1
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1, error
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_settings_of_the_weights_that_were_there_do_not_stay(tmp_path: Path) -> None:
    torch.save(random_tensors(fcn_shapes(21, DIVISOR)), tmp_path / "fcn.pth")
    command = ["import-weights", "fcn8s", str(tmp_path / "fcn.pth"), "--output", str(tmp_path / "start.pt")]
    assert main([*command, "--views", "coronal"]) == 0
    (tmp_path / "start.json").write_text('{"window": [-5, 5]}', encoding="utf-8")
    assert main([*command, "--views", "axial"]) == 0
    assert not (tmp_path / "start.json").exists()
    assert all(key.startswith("views.axial.") for key in torch.load(tmp_path / "start.pt", weights_only=True))
