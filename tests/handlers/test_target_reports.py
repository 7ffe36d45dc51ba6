# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor

from c2f_monai.handlers import CaseReport, TargetReports
from c2f_monai.inferers import CaseRecord, RoundRecord
from c2f_monai.metrics.tables import read_cases


def volume(*values: int) -> MetaTensor:
    data = torch.zeros(1, 2, 2, 2)
    data.view(-1)[: len(values)] = torch.tensor(values, dtype=data.dtype)
    return MetaTensor(data, affine=torch.eye(4), meta={"filename_or_obj": "a.nii.gz"})


def record(*classes: list[int]) -> CaseRecord:
    mask = torch.cat([torch.as_tensor(volume(*one)) > 0 for one in classes])
    return CaseRecord("a", [RoundRecord(0, None, int(mask.sum()), None, ((0, 1),) * 3, 0.5)], masks=[mask])


def run(reports: TargetReports, item: dict[str, Any], pred: MetaTensor) -> None:
    def step(engine: Engine, case: Any) -> Any:
        engine.state.batch = [item]
        return [{"pred": pred, "image": pred}]

    engine = Engine(step)
    reports.attach(engine)
    engine.run([0])


# Prediction: organ at 0..2 of which 2 is neoplasm. Truth: organ 0..3 of which 2 and 3 are neoplasm.
PRED = volume(1, 1, 2)
TRUTH = {"label": torch.cat([volume(1, 1, 1, 1), volume(0, 0, 1, 1)])}


def test_every_target_has_its_table_from_a_label_file(tmp_path: Path) -> None:
    label = np.zeros((2, 2, 2), np.uint8)
    label.flat[:4] = [1, 1, 2, 2]
    nib.save(nib.Nifti1Image(label, np.eye(4)), tmp_path / "label.nii.gz")
    organ, neoplasm = (SimpleNamespace(records=[record(one)]) for one in ([1, 1, 1], [0, 0, 1, 1]))
    path = str(tmp_path / "out" / "cases.csv")
    reports = TargetReports([organ, neoplasm], [[1, 2], 2], [[1, 2], [2]], ["organ", "cyst"], path)
    run(reports, {"label": str(tmp_path / "label.nii.gz")}, PRED)
    names = ["cases_cyst.csv", "cases_organ.csv", "summary_cyst.json", "summary_organ.json"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    # Organ: 3 of 4 found, nothing else. Cyst: 1 of 2 found in the answer, both in the record's mask.
    rows = {name: read_cases(tmp_path / "out" / f"cases_{name}.csv")["a"] for name in ("organ", "cyst")}
    assert [rows["organ"].number(key) for key in ("dsc", "dsc_round_0")] == pytest.approx([6 / 7, 6 / 7], abs=1e-6)
    assert [rows["cyst"].number(key) for key in ("dsc", "dsc_round_0")] == pytest.approx([2 / 3, 1.0], abs=1e-6)
    assert json.loads((tmp_path / "out" / "summary_cyst.json").read_text(encoding="utf-8"))["all"]["cases"] == 1


def test_classes_of_one_network_are_told_apart() -> None:
    inferer = SimpleNamespace(records=[record([1, 1, 1], [0, 0, 1, 1])])
    reports = TargetReports(inferer, [[1, 2], [2]], [[1, 2], [2]])
    run(reports, {**TRUTH, "label_grid": TRUTH["label"]}, PRED)
    organ, neoplasm = (reports.reports[name].rows[0] for name in ("1_2", "2"))
    assert (organ["dsc"], organ["dsc_round_0"]) == (pytest.approx(6 / 7), pytest.approx(6 / 7))
    assert (neoplasm["dsc"], neoplasm["dsc_round_0"]) == (pytest.approx(2 / 3), 1.0)
    assert (organ["label_voxels"], neoplasm["label_voxels"]) == (4, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pred_value": [1]}, "every target needs one entry in each list, got .*'pred_value': 1"),
        ({"targets": ["a", "a"]}, r"targets must have different names, got \['a', 'a'\]"),
        ({"inferer": [None]}, "'inferer': 1"),
        ({"label_value": [], "pred_value": []}, "'label_value': 0"),
    ],
)
def test_lists_that_do_not_fit_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TargetReports(**{"inferer": None, "label_value": [1, 2], "pred_value": [1, 2], **arguments})


def test_a_report_of_one_target_refuses_classes() -> None:
    with pytest.raises(ValueError, match=re.escape("about one target, got label_value [[1], [2]]: use TargetReports")):
        CaseReport(None, label_value=[[1], [2]])  # type: ignore[arg-type]
