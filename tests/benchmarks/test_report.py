# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Reports of experiments from tables of cases made by hand, and the command."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path

import pytest

from benchmarks.chapter.command import build_parser, main, parse_organ
from benchmarks.chapter.markdown import table_lines
from benchmarks.chapter.parts import ROOT, ExperimentSettings, cases_file, parts_of
from benchmarks.chapter.plan import MeanGain, Row, RowPair, Table, Training, rounds_of
from benchmarks.chapter.report import write_report
from benchmarks.chapter.scores import case_scores, gather, paired_scores
from benchmarks.chapter.tables import build_tables
from c2f_monai.apps.training_config import parse_option
from c2f_monai.metrics.rounds import Picked, after_rounds, stopped_at
from tests.bundle.overlays import write_organs

A, B = rounds_of(Training("a")), rounds_of(Training("b"))
TABLE = Table(
    "t",
    "A table",
    (
        Row("a, coarse", A, after_rounds(0), "75.74±10.47 (88.12, 39.99)"),
        Row("a, d >= 0.95", A, stopped_at(0.95)),
        Row("b, coarse", B, after_rounds(0)),
        Row("of others", chapter="71.42±10.11"),
    ),
    (RowPair("a, coarse", "b, coarse", "+2.13±2.67"),),
    {"A": A},
    {"A": {1: "0.9037"}},
    (MeanGain("Mean gain", (RowPair("a, coarse", "b, coarse"), RowPair("a, d >= 0.95", "a, coarse")), "4.29"),),
)
# By method, fold and seed: for each case DSC of the coarse result and two rounds of ten, d(1) and d(2).
RUNS = {
    ("a", 0, 0): {"x": (0.50, 0.60, 0.70, 0.96, 0.99)},
    ("a", 0, 1): {"x": (0.70, 0.80, 0.90, 0.80, 0.90)},
    ("a", 1, 0): {"y": (0.20, 0.30, 0.30, 0.50, 0.95)},
    ("a", 1, 1): {"y": (0.40, 0.40, 0.30, 0.60, 0.70)},
    ("b", 0, 0): {"x": (0.50, 0.50, 0.50, 1.00, 1.00)},
    ("b", 0, 1): {"x": (0.50, 0.50, 0.50, 1.00, 1.00)},
    ("b", 1, 0): {"y": (0.40, 0.50, 0.50, 1.00, 1.00)},
    ("b", 1, 1): {"y": (0.60, 0.50, 0.50, 1.00, 1.00)},
}


@pytest.fixture
def settings(tmp_path: Path) -> ExperimentSettings:
    """Two folds and two seeds, whose evaluations are there."""
    found = ExperimentSettings(write_organs_dataset(tmp_path), tmp_path / "out", folds=[0, 1], seeds=[0, 1])
    for (method, fold, seed), cases in RUNS.items():
        path = cases_file({"a": A, "b": B}[method], found, fold, seed)
        path.parent.mkdir(parents=True)
        # The other rounds of the ten change nothing in the DSC and half of the mask.
        columns = [*(f"dsc_round_{t}" for t in range(11)), *(f"d_{t}" for t in range(1, 11))]
        rows = {case: [*n[:3], *n[2:3] * 8, *n[3:], *[0.5] * 8] for case, n in cases.items()}
        lines = [",".join(["case", *columns, "stop_reason", "label_voxels"])]
        lines += [",".join([case, *map(str, numbers), "fixed rounds", "9"]) for case, numbers in rows.items()]
        lines += [f"without {fold}," + "1.0," * 21 + "empty,0"]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        (path.parent / f"{next(iter(cases))}_rounds.png").write_bytes(b"png")
    for part in parts_of([TABLE], found):
        part.folder.mkdir(parents=True, exist_ok=True)
        made = {"part": part.name, "seconds": 30.0, "source": {"commit": "c"}, "versions": {}, "machine": {}}
        part.result.write_text(json.dumps(made), encoding="utf-8")
    return found


def write_organs_dataset(folder: Path) -> Path:
    (folder / "data").mkdir()
    return write_organs(folder / "data")


def test_cases_of_all_folds_are_averaged_over_the_seeds(settings: ExperimentSettings) -> None:
    curves, left_out = gather(A, settings)
    assert left_out == {"without 0", "without 1"}
    assert {seed: [curve.case for curve in found] for seed, found in curves.items()} == {0: ["x", "y"], 1: ["x", "y"]}
    assert case_scores(curves, after_rounds(0)) == {
        "x": Picked(pytest.approx(0.6), 0.0),
        "y": Picked(pytest.approx(0.3), 0.0),
    }
    # x: stops after round 1 with 0.60, and not at all with 0.90; y: after round 2 with 0.30, and not at all with 0.30.
    assert case_scores(curves, stopped_at(0.95)) == {
        "x": Picked(pytest.approx(0.75), 5.5, 0.5),
        "y": Picked(pytest.approx(0.3), 6.0, 0.5),
    }


def test_the_report_by_hand(settings: ExperimentSettings) -> None:
    path = write_report(TABLE, settings, parts_of([TABLE], settings), "python -m benchmarks.chapter run t")
    lines = path.read_text(encoding="utf-8").splitlines()
    # Means of the seeds over both cases: 35 and 55.
    assert (
        "| a, coarse | 45.00±15.00 (60.00, 30.00); 2 seeds, std of their means 10.00 | 30.00 .. 60.00 | 0.00±0.00 |  "
        "| 75.74±10.47 (88.12, 39.99) |"
    ) in lines
    assert any(line.startswith("| a, d >= 0.95 | 52.50±22.50") and "| 1 of 2 |" in line for line in lines)
    assert "| of others |  |  |  |  | 71.42±10.11 |" in lines
    # Differences of the cases: 60 - 50 and 30 - 50.
    (comparison,) = [line for line in lines if line.startswith("| a, coarse - b, coarse | 2 | -5.00±15.00 |")]
    assert "| -20.00 .. +10.00 | 1/1/0 |" in comparison and comparison.endswith("| +2.13±2.67 |")
    # -5 and (75 + 30 - 60 - 30) / 2 = 7.5.
    gain = "Mean gain: +1.25 points of DSC, 4.29 in the chapter (a, coarse -5.00, a, d >= 0.95 +7.50)."
    assert gain in lines
    assert "Cases without the target, left out: 2 (without 0, without 1)." in lines
    assert "| 1 | 4 | 0.7150 | 0.7000 | 0.5000 | 0.9037 |" in lines
    assert any('{"commit": "c"}' in line and "8.0 minutes" in line for line in lines)
    names = {found.name for found in path.parent.iterdir()}
    assert {"rows.csv", "cases.csv", "box.png", "pairs.png", "convergence.png"} <= names
    assert "- [a_rounds: x_rounds](../../evaluation/a_rounds/fold0_seed0/x_rounds.png)" in lines
    assert "- [DSC of the cases](box.png)" in lines
    with (path.parent / "cases.csv").open(newline="", encoding="utf-8") as file:
        first = next(csv.DictReader(file))
    assert first == {"case": "x", "a, coarse": "0.600000", "a, d >= 0.95": "0.750000", "b, coarse": "0.500000"}


def test_shares_of_converged_seeds_are_told_to_a_tenth() -> None:
    """Of three seeds a case may converge in one or two."""
    numbers = dict.fromkeys(("mean", "std", "max", "min", "low", "high", "seed_std", "rounds_mean", "rounds_std"), 0.5)
    rows = {row.label: {**numbers, "seeds": 3, "cases": 40, "converged": 86 / 3} for row in TABLE.rows}
    (line,) = [line for line in table_lines(TABLE, rows) if line.startswith("| a, d >= 0.95")]
    assert "| 28.7 of 40 |" in line


def test_rows_are_paired_by_case() -> None:
    one = {case: Picked(dsc, 0.0) for case, dsc in (("x", 0.5), ("y", 0.7))}
    other = {case: Picked(dsc, 0.0) for case, dsc in (("y", 0.6), ("x", 0.4))}
    first, second = paired_scores(RowPair("one", "other"), {"one": one, "other": other})
    assert (first.tolist(), second.tolist()) == ([0.5, 0.7], [0.4, 0.6])
    with pytest.raises(ValueError, match="one and other are not about the same cases"):
        paired_scores(RowPair("one", "other"), {"one": one, "other": other | {"z": Picked(0.1, 0.0)}})


def test_a_case_that_two_folds_test_is_refused(settings: ExperimentSettings) -> None:
    source, target = (cases_file(A, settings, fold, 0) for fold in (0, 1))
    target.write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(ValueError, match="a_rounds: the case without 0 is tested in two folds"):
        gather(A, settings)


def test_a_case_that_one_seed_lacks_is_refused(settings: ExperimentSettings) -> None:
    """Else x would count with one seed, and y with the mean of two."""
    path = cases_file(A, settings, 0, 1)
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(line for line in lines if not line.startswith("x,")) + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match="a_rounds: the case x is scored with one of the seeds 0 and 1 only"):
        gather(A, settings)


def test_a_target_that_no_case_has_is_refused(settings: ExperimentSettings) -> None:
    for fold in settings.folds:
        path = cases_file(A, settings, fold, 0)
        path.write_text(path.read_text(encoding="utf-8").replace("fixed rounds,9", "fixed rounds,0"), encoding="utf-8")
    with pytest.raises(ValueError, match="a_rounds: none of the 4 cases has the target"):
        gather(A, settings)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("epochs=3", ("epochs", 3)), ("pixdim=$None", ("pixdim", "$None")), ("views=['axial']", ("views", ["axial"]))],
)
def test_options(text: str, expected: tuple) -> None:
    assert parse_option(text) == expected


def test_organs_and_bad_texts() -> None:
    assert parse_organ("pancreas=1,2") == ("pancreas", (1, 2))
    with pytest.raises(ValueError, match="--organs takes NAME=VALUE or NAME=VALUE,VALUE, got 'liver'"):
        parse_organ("liver")
    with pytest.raises(ValueError, match="--option takes ID=VALUE, got '=3'"):
        parse_option("=3")


def test_the_list_shows_tables_parts_and_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = str(write_organs_dataset(tmp_path))
    common = ["--dataset_dir", data, "--output", str(tmp_path / "out"), "--folds", "3", "--organs", "liver=6"]
    assert main(["list", "organs", *common]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("organs        15 parts,") and line.endswith("each trained alone") for line in lines)
    assert sum("min  training/rstn_organ_liver/fold" in line for line in lines) == 3
    assert main(["run", "tables", *common]) == 1
    assert "there is no table tables: the tables are stepwise, rounds" in capsys.readouterr().err
    assert main(["list", *common, "--only-folds", "3"]) == 1
    assert "--only-folds must be of the 3 folds from 0" in capsys.readouterr().err
    assert main(["list", *common, "--option-of", "unet3", "epochs=4"]) == 1
    assert "rstn_organ_liver, " in (said := capsys.readouterr().err) and "got 'unet3'" in said
    assert main(["list", *common, "--only-folds", "1", "1"]) == 1
    assert "--only-folds names a fold twice: [1, 1]" in capsys.readouterr().err
    assert main(["list", *common, "--seeds", "0", "0"]) == 1
    assert "--seeds names a seed twice: [0, 0]" in capsys.readouterr().err


def test_all_claims_are_those_of_no_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["--dataset_dir", str(write_organs_dataset(tmp_path)), "--output", str(tmp_path / "out")]
    printed = []
    for names in ([], ["all"], ["pixels"]):
        assert main(["claims", *names, *common]) == 0
        printed.append(capsys.readouterr().out.splitlines())
    unnamed, everything, pixels = ([line for line in lines if line.startswith("| ")] for lines in printed)
    assert unnamed == everything
    absent = "| gallbladder may lose in the fine stage | --organs has no gallbladder |"
    assert f"{absent}  |  |  |  |  | not distinguishable |  |" in everything
    assert pixels == [line for line in everything if line.startswith(("| claim ", "| insensitive to the pixel"))]


def documented_commands() -> list[list[str]]:
    """Words of each ``python -m benchmarks.chapter`` in the documents, without variables of the shell."""
    found = []
    for name in ("recipes.md", "experiments.md", "phantom.md"):
        text = (ROOT / "docs" / name).read_text(encoding="utf-8").replace("\\\n", " ")
        lines = [line.strip().removeprefix("$ ") for line in text.splitlines()]
        commands = [line.split("#")[0].split("|")[0] for line in lines if "python -m benchmarks.chapter " in line]
        words = [shlex.split(line) for line in commands if line.lstrip().startswith("python ")]
        found += [[word for word in one if not word.startswith("$")] for one in words]
    return found


def test_commands_of_the_documents_are_understood() -> None:
    commands = documented_commands()
    assert len(commands) > 20
    tables = build_tables({"pancreas": (1, 2), "gallbladder": (5,)})
    # What stands after -- is Snakemake's.
    commands = [words[3 : words.index("--") if "--" in words else None] for words in commands]
    for words in commands:
        args = build_parser().parse_args(words)
        assert set(getattr(args, "tables", [])) <= {*tables, "all"}, words
    asked = {table for words in commands if "data/nih" in words for table in build_parser().parse_args(words).tables}
    assert asked >= {"stepwise", "saliency", "methods"}  # Tables 3.1, 3.2 and 3.3
