# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The packages that this one imports, for a bundle that carries it where nothing was installed with it."""

from __future__ import annotations

from importlib.util import find_spec

__all__ = ["REQUIRED", "MissingPackagesError", "check_extra", "check_packages"]

#: Module -> name by which pip installs it; torch, numpy and MONAI apart, without which nothing gets here.
REQUIRED = {
    "filelock": "filelock",
    "ignite": "pytorch-ignite",
    "itk": "itk",
    "matplotlib": "matplotlib",
    "nibabel": "nibabel",
    "PIL": "pillow",
    "scipy": "scipy",
    "tensorboard": "tensorboard",
    "tqdm": "tqdm",
}


class MissingPackagesError(ModuleNotFoundError, ValueError):
    """Packages are not installed: told in one line."""


def check_packages() -> None:
    """Look for the packages that this one imports; none of them is imported.

    Raises:
        MissingPackagesError: names those that are not installed, and the command that installs them.
    """
    missing = sorted(name for module, name in REQUIRED.items() if find_spec(module) is None)
    if missing:
        raise MissingPackagesError(f"c2f_monai needs more packages: pip install {' '.join(missing)}")


def check_extra(what: str, extra: str, *modules: str) -> None:
    """Look for the packages of an extra before what needs them begins.

    Args:
        what: needs them.
        extra: that installs them.
        modules: their names.

    Raises:
        MissingPackagesError: names those that are not installed, and the command that installs them.

    Examples:
        >>> check_extra("the parser", "none", "json")
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise MissingPackagesError(f'{what} needs {", ".join(missing)}: pip install "c2f-monai[{extra}]".')
