# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Tissues of synthetic CT: the ranges their HU are drawn from, and which organ is of which tissue."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["ORGAN_TISSUES", "TISSUES", "Tissue", "check_tissues", "tissue_of_organ"]

Range = tuple[float, float]


@dataclass(frozen=True)
class Tissue:
    """Ranges that a tissue is drawn from, each uniform.

    Attributes:
        mean: HU.
        spread: standard deviation of its texture in HU.
        mixed: another tissue that lies in it in pieces, such as fat between the lobules of the pancreas.
        share: of the volume that is of ``mixed``.
        contents: of a hollow organ, tissues; two of them are drawn.
    """

    mean: Range
    spread: Range = (3.0, 12.0)
    mixed: str | None = None
    share: Range = (0.0, 0.0)
    contents: tuple[str, ...] = ()


#: Ranges by tissue, without contrast medium to a late arterial phase. What they have to hold was measured on real CT
#: (docs/results/real/tissues.json, 5th to 95th percentile). In the portal venous phase the pancreas has a mean of 51 to
#: 120 HU and, with noise and the fat between its lobules, a standard deviation of 17 to 40; soft tissue around it has a
#: mean of 78 to 115, fat one of -105 to -98. Unenhanced and fatty glands reach lower.
TISSUES: dict[str, Tissue] = {
    "air": Tissue((-1000.0, -990.0), (0.0, 3.0)),
    "gas": Tissue((-1000.0, -850.0), (0.0, 10.0)),
    "lung": Tissue((-900.0, -700.0), (20.0, 80.0)),
    "fat": Tissue((-120.0, -80.0), (4.0, 15.0), mixed="vessel", share=(0.0, 0.08)),
    "fluid": Tissue((-5.0, 30.0), (1.0, 6.0)),
    "food": Tissue((-30.0, 90.0), (10.0, 50.0)),
    "oral contrast": Tissue((120.0, 350.0), (5.0, 40.0)),
    "muscle": Tissue((25.0, 80.0), (4.0, 14.0), mixed="fat", share=(0.0, 0.15)),
    "soft tissue": Tissue((10.0, 100.0)),
    "pancreas": Tissue((-10.0, 140.0), (4.0, 20.0), mixed="fat", share=(0.0, 0.25)),
    "liver": Tissue((20.0, 130.0), mixed="vessel", share=(0.0, 0.1)),
    "spleen": Tissue((30.0, 150.0)),
    "kidney": Tissue((20.0, 230.0), (4.0, 25.0)),
    "gland": Tissue((0.0, 100.0)),
    "vessel": Tissue((30.0, 220.0)),
    "artery": Tissue((30.0, 320.0)),
    "vein": Tissue((25.0, 220.0)),
    "heart": Tissue((30.0, 220.0), (4.0, 25.0)),
    "bowel": Tissue((20.0, 120.0), contents=("gas", "fluid", "food", "food", "oral contrast")),
    "bone": Tissue((120.0, 450.0), (30.0, 120.0)),
    "cartilage": Tissue((60.0, 180.0), (5.0, 30.0)),
    "nerve": Tissue((15.0, 60.0)),
}

#: Tissue by the beginning of an organ's name, as TotalSegmentator and the phantom name them; the first that fits.
ORGAN_TISSUES: tuple[tuple[str, str], ...] = (
    ("pancreas", "pancreas"),
    ("cyst|kidney_cyst|gallbladder|urinary_bladder", "fluid"),
    ("lung", "lung"),
    ("trachea", "gas"),
    ("vertebrae|rib_|hip|sacrum|scapula|clavicula|humerus|femur|sternum|skull", "bone"),
    ("costal_cartilages", "cartilage"),
    ("brain|spinal_cord", "nerve"),
    ("heart|atrial|pulmonary_vein", "heart"),
    (".*(vein|vena)", "vein"),
    ("aorta|brachiocephalic_trunk|.*artery", "artery"),
    ("autochthon|gluteus|iliopsoas|muscle", "muscle"),
    ("colon|duodenum|small_bowel|stomach|esophagus", "bowel"),
    (".*kidney", "kidney"),
    ("adrenal|thyroid|prostate", "gland"),
    ("liver", "liver"),
    ("spleen", "spleen"),
    *((name, name) for name in TISSUES),
)


def tissue_of_organ(name: str) -> str:
    """Tissue of an organ by its name; what is not known is "soft tissue".

    Examples:
        >>> [tissue_of_organ(name) for name in ("kidney_cyst_left", "Left kidney", "portal_vein_and_splenic_vein")]
        ['fluid', 'kidney', 'vein']
        >>> tissue_of_organ("tumor")
        'soft tissue'
    """
    plain = name.strip().lower().replace(" ", "_")
    for pattern, tissue in ORGAN_TISSUES:
        if re.match(pattern.replace(" ", "_"), plain):
            return tissue
    return "soft tissue"


def check_tissues(tissues: Mapping[int, str], table: Mapping[str, Tissue]) -> None:
    """Refuse a tissue that the table does not have, directly or within another one.

    Raises:
        ValueError: for one that is missing, or a range that does not increase.
    """
    within = [other for tissue in table.values() for other in (tissue.mixed, *tissue.contents) if other is not None]
    for name in (*tissues.values(), *within):
        if name not in table:
            raise ValueError(f"tissues must be among {', '.join(table)}, got {name!r}.")
    for name, tissue in table.items():
        for key in ("mean", "spread", "share"):
            low, high = getattr(tissue, key)
            if not low <= high:
                raise ValueError(f"{key} of {name} must be two increasing numbers, got {[low, high]}.")
