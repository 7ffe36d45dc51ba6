# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Signals of quality, the prediction from them, rescue, damping and cycles."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor

from c2f_monai.inferers import (
    SIGNALS,
    CaseRecord,
    CoarseToFineInferer,
    QualityModel,
    RoundRecord,
    StopRule,
    fit_quality,
    read_quality,
)
from c2f_monai.inferers.case_loop import CaseLoop
from c2f_monai.inferers.patches import Patch, whole_bounds
from c2f_monai.inferers.quality import entropy, expected_dice, traits_of, view_dice
from c2f_monai.networks import CoarseToFineNet
from c2f_monai.utils import StopReason, sha256_of
from tests.inferers.levels import network
from tests.inferers.test_coarse_to_fine import D1, NOTHING, WHOLE, Z0, Z1, Z2, Everywhere, Scripted, block, numbered

TWO = StopRule(dice=None, max_rounds=2)
LONG = (6, 9, 8)


def blob(value: float) -> torch.Tensor:
    volume = torch.zeros(1, 1, 32, 32, 32)
    volume[..., 8:16, 10:20, 12:18] = value
    return volume


def test_views_agree_on_the_mean_of_pairs() -> None:
    a, b = torch.zeros(1, 2, 2, 2, dtype=torch.bool), torch.ones(1, 2, 2, 2, dtype=torch.bool)
    a[0, 0] = True  # four of eight
    assert view_dice([a, b, b]) == pytest.approx((2 * 2 * 4 / 12 + 1) / 3)
    assert view_dice([a]) is None


def test_sure_probabilities_expect_all() -> None:
    mask = torch.tensor([[[[True, False]]]])
    assert expected_dice(mask.float(), mask) == 1.0
    assert expected_dice(torch.tensor([[[[0.6, 0.4]]]]), mask) == pytest.approx(1.2 / 2.0)
    assert expected_dice(torch.zeros(1, 1, 1, 2), mask & False) is None


def test_entropy_is_one_bit_where_all_is_open() -> None:
    assert entropy(torch.tensor([0.0, 0.5, 1.0])).tolist() == [0.0, 1.0, 0.0]
    assert entropy(torch.tensor([-1e-6, 1 + 1e-6])).tolist() == [0.0, 0.0]  # a mean of ones may be a little more
    assert float(entropy(torch.tensor([0.25]))) == pytest.approx(2 - 0.75 * np.log2(3), abs=1e-6)


def test_place_and_field_of_an_answer() -> None:
    mask = torch.zeros(1, 2, 4, 1, dtype=torch.bool)
    mask[:, :, 0] = True  # one row of two voxels
    found = traits_of(mask, ((2, 4), (8, 12), (0, 1)), (8, 16, 2), (2.0, 1.0, 5.0))
    assert found == {
        **{"place_r": 3 / 8, "place_a": 8.5 / 16, "place_s": 0.25},
        **{"fov_r": 16.0, "fov_a": 16.0, "fov_s": 10.0},
    }


def test_what_lies_beyond_the_fitted_cases_is_flagged() -> None:
    traits = [{"ml": 60.0, "fov_r": 300.0}, {"ml": 100.0, "fov_r": 400.0}] * 5
    cases, scores = linear_cases(10)
    model = fit_quality(cases, scores, traits=traits)
    assert model.usual == {"ml": (50.0, 110.0), "fov_r": (275.0, 425.0)}
    assert model.unusual({"ml": 50.0, "fov_r": 425.0}) == []
    assert model.unusual({"ml": 49.0, "fov_r": 500.0, "place_s": 2.0}) == ["unusual size", "unusual field of view"]


def test_the_interval_covers_nine_tenths_of_new_volumes() -> None:
    cases, scores = linear_cases(1000)
    rng = np.random.default_rng(1)
    true = np.exp(0.1 + rng.normal(0, 1.0, 1000) * (1 - np.array(scores)))  # the worse an answer, the farther off
    model = fit_quality(cases[:200], scores[:200], volumes=[(1.0, volume) for volume in true[:200]])
    ends = [model.interval(1.0, model.predict(case)[0]) for case in cases[200:]]
    assert (
        0.86 <= np.mean([low <= volume <= high for (low, high), volume in zip(ends, true[200:], strict=True)]) <= 0.94
    )
    assert model.interval(2.0, 0.9) == pytest.approx([2 * end for end in model.interval(1.0, 0.9)])
    assert fit_quality(cases[:10], scores[:10]).interval(1.0, 0.9) is None


def test_a_clear_case_has_all_signals_at_one() -> None:
    inferer = CoarseToFineInferer(stopping=TWO, margin=4)
    inferer(blob(1.0), network(0.5))
    signals = inferer.records[0].signals
    assert tuple(signals) == SIGNALS
    assert all(value > 0.999 for value in signals.values())


def linear_cases(count: int) -> tuple[list[dict[str, float]], list[float]]:
    rng = np.random.default_rng(0)
    doubts = rng.uniform(0, 0.4, (count, 2))
    names = SIGNALS[:2]
    scores = 0.95 - 1.0 * doubts[:, 0] + rng.normal(0, 0.02, count)
    return [dict(zip(names, 1 - row, strict=True)) for row in doubts], scores.tolist()


def test_the_bound_covers_nine_tenths_of_new_cases() -> None:
    cases, scores = linear_cases(1000)
    model = fit_quality(cases[:200], scores[:200])
    assert model.weights["view_dsc"] == pytest.approx(1.0, abs=0.05)
    assert model.weights["round_dsc"] < 0.05
    predictions = [model.predict(case) for case in cases[200:]]
    covered = [score >= bound for (_, bound), score in zip(predictions, scores[200:], strict=True)]
    assert 0.86 <= np.mean(covered) <= 0.94


def test_the_interval_of_nine_volumes_by_hand() -> None:
    """Eight are e^0.9 larger than found, one e^0.1: the others' mean is 0.8 off, over the least missing DSC."""
    sure = [dict.fromkeys(SIGNALS, 1.0)] * 9
    model = fit_quality(sure, [1.0] * 9, volumes=[(2.0, 2.0 * np.exp(0.9))] * 8 + [(3.0, 3.0 * np.exp(0.1))])
    assert model.volume == pytest.approx((7.3 / 9, 0.8 / 0.05))


def test_without_a_signal_of_the_model_nothing_is_predicted() -> None:
    """One view has none to agree with."""
    net = CoarseToFineNet(partial(Everywhere, False), partial(Everywhere, False), views=["axial"]).eval()
    inferer = CoarseToFineInferer(stopping=TWO, margin=4, quality=QualityModel({"view_dsc": 1.0}, 0.5, 0.1, 0.7, 12))
    assert inferer(blob(1.0), net).max() > 0.5
    (record,) = inferer.records
    assert set(record.signals) == {*SIGNALS} - {"view_dsc"}
    assert (record.predicted, record.interval, record.flags) == (None, None, [])


def test_the_prediction_is_of_what_all_cases_tell() -> None:
    """A signal that one case has not is left out: its others have all that the fit is of."""
    cases, scores = linear_cases(21)
    whole = fit_quality([{"view_dsc": case["view_dsc"]} for case in cases], scores)
    del cases[3]["round_dsc"]
    model = fit_quality(cases, scores)
    assert model == whole and set(model.weights) == {"view_dsc"}
    # Of 21 cases a tenth is two: these are looked at, and the third is the mark.
    assert sorted(model.predict(case)[0] for case in cases)[2] == pytest.approx(model.look_below)
    with pytest.raises(ValueError, match="the cases have none of the signals .*view_dsc.* in common"):
        fit_quality([{SIGNALS[i % 2]: 1.0} for i in range(9)], [1.0] * 9)


def test_few_cases_give_no_bound() -> None:
    cases, scores = linear_cases(8)
    with pytest.raises(ValueError, match="needs 9 labeled cases, got 8"):
        fit_quality(cases, scores)


def test_it_lies_beside_its_weights_alone(tmp_path) -> None:
    weights = tmp_path / "model.pt"
    weights.write_bytes(b"weights")
    assert read_quality(weights) is None
    model = QualityModel(
        {"view_dsc": 0.5}, 0.1, 0.05, 0.7, 12, sha256_of(weights)[:12], (0.0, 0.5), {"ml": (20.0, 90.0)}, "twelve cases"
    )
    model.write(tmp_path / "model.quality.json")
    assert read_quality(weights) == model
    weights.write_bytes(b"others")
    with pytest.warns(UserWarning, match="fitted for other weights"):
        assert read_quality(weights) is None
    weights.unlink()
    assert read_quality(weights) is None


@pytest.mark.parametrize(("look_below", "flags"), [(0.5, []), (0.51, ["look at this one"])])
def test_only_a_prediction_below_the_mark_is_low(look_below: float, flags: list[str]) -> None:
    record = CaseRecord(rounds=[RoundRecord(0, None, 1, None, ((2, 3),) * 3, 0.0)], voxels=1)
    record.judge({"view_dsc": 1.0}, QualityModel({"view_dsc": 1.0}, 0.5, 0.1, look_below, 12))
    assert record.flags == flags


def test_a_low_prediction_is_flagged() -> None:
    inferer = CoarseToFineInferer(stopping=TWO, margin=4, quality=QualityModel({"view_dsc": 1.0}, 0.5, 0.1, 0.7, 12))
    inferer(blob(1.0), network(0.5))
    record = inferer.records[0]
    assert record.quality["predicted_dsc"] == pytest.approx(0.5, abs=0.01)
    assert record.quality["dsc_bound"] == pytest.approx(0.4, abs=0.01)
    assert "look at this one" in record.flags


def test_an_answer_has_the_volume_between_two_ends_and_what_is_unusual_about_it() -> None:
    model = QualityModel({"view_dsc": 1.0}, 0.5, 0.1, 0.2, 12, volume=(0.0, 1.0), usual={"ml": (1.0, 2.0)})
    inferer = CoarseToFineInferer(stopping=TWO, margin=4, quality=model)
    inferer(MetaTensor(blob(1.0), affine=torch.eye(4)), network(0.5))
    record = inferer.records[0]  # 8 * 10 * 6 voxels of 1 mm^3
    assert record.flags == ["unusual size"]
    assert record.quality["ml_low"] == pytest.approx(0.48 * np.exp(-0.5), rel=0.01)
    assert record.quality["ml_high"] == pytest.approx(0.48 * np.exp(0.5), rel=0.01)
    assert record.quality["place_r"] == 12 / 32


def test_a_lost_case_is_rescued_where_the_fine_network_is_sure() -> None:
    volume, net = blob(0.55), network(0.3, coarse=[0.57])  # P(0) is 0.31 in the target
    lost = CoarseToFineInferer(stopping=TWO, margin=4)
    assert not (lost(volume, net) >= 0.5).any()
    assert lost.records[0].flags == ["nothing found"]
    inferer = CoarseToFineInferer(stopping=TWO, margin=4, rescue=0.5)
    assert torch.equal(inferer(volume, net) >= 0.5, volume > 0)
    assert inferer.records[0].flags == ["rescued"]


def test_a_rescued_answer_is_not_averaged_with_a_coarse_map_that_saw_nothing() -> None:
    volume, net = blob(0.55), network(0.51, coarse=[0.6])  # P(0) is 0.12 in the target, P(T) 0.83
    inferer = CoarseToFineInferer(stopping=TWO, margin=4, rescue=0.5, result="mean")
    assert torch.equal(inferer(volume, net) >= 0.5, volume > 0)
    assert inferer.records[0].flags == ["rescued"]


class AtOnce(StopRule):
    """A rule of a user's that ends the loop before the first round."""

    def reason(self, changes, cycle=False, empty=False, over=False):
        """See StopRule."""
        return StopReason.EMPTY if empty else StopReason.FIXED_ROUNDS


def test_a_rescue_without_a_round_finds_nothing() -> None:
    inferer = CoarseToFineInferer(stopping=AtOnce(), margin=4, rescue=0.5)
    assert not inferer(blob(0.55), network(0.3, coarse=[0.57])).any()
    assert inferer.records[0].flags == ["nothing found"]


@pytest.mark.parametrize("value", [0.0, 0.52])
def test_nothing_found_stays_possible(value: float) -> None:
    # Without a target no region is probable; a probable one that the fine network does not see is none.
    net = network(0.9, coarse=[0.57])
    inferer = CoarseToFineInferer(stopping=TWO, margin=4, rescue=0.5)
    assert not (inferer(blob(value), net) >= 0.5).any()
    assert inferer.records[0].flags == ["nothing found"]


@pytest.mark.parametrize(("voxels", "flags"), [(7, ["rescued"]), (8, [])])
def test_a_mask_of_eight_voxels_is_enough_to_look_around(voxels: int, flags: list[str]) -> None:
    start, full = block((1, 2), (1, 1 + voxels), (3, 4), LONG), block((1, 3), (1, 5), (3, 5), LONG)
    inferer = CoarseToFineInferer(stopping=TWO, rescue=0.5, **{**WHOLE, "margin": 9})
    found = inferer(numbered(LONG), Scripted([start, full, full]))
    assert torch.equal(found[0, 0] >= 0.5, full) and inferer.records[0].flags == flags


@pytest.mark.parametrize("kept", [8, 7])
def test_a_rescued_answer_counts_from_eight_voxels_and_a_dsc_of_four_fifths(kept: int) -> None:
    few, large = block((1, 2), (1, 4), (3, 4)), block((1, 3), (1, 4), (3, 5))  # 3 and 12 voxels
    last = large & (large.flatten().cumsum(0).reshape(large.shape) <= kept)  # d(2) = 16 / 20, or 14 / 19
    inferer = CoarseToFineInferer(stopping=TWO, rescue=0.5, **WHOLE)
    found = inferer(numbered(), Scripted([few, large, last]))
    assert torch.equal(found[0, 0] >= 0.5, last if kept == 8 else NOTHING)
    assert inferer.records[0].flags == (["rescued"] if kept == 8 else ["nothing found"])


def test_rescue_looks_at_a_fraction_of_the_maximum_in_the_largest_component() -> None:
    """The fine network says foreground everywhere: the answer is the frame around what was looked at."""
    start = torch.zeros(1, 1, 24, 24, 9)
    start[..., 4:6, 4:6, 3:6], start[..., 4, 4, 4] = 0.125, 0.25  # half of the maximum is enough
    start[..., 12:14, 4:6, 3:5] = 0.2  # a smaller component
    start[..., 4:6, 12:20, 3:6] = 0.12  # a larger one under the fraction
    net = CoarseToFineNet(None, partial(Everywhere, True), views=["axial"]).eval()
    inferer = CoarseToFineInferer(stopping=TWO, margin=0, crop_multiple=1, rescue=0.5, keep_rounds=True)
    inferer(torch.zeros(1, 1, 24, 24, 9), net, initial=start)
    assert inferer.records[0].rounds[1].box == ((4, 6), (4, 6), (2, 7))  # two thirds beside it


def test_rescue_needs_rounds_and_no_truth() -> None:
    speck = torch.zeros(1, 1, 32, 32, 32)
    speck[..., 10, 12, 14] = 0.9
    inferer = CoarseToFineInferer(stopping=StopRule(max_rounds=0), rescue=0.5)
    assert torch.equal(inferer(blob(1.0), network(0.5), initial=speck), speck)
    assert inferer.records[0].voxels == 1
    oracle = CoarseToFineInferer(stopping=TWO, margin=4, rescue=0.5)
    oracle(blob(1.0), network(0.5), initial=speck, label=(blob(1.0) > 0).float())
    assert oracle.records[0].flags == [] and oracle.records[0].rounds[1].dsc == pytest.approx(2 / 481)  # 8 * 10 * 6


def test_damping_keeps_a_part_of_the_last_round() -> None:
    volume, net = blob(0.6), network(0.56, coarse=[0.6])  # P(0) = 0.5 in the target, f_F says sigmoid(1.6)
    once = StopRule(dice=None, max_rounds=1)
    fine = float(torch.sigmoid(torch.tensor(1.6)))
    found = CoarseToFineInferer(stopping=once, margin=4, damping=0.25)(volume, net)
    assert found.max() == pytest.approx(0.25 * fine + 0.75 * 0.5, abs=1e-4)


@pytest.mark.parametrize(
    ("damping", "decay", "shares"), [(0.5, 1.0, (1 / 2, 1 / 3)), (0.6, 0.5, (0.6, 0.6 * (2 / 3) ** 0.5))]
)
def test_steps_become_smaller_round_by_round(damping: float, decay: float, shares: tuple[float, float]) -> None:
    volume, net = blob(0.6), network(0.56, coarse=[0.6])  # P(0) = 0.5 in the target, f_F says sigmoid(1.6)
    fine, expected = float(torch.sigmoid(torch.tensor(1.6))), 0.5
    for share in shares:
        expected = share * fine + (1 - share) * expected
    rule = StopRule(dice=None, max_rounds=2)
    found = CoarseToFineInferer(stopping=rule, margin=4, damping=damping, damping_decay=decay)(volume, net)
    assert found.max() == pytest.approx(expected, abs=1e-4)


def test_damped_votes_and_odd_fractions_are_refused() -> None:
    for arguments in ({"damping": 0.5}, {"damping_decay": 0.5}):
        with pytest.raises(ValueError, match="damping mixes probabilities"):
            CoarseToFineInferer(fusion="vote", **arguments)
    with pytest.raises(ValueError, match=r"damping_decay must lie in \[0, 1\], got -0.1"):
        CoarseToFineInferer(damping_decay=-0.1)
    for arguments in ({"damping": 0.0}, {"damping": 1.5}, {"rescue": 0.0}):
        with pytest.raises(ValueError, match=r"above 0 and at most 1, got"):
            CoarseToFineInferer(**arguments)


def _to_and_fro(loop: CaseLoop, prior: Patch, box: Patch) -> tuple[Patch, torch.Tensor, None]:
    """0.9 here and there in turn."""
    volume = loop.case.volume
    probability = torch.zeros(1, *volume.shape)
    here = 4 if float(volume[0, 0, 0]) == 0 else 20
    volume[0, 0, 0] = 1 - volume[0, 0, 0]
    probability[:, here : here + 6, 8:16, 8:16] = 0.9
    probability[:, 12:16, 8:16, 8:16] = 0.9
    return Patch(probability, whole_bounds(volume.shape)), probability >= 0.5, None


def test_a_cycle_of_two_ends_with_the_mean_of_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CaseLoop, "_fine", _to_and_fro)
    volume = blob(1.0)
    inferer = CoarseToFineInferer(
        stopping=StopRule(dice=None, max_rounds=9), margin=4, resolve_cycles=True, volume_device="cpu"
    )
    found = inferer(volume, network(0.5))
    record = inferer.records[0]
    assert record.stop_reason == "cycle of two" and record.fine_rounds == 3
    assert found[0, 0, 5, 10, 10] == found[0, 0, 21, 10, 10] == pytest.approx(0.45)
    assert int((found >= 0.5).sum()) == 4 * 8 * 8


def test_rounds_without_a_cycle_are_not_averaged() -> None:
    plain, resolved = (
        CoarseToFineInferer(stopping=StopRule(dice=D1), resolve_cycles=resolve, **WHOLE)(
            numbered(), Scripted([Z0, Z1, Z2])
        )
        for resolve in (False, True)
    )
    assert torch.equal(plain, resolved) and torch.equal(plain[0, 0] >= 0.5, Z1)


@pytest.mark.parametrize(
    ("overlays", "inferer", "judges"),
    [
        ([], "inferer", [True]),
        (["task/organ_then_cyst.json"], "organ_inferer", [False]),
        (["task/organs_alone.json"], "organs_inferer", [False, False]),
    ],
)
def test_networks_are_not_judged_by_the_model_of_other_weights(
    tmp_path: Path, overlays: list[str], inferer: str, judges: list[bool]
) -> None:
    (tmp_path / "model.pt").write_bytes(b"weights")
    QualityModel({"view_dsc": 1.0}, 0.05, 0.1, 0.7, 12).write(tmp_path / "model.quality.json")
    root = Path(__file__).parents[2]
    parser = ConfigParser()
    parser.read_config(
        [str(root / "bundle/configs/inference.json"), *(str(root / "configs" / one) for one in overlays)]
    )
    parser.update({"bundle_root": str(root / "bundle"), "ckpt_path": str(tmp_path / "model.pt")})
    found = parser.get_parsed_content(inferer)
    assert [one.quality is not None for one in getattr(found, "inferers", {"": found}).values()] == judges
