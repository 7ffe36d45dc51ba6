# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The rules of the house: which room imports which, headers, sizes, nothing that runs on import."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "c2f_monai"
# A room imports itself and the rooms before it.
ROOMS = (
    "utils",
    "networks",
    "losses",
    "transforms",
    "data",
    "inferers",
    "metrics",
    "handlers",
    "visualize",
    "apps",
)
MAX_LINES = 300
HEADER = ["# Copyright (c) c2f_monai contributors", "# SPDX-License-Identifier: Apache-2.0"]

MODULES = sorted(PACKAGE.rglob("*.py"))
SOURCES = sorted(path for folder in ("c2f_monai", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    """Path from the project's root, with forward slashes: the id of a test case."""
    return path.relative_to(ROOT).as_posix()


def imported_rooms(source: str, package: str) -> set[str]:
    """Rooms that a module imports anywhere, functions and type-checking blocks included.

    Args:
        source: text of the module.
        package: dotted name of the package the module lies in, which relative imports start from.
    """
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            names += [f"{base}.{alias.name}" for alias in node.names]
    parts = [name.split(".") for name in names]
    return {part[1] for part in parts if part[0] == "c2f_monai" and len(part) > 1} & set(ROOMS)


@pytest.mark.parametrize(
    ("source", "package", "expected"),
    [
        ("import torch\nfrom monai.apps import download_url", "c2f_monai.data", set()),
        ("import c2f_monai.utils.boxes as b", "c2f_monai.data", {"utils"}),
        ("from c2f_monai import networks, __version__", "c2f_monai.data", {"networks"}),
        ("from c2f_monai.inferers import CoarseToFineInferer", "c2f_monai.apps", {"inferers"}),
        ("from ..utils import View", "c2f_monai.data", {"utils"}),
        ("from .. import losses", "c2f_monai.data", {"losses"}),
        ("from .slices import Slices", "c2f_monai.data", {"data"}),
        ("def f():\n    from c2f_monai.apps.cli import main", "c2f_monai.utils", {"apps"}),
    ],
)
def test_imported_rooms_are_found_however_they_are_written(source: str, package: str, expected: set[str]) -> None:
    assert imported_rooms(source, package) == expected


def test_the_list_of_rooms_is_the_packages_folders() -> None:
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(ROOMS)


@pytest.mark.parametrize("path", [path for path in MODULES if path.parent != PACKAGE], ids=name_of)
def test_a_room_imports_only_rooms_before_it(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0]
    package = ".".join(path.relative_to(ROOT).parent.parts)
    allowed = set(ROOMS[: ROOMS.index(room) + 1])
    if room == "inferers":  # an inferer receives its network, it never chooses one
        allowed.remove("networks")
    assert imported_rooms(path.read_text(encoding="utf-8"), package) <= allowed


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_inside_the_package_imports_are_relative(path: Path) -> None:
    """One way to write them; the rooms are read from both."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    assert [name for name in names if name.split(".")[0] == "c2f_monai"] == []


def test_only_the_command_line_reaches_apps_from_the_top_of_the_package() -> None:
    top = {path.name: imported_rooms(path.read_text(encoding="utf-8"), "c2f_monai") for path in PACKAGE.glob("*.py")}
    assert top.pop("__main__.py") <= {"apps"}
    assert top == {"__init__.py": set()}


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_every_source_starts_with_the_license_header(path: Path) -> None:
    assert path.read_text(encoding="utf-8").splitlines()[:2] == HEADER


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_stay_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", [path for path in MODULES if path.name != "__main__.py"], ids=name_of)
def test_importing_a_module_does_no_work(path: Path) -> None:
    """A module's body defines and assigns: no loops, no `with`, no call for its effect."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    statements = [
        f"line {node.lineno}: {ast.unparse(node).splitlines()[0]}"
        for node in body
        if isinstance(node, (ast.For, ast.While, ast.With))
        or (isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant))
    ]
    assert statements == []
