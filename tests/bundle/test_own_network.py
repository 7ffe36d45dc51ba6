# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The overlay and the class of docs/networks.md, as they stand there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser


@pytest.fixture
def blocks(project_root: Path) -> dict[str, str]:
    """The page's blocks of code by their language."""
    text = (project_root / "docs" / "networks.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^```(\w+)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL))


def network(bundle_root: Path, overlay: dict[str, Any]) -> torch.nn.Module:
    parser = ConfigParser()
    parser.read_config(str(bundle_root / "configs" / "train.json"))
    parser.update(overlay)
    parser["bundle_root"] = str(bundle_root)
    return parser.get_parsed_content("network_def").eval()


@pytest.mark.parametrize("name", ["BasicUNet", "Plain"])
def test_the_network_of_the_page_is_both_parts(
    name: str, blocks: dict[str, str], bundle_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overlay = json.loads(blocks["json"])
    if name == "Plain":
        (tmp_path / "my_networks.py").write_text(blocks["python"], encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path)
        overlay["backbone_def"] = {"_target_": "my_networks.Plain", "_mode_": "callable", "width": 3}
    found = network(bundle_root, overlay)
    slab = torch.rand(1, found.in_slices, 45, 61)
    (view,) = found.view_names
    with torch.no_grad():
        shapes = [found(slab, part, view).shape[2:] for part in ("coarse", "fine")]
    assert shapes == [slab.shape[2:]] * 2
    assert [type(part).__name__ for part in (found.views[view].coarse, found.views[view].fine)] == [name] * 2
