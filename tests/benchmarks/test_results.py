# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Records of results: tables and claims made of them are those of the parts."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.chapter.command import main
from benchmarks.chapter.methods import RSTN, STEPWISE
from benchmarks.chapter.parts import ExperimentSettings, cases_file, evaluation_part
from benchmarks.chapter.plan import Evaluation, rounds_of
from benchmarks.chapter.report import write_report
from benchmarks.chapter.results import figures_of, has_result, read_evaluation, write_record
from benchmarks.chapter.tables import DEFAULT_ORGANS, build_tables
from benchmarks.chapter.verdicts import write_verdicts

TABLES = build_tables(DEFAULT_ORGANS)
RECORD = Path(__file__).resolve().parents[2] / "docs" / "results"
BOTH = (rounds_of(STEPWISE), rounds_of(RSTN))


def write_part(evaluation: Evaluation, settings: ExperimentSettings, seed: int) -> None:
    """An evaluation of two cases and ten rounds that is done."""
    part, path = evaluation_part(evaluation, settings, None, seed), cases_file(evaluation, settings, None, seed)
    path.parent.mkdir(parents=True)
    columns = ["case", "group", *(f"dsc_round_{t}" for t in range(11)), *(f"d_{t}" for t in range(1, 11))]
    lines = [",".join([*columns, "stop_reason", "label_voxels"])]
    for case, dsc in (("001", 0.5), ("002", 0.75)):  # names that are no numbers
        rounds = [f"{dsc + seed / 10 + t / 100:.6f}" for t in range(11)]
        lines.append(",".join([case, "plain", *rounds, *["0.900000"] * 10, "fixed rounds", "9"]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    (path.parent / "001_rounds.png").write_bytes(b"png")
    (path.parent / "saliency.csv").write_text(
        f"case,view,channel,target,around\n001,axial,1,{1 + seed},1.5\n", encoding="utf-8"
    )
    (path.parent / "arguments.json").write_text(json.dumps(part.command), encoding="utf-8")
    made = {"source": {"commit": str(seed)}, "versions": {"torch": "2"}, "machine": {"cpu": "x"}}
    part.result.write_text(
        json.dumps({"part": part.name, "seconds": 30.0, "command": "a command", **made}), encoding="utf-8"
    )


@pytest.fixture
def settings(tmp_path: Path) -> ExperimentSettings:
    found = ExperimentSettings(tmp_path, tmp_path / "out", seeds=(0, 1, 2))
    for evaluation in BOTH:
        for seed in (0, 1):
            write_part(evaluation, found, seed)
    return found


def test_a_record_says_what_the_parts_said(settings: ExperimentSettings, tmp_path: Path) -> None:
    rows = write_record(BOTH, settings, tmp_path / "record")
    recorded = replace(settings, rows=rows)
    for evaluation in BOTH:
        assert [has_result(evaluation, recorded, None, seed) for seed in (0, 1, 2)] == [True, True, False]
        for seed in (0, 1):
            kept, written = (read_evaluation(evaluation, s, None, seed) for s in (recorded, settings))
            assert list(kept) == list(written) == ["001", "002"]
            for case, row in written.items():
                assert row.values.items() <= kept[case].values.items()
        assert [path.name for path in figures_of(evaluation, recorded)] == ["001_rounds.png"]
    parts = json.loads((tmp_path / "record" / "parts.json").read_text(encoding="utf-8"))
    assert [shared["source"]["commit"] for shared in parts["made with"]] == ["0", "1"]
    assert {(part["part"], part["made with"]) for part in parts["parts"]} == {
        (f"evaluation/{evaluation.name}/seed{seed}", seed) for evaluation in BOTH for seed in (0, 1)
    }
    with pytest.raises(ValueError, match=r"rows.csv has no rstn_rounds with seed 2: give other --seeds"):
        read_evaluation(BOTH[1], recorded, None, 2)
    with pytest.raises(ValueError, match="has no evaluation that is done"):
        write_record(BOTH, replace(settings, seeds=(2,)), tmp_path / "none")


def test_tables_and_claims_of_a_record_are_those_of_the_parts(settings: ExperimentSettings, tmp_path: Path) -> None:
    table, both = TABLES["convergence"], replace(settings, seeds=(0, 1))
    parts = [evaluation_part(evaluation, settings, None, seed) for evaluation in BOTH for seed in (0, 1)]
    record = tmp_path / "record"
    recorded = replace(both, rows=write_record(BOTH, both, record), output=record)
    texts = []
    for found in (both, recorded):
        report, claims = write_report(table, found, parts, "a command"), write_verdicts(TABLES, found, "a command")
        texts.append(
            (
                report.read_text(encoding="utf-8"),
                claims.read_text(encoding="utf-8"),
                report.with_name("rows.csv").read_text(encoding="utf-8"),
            )
        )
    old, new = texts
    assert new[1:] == old[1:] and "not enough seeds" in new[1] and "| 0 | axial | -0.500 |" in new[1]
    assert new[0] == old[0].replace("evaluation", "figures").replace("/seed0", "")
    # What the record names is in it.
    shutil.rmtree(settings.output)
    assert (record / "figures" / "rstn_rounds" / "001_rounds.png").is_file()


def test_claims_of_a_record_without_saliency_maps_are_made(settings: ExperimentSettings, tmp_path: Path) -> None:
    recorded = replace(settings, seeds=(0, 1), rows=write_record(BOTH, settings, tmp_path / "record"))
    (tmp_path / "record" / "saliency.csv").unlink()
    text = write_verdicts(TABLES, recorded, "a command").read_text(encoding="utf-8")
    assert "not enough seeds" in text and "| 0 | axial |" not in text


def test_rows_that_a_record_has_not_stay_empty(settings: ExperimentSettings, tmp_path: Path) -> None:
    """A record may be older than a table's rows."""
    both = replace(settings, seeds=(0, 1))
    parts = [evaluation_part(evaluation, settings, None, seed) for evaluation in BOTH for seed in (0, 1)]
    recorded = replace(both, rows=write_record(BOTH, both, tmp_path / "record"), output=tmp_path / "made")
    table = TABLES["joint"]
    lines = write_report(table, recorded, parts, "a command").read_text(encoding="utf-8").splitlines()
    assert "| joint fine on separate coarse |  |  |  |  | 83.80 |" in lines
    compared = [line.split(" | ")[0] for line in lines if " - " in line and line.startswith("| ")]
    assert compared == ["| coarse, trained jointly - coarse, trained apart"]
    (absent,) = (line for line in lines if line.startswith("Rows that were not run"))
    assert absent.endswith("as long, vote; joint fine on separate coarse.")
    with pytest.raises(ValueError, match="with seed 2: give other --seeds"):  # of none of the rows: a wrong seed
        write_report(TABLES["convergence"], replace(recorded, seeds=(2,)), parts, "a command")


def test_the_projects_records_still_give_their_claims(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Verdicts and numbers in docs/ are those of this code."""
    cysts = ["cyst", "distance", "--organ_distance_mm", "30"]  # what 15 voxels of 2 mm were
    for name, tables in (("experiments", []), ("experiments-cysts", cysts)):
        folder = RECORD / name
        options = ["--rows", str(folder / "rows.csv"), "--output", str(tmp_path), "--seeds", "0", "1", "2"]
        assert main(["claims", *tables, *options]) == 0
        written = (folder / "tables" / "claims.md").read_text(encoding="utf-8").splitlines()
        made = capsys.readouterr().out.splitlines()
        assert [line for line in made if line.startswith("| ")] == [line for line in written if line.startswith("| ")]
