# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from monai.data import MetaTensor

from c2f_monai.inferers import CoarseToFineInferer, SeveralOrgansInferer, StopRule
from c2f_monai.networks import CoarseToFineNet
from c2f_monai.transforms import to_label_map


class Scripted(torch.nn.Module):
    """Logits of fixed probabilities by the brightness of a voxel: 0.1, 0.2, ... is the first, second, ... of a table.

    Each class has a table for each view: what the view says for these brightnesses.
    """

    def __init__(self, tables: Sequence[Sequence[float]]) -> None:
        super().__init__()
        self.register_buffer("tables", torch.tensor(tables))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        index = (10 * x).round().long().clamp_max(self.tables.shape[1] - 1)
        return torch.cat([torch.logit(table[index], 1e-6) for table in self.tables], dim=1)


def network(*classes: Sequence[Sequence[float]]) -> CoarseToFineNet:
    """Coarse network whose views say what their tables do: classes[k][view] is the table of a class in a view."""
    views = iter([Scripted([table[view] for table in classes]) for view in range(3)])
    return CoarseToFineNet(lambda: next(views), out_channels=len(classes)).eval()


# Probabilities of the views for brightness 0 (nothing), 0.1, 0.2, 0.3.
LIVER = [[0.0, 0.9, 0.6, 0.6], [0.0, 0.9, 0.6, 0.6], [0.0, 0.9, 0.0, 0.0]]  # means 0.9, 0.4, 0.4
SPLEEN = [[0.0, 0.6, 0.6, 0.6], [0.0, 0.6, 0.7, 0.6], [0.0, 0.6, 0.0, 0.6]]  # means 0.6, 0.4333, 0.6
VOTE: dict[str, Any] = {"fusion": "vote", "crop_multiple": 1, "stopping": StopRule(max_rounds=0), "keep_rounds": True}


def image() -> torch.Tensor:
    """Three pieces of 3x3x3 voxels of brightness 0.1, 0.2 and 0.3, far from each other."""
    x = torch.zeros(1, 1, 17, 5, 5)
    for i in range(3):
        x[0, 0, 1 + 6 * i : 4 + 6 * i, 1:4, 1:4] = 0.1 * (i + 1)
    return x


def middle(labels: torch.Tensor) -> list[int]:
    """Label in the middle of each piece, where all slabs that cover a voxel agree."""
    return [int(labels[0, 2 + 6 * i, 2, 2]) for i in range(3)]


def test_the_largest_mean_takes_the_voxel_under_vote_too() -> None:
    run = SeveralOrgansInferer({"liver": CoarseToFineInferer(**VOTE), "spleen": CoarseToFineInferer(**VOTE)})
    found = run(image(), {"liver": network(LIVER), "spleen": network(SPLEEN)})
    # Both organs' votes claim all three pieces.
    alone = CoarseToFineInferer(**VOTE)
    for organ in (LIVER, SPLEEN):
        alone(image(), network(organ))
        assert middle(alone.records[0].masks[0].int()) == [1, 1, 1]
    assert middle(to_label_map(found[0], [6, 3])) == [6, 3, 3]
    # The records keep what is left of the last round, from which tables are scored.
    assert [middle(inferer.records[0].masks[-1].int()) for inferer in run.inferers.values()] == [[1, 0, 0], [0, 1, 1]]
    assert int((found >= 0.5).sum(dim=1).max()) == 1


def test_one_network_for_both_gives_the_same() -> None:
    apart = SeveralOrgansInferer({name: CoarseToFineInferer(**VOTE) for name in ("liver", "spleen")})
    expected = apart(image(), {"liver": network(LIVER), "spleen": network(SPLEEN)})
    together = CoarseToFineInferer(**VOTE, exclusive=True)(image(), network(LIVER, SPLEEN))
    assert torch.equal(together, expected)
    # Classes that may overlap, as an organ and its neoplasm do, keep their claims.
    overlapping = CoarseToFineInferer(**VOTE)(image(), network(LIVER, SPLEEN))
    assert middle((overlapping[0, :1] >= 0.5).int()) == middle((overlapping[0, 1:] >= 0.5).int()) == [1, 1, 1]


def test_under_mean_a_class_below_the_threshold_claims_nothing() -> None:
    mean = {**VOTE, "fusion": "mean"}
    run = SeveralOrgansInferer({"liver": CoarseToFineInferer(**mean), "spleen": CoarseToFineInferer(**mean)})
    found = run(image(), {"liver": network(LIVER), "spleen": network(SPLEEN)})
    assert middle(to_label_map(found[0], [6, 3])) == [6, 0, 3]


def test_every_organ_has_its_records_and_the_metadata_stays() -> None:
    case = MetaTensor(image(), affine=2 * torch.eye(4), meta={"filename_or_obj": ["x/case_1.nii.gz"]})
    run = SeveralOrgansInferer({name: CoarseToFineInferer(**VOTE) for name in ("liver", "spleen")})
    found = run(torch.cat([case, case]), torch.nn.ModuleDict({"spleen": network(SPLEEN), "liver": network(LIVER)}))
    assert found.shape == (2, 2, 17, 5, 5) and isinstance(found, MetaTensor)
    assert [len(inferer.records) for inferer in run.inferers.values()] == [2, 2]


@pytest.mark.parametrize(
    ("inferers", "error", "message"),
    [
        ({}, ValueError, "inferers is empty"),
        ({"liver": len}, TypeError, "inferer of liver must be a CoarseToFineInferer, got builtin_function_or_method"),
        (dict.fromkeys(("liver", "spleen"), CoarseToFineInferer()), ValueError, "every organ needs its own inferer"),
        (
            {"liver": CoarseToFineInferer(threshold=0.4), "spleen": CoarseToFineInferer()},
            ValueError,
            r"thresholds must be equal, got \[0\.4, 0\.5\]",
        ),
    ],
)
def test_bad_arguments_are_refused(inferers, error, message) -> None:
    with pytest.raises(error, match=message):
        SeveralOrgansInferer(inferers)


def test_an_organ_without_a_network_is_named() -> None:
    run = SeveralOrgansInferer({"liver": CoarseToFineInferer(), "spleen": CoarseToFineInferer()})
    with pytest.raises(ValueError, match=r"it lacks \['spleen'\]"):
        run(image(), {"liver": network(LIVER)})
