# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The notebook docs/tour.ipynb, cell by cell in one namespace, as a kernel runs it."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.processes import run_python

RUN = """
import json, sys
names = {}
for number, source in enumerate(json.loads(sys.argv[1])):
    exec(compile(source, f"cell {number}", "exec"), names)
dsc, changes = names["dsc"], [entry.dsc for entry in names["record"].rounds[1:]]
print(json.dumps([dsc[0], dsc[-1], changes[-1], list(names["maps"]["weights"].shape)]))
"""


def test_every_cell_runs_and_the_rounds_help(project_root: Path, tmp_path: Path) -> None:
    cells = json.loads((project_root / "docs" / "tour.ipynb").read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    path = os.environ | {"PYTHONPATH": str(project_root)}
    done = run_python(["-c", RUN, json.dumps(sources)], tmp_path, path, timeout=540)
    assert done.returncode == 0, done.stderr[-3000:]
    coarse, last, change, shape = json.loads(done.stdout.splitlines()[-1])
    assert 0.8 < coarse < last and change >= 0.99 and shape[0] == 3
    assert (tmp_path / "tour" / "run" / "model.pt").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["tour"]
