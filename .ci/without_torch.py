# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What needs no package, for every Python that the machine has: python3.13 .ci/without_torch.py, from any directory.

All sources are compiled, without a warning; every command prints its help; configurations are read, and the pins and
ranges of setup.cfg are of this Python.
"""

from __future__ import annotations

import configparser
import contextlib
import io
import json
import sys
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("c2f_monai", "benchmarks", "tests", "docs", "configs")
#: Its options are those of the data sets, which are read with MONAI.
NEEDS_MONAI = {"prepare"}


def compile_sources() -> int:
    """Compile all sources; how many.

    Raises:
        SyntaxError: for what this Python cannot read, or warns of.
    """
    warnings.simplefilter("error")
    files = [path for folder in SOURCES for path in sorted((ROOT / folder).rglob("*.py"))]
    for path in files:
        compile(path.read_text(encoding="utf-8"), path, "exec", dont_inherit=True)
    return len(files)


def print_help() -> int:
    """Ask every command for its help; how many.

    Raises:
        RuntimeError: for a command that fails, or imports torch.
    """
    sys.path.insert(0, str(ROOT))
    from c2f_monai.apps.cli import main
    from c2f_monai.apps.cli.family import COMMANDS

    names = [command.__name__.rsplit(".", 1)[1].replace("_", "-") for command in COMMANDS]
    names = [name for name in names if name not in NEEDS_MONAI]
    for name in names:
        text = io.StringIO()
        try:
            with contextlib.redirect_stdout(text):
                main([name, "--help"])
        except SystemExit as end:
            if end.code or f"c2f {name}" not in text.getvalue():
                raise RuntimeError(f"c2f {name} --help ended with {end.code}.") from end
    if "torch" in sys.modules or "monai" in sys.modules:
        raise RuntimeError("help imports torch or MONAI.")
    return len(names)


def read_files() -> None:
    """Read what is written for people and programs.

    Raises:
        ValueError: for a file that cannot be read, or a Python that setup.cfg does not name.
    """
    for path in [*ROOT.glob("bundle/configs/*.json"), *ROOT.glob("configs/**/*.json")]:
        json.loads(path.read_text(encoding="utf-8"))
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if f"Programming Language :: Python :: {version}" not in setup["metadata"]["classifiers"].splitlines():
        raise ValueError(f"setup.cfg does not name Python {version}.")


if __name__ == "__main__":
    compiled = compile_sources()
    read_files()
    commands = print_help()
    print(f"Python {sys.version.split()[0]}: {compiled} sources compile, {commands} commands print their help")
