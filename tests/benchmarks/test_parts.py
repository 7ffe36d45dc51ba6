# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Tables, data and parts of experiments."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from benchmarks.chapter.command import _organs, build_parser, main
from benchmarks.chapter.data import derive_dataset, derived_lists
from benchmarks.chapter.figures import figure_parts, regions_of
from benchmarks.chapter.parts import ROOT, ExperimentPart, ExperimentSettings, parts_of
from benchmarks.chapter.plan import Evaluation, Merged, Row, RowPair, Table, Training, oracle_of, rounds_of
from benchmarks.chapter.published import as_published
from benchmarks.chapter.tables import DEFAULT_ORGANS, build_tables

TABLES = build_tables(DEFAULT_ORGANS)
PUBLISHED = as_published(TABLES)


def settings(output: Path, **more) -> ExperimentSettings:
    return ExperimentSettings(ROOT / "bundle" / "data" / "phantom-v1", output, **more)


def words_of(part: ExperimentPart) -> dict[str, str]:
    """Options of a part's command by id, and its configurations by name."""
    words = list(part.command[3:])
    options = dict(zip((word.removeprefix("--") for word in words[::2]), words[1::2], strict=True))
    options["config_file"] = " ".join(Path(file).stem for file in ast.literal_eval(options["config_file"]))
    return options


def test_all_tables_have_their_parts_once_in_an_order_that_can_run(tmp_path: Path) -> None:
    parts = parts_of(TABLES.values(), settings(tmp_path, folds=[0, 1], seeds=[3]))
    assert len({part.name for part in parts}) == len(parts)
    assert len({part.folder for part in parts}) == len(parts)
    folders = {part.name: part.folder for part in parts}
    made: set[str] = set()
    for part in parts:
        needed = [word for word in part.command if word.endswith("model.pt") and word != str(part.product)]
        assert set(needed) <= made, part.name
        assert {folders[name] / "model.pt" for name in part.needs} == set(map(Path, needed)), part.name
        made.add(str(part.folder / "model.pt"))
    names = [part.name for part in parts]
    assert "training/rstn/fold1_seed3" in names and "evaluation/unet3d_oracle/fold0_seed3" in names


def test_the_commands_of_a_method(tmp_path: Path) -> None:
    training, merge, evaluation = parts_of(
        [Table("t", "", (Row("a", rounds_of(Merged("both", joint=TRAINING, coarse=TRAINING))),))],
        settings(
            tmp_path,
            folds=[2],
            seeds=[1],
            options={"epochs": 3},
            own_options={"x": {"epochs": 4}, "rstn": {"epochs": 5}},
            overlays=["configs/data/nih.json"],
            small=True,
        ),
    )
    options = words_of(training)
    assert options.pop("config_file") == "train three_views small nih stepwise time_limit"
    folder = str(tmp_path / "training" / "x" / "fold2_seed1")
    assert {key: options[key] for key in ("fold", "seed", "epochs", "margin", "pixdim", "output_dir")} == {
        "fold": "2",
        "seed": "1",
        "epochs": "4",  # the command line's come after the method's, those of one training last
        "margin": "5",
        "pixdim": "$None",  # monai.bundle leaves the configuration's value where it is given None
        "output_dir": folder,
    }
    assert training.product == Path(folder) / "checkpoint_4.pt" and training.resumes
    assert merge.command[:5] == ("-m", "c2f_monai", "merge", f"{folder}/model.pt", "--coarse")
    options = words_of(evaluation)
    assert options["config_file"] == "train three_views small nih evaluate diagnostics"
    assert options["ckpt_path"] == str(merge.product)


TRAINING = Training("x", ("bundle/configs/stepwise.json",), {"margin": 5, "epochs": 9, "pixdim": None})


def test_four_stages_use_the_inference_and_both_weights(tmp_path: Path) -> None:
    parts = {part.name: part for part in parts_of([TABLES["cyst"]], settings(tmp_path))}
    part = parts["evaluation/stepwise_near_organ_four_stages/seed0"]
    options = words_of(part)
    assert options["config_file"] == "inference three_views stepwise organ_then_cyst"
    assert options["organ_ckpt_path"] == str(tmp_path / "training" / "stepwise" / "seed0" / "model.pt")
    assert options["ckpt_path"] == str(tmp_path / "training" / "stepwise_near_organ" / "seed0" / "model.pt")
    assert part.product.name == "cases_cyst.csv"
    cropped = words_of(parts["evaluation/rstn_near_organ_cropped_four_stages/seed0"])
    assert cropped["config_file"] == "inference three_views organ_then_cyst cyst_cropped"
    trained = words_of(parts["training/rstn_near_organ_cropped/seed0"])
    assert trained["config_file"] == "train three_views from_coarse cyst cyst_cropped time_limit"
    assert words_of(parts["training/rstn_cyst/seed0"])["label_value"] == "[2]"


def test_the_organ_is_found_by_deeplab_and_the_cyst_by_the_same_networks_as_before(tmp_path: Path) -> None:
    parts = {part.name: part for part in parts_of([TABLES["cyst"]], settings(tmp_path))}
    start, organ = words_of(parts["training/coarse_deeplab/seed0"]), words_of(parts["training/stepwise_deeplab/seed0"])
    assert start["config_file"] == "train three_views deeplab coarse_only time_limit"
    assert organ["config_file"] == "train three_views from_coarse deeplab backbone_as_coarse stepwise time_limit"
    assert organ["init_weights"] == str(tmp_path / "training/coarse_deeplab/seed0/model.pt")
    evaluation = parts["evaluation/stepwise_near_organ_by_stepwise_deeplab_four_stages/seed0"]
    plain = words_of(parts["evaluation/stepwise_near_organ_four_stages/seed0"])
    options = words_of(evaluation)
    files = "inference three_views stepwise organ_then_cyst deeplab backbone_as_organ_coarse"
    assert options["config_file"] == files
    assert options["organ_ckpt_path"] == str(tmp_path / "training/stepwise_deeplab/seed0/model.pt")
    assert options["ckpt_path"] == plain["ckpt_path"]


def test_the_distance_of_the_cysts_tables_is_in_mm(tmp_path: Path) -> None:
    tables = build_tables(DEFAULT_ORGANS, distance=20)
    parts = {p.name: p for p in parts_of([tables["cyst"], tables["distance"]], settings(tmp_path))}
    for part in ("training/rstn_near_organ_20mm", "evaluation/stepwise_near_organ_20mm_four_stages"):
        assert words_of(parts[f"{part}/seed0"])["organ_distance_mm"] == "20"
    assert not {"organ_distance_mm", "organ_distance_voxels"} & set(words_of(parts["training/rstn_near_organ/seed0"]))
    assert [pair.second for pair in tables["distance"].comparisons] == ["t = 20 mm"] * 3


def test_four_stages_know_what_an_overlay_says_of_the_images(tmp_path: Path) -> None:
    overlay = tmp_path / "own.json"
    overlay.write_text(
        '{"pixdim": [1, 1, 2], "label_value": [4], "val_interval": 3, "margin": 9, "air_threshold": null}',
        encoding="utf-8",
    )
    found = settings(tmp_path, overlays=[str(overlay)], options={"margin": 5})
    parts = {part.name: part for part in parts_of([TABLES["cyst"]], found)}
    options = words_of(parts["evaluation/stepwise_near_organ_four_stages/seed0"])
    assert {key: options.get(key) for key in ("pixdim", "label_value", "val_interval", "margin", "air_threshold")} == {
        "pixdim": "[1, 1, 2]",
        "label_value": None,  # the overlay of the four stages sets it
        "val_interval": None,  # of training
        "margin": "5",
        "air_threshold": "$None",
    }


def test_methods_go_on_from_the_same_coarse_networks(tmp_path: Path) -> None:
    names = ("joint", "training", "distance")
    parts = {part.name: part for part in parts_of([TABLES[name] for name in names], settings(tmp_path))}
    start = str(tmp_path / "training" / "coarse" / "seed0" / "model.pt")
    assert words_of(parts["training/coarse/seed0"])["config_file"] == "train three_views coarse_only time_limit"
    for name, files in {
        "rstn": "train three_views from_coarse",
        "stepwise": "train three_views from_coarse stepwise",
    }.items():
        options = words_of(parts[f"training/{name}/seed0"])
        assert (options["config_file"], options["init_weights"]) == (f"{files} time_limit", start)
        assert parts[f"training/{name}/seed0"].needs == ("training/coarse/seed0",)
    # A slab of another depth has other coarse networks; those of the cyst go on from the pancreas's.
    own = words_of(parts["training/rstn_depth_1/seed0"])["init_weights"]
    assert own == str(tmp_path / "training" / "coarse_depth_1" / "seed0" / "model.pt")
    assert words_of(parts["training/coarse_depth_1/seed0"])["in_slices"] == "1"
    options = words_of(parts["training/coarse_near_organ_60mm/seed0"])
    assert (options["config_file"], options["init_weights"]) == (
        "train three_views from_coarse cyst coarse_only time_limit",
        start,
    )
    assert parts["training/coarse_near_organ_60mm/seed0"].needs == ("training/coarse/seed0",)
    published = parts_of([PUBLISHED["joint"]], settings(tmp_path, published=True))
    assert [part.name for part in published if part.kind == "training"] == [
        "training/stepwise_coarse/seed0",
        "training/stepwise_fine/seed0",
        "training/rstn/seed0",
        "training/coarse_longer/seed0",  # the control
    ]
    assert not any("init_weights" in words_of(part) for part in published if part.kind == "training")


def test_published_trainings_start_from_the_given_weights(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture
) -> None:
    start = tmp_path / "vgg16_start.pt"
    found = settings(tmp_path, published=True, init_weights=start)
    parts = [part for part in parts_of([PUBLISHED["methods"]], found) if part.kind == "training"]
    starts = {part.name.split("/")[1]: words_of(part).get("init_weights") for part in parts}
    assert (
        starts.pop("unet3d") is starts.pop("vnet") is None and set(starts.values()) == {str(start)} and len(starts) >= 2
    )
    assert "departs from the chapter" not in caplog.text
    words = ["list", "--dataset_dir", str(ROOT / "bundle" / "data" / "phantom-v1"), "--output", str(tmp_path)]
    assert main([*words, "--init_weights", str(start), "--published"]) != 0
    assert f"{start} does not exist" in capsys.readouterr().err
    start.touch()
    assert main([*words, "--init_weights", str(start)]) != 0
    assert "is the start of --published trainings: give both" in capsys.readouterr().err


def test_published_constants_come_after_the_methods_overlays(tmp_path: Path) -> None:
    found = settings(tmp_path, published=True, overlays=["configs/data/msd_pancreas.json"])
    parts = {part.name: part for part in parts_of([PUBLISHED["cyst"]], found)}
    files = {n: words_of(part)["config_file"] for n, part in parts.items() if part.kind != "merge"}
    for part in ("coarse", "fine"):
        assert files[f"training/stepwise_near_organ_{part}/seed0"] == (
            f"train three_views published msd_pancreas stepwise cyst published_stepwise published_{part} time_limit"
        )
    assert files["evaluation/rstn_near_organ_final/seed0"] == "train three_views published msd_pancreas cyst evaluate"
    # The inference configuration has no place for what an overlay of a data set says about training.
    assert files["evaluation/stepwise_near_organ_four_stages/seed0"] == (
        "inference three_views published stepwise organ_then_cyst published_stepwise"
    )
    options = words_of(parts["evaluation/stepwise_near_organ_four_stages/seed0"])
    assert "val_interval" not in options and "label_value" not in options
    parser = ConfigParser()
    parser.read_config(ast.literal_eval(parts["evaluation/stepwise_near_organ_four_stages/seed0"].command[4]))
    parser["bundle_root"] = str(ROOT / "bundle")
    inferer = parser.get_parsed_content("two_stage_inferer").neoplasm
    assert (inferer.rule.margin, inferer.stopping.dice, inferer.fine_fusion) == (30, 0.95, "vote")


@pytest.mark.parametrize(
    ("table", "row", "printed"),
    [
        ("stepwise", "d >= 0.95", "82.37±5.68 (90.85, 62.43), 2.89±1.75 rounds"),
        ("stepwise", "d >= 0.98", ""),  # not in the chapter
        ("saliency", "7x7", ""),
        ("saliency", "two-layer 3x3", "83.93±5.43 (90.52, 64.78)"),
        ("methods", "V-Net, oracle 3D box", "83.18"),
        ("organs", "pancreas, RSTN, fine", "87.60"),
        ("organs", "cyst, RSTN, fine", ""),
        ("cyst", "cyst with organ, RSTN", "67.19±27.91 (96.05, 0)"),
        ("joint", "joint fine on separate coarse", "83.80"),
        ("overfitting", "longer control, oracle box", "86.26"),
    ],
)
def test_the_chapters_numbers_stand_beside_their_rows(table: str, row: str, printed: str) -> None:
    assert [found.chapter for found in TABLES[table].rows if found.label == row] == [printed]


def test_a_plan_that_contradicts_itself_is_refused() -> None:
    row = Row("a", oracle_of(TRAINING))
    with pytest.raises(ValueError, match=r"compares rows that it has not: \['b'\]"):
        Table("t", "", (row,), (RowPair("a", "b"),))
    with pytest.raises(ValueError, match="has a row twice"):
        Table("t", "", (row, row))
    other = Training("x", options={"margin": 6})
    with pytest.raises(ValueError, match="two different things are called x"):
        _ = Table("t", "", (row, Row("b", Evaluation("e", other)))).trainings


def test_the_published_step_wise_trainings_run_apart_and_are_merged(tmp_path: Path) -> None:
    parts = {part.name: part for part in parts_of([PUBLISHED["stepwise"]], settings(tmp_path, published=True))}
    coarse, fine = (parts[f"training/stepwise_{part}/seed0"] for part in ("coarse", "fine"))
    merge = parts["merge/stepwise/seed0"]
    assert (coarse.needs, fine.needs) == ((), ()) and set(merge.needs) == {coarse.name, fine.name}
    assert (coarse.product.name, fine.product.name) == ("checkpoint_80.pt", "checkpoint_60.pt")
    folders = [str(part.folder / "model.pt") for part in (fine, coarse)]
    assert merge.command[2:6] == ("merge", folders[0], "--coarse", folders[1])
    evaluation = words_of(parts["evaluation/stepwise_rounds/seed0"])
    assert evaluation["ckpt_path"] == str(merge.product)
    assert evaluation["config_file"] == "train three_views published stepwise published_stepwise evaluate diagnostics"


def test_what_is_not_fine_tuned_is_kept_by_the_published_training_that_is(tmp_path: Path) -> None:
    found = parts_of([PUBLISHED["saliency"], PUBLISHED["overfitting"]], settings(tmp_path, published=True))
    parts = {part.name.split("/", 1)[1]: part for part in found}
    for kernels, tuned in (("3x3", "rstn"), ("3", "rstn_saliency_3")):
        part = parts[f"rstn_saliency_{kernels}_not_tuned_rounds/seed0"]
        assert words_of(part)["ckpt_path"] == str(tmp_path / "training" / tuned / "seed0" / "model_individual.pt")
        assert part.needs == (f"training/{tuned}/seed0",)
        control = words_of(parts[f"rstn_saliency_{kernels}_untuned/seed0"])
        assert control["config_file"] == "train three_views published truth_reference time_limit"
    alone = parts["rstn_saliency_5_untuned/seed0"]
    assert words_of(alone)["config_file"] == "train three_views published truth_reference not_tuned time_limit"
    assert alone.product.name == "checkpoint_80.pt"
    labels = {row.label: row.chapter for row in PUBLISHED["overfitting"].rows}
    assert (labels["not fine-tuned"], labels["longer control"]) == ("83.68", "")
    assert [(pair.first, pair.second) for pair in PUBLISHED["overfitting"].comparisons] == [
        ("fine-tuned, oracle box", "fine-tuned"),
        ("not fine-tuned, oracle box", "not fine-tuned"),
    ]


def test_the_3d_comparator_keeps_its_recipe_beside_the_published_constants(tmp_path: Path) -> None:
    parts = {part.name: part for part in parts_of(PUBLISHED.values(), settings(tmp_path, published=True))}
    options = words_of(parts["training/unet3d/seed0"])
    assert options["config_file"] == "train three_views unet3d unet3d_published time_limit"
    assert words_of(parts["evaluation/unet3d_oracle/seed0"])["config_file"] == (
        "train three_views unet3d unet3d_published evaluate oracle_box"
    )
    options = words_of(parts["training/vnet/seed0"])
    assert options["config_file"] == "train three_views unet3d vnet unet3d_published time_limit"
    own, all_constants = (
        json.loads((ROOT / name).read_text(encoding="utf-8"))
        for name in ("configs/baseline/unet3d_published.json", "configs/baseline/published.json")
    )
    assert own.pop("description") and own == {key: all_constants[key] for key in own}


def test_the_small_version_is_small_with_the_published_constants_too(tmp_path: Path) -> None:
    parts = parts_of(PUBLISHED.values(), settings(tmp_path, published=True, small=True))
    epochs = {part.product.name for part in parts if part.kind == "training"}
    assert epochs == {"checkpoint_3.pt"}


def test_the_four_stages_leave_out_what_is_of_training(tmp_path: Path) -> None:
    found = settings(tmp_path, options={"loss#coarse_weight": 4.0, "margin": 5})
    parts = {part.name: part for part in parts_of([TABLES["cyst"]], found)}
    options = words_of(parts["evaluation/rstn_near_organ_four_stages/seed0"])
    assert "loss#coarse_weight" not in options
    assert options["margin"] == "5"
    assert words_of(parts["training/rstn_cyst/seed0"])["loss#coarse_weight"] == "4.0"


def test_organs_trained_alone_are_tested_together_in_one_run(tmp_path: Path) -> None:
    organs = {"kidney l.": (7,), "vena cava": (6,), "pancreas": (1, 2)}
    table = build_tables(organs)["organs"]
    parts = {part.name: part for part in parts_of([table], settings(tmp_path))}
    part = parts["evaluation/stepwise_organs_alone/seed0"]
    options = words_of(part)
    assert options["config_file"] == "inference three_views stepwise organs_alone"
    assert options["organ_values"] == "{'kidney_l': [7], 'vena_cava': [6], 'pancreas': [1, 2]}"
    weights = {name: str(tmp_path / "training" / path / "seed0" / "model.pt") for name, path in (
        ("kidney_l", "stepwise_organ_kidney_l"), ("vena_cava", "stepwise_organ_vena_cava"), ("pancreas", "stepwise"),
    )}  # fmt: skip
    assert options["ckpt_paths"] == str(weights)
    assert options["label_value"] == "$list(@organ_values.values())" and "ckpt_path" not in options
    assert set(part.needs) == {f"training/{Path(path).parent.parent.name}/seed0" for path in weights.values()}
    files = {row.label: row.evaluation.cases for row in table.rows if "resolved" in row.label and row.evaluation}
    assert files["vena cava, RSTN, conflicts resolved"] == "cases_vena_cava.csv"
    assert [gain.label for gain in table.gains] == [
        "Mean gain of RSTN over the step-wise approach, 1 of the five hard organs, each alone",
        "Mean gain of RSTN over the step-wise approach, 1 of the five hard organs, conflicts resolved",
    ]


def test_figures_are_drawn_of_the_first_cases_of_one_run(tmp_path: Path) -> None:
    found = settings(tmp_path, seeds=[0, 1])
    figures = regions_of()
    parts = {part.name: part for part in figure_parts(figures["box"], found, 2)}
    assert list(parts) == ["training/coarse/seed0", "training/rstn/seed0", "evaluation/rstn_slices_2/seed0"]
    options = words_of(parts["evaluation/rstn_slices_2/seed0"])
    assert options["config_file"] == "train three_views evaluate oracle_box answer_slices"
    assert options["validate#dataset#data"] == "$@validate#cases[:2]"
    names = {part.name for part in figure_parts(figures["organ"], found, 2)}
    assert {"evaluation/rstn_cyst_slices_2/seed0", "evaluation/rstn_near_organ_slices_2/seed0"} <= names


def test_a_part_of_an_organ_is_no_conflict_with_it() -> None:
    assert not [row.label for row in build_tables(DEFAULT_ORGANS)["organs"].rows if "resolved" in row.label]


def test_the_chapters_organs_are_found_by_the_names_of_the_data_set(tmp_path: Path) -> None:
    args = ["list", "--output", str(tmp_path), "--dataset_dir"]
    found = _organs(build_parser().parse_args([*args, str(tmp_path / "phantom-v2")]))  # not made yet
    assert list(found) == [
        "adrenal gland", "duodenum", "gallbladder", "inferior vena cava", "left kidney", "right kidney", "pancreas",
    ]  # fmt: skip
    assert (found["gallbladder"], found["pancreas"]) == ((5,), (1, 2))
    table = build_tables(found)["organs"]
    assert [(len(gain.pairs), gain.chapter) for gain in table.gains] == [(5, "4.29"), (5, "4.29")]
    # The chapter's gain is that of the rows that it prints.
    printed = {row.label: float(row.chapter) for row in table.rows if row.chapter}
    assert round(sum(printed[p.first] - printed[p.second] for p in table.gains[0].pairs) / 5, 2) == 4.29
    assert _organs(build_parser().parse_args([*args, str(tmp_path / "phantom-v1")])) == DEFAULT_ORGANS


def test_organs_do_not_take_the_names_of_other_trainings(tmp_path: Path) -> None:
    organs = {"cyst": (3,), "depth_1": (5,), "spleen": (1,), "kidney l.": (2,)}
    parts = {part.name: part for part in parts_of(build_tables(organs).values(), settings(tmp_path))}
    values = {name: words_of(part).get("label_value") for name, part in parts.items() if part.kind == "training"}
    assert values["training/rstn_cyst/seed0"] == "[2]" and values["training/rstn_organ_cyst/seed0"] == "[3]"
    assert values["training/rstn_depth_1/seed0"] is None and values["training/rstn_organ_depth_1/seed0"] == "[5]"
    # Every organ's coarse networks learn as long as the others', and from the same start.
    for organ in ("spleen", "kidney_l"):
        assert "init_weights" not in words_of(parts[f"training/coarse_organ_{organ}/seed0"])
    same = [Table("t", "", (Row("a", rounds_of(Training("x", options={"margin": n}))),)) for n in (4, 5)]
    with pytest.raises(ValueError, match="two different parts are called training/x/seed0"):
        parts_of(same, settings(tmp_path))


CONTENT = {
    "training": [{"image": f"images/{i}.nii.gz", "label": f"/labels/{i}.nii.gz", "group": "g"} for i in range(10)],
    "test": ["images/of a test.nii.gz"],
}


def test_folds_take_consecutive_cases_and_absolute_paths() -> None:
    lists = derived_lists(CONTENT, Path("/data"), folds=4, seed=None, small=False)
    assert list(lists) == ["training"]
    assert [case["fold"] for case in lists["training"]] == [0, 0, 1, 1, 2, 2, 2, 3, 3, 3]
    assert lists["training"][9] == {
        "image": "/data/images/9.nii.gz",
        "label": "/labels/9.nii.gz",
        "group": "g",
        "fold": 3,
    }
    small = derived_lists(CONTENT, Path("/data"), folds=None, seed=None, small=True)
    assert [len(cases) for cases in small.values()] == [8, 1]
    assert small["test"] == [{"image": "/data/images/of a test.nii.gz"}]


def test_folds_of_the_data_set_are_used_as_they_were_prepared() -> None:
    """By case number: what is missing or skipped leaves the others' folds as they are."""
    held = [0, 0, 1, 2, 2, 2, 3, None]
    cases = [{"image": f"{i}.nii", "label": f"{i}_l.nii", "fold": fold} for i, fold in enumerate(held)]
    content = {"training": cases}
    lists = derived_lists(content, Path("/data"), folds=4, seed=None, small=False)
    assert [case["fold"] for case in lists["training"]] == held
    small = derived_lists(content, Path("/data"), folds=4, seed=None, small=True)["training"]
    assert [(Path(case["image"]).stem, case["fold"]) for case in small] == [
        ("0", 0),
        ("1", 0),
        ("2", 1),
        ("3", 2),
        ("4", 2),
        ("6", 3),
    ]
    drawn = [c["fold"] for c in derived_lists(content, Path("/data"), folds=2, seed=1, small=False)["training"]]
    assert drawn[-1] is None and sorted(drawn[:-1]) == [0, 0, 0, 1, 1, 1, 1]
    message = r"holds the folds \[0, 1, 2, 3\], --folds asks for 5: give --folds 4, or --fold-seed"
    with pytest.raises(ValueError, match=message):
        derived_lists(content, Path("/data"), folds=5, seed=None, small=False)


def test_an_experiment_keeps_to_its_data(tmp_path: Path) -> None:
    dataset = tmp_path / "set"
    dataset.mkdir()
    (dataset / "dataset.json").write_text(json.dumps({"training": CONTENT["training"]}), encoding="utf-8")
    assert derive_dataset(dataset, tmp_path / "out", None, None, small=False) == dataset
    folder = derive_dataset(dataset, tmp_path / "out", 4, None, small=False)
    assert derive_dataset(dataset, tmp_path / "out", 4, None, small=False) == folder == tmp_path / "out" / "data"
    with pytest.raises(ValueError, match="holds an experiment with other data or folds: choose another --output"):
        derive_dataset(dataset, tmp_path / "out", 4, 0, small=False)
