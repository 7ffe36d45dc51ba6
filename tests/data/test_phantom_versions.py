# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Version 2 of the phantom: lung bases to pelvis, all organs labeled, decoys of the target's look."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from c2f_monai.data.datalist import label_names, load_datalist, resolve_dataset
from c2f_monai.data.phantom import VERSIONS, generate_case, select_entries, write_phantom
from c2f_monai.data.phantom import versions as versions_module

SMALL = (64, 64, 64)
NAMES = {
    0: "background",
    1: "pancreas",
    2: "cyst",
    3: "adrenal gland",
    4: "duodenum",
    5: "gallbladder",
    6: "inferior vena cava",
    7: "left kidney",
    8: "right kidney",
}


def in_ras(volume: np.ndarray, affine: np.ndarray) -> np.ndarray:
    return np.asarray(nib.as_closest_canonical(nib.Nifti1Image(volume, affine)).dataobj)


def test_version_2_is_frozen() -> None:
    """Seed 7000 at a small size: drawn settings exactly, the voxels by coarse statistics, as of version 1."""
    case = generate_case(7000, size=SMALL, version="2")
    drawn = repr((case.family, case.settings.phase, case.settings.orientation, round(case.settings.noise, 6)))
    assert hashlib.sha256(drawn.encode()).hexdigest()[:16] == "74cd356db23e8b9d"
    label = in_ras(case.label, case.affine)
    counts = np.bincount(label.ravel(), minlength=9)[1:]
    assert counts == pytest.approx([345, 0, 23, 410, 143, 948, 812, 764], abs=5)
    centers = [[float(np.mean(i)) for i in np.nonzero(label == value)] for value in (1, 6, 7, 8)]
    expected = [[29.0, 30.3, 41.0], [33.4, 26.4, 45.6], [17.1, 21.8, 41.2], [41.5, 20.8, 37.1]]
    assert np.allclose(centers, expected, atol=0.15)
    assert float(case.image.mean()) == pytest.approx(-478.5, abs=0.5)


def test_a_case_shows_lungs_above_and_the_pelvis_below_and_a_tiny_target() -> None:
    for seed in (7001, 8000, 9000):
        case = generate_case(seed, size=SMALL, version="2")
        assert case.settings.spacing[2] * case.settings.size[2] > 380  # mm
        image, label = in_ras(case.image, case.affine), in_ras(case.label, case.affine)
        inside = np.zeros(SMALL, dtype=bool)
        inside[16:48, 24:40] = True  # of the body, also in the lungs
        air = ((image < -700) & inside).sum(axis=(0, 1))
        assert air[-4:].min() > 100 > air[:4].max()
        bone = (image > 150).sum(axis=(0, 1))
        assert bone[:6].sum() > 200  # femoral heads
        organ = (label == 1) | (label == 2)
        assert 0.0004 < organ.mean() < 0.002
        assert not any(organ.take(end, axis).any() for axis in range(3) for end in (0, -1))


def test_every_organ_has_its_label_on_its_side() -> None:
    case = generate_case(7001, size=(96, 96, 96), version="2")
    label = in_ras(case.label, case.affine)
    assert set(np.unique(label)) >= {1, 3, 4, 5, 6, 7, 8}
    x, y, z = ({v: float(np.nonzero(label == v)[axis].mean()) for v in range(3, 9)} for axis in range(3))
    assert x[7] < x[6] < x[8]  # left kidney, vena cava, right kidney along R
    assert y[8] < y[5]  # the gallbladder is in front of the kidneys
    assert z[3] > max(z[7], z[8])  # the adrenal glands are above them


def test_decoys_have_the_look_of_the_target_and_keep_away_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with_decoys = generate_case(7002, size=SMALL, version="2")
    monkeypatch.setitem(versions_module.VERSIONS, "2", replace(VERSIONS["2"], lookalikes=(0, 0)))
    without = generate_case(7002, size=SMALL, version="2")
    organ = with_decoys.label == 1
    assert np.array_equal(organ, without.label == 1)
    changed = np.abs(with_decoys.image.astype(int) - without.image) > 30
    assert changed.sum() > 2 * organ.sum()
    assert changed[organ].mean() < 0.02
    values = with_decoys.image[changed]
    low, high = np.percentile(with_decoys.image[organ], (5, 95))
    assert ((values > low) & (values < high)).mean() > 0.5


def test_the_data_set_lists_its_names(tmp_path: Path) -> None:
    folder = write_phantom(tmp_path / "p", {"test": 2}, (32, 32, 32), processes=1, progress=False, cohort="organs")
    content = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    assert (content["name"], content["version"], content["numTest"]) == ("phantom-v2", "2", 2)
    assert label_names(folder) == NAMES
    for item, seed, group in zip(load_datalist(folder, "test"), (9000, 9001), ("plain", "shifted"), strict=True):
        assert (item["seed"], item["group"]) == (seed, group)
        expected = generate_case(seed, group, (32, 32, 32), "2").label
        assert np.array_equal(np.asarray(nib.load(item["label"]).dataobj), expected)


def test_splits_share_no_anatomy_with_each_other() -> None:
    entries = select_entries(cohort="organs")
    assert [sum(e.split == split for e in entries) for split in ("training", "validation", "test")] == [40, 10, 20]
    assert len({entry.seed for entry in entries}) == 70
    assert {entry.version for entry in entries} == {"2"}
    with pytest.raises(ValueError, match="the test split has 0 to 20 cases, got 40"):
        select_entries({"test": 40}, "organs")


def test_it_is_made_on_first_use_beside_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr("c2f_monai.data.datalist.write_phantom", lambda folder, cohort: made.append(cohort) or folder)
    resolve_dataset(tmp_path / "phantom-v2", tmp_path / "phantom-v1")
    assert made == ["organs"]
