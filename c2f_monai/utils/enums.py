# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Names of views, network parts and choices of the coarse-to-fine recurrence."""

from __future__ import annotations

from monai.utils import StrEnum


class View(StrEnum):
    """Anatomical view; volumes are RAS, so a view's slices run along one fixed axis."""

    SAGITTAL = "sagittal"
    CORONAL = "coronal"
    AXIAL = "axial"

    @classmethod
    def _missing_(cls, value: object) -> View:
        """Of a text in the place of a list, each letter comes here."""
        names = ", ".join(view.value for view in cls)
        raise ValueError(f"{value!r} is not a valid View: give a list of {names}, such as ['axial'].")

    @property
    def axis(self) -> int:
        """Axis of an (H, W, D) = (R, A, S) volume along which the slices of this view run."""
        return list(View).index(self)


class Part(StrEnum):
    """Part of one view's network: f_C, g and f_F of the paper."""

    COARSE = "coarse"
    SALIENCY = "saliency"
    FINE = "fine"


class Fusion(StrEnum):
    """How the views' answers become one: mean probability or majority vote."""

    MEAN = "mean"
    VOTE = "vote"


class Prior(StrEnum):
    """What the saliency transform sees of the previous round: probabilities or the binary mask."""

    PROBABILITY = "probability"
    MASK = "mask"


class Result(StrEnum):
    """What the loop answers with: the last round, or the mean of the coarse answer and the last round."""

    LAST = "last"
    MEAN = "mean"


class OrganRegion(StrEnum):
    """What a neoplasm's networks see of the image: MASK hides what is not near the organ, CROP cuts the organ's box."""

    MASK = "mask"
    CROP = "crop"


class TrainingStage(StrEnum):
    """Stages of training: modes S, I and J of the original code, and each part alone.

    COARSE: P(0) alone; the fine and saliency networks wait. FINE: the image cropped by the truth, and the coarse
    network waits: the two trainings of the step-wise approach. SEPARATE: both in one step; INDIVIDUAL:
    image * g(P) cropped by the truth; JOINT: image * g(P) cropped by the previous prediction, by the truth where no
    pixel reaches the threshold.
    """

    COARSE = "coarse"
    FINE = "fine"
    SEPARATE = "separate"
    INDIVIDUAL = "individual"
    JOINT = "joint"


class Status(StrEnum):
    """What became of an input of inference. PENDING: the run has not come to it."""

    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


class StopReason(StrEnum):
    """Why the coarse-to-fine loop ended, see :py:class:`c2f_monai.inferers.StopRule`.

    CONVERGED: the mask rests. FIXED_ROUNDS: all rounds were run, and nothing else was asked. MAX_ROUNDS: all rounds
    were run, and the mask does not rest. CYCLE: nor does it, but it goes to and fro between two. EMPTY: nothing is
    left of it.
    """

    CONVERGED = "converged"
    MAX_ROUNDS = "max rounds"
    FIXED_ROUNDS = "fixed rounds"
    CYCLE = "cycle of two"
    EMPTY = "empty"
