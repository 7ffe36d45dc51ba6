# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the bundle lies, and where files go that are made on first use."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["CACHE_VARIABLE", "bundle_root", "cache_dir", "config_file", "settings_beside", "settings_file", "work_root"]

#: Environment variable with the folder of :func:`cache_dir`.
CACHE_VARIABLE = "C2F_MONAI_CACHE"
_PACKAGE = Path(__file__).resolve().parents[1]
_INFERENCE = Path("configs", "inference.json")


def bundle_root() -> Path:
    """Folder of the MONAI bundle: in the installed package, beside it in a source tree, or around a packed one.

    Raises:
        FileNotFoundError: when there is none.
    """
    for folder in (_PACKAGE / "bundle", _PACKAGE.parent / "bundle", _PACKAGE.parent):
        if (folder / _INFERENCE).is_file():
            return folder
    raise FileNotFoundError(f"there is no bundle in or beside {_PACKAGE}: install the package again.")


def config_file(name: str | os.PathLike[str]) -> Path:
    """A configuration or overlay: a file, else a name in the bundle's ``configs`` or in the overlays.

    Args:
        name: such as ``my.json``, ``stepwise.json`` or ``network/deeplab.json``.

    Raises:
        FileNotFoundError: when there is none.
    """
    overlays = _PACKAGE / "overlays" if (_PACKAGE / "overlays").is_dir() else _PACKAGE.parent / "configs"
    for path in (Path(name), bundle_root() / "configs" / name, overlays / name):
        if path.is_file():
            return path
    raise FileNotFoundError(f"there is no configuration {name}, neither here nor in the bundle nor in {overlays}.")


def cache_dir(folder: str | os.PathLike[str] | None = None) -> Path:
    """Folder for data that is made on first use; it is not made here.

    Args:
        folder: the one to take. Defaults to None: that of the environment variable ``C2F_MONAI_CACHE``, else the
            platform's place for caches, such as ``~/.cache/c2f_monai``.

    Examples:
        >>> cache_dir("somewhere").name
        'somewhere'
    """
    chosen = folder or os.environ.get(CACHE_VARIABLE)
    return Path(chosen).expanduser().absolute() if chosen else _platform_caches() / "c2f_monai"


def settings_file(weights: str | os.PathLike[str]) -> Path:
    """Overlay of ``inference.json`` that a training writes beside its weights; it need not be there.

    Args:
        weights: such as ``model.pt``.

    Examples:
        >>> settings_file("run/model.pt").name
        'model.json'
    """
    return Path(weights).with_suffix(".json")


def settings_beside(weights: str | os.PathLike[str]) -> list[Path]:
    """The :func:`settings_file` of weights where there is one, else nothing: configurations to append."""
    return [file for file in (settings_file(weights),) if file.is_file()]


def work_root(root: str | os.PathLike[str]) -> str:
    """Where a bundle keeps the data and runs that it makes: its own folder, or :func:`cache_dir` for the installed one.

    Args:
        root: folder of the bundle. Nothing is written into an installed package.
    """
    folder = Path(root).absolute()
    return str(cache_dir() if folder.resolve().is_relative_to(_PACKAGE) else folder)


def _platform_caches() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
