# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Networks by hand: the organ is what is brighter than 0.3, the neoplasm what is brighter than 0.7 in what it sees."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.data import MetaTensor

from c2f_monai.inferers import CascadeInferer, CoarseToFineInferer
from c2f_monai.networks import CoarseToFineNet
from c2f_monai.transforms import condition_on_organ
from c2f_monai.utils import StopReason
from tests.inferers.levels import network

SHAPE = (24, 20, 16)
STEP_WISE: dict[str, Any] = {"margin": 3, "crop_multiple": 1, "fusion": "vote", "prior": "mask"}
RSTN: dict[str, Any] = {"margin": 2, "crop_multiple": 8}


def networks(*levels: float, saliency: bool = False) -> torch.nn.ModuleDict:
    pair = {"organ": network(0.3, saliency=saliency), "neoplasm": network(*(levels or (0.7,)), saliency=saliency)}
    return torch.nn.ModuleDict(pair).eval()


def image(organ: bool = True) -> torch.Tensor:
    """Organ of 0.5 at 4..10 with a neoplasm of 0.9 in it, and a decoy of 0.9 far away, smaller than its margin."""
    x = torch.zeros(1, *SHAPE)
    if organ:
        x[0, 4:10, 4:10, 4:10] = 0.5
        x[0, 6:8, 6:8, 6:8] = 0.9
    x[0, 20:22, 15:17, 12:14] = 0.9
    return x


def inferer(base: dict[str, Any], **arguments: Any) -> CascadeInferer:
    """The decoy is as bright as the organ, so that the component filter keeps it out of the organ from round 1 on."""
    organ = CoarseToFineInferer(**base, component_fraction=0.5, keep_rounds=True)
    return CascadeInferer(organ, CoarseToFineInferer(**base, keep_rounds=True), **arguments)


def volume_of(*voxels: slice | int) -> torch.Tensor:
    mask = torch.zeros(SHAPE, dtype=torch.bool)
    mask[voxels] = True
    return mask


ORGAN = volume_of(slice(4, 10), slice(4, 10), slice(4, 10))
NEOPLASM = volume_of(slice(6, 8), slice(6, 8), slice(6, 8))
DECOY = volume_of(slice(20, 22), slice(15, 17), slice(12, 14))


@pytest.mark.parametrize("saliency", [False, True], ids=["step-wise", "RSTN"])
def test_the_neoplasm_is_looked_for_near_the_organ_alone(saliency: bool) -> None:
    both, base = networks(saliency=saliency), RSTN if saliency else STEP_WISE
    run = inferer(base, distance_voxels=4.0)
    found = run(image()[None], both)
    assert found.shape == (1, 2, *SHAPE) and found.dtype == torch.float32
    assert torch.equal(found[0, 0] >= 0.5, ORGAN)
    assert torch.equal(found[0, 1] >= 0.5, NEOPLASM)
    # Without the organ the decoy is found as well.
    alone = CoarseToFineInferer(**base)(image()[None], both["neoplasm"])
    assert torch.equal(alone[0, 0] >= 0.5, NEOPLASM | DECOY)
    (organ,), (neoplasm,) = run.organ_records, run.records
    # 216 voxels of organ and 8 of decoy, until the filter of the first round.
    assert [entry.voxels for entry in organ.rounds] == [224, 216]
    assert [entry.voxels for entry in neoplasm.rounds] == [8, 8]
    assert (organ.stop_reason, neoplasm.stop_reason) == (StopReason.CONVERGED, StopReason.CONVERGED)
    assert neoplasm.flags == [] and len(neoplasm.masks) == 2


@pytest.mark.parametrize("saliency", [False, True], ids=["step-wise", "RSTN"])
def test_the_organs_box_is_all_that_the_second_half_sees(saliency: bool) -> None:
    both, base = networks(saliency=saliency), RSTN if saliency else STEP_WISE
    run = inferer(base, distance_voxels=4.0, region="crop")
    x = image()
    x[0, 12, 12, 12] = 0.9  # in the box of 1..13, but not near the organ: sqrt(27) voxels off
    x[0, 14, 9, 9] = 0.9  # beyond the box
    found = run(x[None], both)
    corner, beyond = volume_of(12, 12, 12), volume_of(14, 9, 9)
    assert found.shape == (1, 2, *SHAPE)
    assert torch.equal(found[0, 1] >= 0.5, NEOPLASM | corner)
    masked = inferer(base, distance_voxels=4.0)(x[None], both)
    assert torch.equal(masked[0, 1] >= 0.5, NEOPLASM)
    assert not (found[0, 1] >= 0.5)[beyond].any()
    (record,) = run.records
    # On the whole grid again; the box reaches no border of the volume.
    assert torch.equal(record.masks[-1][0], NEOPLASM | corner)
    assert record.rounds[-1].box == ((6, 13), (6, 13), (6, 13)) and record.flags == []
    # The same as the second inferer on the box.
    part = x[:, 1:13, 1:13, 1:13]
    assert torch.equal(found[:, 1:, 1:13, 1:13, 1:13], CoarseToFineInferer(**base)(part[None], both["neoplasm"]))


def test_a_large_distance_reaches_the_decoy() -> None:
    found = inferer(STEP_WISE, distance_voxels=40.0)(image()[None], networks())
    assert torch.equal(found[0, 1] >= 0.5, NEOPLASM | DECOY)


def test_equals_the_second_inferer_on_the_conditioned_image() -> None:
    both = networks(saliency=True)
    found = inferer(RSTN, distance_voxels=5.0)(image()[None], both)
    seen = condition_on_organ(image(), found[0, :1] >= 0.5, 5.0, outside=0.0)
    assert torch.equal(found[:, 1:], CoarseToFineInferer(**RSTN)(seen[None], both["neoplasm"]))
    assert torch.equal(found[:, :1], CoarseToFineInferer(**RSTN, component_fraction=0.5)(image()[None], both["organ"]))


def test_outside_is_the_bottom_of_the_window() -> None:
    # A network that finds the dark: at the bottom of the window it would be found anywhere but in the neighbourhood.
    class Dark(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 40.0 * (0.1 - x)

    both = torch.nn.ModuleDict({"organ": network(0.3), "neoplasm": CoarseToFineNet(Dark).eval()}).eval()
    window = {"window": (-100.0, 240.0), "margin": 2}
    run = CascadeInferer(
        CoarseToFineInferer(**window, component_fraction=0.5), CoarseToFineInferer(**window), distance_voxels=1.0
    )
    hu = torch.where(image() > 0, 340.0 * image() - 100.0, torch.tensor(-20.0))  # neither organ nor dark
    found = run(hu[None], both)[0]
    assert torch.equal(found[0] >= 0.5, ORGAN) and torch.equal(found[1] >= 0.5, ~ORGAN)


def test_the_distance_in_mm_goes_by_the_inputs_affine() -> None:
    affine = torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0]))
    case = MetaTensor(image()[None], affine=affine, meta={"filename_or_obj": ["x/case_1.nii.gz"]})
    run = inferer(STEP_WISE, distance_mm=8.0)
    found = run(case, networks())
    assert isinstance(found, MetaTensor) and torch.equal(torch.as_tensor(found.affine), affine.to(found.affine))
    assert torch.equal(found.as_tensor(), inferer(STEP_WISE, distance_voxels=4.0)(image()[None], networks()))
    (record,) = run.records
    assert record.name == run.organ_records[0].name == "case_1"
    assert record.rounds[-1].ml == pytest.approx(8 * 0.008)
    with pytest.raises(ValueError, match="distance_mm needs a MetaTensor with a voxel size, got Tensor"):
        run(image()[None], networks())


@pytest.mark.parametrize("region", ["mask", "crop"])
def test_the_record_has_the_region_that_the_second_half_sees(region: str) -> None:
    run = inferer(STEP_WISE, distance_voxels=3.0, region=region)
    run(torch.stack([image(), image(organ=False)]), networks())
    seen, none = (record.region for record in run.records)
    # Strictly closer than 3 voxels to the organ: 2 beyond each side, in the mask with rounded corners.
    box = volume_of(slice(2, 12), slice(2, 12), slice(2, 12))
    assert seen.sum() == (box.sum() if region == "crop" else 6**3 + 6 * 2 * 6**2 + 12 * 4 * 6 + 8 * 4)
    assert not (seen & ~box).any() and bool(seen[ORGAN].all())
    # Without the organ the decoy is one: no answer of the organ lies where the neoplasm is.
    assert not none[NEOPLASM].any() and bool(none[DECOY].all())


@pytest.mark.parametrize("region", ["mask", "crop"])
def test_an_organ_that_is_not_found_gives_an_empty_neoplasm_and_says_so(region: str) -> None:
    dark = torch.zeros(1, *SHAPE)
    run = inferer(STEP_WISE, region=region)
    found = run(torch.stack([dark, image()]), networks(0.7, 0.8))
    assert found.shape == (2, 3, *SHAPE) and type(found) is torch.Tensor
    assert (found[0, 1:] == 0).all() and bool((found[1, 1:] >= 0.5).any())
    missing, there = run.records
    assert missing.flags == ["organ not found", "nothing found"]
    assert (missing.stop_reason, missing.fine_rounds, missing.masks[0].shape) == (StopReason.EMPTY, 0, (2, *SHAPE))
    assert not missing.masks[0].any() and [entry.ml for entry in missing.rounds] == [None]  # no voxel size is known
    assert there.flags == []
    assert run.organ_records[0].flags == ["nothing found"]
    assert missing.region.shape == SHAPE and not missing.region.any()


def test_nothing_is_no_milliliter_where_the_voxel_size_is_known_and_on_the_volumes_device() -> None:
    organ, neoplasm = CoarseToFineInferer(**STEP_WISE), CoarseToFineInferer(**STEP_WISE, volume_device="meta")
    run, x = CascadeInferer(organ, neoplasm), MetaTensor(torch.zeros(1, 1, *SHAPE), affine=torch.eye(4))
    found, record = run._nothing(x, 0, network(0.7))
    assert found.device.type == "meta" and [entry.ml for entry in record.rounds] == [0.0] and record.masks == []
    neoplasm.volume_device = None
    assert run._nothing(x, 0, network(0.7))[0].device == x.device


def test_the_organ_is_where_it_reaches_its_inferers_threshold() -> None:
    """At exactly one half a voxel is organ, as everywhere."""
    both = torch.nn.ModuleDict({"organ": network(0.5), "neoplasm": network(0.7)}).eval()
    run = CascadeInferer(CoarseToFineInferer(**RSTN, component_fraction=1.0), CoarseToFineInferer(**RSTN))
    x = image()
    x[0, 20:22, 15:17, 12:14] = 0  # no decoy
    found = run(x[None], both)[0]
    assert torch.equal(found[0] >= 0.5, ORGAN) and torch.equal(found[1] >= 0.5, NEOPLASM)
    x[x == 0.9] = 0.5  # all of the organ is at one half, and the neoplasm is not seen
    assert run(x[None], both)[0, 0].max() == 0.5 and run.records[0].notes == []


def test_the_true_organ_takes_the_place_of_the_first_two_stages() -> None:
    truth = DECOY[None, None].float()
    run = inferer(STEP_WISE, distance_voxels=3.0)
    found = run(image()[None], {"neoplasm": network(0.7)}, organ=truth)
    assert torch.equal(found[0, 0], truth[0, 0])
    assert torch.equal(found[0, 1] >= 0.5, DECOY)
    assert run.organ_records == [] and len(run.records) == 1
    with pytest.raises(ValueError, match=r"organ must have the shape \(1, 1, 24, 20, 16\), got \(1, 24, 20, 16\)"):
        run(image()[None], networks(), organ=truth[0])


def test_the_second_network_may_have_several_classes() -> None:
    found = inferer(STEP_WISE, distance_voxels=4.0)(image()[None], networks(0.3, 0.7))[0] >= 0.5
    assert torch.equal(found, torch.stack([ORGAN, ORGAN, NEOPLASM]))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"organ": len}, TypeError, "organ must be a CoarseToFineInferer, got builtin_function_or_method"),
        ({"neoplasm": "same"}, ValueError, "two inferers, got the same one twice"),
        ({"distance_voxels": 0.0}, ValueError, r"distance_voxels must be above 0, got 0\.0"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message) -> None:
    organ = arguments.pop("organ", CoarseToFineInferer())
    neoplasm = organ if arguments.pop("neoplasm", None) else CoarseToFineInferer()
    with pytest.raises(error, match=message):
        CascadeInferer(organ, neoplasm, **arguments)


def test_a_missing_network_is_named() -> None:
    with pytest.raises(ValueError, match=r"the networks \['organ', 'neoplasm'\], it lacks \['organ'\]"):
        inferer(STEP_WISE)(image()[None], {"neoplasm": network(0.7)})


def test_flags_and_place_of_what_is_found_in_the_organs_box_are_of_the_whole_field() -> None:
    """The answer, and not the last round, touches the border; its place is that of the same answer with the mask."""
    x = image()
    x[0, 0:4, 6:8, 6:8] = 0.5  # the organ reaches the border
    records = []
    for region in ("crop", "mask"):
        run = inferer(RSTN, distance_voxels=6.0, region=region)
        run.neoplasm.keep_seen = True
        volume = MetaTensor(x[None], affine=torch.diag(torch.tensor([2.0, 2.0, 3.0, 1.0])))
        found = run(volume, networks(saliency=True))
        assert torch.equal(found[0, 1] >= 0.5, NEOPLASM)
        records += run.records
    crop, mask = records
    assert crop.flags == mask.flags == []
    assert crop.traits == pytest.approx(mask.traits) and crop.traits["fov_r"] == 48.0
    assert crop.seen is not None and crop.seen.shape == (1, *SHAPE)
