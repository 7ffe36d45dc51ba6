# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Merging the weights of views trained apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from c2f_monai.apps.cli import main
from c2f_monai.handlers import save_weights
from c2f_monai.networks import CoarseToFineNet, FCN8s, SaliencyTransform
from c2f_monai.utils import slice_axes_of_views


def make_net(views: list[str], seed: int = 0, width: int = 1) -> CoarseToFineNet:
    torch.manual_seed(seed)
    part = lambda: FCN8s(width=width, fc_channels=2, fc_kernel_size=1, norm="batch")  # noqa: E731
    return CoarseToFineNet(part, part, SaliencyTransform, views=views)


def write(folder: Path, views: list[str], seed: int = 0, width: int = 1) -> str:
    path = folder / f"{'_'.join(views)}{seed}.pt"
    save_weights(make_net(views, seed, width).state_dict(), path)
    return str(path)


def test_merged_views_are_one_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [write(tmp_path, ["axial"], 1), write(tmp_path, ["sagittal", "coronal"], 2)]
    assert main(["merge", *files, "--output", str(tmp_path / "model.pt")]) == 0
    net = make_net(["sagittal", "coronal", "axial"])
    merged = torch.load(tmp_path / "model.pt", weights_only=True)
    net.load_state_dict(merged)
    apart = make_net(["axial"], 1).state_dict()
    assert all(torch.equal(merged[key], value) for key, value in apart.items())
    assert list(merged)[0].startswith("views.sagittal.")
    assert "of the views sagittal, coronal, axial" in capsys.readouterr().out


def test_bad_input_is_one_line_and_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    axial, wide = write(tmp_path, ["axial"], 1), write(tmp_path, ["coronal"], 2, width=2)
    torch.save({"network": {}}, tmp_path / "checkpoint.pt")
    torch.save({"fc.weight": torch.zeros(1)}, tmp_path / "other.pt")
    (tmp_path / "text.pt").write_text("no weights", encoding="utf-8")
    for files, message in (
        ([axial, axial], "the view axial is in"),
        ([axial, wide], "the networks of axial"),
        ([str(tmp_path / "checkpoint.pt")], "is not a flat state_dict of tensors: a checkpoint of training holds more"),
        ([str(tmp_path / "other.pt")], "holds 'fc.weight', which is no weight of a view"),
        ([str(tmp_path / "text.pt")], "cannot be read as weights"),
        ([str(tmp_path / "none.pt")], "there are no weights at"),
    ):
        assert main(["merge", *files, "--output", str(tmp_path / "model.pt")]) == 1
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert not (tmp_path / "model.pt").exists()


def test_the_mean_of_weights_of_one_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [write(tmp_path, ["axial"], seed) for seed in (1, 2)]
    output = str(tmp_path / "model.pt")
    assert main(["merge", "--average", *files, "--output", output]) == 0
    first, second = (torch.load(file, weights_only=True) for file in files)
    mean = torch.load(output, weights_only=True)
    assert mean.keys() == first.keys()
    for key, value in mean.items():
        expected = (first[key] + second[key]) / 2 if value.is_floating_point() else first[key]
        assert torch.allclose(value, expected)
    assert main(["merge", "--average", files[0], write(tmp_path, ["axial"], 3, 2), "--output", output]) == 1
    assert "only weights of one network have a mean" in capsys.readouterr().err


def test_the_coarse_networks_of_another_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    joint, apart, other = (write(tmp_path, ["axial"], seed, width) for seed, width in ((1, 1), (2, 1), (3, 2)))
    output = str(tmp_path / "model.pt")
    assert main(["merge", joint, "--coarse", apart, "--output", output]) == 0
    merged, first, second = (torch.load(path, weights_only=True) for path in (output, joint, apart))
    for key, value in merged.items():
        assert torch.equal(value, (second if key.startswith("views.axial.coarse.") else first)[key])
    assert main(["merge", joint, "--coarse", other, "--output", output]) == 1
    assert "has other views or coarse networks" in capsys.readouterr().err


@pytest.mark.parametrize("theirs", [None, [3, 2, -1]], ids=["of RAS", "flipped"])
def test_weights_of_slices_of_another_orientation_do_not_go_together(
    theirs: list[int] | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files, output = [tmp_path / "turned.pt", tmp_path / "other.pt"], str(tmp_path / "model.pt")
    for seed, (path, axes) in enumerate(zip(files, ([3, -2, -1], theirs), strict=True)):
        own = {} if axes is None else {"views.axial.slice_axes": torch.tensor(axes)}
        save_weights(make_net(["axial"], seed).state_dict() | own, path)
    assert main(["merge", str(files[0]), "--coarse", str(files[1]), "--output", output]) == 1
    assert "other.pt was trained on slices of another orientation than the other weights" in capsys.readouterr().err
    if theirs is not None:
        assert main(["merge", "--average", *map(str, files), "--output", output]) == 1
        assert "only weights of one orientation go together" in capsys.readouterr().err
    assert not Path(output).exists()


def test_a_shared_encoder_stays_with_its_coarse_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = {f"views.axial.{key}": torch.ones(1) for key in ("coarse.encoder.0", "coarse.decoder", "fine.decoder")}
    save_weights(state, tmp_path / "shared.pt")
    save_weights({key: value * 3 for key, value in state.items()}, tmp_path / "other.pt")
    files, output = [str(tmp_path / name) for name in ("shared.pt", "other.pt")], str(tmp_path / "model.pt")
    assert main(["merge", files[0], "--coarse", files[1], "--output", output]) == 1
    assert (
        "share the encoder of the coarse networks (shared_encoder): these stay as they are" in capsys.readouterr().err
    )
    assert main(["merge", "--average", *files, "--output", output]) == 0
    assert {key: value.item() for key, value in torch.load(output, weights_only=True).items()} == dict.fromkeys(
        state, 2
    )


def test_settings_go_with_the_weights(tmp_path: Path) -> None:
    files = [write(tmp_path, ["axial"], 1), write(tmp_path, ["sagittal"], 2)]
    Path(files[0]).with_suffix(".json").write_text(json.dumps({"views": ["axial"], "min_size": 64}), encoding="utf-8")
    assert main(["merge", *files, "--output", str(tmp_path / "model.pt")]) == 0
    kept = json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))
    assert kept == {"views": ["sagittal", "axial"], "min_size": 64}


def write_settings(weights: str, settings: dict[str, Any]) -> None:
    Path(weights).with_suffix(".json").write_text(json.dumps(settings), encoding="utf-8")


@pytest.mark.parametrize("first", [0, 1])
def test_settings_beside_one_of_the_files_are_kept_and_told(
    first: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [write(tmp_path, ["axial"], 1), write(tmp_path, ["sagittal"], 2)]
    write_settings(files[1], {"pixdim": [2.0, 2.0, 2.0], "views": ["sagittal"]})
    given = files if first == 0 else files[::-1]
    assert main(["merge", *given, "--output", str(tmp_path / "model.pt")]) == 0
    kept = json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))
    assert kept == {"pixdim": [2.0, 2.0, 2.0], "views": ["sagittal", "axial"]}
    told = f"no settings lie beside {files[0]}: taken to be those of {files[1]}"
    assert told in capsys.readouterr().out


def test_names_of_values_are_kept_wherever_they_lie(tmp_path: Path) -> None:
    files = [write(tmp_path, ["axial"], 1), write(tmp_path, ["sagittal"], 2)]
    write_settings(files[0], {"views": ["axial"]})
    write_settings(files[1], {"views": ["sagittal"], "output_names": {"1": "liver"}})
    output = tmp_path / "both.pt"
    assert main(["merge", *files, "--output", str(output)]) == 0
    assert json.loads(output.with_suffix(".json").read_text())["output_names"] == {"1": "liver"}


def test_a_value_of_two_names_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [write(tmp_path, ["axial"], 1), write(tmp_path, ["sagittal"], 2)]
    for file, name in zip(files, ("liver", "spleen"), strict=True):
        write_settings(file, {"output_names": {"1": name}})
    output = tmp_path / "both.pt"
    assert main(["merge", *files, "--output", str(output)]) == 1
    assert f"output_names differs, 1 is spleen beside {files[1]} and liver before" in capsys.readouterr().err
    assert not output.exists()


def test_settings_beside_the_coarse_networks_alone_are_kept(tmp_path: Path) -> None:
    files = [write(tmp_path, ["axial"], 1), write(tmp_path, ["axial"], 2)]
    write_settings(files[1], {"window": [-50.0, 150.0], "views": ["axial"], "fine_def": None})
    assert main(["merge", files[0], "--coarse", files[1], "--output", str(tmp_path / "model.pt")]) == 0
    kept = json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))
    assert kept == {"window": [-50.0, 150.0], "views": ["axial"]}


@pytest.mark.parametrize(
    ("axial", "coronal", "axes", "expected"),
    [
        ({"axial": "SPL"}, {"coronal": "PLS"}, None, {"coronal": "PLS", "axial": "SPL"}),
        # Of all views, as imported weights have them: each file speaks of its own.
        ({"axial": "SPL", "coronal": "ARS"}, {"coronal": "PLS"}, None, {"coronal": "PLS", "axial": "SPL"}),
        (None, {"coronal": "PLS"}, None, {"coronal": "PLS", "axial": "SRA"}),
        (None, {"coronal": "PLS"}, {"axial": [3, -2, -1], "coronal": [-2, -1, 3]}, {"coronal": "PLS", "axial": "SPL"}),
        (None, None, None, None),
    ],
)
def test_every_view_keeps_the_orientation_of_its_slices(
    axial: dict[str, str] | None,
    coronal: dict[str, str] | None,
    axes: dict[str, list[int]] | None,
    expected: dict[str, str] | None,
    tmp_path: Path,
) -> None:
    files = []
    for view, codes in (("axial", axial), ("coronal", coronal)):
        files.append(str(tmp_path / f"{view}.pt"))
        own = {} if axes is None else {f"views.{view}.slice_axes": torch.tensor(axes[view])}
        save_weights(make_net([view]).state_dict() | own, files[-1])
        write_settings(
            files[-1], {"views": [view], "min_size": 64} | ({} if codes is None else {"slice_axcodes": codes})
        )
    assert main(["merge", *files, "--output", str(tmp_path / "model.pt")]) == 0
    kept = json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))
    assert kept.pop("slice_axcodes", None) == expected
    assert kept == {"views": ["coronal", "axial"], "min_size": 64}
    if expected is not None:
        assert list(slice_axes_of_views(expected, kept["views"])) == kept["views"]


def test_weights_of_another_meaning_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files, output = [write(tmp_path, ["axial"], 1), write(tmp_path, ["sagittal"], 2)], tmp_path / "model.pt"
    for file, grid in zip(files, (0.8, 2.0), strict=True):
        settings = {"pixdim": [grid] * 3, "max_rounds": int(grid)}
        Path(file).with_suffix(".json").write_text(json.dumps(settings), encoding="utf-8")
    assert main(["merge", *files, "--output", str(output)]) == 1
    assert f"pixdim differs, [0.8, 0.8, 0.8] of {files[0]} and [2.0, 2.0, 2.0] of" in capsys.readouterr().err
    assert not output.exists()


def test_settings_of_the_weights_that_were_there_do_not_stay(tmp_path: Path) -> None:
    files = [write(tmp_path, ["axial"], 1), write(tmp_path, ["sagittal"], 2)]
    save_weights(make_net(["axial"]).state_dict(), tmp_path / "model.pt")
    (tmp_path / "model.json").write_text("{}", encoding="utf-8")
    assert main(["merge", *files, "--output", str(tmp_path / "model.pt")]) == 0
    assert not (tmp_path / "model.json").exists()


@pytest.mark.parametrize("option", ["--average", "--coarse"])
def test_a_file_that_is_merged_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str) -> None:
    first, second = write(tmp_path, ["axial"], 1), write(tmp_path, ["axial"], 2)
    before = Path(second).read_bytes()
    asked = ["merge", first, "--coarse", second] if option == "--coarse" else ["merge", "--average", first, second]
    (tmp_path / "sub").mkdir()
    assert main([*asked, "--output", str(tmp_path / "sub" / ".." / Path(second).name)]) == 1
    assert "is one of the files to merge, which stay as they are: give another --output" in capsys.readouterr().err
    assert Path(second).read_bytes() == before


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("axial1.pth", "axial1.json lies beside {first}, too, and is about it"),
        ("folder", "folder is a folder: give a file as --output"),
        ("merged.json", "weights are a .pt file, with their settings as .json beside them"),
        ("mine.pt", "mine.json is about other weights than {mine}, which is new"),
    ],
)
def test_nothing_else_is_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str], output: str, told: str) -> None:
    files = [write(tmp_path, ["axial"], 1), write(tmp_path, ["sagittal"], 2)]
    Path(files[0]).with_suffix(".json").write_text('{"min_size": 64}', encoding="utf-8")
    (tmp_path / "mine.json").write_text('{"my": "notes"}', encoding="utf-8")
    (tmp_path / "folder").mkdir()
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert main(["merge", *files, "--output", str(tmp_path / output)]) == 1
    assert told.format(first=files[0], mine=tmp_path / "mine.pt") in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


@pytest.mark.parametrize(("content", "told"), [("[1]", "but a list"), ("{", "holds no settings of weights: Expecting")])
def test_settings_that_are_none_are_told_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, told: str
) -> None:
    files = [write(tmp_path, ["axial"], 1), write(tmp_path, ["sagittal"], 2)]
    settings = Path(files[1]).with_suffix(".json")
    settings.write_text(content, encoding="utf-8")
    assert main(["merge", *files, "--output", str(tmp_path / "model.pt")]) == 1
    error = capsys.readouterr().err
    assert f"error: {settings} holds no settings of weights" in error and told in error and error.count("\n") == 1


def test_networks_of_other_settings_have_no_mean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of one layout, but what computes with the tensors is another thing."""
    files = [write(tmp_path, ["axial"], 1), write(tmp_path, ["axial"], 2)]
    for file, size in zip(files, (3, 5), strict=True):
        settings = {"saliency_def": {"_target_": "some.Saliency", "dilation": size}}
        Path(file).with_suffix(".json").write_text(json.dumps(settings), encoding="utf-8")
    assert main(["merge", "--average", *files, "--output", str(tmp_path / "mean.pt")]) == 1
    assert "saliency_def differs" in capsys.readouterr().err and not (tmp_path / "mean.pt").exists()
