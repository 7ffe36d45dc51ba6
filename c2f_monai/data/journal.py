# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A JSON file of cases to which each case that ends adds one line, however many there are."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ..utils import append_bytes, atomic_write

__all__ = ["Entry", "Journal"]

Entry = dict[str, Any]


class Journal:
    """
    A file ``{"cases": {name: entry}, ...}``, and beside it one file of lines ``[name, entry]`` for each process.

    A process adds lines to its own file alone, so that no two write to one. What a process that was killed leaves of a
    line counts for nothing.

    Args:
        path: of the file, ``<name>.json``; the lines are in ``<name>.<rank>.jsonl``.
        rank: of this process.
        processes: how many there are.

    Examples:
        >>> journal = Journal(getfixture("tmp_path") / "cases.json")
        >>> journal.begin({"cases": {"a": {"status": "pending"}}})
        >>> journal.note("a", {"status": "done"})
        ['a']
        >>> Journal(journal.path).read()
        {'cases': {'a': {'status': 'done'}}}
    """

    def __init__(self, path: Path, rank: int = 0, processes: int = 1) -> None:
        self.path = path
        self._files = [path.with_suffix(f".{index}.jsonl") for index in range(processes)]
        self._own = self._files[rank]
        self._content: dict[str, Any] | None = None
        self._read_to: dict[Path, int] = {}

    def exists(self) -> bool:
        """Whether there is something to add to."""
        return self._content is not None and "cases" in self._content or self.path.is_file()

    def read(self) -> dict[str, Any]:
        """The content of all files, empty without one.

        Raises:
            ValueError: for a file of another program.
        """
        if self._content is None:
            self._content = self._read_file()
            for file in sorted(self.path.parent.glob(f"{self.path.stem}.*.jsonl")):  # also those of more processes
                self._read_on(file)
        self._catch_up()
        return self._content

    def forget(self) -> None:
        """Read the files again when they are asked for."""
        self._content, self._read_to = None, {}

    def begin(self, content: dict[str, Any]) -> None:
        """Write the file as a whole, and begin without lines."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(self.path) as part:
            part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        for file in self.path.parent.glob(f"{self.path.stem}.*.jsonl"):
            file.unlink(missing_ok=True)
        self._content, self._read_to = content, {}

    def fold(self) -> None:
        """Put the lines into the file."""
        self.begin(self.read())

    def note(self, name: str, entry: Entry) -> list[str]:
        """Add a line, on the disk when this returns.

        Returns:
            The names of the cases that all processes have noted since the last call.
        """
        append_bytes(self._own, (json.dumps([name, entry]) + "\n").encode(), flush=True)
        if self._content is None:
            self.read()
            return [name]
        return self._catch_up()

    def _catch_up(self) -> list[str]:
        return [name for file in self._files for name in self._read_on(file)]

    def _read_on(self, file: Path) -> list[str]:
        """Apply the whole lines that a file has since the last look."""
        try:
            with file.open("rb") as stream:
                stream.seek(self._read_to.get(file, 0))
                text = stream.read()
        except FileNotFoundError:
            return []
        whole = text[: text.rfind(b"\n") + 1]
        self._read_to[file] = self._read_to.get(file, 0) + len(whole)
        names = []
        for line in whole.splitlines():
            name, entry = json.loads(line, object_pairs_hook=_with_shared_keys)
            if self._content:
                self._content["cases"][name] = entry
                names.append(name)
        return names

    def _read_file(self) -> dict[str, Any]:
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            return content if content["cases"] is not None else {}
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{self.path} was not written by c2f_monai: remove it, or write elsewhere.") from error


def _with_shared_keys(pairs: list[tuple[str, Any]]) -> Entry:
    """An object whose keys are the same strings in every line: json would keep copies of them for each case."""
    return {sys.intern(key): value for key, value in pairs}
