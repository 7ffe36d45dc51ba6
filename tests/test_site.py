# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Pages of the documentation that are made of the sources; ``make docs`` builds all of it without a warning."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from c2f_monai.apps.cli.family import COMMANDS
from c2f_monai.config import IDS

pytest.importorskip("mkdocs", reason="needs the extra docs")


@pytest.fixture(scope="module")
def hooks(project_root: Path) -> Any:
    """The module docs/hooks.py."""
    spec = importlib.util.spec_from_file_location("docs_hooks", project_root / "docs" / "hooks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_command_has_its_help(hooks: Any) -> None:
    page = hooks.commands_page()
    names = {module.__name__.rsplit(".", 1)[-1].replace("_", "-") for module in COMMANDS}
    assert names <= set(re.findall(r"^## c2f (\S+)$", page, flags=re.MULTILINE))
    assert "### c2f prepare nih" in page and "usage: c2f segment" in page


def test_every_id_has_its_kind_meaning_and_defaults(hooks: Any) -> None:
    lines = hooks.config_ids_page().splitlines()
    assert {name for line in lines for name in re.findall(r"^\| `(\w+)` \|", line)} == set(IDS)
    row = "| `holdout` | a number from 0 to 0.5 | share of the training cases that validates | `0.2` | `0.2` |"
    assert row in lines


def test_messages_of_errors_are_those_of_the_source(hooks: Any) -> None:
    page = hooks.errors_page()
    assert "| there is no folder {folder}. | `c2f_monai.apps.score` |" in page
    assert "there is nothing to segment: give --input" in page


def test_sections_of_the_chapter_lead_to_code(hooks: Any) -> None:
    rows = dict(re.findall(r"^\| (\S[^|]*) \| (.*) \|$", hooks.chapter_page(), flags=re.MULTILINE))
    assert "`networks.saliency.SaliencyTransform`" in rows["3.4"] and "`visualize.rounds" in rows["Fig. 3.8"]
    assert "1.0" not in rows


@pytest.mark.parametrize(
    ("place", "text", "expected"),
    [
        ("index.md", "[speed](docs/speed.md#memory)", "[speed](speed.md#memory)"),
        ("index.md", "![a](docs/images/demo.png)", "![a](images/demo.png)"),
        ("architecture.md", "[how](../CONTRIBUTING.md)", "[how](contributing.md)"),
        ("results/test.md", "[card](../../bundle/docs/README.md)", "[card](../model-card.md)"),
        ("index.md", "[Apache-2.0](LICENSE)", "Apache-2.0"),
        ("index.md", "[b](#data), [c](https://monai.io)", "[b](#data), [c](https://monai.io)"),
        ("index.md", "[gone](docs/gone.md)", "[gone](docs/gone.md)"),
    ],
)
def test_links_between_files_become_links_between_pages(hooks: Any, place: str, text: str, expected: str) -> None:
    known = {"speed.md", "images/demo.png", "contributing.md", "model-card.md"}
    files = SimpleNamespace(get_file_from_path=lambda path: path if path in known else None)
    page = SimpleNamespace(file=SimpleNamespace(src_uri=place))
    assert hooks.on_page_markdown(text, page, None, files) == expected
