# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The methods for another target: an organ, or the cyst near an organ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from .declared import declared
from .plan import Training

__all__ = ["COARSE", "CROPPED", "CYST", "RSTN", "STEPWISE", "coarse_variant", "near_organ_training", "organ_training"]

#: Label values that the bundle trains on, and that of the cyst among them.
TARGET, CYST = (1, 2), (2,)

#: The organ's region is cropped, not masked: after the overlay of the cyst.
CROPPED = "configs/task/cyst_cropped.json"
_COARSE_ONLY = "configs/baseline/coarse_only.json"
#: Of the file of tables: coarse networks alone, the methods that start from them, and what other modules name.
COARSE, RSTN, STEPWISE = (declared().training(name) for name in ("coarse", "rstn", "stepwise"))


def coarse_variant(name: str, overlays: Sequence[str] = (), start: Training | None = None, **options: Any) -> Training:
    """Coarse networks alone for another target or with other values of some ids.

    Args:
        name: of the variant.
        overlays: files of the variant.
        start: networks that it goes on from; None for random ones.
        options: the ids.
    """
    return Training(f"coarse_{name}", (*overlays, _COARSE_ONLY), options, COARSE.published, start=start)


def organ_training(base: Training, organ: str, values: Sequence[int]) -> Training:
    """The method of ``base`` for another organ, by its name and label values.

    The cyst is a part of what the bundle trains on, so its coarse networks go on from those of the whole.
    """
    if tuple(values) == TARGET:
        return base
    cyst = (organ, tuple(values)) == ("cyst", CYST)
    name = "cyst" if cyst else "organ_" + organ.replace(" ", "_").rstrip(".")
    options = {**base.options, "label_value": list(values)}
    start = coarse_variant(name, label_value=list(values), start=COARSE if cyst else None)
    return replace(base, name=f"{base.name}_{name}", options=options, start=start)


def near_organ_training(base: Training, distance: float | None = None, crop: bool = False) -> Training:
    """The method of ``base`` for the cyst near the true organ [3.3.3].

    Args:
        base: the method.
        distance: t in mm; None for the configuration's, 10 mm, or the chapter's 15 voxels on the file's own grid.
        crop: the networks see the organ's box with t around it, and nothing in it is hidden [3.4.3].
    """
    overlays = ("configs/task/cyst.json", *([CROPPED] if crop else []))
    name = "near_organ_cropped" if crop else "near_organ"
    name += "" if distance is None else f"_{distance:g}mm"
    options: dict[str, Any] = {} if distance is None else {"organ_distance_mm": distance}
    start = coarse_variant(name, overlays, start=COARSE, **options)
    return replace(base, name=f"{base.name}_{name}", overlays=(*base.overlays, *overlays), options=options, start=start)
