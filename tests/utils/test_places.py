# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from c2f_monai.utils import bundle_root, cache_dir, places, work_root


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package in site-packages."""
    package = tmp_path / "site-packages" / "c2f_monai"
    package.mkdir(parents=True)
    monkeypatch.setattr(places, "_PACKAGE", package)
    return package


def write_bundle(folder: Path) -> Path:
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "inference.json").write_text("{}", encoding="utf-8")
    return folder


def test_a_source_tree_has_its_bundle_beside_the_package(project_root: Path) -> None:
    assert bundle_root() == project_root / "bundle"
    assert work_root(bundle_root()) == str(project_root / "bundle")


def test_an_installed_bundle_is_found_in_the_package_and_never_written_to(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("C2F_MONAI_CACHE", str(tmp_path / "cache"))
    bundle = write_bundle(installed / "bundle")
    assert bundle_root() == bundle
    assert work_root(bundle) == str(tmp_path / "cache")
    assert work_root(tmp_path / "copy") == str(tmp_path / "copy")


def test_a_packed_bundle_lies_around_the_package(installed: Path) -> None:
    write_bundle(installed.parent)
    assert bundle_root() == installed.parent
    assert work_root(installed.parent) == str(installed.parent)


def test_a_package_without_its_bundle_says_so(installed: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no bundle in or beside .*c2f_monai: install"):
        bundle_root()


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {}, "home/.cache/c2f_monai"),
        ("linux", {"XDG_CACHE_HOME": "xdg"}, "xdg/c2f_monai"),
        ("darwin", {}, "home/Library/Caches/c2f_monai"),
        ("win32", {"LOCALAPPDATA": "local"}, "local/c2f_monai"),
        ("linux", {"C2F_MONAI_CACHE": "mine", "XDG_CACHE_HOME": "xdg"}, "mine"),
    ],
)
def test_the_cache_is_the_variables_or_the_platforms(
    platform: str, variables: dict[str, str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("C2F_MONAI_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, folder in variables.items():
        monkeypatch.setenv(name, str(tmp_path / folder))
    monkeypatch.setattr(places.sys, "platform", platform)
    monkeypatch.setattr(places.Path, "home", lambda: tmp_path / "home")
    assert cache_dir() == tmp_path / expected
    assert cache_dir(tmp_path / "option") == tmp_path / "option"
