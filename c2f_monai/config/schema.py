# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Every id of the configurations: what it takes and what it means. An id that is not here is a typing error."""

from __future__ import annotations

from dataclasses import dataclass

from ..utils import Fusion, OrganRegion, Prior, Result, TrainingStage
from .kinds import (
    Kind,
    axcodes,
    built,
    choice,
    device,
    flag,
    increasing,
    integer,
    label_values,
    list_of,
    mapping_of,
    names_of_values,
    number,
    one_or_pair,
    path,
    text,
    view_names,
    with_condition,
)
from .stage_kinds import stage_changes, stages

__all__ = ["GROUPS", "IDS", "MONAI_IDS", "ConfigId"]


@dataclass(frozen=True)
class ConfigId:
    """An id.

    Attributes:
        kind: of its value.
        meaning: one line, with the unit.
    """

    kind: Kind
    meaning: str


_SPLIT = choice(["training", "validation", "test"])
_PIXDIM = with_condition(
    list_of(number(), 3),
    "three numbers, mm along x, y and z, each from 0.1 to 50, or -1 for the file's own",
    lambda sizes: all(0.1 <= size <= 50 or size == -1 for size in sizes),
)
_ODD = with_condition(integer(1), "a positive odd number, such as 1, 3 or 5", lambda count: count % 2 == 1)
_SHARE = number(0, 1)
_AMP_DTYPE = choice(["auto", "bfloat16", "float16"]).or_none()

_PLACES = {
    "input": ConfigId(path().or_none(), "what is segmented: an image, a DICOM series, a folder of them or a data set"),
    "dataset_dir": ConfigId(path().or_none(), "folder with a dataset.json"),
    "default_dataset_dir": ConfigId(path(), "where the embedded phantom is made on first use"),
    "split": ConfigId(_SPLIT, "list of dataset.json that is segmented or scored"),
    "fold": ConfigId(integer(0).or_none(), "fold that is tested; None: no folds"),
    "holdout": ConfigId(number(0, 0.5), "share of the training cases that validates"),
    "validation_split": ConfigId(_SPLIT, "list of dataset.json that validates"),
    "validation_cases": ConfigId(integer(1).or_none(), "so many cases validate; None: all of the split"),
    "validation_cache_rate": ConfigId(_SHARE, "share of the validation cases that stay in memory"),
    "cache_dir": ConfigId(path().or_none(), "folder of preprocessed volumes for training and validation; None: memory"),
    "output_dir": ConfigId(path(), "folder of what is written"),
    "bundle_root": ConfigId(path(), "folder of the bundle"),
    "ckpt_path": ConfigId(path(), "weights that are used"),
    "organ_ckpt_path": ConfigId(path(), "weights of the organ's networks"),
    "ckpt_paths": ConfigId(mapping_of(path()), "weights by names of organs"),
    "served_path": ConfigId(path(), "weights that MONAI Label serves, which a training replaces"),
    "init_weights": ConfigId(path().or_none(), "weights that training starts from; None: the networks' own start"),
}

_TARGET = {
    "label_value": ConfigId(label_values(), "the target in the label maps"),
    "known_labels": ConfigId(
        list_of(integer(0)).or_none(),
        "values that label maps may hold beside 0; those of dataset.json, None: whole numbers below 255",
    ),
    "output_value": ConfigId(label_values(), "the target in the masks, a value for each class"),
    "label_names": ConfigId(names_of_values(), "names of the values of label maps; by default those of dataset.json"),
    "output_names": ConfigId(
        names_of_values().or_none(), "names of the values of masks, for DICOM; None: of shipped weights, the metadata's"
    ),
    "containers": ConfigId(integer(0), "so many leading classes contain the others, which are painted over them"),
    "classes": ConfigId(integer(1), "targets of one network"),
    "exclusive": ConfigId(flag(), "whether a voxel belongs to one class at most"),
    "organ_value": ConfigId(label_values(), "the organ in the label maps"),
    "organ_values": ConfigId(mapping_of(label_values()), "label values by names of organs"),
    "cyst_value": ConfigId(label_values(), "the cyst in the label maps"),
    "cyst_channel": ConfigId(integer(0), "class of the cyst's networks that is the cyst"),
    "organ_distance_voxels": ConfigId(integer(0).or_none(), "the cyst is looked for so near the organ, voxels"),
    "organ_distance_mm": ConfigId(number(0).or_none(), "the cyst is looked for so near the organ, mm"),
    "organ_region": ConfigId(choice(OrganRegion), "the image far from the organ is hidden (mask), or cut off (crop)"),
}

_GRID = {
    "pixdim": ConfigId(_PIXDIM.or_none(), "voxels of the working grid, mm along x, y and z; None: the file's"),
    "antialias": ConfigId(flag(), "whether a volume is blurred before it is resampled to larger voxels"),
    "window": ConfigId(increasing(), "HU that become 0 and 1"),
    "views": ConfigId(view_names(), "directions that slices are cut along"),
    "slice_axcodes": ConfigId(axcodes().or_none(), "orientation of the slices that weights were trained on; None: RAS"),
    "in_slices": ConfigId(_ODD, "neighboring slices that a network sees"),
    "out_slices": ConfigId(_ODD, "slices that a network answers for, at most in_slices"),
}

_NETWORK = {
    "norm_momentum": ConfigId(_SHARE, "of the encoder's batch norms"),
    "target_prior": ConfigId(
        with_condition(number(above=0), "a number above 0 and below 1", lambda share: share < 1).or_none(),
        "share of the target in a slice, where probabilities start; None: as PyTorch starts them",
    ),
    "coarse_downsample": ConfigId(integer(1), "pixels of the coarse network are so many times larger"),
}

_LOOP = {
    "margin": ConfigId(
        integer(0).or_none(), "around the box of a crop, pixels of the working grid; None: whole slices"
    ),
    "crop_multiple": ConfigId(integer(1), "sides of crops are multiples of it, pixels"),
    "min_size": ConfigId(integer(0), "least side of a crop, pixels"),
    "bridge": ConfigId(integer(0), "most slices in a row without foreground that a network of one slice answers in"),
    "fusion": ConfigId(one_or_pair(Fusion), "of the views, or a pair: of the coarse stage and of the rounds"),
    "prior": ConfigId(choice(Prior), "what the saliency transformation sees of the last round"),
    "result": ConfigId(choice(Result), "the last round, or the mean of it and the coarse answer"),
    "stop_dice": ConfigId(number(0, 2).or_none(), "DSC of two rounds that ends the loop; None or above 1: max_rounds"),
    "max_rounds": ConfigId(integer(0), "most rounds of the loop"),
    "component_fraction": ConfigId(_SHARE, "components smaller than this share of the largest are left out"),
    "rescue": ConfigId(
        number(above=0, high=1).or_none(),
        "where the coarse stage finds nothing, look where it is this fraction of its maximum; None: nothing is found",
    ),
    "damping": ConfigId(number(above=0, high=1), "share of the new probability in a round; 1: the method"),
    "damping_decay": ConfigId(
        number(0, 1), "q in damping * (2 / (t + 1)) ^ q, that share in round t; 0: the same in every round"
    ),
    "resolve_cycles": ConfigId(flag(), "whether a cycle of two masks ends with the mean of both"),
    "amp_dtype": ConfigId(_AMP_DTYPE, "precision in testing; auto: 16 bits where the device has them; None: float32"),
    "pixels_per_batch": ConfigId(integer(1), "most pixels that the networks are run on at once"),
    "air_threshold": ConfigId(
        number(-2000, 0).or_none(), "HU at and below which a voxel is air, which is left out; None: nothing is"
    ),
}

_RUN = {
    "device": ConfigId(device(), "where the networks run"),
    "volume_device": ConfigId(device().or_none(), "where volumes are kept; None: beside the networks"),
    "backend": ConfigId(choice(["nccl", "gloo", "mpi", "ucc"]), "of torch.distributed"),
    "keep_rounds": ConfigId(flag(), "whether the masks of all rounds stay in memory"),
    "overlays": ConfigId(flag(), "whether a picture of each case is written"),
    "progress": ConfigId(flag(), "whether bars show how far it is"),
    "keep_freed_memory": ConfigId(flag(), "whether memory that was used once stays with the process: faster on a CPU"),
    "seed": ConfigId(integer(0, 2**32 - 1), "of all draws"),
    "overwrite": ConfigId(flag(), "whether cases that are done, and masks of other options, are made again"),
    "strict": ConfigId(flag(), "whether the first case that fails ends the run"),
    "debug": ConfigId(flag(), "whether an error shows its traceback"),
    "time_limit": ConfigId(integer(1), "training ends after so long, seconds"),
    "resume": ConfigId(flag(), "whether training goes on from the checkpoint in output_dir"),
    "selection": ConfigId(choice(["best", "last"]), "weights that training keeps"),
    "missing": ConfigId(text(), "what the error names where the package is not found"),
    "description": ConfigId(text(), "what a file of configuration does"),
}

_TRAINING = {
    "rounds": ConfigId(integer(1), "most rounds of training, T"),
    "max_margin": ConfigId(integer(0).or_none(), "largest drawn margin, pixels; None: twice the margin"),
    "fixed_margin_probability": ConfigId(_SHARE, "how often the margin is not drawn"),
    "slab_multiple": ConfigId(integer(1), "sides of slabs are padded to multiples of it, pixels"),
    "common_shape": ConfigId(flag(), "whether all crops of a step are grown to one shape"),
    "train_amp_dtype": ConfigId(
        _AMP_DTYPE, "precision in training; auto: bfloat16 where the device has it; None: float32"
    ),
    "batch_size": ConfigId(integer(1), "items of a step"),
    "items_per_epoch": ConfigId(integer(1).or_none(), "items of an epoch; None: each slice once"),
    "epochs": ConfigId(integer(1), "length of training"),
    "refining_epochs": ConfigId(integer(1), "length of a training from coarse networks (from_coarse.json)"),
    "val_interval": ConfigId(integer(1), "epochs from one validation to the next"),
    "min_pixels": ConfigId(integer(1).or_none(), "a slice is trained on from so many target pixels; None: from one"),
    "fraction": ConfigId(
        number(above=0, high=1).or_none(), "in its place, the share of the slices with target that is trained on"
    ),
    "negative_fraction": ConfigId(_SHARE, "share of the items without target"),
    "stage": ConfigId(choice(TrainingStage), "the stage of federated training"),
    "lr_factor": ConfigId(number(0), "factor on the learning rates of federated training"),
    "stages": ConfigId(stages(), "schedule of training; the lengths share out the epochs"),
    "coarse_stage": ConfigId(stage_changes().or_none(), "what is changed in stages coarse; None leaves them out"),
    "fine_stage": ConfigId(stage_changes().or_none(), "what is changed in stages fine; None leaves them out"),
    "joint_stage": ConfigId(stage_changes().or_none(), "what is changed in stages joint; None leaves them out"),
    "learning_rate": ConfigId(number(0), "of the optimizer, before factors"),
    "warmup": ConfigId(integer(0), "iterations over which learning rates rise"),
    "backbone_lr_factors": ConfigId(mapping_of(number(0)), "factors on learning rates by modules of the backbone"),
    "lr_factors": ConfigId(mapping_of(number(0)), "factors on learning rates by parts or modules"),
    "bias_lr_factor": ConfigId(number(0), "factor on learning rates of biases"),
    "weight_decay": ConfigId(number(0), "of the optimizer"),
    "non_finite": ConfigId(choice(["stop", "skip"]), "what a loss or gradient does that is no number"),
    "max_grad_norm": ConfigId(number(above=0).or_none(), "gradients are scaled down to this norm; None: never"),
    "ema": ConfigId(
        with_condition(number(above=0), "a number above 0 and below 1", lambda share: share < 1),
        "share of the average of the weights that stays in an iteration",
    ),
    "patch": ConfigId(list_of(integer(1), 3), "patch of the 3D U-Net, voxels"),
    "frame": ConfigId(integer(0), "beyond a patch, from which it is turned, voxels"),
    "framed_patch": ConfigId(list_of(integer(1), 3), "patch and frame, voxels"),
}

_COMPONENTS = {
    name: ConfigId(built(), meaning)
    for name, meaning in {
        "work_root": "folder of data and runs that are made",
        "dataset_path": "folder of the data set, which is made where it is the phantom's",
        "slab": "in_slices and out_slices",
        "fcn_def": "FCN-8s",
        "backbone_def": "network of both parts",
        "coarse_def": "coarse network",
        "fine_def": "fine network; None: the coarse stage alone",
        "saliency_def": "saliency transformation; None: the step-wise approach",
        "network_def": "networks of all views",
        "networks": "networks of organ and neoplasm",
        "network": "networks on their device",
        "stopping": "rule that ends the loop",
        "conditioning": "what hides the image far from the organ; None: nothing",
        "preprocessing": "from a file to a volume on the working grid",
        "dataset": "cases",
        "sampler": "cases of this process",
        "dataloader": "reads cases ahead",
        "inferer": "the loop",
        "organ_inferer": "the loop for the organ",
        "two_stage_inferer": "organ, then neoplasm",
        "organs_inferer": "several organs",
        "writing": "writes in the background",
        "manifest": "what became of each input of the folder",
        "options": "what a folder's masks were made with",
        "cases": "inputs that are not done yet",
        "near_mask": "leaves out of a probability what no mask depends on",
        "invert": "back to the file's grid",
        "label_map": "from probabilities to a label map",
        "save": "writer of masks",
        "postprocessing": "from probabilities to files",
        "quality": "prediction of the DSC beside the weights; None: none",
        "load_weights": "reads the weights",
        "case_report": "table of cases",
        "overlay_saver": "pictures of cases",
        "rounds_saver": "pictures of rounds",
        "answer_slices": "slices with most target and the answers there",
        "saliency_saver": "pictures of saliency",
        "saliency_table": "table of saliency",
        "progress_bar": "bar over the cases",
        "handlers": "of the evaluator",
        "key_metric": "of the evaluator",
        "evaluator": "runs inference",
        "summary_writer": "of TensorBoard",
        "parameter_groups": "parameters with their learning rates",
        "optimizer": "of training",
        "average": "of the weights over training; None: none",
        "limit": "ends training after time_limit",
        "loss": "of training",
        "augmentations": "of training, by names",
        "augmentation": "all of them",
        "batch_augmentation": "of a whole batch on the device, in place of the others",
        "patches": "patches of the 3D U-Net",
        "without_metadata": "tensors of the 3D U-Net",
        "train": "parts of training",
        "validate": "parts of validation and evaluation",
        "package_path": "makes a packed bundle's package importable",
        "has_package": "whether the package is found, which MonaiAlgo tells a packed bundle of too late for its checks",
        "package": "the package, found and with all that it imports",
        "check": "checks the configuration before anything is read",
    }.items()
}

#: What MONAI itself reads, also where it tracks experiments.
MONAI_IDS = (
    *("_meta_", "imports", "initialize", "run", "finalize"),
    *("tracking_uri", "experiment_name", "run_name", "save_execute_config", "is_not_rank0", "trainer", "validator"),
)

#: Ids by subject.
GROUPS: dict[str, dict[str, ConfigId]] = {
    "Files and data": _PLACES,
    "Target": _TARGET,
    "Grid and slabs": _GRID,
    "Networks": _NETWORK,
    "The loop": _LOOP,
    "Training": _TRAINING,
    "The run": _RUN,
    "Components": _COMPONENTS,
}
#: All of them.
IDS: dict[str, ConfigId] = {name: entry for group in GROUPS.values() for name, entry in group.items()}
