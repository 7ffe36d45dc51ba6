# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Bad and odd inputs between good ones: one folder, one run of the bundle's inference, a row of the table for each."""

from __future__ import annotations

import atexit
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from .fault import Fault, expect
from .odd import Odd
from .odd_folders import FOLDERS, SERIES
from .odd_volumes import FILES, write_good
from .tiny import remove
from .tiny_inference import mask_of, rows_of, segment

__all__ = ["FAULTS", "Night", "answer", "check_night", "night", "run_night"]

ODD: list[Odd] = [*FILES, *SERIES, *FOLDERS]
PARTS = {"volume files between good ones": FILES, "DICOM series": SERIES, "folders": FOLDERS}
#: Odd inputs between two good ones.
STEP = 5
#: Beginnings of flags that a random network's answer has on any input.
OF_THE_ANSWER = ("not converged", "touches border", "empty", "cut by", "fills")
#: Letters of a reason that the table shows.
SHOWN = 200


@dataclass(frozen=True)
class Night:
    """What a run over a folder left.

    Attributes:
        output: folder of masks.
        rows: of cases.csv.
        status: the command's exit status.
        said: on stderr.
        images: the folder.
        alone: folder of masks of the good cases, of a run without the others.
    """

    output: Path
    rows: list[dict[str, str]]
    status: int
    said: str
    images: Path
    alone: Path


def run_night(odd: Sequence[Odd], folder: Path) -> Night:
    """Write odd inputs with good ones between them and segment all; and the good ones without them."""
    images, good = folder / "images", folder / "good"
    images.mkdir()
    good.mkdir()
    for index, one in enumerate(odd):
        if index % STEP == 0:
            for place in (images, good):
                write_good(place / f"i{index:03d}_good.nii.gz")
        one.write(images / f"{_name(index)}{one.suffix}")
    write_good(images / "i999_good.nii.gz")
    write_good(good / "i999_good.nii.gz")
    segment(good, folder / "alone")
    done = segment(images, folder / "masks")
    return Night(folder / "masks", rows_of(folder / "masks"), done.returncode, done.stderr, images, folder / "alone")


@lru_cache(maxsize=1)
def night() -> Night:
    """The run over all odd inputs, made once, before the rows are run apart."""
    folder = Path(tempfile.mkdtemp(prefix="faults-")).resolve()
    atexit.register(remove, folder)
    return run_night(ODD, folder)


def answer(one: Odd, index: int, found: Night) -> str:
    """What became of an odd input.

    Raises:
        UnexpectedError: where it is not what was expected.
    """
    rows = [row for row in found.rows if _name(index) in row["case"]]
    shown = "; ".join(_shown(row, found) for row in rows) or "no case"
    if not one.status:
        expect(not rows, shown)
        return shown
    fitting = [row for row in rows if row["status"] == one.status and _fits(one, row)]
    expect(len(fitting) == one.rows, shown)
    others = {row["status"] for row in rows if row not in fitting}
    expect(others <= ({"done"} if one.status == "skipped" else set()), shown)
    for row in rows:
        is_there = (found.output / f"{row['case']}_seg.nii.gz").is_file()
        expect(is_there == (row["status"] == "done"), f"{shown}; mask {'there' if is_there else 'missing'}")
        if one.same:
            same = np.array_equal(_plain(mask_of(found.output, row["case"])), _good_mask(found))
            expect(same, f"{shown}; another mask than that of the plain volume")
    return shown


def _fits(one: Odd, row: dict[str, str]) -> bool:
    text = _notes(row) if one.status == "done" else row["reason"]
    return one.told in text and (one.rows > 1 or one.status != "done" or bool(one.told) == bool(text))


def _notes(row: dict[str, str]) -> str:
    """Flags of the input, without those of the answer."""
    return "; ".join(flag for flag in row["flags"].split("; ") if flag and not flag.startswith(OF_THE_ANSWER))


def _plain(mask: np.ndarray) -> np.ndarray:
    return mask.reshape(mask.shape[:3])


def _good_mask(found: Night) -> np.ndarray:
    return mask_of(found.alone, "i999_good")


def _shown(row: dict[str, str], found: Night) -> str:
    told = row["reason"] or _notes(row)
    text = f"{row['status']}{': ' if told else ''}{told}".replace(f"{found.images}/", "")
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def check_night(found: Night) -> str:
    """That the good cases are as without the odd ones, the table is in order and the command says that cases failed.

    Raises:
        UnexpectedError: where it is not so.
    """
    order = [row["case"] for row in found.rows]
    good = [row for row in found.rows if row["case"].endswith("_good")]
    wrong = [row["case"] for row in good if row["status"] != "done" or _notes(row)]
    expect(not wrong, f"good cases that are not done: {wrong}")
    expect(len(good) == len(rows_of(found.alone)), f"{len(good)} good cases have a row")
    first = [name.split("/")[0].lstrip(".") for name in order if not name.startswith(".")]
    expect(first == sorted(first), f"not in order: {order}")
    for row in good:
        same = np.array_equal(mask_of(found.output, row["case"]), mask_of(found.alone, row["case"]))
        expect(same, f"{row['case']} has another mask")
    expect(0 < _good_mask(found).mean() < 1, "masks of the good cases are empty or full")
    done = {row["case"] for row in found.rows if row["status"] == "done"}
    files = [path.relative_to(found.output).as_posix() for path in found.output.rglob("*.nii.gz") if path.is_file()]
    masks = {name.removesuffix("_seg.nii.gz") for name in files}
    expect(done == masks, f"rows without a mask: {sorted(done - masks)}, masks without a row: {sorted(masks - done)}")
    last = found.said.strip().splitlines()[-1]
    expect(found.status == 1 and " cases failed, see " in last, f"status {found.status}: {last}")
    expect("Traceback" not in found.said, "a traceback")
    failed = sum(row["status"] == "failed" for row in found.rows)
    skipped = sum(row["status"] == "skipped" for row in found.rows)
    return (
        f"{len(good)} good cases with the same masks, {len(done) - len(good)} odd ones done, {failed} failed, "
        f"{skipped} skipped, in order, a mask for each row that is done and no other, exit status 1"
    )


def _name(index: int) -> str:
    return f"i{index:03d}_odd"


def _row(one: Odd, folder: Path) -> str:
    return answer(one, ODD.index(one), night())


FAULTS = [
    *(Fault(part, one.name, one.expected, partial(_row, one)) for part, inputs in PARTS.items() for one in inputs),
    Fault(
        "folders",
        "all of these and good ones in one folder, one run",
        "good cases as without the others, all in order, exit status 1",
        lambda folder: check_night(night()),
    ),
]
