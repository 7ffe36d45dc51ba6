# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Configurations are refused before anything is read, in one line that names the id and what to do."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from monai.bundle import ConfigParser

from c2f_monai.config import IDS, ConfigError, changeable_settings, check_config, inference_settings, override_config
from c2f_monai.config.schema import MONAI_IDS
from c2f_monai.config.settings import SETTINGS
from c2f_monai.config.stage_kinds import STAGE_KEYS
from c2f_monai.handlers import StageSchedule

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "bundle" / "configs"
FILES = {
    path.stem: path
    for path in [*BUNDLE.glob("*.json"), *(ROOT / "configs").glob("*/*.json")]
    if path.name != "metadata.json"
}
# What a file's description says comes before it; the others come after train.json or inference.json alone.
BEFORE = {
    "stepwise": ["three_views"],
    "published": ["three_views"],
    "published_stepwise": ["three_views", "stepwise", "published"],
    "published_coarse": ["three_views", "stepwise", "published", "published_stepwise"],
    "published_fine": ["three_views", "stepwise", "published", "published_stepwise"],
    "not_tuned": ["three_views", "published"],
    "original_margins": ["three_views", "published"],
    "fcn8s_compact": ["three_views", "published"],
    "imported_rstn": ["three_views"],
    "backbone_as_coarse": ["three_views", "unet"],
    "backbone_as_fine": ["three_views", "unet"],
    "backbone_as_organ_coarse": ["three_views", "organ_then_cyst", "deeplab"],
    "small": ["three_views"],
    "unet3d": ["three_views"],
    "unet3d_published": ["three_views", "unet3d"],
    "vnet": ["three_views", "unet3d"],
    "pancreas_only": ["msd_pancreas"],
    "cyst_multi_label": ["cyst"],
    "cyst_cropped": ["cyst"],
    "diagnostics": ["evaluate"],
    "oracle_box": ["evaluate"],
    "answer_slices": ["evaluate"],
    "multi_gpu_evaluate": ["evaluate"],
    "at_rest": ["three_views", "stepwise"],
    "several_organs_inference": ["several_organs"],
}
OF_INFERENCE = {
    "at_rest",
    "backbone_as_organ_coarse",
    "organ_then_cyst",
    "organs_alone",
    "several_organs_inference",
    "multi_gpu_inference",
}
IN_BOTH = ["three_views", "stepwise", "imported_rstn", "published", "msd_pancreas", "nih", "deeplab", "shared_encoder"]
RUNS = [
    *((name, "inference" if name in OF_INFERENCE else "train") for name in FILES if name not in ("train", "inference")),
    *((name, "inference") for name in IN_BOTH),
    ("train", ""),
    ("inference", ""),
]


def parser_of(*names: str, **options: Any) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config([str(FILES[name]) for name in names])
    parser["bundle_root"] = str(ROOT / "bundle")
    parser.update(options)
    return parser


def test_the_schema_holds_the_ids_of_all_configurations_and_no_others() -> None:
    contents = [json.loads(path.read_text(encoding="utf-8")) for path in FILES.values()]
    found = {key.lstrip("+").split("#")[0] for content in contents for key in content}
    assert found - {*MONAI_IDS} == set(IDS)


def test_every_id_is_explained_in_a_line() -> None:
    for name, entry in IDS.items():
        assert entry.meaning and entry.kind.words and "\n" not in entry.meaning, name


def test_weights_keep_what_their_validation_was_told() -> None:
    """All that answers depend on and that training knows, but the precision, which is the machine's."""
    options = json.loads(FILES["inference"].read_text(encoding="utf-8"))["options"]
    own = {name for name in options if name in parser_of("train")} - {"amp_dtype"}
    assert own <= set(SETTINGS)
    settings = inference_settings(parser_of("train", damping=0.7, damping_decay=0.5, rescue=0.5, resolve_cycles=True))
    del settings["description"]
    assert settings == {"damping": 0.7, "damping_decay": 0.5, "rescue": 0.5, "resolve_cycles": True}


@pytest.mark.parametrize(
    ("names", "options", "expected"),
    [
        ((), {}, {"1": "liver"}),  # of 1 and 2, which are one target, the first
        ((), {"label_value": 2}, {"1": "tumor"}),
        ((), {"label_value": [7, 2]}, {"1": "tumor"}),
        ((), {"label_value": 7}, None),
        ((), {"label_value": 5}, None),  # an expression, which the configuration would evaluate
        (("several_organs",), {"label_value": [[2], [1, 3]]}, {"2": "tumor", "1": "liver"}),
        (("several_organs",), {"label_value": [[7], [2]]}, {"2": "tumor"}),
    ],
)
def test_weights_bring_the_names_of_what_they_were_trained_on(
    names: tuple[str, ...], options: dict[str, Any], expected: dict[str, str] | None
) -> None:
    labels = {0: "background", "1": "liver", 2: "tumor", 3: "cyst", 5: "$print('run')"}
    settings = inference_settings(parser_of("train", *names, **options), labels)
    assert settings.get("output_names") == expected


@pytest.mark.parametrize(("name", "base"), RUNS, ids=lambda one: one)
def test_every_configuration_and_overlay_passes(name: str, base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_RANK", "0")
    check_config(parser_of(*([base] if base else []), *BEFORE.get(name, []), name))


@pytest.mark.parametrize(
    ("base", "name", "meant"),
    [
        ("inference", "ckpt", "ckpt_path"),
        ("inference", "inputs", "input"),
        ("inference", "margn", "margin"),
        ("inference", "overlay", "overlays"),
        ("inference", "air", "air_threshold"),
        ("inference", "inferer#margn", "margin"),
        ("inference", "epochs", "has no effect"),
        ("train", "learning_rat", "learning_rate"),
        ("train", "overlays", "has no effect"),
        ("train", "train#trainer#max_epoch", "max_epochs"),
        ("train", "train#dataloadr", "dataloader"),
        ("train", "train#trainr#max_epochs", "there is no train#trainr"),
        # These take any argument, which they hand on.
        ("inference", "dataloader#batchsize", "batch_size"),
        ("inference", "network_def#saliencyy", "saliency"),
    ],
)
def test_an_id_that_no_configuration_knows_is_refused_with_the_nearest(base: str, name: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=meant) as raised:
        override_config(parser_of(base), {name: 5})
    assert str(raised.value).startswith(name) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("base", "name", "value"),
    [
        ("inference", "margin", "abc"),
        ("inference", "margin", 5.5),
        ("inference", "margin", -1),
        ("inference", "margin", True),
        ("inference", "margin", "$20 +"),
        ("inference", "margin", "@margn"),
        ("inference", "pixdim", [2, 2]),
        ("inference", "pixdim", [2, 2, 0]),
        ("inference", "pixdim", 2),
        ("inference", "window", [240, -100]),
        ("inference", "overlays", "no"),
        ("inference", "label_value", 300),
        ("inference", "label_value", [1, [2]]),
        ("inference", "output_value", 0),
        ("inference", "air_threshold", 3000),
        ("inference", "views", "axial"),
        ("inference", "views", ["axial", "axial"]),
        ("inference", "views", ["transverse"]),
        ("inference", "device", "cuda:99"),
        ("inference", "device", "gpu"),
        ("inference", "fusion", "median"),
        ("inference", "slice_axcodes", {"axial": "SSL"}),
        ("inference", "in_slices", 2),
        ("inference", "out_slices", 3),
        ("inference", "containers", 1),
        ("inference", "output_value", [1, 2]),
        ("inference", "pixdim", [0.001, 1, 1]),
        ("inference", "stop_dice", 95),
        ("inference", "fusion", "vote"),
        ("inference", "network_def", "unet"),
        ("inference", "run", "evaluate"),
        ("inference", "run", ["evaluate"]),
        ("train", "epochs", 2.5),
        ("train", "epochs", None),
        ("train", "items_per_epoch", 0),
        ("train", "learning_rate", -1),
        ("train", "learning_rate", float("nan")),
        ("train", "warmup", -5),
        ("train", "resume", "maybe"),
        ("train", "holdout", 0.9),
        ("train", "fraction", 0.5),
        ("train", "stages", []),
        ("train", "stages", [{"stage": "joined", "length": 1}]),
        ("train", "stages", [{"stage": "joint", "length": 0}]),
        ("train", "stages", [{"stage": "joint", "length": 1, "factor": 2}]),
        ("train", "joint_stage", {"stage": "joined"}),
        ("train", "stages", [{"stage": "joint", "length": 1, "copy_to_fine": True}]),
        ("train", "label_value", [[1], [2]]),
        ("train", "classes", 2),
        ("train", "optimizer", {"_target_": "torch.optim.Addam"}),
        ("train", "optimizer", {"_target_": "Addam"}),
        ("train", "train_amp_dtype", "bf16"),
    ],
)
def test_a_value_of_another_kind_or_range_is_refused_with_its_id(base: str, name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=name) as raised:
        override_config(parser_of(base), {name: value})
    assert "\n" not in str(raised.value)


def test_arguments_that_are_handed_on_are_free() -> None:
    """Nobody here knows them, unless they are nearly the name of another."""
    override_config(parser_of("inference"), {"network_def#size_divisor": 16, "dataloader#num_workers": 0})
    override_config(parser_of("train"), {"augmentations#zoom#constant_values": 0.5})


def test_a_schedule_of_which_nothing_is_left_is_refused() -> None:
    with pytest.raises(ConfigError, match="stages: none is left"):
        override_config(parser_of("train"), {"coarse_stage": None, "stages": [{"stage": "coarse", "length": 1}]})


def test_the_average_of_a_federated_client_is_refused() -> None:
    """MONAI's client sends the weights of the trainer's network: the average would be dropped without a word."""
    parser = parser_of("train", "ema", "federated")
    with pytest.raises(ConfigError, match="ema: a client of federated training sends the weights, not their average"):
        check_config(parser)


def test_what_a_run_that_goes_on_is_compared_with_is_the_values_not_their_references() -> None:
    settings = changeable_settings(parser_of("train", "three_views", learning_rate="$0.1 * 3"))
    assert settings["learning_rate"] == pytest.approx(0.3)
    assert settings["lr_factors"] == {"coarse": 1.0, "saliency": 1.0, "fine": 1.0}
    assert settings["loss"]["coarse_weight"] == 8.0
    assert list(settings["augmentations"]) == ["affine", "noise", "smooth", "scale", "shift"]
    assert settings["dataset_dir"].endswith("phantom-v1")


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (("gpu",), {"augmentations#noise#prob": 0.1}, "augmentations#noise#prob has no effect in this configuration"),
        (("three_views", "published", "gpu"), {}, "batch_augmentation is set and augmentation is None"),
        (("gpu",), {"augmentation": None}, "batch_augmentation is set and augmentation is None"),
        (("gpu",), {"augmentation": None, "batch_augmentation": None}, ""),
        (("gpu",), {"batch_augmentation#noise": 0.1}, ""),
        ((), {"augmentations#noise#prob": 0.1}, ""),
    ],
)
def test_augmentations_that_batches_replace(names: tuple[str, ...], options: dict[str, Any], message: str) -> None:
    parser = parser_of("train", *names)
    if not message:
        override_config(parser, options)
        return
    with pytest.raises(ConfigError, match=message):
        override_config(parser, options)


@pytest.mark.parametrize(
    ("names", "said"), [((), ""), (("three_views",), "which differ in gamma, low_resolution, phase, smooth, zoom")]
)
def test_batches_are_augmented_as_the_default_recipe_does(
    names: tuple[str, ...], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        check_config(parser_of("train", *names, "gpu"))
    assert (said in caplog.text) if said else not caplog.records


def test_all_mistakes_are_said_at_once() -> None:
    with pytest.raises(ConfigError, match=r"^margn is no id .*; views must be .*, got 'axial'$"):
        override_config(parser_of("inference"), {"margn": 5, "views": "axial"})


@pytest.mark.parametrize(
    ("name", "typed", "meant"),
    [
        ("resume", "false", False),
        ("resume", "True", True),
        ("margin", None, None),
        ("pixdim", None, None),
        ("train#dataloader#shuffle", "false", False),
        ("train#sampler", None, None),
    ],
)
def test_words_of_the_command_line_become_what_they_mean(name: str, typed: Any, meant: Any) -> None:
    """``monai.bundle`` gives "false" as a text, which is true, and leaves a None out."""
    parser = parser_of("train")
    if typed is not None:
        parser[name] = typed
    parser.parse()
    check_config(parser, {name: typed})
    assert parser.get_parsed_content(name) is meant and parser[name] is meant


def test_a_folder_may_have_a_number_for_a_name() -> None:
    parser = parser_of("inference")
    override_config(parser, {"input": 20240131})
    assert parser["input"] == "20240131"


def test_a_mistake_is_said_of_the_id_that_has_it() -> None:
    """The id validation_split is that of split."""
    with pytest.raises(ConfigError, match=r"^split must be one of training, validation, test, got 'train'$"):
        override_config(parser_of("train", "evaluate"), {"split": "train"})


def test_an_overlay_may_bring_ids_that_it_refers_to(tmp_path: Path) -> None:
    saver = {"_target_": "c2f_monai.visualize.RoundsSaver", "inferer": "@inferer", "output_dir": "@mine"}
    # A module that becomes importable only when the bundle runs.
    other = {"_target_": "module_of_the_bundle.Saver", "anything": 1}
    config = {"mine": "out", "saver": saver, "other": other, "+handlers": ["%saver", "@other"], "_note": "why"}
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    parser = ConfigParser()
    parser.read_config([str(FILES["inference"]), str(path)])
    check_config(parser)
    parser.parse()  # macros are gone from here on
    check_config(parser)
    del parser["handlers"][-2]
    with pytest.raises(ConfigError, match=r"saver is no id"):
        check_config(parser)


@pytest.mark.parametrize(
    ("options", "doubt"),
    [
        ({"fusion": "vote", "result": "last", "views": ["axial", "coronal"]}, "half of them find is background"),
        ({"prior": "mask"}, "sees masks"),
        ({"input": "ct.nii.gz", "dataset_dir": "data"}, "segmented is ct.nii.gz, the data set is not looked at"),
        ({"fusion": "vote", "result": "last"}, "1 views"),
        ({}, ""),
    ],
)
def test_what_may_not_be_meant_is_a_warning(
    options: dict[str, Any], doubt: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        override_config(parser_of("inference"), options)
    assert (doubt in caplog.text) if doubt and "1 views" not in doubt else not caplog.records


DEPARTS = "init_weights is not given: this departs from the chapter, .* no gradient once all probabilities are near 0"


@pytest.mark.parametrize(
    ("names", "options", "said"),
    [
        (("three_views", "published"), {}, True),
        (("three_views", "published", "time_limit"), {}, True),
        (("three_views", "stepwise", "published", "published_stepwise"), {}, True),
        (("three_views", "published"), {"init_weights": "start.pt"}, False),
        (("three_views", "published"), {"resume": True}, False),
        (("three_views", "published", "evaluate"), {}, False),
        (("three_views", "published"), {"loss#cross_entropy": 1.0}, False),
        (("three_views",), {}, False),
        ((), {}, False),
    ],
)
def test_the_soft_dice_alone_from_random_weights_is_said_to_depart_from_the_chapter(
    names: tuple[str, ...], options: dict[str, Any], said: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        override_config(parser_of("train", *names), options)
    found = [record.getMessage() for record in caplog.records]
    assert [bool(re.match(DEPARTS, message)) for message in found] == [True] * said


@pytest.mark.parametrize(
    ("base", "name"), [("train", "cyst"), ("inference", "organ_then_cyst")], ids=["training", "inference"]
)
@pytest.mark.parametrize(
    ("grid", "options", "said"),
    [
        ((), {}, "10 mm"),
        (("three_views",), {}, "10 mm"),
        (("three_views", "published"), {}, "15 voxels of the grid"),
        (("three_views",), {"organ_distance_mm": 7.5}, "7.5 mm"),
        (("three_views",), {"organ_distance_voxels": 4}, "4 voxels of the grid"),
    ],
)
def test_the_distance_to_the_organ_follows_the_grid_and_is_said(
    base: str, name: str, grid: tuple[str, ...], options: dict[str, Any], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        override_config(parser_of(base, *grid, name), options)
    (note,) = (message for message in caplog.messages if message.startswith("the cyst is looked for"))
    assert note == f"the cyst is looked for where the organ is nearer than {said} [3.3.3]"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, ""),
        (
            {"epochs": 3},
            "epochs 3 leaves no epoch for stages 2 (fine), 4 (joint), 5 (joint): they are left out; from 60",
        ),
        ({"epochs": 1}, "they are left out, and the coarse networks are not trained; from 60 on each stage has one"),
        ({"epochs": 2, "fine_stage": None}, "epochs 2 leaves no epoch for stages 2 (joint), 3 (joint)"),
        ({"epochs": 3, "joint_stage": {"keep_as": "model_joint.pt"}}, "left out, and model_joint.pt not written; from"),
    ],
)
def test_stages_that_the_epochs_do_not_reach_are_named(
    options: dict[str, Any], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        override_config(parser_of("train"), options)
    assert (said in caplog.text) if said else "leaves no epoch" not in caplog.text


def edited(name: str, place: int, letter: str, edit: str) -> str:
    """A name with a letter left out, doubled, changed, put in, or swapped with the next one."""
    place %= len(name)
    head, one, tail = name[:place], name[place], name[place + 1 :]
    middle = {"out": "", "twice": one * 2, "changed": letter, "more": letter + one, "swapped": tail[:1] + one}[edit]
    return head + middle + (tail[1:] if edit == "swapped" else tail)


# Once: the checks change nothing in it.
CONTENT = {base: parser_of(base).get() for base in ("inference", "train")}


@settings(max_examples=80)
@given(
    name=st.sampled_from(sorted(IDS)),
    place=st.integers(0, 30),
    letter=st.sampled_from("abcdefghijklmnopqrstuvwxyz_"),
    edit=st.sampled_from(["out", "twice", "changed", "more", "swapped"]),
    base=st.sampled_from(list(CONTENT)),
    value=st.sampled_from([5, 0.1, "x", True, [1, 2], {"a": 1}, "$1", "@margin", {"_target_": "torch.nn.ReLU"}]),
)
def test_a_typing_error_in_an_id_is_never_accepted(
    name: str, place: int, letter: str, edit: str, base: str, value: Any
) -> None:
    typed = edited(name, place, letter, edit)
    assume(typed not in {*IDS, *MONAI_IDS} and not typed.startswith("_"))
    with pytest.raises(ConfigError, match=f"^{typed} is no id"):
        override_config(ConfigParser({**CONTENT[base]}), {typed: value})


def test_the_schema_knows_what_the_schedule_knows() -> None:
    assert set(STAGE_KEYS) == StageSchedule.keys
