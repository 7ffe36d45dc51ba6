# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Relative links and images of the documents lead to files that are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("benchmarks", "bundle/docs", "configs", "docs")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s#]+)(?:#[^)]*)?\)")


def test_links_lead_to_files() -> None:
    documents = [*ROOT.glob("*.md"), *(path for name in FOLDERS for path in (ROOT / name).rglob("*.md"))]
    links = [(path, target) for path in documents for target in LINK.findall(path.read_text(encoding="utf-8"))]
    relative = [(path, target) for path, target in links if not re.match(r"\w+:", target)]
    made = set(re.findall(r": ([\w-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE))
    missing = [
        f"{path.relative_to(ROOT)}: {target}"
        for path, target in relative
        # Pages of the site that are made from the sources, for those that link to them from docs/.
        if not (path.parent / target).exists() and not (path.parent == ROOT / "docs" and target in made)
    ]
    assert len(relative) > 100 and missing == []
