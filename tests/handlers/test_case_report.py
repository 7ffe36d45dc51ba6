# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ignite.distributed as idist
import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor

from c2f_monai.handlers import CaseReport, case_row, summarize_rows
from c2f_monai.inferers import CaseRecord, RoundRecord
from c2f_monai.utils import StopReason


def mask(*voxels: int, affine: torch.Tensor | None = None, name: str = "a.nii.gz") -> MetaTensor:
    volume = torch.zeros(1, 2, 2, 2)
    volume.view(-1)[list(voxels)] = 1
    return MetaTensor(volume, affine=torch.eye(4) if affine is None else affine, meta={"filename_or_obj": name})


def record(*found: MetaTensor, name: str = "a", change: float = 0.96) -> CaseRecord:
    rounds = [RoundRecord(t, change if t else None, int(m.sum()), 1.0, ((0, 1),) * 3, 0.5) for t, m in enumerate(found)]
    masks = [torch.as_tensor(m) > 0 for m in found]
    return CaseRecord(name=name, rounds=rounds, stop_reason=StopReason.CONVERGED, masks=masks)


def run(report: CaseReport, cases: list[tuple[dict[str, Any], dict[str, Any], CaseRecord]]) -> None:
    """Run an engine whose evaluator-like step puts one prepared case after the other into its state."""

    def step(engine: Engine, case: tuple) -> Any:
        engine.state.batch, report.inferer.records = [case[0]], [case[2]]
        return [case[1]]

    engine = Engine(step)
    report.attach(engine)
    engine.run(cases)


def test_a_row_holds_scores_by_hand() -> None:
    # Truth {0, 1}; coarse {0, 2, 3}: 2*1/5; last {0, 1, 2}: 2*2/5. Voxels of 2x2x2.5 mm are 0.01 ml.
    affine = torch.diag(torch.tensor([2.0, 2.0, 2.5, 1.0]))
    last = mask(0, 1, 2, affine=affine)
    row = case_row(record(mask(0, 2, 3), last), last, mask(0, 1), mask(0, 1), "plain")
    assert row["dsc_round_0"] == pytest.approx(0.4)
    assert row["dsc_round_1"] == row["dsc"] == pytest.approx(0.8)
    assert row["d_1"] == 0.96
    # Surface distances 0, 0 and 2 mm: the 95th percentile lies 0.9 of the way from the second to the third.
    assert row["hd95"] == pytest.approx(1.8)
    assert (row["rounds"], row["stop_reason"], row["seconds"]) == (1, "converged", 1.0)
    assert (row["voxels"], row["label_voxels"], row["group"], row["flags"]) == (3, 2, "plain", "")
    assert row["ml"] == pytest.approx(0.03)


@pytest.mark.parametrize(
    ("pred", "label", "dsc", "flags"),
    [
        (mask(0), None, None, ""),
        (mask(0), mask(), 0.0, "empty truth"),
        (mask(), mask(0), 0.0, "nothing found"),
        (mask(), mask(), None, "nothing found; empty truth"),
    ],
)
def test_what_cannot_be_scored_is_flagged(pred: MetaTensor, label: MetaTensor | None, dsc, flags: str) -> None:
    row = case_row(record(pred), pred, label)
    assert (row["dsc"], row["hd95"], row["flags"]) == (dsc, None, flags)


@pytest.mark.parametrize(
    ("found", "label", "grid", "dsc"),
    [
        (mask(), mask(0), mask(), 0.0),  # missed, and lost in the resampling
        (mask(), mask(), mask(), None),  # no target
        (mask(0), mask(), mask(), 0.0),
        (mask(0), mask(0), mask(0), 1.0),
    ],
)
def test_rounds_of_an_empty_working_grid(found: MetaTensor, label: MetaTensor, grid: MetaTensor, dsc) -> None:
    assert case_row(record(found), found, label, grid)["dsc_round_0"] == dsc


@pytest.mark.parametrize(("truth", "recall"), [((0, 1, 2, 3), 0.75), ((4,), 0.0), ((), None)])
def test_a_row_tells_what_share_of_the_truth_the_organs_region_shows(truth: tuple[int, ...], recall) -> None:
    found, label = record(mask(0)), mask(*truth)
    assert "region_recall" not in case_row(found, mask(0), label, label)
    found.region = (mask(0, 1, 2)[0] > 0).as_tensor()
    row = case_row(found, mask(0), label, label)
    assert row["region_recall"] == recall
    assert summarize_rows([row]).get("region_recall", {}).get("mean") == recall
    assert "region_recall" not in case_row(found, mask(0))  # without a truth


def test_the_table_and_the_summary_are_written_by_group(tmp_path: Path) -> None:
    report = CaseReport(SimpleNamespace(records=[]), str(tmp_path / "out" / "cases.csv"))
    good, fair = mask(0, 1), mask(0, 2, name="b.nii.gz")
    run(
        report,
        [
            (
                {"group": "plain", "label_grid": mask(0, 1)},
                {"pred": good, "label": mask(0, 1)},
                record(good, good, good),
            ),
            (
                {"group": "shifted", "label_grid": mask(0, 1)},
                {"pred": fair, "label": mask(0, 1)},
                record(fair, name="b"),
            ),
        ],
    )
    with (tmp_path / "out" / "cases.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == (
        "case,group,dsc,hd95,dsc_round_0,dsc_round_1,dsc_round_2,d_1,d_2,"
        "rounds,stop_reason,seconds,voxels,label_voxels,ml,flags"
    ).split(",")
    assert [(row["case"], row["dsc"], row["dsc_round_2"]) for row in rows] == [
        ("a", "1.000000", "1.000000"),
        ("b", "0.500000", ""),
    ]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert summary["all"]["dsc"] == {"mean": 0.75, "std": 0.25, "max": 1.0, "min": 0.5, "count": 2}
    assert summary["shifted"]["dsc"]["mean"] == 0.5
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cases.csv", "summary.json"]


def test_a_label_file_is_read_and_brought_to_the_working_grid(tmp_path: Path) -> None:
    truth = np.zeros((4, 4, 4), np.uint8)
    truth[:2, :2, :2], truth[2:, :2, :2] = 1, 2
    nib.save(nib.Nifti1Image(truth, np.eye(4)), tmp_path / "label.nii.gz")
    pred = MetaTensor(torch.as_tensor(truth > 0)[None], affine=torch.eye(4), meta={"filename_or_obj": "a.nii.gz"})
    # The working grid has voxels of 2 mm, so its voxel (0, 0, 0) has the center (0.5, 0.5, 0.5) mm.
    grid = torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0]))
    grid[:3, 3] = 0.5
    found = mask(0, 4, affine=grid)
    image = MetaTensor(torch.zeros(1, 2, 2, 2), affine=grid)
    report = CaseReport(SimpleNamespace(records=[]), label_value=[1, 2])
    run(report, [({"label": str(tmp_path / "label.nii.gz")}, {"pred": pred, "image": image}, record(found))])
    assert report.rows[0]["dsc"] == 1.0
    assert report.rows[0]["dsc_round_0"] == 1.0


def test_a_label_file_of_fractions_is_not_scored_as_background(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.full((4, 4, 4), 0.9999, np.float32), np.eye(4)), tmp_path / "label.nii.gz")
    report = CaseReport(SimpleNamespace(records=[]))
    with pytest.raises(ValueError, match="label.nii.gz holds 0.9999 in 64 voxels"):
        run(report, [({"label": str(tmp_path / "label.nii.gz")}, {"pred": mask(0, 4)}, record())])


def test_rows_of_several_processes_are_joined_and_repeated_cases_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    report = CaseReport(SimpleNamespace(records=[]))

    def gather(own: list) -> list:
        return [own, [own[0], own[0] | {"case": "0", "image": "0.nii"}]]

    monkeypatch.setattr(idist, "all_gather", gather)
    run(report, [({}, {"pred": mask(0)}, record(mask(0)))])
    assert [row["case"] for row in report.rows] == ["0", "a"]
    assert report.summary["all"]["cases"] == 2


def test_cases_without_a_score_do_not_enter_the_mean() -> None:
    rows = [
        {"case": "a", "dsc": 0.5, "d_1": 0.9, "voxels": 3, "label_voxels": 4, "stop_reason": "converged", "rounds": 2},
        {"case": "b", "dsc": None, "voxels": 0, "label_voxels": 0, "stop_reason": "empty", "rounds": 0},
    ]
    summary = summarize_rows(rows)
    assert (summary["cases"], summary["converged"], summary["both_empty"]) == (2, 1, 1)
    assert summary["dsc"]["mean"] == 0.5
    assert summary["rounds"]["mean"] == 1.0
    assert summary["d_1"]["mean"] == 0.9


def test_the_summary_takes_a_predicted_bound_for_no_score() -> None:
    row = {"case": "a", "dsc": 0.5, "dsc_bound": 0.4, "voxels": 3, "stop_reason": "converged", "rounds": 2}
    assert set(summarize_rows([row])) == {"cases", "converged", "both_empty", "dsc", "rounds"}


def test_a_folder_that_cannot_be_made_stops_before_the_first_case(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(OSError, match="file"):
        run(CaseReport(SimpleNamespace(records=[]), str(tmp_path / "file" / "cases.csv")), [({}, {}, record(mask(0)))])
