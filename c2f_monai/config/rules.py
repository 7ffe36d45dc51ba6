# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What ids say about each other, and the files and folders that they name."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..utils import Fusion, OrganRegion, Prior, Result, begun_with, check_run_folder, read_state_dict, read_weights_file
from .stage_kinds import change_stages, left_out
from .tree import ConfigTree, UnresolvedError

__all__ = ["contradictions", "doubts", "file_problems"]

#: Augmentations of train.json by their ids, which SlabBatchAugmentation makes of whole batches.
_IN_BATCHES = {"zoom", "affine", "phase", "low_resolution", "noise", "gamma", "scale", "shift"}

logger = logging.getLogger(__name__)


def contradictions(values: Mapping[str, Any], content: Mapping[str, Any]) -> Iterator[str]:
    """Values that cannot go together; what can, but may not be meant, is a warning.

    Args:
        values: of ids, each of its kind; ids that are missing are not looked at.
        content: of the configuration.
    """
    if {"in_slices", "out_slices"} <= set(values) and values["out_slices"] > values["in_slices"]:
        yield f"out_slices {values['out_slices']} must be at most in_slices {values['in_slices']}"
    if values.get("result") == Result.MEAN and Fusion.VOTE in _fusions(values):
        yield "result mean is a mean of probabilities: with fusion vote set result to last"
    if values.get("min_pixels") is not None and values.get("fraction") is not None:
        yield f"give min_pixels or fraction, not both: got {values['min_pixels']} and {values['fraction']}"
    yield from _about_classes(values, content)
    yield from _about_stages(values)
    yield from _about_federated(values)
    yield from _about_batches(content)
    for doubt in doubts(values, content):
        logger.warning(doubt)
    if "organ_distance_voxels" in values or "organ_distance_mm" in values:
        logger.info(_distance_note(values))


def _about_classes(values: Mapping[str, Any], content: Mapping[str, Any]) -> Iterator[str]:
    classes, painted = values.get("classes"), _count(values.get("output_value"))
    if "containers" in values and painted and values["containers"] >= painted:
        yield f"containers {values['containers']} must be fewer than the {painted} values of output_value"
    # Overlays with networks of their own for each class have other inferers.
    alone = isinstance(content.get("evaluator"), Mapping) and content["evaluator"].get("inferer") == "@inferer"
    if alone and classes and painted and painted != classes:
        yield f"output_value must hold {classes} values, one for each of classes, got {values['output_value']}"
    target = values.get("label_value")
    if "train" in content and classes and target is not None:
        nested = _count(target) if isinstance(target, (list, tuple)) and isinstance(target[0], (list, tuple)) else 1
        if nested != classes:
            yield f"label_value {target} is of {nested} targets, but classes is {classes}: give a list for each class"


def _about_stages(values: Mapping[str, Any]) -> Iterator[str]:
    if not values.get("stages"):
        return
    kept = _changed_stages(values)
    if not kept:
        yield "stages: none is left, coarse_stage, fine_stage and joint_stage None leave out those there are"
    for stage in kept:
        if stage.get("copy_to_fine") and stage["stage"] != "coarse":
            yield f"stages: copy_to_fine is for stage coarse, got it in stage {stage['stage']}"


def _changed_stages(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    kinds = {stage["stage"] for stage in values.get("stages", ())}
    return change_stages(values.get("stages", ()), {kind: values.get(f"{kind}_stage", {}) for kind in kinds})


def _about_federated(values: Mapping[str, Any]) -> Iterator[str]:
    if values.get("ema") is not None and {"stage", "lr_factor"} <= set(values):
        yield "ema: a client of federated training sends the weights, not their average: leave configs/run/ema.json out"


def _about_batches(content: Mapping[str, Any]) -> Iterator[str]:
    if content.get("batch_augmentation") is not None and content.get("augmentation") is None:
        yield (
            "batch_augmentation is set and augmentation is None, so this recipe augments nothing: leave "
            "configs/run/gpu.json out, or set batch_augmentation to None, too"
        )


def _count(value: Any) -> int:
    return len(value) if isinstance(value, (list, tuple)) else int(value is not None)


def _other_augmentations(content: Mapping[str, Any]) -> Iterator[str]:
    other = sorted({*content.get("augmentations", ())} ^ _IN_BATCHES)
    if content.get("batch_augmentation") is not None and other:
        yield (
            "batch_augmentation augments as train.json does, in place of the augmentations of this configuration, "
            f"which differ in {', '.join(other)}: its strengths are arguments, such as batch_augmentation#zoom"
        )


def doubts(values: Mapping[str, Any], content: Mapping[str, Any]) -> Iterator[str]:
    """What may not be meant.

    Args:
        values: as for :func:`contradictions`.
        content: of the configuration.
    """
    views = values.get("views", ())
    if Fusion.VOTE in _fusions(values) and len(views) % 2 == 0 and len(views) > 0:
        yield f"fusion vote of {len(views)} views: a voxel that half of them find is background"
    if values.get("input") is not None and values.get("dataset_dir") is not None:
        yield f"input and dataset_dir are given: what is segmented is {values['input']}, the data set is not looked at"
    yield from _other_augmentations(content)
    if values.get("prior") == Prior.MASK and content.get("saliency_def") is not None:
        yield "prior mask with a saliency transformation: it sees masks, not the probabilities that it weights by [3.4]"
    if _trains(content) and "epochs" in values and (kept := _changed_stages(values)):
        if gone := left_out(kept, values["epochs"]):
            yield gone
    if _trains(content) and values.get("init_weights", "") is None and not values.get("resume"):
        if _is_soft_dice_alone(content.get("loss")):
            yield (
                "init_weights is not given: this departs from the chapter, which starts from FCN-8s pretrained on "
                "PASCAL VOC. The soft DSC loss alone has no gradient once all probabilities are near 0, so coarse "
                "networks that start at random may die. Give --init_weights, a file of c2f import-weights fcn8s or "
                "vgg16"
            )


def _distance_note(values: Mapping[str, Any]) -> str:
    mm, voxels = values.get("organ_distance_mm"), values.get("organ_distance_voxels")
    distance = f"{voxels} voxels of the grid" if mm is None else f"{mm:g} mm"
    where = (
        "in the organ's box and" if values.get("organ_region") == OrganRegion.CROP else "where the organ is nearer than"
    )
    return f"the cyst is looked for {where} {distance} [3.3.3]"


def _trains(content: Mapping[str, Any]) -> bool:
    """Whether what is run is the trainer, not the evaluator of the same configuration."""
    run = content.get("run") or []
    return any("trainer.run" in str(entry) for entry in (run if isinstance(run, list) else [run]))


def _is_soft_dice_alone(loss: Any) -> bool:
    is_ours = isinstance(loss, Mapping) and str(loss.get("_target_", "")).endswith("RoundsLoss")
    return is_ours and not loss.get("cross_entropy")


def file_problems(tree: ConfigTree) -> Iterator[str]:
    """Weights that cannot be read, and an output folder that cannot be written to, or holds another run."""
    for name, read in (("load_weights::path", read_state_dict), ("init_weights", read_weights_file)):
        found = _value(tree, name)
        for path in found.values() if isinstance(found, Mapping) else [found]:
            if not isinstance(path, (str, os.PathLike)):
                continue  # no path: where there must be one, the check of the ids has said it
            try:
                read(path)
            except (OSError, ValueError) as error:
                yield str(error)
    folder = _value(tree, "output_dir")
    if not isinstance(folder, (str, os.PathLike)):
        return
    if problem := _folder_problem(Path(folder).absolute()):
        yield f"output_dir {folder} cannot be written to: {problem}"
    elif _trains(tree.content):
        resume = bool(_value(tree, "resume"))
        try:
            check_run_folder(folder, resume)
        except OSError as error:
            yield str(error)
        else:
            yield from _other_optimizer(tree, folder) if resume else ()


def _other_optimizer(tree: ConfigTree, folder: str | os.PathLike[str]) -> Iterator[str]:
    """A run that would go on with an optimizer of another class, whose state is another."""
    classes = []
    for content in (begun_with(folder), tree.content):
        optimizer = content.get("optimizer")
        target = optimizer.get("_target_") if isinstance(optimizer, Mapping) else None
        classes.append(target.rsplit(".", 1)[-1] if isinstance(target, str) and target[:1] not in "$@%" else "")
    before, now = classes
    if before and now and before != now:
        yield (
            f"resume: the run in {folder} was begun with optimizer {before}, now {now}: continue with the same one, or "
            "choose another folder for the output and start from its weights (init_weights)"
        )


def _folder_problem(folder: Path) -> str:
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir():
        return f"{there} is a file"
    return "" if os.access(there, os.W_OK | os.X_OK) else f"{there} is not yours to write to"


def _value(tree: ConfigTree, name: str) -> Any:
    """What an id stands for; None where there is none or it is not known yet."""
    try:
        return tree.value(name)
    except (UnresolvedError, KeyError, ValueError):  # of values, the check of the ids has said it
        return None


def _fusions(values: Mapping[str, Any]) -> tuple[str, ...]:
    fusion = values.get("fusion", ())
    return (fusion,) if isinstance(fusion, str) else tuple(fusion)
