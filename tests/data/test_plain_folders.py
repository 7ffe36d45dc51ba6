# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Folders called as BTCV, AMOS, nnU-Net and TotalSegmentator call them."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from c2f_monai.data.folder_pairs import find_folder_cases, natural_order
from c2f_monai.data.plain_folders import join_masks, list_folder_cases, parse_names
from tests.bundle.volumes import write_nifti

SHAPE = (3, 4, 5)


def volumes(root: Path, *names: str, shape: tuple[int, ...] = SHAPE) -> Path:
    for name in names:
        path = root / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_nifti(path, np.zeros(shape, np.uint8))
    return root


@pytest.mark.parametrize(
    ("image", "label", "layout"),
    [
        ("amos_{}", "amos_{}", "amos"),
        ("img{}", "label{}", "btcv"),
        ("case_{}_0000", "case_{}", "nnunet"),
        ("s{}/ct", "s{}/segmentations/pancreas", "totalsegmentator"),
        ("s{}", "s{}/pancreas", "masks"),
        ("s{}/scan", "truth-{}", ("s{case}/scan", "truth-{case}")),
    ],
)
def test_known_layouts_pair_images_and_labels(
    tmp_path: Path, image: str, label: str, layout: str | tuple[str, str]
) -> None:
    images = volumes(tmp_path / "i", *(image.format(n) for n in ("0001", "0002", "0010")))
    labels = volumes(tmp_path / "l", *(label.format(n) for n in ("0001", "0010", "0011")))
    for chosen in (layout,) if isinstance(layout, tuple) else (layout, None):
        cases = find_folder_cases(images, labels, ["pancreas"], chosen)
        assert len(cases.labels) == 2 and len(cases.unlabeled) == len(cases.strangers) == 1
        for case, path in cases.labels.items():
            found = path["pancreas"] if isinstance(path, dict) else path
            number = case[-4:]
            assert found == labels / f"{label.format(number)}.nii.gz"
            assert cases.images[case] == images / f"{image.format(number)}.nii.gz"


def test_images_and_masks_may_share_a_folder(tmp_path: Path) -> None:
    root = volumes(tmp_path, *(f"s{n}/ct" for n in (1, 2)), *(f"s{n}/segmentations/{o}" for n in (1, 2) for o in "ab"))
    assert {c: sorted(m) for c, m in find_folder_cases(root, root, ["a", "b"]).labels.items()} == {
        "s1": ["a", "b"],
        "s2": ["a", "b"],
    }
    (root / "s2" / "segmentations" / "b.nii.gz").unlink()
    cases = find_folder_cases(root, root, ["a", "b"])
    assert (list(cases.labels), cases.unlabeled) == (["s1"], ["s2"])


def test_cases_behind_links_are_found_once(tmp_path: Path) -> None:
    names = [f"s{n}/{what}" for n in (1, 2) for what in ("ct", "segmentations/a")]
    root, elsewhere = volumes(tmp_path / "root", *names[:2]), volumes(tmp_path / "elsewhere", *names[2:])
    (root / "s2").symlink_to(elsewhere / "s2")
    (root / "again").symlink_to(root / "s1")
    (root / "s1" / "cycle").symlink_to(root)
    (elsewhere / "s2" / "cycle").symlink_to(elsewhere)
    (root / "nothing").symlink_to(tmp_path / "nothing")
    cases = find_folder_cases(root, root, ["a"])
    assert sorted(cases.images) == sorted(cases.labels) == ["s1", "s2"]


def test_masks_are_not_joined_beside_themselves(tmp_path: Path) -> None:
    """The next run would take the joined ones for the user's."""
    images, labels = volumes(tmp_path / "i", "s1"), volumes(tmp_path / "labels", "s1/a")
    cases = find_folder_cases(images, labels, ["a"])
    with pytest.raises(ValueError, match="results would be written to .*labels, but .*a.nii.gz is read there"):
        list_folder_cases(cases, {1: "a"}, tmp_path, progress=False)
    assert [path.name for path in labels.iterdir()] == ["s1"]


def test_an_image_is_not_its_own_label(tmp_path: Path) -> None:
    root = volumes(tmp_path, "a", "b")
    with pytest.raises(ValueError, match="no image in .* has a label .* --image-pattern and --label-pattern"):
        find_folder_cases(root, root, ["pancreas"])


@pytest.mark.parametrize("doubled", ["i/c1", "l/c1/organ"])
def test_a_file_of_a_case_that_is_there_twice_is_refused(tmp_path: Path, doubled: str) -> None:
    images, labels = volumes(tmp_path / "i", "c1", "c2", "c3"), volumes(tmp_path / "l", "c1/organ", "c2/organ")
    for place in (images / "c3.nii", labels / "c1" / "other.nii", labels / "c1" / "other.nii.gz"):
        write_nifti(place, np.ones(SHAPE, np.uint8))  # of no pair: does not matter
    assert sorted(find_folder_cases(images, labels, ["organ"]).labels) == ["c1", "c2"]
    write_nifti(tmp_path / f"{doubled}.nii", np.ones(SHAPE, np.uint8))
    with pytest.raises(ValueError, match=f"{doubled}.nii and .*{doubled}.nii.gz both belong to the case c1: take one"):
        find_folder_cases(images, labels, ["organ"])


def test_masks_are_joined_and_the_later_organ_wins(tmp_path: Path) -> None:
    affine = np.diag([-1.0, 2.0, 3.0, 1.0])
    masks = {}
    for name, part in (("organ", slice(0, 3)), ("mass", slice(2, 4))):
        array = np.zeros(SHAPE, np.uint8)
        array[:, part] = 1
        masks[name] = write_nifti(tmp_path / f"{name}.nii.gz", array, affine)
    assert join_masks(masks, {3: "organ", 7: "mass"}, tmp_path / "joined.nii.gz") == 15
    joined = nib.load(tmp_path / "joined.nii.gz")
    assert np.asarray(joined.dataobj)[0, :, 0].tolist() == [3, 3, 7, 7]
    np.testing.assert_array_equal(joined.affine, affine)
    write_nifti(masks["mass"], np.zeros((3, 4, 6), np.uint8), affine)
    with pytest.raises(ValueError, match=r"mass.nii.gz and .*organ.nii.gz lie on different grids"):
        join_masks(masks, {3: "organ", 7: "mass"}, tmp_path / "again.nii.gz")
    assert not (tmp_path / "again.nii.gz").exists()


def test_entries_are_in_the_natural_order_of_the_cases(tmp_path: Path) -> None:
    images, labels = volumes(tmp_path / "i", "c10", "c2"), volumes(tmp_path / "l", "c10", "c2")
    entries, overlap = list_folder_cases(find_folder_cases(images, labels, []), {1: "x"}, tmp_path, progress=False)
    assert [Path(entry["label"]).name for entry in entries] == ["c2.nii.gz", "c10.nii.gz"] and overlap == 0
    volumes(labels, "c2", shape=(3, 4, 6))
    with pytest.raises(ValueError, match=r"l/c2.nii.gz has the shape \(3, 4, 6\), but its image"):
        list_folder_cases(find_folder_cases(images, labels, []), {1: "x"}, tmp_path, progress=False)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [(["a", "b"], {1: "a", 2: "b"}), (["pancreas=10"], {10: "pancreas"}), (["a=4", "b"], {4: "a", 2: "b"})],
)
def test_names_carry_values(texts: list[str], expected: dict[int, str]) -> None:
    assert parse_names(texts) == expected


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["=3"], "must look like pancreas or pancreas=10"),
        (["a=0"], r"\(1 to 255\), got 'a=0'"),
        (["a=b"], "got 'a=b'"),
        (["a=²"], "got 'a=²'"),
        (["a", "b=1"], "'b=1' is given twice, or its value 1"),
        (["a", "a"], "'a' is given twice"),
    ],
)
def test_bad_names_are_refused(texts: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_names(texts)


@pytest.mark.parametrize(
    ("layout", "message"),
    [("dicom", "layout must be one of amos, btcv"), (("img", "{case}"), "a pattern needs {case} once.*'img'")],
)
def test_bad_layouts_are_refused(tmp_path: Path, layout: str | tuple[str, str], message: str) -> None:
    volumes(tmp_path, "a")
    with pytest.raises(ValueError, match=message):
        find_folder_cases(tmp_path, tmp_path, [], layout)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        find_folder_cases(tmp_path / "none", tmp_path, [])


def test_cases_are_listed_by_their_numbers() -> None:
    """Digits that are no decimal ones, such as a raised 2, are letters."""
    assert sorted(["c10", "c2", "c1²", "c1"], key=natural_order) == ["c1", "c1²", "c2", "c10"]
