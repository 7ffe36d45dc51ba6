# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Tables of ablations: what one id or overlay changes, against the default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from c2f_monai.metrics.rounds import after_rounds, stopped_at
from c2f_monai.utils import Fusion, View

from .methods import COARSE, COARSE_LONGER, RSTN, coarse_variant, near_organ_training, rstn_variant
from .plan import Evaluation, Row, RowPair, Table, Training, oracle_of, rounds_of

__all__ = ["by_vote", "distance_table", "pixel_table", "premise_table", "testing_table", "training_table"]

_DEFAULT = "default"
_DEFAULT_DISTANCE = "t = 10 mm (15 voxels of the file's own grid)"


def _tested(name: str, **options: Any) -> Evaluation:
    """RSTN's weights with other values of some ids in testing."""
    return Evaluation(f"rstn_{name}", RSTN, options=options)


def _trained(training: Training) -> Evaluation:
    return Evaluation(f"{training.name}_final", training)


def _coarse_answer(training: Training) -> Evaluation:
    return Evaluation(f"{training.name}_final", training, options={"max_rounds": 0})


def by_vote() -> Evaluation:
    """RSTN whose views vote, in the coarse stage and in the rounds."""
    return _tested("vote", fusion=Fusion.VOTE.value)


def training_table() -> Table:
    """Rounds of training, slab depth, whole image against box: one training each."""
    found = {_DEFAULT: _trained(RSTN)}
    # T = 2 is the bundle's.
    found |= {f"training rounds T = {t}": _trained(rstn_variant(f"rounds_{t}", rounds=t)) for t in (1, 3, 5)}
    found["single slice (depth 1)"] = _trained(rstn_variant("depth_1", own_start=True, in_slices=1, out_slices=1))
    whole = Training("rstn_whole_image", ("configs/ablation/whole_image.json",), start=COARSE)
    found["whole image for the box"] = _trained(whole)
    return _against(_DEFAULT, found, "training", "Ablations of the training of RSTN")


def premise_table() -> Table:
    """What the box is worth: the whole image, the predicted box and the true one (Fig. 3.2)."""
    # As long as RSTN: give the same seconds by --option-of coarse_longer epochs=N.
    rows = (
        Row("whole image, coarse networks", _coarse_answer(COARSE_LONGER), after_rounds(0)),
        Row("coarse to fine", rounds_of(RSTN), stopped_at(0.99)),
        Row("true box", oracle_of(RSTN)),
    )
    pairs = (RowPair("true box", "coarse to fine"), RowPair("coarse to fine", "whole image, coarse networks"))
    return Table("premise", "Whole image, box and true box, in the same training time", rows, pairs)


def pixel_table() -> Table:
    """The pixels of target that a slab must have: in the coarse training, the chapter's rule, and in refining."""
    # 10 pixels of 2 mm, 40 mm^2, are the bundle's.
    refined, coarse = {_DEFAULT: _trained(RSTN)}, {f"coarse, {_DEFAULT}": _coarse_answer(COARSE)}
    for pixels, coarser in ((1, 1), (40, 10)):
        name, small = f"min_pixels_{pixels}", {"min_pixels": coarser}
        refined[f"min_pixels {pixels}"] = _trained(rstn_variant(name, small=small, min_pixels=pixels))
        alone = coarse_variant(name, small=small, min_pixels=pixels)
        coarse[f"coarse, min_pixels {pixels}"] = _coarse_answer(alone)
    title = "Trained on slabs with more or less target: the coarse networks, and RSTN refined"
    first, second = (_against(next(iter(found)), found, "pixels", title) for found in (coarse, refined))
    return Table("pixels", title, (*first.rows, *second.rows), (*first.comparisons, *second.comparisons))


def testing_table() -> Table:
    """Margin, crop multiple, fusion, and views alone in all rounds: the same weights."""
    found = {_DEFAULT: _trained(RSTN)}
    found |= {f"margin {k}": _tested(f"margin_{k}", margin=k) for k in (4, 16, 30)}
    found |= {f"crop multiple {n}": _tested(f"multiple_{n}", crop_multiple=n) for n in (16, 64)}
    found["vote"] = by_vote()
    found |= {f"{v.value} view alone": _tested(v.value, **{"validate#inferer#views": [v.value]}) for v in View}
    return _against(_DEFAULT, found, "testing", "Ablations of the testing of RSTN")


def distance_table(distance: float | None = None) -> Table:
    """The distance t around the organ within which the cyst is looked for, with the true organ [3.3.3].

    Args:
        distance: t of the table of the cyst, mm, which the others are compared with; None for the configuration's.
    """
    # Half as many coarse networks of their own to train as with a finer ladder: the extremes would show a dependence.
    ladder = [None, *sorted({30.0, 60.0} | ({distance} if distance is not None else set()))]
    label = {t: _DEFAULT_DISTANCE if t is None else f"t = {t:g} mm" for t in ladder}
    found = {label[t]: _trained(near_organ_training(RSTN, t)) for t in ladder}
    return _against(label[distance], found, "distance", "Cyst near the true organ: the distance t")


def _against(default: str, found: Mapping[str, Evaluation], name: str, title: str) -> Table:
    """A row for each evaluation, and each compared with the default."""
    rows = tuple(Row(label, evaluation) for label, evaluation in found.items())
    return Table(name, title, rows, tuple(RowPair(label, default) for label in found if label != default))
