# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The numbers that say how hard the phantom is, on volumes whose answer is known."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from benchmarks.chapter.command import main
from benchmarks.chapter.difficulty import HistogramClassifier, hu_overlap, look_elsewhere, measure_difficulty
from c2f_monai.data.phantom import write_phantom


def block(low: int) -> np.ndarray:
    """A 10 mm cube in a volume of 40 x 40 x 32 voxels of 1 mm, its lower corner at `low` on every axis."""
    target = np.zeros((40, 40, 32), dtype=bool)
    target[low : low + 10, low : low + 10, low : low + 10] = True
    return target


def test_overlap_is_one_for_equal_values_zero_for_disjoint_ones() -> None:
    target = block(10)
    assert hu_overlap(np.full(target.shape, 40), target, (1, 1, 1)) == 1
    assert hu_overlap(np.where(target, 40, -100), target, (1, 1, 1)) == 0


def test_overlap_sees_only_20_mm_around_the_target() -> None:
    target = np.zeros((9, 1, 1), dtype=bool)
    target[0] = True
    # At 10 mm steps two neighbors lie within 20 mm: one with the target's value, one without.
    image = np.array([40, 40, -100, -100, -100, -100, -100, -100, -100]).reshape(9, 1, 1)
    assert hu_overlap(image, target, (10, 10, 10)) == pytest.approx(0.5)


def test_what_looks_like_the_target_is_counted_beyond_20_mm() -> None:
    target = np.zeros((12, 1, 1), dtype=bool)
    target[:2] = True
    # At 10 mm steps the third and fourth voxel are near; of those beyond, three have values of the target's.
    image = np.array([40, 40, 40, 40, 40, 40, 40, 90, -100, -100, 39, 41]).reshape(12, 1, 1)
    assert look_elsewhere(image, target, (10, 10, 10)) == pytest.approx(3 / 2)


def test_the_target_is_what_has_the_given_values(tmp_path: Path) -> None:
    volume = np.zeros((40, 40, 32), dtype=np.uint8)
    volume[4:14, 4:14, 4:14], volume[20:22, 20:22, 20:22] = 3, 1
    nib.save(nib.Nifti1Image(volume, np.eye(4)), tmp_path / "a.nii.gz")
    nib.save(nib.Nifti1Image(volume, np.eye(4)), tmp_path / "b.nii.gz")
    lists = {
        split: [{"image": f"{n}.nii.gz", "label": f"{n}.nii.gz"}]
        for split, n in zip(("training", "validation"), "ab", strict=True)
    }
    (tmp_path / "dataset.json").write_text(json.dumps(lists), encoding="utf-8")
    shares = [measure_difficulty(tmp_path, values, progress=False) for values in ((3,), (1, 2))]
    assert [found.fraction[1] for found in shares] == pytest.approx([1000 / 51200, 8 / 51200])
    assert [found.tiny for found in shares] == [0, 1]


def test_classifier_finds_a_target_that_place_and_value_give_away() -> None:
    target = block(10)
    image = np.where(target, 80, 0)
    classifier = HistogramClassifier()
    classifier.add(image, target)
    assert classifier.choose_threshold([classifier.score(image)], [target]) == 1
    assert np.array_equal(classifier.score(image) > classifier.threshold, target)


def test_classifier_is_lost_without_a_difference_in_value() -> None:
    classifier, places = HistogramClassifier(), (2, 8, 14, 20)
    image = np.zeros((40, 40, 32))
    for low in places:
        classifier.add(image, block(low))
    best = classifier.choose_threshold([classifier.score(image)] * 4, [block(low) for low in places])
    assert best < 0.4


def test_measurement_of_a_data_set(tmp_path: Path) -> None:
    lists: dict[str, list[dict[str, str]]] = {"training": [], "validation": []}
    for index, low in enumerate((8, 12, 10)):
        target = block(low)
        names = {key: f"{key}{index}.nii.gz" for key in ("image", "label")}
        nib.save(nib.Nifti1Image(np.where(target, 80, 0).astype(np.int16), np.eye(4)), tmp_path / names["image"])
        nib.save(nib.Nifti1Image(target.astype(np.uint8), np.eye(4)), tmp_path / names["label"])
        lists["validation" if index == 2 else "training"].append(names)
    (tmp_path / "dataset.json").write_text(json.dumps(lists), encoding="utf-8")
    found = measure_difficulty(tmp_path, progress=False)
    assert found.cases == (2, 1)
    assert found.overlap == 0
    assert found.fraction == pytest.approx((1000 / 51200,) * 3)
    # Centroids 12.5, 16.5 and 14.5 voxels: a standard deviation of 1.633.
    assert found.centroid_std == pytest.approx((1.633 / 40, 1.633 / 40, 1.633 / 32), rel=1e-3)
    assert found.centroid_range == pytest.approx((3.6 / 40, 3.6 / 40, 3.6 / 32))
    assert found.classifier_dsc > 0.9


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_phantom(tmp_path / "p", {"training": 2, "validation": 1}, (40, 40, 32), processes=1)
    capsys.readouterr()
    assert main(["difficulty", "--dataset_dir", str(tmp_path / "p")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["cases", "training", "2,", "validation", "1"]
    assert [line.split("  ")[0] for line in lines[1:]] == [
        "target's share of the volume",
        "cases below 0.1 % of the volume",
        "voxels of its HU elsewhere (> 20 mm)",
        "HU overlap with surroundings (20 mm)",
        "centroid, standard deviation R, A, S",
        "centroid, 5th to 95th percentile",
        "classifier from position and HU",
    ]
    assert main(["difficulty", "--dataset_dir", str(tmp_path / "no")]) == 1
    assert capsys.readouterr().err == f"error: dataset folder {tmp_path / 'no'} does not exist.\n"
