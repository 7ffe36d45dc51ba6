# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from c2f_monai.transforms import SelectLabeld, ToLabelMapd, select_label, to_label_map
from tests.transforms.test_volumes import named


@pytest.mark.parametrize(
    ("values", "expected"), [(1, [0, 1, 0, 0]), (2, [0, 0, 1, 0]), ([1, 2], [0, 1, 1, 0]), ([9], [0, 0, 0, 0])]
)
def test_label_values_are_joined(values, expected: list[int]) -> None:
    label = torch.tensor([0.0, 1.0, 2.0, 3.0])
    assert select_label(label, values).tolist() == expected
    chosen = SelectLabeld("label", values)({"label": named(label.reshape(1, 1, 1, 4))})["label"]
    assert chosen.flatten().tolist() == expected
    assert chosen.meta["filename_or_obj"] == "ct.nii.gz"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[1], [2]], [[0, 1, 0, 0], [0, 0, 1, 0]]),
        ([[1, 2], [2]], [[0, 1, 1, 0], [0, 0, 1, 0]]),  # classes may share values: an organ and its neoplasm
        ([[3]], [[0, 0, 0, 1]]),
    ],
)
def test_a_list_for_each_class_makes_a_channel_for_each(values, expected: list[list[int]]) -> None:
    label = named(torch.tensor([0.0, 1.0, 2.0, 3.0]).reshape(1, 1, 1, 4))
    chosen = SelectLabeld("label", values)({"label": label})["label"]
    assert chosen.shape == (len(expected), 1, 1, 4) and chosen.flatten(1).tolist() == expected
    assert chosen.meta["filename_or_obj"] == "ct.nii.gz"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[1], 2], r"must be numbers, or one list for each class, got \[\[1\], 2\]"),
        ([[1], []], "label values must be whole numbers from 1 to 255"),
        ([[1], [0]], "label values must be whole numbers from 1 to 255"),
    ],
)
def test_bad_lists_of_classes_are_refused(values, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SelectLabeld("label", values)


def test_classes_need_one_label_map() -> None:
    with pytest.raises(ValueError, match=r"ct\.nii\.gz: classes need a label map of one channel, it has 2"):
        select_label(named(torch.zeros(2, 1, 1, 1)), [[1], [2]])


def test_what_lies_in_a_container_is_painted_over_it() -> None:
    # Organ and cyst; the organ is surer of every voxel, the cyst lies in it all the same, and a little beside it.
    probability = torch.tensor([[0.9, 0.9, 0.2, 0.9], [0.6, 0.3, 0.5, 0.5]]).reshape(2, 1, 1, 4)
    assert to_label_map(probability, [1, 2], containers=1).flatten().tolist() == [2, 1, 2, 2]
    labels = ToLabelMapd("pred", values=[1, 2], containers=1)({"pred": named(probability)})["pred"]
    assert labels.dtype == torch.uint8 and labels.flatten().tolist() == [2, 1, 2, 2]
    assert labels.meta["filename_or_obj"] == "ct.nii.gz"


def test_containers_settle_conflicts_among_themselves_and_so_do_the_others() -> None:
    probability = torch.tensor([[0.9, 0.6], [0.5, 0.8], [0.7, 0.1], [0.8, 0.2]]).reshape(4, 1, 1, 2)
    assert to_label_map(probability, [1, 2, 3, 4], containers=2).flatten().tolist() == [4, 2]


@pytest.mark.parametrize("containers", [-1, 2])
def test_a_class_must_be_left_beside_the_containers(containers: int) -> None:
    with pytest.raises(ValueError, match=f"containers must be fewer than the 2 classes, got {containers}"):
        ToLabelMapd("pred", values=[1, 2], containers=containers)
    with pytest.raises(ValueError, match=f"containers must be fewer than the 2 classes, got {containers}"):
        to_label_map(torch.zeros(2, 1, 1, 1), [1, 2], containers=containers)


def test_one_class_claims_from_the_threshold_on() -> None:
    probability = torch.tensor([0.0, 0.49, 0.5, 1.0]).reshape(1, 1, 1, 4)
    labels = ToLabelMapd("pred", values=7)({"pred": named(probability)})["pred"]
    assert labels.dtype == torch.uint8
    assert labels.flatten().tolist() == [0, 0, 7, 7]
    assert labels.meta["filename_or_obj"] == "ct.nii.gz"


def test_a_voxel_that_two_classes_claim_goes_to_the_more_probable() -> None:
    probability = torch.tensor([[0.6, 0.9, 0.2, 0.4], [0.7, 0.5, 0.5, 0.3]]).reshape(2, 1, 1, 4)
    assert to_label_map(probability, [3, 5]).flatten().tolist() == [5, 3, 5, 0]


@pytest.mark.parametrize("values", [0, 256, [], [1, -2], 1.5])
def test_values_that_do_not_fit_eight_bits_are_refused(values) -> None:
    with pytest.raises(ValueError, match="label values must be whole numbers from 1 to 255"):
        ToLabelMapd("pred", values=values)


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.5])
def test_thresholds_outside_the_range_are_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match=rf"threshold must lie in \(0, 1\], got {threshold}"):
        ToLabelMapd("pred", threshold=threshold)


def test_as_many_values_as_classes_are_needed() -> None:
    with pytest.raises(ValueError, match=r"2 classes need as many label values, got \[1\]"):
        to_label_map(torch.zeros(2, 1, 1, 1), 1)
