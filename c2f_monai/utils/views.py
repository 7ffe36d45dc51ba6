# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Views that the tensors of a state_dict belong to."""

from __future__ import annotations

from collections.abc import Iterable

from .enums import View

__all__ = ["view_of", "views_of"]


def view_of(key: str) -> str | None:
    """The view that a tensor belongs to by its name, ``views.<view>.<part>.*``; None where it belongs to none.

    Examples:
        >>> view_of("views.axial.coarse.bias"), view_of("views.axial"), view_of("views.oblique.coarse.bias")
        ('axial', None, None)
        >>> view_of("encoder.axial.coarse.bias") is None  # a part of another network that is called so
        True
    """
    path = key.split(".")
    return path[1] if len(path) > 2 and path[0] == "views" and path[1] in set(View) else None


def views_of(keys: Iterable[str]) -> list[str]:
    """Names of the views in a flat state_dict, in the order of :py:class:`View`.

    Examples:
        >>> views_of(["views.axial.coarse.bias", "views.sagittal.coarse.bias", "else"])
        ['sagittal', 'axial']
    """
    found = {view_of(key) for key in keys}
    return [view.value for view in View if view.value in found]
