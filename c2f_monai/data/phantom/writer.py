# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Writing the phantom as a data set: NIfTI files and a Decathlon-style ``dataset.json``."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import ignite.distributed as idist
from tqdm import tqdm

from ...utils import flush_to_disk, part_beside
from ..writers import nifti_image
from .case import check_size, generate_case
from .versions import PHANTOM_VERSION, phantom_version

__all__ = ["COHORTS", "DEFAULT_NAME", "SPLITS", "Cohort", "PhantomEntry", "select_entries", "write_phantom"]

DEFAULT_NAME = f"phantom-v{PHANTOM_VERSION}"
SPLITS: dict[str, int] = {"training": 60, "validation": 12, "test": 40}
_GZIP_LEVEL = 1


@dataclass(frozen=True)
class Cohort:
    """A data set of the phantom.

    Attributes:
        name: of the data set and its folder.
        description: what is in it.
        first_seeds: seed of the first case of each split.
        test_groups: groups of the test cases, in turn; the first one is that of all other cases.
        version: of the phantom.
        splits: number of cases of each split.
    """

    name: str
    description: str
    first_seeds: Mapping[str, int]
    test_groups: tuple[str, ...]
    version: str = PHANTOM_VERSION
    splits: Mapping[str, int] = field(default_factory=lambda: SPLITS)


#: The data sets by name on the command line; "pancreas" is the default one.
COHORTS: dict[str, Cohort] = {
    "pancreas": Cohort(
        DEFAULT_NAME,
        "Synthetic abdomen-like CT with a pancreas-like target; made by c2f_monai, no patient data.",
        {"training": 1000, "validation": 2000, "test": 3000},
        ("plain", "shifted"),
    ),
    "cysts": Cohort(
        f"{DEFAULT_NAME}-cysts",
        "Synthetic abdomen-like CT with a large cyst in each pancreas; made by c2f_monai, no patient data.",
        {"training": 4000, "validation": 5000, "test": 6000},
        ("cysts",),
    ),
    "organs": Cohort(
        "phantom-v2",
        "Synthetic CT from the lung bases to the pelvis, seven organs labeled; made by c2f_monai, no patient data.",
        {"training": 7000, "validation": 8000, "test": 9000},
        ("plain", "shifted"),
        version="2",
        splits={"training": 40, "validation": 10, "test": 20},
    ),
}


@dataclass(frozen=True)
class PhantomEntry:
    """One case of the data set: its split, its place in the split, its group and seed, the version of the phantom."""

    split: str
    index: int
    group: str
    seed: int
    version: str = PHANTOM_VERSION

    @property
    def files(self) -> dict[str, str]:
        """Paths of image and label relative to the data set's folder."""
        end = "Ts" if self.split == "test" else "Tr"
        name = f"phantom_{self.split}_{self.index:03d}.nii.gz"
        return {"image": f"images{end}/{name}", "label": f"labels{end}/{name}"}


def select_entries(splits: Mapping[str, int] | None = None, cohort: str = "pancreas") -> list[PhantomEntry]:
    """List the first cases of each split of a cohort.

    Args:
        splits: number of cases by split; a split left out has none. None: the whole data set.
        cohort: one of `COHORTS`.

    Raises:
        ValueError: for an unknown cohort or split, a number outside 0 .. the split's size, or no case at all.
    """
    if cohort not in COHORTS:
        raise ValueError(f"cohort must be one of {', '.join(COHORTS)}, got {cohort!r}.")
    of = COHORTS[cohort]
    groups, seeds, known = of.test_groups, of.first_seeds, of.splits
    chosen = known if splits is None else splits
    for split, count in chosen.items():
        if split not in known:
            raise ValueError(f"splits must be among {', '.join(known)}, got {split!r}.")
        if not 0 <= count <= known[split]:
            raise ValueError(f"the {split} split has 0 to {known[split]} cases, got {count}.")
    entries = [
        PhantomEntry(
            split,
            index,
            groups[index % len(groups)] if split == "test" else groups[0],
            seeds[split] + index,
            of.version,
        )
        for split in known
        for index in range(chosen.get(split, 0))
    ]
    if not entries:
        raise ValueError("splits selects no case at all; give at least one, e.g. {'test': 4}.")
    return entries


def write_phantom(
    folder: str | os.PathLike[str],
    splits: Mapping[str, int] | None = None,
    size: Sequence[int] | None = None,
    processes: int = 2,
    progress: bool = True,
    cohort: str = "pancreas",
) -> Path:
    """Write the phantom to a folder that does not exist yet.

    Everything is made in a hidden folder beside it and renamed into place, so that the folder is whole whenever it
    exists; what a process that was killed left there is removed. With torch.distributed initialized, rank 0 writes
    while the others wait; of several unrelated processes the first to finish wins and the others drop their copy.

    Args:
        folder: the folder to make; its parent is made when absent.
        splits: number of cases by split, see `select_entries`. The same case has the same voxels in every selection.
        size: voxels along R, A and S for every case (coarser, for tests); None: full size.
        processes: worker processes; 1 works in this one.
        progress: whether to show a progress bar.
        cohort: one of `COHORTS`.

    Returns:
        The folder's absolute path.

    Raises:
        ValueError: for a bad selection, cohort, size or number of processes.
        FileExistsError: when the folder exists.
    """
    target = Path(folder).absolute()
    entries = select_entries(splits, cohort)
    check_size(size)  # here, and not by the processes that make the cases
    if processes < 1:
        raise ValueError(f"processes must be at least 1, got {processes}.")
    if idist.get_rank() == 0:
        if target.exists():
            raise FileExistsError(f"{target} exists already; remove it or choose another folder.")
        _write_beside(target, entries, COHORTS[cohort], size, processes, progress)
    idist.barrier()
    return target


def _write_beside(
    target: Path,
    entries: list[PhantomEntry],
    cohort: Cohort,
    size: Sequence[int] | None,
    processes: int,
    progress: bool,
) -> None:
    beside = part_beside(target)
    try:
        beside.mkdir()
        _write_cases(beside, entries, size, processes, progress)
        (beside / "dataset.json").write_text(
            json.dumps(_description(entries, cohort), indent=1) + "\n", encoding="utf-8"
        )
        flush_to_disk(beside / "dataset.json")
        try:
            os.rename(beside, target)
        except OSError:  # another process was first: its folder is whole, since it was renamed too
            if not (target / "dataset.json").is_file():
                raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _write_cases(
    folder: Path, entries: list[PhantomEntry], size: Sequence[int] | None, processes: int, progress: bool
) -> None:
    for entry in entries:
        for path in entry.files.values():
            (folder / path).parent.mkdir(exist_ok=True)
    bar = partial(tqdm, total=len(entries), desc=f"phantom v{entries[0].version}", unit="case", disable=not progress)
    work = partial(_write_case, folder, size=None if size is None else tuple(size))
    if processes == 1 or len(entries) == 1:
        for _ in bar(map(work, entries)):
            pass
        return
    for _ in bar(_write_apart(folder, entries, size, min(processes, len(entries)))):
        pass


# What a working process runs; its argument is a JSON object. Imports come from where the caller's come from.
_WORKER = f"""
import json, sys
job = json.loads(sys.argv[1])
sys.path[:] = job.pop("path")
answers, sys.stdout = sys.stdout, sys.stderr
from {__name__} import _write_share
_write_share(**job, answers=answers)
"""


def _write_apart(
    folder: Path, entries: list[PhantomEntry], size: Sequence[int] | None, processes: int
) -> Iterator[None]:
    """Write in other processes; an item for each case that is done.

    They are plain Python processes. Those of multiprocessing run the caller's script again, all of it where it has no
    main guard, or, forked, inherit locks of the caller's threads (torch, OpenMP) that nobody will release.
    """
    ordered = sorted(entries, key=lambda entry: entry.group)  # cases of one group are of one size: equal shares
    workers: list[subprocess.Popen[str]] = []
    try:
        for first in range(processes):
            share = [asdict(entry) for entry in ordered[first::processes]]
            job = json.dumps({"path": [*map(str, sys.path)], "folder": str(folder), "entries": share, "size": size})
            workers.append(subprocess.Popen([sys.executable, "-c", _WORKER, job], stdout=subprocess.PIPE, text=True))
        for done in range(len(entries)):
            lines: Any = workers[done % processes].stdout
            if (line := lines.readline()) != "\n":
                reason = line.strip() or "one of the processes that make its cases has ended"
                raise OSError(f"the phantom cannot be written: {reason}.")
            yield
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


def _write_share(folder: str, entries: list[dict[str, Any]], size: Sequence[int] | None, answers: TextIO) -> None:
    """Write cases; answer with an empty line for each, or with why one could not be written."""
    for entry in entries:
        try:
            _write_case(Path(folder), PhantomEntry(**entry), None if size is None else tuple(size))
        except OSError as error:
            print(error, file=answers, flush=True)
            return
        print(file=answers, flush=True)


def _write_case(folder: Path, entry: PhantomEntry, size: tuple[int, ...] | None) -> None:
    case = generate_case(entry.seed, entry.group, size, entry.version)
    for key, volume in (("image", case.image), ("label", case.label)):
        image = nifti_image(volume, case.affine).to_bytes()
        packed = gzip.compress(image, _GZIP_LEVEL, mtime=0)  # no date: the same case is the same file
        (folder / entry.files[key]).write_bytes(packed)
        flush_to_disk(folder / entry.files[key])


def _description(entries: list[PhantomEntry], cohort: Cohort) -> dict[str, Any]:
    # Splits without cases are left out: from a data set without a validation, training holds cases back.
    lists: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS if any(e.split == split for e in entries)}
    for e in entries:
        lists[e.split].append({**e.files, "group": e.group, "seed": e.seed})
    names = phantom_version(cohort.version).label_names
    return {
        "name": cohort.name,
        "version": cohort.version,
        "description": cohort.description,
        "licence": "Apache-2.0",
        "tensorImageSize": "3D",
        "modality": {"0": "CT"},
        "labels": {"0": "background", **{str(v): name for v, name in names.items()}},
        **{f"num{split.capitalize()}": len(cases) for split, cases in lists.items()},
        **lists,
    }
