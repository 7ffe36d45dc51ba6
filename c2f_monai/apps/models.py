# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The models that ``segment`` knows by name: one more is an entry here, and its weights in the bundle."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFAULT_MODEL", "MODELS", "Model"]


@dataclass(frozen=True)
class Model:
    """A model of the packaged bundle.

    Attributes:
        summary: one line for the user.
        configs: names of configurations in the bundle, later ones overriding earlier ones; their ``ckpt_path`` says
            where the weights lie.
    """

    summary: str
    configs: tuple[str, ...] = ("inference.json",)


MODELS: dict[str, Model] = {
    "pancreas": Model("the pancreas on abdominal CT, trained on axial slices of NIH Pancreas-CT"),
    "phantom-rstn": Model(
        "the embedded phantom's target, end to end (RSTN); it has seen no patient",
        ("inference.json", "three_views.json"),
    ),
    "phantom-stepwise": Model(
        "the same, coarse and fine networks trained apart; it has seen no patient",
        ("inference.json", "three_views.json", "stepwise.json"),
    ),
}
DEFAULT_MODEL = "pancreas"
