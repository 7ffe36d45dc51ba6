# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The label's orientation is found from the voxels for every flip, whatever its header says, or refused."""

from __future__ import annotations

import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import apply_orientation

from c2f_monai.data.label_orientation import UnclearOrientationError, place_label
from c2f_monai.data.phantom import generate_case
from tests.data.nih_download import AFFINE, make_patient

FLIPS = [axes for count in range(4) for axes in itertools.combinations(range(3), count)]


HEADERS = {"true": AFFINE, "identity": np.eye(4), "none": np.zeros((4, 4)), "nan": np.where(np.eye(4) == 1, np.nan, 0)}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("flip", FLIPS, ids=str)
def test_every_flip_is_found_whatever_the_header_says(flip: tuple[int, ...], header: np.ndarray) -> None:
    hu, mask = make_patient()
    found = place_label(np.flip(mask, flip), header, hu, AFFINE)
    np.testing.assert_array_equal(apply_orientation(np.flip(mask, flip), found.orientation), mask)
    assert found.evidence == "voxels"
    assert found.soft > 0.99 and found.contrast > 1.5 * found.runner_up


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))), ids=str)
def test_transposed_labels_are_found(axes: tuple[int, int, int]) -> None:
    hu, mask = make_patient()
    label = np.flip(mask.transpose(axes), 0)
    found = place_label(label, np.eye(4), hu, AFFINE)
    np.testing.assert_array_equal(apply_orientation(label, found.orientation), mask)


@pytest.mark.parametrize(
    ("flip", "change"),
    [
        ((), "none"),
        ((0,), "mirrored left-right"),
        ((1,), "mirrored front-back"),
        ((1, 2), "mirrored front-back and up-down"),
    ],
)
def test_the_change_is_told_in_words(flip: tuple[int, ...], change: str) -> None:
    hu, mask = make_patient()
    assert place_label(np.flip(mask, flip), AFFINE, hu, AFFINE).change == change


def test_a_header_that_is_right_but_turned_asks_for_no_change() -> None:
    hu, mask = make_patient()
    turned = nib.as_closest_canonical(nib.Nifti1Image(mask.astype(np.uint8), AFFINE))
    found = place_label(np.asarray(turned.dataobj) > 0, turned.affine, hu, AFFINE)
    assert found.change == "none"
    np.testing.assert_array_equal(apply_orientation(turned.get_fdata() > 0, found.orientation), mask)


@pytest.mark.parametrize(("flip", "change"), [((), "none"), ((0, 1), "mirrored front-back and up-down")])
def test_a_header_that_is_right_but_transposed_asks_for_no_change(flip: tuple[int, ...], change: str) -> None:
    """Axes of the file: rows, slices, columns, so that the order of the axes is not its own inverse."""
    hu, mask = make_patient()
    label = np.flip(mask.transpose(1, 2, 0), flip)
    found = place_label(label, AFFINE[:, [1, 2, 0, 3]], hu, AFFINE)
    assert found.change == change
    np.testing.assert_array_equal(apply_orientation(label, found.orientation), mask)


@pytest.mark.parametrize(("share", "accepted"), [(0.58, False), (0.62, True)])
def test_three_fifths_of_an_organ_are_soft_tissue(share: float, accepted: bool) -> None:
    """250 HU still are, 251 HU are not; the organ's place is clear from either."""
    hu, mask = make_patient()
    count = int(mask.sum())
    hu[mask] = np.where(np.arange(count) < share * count, 250, 251)
    if accepted:
        assert place_label(mask, AFFINE, hu, AFFINE).soft == pytest.approx(share, abs=1 / count)
    else:
        with pytest.raises(ValueError, match=r"58 % of the label is soft tissue .* an organ has 60 % or more"):
            place_label(mask, AFFINE, hu, AFFINE)


def test_a_symmetric_patient_is_ambiguous_and_both_numbers_are_told() -> None:
    hu, mask = make_patient()
    hu = np.where(mask | mask[::-1], 90, -100)
    message = r"not clear: 'none' has a contrast of 0.92, 'mirrored left-right' of 0.92; the best must be 1.5 times"
    with pytest.raises(UnclearOrientationError, match=message):
        place_label(mask, AFFINE, hu, AFFINE)


def test_where_all_is_the_same_nothing_is_guessed_from_the_header() -> None:
    _, mask = make_patient()
    flat = np.full(mask.shape, 40, np.int16)
    with pytest.raises(UnclearOrientationError, match="has a contrast of 0.00, .* of 0.00; the best must be 1.5 times"):
        place_label(mask, AFFINE, flat, AFFINE)


def test_other_labels_decide_only_with_the_labels_own_voxels() -> None:
    hu, mask = make_patient()
    hu[mask[::-1]] = np.where(np.random.default_rng(0).random(mask.sum()) < 0.75, 90, -100)  # nearly the organ again
    with pytest.raises(UnclearOrientationError):
        place_label(mask, AFFINE, hu, AFFINE)
    right = np.array([[0, 1], [1, 1], [2, 1.0]])
    found = place_label(mask, AFFINE, hu, AFFINE, collection=right)
    assert (found.change, found.evidence) == ("none", "collection")
    assert found.runner_up < found.contrast < 1.5 * found.runner_up
    mirrored = np.array([[0, -1], [1, 1], [2, 1.0]])
    with pytest.raises(UnclearOrientationError):  # the others say so, its own voxels do not
        place_label(mask, AFFINE, hu, AFFINE, collection=mirrored)


@pytest.mark.parametrize(
    ("mask", "hu", "message"),
    [
        (np.zeros((4, 4, 4), bool), np.zeros((4, 4, 4)), "the label is empty"),
        (np.ones((4, 5, 6), bool), np.zeros((4, 5, 7)), r"the label has the shape \(4, 5, 6\), the image \(4, 5, 7\)"),
        (
            make_patient()[1],
            np.where(make_patient()[1], -900, 40),
            r"0 % of the label is soft tissue \(-50 to 250 HU\) where it lies best; an organ has 60 % or more",
        ),
    ],
)
def test_what_cannot_be_a_label_is_refused(mask: np.ndarray, hu: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        place_label(mask, AFFINE, hu, AFFINE)


@pytest.mark.parametrize("seed", range(6))
def test_the_organ_is_found_among_others_of_the_same_tissue(seed: int) -> None:
    """In generated abdomens, where bowel, vessels and stomach touch it."""
    case = generate_case(seed, "shifted" if seed % 2 else "plain", (96, 96, 64))
    mask = case.label > 0
    found = place_label(mask[:, ::-1], case.affine, case.image, case.affine)
    np.testing.assert_array_equal(apply_orientation(mask[:, ::-1], found.orientation), mask)
    assert found.evidence == "voxels" and found.contrast > 1.5 * found.runner_up


@pytest.mark.parametrize("value", range(1, 14))
def test_organs_of_a_real_ct_are_found(shared_data: Path, value: int) -> None:
    image, labels = (nib.load(shared_data / "real_ct" / f"{name}.nii.gz") for name in ("ct", "label"))
    mask = np.asarray(labels.dataobj) == value
    found = place_label(mask[:, ::-1], labels.affine, image.get_fdata(), image.affine)
    assert (found.change, found.evidence) == ("mirrored front-back", "voxels")
