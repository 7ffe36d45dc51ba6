# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Imported weights and our inferers give what the original PyTorch port gave, number by number.

Networks of full size on a volume of 22 x 26 x 18: about 0.3 s for each slab on one core, 80 s in all.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from c2f_monai.inferers import CoarseToFineInferer, StopRule, UnrolledInferer
from c2f_monai.inferers.patches import Patch, whole_bounds
from c2f_monai.inferers.views import VolumeInView
from c2f_monai.losses import RoundsLoss
from c2f_monai.networks import CoarseToFineNet, FCN8s, SaliencyTransform
from c2f_monai.networks.weights import RSTN_AXCODES, import_rstn
from c2f_monai.utils import slice_axcodes_of_array
from tests.networks.port import rstn_snapshot

PLANES = {"coronal": "X", "sagittal": "Y", "axial": "Z"}
ROUNDS = 3
TOLERANCE = 1e-3


def to_ras(array):
    """An array of the port (rows to the back, columns to the left, slices to the head) in RAS."""
    return array.transpose(1, 0, 2)[::-1, ::-1]


@pytest.fixture(scope="module")
def arrays(shared_data):
    with np.load(shared_data / "parity" / "rstn.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def network(arrays):
    """The network with the same snapshot in each view, as the parity data has it."""
    snapshot = rstn_snapshot(arrays)
    state = import_rstn(dict.fromkeys("XYZ", snapshot))
    # Weights in the order that convolutions want, once and for all calls; the views go on sharing them.
    ordered = {id(x): x.contiguous(memory_format=torch.channels_last) for x in state.values() if x.dim() == 4}
    state = {key: ordered.get(id(x), x) for key, x in state.items()}
    part = partial(FCN8s, padding=100, dropout_by_channel=True)
    saliency = partial(SaliencyTransform, kernel_sizes=(3, 5))
    with torch.device("meta"):  # 800 million parameters: random values would only be overwritten
        network = CoarseToFineNet(part, part, saliency, slice_axcodes=slice_axcodes_of_array(RSTN_AXCODES))
    network.load_state_dict(state, assign=True)
    return network.eval()


@pytest.fixture(scope="module")
def inference(arrays, network):
    """The inferer on the stored volume: its record, and the maps of each view. Each round starts from the stored P(t-1)
    and Z(t-1): the weights are random, so that a chain of rounds would amplify the last digits."""
    torch.set_num_threads(1)
    maps = {}
    coarse, fine = VolumeInView.coarse, VolumeInView.fine

    def coarse_noted(seen):
        whole = maps[f"P0_{PLANES[seen.view]}"] = torch.zeros((1, *seen.shape))
        for start, values in coarse(seen):
            whole.narrow(seen.view.axis + 1, start, values.shape[seen.view.axis + 1]).copy_(values)
            yield start, values

    def fine_from_stored(seen, prior, mask, bounds):
        t = 1 + sum(name.endswith(PLANES[seen.view]) for name in maps) - 1
        before = [torch.from_numpy(to_ras(arrays[f"{kind}{t - 1}"]).copy())[None] for kind in "PZ"]
        whole, stored = whole_bounds(seen.shape), before[1].bool()
        assert (stored == mask.on(whole)).all(), "Z(t-1) differs: what follows would not start from the stored one"
        values = fine(seen, Patch(before[0], whole), mask, bounds)
        maps[f"P{t}_{PLANES[seen.view]}"] = Patch(values, bounds).on(whole).clone()
        return values

    inferer = CoarseToFineInferer(
        margin=4,
        crop_multiple=1,
        stopping=StopRule(None, ROUNDS),
        component_fraction=0.5,
        keep_rounds=True,
        pixels_per_batch=8 * 22 * 26,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VolumeInView, "coarse", coarse_noted)
        patch.setattr(VolumeInView, "fine", fine_from_stored)
        answer = inferer(torch.from_numpy(to_ras(arrays["volume"]).copy())[None, None], network)
    return inferer.records[0], {name: value[0].numpy() for name, value in maps.items()}, answer[0, 0].numpy()


def report(name, found, expected):
    difference = float(np.abs(found - expected).max())
    print(f"{name}: largest difference {difference:.1e}")
    return difference


def test_logits_equal_the_port(arrays, network):
    with torch.no_grad():
        logits = network(torch.from_numpy(arrays["fcn_input"]), "coarse", "axial").numpy()
    assert arrays["fcn_logits"].std() > 1
    assert report("logits", logits, arrays["fcn_logits"]) < TOLERANCE


@pytest.mark.parametrize("plane", "XYZ")
@pytest.mark.parametrize("t", range(ROUNDS + 1))
def test_probability_of_a_view_equals_the_port(arrays, inference, t, plane):
    name = f"P{t}_{plane}"
    assert report(name, inference[1][name], to_ras(arrays[name])) < TOLERANCE


@pytest.mark.parametrize("t", range(ROUNDS + 1))
def test_fusion_and_mask_equal_the_port(arrays, inference, t):
    record, maps, answer = inference
    mean, expected = sum(maps[f"P{t}_{plane}"] for plane in "XYZ") / 3, to_ras(arrays[f"P{t}"])
    difference = report(f"P{t}", mean, expected)
    assert difference < TOLERANCE
    mask, stored = record.masks[t][0].numpy(), to_ras(arrays[f"Z{t}"]).astype(bool)
    unsure = np.abs(expected - 0.5) <= TOLERANCE
    print(f"Z{t}: {stored.sum()} voxels, {(mask != stored).sum()} differ, {unsure.sum()} within {TOLERANCE} of 0.5")
    assert 0 < stored.sum() < stored.size
    assert (mask == stored)[~unsure].all()
    if t == ROUNDS:
        assert ((answer >= 0.5) == mask).all()
        # What the component filter removed is probability in P(t), and 0 in the answer.
        removed = (expected >= 0.5) & ~stored & ~unsure
        assert removed.any() and (answer[removed] == 0).all()


def test_changes_between_rounds_equal_the_port(arrays, inference):
    found = [entry.dsc for entry in inference[0].rounds[1:]]
    assert report("d", np.array(found), arrays["d"]) < 1e-6


@pytest.mark.parametrize(("mode", "stage"), [("S", "separate"), ("I", "individual"), ("J", "joint")])
def test_training_modes_equal_the_port(arrays, network, mode, stage):
    image = {"axial": torch.from_numpy(arrays["train_image"])}
    label = {"axial": torch.from_numpy(arrays["train_label"]).float()}
    size = image["axial"].shape[-2:]
    draws = {
        "size": torch.tensor([size]),
        "margins": torch.full((1, 1, 4), 4),
        "fallback": torch.tensor([[0, 0, *size]]),
    }
    loss = RoundsLoss()
    with torch.no_grad():
        found = UnrolledInferer(stage=stage, crop_multiple=1)(image, network, label, {"axial": draws})
        total = float(loss(found, label))
    for t, name in enumerate(("coarse", "fine")):
        expected = arrays[f"train_{mode}_{name}"]
        assert report(f"train_{mode}_{name}", found["axial"][:, t].numpy(), expected) < TOLERANCE
    stored = arrays[f"train_{mode}_loss"]
    assert report(f"train_{mode}_loss", loss.rounds["axial"].numpy(), stored) < 1e-5
    assert total == pytest.approx(stored[0] / 3 + 2 * stored[1] / 3, abs=1e-5)
