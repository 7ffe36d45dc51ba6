# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The cross-validation on real slices: its plan, its tables, and one run of all commands on made-up patients."""

from __future__ import annotations

import ast
import doctest
import json
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from monai.bundle import ConfigWorkflow

import benchmarks.chapter.run
from benchmarks.chapter.parts import ROOT
from benchmarks.real import budget, pictures, tissues, views, volumes
from benchmarks.real.command import main
from benchmarks.real.pictures import outline
from benchmarks.real.plan import METHODS, MethodRun, inference_options, parts_of_method
from benchmarks.real.rows import read_rows
from benchmarks.real.tables import chapter_lines, comparison_lines, method_lines, round_lines
from benchmarks.real.volumes import component_ml
from tests.bundle.overlays import write_slices
from tests.processes import Command

SCORES = {
    "rstn": {"dsc": (0.8, 0.9, 0.7, 0.6), "dsc_coarse": (0.7, 0.8, 0.7, 0.4), "dsc_oracle": (0.9, 0.9, 0.8, 0.8)}
    | {"dsc_last": (0.8, 0.8, 0.7, 0.5)},
    "unet": {"dsc": (0.7, 0.9, 0.8, 0.2)},
}
#: A network of a few thousand weights, and its training on 64 pixels of 1.6 mm.
NETWORK: dict[str, Any] = {
    "backbone_def": {
        "_target_": "c2f_monai.networks.fcn8s_compact",
        "_mode_": "callable",
        "width": 4,
        "fc_channels": 8,
    },
    "min_size": 32,
    "margin": 4,
}
TINY: dict[str, Any] = {
    **NETWORK,
    "lr_factors": {},
    "learning_rate": 0.02,
    "items_per_epoch": 8,
    "batch_size": 2,
    "val_interval": 8,
    "warmup": 1,
    "slab_multiple": 32,
    "holdout": 0.5,
}


def options_of(ids: Mapping[str, Any]) -> list[str]:
    """Words of a command."""
    return [word for key, value in ids.items() for word in ("--option", f"{key}={value}")]


def words_of(command: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Configurations and options of a monai.bundle run."""
    words = command[command.index("--config_file") :]
    options = dict(zip((word.removeprefix("--") for word in words[::2]), words[1::2], strict=True))
    return ast.literal_eval(options.pop("config_file")), options


@pytest.mark.parametrize(
    ("name", "own", "evaluations"),
    [
        ("rstn", [], ["final", "coarse", "last", "rounds", "oracle"]),
        ("rstn_fine_first", [], ["final", "coarse", "last", "rounds", "oracle"]),
        ("rstn_from_stepwise", ["configs/run/from_coarse.json"], ["final", "coarse", "last", "rounds", "oracle"]),
        ("stepwise", ["bundle/configs/stepwise.json"], ["final", "coarse", "last", "rounds", "oracle"]),
        ("single_stage", ["configs/baseline/coarse_only.json"], ["final"]),
        ("unet", ["configs/network/unet.json", "configs/baseline/coarse_only.json"], ["final"]),
    ],
)
def test_a_method_is_a_list_of_configurations(
    name: str, own: list[str], evaluations: list[str], tmp_path: Path
) -> None:
    run = MethodRun(METHODS[name], tmp_path / "data", tmp_path / "out", 2, 1, {"epochs": 9})
    training, found = parts_of_method(run)
    files = ["bundle/configs/train.json", "configs/data/nih_slices.json", *own]
    assert words_of(training.command)[0] == [*files, "configs/run/time_limit.json"]
    options = words_of(training.command)[1]
    assert (options["fold"], options["seed"], options["epochs"]) == ("2", "1", "9")
    assert training.product == run.folder / "checkpoint_9.pt" and training.resumes
    assert [part.name for part in found] == [f"evaluation/{name}_{what}/fold2_seed1" for what in evaluations]
    for part in found:
        assert words_of(part.command)[0][: len(files) + 1] == [*files, "bundle/configs/evaluate.json"]
        assert words_of(part.command)[1]["ckpt_path"] == str(run.weights)
    one_network = "max_rounds" in inference_options(METHODS[name], {})
    assert one_network == (name in ("single_stage", "unet"))
    assert inference_options(METHODS[name], {"margin": 4, "epochs": 9}).get("margin") == 4


def made_up(*methods: str) -> pd.DataFrame:
    """Rows of four patients in two folds, three rounds each."""
    rows = []
    for method in methods:
        for number, patient in enumerate("abcd"):
            row: dict[str, Any] = {"method": method, "fold": number // 2, "seed": 0, "patient": patient, "rounds": 2}
            row |= {column: values[number] for column, values in SCORES[method].items()}
            row |= {"train_seconds": 100.0 + number // 2, "seconds": 1.0, "stop_reason": "converged"}
            if method == "rstn":
                row |= {"dsc_round_0": 0.5} | {f"dsc_round_{t}": 0.6 + 0.01 * t for t in range(1, 11)}
                row |= {f"d_{t}": 0.9 + 0.005 * t for t in range(1, 11)} | {"rounds_stop_reason": "fixed rounds"}
            rows.append(row)
    return pd.DataFrame(rows)


def cells(lines: Sequence[str], first: str) -> list[str]:
    """Cells of the first row of tables that begins with a text."""
    line = next(line for line in lines if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_table_of_methods_by_hand() -> None:
    lines = method_lines(made_up("rstn", "unet"))
    rstn = cells(lines, "RSTN")
    assert rstn[1:3] == ["4", "75.00±11.18 (90.00, 60.00)"]
    assert rstn[4:] == ["0: 85.00, 1: 65.00", "2.00", "100"]  # 100.5 s, halves to even
    assert cells(lines, "RSTN, coarse answer")[2] == "65.00±15.00 (80.00, 40.00)"
    assert cells(lines, "RSTN, true box")[2] == "85.00±5.00 (90.00, 80.00)"
    assert cells(lines, "single-stage MONAI 2D UNet")[2] == "65.00±26.93 (90.00, 20.00)"


def test_differences_are_those_of_the_same_patients() -> None:
    rows = made_up("rstn", "unet")
    lines = comparison_lines(rows)
    coarse = cells(lines, "RSTN - its coarse answer")
    assert (coarse[1], coarse[2], coarse[5]) == ("4", "+10.00±7.07", "3/0/1")
    rival = cells(lines, "RSTN - single-stage MONAI 2D UNet")
    assert (rival[2], *rival[4:6]) == ("+10.00±18.71", "-10.00 .. +40.00", "2/1/1")
    # A rival that has not been through all folds is compared on those that it has.
    part = rows[(rows["method"] == "rstn") | (rows["fold"] == 0)]
    assert cells(comparison_lines(part), "RSTN - single-stage MONAI 2D UNet")[1:3] == ["2", "+5.00±5.00"]


def test_seeds_are_averaged_by_patient() -> None:
    first, second = made_up("unet"), made_up("unet")
    second[["seed", "dsc"]] = np.stack([np.ones(4), second["dsc"] - 0.1], axis=1)
    row = cells(method_lines(pd.concat([first, second])), "single-stage MONAI 2D UNet")
    assert row[1:3] == ["4", "60.00±26.93 (85.00, 15.00); 2 seeds, std of their means 5.00"]


def test_rounds_and_the_chapters_numbers_stand_beside() -> None:
    rows = made_up("rstn")
    lines = round_lines(rows, "rstn")
    assert cells(lines, "coarse")[1].startswith("50.00±0.00") and cells(lines, "10 rounds")[1].startswith("70.00")
    assert cells(lines, "d >= 0.95")[1].startswith("70.00") and cells(lines, "d >= 0.95")[4] == "4 of 4"
    assert cells(lines, "d >= 0.90")[1].startswith("61.00")
    assert cells(lines, "3") == ["3", "4", "0.9150", "0.9150", "0.9150"]
    beside = chapter_lines(rows)
    assert cells(beside, "RSTN")[1::2] == ["84.50±4.97 (91.02, 62.81)", "75.00±11.18 (90.00, 60.00)"]
    assert cells(beside, "step-wise")[3] == "" and "Not comparable: here" in " ".join(" ".join(beside).split())


def test_a_patient_is_tested_once(tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    for fold in (0, 1):
        made_up("unet").assign(fold=fold).to_csv(tmp_path / "rows" / f"unet_fold{fold}.csv", index=False)
    with pytest.raises(ValueError, match="unet with seed 0 has the patient a in two folds"):
        read_rows(tmp_path)
    with pytest.raises(ValueError, match="there are no rows in"):
        read_rows(tmp_path / "none")


@pytest.mark.parametrize("module", [budget, pictures, tissues, views, volumes])
def test_examples_of_docstrings_hold(module: ModuleType) -> None:
    found = doctest.testmod(module)
    assert found.attempted > 0 and found.failed == 0


def test_an_outline_is_the_edge_of_a_mask() -> None:
    mask = np.zeros((6, 6), bool)
    mask[1:5, 1:5] = True
    assert outline(mask).sum() == 12 and not outline(mask)[2:4, 2:4].any()


def test_components_of_an_answer(tmp_path: Path) -> None:
    mask = np.zeros((8, 8, 8), np.uint8)
    mask[0, 0, 0] = mask[1, 1, 1] = 1  # corners do not connect
    mask[4:6, 4:6, 4:6] = 1
    nib.save(nib.Nifti1Image(mask, np.diag([5.0, 5.0, 10.0, 1.0])), tmp_path / "a_seg.nii.gz")
    assert component_ml(tmp_path / "a_seg.nii.gz") == pytest.approx([2.0, 0.25, 0.25])


def in_this_process(command: Sequence[str], *_: Any) -> int:
    """Run a part as its process would."""
    files, texts = words_of(command)
    options: dict[str, Any] = {}
    for key, text in texts.items():
        try:
            options[key] = ast.literal_eval(text)
        except (SyntaxError, ValueError):
            options[key] = text
    flow = ConfigWorkflow(
        [str(ROOT / file) for file in files], workflow_type="train", meta_file=None, logging_file=False, **options
    )
    flow.initialize()
    flow.run()
    return 0


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Options of a data set of two folds and of a folder of runs; parts run in this process."""
    folder = tmp_path_factory.mktemp("real")
    data = write_slices(folder, patients=4, side=64, folds=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmarks.chapter.run, "_execute", in_this_process)
        patch.chdir(ROOT)
        yield ["--data", str(data), "--output", str(folder / "out")]


@pytest.fixture(scope="module")
def trained(places: list[str]) -> Path:
    """Folder of RSTN and of a rival that has one epoch, trained and evaluated on the first fold."""
    tiny = options_of(TINY)
    assert main(["train", "rstn", "--fold", "0", *places, *options_of({**TINY, "epochs": 8})]) == 0
    limit = ["--seconds", "0.01", "--measure", "0.1"]
    assert main(["train", "single_stage", "--fold", "0", *places, *tiny, *limit]) == 0
    for method in ("rstn", "single_stage"):
        assert main(["evaluate", method, "--fold", "0", *places]) == 0
    return Path(places[-1])


def test_what_is_not_trained_is_named(places: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for words, message in (
        (["train", "single_stage"], "single_stage gets the seconds of rstn: train that first, or give --seconds"),
        (["train", "rstn", "--seconds", "5"], "rstn sets the seconds of the others"),
        (["train", "rstn", "--start", "none.pt"], "there is no file none.pt"),
        (["train", "rstn", "--weights", __file__], "--weights needs --seconds"),
        (["evaluate", "rstn"], "has no finished training: run train first"),
    ):
        assert main([*words, "--fold", "1", *places]) == 1
        assert message in capsys.readouterr().err
    assert main(["pictures", "unet", *places]) == 1
    assert "has no weights with seed 0: train first" in capsys.readouterr().err


def test_a_training_that_is_told_to_end_leaves_no_process_behind(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(
        f"#!/bin/sh\necho $$ > {tmp_path / 'part'}\nmv {tmp_path / 'part'} {tmp_path / 'pid'}\nexec sleep 60\n"
    )
    python.chmod(0o700)
    words = ["train", "rstn", "--fold", "0", "--data", str(tmp_path), "--output", str(tmp_path / "out")]
    code = f"import sys; sys.executable = {str(python)!r}\nfrom benchmarks.real.command import main\nmain({words})"
    training = Command(["-c", code], ROOT, stderr=tmp_path / "stderr")
    until = time.monotonic() + 60
    while not (tmp_path / "pid").exists() and training.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    part = int((tmp_path / "pid").read_text())
    training.send_signal(signal.SIGTERM)
    assert training.wait(30) == 128 + signal.SIGTERM
    assert "stopped by SIGTERM: what is done stays" in (tmp_path / "stderr").read_text()
    assert _has_ended(part)


def _has_ended(pid: int) -> bool:
    """Whether a process is gone, or a zombie that the machine's first process has not collected yet."""
    state = Path(f"/proc/{pid}/stat")
    try:
        os.kill(pid, 0)
        return state.exists() and state.read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return True


def test_a_fold_is_trained_evaluated_and_tabled(trained: Path) -> None:
    assert (trained / "training" / "single_stage" / "fold0_seed0" / "checkpoint_1.pt").is_file()
    assert main(["tables", "--output", str(trained)]) == 0
    table = (trained / "tables" / "table.md").read_text(encoding="utf-8").splitlines()
    rows = read_rows(trained / "tables" / "rows.csv")
    assert rows["patient"].tolist() == ["p0", "p1"] * 2
    own = rows[rows["method"] == "rstn"]
    assert (own["dsc"] > 0.3).all() and own["dsc_round_10"].notna().all()  # something was learned
    assert cells(table, "RSTN")[2].startswith(f"{100 * own['dsc'].mean():.2f}±")
    assert cells(table, "RSTN - single-stage Lite0 U-Net")[1] == "2"


def test_weights_that_were_trained_elsewhere_stand_in_for_a_training(trained: Path, places: list[str]) -> None:
    weights = trained / "training" / "rstn" / "fold0_seed0" / "model.pt"
    elsewhere = ["--weights", str(weights), "--seconds", "50"]
    assert main(["train", "rstn", "--fold", "0", "--seed", "1", *places, *elsewhere]) == 0
    folder = weights.parents[1] / "fold0_seed1"
    assert (folder / "model.pt").read_bytes() == weights.read_bytes()
    assert json.loads((folder / "result.json").read_text(encoding="utf-8"))["seconds"] == 50.0


def test_held_out_slices_are_drawn(trained: Path, places: list[str]) -> None:
    assert main(["pictures", "rstn", *places, "--slices", "2", "--worst", "1", "--boxed", "1"]) == 0
    drawn = sorted(path.name for path in (trained / "pictures" / "rstn").iterdir())
    figures = [f"p{n}_{kind}.png" for n in (0, 1) for kind in ("rounds", "saliency")]
    assert drawn == sorted([*figures, "box.png", "random.png", "worst.png"])
    kept = list((trained / "evaluation" / "rstn_boxed_1").glob("fold0_seed0/*_answer.npz"))
    assert [path.name for path in kept] == ["p0_answer.npz"]


def test_volumes_are_segmented_in_several_phases(trained: Path, tmp_path: Path) -> None:
    volume = np.random.default_rng(0).normal(40, 40, (40, 44, 3)).astype(np.int16)
    label = np.zeros(volume.shape, np.uint8)
    label[10:20, 10:20] = 1
    for name, array in (("ct", volume), ("label", label), ("chest", volume - 900)):
        nib.save(nib.Nifti1Image(array, np.diag([1.6, 1.6, 3.0, 1.0])), tmp_path / f"{name}.nii.gz")
    ct, truth, chest = (str(tmp_path / f"{name}.nii.gz") for name in ("ct", "label", "chest"))
    weights = str(trained / "training" / "rstn" / "fold0_seed0" / "model.pt")
    words = ["--weights", weights, "--labeled", ct, truth, "--unlabeled", chest, "--output", str(tmp_path / "out")]
    assert main(["volumes", "rstn", *words, *options_of({**NETWORK, "max_rounds": 1})]) == 0
    found = (tmp_path / "out" / "table.md").read_text(encoding="utf-8").splitlines()
    assert [line.split("|")[1].strip() for line in found[4:]] == ["chest", "ct_plus0", "ct_plus40", "ct_plus80"]
    assert cells(found, "chest")[1] == "" and 0.0 <= float(cells(found, "ct_plus0")[1]) <= 100.0
    shift = np.asarray(nib.load(tmp_path / "out" / "phases" / "ct_plus40.nii.gz").dataobj) - volume
    assert np.array_equal(shift, np.where((volume >= -50) & (volume <= 200), 40, 0))
    assert len(list((tmp_path / "out").glob("*_overlay.png"))) == 4
