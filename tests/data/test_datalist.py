# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Folders of the Decathlon's layout: found, generated only at the default path, listed, and refused with one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from c2f_monai.data import datalist
from c2f_monai.data.datalist import cases_by_split, known_labels, load_datalist, resolve_dataset
from c2f_monai.data.patients import read_patients


def make_dataset(folder: Path, content: dict[str, Any]) -> Path:
    """Write `dataset.json` and an empty file for everything that it lists."""
    folder.mkdir(exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    for listed in content.values():
        for entry in listed if isinstance(listed, list) else []:
            for key in ("image", "label"):
                if isinstance(entry, dict) and key in entry:
                    (folder / entry[key]).touch()
            if isinstance(entry, str):
                (folder / entry).touch()
    return folder


def pairs(count: int, start: int = 0) -> list[dict[str, str]]:
    return [{"image": f"i{n:02d}.nii", "label": f"l{n:02d}.nii"} for n in range(start, start + count)]


def test_paths_are_absolute_and_other_keys_are_kept(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path, {"test": [{"image": "./a.nii", "label": "b.nii", "group": "plain", "seed": 3}]})
    assert load_datalist(folder, "test") == [
        {"image": str(tmp_path / "a.nii"), "label": str(tmp_path / "b.nii"), "group": "plain", "seed": 3}
    ]


def test_test_cases_may_be_plain_paths(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path, {"test": ["a.nii"]})
    assert load_datalist(folder, "test") == [{"image": str(tmp_path / "a.nii")}]


def test_a_given_validation_split_is_taken_as_it_is(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path, {"training": pairs(3), "validation": pairs(2, 3)})
    assert [len(load_datalist(folder, split)) for split in ("training", "validation")] == [3, 2]


@pytest.mark.parametrize(
    ("count", "holdout", "held"), [(10, 0.2, [2, 7]), (5, 0.2, [2]), (2, 0.2, [1]), (4, 0.5, [1, 3]), (3, 0.01, [1])]
)
def test_a_fixed_share_of_training_is_held_back(tmp_path: Path, count: int, holdout: float, held: list[int]) -> None:
    cases = pairs(count)
    folder = make_dataset(tmp_path, {"training": cases[::-1]})  # the order in the file does not matter
    names = {
        split: [Path(item["image"]).name for item in load_datalist(folder, split, holdout)]
        for split in ("training", "validation")
    }
    assert names["validation"] == [cases[n]["image"] for n in held]
    assert names["training"] == [case["image"] for n, case in enumerate(cases) if n not in held]


@pytest.mark.parametrize(
    ("content", "split", "message"),
    [
        ({"training": pairs(2)}, "test", "dataset.json has no key 'test'; its keys are training"),
        ({"name": "x"}, "validation", "dataset.json has no key 'training'; its keys are name"),
        ({"training": []}, "training", "dataset.json lists no case under 'training'"),
        ({"test": [{"label": "l.nii"}]}, "test", "every entry of 'test' needs an 'image' path"),
        ({"training": pairs(1)}, "training", "only one training case; holding back needs at least two"),
        ([1], "training", "dataset.json must hold an object"),
        ({"training": pairs(2)}, "train", "split must be one of training, validation, test, got 'train'"),
    ],
)
def test_bad_contents_are_named(tmp_path: Path, content: Any, split: str, message: str) -> None:
    (tmp_path / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        load_datalist(tmp_path, split)


def test_nothing_is_held_back_where_nothing_is_chosen(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path, {"training": pairs(4)})
    assert load_datalist(folder, "validation", 0.0) == []
    assert len(load_datalist(folder, "training", 0.0)) == 4


@pytest.mark.parametrize("holdout", [-0.1, 0.6])
def test_bad_holdouts_are_refused(tmp_path: Path, holdout: float) -> None:
    with pytest.raises(ValueError, match=f"holdout must be at least 0 and at most 0.5, got {holdout}"):
        load_datalist(tmp_path, "training", holdout)


def test_missing_folder_file_and_listed_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        load_datalist(tmp_path / "nowhere", "training")
    with pytest.raises(FileNotFoundError, match="has no dataset.json"):
        load_datalist(tmp_path, "training")
    folder = make_dataset(tmp_path, {"test": pairs(1)})
    (folder / "l00.nii").unlink()
    with pytest.raises(FileNotFoundError, match="lists l00.nii, but .*l00.nii does not exist"):
        load_datalist(folder, "test")


def test_unreadable_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text("{training: ", encoding="utf-8")
    with pytest.raises(ValueError, match="dataset.json is no readable JSON"):
        load_datalist(tmp_path, "training")


def test_only_the_embedded_folders_are_generated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[Path, str]] = []
    monkeypatch.setattr(datalist, "write_phantom", lambda folder, cohort: made.append((folder, cohort)) or folder)
    default = tmp_path / "data" / "phantom-v1"
    with pytest.raises(
        FileNotFoundError,
        match="typo does not exist; only .*/phantom-v1, .*/phantom-v1-cysts, .*/phantom-v2 are generated",
    ):
        resolve_dataset(tmp_path / "typo", default)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="must be a folder"):
        resolve_dataset(tmp_path / "file", default)
    assert resolve_dataset(tmp_path, default) == str(tmp_path)
    assert made == []
    assert resolve_dataset(f"{tmp_path}/data/./phantom-v1", default) == str(default)
    assert resolve_dataset(default.with_name("phantom-v1-cysts"), default) == str(default) + "-cysts"
    assert made == [(default, "pancreas"), (default.with_name("phantom-v1-cysts"), "cysts")]


def folded(count: int, folds: int) -> list[dict[str, Any]]:
    return [{**pair, "fold": n % folds} for n, pair in enumerate(pairs(count))]


def names(cases: list[dict[str, Any]]) -> list[int]:
    return [int(Path(case["image"]).stem[1:]) for case in cases]


def test_a_fold_is_tested_by_the_others(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path, {"training": folded(12, 4), "test": ["other.nii"]})
    assert names(load_datalist(folder, "test", fold=1)) == [1, 5, 9]
    assert names(load_datalist(folder, "validation", fold=1)) == [6]  # of 0 2 3 4 6 7 8 10 11 the middle
    assert names(load_datalist(folder, "training", fold=1)) == [0, 2, 3, 4, 7, 8, 10, 11]
    assert [Path(case["image"]).name for case in load_datalist(folder, "test")] == ["other.nii"]


def test_cases_of_no_fold_are_always_trained_on(tmp_path: Path) -> None:
    extra = [{**pair, "fold": None} for pair in pairs(3, 20)]
    folder = make_dataset(tmp_path, {"training": [*extra, *folded(12, 4)]})
    for fold, tested, held in ((1, [1, 5, 9], [6]), (3, [3, 7, 11], [5])):
        assert names(load_datalist(folder, "test", fold=fold)) == tested
        assert names(load_datalist(folder, "validation", fold=fold)) == held
        trained = load_datalist(folder, "training", fold=fold)
        assert names(trained) == [n for n in range(12) if n not in (*tested, *held)] + [20, 21, 22]
    assert names(load_datalist(folder, "validation", 0.5)) == [1, 3, 5, 7, 9, 11]
    assert names(load_datalist(folder, "training", 0.5)) == [0, 2, 4, 6, 8, 10, 20, 21, 22]
    with pytest.raises(ValueError, match="has the folds 0, 1, 2, 3, got fold 4"):
        load_datalist(folder, "test", fold=4)


def test_a_given_validation_split_stays_with_folds(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path, {"training": folded(8, 4), "validation": pairs(1, 20)})
    assert names(load_datalist(folder, "training", fold=0)) == [1, 2, 3, 5, 6, 7]
    assert names(load_datalist(folder, "validation", fold=0)) == [20]


@pytest.mark.parametrize(
    ("entries", "fold", "message"),
    [
        (folded(4, 2), 2, "has the folds 0, 1, got fold 2"),
        (pairs(4), 0, "training cases without a fold: make it with python -m c2f_monai prepare"),
        (folded(4, 2), None, "has no key 'test', but folds: say which fold is tested"),
    ],
)
def test_bad_folds_are_named(tmp_path: Path, entries: list[dict[str, Any]], fold: int | None, message: str) -> None:
    folder = make_dataset(tmp_path, {"training": entries})
    with pytest.raises(ValueError, match=message):
        load_datalist(folder, "test", fold=fold)


@pytest.mark.parametrize("split", ["test", "validation"])
def test_a_case_that_is_trained_on_is_not_tested(tmp_path: Path, split: str) -> None:
    folder = make_dataset(tmp_path, {"training": pairs(3), "test": pairs(2, 5), "validation": pairs(2, 7)})
    content = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    (folder / "link.nii").symlink_to(folder / "i01.nii")
    content[split] += [{"image": "./link.nii"}]
    make_dataset(tmp_path, content)
    for asked in ("training", split):
        with pytest.raises(ValueError, match=rf"lists .*i01.nii under training and under '{split}': take 1 cases out"):
            load_datalist(folder, asked)


def of_patients(cases: list[dict[str, Any]], patients: str) -> list[dict[str, Any]]:
    return [{**case, "patient": patient} for case, patient in zip(cases, patients, strict=True)]


def test_all_scans_of_a_patient_are_held_back_together(tmp_path: Path) -> None:
    """Of six patients the second and the fifth, as of six images; a scan that is always trained on is left out, too."""
    extra = [{**pairs(1, 20)[0], "fold": None, "patient": "b"}, {**pairs(1, 21)[0], "fold": None}]
    folder = make_dataset(tmp_path, {"training": [*of_patients(pairs(9), "aabbbcdef"), *extra]})
    assert names(load_datalist(folder, "validation", 0.34)) == [2, 3, 4, 7]
    assert names(load_datalist(folder, "training", 0.34)) == [0, 1, 5, 6, 8, 21]


def test_a_patient_is_not_trained_on_and_tested(tmp_path: Path) -> None:
    content = {"training": of_patients(pairs(3), "abc"), "test": of_patients(pairs(2, 5), "dc")}
    folder = make_dataset(tmp_path, content)
    with pytest.raises(ValueError, match="lists scans of the patients c under training and under 'test': take 1 pati"):
        load_datalist(folder, "training")
    folder = make_dataset(tmp_path, {"training": of_patients(folded(8, 4), "abcdefbg")})
    with pytest.raises(ValueError, match="scans of one patient in several folds: b"):
        load_datalist(folder, "training", fold=0)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"0": "background", "2": "b", "1": "a"}, [0, 1, 2]),
        ({"background": 0, "organ": [1, 2], "cyst": 2}, [0, 1, 2]),
        (None, None),
        ({}, None),
    ],
)
def test_known_labels_are_those_with_a_name(tmp_path: Path, labels: Any, expected: list[int] | None) -> None:
    assert known_labels(make_dataset(tmp_path, {"labels": labels})) == expected


@pytest.mark.parametrize("labels", [["background", "organ"], {"organ": "one"}])
def test_labels_of_another_form_are_refused(tmp_path: Path, labels: Any) -> None:
    with pytest.raises(ValueError, match="dataset.json: labels must be names by value"):
        known_labels(make_dataset(tmp_path, {"labels": labels}))


def test_labels_of_a_data_set_that_is_not_there_yet_are_not_known(tmp_path: Path) -> None:
    assert known_labels(tmp_path) is None and known_labels(tmp_path / "nowhere") is None


def test_cases_of_all_splits_are_listed_and_no_file_is_looked_for(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text(json.dumps({"training": pairs(1), "test": ["a.nii"]}), encoding="utf-8")
    assert cases_by_split(tmp_path) == {
        "training": [{"image": str(tmp_path / "i00.nii"), "label": str(tmp_path / "l00.nii")}],
        "validation": [],
        "test": [{"image": str(tmp_path / "a.nii")}],
    }
    assert cases_by_split(None) == {"training": [], "validation": [], "test": []}


def test_patients_are_read_without_the_spaces_around_them(tmp_path: Path) -> None:
    table = tmp_path / "patients.csv"
    table.write_text("case,patient,age\n a , anna ,40\nb,anna\nother,ben\n", encoding="utf-8")
    assert read_patients(table, ["b", "a"]) == {"b": "anna", "a": "anna"}
    for row in ("c", "c, ", "c,,40"):  # a row may end early
        table.write_text(f"case,patient,age\n{row}\n", encoding="utf-8")
        with pytest.raises(ValueError, match=r"patients.csv names no patient of the case 'c'\."):
            read_patients(table, ["c"])


def test_paths_beside_a_linked_folder_are_those_beside_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "real" / "task").mkdir(parents=True)
    (tmp_path / "real" / "ct.nii.gz").touch()
    (tmp_path / "real" / "task" / "dataset.json").write_text('{"test": ["../ct.nii.gz"]}', encoding="utf-8")
    (tmp_path / "link").symlink_to(tmp_path / "real" / "task")
    (case,) = load_datalist(tmp_path / "link", "test")
    assert Path(case["image"]).samefile(tmp_path / "real" / "ct.nii.gz")


def test_folds_are_numbers(tmp_path: Path) -> None:
    """Some "0" and some 1, as tables give them, have no order."""
    entries = folded(4, 2)
    entries[2]["fold"] = "0"
    folder = make_dataset(tmp_path, {"training": entries})
    with pytest.raises(ValueError, match="the fold of a case must be a whole number or null, got '0' of .*2"):
        load_datalist(folder, "test", fold=0)


def test_an_image_is_trained_on_once(tmp_path: Path) -> None:
    """Two names of one file would be held back and trained on."""
    entries = pairs(4)
    entries.append({**entries[0], "image": f"./{entries[0]['image']}"})
    folder = make_dataset(tmp_path, {"training": entries})
    with pytest.raises(ValueError, match="lists .* several times under training: leave one of them"):
        load_datalist(folder, "validation")
