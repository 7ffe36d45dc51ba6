# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Orientation of a view's slices: which way they run, and which way their rows and columns do.

A volume is RAS. A view's slices are described by three axis codes: slices run along the first (their order is the order
of a slab's three channels), rows along the second, columns along the third. In a TorchScript network and in a
checkpoint they are signed axes, counted from 1: R = 1, L = -1, A = 2, P = -2, S = 3, I = -3. For example::

    "SRA"  = [ 3,  1,  2]   axial slices from the feet up, rows to the right, columns to the front: the default
    "SPL"  = [ 3, -2, -1]   axial slices from the feet up as a DICOM viewer shows them: rows to the back, columns to the
                            patient's left
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch

from .enums import View

__all__ = [
    "default_slice_axes",
    "from_slices",
    "axcodes_of",
    "slice_axcodes_of_array",
    "slice_axes",
    "slice_axes_of_views",
    "to_slices",
]


def slice_axes(axcodes: str, view: str) -> list[int]:
    """Signed RAS axes of a view's slices, rows and columns.

    Args:
        axcodes: three axis codes, such as "SPL".
        view: the view, whose slices run along the first code.

    Returns:
        three numbers out of +-1 (R, L), +-2 (A, P) and +-3 (S, I).

    Raises:
        ValueError: when the codes are not three different axes, or the first is not the view's.

    Examples:
        >>> slice_axes("SPL", "axial")
        [3, -2, -1]
    """
    axes = _signed_axes(axcodes)
    if abs(axes[0]) != View(view).axis + 1:
        raise ValueError(f"slices of the {View(view).value} view cannot run along {axcodes[0]}, got {axcodes!r}.")
    return axes


def axcodes_of(axes: Sequence[int]) -> str:
    """Three axis codes of signed RAS axes: the inverse of :func:`slice_axes`.

    Examples:
        >>> axcodes_of([3, -2, -1]), axcodes_of([2, 1, 3])
        ('SPL', 'ARS')
    """
    return "".join("RAS"[axis - 1] if axis > 0 else "LPI"[-axis - 1] for axis in axes)


def default_slice_axes(view: View) -> list[int]:
    """Signed axes of slices that are cut from a RAS volume as it is: [1, 2, 3], [2, 1, 3] and [3, 1, 2].

    Examples:
        >>> default_slice_axes(View.CORONAL)
        [2, 1, 3]
    """
    axis = view.axis + 1
    return [axis] + [other for other in (1, 2, 3) if other != axis]


def slice_axes_of_views(slice_axcodes: Mapping[str, str], views: Iterable[str]) -> dict[str, list[int]]:
    """Signed axes of each view's slices, see :func:`slice_axes`.

    Raises:
        ValueError: when a view has no codes, or codes are not its axes.
    """
    names = [View(view).value for view in views]
    missing = [name for name in names if name not in slice_axcodes]
    if missing:
        raise ValueError(f"slice_axcodes must name every view, {missing} are not in {dict(slice_axcodes)}.")
    return {name: slice_axes(slice_axcodes[name], name) for name in names}


def slice_axcodes_of_array(axcodes: str) -> dict[str, str]:
    """Axis codes of each view's slices, for networks whose slices were cut from an array as it lay in memory.

    "PLS" gives ``{"coronal": "PLS", "sagittal": "LPS", "axial": "SPL"}``: the slices along the first axis are coronal,
    those along the second sagittal, those along the third axial, and rows and columns are the other two in their order.

    Args:
        axcodes: three axis codes of the array.

    Returns:
        for each view, in the order of the array's axes, its three axis codes.

    Raises:
        ValueError: when the codes are not three different axes.

    Examples:
        >>> slice_axcodes_of_array("PLS")
        {'coronal': 'PLS', 'sagittal': 'LPS', 'axial': 'SPL'}
    """
    axes = _signed_axes(axcodes)
    names = list(View)
    return {names[abs(axis) - 1].value: axcodes[i] + axcodes[:i] + axcodes[i + 1 :] for i, axis in enumerate(axes)}


def to_slices(volume: torch.Tensor, axes: list[int]) -> torch.Tensor:
    """Slices of a view; a view of the volume's memory unless an axis is turned round.

    Args:
        volume: (..., H, W, D), RAS.
        axes: signed axes of slices, rows and columns.

    Returns:
        (..., n, h, w).

    Examples:
        >>> volume = torch.rand(4, 5, 6)
        >>> slices = to_slices(volume, slice_axes("SPL", "axial"))
        >>> slices.shape, torch.equal(from_slices(slices, slice_axes("SPL", "axial")), volume)
        (torch.Size([6, 5, 4]), True)
    """
    lead = volume.dim() - 3
    order = [i for i in range(lead)]  # noqa: C416 - TorchScript has no list(range())
    turned: list[int] = []
    for i in range(3):
        order.append(lead + abs(axes[i]) - 1)
        if axes[i] < 0:
            turned.append(lead + i)
    slices = volume.permute(order)
    return slices.flip(turned) if len(turned) > 0 else slices


def from_slices(slices: torch.Tensor, axes: list[int]) -> torch.Tensor:
    """The volume of a view's slices: the inverse of :func:`to_slices`.

    Args:
        slices: (..., n, h, w).
        axes: signed axes of slices, rows and columns.

    Returns:
        (..., H, W, D), RAS.
    """
    lead = slices.dim() - 3
    order = [i for i in range(slices.dim())]  # noqa: C416
    turned: list[int] = []
    for i in range(3):
        order[lead + abs(axes[i]) - 1] = lead + i
        if axes[i] < 0:
            turned.append(lead + i)
    whole = slices.flip(turned) if len(turned) > 0 else slices
    return whole.permute(order)


def _signed_axes(axcodes: str) -> list[int]:
    # Here: networks and inferers run without nibabel where no weights ask for another orientation.
    from nibabel.orientations import axcodes2ornt

    try:
        axes = [int((axis + 1) * direction) for axis, direction in axcodes2ornt(tuple(axcodes))]
    except (ValueError, TypeError) as error:
        raise ValueError(f"axis codes must be letters out of R L A P S I, got {axcodes!r}.") from error
    if sorted(abs(axis) for axis in axes) != [1, 2, 3]:
        raise ValueError(f"axis codes must name three different axes, such as 'PLS', got {axcodes!r}.")
    return axes
