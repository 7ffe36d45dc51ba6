# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What a folder of masks holds: which cases are done, failed or left out, of which images and by which options."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..utils import FolderLock, Status, is_of_the_machine, package_version, reason_of, some_names
from .entries import entry_of, is_same, options_of, plain, row_of
from .journal import Entry, Journal
from .mask_places import check_mask_places, check_tables, check_untouched, mask_digest

__all__ = ["CasesFailed", "MANIFEST_NAME", "Manifest"]

logger = logging.getLogger(__name__)

MANIFEST_NAME = "manifest.json"


class CasesFailed(SystemExit):
    """Cases failed: the process ends with status 1 and this line, without a traceback."""


class Manifest:
    """
    The file ``manifest.json`` in a folder of masks, by which a second run does what is missing or failed.

    It is written before the first mask, so that a file that it does not name was not made by a run in this folder. As a
    case ends, it is noted in a journal beside it, and the journal goes into the file when the run ends, or when the
    next one begins. The processes of one run share it; another run is kept out of the folder.

    Args:
        folder: of the masks.
        options: what answers depend on, by the name that users give it.
        weights: file of weights, or files by name; they are hashed.
        overwrite: do all cases again, and replace files that are in the way; never an image or label of a case.
        strict: raise the first case's exception instead of noting it.
        ending: of a mask, after the name of its case.
        alone: forget the cases of earlier runs that are none of this one's, whatever the options; their masks stay.

    Attributes:
        tables: called with the name of each case that has ended, and with None as the cases of a run are noted.
        is_first: whether this process is the first of several.

    Examples:
        >>> folder = getfixture("tmp_path")
        >>> _ = (folder / "a.nii").write_bytes(b"")
        >>> manifest = Manifest(folder / "masks")
        >>> [case["case"] for case in manifest.plan([{"image": str(folder / "a.nii"), "case": "a"}])]
        ['a']
        >>> manifest.begin()
        >>> manifest.fail("a", ValueError("a.nii holds nothing"))
        >>> manifest.rows()
        [{'case': 'a', 'status': 'failed', 'reason': 'a.nii holds nothing'}]
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        options: Mapping[str, Any] | None = None,
        weights: str | Mapping[str, str] | None = None,
        overwrite: bool = False,
        strict: bool = False,
        ending: str = "_seg.nii.gz",
        alone: bool = False,
    ) -> None:
        self.folder, self.path = Path(folder), Path(folder) / MANIFEST_NAME
        self.overwrite, self.strict, self.ending, self.alone = overwrite, strict, ending, alone
        self.tables: list[Callable[[str | None], None]] = []
        self._options, self._weights = dict(options or {}), weights
        self._cases: list[dict[str, Any]] = []
        self._todo: set[str] = set()
        self._begun = False
        # Asked for now: the processes' group may end before the run does.
        several = torch.distributed.is_initialized()
        rank, processes = (torch.distributed.get_rank(), torch.distributed.get_world_size()) if several else (0, 1)
        self.is_first = rank == 0
        self._journal = Journal(self.path, rank, processes)
        self._thread, self._process = threading.RLock(), FolderLock(self.folder)

    def plan(self, cases: Sequence[Mapping[str, Any]], whole: Collection[str] | None = None) -> list[dict[str, Any]]:
        """The cases that are to be done; nothing is written. A folder that exists is locked.

        Args:
            cases: each with its "image", its name "case", and the "problem" that it has, if any; those with "skipped",
                a reason, are no cases but are noted.
            whole: names of the cases whose other files are there. Defaults to None, there are no others.

        Raises:
            ValueError: where masks of other options, weights or images lie in the folder, or a mask would take the
                place of an image, a label, or a mask that was changed since it was made.
            FileExistsError: where a file that no run made is in the way, a mask's or a table's.
            BlockingIOError: while another run writes to the folder.
        """
        if self.is_first and self.folder.is_dir():
            self._process.acquire()
        self._cases = [dict(case) for case in cases]
        todo, count = self.missing(self._cases, whole), sum("skipped" not in case for case in self._cases)
        self._todo = {case["case"] for case in todo}
        if torch.distributed.is_initialized():  # before another process notes its first case
            self.begin()
            todo = _of_the_first_process(todo)
            self._journal.forget()
        if len(todo) < count:
            logger.info(f"{count - len(todo)} of {count} cases are done already.")
        return todo

    def missing(self, cases: Sequence[Mapping[str, Any]], whole: Collection[str] | None = None) -> list[dict[str, Any]]:
        """The cases that :meth:`plan` would give, of a folder that others may write to: it is not locked.

        Args:
            cases: see :meth:`plan`.
            whole: likewise.

        Raises:
            ValueError: as :meth:`plan`.
            FileExistsError: likewise.
        """
        content = self._journal.read()
        known: dict[str, Entry] = content.get("cases", {})
        if not self._journal.exists():
            check_tables(self.folder)
        if known and not self.overwrite:
            self._check_options(content)
        wanted = [dict(case) for case in cases if "skipped" not in case]
        check_mask_places(self.mask_of, self.overwrite, wanted, known)
        todo = [
            case
            for case in wanted
            if self.overwrite
            or (whole is not None and case["case"] not in whole)
            or not self._is_done(case, known.get(case["case"]))
        ]
        if not self.overwrite:
            check_untouched(self.mask_of, todo, known)
        return todo

    def begin(self) -> None:
        """Note the cases of the plan before the first of them is done; of several processes the first does it."""
        if self._begun or not self.is_first:
            return
        self._begun = True
        with self._thread:
            self._process.acquire()
            content, options = self._journal.read(), options_of(self._options, self._weights)
            known: dict[str, Entry] = content.get("cases", {}) if content.get("options") == options else {}
            own = {case["case"] for case in self._cases}
            others = {name: known[name] for name in known if name not in own}
            if self.alone and others:
                logger.info(f"{len(others)} cases of earlier runs leave the tables in {self.folder}, their masks stay.")
            entries = {} if self.alone else others
            for case in self._cases:
                name = case["case"]
                stays = name in known and name not in self._todo and "skipped" not in case
                entries[name] = known[name] if stays else entry_of(case)
            self._journal.begin({"c2f_monai": package_version(), "options": options, "cases": entries})
            for table in self.tables:
                table(None)

    def done(self, name: str, row: Mapping[str, Any], target: str = "", beside: Sequence[str] = ()) -> None:
        """Note a case whose mask is written.

        Args:
            name: of the case.
            row: of the table.
            target: of the row, where there are several tables.
            beside: what else was written of it.
        """
        if not self.mask_of(name).is_file():
            self.fail(name, ValueError(f"{self.mask_of(name)} was not written."))
            return
        with self._thread:
            entry = self._entry(name)
            rows = entry.get("rows", {}) | {target: {key: plain(value) for key, value in row.items()}}
            made = {"mask": mask_digest(self.mask_of(name)), **({"beside": list(beside)} if beside else {})}
            self._note(name, {**entry, **made, "status": Status.DONE, "reason": "", "rows": rows})

    def fail(self, name: str, error: Exception) -> None:
        """Note a case that failed: the one place where an exception becomes a row.

        Raises:
            Exception: ``error``, where the first failure is to stop the run, or it is not the case's: a full disk.
        """
        reason = " ".join(reason_of(error).split())
        if not is_of_the_machine(error):
            with self._thread:
                entry = self._entry(name)
                image = entry.get("image", name)
                reason = reason if Path(image).name in reason else f"{image}: {reason}"
                self._note(name, {**entry, "status": Status.FAILED, "reason": reason, "rows": {}})
        logger.error(f"{name} failed: {reason}")
        if self.strict or is_of_the_machine(error):
            self._process.release()
            raise error

    def beside(self) -> dict[str, list[str]]:
        """What was written of each case that is done, beside its mask."""
        with self._thread:
            cases = self._journal.read().get("cases", {}).items()
            return {name: entry.get("beside", []) for name, entry in cases if entry["status"] == Status.DONE}

    def rows(self, target: str = "") -> list[dict[str, Any]]:
        """Rows of a table: "case", "status", "reason", and what :meth:`done` was given; cases that wait have none."""
        with self._thread:
            cases = self._journal.read().get("cases", {}).items()
            return [row_of(name, entry, target) for name, entry in cases if entry["status"] != Status.PENDING]

    def row(self, name: str, target: str = "") -> dict[str, Any] | None:
        """One row of :meth:`rows`; None for a case that waits, or is not done for this target."""
        with self._thread:
            entry = self._entry(name)
            waits = entry.get("status", Status.PENDING) == Status.PENDING
            is_other = entry.get("status") == Status.DONE and target not in entry.get("rows", {})
            return None if waits or is_other else row_of(name, entry, target)

    def failure(self) -> str:
        """One line about the cases that failed; empty where none did."""
        names = {case["case"] for case in self._cases if "skipped" not in case}
        failed = [row for row in self.rows() if row["status"] == Status.FAILED and row["case"] in names]
        if not failed:
            return ""
        told = some_names([str(row["reason"]) for row in failed], 1)
        return f"{len(failed)} of {len(names)} cases failed, see {self.folder}: {told}"

    def finish(self) -> None:
        """End a run.

        Raises:
            CasesFailed: where cases of this run failed.
        """
        self.begin()
        if not self.is_first:
            return
        failure = self.failure()
        self.close()
        if failure:
            raise CasesFailed(f"error: {failure}")

    def close(self) -> None:
        """Put the journal into the file, the tables in order, and give the folder back; of several processes the first.

        A run that does not come here leaves both to the next one.
        """
        if not self._begun:
            self._process.release()
            return
        with self._thread:
            self._journal.fold()
            for table in self.tables:
                table(None)
            self._process.release()

    def mask_of(self, name: str) -> Path:
        """Place of a case's mask."""
        return self.folder / f"{name}{self.ending}"

    def _check_options(self, content: Mapping[str, Any]) -> None:
        before, now = content.get("options", {}), options_of(self._options, self._weights)
        changed = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        if changed:
            told = "; ".join(f"{key} {before.get(key)} there, {now.get(key)} now" for key in changed)
            raise ValueError(
                f"{self.folder} holds masks that were made otherwise ({told}): write to another folder, or give "
                "overwrite to do these cases again."
            )

    def _is_done(self, case: Mapping[str, Any], entry: Entry | None) -> bool:
        if entry is None or entry["status"] != Status.DONE or not self.mask_of(case["case"]).is_file():
            return False
        return "problem" not in case and is_same(case, entry)

    def _entry(self, name: str) -> Entry:
        entry: Entry = self._journal.read().get("cases", {}).get(name, {})
        return entry

    def _note(self, name: str, entry: Entry) -> None:
        if not self._journal.exists():
            self.begin()
        for changed in self._journal.note(name, entry):
            for table in self.tables:
                table(changed)


def _of_the_first_process(todo: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first process's list: one that comes late finds cases done, and would share out another list."""
    sent = [todo]
    torch.distributed.broadcast_object_list(sent, src=0)
    return sent[0]
