# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""From files to the working grid: the one way that training, validation and inference prepare a case."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from monai.transforms import Compose, CopyItemsd, EnsureChannelFirstd, MapTransform, Orientationd, Transform

from ..transforms import (
    UNNAMED_LABELS,
    CheckLabeledd,
    CheckSameGridd,
    CheckVolumed,
    ClipHUd,
    CompactDtyped,
    ResampleToSpacingd,
    SelectLabeld,
    SmoothForSpacingd,
    TurnUprightd,
    all_label_values,
)
from .images import LoadVolumed
from .readers import read_image

__all__ = ["READ_IMAGE", "image_preprocessing", "keep_read_image", "labeled_preprocessing"]

#: Key of the image before anything was done to it, see :func:`keep_read_image`.
READ_IMAGE = "read_image"


class ReadImaged(MapTransform):
    """Apply :func:`read_image` to the files at ``keys``: (1, H, W, D) float32, or an error that names the file.

    MONAI's ``LoadImaged`` passes on what the formats' libraries raise, such as an ``EOFError`` without a text.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Read."""
        return {**data, **{key: read_image(data[key]) for key in self.key_iterator(dict(data))}}


def image_preprocessing(
    pixdim: Sequence[float] | None = None, mode: str = "bilinear", antialias: bool = False
) -> Compose:
    """Transforms of "image" for inference: read, check, clip, turn to RAS, resample to the working grid.

    Args:
        pixdim: voxel size of the working grid in mm, (x, y, z); None keeps the file's. Defaults to None.
        mode: interpolation. Defaults to "bilinear".
        antialias: blur first where voxels become larger, see :py:class:`SmoothForSpacingd`; as the weights were
            trained. Defaults to False.

    Returns:
        Transforms of a dictionary whose "image" is a file, or what :func:`volume_of` makes of an image in memory; it
        becomes (1, H, W, D) in HU; invertible. The file's type is kept as far as it holds HU below 0: a CT of 16-bit
        integers takes half the memory of float32.
    """
    transforms: list[Transform] = [
        LoadVolumed("image", dtype=None),
        EnsureChannelFirstd("image"),
        CompactDtyped("image"),
        CheckVolumed("image"),
        ClipHUd("image"),
        Orientationd("image", axcodes="RAS", labels=None),
        TurnUprightd("image"),
    ]
    if pixdim is not None and antialias:
        transforms.append(SmoothForSpacingd("image", pixdim=pixdim))
    if pixdim is not None:
        transforms.append(ResampleToSpacingd("image", pixdim=pixdim, mode=mode, dtype=np.float32))
    return Compose(transforms)


def keep_read_image(preprocessing: Compose) -> Compose:
    """The same transforms, and under :data:`READ_IMAGE` "image" as it was read: (1, H, W, D) in its own orientation.

    The transforms make new volumes where they change something, so that this one stays as it is.

    Args:
        preprocessing: transforms whose channels are first after ``EnsureChannelFirstd``.

    Examples:
        >>> [type(each).__name__ for each in keep_read_image(image_preprocessing()).transforms][1:3]
        ['EnsureChannelFirstd', '_KeepReadImage']
    """
    steps = list(preprocessing.transforms)
    read = next(i for i, step in enumerate(steps) if isinstance(step, EnsureChannelFirstd))
    return Compose([*steps[: read + 1], _KeepReadImage(), *steps[read + 1 :]])


class _KeepReadImage(Transform):
    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        return {**data, READ_IMAGE: data["image"]}


def labeled_preprocessing(
    label_value: int | Sequence[int] | Sequence[Sequence[int]],
    pixdim: Sequence[float] | None = None,
    keep_label: bool = False,
    conditioning: Callable[..., Transform] | None = None,
    mode: str = "bilinear",
    antialias: bool = False,
    known_labels: Sequence[int] | None = None,
) -> Compose:
    """Transforms of "image" and "label" for training and validation: as in inference, and the target's mask.

    Args:
        label_value: label value of the target, several that are joined, or a list of them for each class, see
            :py:class:`SelectLabeld`.
        pixdim: voxel size of the working grid in mm, (x, y, z); None keeps the file's. Defaults to None.
        keep_label: "label" stays on the file's own grid, on which validation scores, and "label_grid" is its copy on
            the working grid. Defaults to False.
        conditioning: makes the transform that hides what is not near an organ from ``keys`` and ``organ_key``, such as
            :py:class:`ConditionOnOrgand` [3.3.3]. It sees the label map with all its values. Defaults to None.
        mode: interpolation of the image. Defaults to "bilinear".
        antialias: blur the image first where voxels become larger. Defaults to False.
        known_labels: values that label files may hold beside 0; another one is refused, see :py:class:`CheckLabeledd`.
            Those of ``label_value`` are known always. Defaults to None: whole numbers below 255.

    Returns:
        Transforms of a dictionary of files: "image" becomes (1, H, W, D) in HU, "label" and "label_grid"
        (K, H, W, D) masks; invertible.
    """
    grid = "label_grid" if keep_label else "label"
    both = ["image", grid]
    known = sorted({*(UNNAMED_LABELS if known_labels is None else known_labels), *all_label_values(label_value)})
    transforms: list[Transform] = [
        ReadImaged(["image", "label"]),
        CheckVolumed("image"),
        ClipHUd("image"),
        CheckSameGridd("label"),
        CheckLabeledd(known),
    ]
    if conditioning is None:
        transforms.append(SelectLabeld("label", values=label_value))
    if keep_label:
        transforms.append(CopyItemsd("label", names=grid))
    transforms.append(Orientationd(both, axcodes="RAS", labels=None))
    transforms.append(TurnUprightd(both, mode=["bilinear", "nearest"]))
    if pixdim is not None and antialias:
        transforms.append(SmoothForSpacingd("image", pixdim=pixdim))
    if pixdim is not None:
        transforms.append(
            ResampleToSpacingd(both, pixdim=pixdim, mode=[mode, "nearest"], padding_mode="border", dtype=np.float32)
        )
    if conditioning is not None:
        transforms.append(conditioning(keys="image", organ_key=grid))
        transforms.append(SelectLabeld(["label", grid] if keep_label else "label", values=label_value))
    return Compose(transforms)
