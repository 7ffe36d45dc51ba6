# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Command lines with a mistake, run in this process or as a user runs them, and what they say on stderr."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import runpy
import subprocess
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np

from c2f_monai.apps.cli import main as c2f
from c2f_monai.utils import bundle_root

from .fault import expect

__all__ = ["Mistake", "answer"]

ROOT = Path(__file__).resolve().parents[2]
#: Letters of a message that the table shows.
SHOWN = 200


@dataclass(frozen=True)
class Mistake:
    """A command line with a mistake in it.

    Attributes:
        words: as they come from a shell, apart by spaces: "c2f" and its options; or names of configurations joined by
            "+", such as "train+evaluate", and the options that ``monai.bundle run`` gets with them.
        told: part of the one line on stderr; of a warning, of what is logged.
        status: exit status.
        command: whether it is run as a command of its own, not in this process.
        by_monai: whether MONAI finds it before this project is asked, and shows its traceback.
    """

    words: str
    told: str
    status: int = 1
    command: bool = False
    by_monai: bool = False

    def as_command(self) -> Mistake:
        """The same, run as a command of its own."""
        return replace(self, command=True)

    @property
    def expected(self) -> str:
        """For the table."""
        return f"exit {self.status}, {'in the traceback of MONAI' if self.by_monai else 'in one line'}: {self.told}"

    @property
    def module(self) -> str:
        """What ``python -m`` runs."""
        return "c2f_monai" if self.words.split()[0] == "c2f" else "monai.bundle"

    def arguments(self, folder: Path) -> list[str]:
        """What ``python -m MODULE`` gets.

        Args:
            folder: where the output would go, FOLDER in the words; CT is a small volume there. The data that
                configurations are given is not there, so that a mistake that passes ends all the same.
        """
        first, *options = self.words.replace("FOLDER", str(folder)).replace("CT", str(folder / "ct.nii.gz")).split()
        if first == "c2f":
            return options
        names = first.split("+")
        data = "--dataset_dir" if "train" in names else "--input"
        given = {option.partition("=")[0] for option in options}
        configs = str([str(_file_of(name)) for name in names])
        known = {"--config_file": configs, "--bundle_root": str(bundle_root()), "--logging_file": "False"}
        known |= {"--output_dir": str(folder / "out"), data: str(folder / "nowhere")}
        return [
            "run",
            *(word for name, value in known.items() if name not in given for word in (name, value)),
            *options,
        ]


def _file_of(name: str) -> Path:
    if name.endswith(".json"):
        return Path(name)
    places = [bundle_root() / "configs", *sorted(path for path in (ROOT / "configs").iterdir() if path.is_dir())]
    return next(path for place in places if (path := place / f"{name}.json").is_file())


def answer(mistake: Mistake, folder: Path) -> str:
    """Run a mistake, and return what was said.

    Args:
        mistake: the command line.
        folder: empty; nothing may be written to it.

    Raises:
        UnexpectedError: where the exit status is another, the line says something else, a traceback is shown, or files
            were written.
    """
    if "CT" in mistake.words:
        nib.save(nib.Nifti1Image(np.full((8, 8, 4), 40, np.int16), np.eye(4)), folder / "ct.nii.gz")
    before = sorted(folder.iterdir())
    run = _as_command if mistake.command else _here
    status, said = run(mistake.module, mistake.arguments(folder), folder)
    said = said.replace(f"{folder}/", "").replace(f"{ROOT}/", "")
    lines = [line for line in said.splitlines() if line.strip()]
    line = next((one for one in reversed(lines) if mistake.told in one), lines[-1] if lines else "nothing said")
    shown = line if len(line) <= SHOWN else f"{line[: SHOWN - 3]}..."
    expect(mistake.by_monai or "Traceback" not in said, f"a traceback that ends in {shown}")
    expect(mistake.told in line and status == mistake.status, f"status {status}: {shown}")
    written = [path.name for path in folder.iterdir() if path not in before]
    expect(not written, f"written: {written}, said: {shown}")
    return shown


def _as_command(module: str, arguments: Sequence[str], folder: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", module, *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        encoding="utf-8",
        timeout=600,
        check=False,
    )
    return done.returncode, done.stderr


def _here(module: str, arguments: Sequence[str], folder: Path) -> tuple[int, str]:
    """Exit status and stderr of ``python -m MODULE``, without the seconds that a new process imports torch."""
    with _caught(["-m", *arguments]) as said:
        try:
            if module == "c2f_monai":
                return c2f(arguments), said.getvalue()
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as error:
            return error.code if isinstance(error.code, int) else int(error.code is not None), said.getvalue()
        except Exception as error:
            # The traceback as the interpreter would have shown it, unless the command tells its errors itself.
            sys.excepthook(type(error), error, error.__traceback__)
            return 1, said.getvalue()
        return 0, said.getvalue()


@contextlib.contextmanager
def _caught(arguments: list[str]) -> Iterator[io.StringIO]:
    """What is said on stderr and logged as a warning; what a process sets for itself is put back."""
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    handler.setLevel(logging.WARNING)
    root, argv, path = logging.getLogger(), sys.argv, list(sys.path)
    hook, sys.excepthook = sys.excepthook, _show
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        root.addHandler(handler)
        sys.argv = arguments
        try:
            yield said
        finally:
            root.removeHandler(handler)
            sys.argv, sys.excepthook, sys.path[:] = argv, hook, path


def _show(kind: type[BaseException], error: BaseException, place: object) -> None:
    traceback.print_exception(error)
