# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Mistakes in configurations and command lines: each is refused in one line before anything is read or written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from .command_lines import Mistake, answer
from .fault import Fault

__all__ = ["FAULTS", "MISTAKES"]

#: Ids that no configuration has, and the one that is meant.
TYPING_ERRORS: dict[str, dict[str, str]] = {
    "inference": {
        "--ckpt mine.pt": "ckpt_path",
        "--ckptpath mine.pt": "ckpt_path",
        "--inputs ct.nii.gz": "input",
        "--output masks": "output_dir",
        "--outputdir masks": "output_dir",
        "--dataset_dri data": "dataset_dir",
        "--bundleroot bundle": "bundle_root",
        "--splits test": "split",
        "--folds 1": "fold",
        "--label_values 1": "label_value",
        "--output_values 1": "output_value",
        "--container 1": "containers",
        "--exclusiv true": "exclusive",
        "--pixdm [2,2,2]": "pixdim",
        "--anti_alias true": "antialias",
        "--windw [-100,240]": "window",
        "--view [axial]": "views",
        "--slice_axcode {'axial':'SPL'}": "slice_axcodes",
        "--inslices 3": "in_slices",
        "--target_priors 0.1": "target_prior",
        "--coarse_downsampling 2": "coarse_downsample",
        "--norm_momentun 0.1": "norm_momentum",
        "--margn 5": "margin",
        "--crop_multiples 8": "crop_multiple",
        "--fusoin mean": "fusion",
        "--priors mask": "prior",
        "--stop_dic 0.9": "stop_dice",
        "--max_round 3": "max_rounds",
        "--component_fractions 0.5": "component_fraction",
        "--amp bfloat16": "amp_dtype",
        "--air -500": "air_threshold",
        "--devise cpu": "device",
        "--overlay true": "overlays",
        "--progres false": "progress",
        "--saver x": "save",
        "--inferer#margn 3": "margin",
        "--evaluator#ampp true": "amp",
        "--dataloader#batchsize 2": "batch_size",
        "--network_def#saliencyy None": "saliency",
    },
    "train": {
        "--learning_rat 0.01": "learning_rate",
        "--lr 0.1": "lr_factor",
        "--epoch 3": "epochs",
        "--item_per_epoch 10": "items_per_epoch",
        "--warm_up 10": "warmup",
        "--batchsize 4": "batch_size",
        "--init_weight mine.pt": "init_weights",
        "--hold_out 0.2": "holdout",
        "--stage coarse": "stages",
        "--min_pixel 3": "min_pixels",
        "--negative_fractions 0.1": "negative_fraction",
        "--weightdecay 0.1": "weight_decay",
        "--grad_norm 1": "max_grad_norm",
        "--selections last": "selection",
        "--resum true": "resume",
        "--seeds 3": "seed",
        "--cachedir cache": "cache_dir",
        "--optimiser SGD": "optimizer",
        "--augmentation_def x": "augmentation",
        "--train#trainer#max_epoch 5": "max_epochs",
        "--train#dataloadr 5": "dataloader",
        "--train#dataloader#num_worker 2": "num_workers",
        "--loss#cross_entropie 2": "cross_entropy",
        "--augmentations#zoom#max_zoomm 2": "max_zoom",
    },
    "train+evaluate": {"--margn 5": "margin", "--stop_dise 0.9": "stop_dice"},
    "train+three_views+stepwise": {"--fusions vote": "fusion"},
}
#: Ids of another configuration, which would have no effect.
WITHOUT_EFFECT: dict[str, Sequence[str]] = {
    "inference": ("--epochs 3", "--learning_rate 0.1", "--resume true", "--batch_size 4", "--init_weights mine.pt"),
    "train": ("--overlays true", "--output_value 4", "--air_threshold -500", "--patch [64,64,64]"),
}
#: Values of another kind or out of range.
VALUES: dict[str, dict[str, Sequence[str]]] = {
    "inference": {
        "margin": ("abc", "5.5", "-1", "true", "[20,20]", "$20+", "@margn", ""),
        "pixdim": ("[2,2]", "[2,2,0]", "2", "[200,2,2]", "[2,2,mm]"),
        "window": ("[240,-100]", "240", "[-100,240,400]"),
        "views": ("axial", "[axial,axial]", "[transverse]", "[]"),
        "slice_axcodes": ("{'axial':'SSL'}", "{'front':'SPL'}", "SPL"),
        "in_slices": ("2", "-1", "three"),
        "device": ("gpu", "cuda:99", "0"),
        "volume_device": ("disk",),
        "overlays": ("maybe", "1"),
        "keep_rounds": ("2",),
        "progress": ("none",),
        "debug": ("verbose",),
        "antialias": ("3",),
        "exclusive": ("yes",),
        "label_value": ("300", "0", "[1,[2]]", "pancreas"),
        "output_value": ("0", "256"),
        "classes": ("0", "2.0"),
        "containers": ("-1",),
        "air_threshold": ("3000", "low"),
        "fusion": ("median", "[mean,mean,mean]"),
        "prior": ("maps",),
        "result": ("median",),
        "stop_dice": ("95", "-0.1"),
        "max_rounds": ("-1", "two", "None"),
        "component_fraction": ("1.5", "50"),
        "crop_multiple": ("0",),
        "min_size": ("-1",),
        "amp_dtype": ("float64",),
        "pixels_per_batch": ("0",),
        "coarse_downsample": ("0",),
        "norm_momentum": ("2",),
        "target_prior": ("1", "0"),
        "fold": ("-1", "1.5"),
        "split": ("tests",),
        "ckpt_path": ("None", "3.5"),
        "network_def": ("unet",),
        "stopping": ("0.95",),
        "run": ("evaluate",),
    },
    "train": {
        "epochs": ("2.5", "0", "None", "1e3"),
        "items_per_epoch": ("0", "all"),
        "learning_rate": ("-1", "nan", "fast"),
        "warmup": ("-5", "2.5"),
        "resume": ("maybe", "1"),
        "holdout": ("0.9", "-0.1"),
        "min_pixels": ("0",),
        "negative_fraction": ("2",),
        "batch_size": ("0", "None"),
        "val_interval": ("0",),
        "rounds": ("0",),
        "max_margin": ("-3",),
        "fixed_margin_probability": ("50",),
        "slab_multiple": ("0",),
        "common_shape": ("1",),
        "seed": ("-1", "0.5"),
        "selection": ("worst",),
        "weight_decay": ("-0.1",),
        "max_grad_norm": ("0",),
        "bias_lr_factor": ("-1",),
        "lr_factors": ("0.3",),
        "backbone_lr_factors": ("{'encoder':-1}",),
        "train_amp_dtype": ("bf16",),
        "stages": (
            "[]",
            "joint",
            "[{'stage':'joined','length':1}]",
            "[{'stage':'joint','length':0}]",
            "[{'stage':'joint'}]",
            "[{'stage':'joint','length':1,'factor':2}]",
        ),
        "joint_stage": ("{'stage':'joined'}",),
        "label_value": ("-1", "None"),
        "cache_dir": ("3.5",),
        "validation_cache_rate": ("2",),
        "validation_cases": ("0",),
        "validation_split": ("valid",),
        "keep_freed_memory": ("2",),
        "optimizer": ("SGD",),
        "conditioning": ("near",),
    },
    "train+evaluate": {"split": ("train",), "stop_dice": ("-1",)},
}
#: What is told of options that cannot go together, or of files and folders that are not there.
CONTRADICTIONS: dict[str, dict[str, str]] = {
    "inference": {
        "--out_slices 3": "out_slices 3 must be at most in_slices 1",
        "--fusion vote": "with fusion vote set result to last",
        "--containers 1": "containers 1 must be fewer than the 1 values of output_value",
        "--output_value [1,2]": "output_value must hold 1 values",
        "--result last --fusion vote --views [axial,coronal]": "2 views: a voxel that half of them find is background",
        "--prior mask": "prior mask with a saliency transformation",
        "--dataset_dir data": "the data set is not looked at",
    },
    "train": {
        "--fraction 0.5": "give min_pixels or fraction, not both: got 10 and 0.5",
        "--classes 2": "label_value [1, 2] is of 1 targets, but classes is 2",
        "--label_value [[1],[2]]": "is of 2 targets, but classes is 1",
        "--stages [{'stage':'coarse','length':1}] --coarse_stage None": "stages: none is left",
        "--stages [{'stage':'joint','length':1,'copy_to_fine':True}]": "copy_to_fine is for stage coarse",
        "--optimizer#_target_ torch.optim.Addam": "there is no torch.optim.Addam",
        "--optimizer#learning_rate 1": "learning_rate is no argument of torch.optim.AdamW",
    },
}
PLACES: dict[str, dict[str, str]] = {
    "inference": {
        "--ckpt_path mine.pt": "there are no weights at mine.pt",
        "--ckpt_path FOLDER": "there are no weights at",
        "--ckpt_path README.md": "README.md cannot be read as weights",
        "--bundle_root nowhere": "there are no weights at nowhere/models/model.pt",
        "--output_dir README.md": "README.md is a file",
        "--output_dir README.md/masks": "README.md is a file",
        "--input nowhere.nii.gz": "nowhere.nii.gz does not exist",
        "--input None": "there is nothing to segment: give --input",
        "--input FOLDER": "holds no images",
        "--input None --dataset_dir README.md": "README.md",
        "--run_id evaluate": "run ID 'evaluate' doesn't exist",
    },
    "train": {
        "--dataset_dir nowhere": "dataset_dir nowhere does not exist",
        "--dataset_dir README.md": "dataset_dir must be a folder",
        "--dataset_dir FOLDER": "has no dataset.json",
        "--init_weights no.pt": "there are no weights at no.pt",
        "--init_weights README.md": "README.md cannot be read as weights",
        "--output_dir README.md": "README.md is a file",
    },
    "train+evaluate": {"--ckpt_path no.pt": "there are no weights at no.pt"},
}
#: What MONAI finds before this project's check is asked: refused, with MONAI's traceback.
OF_MONAI: dict[str, str] = {
    "inference --nothing#here 1": "'query key: nothing'",
    "train --train#trainr#max_epochs 3": "'query key: trainr'",
    "train --augmentations#zom#prob 0.5": "'query key: zom'",
    "inference+no.json": "Cannot find the config file: no.json",
    "evaluate": "'query key: validate'",
}
#: Options of the commands; 2 is the status of what argparse refuses.
OPTIONS_OF_C2F: dict[str, tuple[str, int]] = {
    "": ("the following arguments are required: command", 2),
    "segmnt CT FOLDER/out": ("invalid choice: 'segmnt'", 2),
    "segment CT": ("the following arguments are required: OUTPUT", 2),
    "segment CT FOLDER/out --margn 5": ("unrecognized arguments: --margn 5", 2),
    "segment CT FOLDER/out --output-type stl": ("invalid choice: 'stl'", 2),
    "segment CT FOLDER/out --quiet --verbose": ("not allowed with argument --quiet", 2),
    "segment CT FOLDER/out --device tpu": ("device must be cpu, gpu, gpu:1 (and so on) or mps, got 'tpu'", 1),
    "segment CT FOLDER/out --device gpu:99": ("there is no device gpu:99 here", 1),
    "segment CT FOLDER/out --model pancreas-v9": ("pancreas-v9", 1),
    "segment CT FOLDER/out --config no.json": ("no.json", 1),
    "segment nowhere.nii.gz FOLDER/out": ("nowhere.nii.gz does not exist", 1),
    "segment FOLDER/empty FOLDER/out": ("does not exist", 1),
    "segment CT README.md/out": ("README.md", 1),
    "evaluate --dataset nowhere": ("the following arguments are required: --output", 2),
    "evaluate --dataset nowhere --output FOLDER/out": ("dataset folder nowhere does not exist", 1),
    "evaluate --dataset nowhere --output FOLDER/out --option margin": ("--option takes ID=VALUE, got 'margin'", 1),
    "evaluate --dataset nowhere --output FOLDER/out --split tests": (
        "split must be one of training, validation, test",
        1,
    ),
    "evaluate --dataset nowhere --output FOLDER/out --fold one": ("argument --fold: invalid int value: 'one'", 2),
    "check --dataset-dir nowhere": ("nowhere does not exist", 1),
    "check --dataset-dir nowhere --option margn=5": ("did you mean margin", 1),
    "check --dataset-dir nowhere --option epochs=2.5": ("epochs must be a whole number", 1),
    "check --dataset-dir nowhere --config-file no.json": ("there is no configuration no.json", 1),
    "score --pred nowhere --label nowhere --output FOLDER/s.csv": ("nowhere is neither a folder nor a dataset.json", 1),
    "score --pred FOLDER --label FOLDER --output FOLDER/s.csv --label-value one": ("invalid int value: 'one'", 2),
    "compare no.csv other.csv": ("cannot read no.csv", 1),
    "compare README.md README.md": ("README.md has no column case", 1),
    "prepare nhi --input nowhere --output FOLDER/out": ("invalid choice: 'nhi'", 2),
    "prepare nih --input nowhere --output FOLDER/out": ("nowhere", 1),
    "phantom make --output FOLDER/out --size 3": ("argument --size", 2),
    "phantom make --output FOLDER/out --splits test": ("argument --splits", 2),
    "phantom make --output FOLDER/out --cohort livers": ("livers", 1),
    "phantom make --output FOLDER": ("exists", 1),
    "merge no.pt --output FOLDER/m.pt": ("there are no weights at no.pt", 1),
    "merge README.md --output FOLDER/m.pt": ("README.md cannot be read as weights", 1),
    "audit nowhere": ("there is no bundle nowhere", 1),
    "demo --cases 0 --folder FOLDER/demo": ("give at least one", 1),
    "diagnose --config no.json": ("the following arguments are required: --weights", 2),
}
#: Run once more as a user runs them, in a process of their own.
AS_COMMANDS = (
    "inference --ckpt mine.pt",
    "inference --pixdim [2,2,0]",
    "inference --run evaluate",
    "inference --input None",
    "inference --output_dir README.md",
    "train --learning_rat 0.01",
    "train --epochs 2.5",
    "train --init_weights README.md",
    "c2f segment nowhere.nii.gz FOLDER/out",
    "c2f check --dataset-dir nowhere --option margn=5",
)


def _told(table: Mapping[str, Mapping[str, str]], sentence: str = "{}") -> list[Mistake]:
    return [
        Mistake(f"{base} {options}", sentence.format(told))
        for base, mistakes in table.items()
        for options, told in mistakes.items()
    ]


#: By section of the table.
MISTAKES: dict[str, list[Mistake]] = {
    "ids that no configuration has": [
        *_told(TYPING_ERRORS, "did you mean {}"),
        Mistake("inference --my_own_idea 3", "my_own_idea is no id of the configuration"),
    ],
    "ids of another configuration": [
        Mistake(f"{base} {option}", f"{option.split()[0][2:]} has no effect in this configuration")
        for base, options in WITHOUT_EFFECT.items()
        for option in options
    ],
    "values of another kind or range": [
        Mistake(f"{base} --{name} {value}".rstrip(), f"{name}: " if value[:1] in ("@", "$") else f"{name} must be")
        for base, names in VALUES.items()
        for name, values in names.items()
        for value in values
    ],
    "values that contradict each other": _told(CONTRADICTIONS),
    "files and folders": _told(PLACES),
    "what MONAI finds first": [Mistake(words, told, by_monai=True) for words, told in OF_MONAI.items()],
    "options of c2f": [
        Mistake(f"c2f {options}".rstrip(), told, status) for options, (told, status) in OPTIONS_OF_C2F.items()
    ],
}
_ALL = {mistake.words: mistake for mistakes in MISTAKES.values() for mistake in mistakes}
MISTAKES["as commands of their own"] = [_ALL[words].as_command() for words in AS_COMMANDS]

FAULTS = [
    Fault(part, mistake.words.replace("+", " + "), mistake.expected, partial(answer, mistake))
    for part, mistakes in MISTAKES.items()
    for mistake in mistakes
]
