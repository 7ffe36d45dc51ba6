# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A data set of synthetic CT: anatomies apart by split, the same voxels by seed, bad input before work."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from c2f_monai.apps.cli import main
from c2f_monai.data import synthetic_volumes
from c2f_monai.data.anatomies import (
    BODY,
    Anatomy,
    body_by_hu,
    body_by_labels,
    deform,
    find_anatomies,
    read_names,
    tissues_of,
)
from c2f_monai.data.datalist import label_names, load_datalist
from c2f_monai.data.synthetic import draw_volume
from c2f_monai.data.synthetic_volumes import TargetLostError
from c2f_monai.transforms import TISSUES

NAMES = {2: "liver", 5: "pancreas", 9: "vertebrae_L1"}
SHAPE, STEP = (40, 36, 30), 4.0


def _labels(shift: int = 0) -> np.ndarray:
    """A liver, a pancreas and a spine."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[4:14, 12:28, 8:24] = 2
    labels[18:28, 18:23, 13 + shift : 18 + shift] = 5
    labels[18:24, 4:10, :] = 9
    return labels


def _write(path: Path, volume: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(volume, np.diag([STEP, STEP, STEP, 1.0])), path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(3):
        _write(tmp_path / "maps" / f"map{number}.nii.gz", _labels(number))
    (tmp_path / "names.txt").write_text("".join(f"{value} {name}\n" for value, name in NAMES.items()))
    return tmp_path


def _prepare(folder: Path, *words: str, output: str = "out") -> int:
    given = ["--labels", str(folder / "maps"), "--names", str(folder / "names.txt"), "--output", str(folder / output)]
    return main(["prepare", "synthetic", *given, "--spacing", "5", "--extent", "80", *words])


def test_a_data_set_keeps_anatomies_apart(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--count", "3", "--validation", "map1", "--validation-count", "2", "--label-value", "7")
    assert _prepare(folder, *words) == 0
    assert capsys.readouterr().out.splitlines() == [
        "3 volumes of 2 label maps to train on",
        "2 volumes of 1 others to validate on",
        "labels: 7 pancreas",
        str(folder / "out" / "dataset.json"),
    ]
    content = json.loads((folder / "out" / "dataset.json").read_text(encoding="utf-8"))
    assert content["labels"] == {"0": "background", "7": "pancreas"}
    assert content["training"][0]["image"] == "images/synthetic_training_000.nii.gz"
    training, validation = (load_datalist(folder / "out", split) for split in ("training", "validation"))
    assert [case["anatomy"] for case in training] == ["map0", "map2", "map0"]
    assert [case["anatomy"] for case in validation] == ["map1", "map1"]
    seen = []
    for case in [*training, *validation]:
        image, label = (nib.load(case[key]) for key in ("image", "label"))
        assert image.shape == label.shape == (32, 29, 16)
        np.testing.assert_array_equal(image.affine, label.affine)
        assert image.header.get_zooms() == (5.0, 5.0, 5.0)
        assert (image.get_data_dtype(), label.get_data_dtype()) == (np.int16, np.uint8)
        voxels = np.asarray(label.dataobj)
        assert set(np.unique(voxels)) == {0, 7}
        # 10 x 5 x 5 voxels of 4 mm are 16 ml; sizes vary by 15 % along each axis, and small ones lose their corners.
        assert 7.0 < (voxels > 0).sum() * 0.125 < 26.0
        seen.append(np.asarray(image.dataobj).tobytes())
    assert len(set(seen)) == 5


def test_each_nth_slice_is_one_of_a_stack(folder: Path) -> None:
    assert _prepare(folder, "--count", "2", output="volumes") == 0
    assert _prepare(folder, "--count", "2", "--every", "5", "--add-to", str(folder / "volumes"), output="stacks") == 0
    volumes, stacks = (load_datalist(folder / name, "training", holdout=0) for name in ("volumes", "stacks"))
    assert [case["image"] for case in stacks[:2]] == [case["image"] for case in volumes]
    assert [(case["slices"], case["slice_numbers"]) for case in stacks[2:]] == [(True, [0, 5, 10, 15])] * 2
    for whole, stack in zip(volumes, stacks[2:], strict=True):
        for key in ("image", "label"):
            voxels, thin = nib.load(whole[key]), nib.load(stack[key])
            np.testing.assert_array_equal(np.asarray(voxels.dataobj)[..., ::5], thin.dataobj)
            assert thin.header.get_zooms() == (5.0, 5.0, 1.0)
            assert nib.aff2axcodes(thin.affine) == ("R", "A", "S")


def test_a_stack_shows_the_target_that_its_volume_holds(folder: Path) -> None:
    """Slices 0 and 15 of the volume are none of the target's, 7 to 10."""
    words = ("--count", "1", "--labels", str(folder / "maps" / "map0.nii.gz"))
    assert _prepare(folder, *words, output="volumes") == 0
    assert _prepare(folder, *words, "--every", "15", output="stacks") == 0
    (whole,), (stack,) = (load_datalist(folder / name, "training", holdout=0) for name in ("volumes", "stacks"))
    assert stack["slice_numbers"] == [9] and stack["seed"] == whole["seed"]
    assert np.asarray(nib.load(stack["label"]).dataobj).any()
    for key in ("image", "label"):
        voxels, thin = (np.asarray(nib.load(case[key]).dataobj) for case in (whole, stack))
        np.testing.assert_array_equal(voxels[..., 9::15], thin)


def _tiny(*voxels: tuple[int, int, int]) -> np.ndarray:
    """The map with a target of single voxels."""
    labels = np.where(_labels() == 5, 0, _labels()).astype(np.uint8)
    labels[tuple(np.transpose(voxels))] = 5
    return labels


def test_a_target_that_a_deformation_loses_is_drawn_again(folder: Path) -> None:
    """By the next seed; the others' volumes stay as they were."""
    path = _write(folder / "tiny" / "map0.nii.gz", _tiny((21, 19, 13)))
    assert _prepare(folder, "--count", "2", "--labels", str(path), "--spacing", "2") == 0
    first, second = load_datalist(folder / "out", "training", holdout=0)
    usual = [zlib.crc32(f"0 training {number} map0".encode()) >> 1 for number in (0, 1)]
    assert first["seed"] == usual[0] and second["seed"] != usual[1]
    with pytest.raises(TargetLostError, match=rf"map0.nii.gz: a draw of the seed {usual[1]} has lost the target"):
        draw_volume(Anatomy("map0", path), NAMES, 5, usual[1], 2.0, 80.0)
    for case in (first, second):
        image, label, _ = draw_volume(Anatomy("map0", path), NAMES, 5, case["seed"], 2.0, 80.0)
        np.testing.assert_array_equal(image, nib.load(case["image"]).dataobj)
        np.testing.assert_array_equal(label, nib.load(case["label"]).dataobj)
        assert label.any()


@pytest.mark.parametrize("left", [5, 0])
def test_a_target_that_every_draw_loses_is_told_so(
    left: int, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the voxels of the volume, or already of the deformed map."""
    seeds = []

    def undeformed(labels: np.ndarray, seed: int) -> np.ndarray:
        seeds.append(seed)
        return np.where(labels == 5, left, labels).astype(np.uint8)

    monkeypatch.setattr(synthetic_volumes, "deform", undeformed)
    path = _write(folder / "tiny" / "map0.nii.gz", _tiny((21, 19, 13)))
    assert _prepare(folder, "--count", "1", "--labels", str(path), "--spacing", "10") == 1
    assert "map0.nii.gz: each of 10 draws has lost the target" in capsys.readouterr().err
    assert len(set(seeds)) == 10
    assert not (folder / "out").exists()


def test_the_same_seed_gives_the_same_voxels_and_longer_data_sets_begin_alike(folder: Path) -> None:
    def voxels(output: str) -> list[bytes]:
        images = sorted((folder / output / "images").iterdir())
        return [np.asarray(nib.load(image).dataobj).tobytes() for image in images]

    for output, words in (("a", ("--count", "2")), ("b", ("--count", "1")), ("c", ("--count", "1", "--seed", "4"))):
        assert _prepare(folder, *words, output=output) == 0
    first, shorter, other = (voxels(output) for output in "abc")
    assert first[0] == shorter[0] and first[0] != other[0]


def test_cases_of_another_data_set_are_listed_too(folder: Path) -> None:
    assert _prepare(folder, "--count", "1", "--validation", "map1", "--validation-count", "1", output="a") == 0
    words = ("--count", "2", "--seed", "1", "--add-to", str(folder / "a"))
    assert _prepare(folder, *words, output="b") == 0
    assert [Path(c["image"]).parents[1].name for c in load_datalist(folder / "b", "training")] == ["a", "b", "b"]
    assert [Path(c["image"]).parents[1].name for c in load_datalist(folder / "b", "validation")] == ["a"]
    assert _prepare(folder, *words, "--label-value", "3", output="c") == 1
    assert not (folder / "c").exists()


def test_beside_cases_of_folds_they_are_trained_on_in_each(folder: Path) -> None:
    assert _prepare(folder, "--count", "4", output="folds") == 0
    path = folder / "folds" / "dataset.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    for number, case in enumerate(content["training"]):
        case["fold"] = number % 2
    path.write_text(json.dumps(content), encoding="utf-8")
    assert _prepare(folder, "--count", "1", "--add-to", str(folder / "folds")) == 0
    for fold in (0, 1):
        training, test = (load_datalist(folder / "out", split, holdout=0, fold=fold) for split in ("training", "test"))
        assert (len(training), len(test)) == (3, 2) and training[2]["fold"] is None


def test_labels_of_the_other_data_set_stay_known(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Else training refuses its cases for values without a name."""
    (folder / "base").mkdir()
    content = {"name": "base", "labels": {"0": "background", "2": "cyst", "7": "pancreas"}, "training": []}
    (folder / "base" / "dataset.json").write_text(json.dumps(content))
    assert _prepare(folder, "--count", "1", "--label-value", "7", "--add-to", str(folder / "base")) == 0
    assert "labels: 2 cyst, 7 pancreas" in capsys.readouterr().out.splitlines()
    assert label_names(folder / "out") == {0: "background", 2: "cyst", 7: "pancreas"}


def test_orientation_of_a_label_map_makes_no_difference(folder: Path) -> None:
    turned = nib.load(folder / "maps" / "map0.nii.gz").slicer[::-1, :, ::-1]
    nib.save(turned, folder / "turned.nii.gz")
    drawn = [
        draw_volume(Anatomy("a", path), NAMES, 5, seed=3, spacing=5.0, extent=80.0)
        for path in (folder / "maps" / "map0.nii.gz", folder / "turned.nii.gz")
    ]
    for first, second in zip(*drawn, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--count", "0"), "--count must be at least 1, got 0"),
        (("--count", "1", "--spacing", "nan"), "--spacing must be at least 0.5, got nan"),
        (("--count", "1", "--spacing", "11"), "--spacing must be at most 10, got 11"),
        (("--count", "1", "--extent", "nan"), "--extent must be at least 40, got nan"),
        (("--count", "1", "--extent", "inf"), "--extent must be at most 3000, got inf"),
        (("--count", "1", "--every", "0"), "--every must be at least 1, got 0"),
        (("--count", "1", "--every", "17"), "--every must be at most 16, got 17"),
        (("--count", "1", "--target", "spleen"), "got 'spleen'"),
        (("--count", "1", "--validation", "map7"), "--validation must name label maps, map0, map1, map2, got 'map7'"),
        (("--count", "1", "--validation", "map0", "map1", "map2"), "leave one to train on"),
        (("--count", "1", "--label-value", "256"), "--label-value must be at most 255, got 256"),
        (("--count", "1", "--images", "nowhere"), "there is no folder nowhere"),
        (("--count", "1", "--labels", "nowhere"), "there is no label map or folder nowhere"),
        (("--count", "1", "--add-to", "nowhere"), "nowhere does not exist"),
    ],
)
def test_bad_options_are_refused_before_anything_is_drawn(
    words: tuple[str, ...], error: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _prepare(folder, *words) == 1
    assert error in capsys.readouterr().err
    assert not (folder / "out").exists()


def test_an_extent_of_less_than_two_slices_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Slices are those across the body, along whichever axis of the file."""
    affine = np.array([[0.0, 4.0, 0.0, 0.0], [0.0, 0.0, 4.0, 0.0], [-9.9, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    path = folder / "maps" / "thick.nii.gz"
    nib.save(nib.Nifti1Image(_labels().transpose(2, 0, 1), affine), path)
    small = ("--count", "1", "--spacing", "0.5", "--extent")
    assert _prepare(folder, *small, "4", "--labels", str(path)) == 1
    assert f"span two slices or more of {path}, which are 9.9 mm apart, got 4 mm" in capsys.readouterr().err
    assert not (folder / "out").exists()
    with pytest.raises(ValueError, match="two slices or more"):
        draw_volume(Anatomy("thick", path), NAMES, 5, 0, 0.5, 4.0)
    assert draw_volume(Anatomy("thick", path), NAMES, 5, 0, 4.0, 20.0)[1].any()


def test_two_label_values_of_the_name_of_the_target_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both would look like it, and one of them be labeled."""
    (folder / "names.txt").write_text("2 pancreas\n5 pancreas\n9 spine\n")
    assert _prepare(folder, "--count", "1") == 1
    error = capsys.readouterr().err
    assert "names.txt gives the name of the --target, pancreas, to the label values 2 and 5" in error
    assert "give the others other names" in error
    assert not (folder / "out").exists()


def test_a_data_set_is_not_added_to_itself(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its cases would be listed twice, the drawn ones and those of the same files."""
    assert _prepare(folder, "--count", "1") == 0
    before = (folder / "out" / "dataset.json").read_text(encoding="utf-8")
    assert _prepare(folder, "--count", "1", "--add-to", str(folder / "out")) == 1
    assert "is the --output, whose volumes are drawn again" in capsys.readouterr().err
    assert (folder / "out" / "dataset.json").read_text(encoding="utf-8") == before


def test_a_run_that_stops_leaves_no_description_of_an_earlier_one(folder: Path) -> None:
    assert _prepare(folder, "--count", "2") == 0
    _write(folder / "maps" / "map1.nii.gz", np.where(_labels() == 5, 0, _labels()).astype(np.uint8))
    assert _prepare(folder, "--count", "2", "--seed", "1") == 1  # after a volume of the other seed
    assert not (folder / "out" / "dataset.json").exists()


@pytest.mark.parametrize("option", ["labels", "one file", "link", "images"])
def test_no_volume_is_written_to_where_anatomies_are_read(
    option: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The next run would draw from it, and train on what was held out."""
    (folder / "work").mkdir()
    (folder / "maps").rename(folder / "work" / ("images" if option == "images" else "labels"))
    (folder / "link").symlink_to(folder / "work")
    (folder / "maps").symlink_to(folder / "work" / ("images" if option == "images" else "labels"))
    before = sorted(folder.rglob("*"))
    words = ("--images", str(folder / "maps")) if option == "images" else ()
    if option == "one file":
        words = ("--labels", str(folder / "maps" / "map1.nii.gz"))
    assert _prepare(folder, "--count", "1", *words, output="link" if option == "link" else "work") == 1
    assert "is read: choose another --output" in capsys.readouterr().err
    assert sorted(folder.rglob("*")) == before
    assert _prepare(folder, "--count", "1", output="work/synthetic") == 0


def test_bad_label_maps_leave_no_data_set(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write(folder / "maps" / "map0.nii.gz", np.where(_labels() == 5, 0, _labels()).astype(np.uint8))
    assert _prepare(folder, "--count", "1") == 1
    assert "does not hold the target" in capsys.readouterr().err
    (folder / "names.txt").write_text("5 pancreas\n2 liver\n")
    assert _prepare(folder, "--count", "2", "--labels", str(folder / "maps" / "map1.nii.gz")) == 1
    assert "holds the label values 9, which have no name" in capsys.readouterr().err
    # 258 is not 2, liver.
    _write(folder / "maps" / "map1.nii.gz", np.where(_labels() == 9, np.int16(258), _labels()))
    assert _prepare(folder, "--count", "2", "--labels", str(folder / "maps" / "map1.nii.gz")) == 1
    assert "holds the label values 258, which have no name" in capsys.readouterr().err
    # Rounded, the second is a label map.
    for fractions, error in (
        (np.linspace(0.0, 1.0, _labels().size).reshape(SHAPE), "from 0 to 1: is it an image?"),
        (np.where(_labels() == 5, 4.75, _labels()), "holds 4.75 in 250 voxels: labels are whole"),
    ):
        path = _write(folder / "maps" / "map1.nii.gz", fractions.astype(np.float32))
        assert _prepare(folder, "--count", "2", "--labels", str(path)) == 1
        told = capsys.readouterr().err
        assert str(path) in told and error in told
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("text", "error"),
    [("pancreas 5\n", "must look like"), ("300 liver\n", "1 to 255"), ("5 a\n5 b\n", "5 twice"), ("\n", "no label")],
)
def test_bad_tables_of_names_are_refused(text: str, error: str, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text(text)
    with pytest.raises(ValueError, match=error):
        read_names(tmp_path / "names.txt")


def test_a_table_of_names_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("50 pancreas\n", encoding="utf-8-sig")
    assert read_names(tmp_path / "names.txt") == {50: "pancreas"}


def test_label_maps_have_names_and_scans_of_their_own(folder: Path) -> None:
    assert [anatomy.name for anatomy in find_anatomies([folder / "maps"])] == ["map0", "map1", "map2"]
    with pytest.raises(ValueError, match="have one name"):
        find_anatomies([folder / "maps", folder / "maps" / "map1.nii.gz"])
    _write(folder / "cts" / "map0.nii.gz", np.zeros((4, 4, 4), np.int16))
    with pytest.raises(ValueError, match="has the shape"):
        find_anatomies([folder / "maps" / "map0.nii.gz"], folder / "cts")
    with pytest.raises(FileNotFoundError, match="holds no CT of the label map map1"):
        find_anatomies([folder / "maps" / "map1.nii.gz"], folder / "cts")


def test_a_body_is_filled_around_its_organs() -> None:
    labels = _labels()
    tissues, added = tissues_of(NAMES)
    body = body_by_labels(labels, (STEP,) * 3, added, np.random.default_rng(0))
    np.testing.assert_array_equal(body[labels > 0], labels[labels > 0])
    assert set(np.unique(body)) == {0, 2, 5, 9, added["fat"], added["muscle"]}
    assert tissues[int(body[20, 14, 15])] == "fat"  # between the spine and the pancreas
    assert tissues[int(body[39, 35, 15])] == "air"
    # From the front, beside the liver: air, fat beneath the skin, the wall, fat.
    ray = [tissues[int(body[16, j, 15])] for j in range(35, 12, -1)]
    assert [t for place, t in enumerate(ray) if place == 0 or t != ray[place - 1]] == ["air", "fat", "muscle", "fat"]


def test_hu_tell_what_is_not_labeled() -> None:
    image = np.full(SHAPE, -1000, np.int16)
    image[4:36, 4:32] = -100  # fat
    image[8:32, 8:28] = 50
    image[14:20, 14:20, 10:20] = -800  # gas in the body
    image[22:27, 14:19] = 300
    labels = np.zeros(SHAPE, np.uint8)
    labels[28:30, 10:26] = 5
    tissues, added = tissues_of(NAMES)
    body = body_by_hu(labels, image, added)
    places = {(0, 0, 5): "air", (5, 15, 5): "fat", (10, 10, 5): "soft tissue", (16, 16, 15): "gas", (24, 16, 5): "bone"}
    assert {place: tissues[int(body[place])] for place in places} == places
    np.testing.assert_array_equal(body == 5, labels == 5)


def test_a_deformed_map_holds_nothing_new_and_moves_by_its_bounds() -> None:
    labels = _labels()
    bent = deform(labels, seed=1)
    assert set(np.unique(bent)) <= set(np.unique(labels)) and not np.array_equal(bent, labels)
    np.testing.assert_array_equal(bent, deform(labels, seed=1))
    np.testing.assert_array_equal(deform(labels, seed=1, rotation=0.0, scale=0.0, bend=0.0), labels)
    moved = np.argwhere(bent == 5).mean(0) - np.argwhere(labels == 5).mean(0)
    assert np.abs(moved).max() < 6.0  # voxels


def test_label_values_must_leave_room_for_the_body() -> None:
    with pytest.raises(ValueError, match=f"must leave {len(BODY)} of 255 for the body, but the largest is 250"):
        tissues_of({250: "liver"})


def test_the_measured_tissues_lie_in_the_ranges(project_root: Path) -> None:
    """What real CT showed can be drawn."""
    path = project_root / "docs" / "results" / "real" / "tissues.json"
    measured: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["tissues"]
    for name, tissue in (("pancreas", "pancreas"), ("fat", "fat"), ("soft tissue around", "bowel")):
        low, high = TISSUES[tissue].mean
        assert low <= measured[name]["mean"]["5"] <= measured[name]["mean"]["50"] <= high
