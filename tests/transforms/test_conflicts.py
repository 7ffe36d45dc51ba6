# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from c2f_monai.transforms import resolve_conflicts


def volume(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows).reshape(len(rows), -1, 1, 1)


def test_the_largest_confidence_takes_the_voxel_whoever_else_is_confident() -> None:
    # One voxel for each column: two claim; vote claims under one half; the surer one does not claim; tie; nobody.
    confidence = volume([0.6, 0.40, 0.49, 0.7, 0.2], [0.9, 0.45, 0.45, 0.7, 0.1], [0.8, 0.10, 0.00, 0.1, 0.9])
    claims = volume([1, 1, 0, 1, 0], [1, 1, 1, 1, 0], [1, 0, 0, 0, 0]).bool()
    expected = [[0, 0, 0, 1, 0], [1, 1, 1, 0, 0], [0, 0, 0, 0, 0]]
    assert resolve_conflicts(confidence, claims).flatten(1).int().tolist() == expected


def test_one_class_keeps_its_claims() -> None:
    claims = torch.rand(1, 4, 3, 2) > 0.5
    assert torch.equal(resolve_conflicts(torch.zeros(1, 4, 3, 2), claims), claims)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"\(1, 2, 2, 2\) and \(2, 2, 2, 2\)"):
        resolve_conflicts(torch.zeros(1, 2, 2, 2), torch.zeros(2, 2, 2, 2, dtype=torch.bool))
