# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The image conditioned on an organ: sigma[X, P], what a neoplasm's networks see [3.3.3, 3.4.3]."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import Crop, InvertibleTransform, MapTransform, Transform
from monai.utils import convert_to_numpy
from scipy import ndimage

from ..utils import DEFAULT_WINDOW, Bounds, OrganRegion, foreground_box, grow_bounds
from .label_maps import label_values, select_label
from .volumes import source_of

__all__ = [
    "ConditionOnOrgan",
    "ConditionOnOrgand",
    "condition_on_organ",
    "hide_far",
    "near_mask",
    "near_organ",
    "organ_box",
]

ArrayOrTensor = TypeVar("ArrayOrTensor", np.ndarray, torch.Tensor)

#: t of the chapter, voxels of 0.5 to 1 mm.
DISTANCE_VOXELS = 15.0


def near_mask(mask: np.ndarray, distance: float, spacing: Sequence[float] | None = None) -> np.ndarray:
    """Voxels that are strictly closer than a Euclidean distance to some voxel of a mask; none for an empty mask.

    Args:
        mask: (H, W, D) boolean.
        distance: in voxels, or in the unit of ``spacing``; above 0.
        spacing: distance of neighboring voxels along each axis. Defaults to 1.

    Returns:
        (H, W, D) boolean.
    """
    steps = (1.0,) * mask.ndim if spacing is None else tuple(float(step) for step in spacing)
    near = np.zeros_like(mask, dtype=bool)
    bounds = foreground_box(torch.from_numpy(np.ascontiguousarray(mask)))
    if bounds is not None:
        # Beyond this box nothing is near: the transform of a whole CT would take ten times the organ's.
        reach = [math.ceil(distance / step) for step in steps]
        box = tuple(slice(*side) for side in grow_bounds(bounds, reach, mask.shape))
        near[box] = ndimage.distance_transform_edt(~mask[box], sampling=steps) < distance
    return near


def organ_box(
    organ: np.ndarray | torch.Tensor,
    distance_voxels: float | None = DISTANCE_VOXELS,
    distance_mm: float | None = None,
    spacing: Sequence[float] | None = None,
) -> Bounds | None:
    """The smallest box that holds all voxels closer than t to the organ: "the pancreas-cropped region" [3.4.3].

    Args:
        organ: (K, H, W, D) or (H, W, D) probability or mask; the channels are joined.
        distance_voxels: t in voxels, used when there is no ``distance_mm``. Defaults to 15.
        distance_mm: t in mm instead, which needs ``spacing``.
        spacing: voxel size along H, W, D in mm.

    Returns:
        ((start, stop), ...) along H, W, D, half-open; None where no voxel is above 0.5.

    Raises:
        ValueError: When a distance is not positive, or mm are asked for without a spacing.

    Examples:
        >>> organ = np.zeros((40, 40, 40))
        >>> organ[20, 20, 30] = 1
        >>> organ_box(organ, distance_voxels=5)
        ((16, 25), (16, 25), (26, 35))
    """
    distance, steps = _reach(distance_voxels, distance_mm, spacing)
    mask = torch.as_tensor(organ > 0.5)
    mask = mask.reshape(-1, *mask.shape[-3:]).any(dim=0)
    bounds = foreground_box(mask)
    # Strictly closer, as the mask.
    return bounds and grow_bounds(bounds, [math.ceil(distance / step) - 1 for step in steps or (1.0,) * 3], mask.shape)


def near_organ(
    organ: np.ndarray | torch.Tensor,
    distance_voxels: float | None = DISTANCE_VOXELS,
    distance_mm: float | None = None,
    spacing: Sequence[float] | None = None,
) -> np.ndarray:
    """Where sigma[X, P] shows the image: the voxels closer than t to the organ [3.3.3].

    Args:
        organ: (K, H, W, D) or (H, W, D) probability or mask; the channels are joined.
        distance_voxels: t in voxels, used when there is no ``distance_mm``. Defaults to 15.
        distance_mm: t in mm instead, which needs ``spacing``.
        spacing: voxel size along H, W, D in mm.

    Returns:
        (H, W, D) boolean; all False where no voxel of the organ is above 0.5.

    Raises:
        ValueError: When a distance is not positive, or mm are asked for without a spacing.
    """
    distance, steps = _reach(distance_voxels, distance_mm, spacing)
    # Compared where the organ is, so that only one byte for each voxel is moved.
    found = convert_to_numpy(organ > 0.5)
    return near_mask(found.reshape(-1, *found.shape[-3:]).any(axis=0), distance, steps)


def _reach(
    distance_voxels: float | None, distance_mm: float | None, spacing: Sequence[float] | None
) -> tuple[float, Sequence[float] | None]:
    """t, and the voxel size that it is in, None where it is in voxels."""
    check_distance(distance_voxels, distance_mm)
    if distance_mm is None:
        return distance_voxels or 0, None
    if spacing is None:
        raise ValueError("distance_mm needs the spacing of the voxels in mm, got None.")
    return distance_mm, spacing


def condition_on_organ(
    image: ArrayOrTensor,
    organ: np.ndarray | torch.Tensor,
    distance_voxels: float | None = DISTANCE_VOXELS,
    distance_mm: float | None = None,
    spacing: Sequence[float] | None = None,
    outside: float = DEFAULT_WINDOW[0],
) -> ArrayOrTensor:
    """X' = sigma[X, P]: X_i where a voxel j with P_j > 0.5 has |i - j| < t, the bottom of the range elsewhere [3.3.3].

    Args:
        image: (C, H, W, D) array or tensor; it is not changed.
        organ: (K, H, W, D) or (H, W, D) probability or mask of the organ, the neoplasm in it included; the channels
            are joined. Where no voxel is above 0.5, all of X' is ``outside``.
        distance_voxels: t in voxels (the chapter: 15, to which it is insensitive); used when there is no
            ``distance_mm``.
        distance_mm: t in mm instead, which needs ``spacing``.
        spacing: voxel size along H, W, D in mm.
        outside: the value 0 of the scaled [0, 1] image: the lower end of the window where the image is in HU, 0 where
            it is scaled already. Defaults to -100 HU.

    Returns:
        X' in the type, on the device and with the metadata of ``image``.

    Raises:
        ValueError: When shapes differ, a distance is not positive, or mm are asked for without a spacing.
    """
    if image.ndim != 4 or tuple(organ.shape[-3:]) != tuple(image.shape[1:]) or organ.ndim not in (3, 4):
        raise ValueError(
            f"image (C, H, W, D) and organ (K, H, W, D) must lie on one grid, got the shapes {tuple(image.shape)} and "
            f"{tuple(organ.shape)}."
        )
    return hide_far(image, near_organ(organ, distance_voxels, distance_mm, spacing), outside)


def hide_far(image: ArrayOrTensor, near: np.ndarray, outside: float) -> ArrayOrTensor:
    """The image (C, H, W, D) where a mask (H, W, D) is, see :func:`near_organ`, and ``outside`` elsewhere."""
    if isinstance(image, torch.Tensor):
        return image.masked_fill(~torch.from_numpy(near).to(image.device), outside)
    return np.where(near, image, np.asarray(outside, dtype=image.dtype))


class ConditionOnOrgan(Transform):
    """Apply :func:`condition_on_organ`; a distance in mm goes by the image's own voxel size.

    Args:
        distance_voxels: t in voxels, used when there is no ``distance_mm``. Defaults to 15.
        distance_mm: t in mm instead. Defaults to None.
        outside: value of what is not near the organ. Defaults to -100 HU.

    Raises:
        ValueError: When a distance is not positive.
    """

    def __init__(
        self,
        distance_voxels: float | None = DISTANCE_VOXELS,
        distance_mm: float | None = None,
        outside: float = DEFAULT_WINDOW[0],
    ) -> None:
        check_distance(distance_voxels, distance_mm)
        self.distance_voxels = distance_voxels
        self.distance_mm = distance_mm
        self.outside = outside

    def __call__(self, img: torch.Tensor, organ: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """X' of ``img``, (C, H, W, D), near ``organ``, (K, H, W, D) on the same grid.

        Raises:
            ValueError: When shapes differ, or mm are asked for and ``img`` carries no affine.
        """
        return condition_on_organ(img, organ, *self.distances, self.spacing_of(img), self.outside)

    @property
    def distances(self) -> tuple[float | None, float | None]:
        """In voxels and in mm."""
        return self.distance_voxels, self.distance_mm

    def spacing_of(self, img: torch.Tensor) -> list[float] | None:
        """Voxel size of an image where the distance is in mm.

        Raises:
            ValueError: when ``img`` carries no affine.
        """
        if self.distance_mm is None:
            return None
        if not isinstance(img, MetaTensor):
            raise ValueError(f"distance_mm needs a MetaTensor with a voxel size, got {type(img).__name__}.")
        return [float(step) for step in img.pixdim]


class ConditionOnOrgand(MapTransform, InvertibleTransform):
    """Dictionary-based :class:`ConditionOnOrgan`: in training from the true organ, in testing from its prediction.

    With the region "crop" images and organ are cut to :func:`organ_box` instead, and nothing in it is hidden; inverted,
    what was cut off is 0.

    Args:
        keys: keys of the images.
        organ_key: key of the organ on the same grid; it is cropped with the images, else not changed.
        organ_value: label value of the organ, or several that are joined, such as organ and neoplasm; None where
            ``organ_key`` holds a mask or a probability. Defaults to None.
        distance_voxels: t in voxels, used when there is no ``distance_mm``. Defaults to 15.
        distance_mm: t in mm instead. Defaults to None.
        outside: value of what is not near the organ. Defaults to -100 HU.
        region: "mask" hides what is not near the organ, "crop" cuts its box. Defaults to "mask".
        allow_missing_keys: whether a missing key is passed over. Defaults to False.

    Raises:
        ValueError: When a distance is not positive, a label value is no whole number from 1 to 255, or the region is
            another.
    """

    def __init__(
        self,
        keys: KeysCollection,
        organ_key: str,
        organ_value: int | Sequence[int] | None = None,
        distance_voxels: float | None = DISTANCE_VOXELS,
        distance_mm: float | None = None,
        outside: float = DEFAULT_WINDOW[0],
        region: OrganRegion | str = OrganRegion.MASK,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.region = OrganRegion(region)
        self.crop = Crop()
        self.organ_key = organ_key
        self.organ_value = None if organ_value is None else label_values(organ_value)
        self.condition = ConditionOnOrgan(distance_voxels, distance_mm, outside)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Condition the images of ``data`` at the keys; other entries pass."""
        out = dict(data)
        organ = out[self.organ_key]
        if self.organ_value is not None:
            organ = select_label(organ, self.organ_value)
        for key in self.key_iterator(out):
            try:
                out[key] = self._near(out[key], organ)
            except ValueError as error:
                raise ValueError(f"{source_of(out[key])}: {error}") from error
        if self.region == OrganRegion.CROP:
            out[self.organ_key] = self._cut(out[self.organ_key], organ)
        return out

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Give cropped volumes their size again."""
        out = dict(data)
        if self.region == OrganRegion.CROP:
            for key in self.key_iterator(out):
                out[key] = self.crop.inverse(out[key])
        return out

    def _near(self, img: torch.Tensor, organ: torch.Tensor) -> torch.Tensor:
        if self.region == OrganRegion.MASK or not (organ > 0.5).any():
            img = self.condition(img, organ)  # without the organ nothing is left, and nothing is cut
        return img if self.region == OrganRegion.MASK else self._cut(img, organ)

    def _cut(self, img: torch.Tensor, organ: torch.Tensor) -> torch.Tensor:
        bounds = organ_box(organ, *self.condition.distances, spacing=self.condition.spacing_of(img))
        return self.crop(img, tuple(slice(*side) for side in bounds or ((0, n) for n in img.shape[1:])))


def check_distance(distance_voxels: float | None, distance_mm: float | None) -> None:
    """Refuse distances that are not positive, or none at all.

    Raises:
        ValueError: naming the distance.
    """
    if distance_voxels is None and distance_mm is None:
        raise ValueError("give distance_voxels or distance_mm, got None for both.")
    for name, value in (("distance_voxels", distance_voxels), ("distance_mm", distance_mm)):
        if value is not None and not value > 0:
            raise ValueError(f"{name} must be above 0, got {value}.")
