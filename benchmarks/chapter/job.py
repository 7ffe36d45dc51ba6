# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.chapter.job PLAN NAME``: one part of a plan, or ``tables/<name>``; the rules' commands."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from .part import ExperimentPart
from .run import run_part

__all__ = ["main"]


def main(file: str, name: str) -> int:
    """0, or 1 when the part fails, which is told in one line."""
    plan = json.loads(Path(file).read_text(encoding="utf-8"))
    try:
        if name.startswith("tables/"):
            from .command import write_planned_table  # with torch, which parts have in processes of their own

            write_planned_table(plan, name.removeprefix("tables/"))
        else:
            run_part(ExperimentPart.from_json(name, plan["parts"][name]))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
