# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``audit``: what a bundle would run, read from its files without running any of it."""

from __future__ import annotations

import argparse
import inspect
import pydoc
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from ..config.tree import nodes, target_path
from ..utils import bundle_root, config_file, read_weights_file
from .audit_pickles import UNPICKLERS, array_problem, is_unpickling

__all__ = ["Finding", "audit", "is_allowed"]

#: Where classes compute and do nothing else that a configuration could ask of them.
ROOMS = (
    *(f"monai.{room}" for room in ("data", "engines", "handlers", "inferers", "losses", "metrics")),
    *(f"monai.{room}" for room in ("networks", "optimizers", "transforms", "visualize")),
    *("torch.nn", "torch.optim", "torch.utils.data", "ignite.engine", "ignite.handlers", "ignite.metrics"),
)
#: All of this package but its commands.
OWN_ROOMS = (
    *(f"c2f_monai.{room}" for room in ("config", "data", "handlers", "inferers", "losses", "metrics")),
    *(f"c2f_monai.{room}" for room in ("networks", "transforms", "utils", "visualize")),
)
CONFIGS = (".json", ".yaml", ".yml")
PROGRAMS = (".py", ".pyc", ".so", ".pyd", ".dll", ".dylib", ".exe", ".sh", ".ts", ".pkl", ".pickle")
WEIGHTS = (".pt", ".pth", ".ckpt", ".bin", ".tar")
#: Of ``logging.config.fileConfig``, which takes a file of any name.
LOGGING = (".conf", ".cfg", ".ini")
ARRAYS = (".npy", ".npz")
#: Arguments of MONAI's transforms that name a class, which is called.
_CLASSES = ("reader", "writer")
_LOGGING = ("class", "args", "kwargs")
#: What follows the suffix of a shared library, libx.so.1.2.
_NUMBERED = re.compile(r"(?<=\.so)(\.\d+)+$")


@dataclass(frozen=True)
class Finding:
    """A place in a bundle that runs something.

    Attributes:
        file: relative to the bundle.
        place: id in a configuration, or line; empty for a whole file.
        kind: "expression", "target", "macro", "pickle", "program", "logging", "weights" or "unreadable".
        what: the text.
    """

    file: str
    place: str
    kind: str
    what: str

    @property
    def line(self) -> str:
        """As it is printed."""
        place = f", {self.place.replace('::', '#')}" if self.place else ""
        return f"{self.file}{place}: {self.kind} {self.what}".rstrip()


def run(args: argparse.Namespace) -> None:
    """Print the findings.

    Raises:
        FileNotFoundError: When there is no such bundle.
        ValueError: When the bundle would run what this package's configurations do not.
    """
    new = 0
    findings = list(audit(args.bundle))
    for finding in findings:
        known = (finding.kind, finding.what) in _known()
        new += not known
        if not (known and args.new):
            print(f"{finding.line}{'  [as in c2f_monai]' if known else ''}")
    if new:
        raise ValueError(
            f"{new} of {len(findings)} places run what c2f_monai does not: read them before the bundle is run."
        )
    print(f"{args.bundle}: {len(findings)} places run something, all of them as in c2f_monai")


def audit(bundle: Path) -> Iterator[Finding]:
    """What a bundle would run. Its code is neither run nor imported.

    Args:
        bundle: a folder, or one configuration.

    Raises:
        FileNotFoundError: when there is no such bundle.
        ValueError: when it is a file of another kind.
    """
    if not bundle.exists():
        raise FileNotFoundError(f"there is no bundle {bundle}.")
    if bundle.is_file():
        if bundle.suffix not in CONFIGS:
            raise ValueError(f"{bundle} is neither a folder nor a configuration: unpack an archive first.")
        yield from _of_config(bundle, bundle.name)
        return
    for path in sorted(bundle.rglob("*")):
        name = path.relative_to(bundle).as_posix()
        if path.is_symlink() and not path.resolve().is_relative_to(bundle.resolve()):
            yield Finding(name, "", "program", f"is a link out of the bundle, to {path.resolve()}")
        elif path.is_file():
            yield from _of_file(path, name)


def _of_file(path: Path, name: str) -> Iterator[Finding]:
    suffix = Path(_NUMBERED.sub("", path.name.lower())).suffix
    if suffix in CONFIGS:
        yield from _of_config(path, name)
    elif suffix in LOGGING:
        yield from _of_logging(path, name)
    elif suffix in PROGRAMS:
        yield Finding(name, "", "program", "")
    elif suffix in WEIGHTS:
        yield from _of_weights(path, name)
    elif suffix in ARRAYS and (problem := array_problem(path)):
        yield Finding(name, "", "program", problem)


def _of_config(path: Path, name: str) -> Iterator[Finding]:
    try:
        content = ConfigParser.load_config_file(path)
    except Exception as error:  # what cannot be read cannot be judged
        yield Finding(name, "", "unreadable", " ".join(str(error).split()))
        return
    for place, node in nodes(content):
        if isinstance(node, str) and node.startswith("$"):
            yield Finding(name, place, "expression", node)
        elif isinstance(node, str) and node.startswith("%") and ConfigParser.split_path_id(node[1:])[0]:
            yield Finding(name, place, "macro", node)
        elif isinstance(node, dict):
            for key, value in node.items():
                yield from _of_entry(name, place, str(key), value)


def _of_entry(name: str, place: str, key: str, value: Any) -> Iterator[Finding]:
    """What an argument of a component runs. A key may be an id, ``+a::b``, which MONAI puts into what it leads to."""
    *parents, last = re.split("::|#", key.lstrip("+"))
    at = "::".join(part for part in (place, *parents) if part)
    if is_unpickling(last, value):
        yield Finding(name, at, "pickle", f"{last}: {value}")
    elif last == "_target_" and not (isinstance(value, str) and (value.startswith("$") or is_allowed(value))):
        yield Finding(name, at, "target", str(value))
    elif last in _CLASSES:
        for named in value if isinstance(value, list) else [value]:
            if isinstance(named, str) and not (named.startswith("$") or is_allowed(named)):
                yield Finding(name, at, "target", named)


def _of_logging(path: Path, name: str) -> Iterator[Finding]:
    """Settings that ``logging.config.fileConfig`` evaluates."""
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        if line.replace(":", "=").split("=")[0].strip().lower() in _LOGGING:
            yield Finding(name, f"line {number}", "logging", line.strip())


def _of_weights(path: Path, name: str) -> Iterator[Finding]:
    try:
        read_weights_file(path)
    except (OSError, ValueError) as error:
        yield Finding(name, "", "weights", str(error).removeprefix(f"{path} "))


@cache
def is_allowed(target: str) -> bool:
    """Whether a ``_target_`` is a class that computes, of MONAI, PyTorch or ignite, or is one of this package's own.

    The path must lead to what was defined there: ``monai.data.utils.os.system`` is not of MONAI.

    Examples:
        >>> is_allowed("SupervisedTrainer"), is_allowed("os.system"), is_allowed("monai.data.utils.os.system")
        (True, False, False)
    """
    path = target if "." in target else target_path(target)
    if not _inside(path, (*ROOMS, *OWN_ROOMS)):
        return False  # and not imported
    found: Any = pydoc.locate(path)
    home = f"{getattr(found, '__module__', '')}.{getattr(found, '__qualname__', '')}"
    if _inside(home, OWN_ROOMS):
        return callable(found)
    if _inside(f"{home}.", UNPICKLERS):
        return False
    return inspect.isclass(found) and _inside(home, ROOMS)


@cache
def _known() -> frozenset[tuple[str, str]]:
    """What the configurations of this package hold; programs and weights are never known by their names."""
    roots = (bundle_root() / "configs", config_file("network/unet.json").parents[1])
    found = {
        (finding.kind, finding.what)
        for root in roots
        for path in root.rglob("*")
        for finding in (
            _of_config(path, "") if path.suffix in CONFIGS else _of_logging(path, "") if path.suffix in LOGGING else ()
        )
    }
    return frozenset(found)


def _inside(path: str, rooms: tuple[str, ...]) -> bool:
    return any(path.startswith(f"{room}.") for room in rooms)
