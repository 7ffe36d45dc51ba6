# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Slabs for training: which slices, in which order, with which margins."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.transforms import Compose, RandAffined, RandGaussianNoised

from c2f_monai.data import CaseSampler, SlabCollate, SlabDataset, draw_margins, slice_threshold
from c2f_monai.data.slab_draws import draw_fallback_box
from c2f_monai.utils import SlabSpec


def make_case(name: str = "a", shape: tuple[int, int, int] = (12, 10, 8), empty: bool = False) -> dict[str, Any]:
    """HU encode the slice along each axis; the target is a box of 4 x 3 x 2 voxels."""
    h, w, d = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    label = np.zeros(shape, dtype=np.uint8)
    if not empty:
        label[4:8, 3:6, 2:4] = 1
    return {"image": name, "label": name, "volume": (h * 100 + w * 10 + d).astype(np.float32), "mask": label}


def read(case: dict[str, Any]) -> dict[str, torch.Tensor]:
    return {"image": torch.from_numpy(case["volume"])[None], "label": torch.from_numpy(case["mask"])[None]}


def make(cases: list[dict[str, Any]] | None = None, **kwargs: Any) -> SlabDataset:
    options: dict[str, Any] = {"min_pixels": 1, "progress": False, "window": (0.0, 2000.0), "margin": 2} | kwargs
    return SlabDataset([make_case()] if cases is None else cases, read, **options)


@pytest.mark.parametrize(
    ("min_pixels", "fraction", "expected"),
    [(100, None, 100), (None, None, 1), (None, 1.0, 5), (None, 0.5, 30), (None, 0.25, 40), (None, 0.01, 40)],
)
def test_slice_threshold(min_pixels: int | None, fraction: float | None, expected: int) -> None:
    counts = [np.array([0, 5, 10, 0]), np.array([30, 40, 0])]  # four slices with target
    assert slice_threshold(counts, min_pixels, fraction) == expected


def test_slice_threshold_refuses_both() -> None:
    with pytest.raises(ValueError, match="not both: got 100 and 0.98"):
        slice_threshold([np.array([1])], 100, 0.98)
    with pytest.raises(ValueError, match=r"fraction must be in \(0, 1\], got 0"):
        slice_threshold([np.array([1])], None, 0.0)
    with pytest.raises(ValueError, match=r"fraction must be in \(0, 1\], got 1.1"):
        slice_threshold([np.array([1])], None, 1.1)


def test_fallback_boxes_are_an_eighth_to_a_half_of_the_slice_anywhere_in_it() -> None:
    rng = np.random.default_rng(0)
    top, left, bottom, right = np.array([draw_fallback_box(rng, (16, 40)) for _ in range(2000)]).T
    assert set(bottom - top) == set(range(2, 9)) and set(right - left) == set(range(5, 21))
    assert (top.min(), left.min(), bottom.max(), right.max()) == (0, 0, 16, 40)
    assert draw_fallback_box(rng, (1, 1)).tolist() == [0, 0, 1, 1]


def test_every_case_once_over_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 3)
    for rank, expected in enumerate(([0, 3, 6], [1, 4], [2, 5])):
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
        assert list(CaseSampler(range(7), "validation")) == expected
    assert list(CaseSampler(range(3), "validation")) == [2]
    with pytest.raises(ValueError, match="validation has 2 cases for 3 processes: start at most 2"):
        CaseSampler(range(2), "validation")


def test_stacks_of_single_slices_have_no_slabs_of_several() -> None:
    case = make_case() | {"slices": True}
    with pytest.raises(ValueError, match="set in_slices and out_slices to 1, got in_slices 3"):
        make([case])
    item = make([case], views=["axial"], slab=SlabSpec(1, 1))[0]
    assert item["image"]["axial"].shape == (1, 12, 10)


def test_cases_without_the_target_give_slabs_without_it() -> None:
    """Hard negatives: slices of volumes that do not show the organ, in which their label is empty."""
    cases = [make_case("organ", (12, 10, 4)), make_case("chest", (12, 10, 60), empty=True)]
    index = make(cases, views=["axial"], slab=SlabSpec(1, 1)).index["axial"]
    assert set(index.positive[:, 0]) == {0}
    assert np.bincount(index.negative[:, 0]).tolist() == [2, 60]


@pytest.mark.parametrize(
    ("min_pixels", "sagittal", "coronal", "axial"),
    [
        (1, [4, 5, 6, 7], [3, 4, 5], [2, 3]),
        (7, None, [3, 4, 5], [2, 3]),  # a sagittal slice has 6 target pixels, a coronal one 8, an axial one 12
    ],
)
def test_eligible_slices_of_each_view(
    min_pixels: int, sagittal: list[int] | None, coronal: list[int], axial: list[int]
) -> None:
    if sagittal is None:
        with pytest.raises(
            ValueError, match=r"no sagittal slice of the 1 training cases has 7 target pixels \(the most is 6"
        ):
            make(min_pixels=min_pixels)
        dataset = make(min_pixels=min_pixels, views=["coronal", "axial"])
    else:
        dataset = make(min_pixels=min_pixels)
        assert dataset.index["sagittal"].positive[:, 1].tolist() == sagittal
    assert dataset.index["coronal"].positive[:, 1].tolist() == coronal
    assert dataset.index["axial"].positive[:, 1].tolist() == axial
    # No slice of a negative slab holds target: 1 and 4 touch the slices 2 and 3.
    assert dataset.index["axial"].negative[:, 1].tolist() == [0, 5, 6, 7]


def test_slab_holds_its_three_slices() -> None:
    dataset = make(views=["coronal"], items_per_epoch=3)
    centers = set()
    for item in (dataset[i] for i in range(3)):
        image = item["image"]["coronal"] * 2000.0  # (3, 12, 8): HU = 100 h + 10 w + d
        assert image.shape == (3, 12, 8)
        center = round(image[1, 0, 0].item() / 10)
        centers.add(center)
        assert image[:, 2, 5].tolist() == pytest.approx([205 + 10 * (center + s) for s in (-1, 0, 1)], abs=1e-3)
        expected = [float(3 <= center + s < 6) * 8 for s in (-1, 0, 1)]  # 4 x 2 pixels in each slice with target
        assert item["label"]["coronal"].sum(dim=(1, 2)).tolist() == expected
    assert centers == {3, 4, 5}  # one pass visits each slice once


def test_passes_cover_all_slices_across_epochs() -> None:
    dataset = make(views=["sagittal"], items_per_epoch=6)  # four slices: 6 items are one and a half passes
    seen = []
    for epoch in (1, 2):
        dataset.set_epoch(epoch)
        seen += [round(dataset[i]["image"]["sagittal"][1, 0, 0].item() * 20) for i in range(6)]
    for start in (0, 4, 8):
        assert sorted(seen[start : start + 4]) == [4, 5, 6, 7]


def assert_same(a: Any, b: Any) -> None:
    for key in a:
        for view in a[key]:
            assert torch.equal(a[key][view], b[key][view]), (key, view)


def augmentation() -> Compose:
    return Compose(
        [
            RandAffined(
                ["image", "label"], prob=0.9, rotate_range=0.3, mode=["bilinear", "nearest"], padding_mode="zeros"
            ),
            RandGaussianNoised("image", prob=0.9, std=0.1),
        ]
    )


def test_draws_depend_on_seed_epoch_and_index_only() -> None:
    options: dict[str, Any] = {
        "augmentation": augmentation(),
        "negative_fraction": 0.3,
        "rounds": 2,
        "items_per_epoch": 9,
    }
    one, two = make(**options), make(**(options | {"augmentation": augmentation(), "views": ["axial"]}))
    for dataset in (one, two):
        dataset.set_epoch(3)
    item = one[5]
    for i in (0, 7, 2):
        two[i]
    np.random.rand(3)
    torch.rand(3)
    again = two[5]  # after other items, other random numbers, and without the other views
    assert_same({key: {"axial": item[key]["axial"]} for key in item}, again)
    one.set_epoch(4)
    changed = one[5]
    assert any(not torch.equal(item["margins"][view], changed["margins"][view]) for view in item["margins"])
    other = make(**options, seed=1)
    other.set_epoch(3)
    assert not torch.equal(other[5]["image"]["axial"], item["image"]["axial"])


def test_augmented_labels_stay_binary_and_images_in_range() -> None:
    dataset = make(augmentation=augmentation(), items_per_epoch=6)
    for i in range(6):
        item = dataset[i]
        for view in item["image"]:
            assert set(item["label"][view].unique().tolist()) <= {0.0, 1.0}
            assert 0.0 <= item["image"][view].min() and item["image"][view].max() <= 1.0
            assert type(item["image"][view]) is torch.Tensor


def test_negative_fraction() -> None:
    dataset = make(negative_fraction=0.5, items_per_epoch=200, views=["axial"])
    empty = sum(not dataset[i]["label"]["axial"].any() for i in range(200))
    assert 80 <= empty <= 120
    assert all(dataset[i]["label"]["axial"].any() for dataset in [make(items_per_epoch=20)] for i in range(20))


@pytest.mark.parametrize(
    ("margin", "maximum", "fixed", "allowed"),
    [(20, None, 0.5, range(41)), (30, 60, 0.0, range(61)), (20, None, 1.0, [20]), (0, None, 0.0, [0])],
)
def test_margins(margin: int, maximum: int | None, fixed: float, allowed: Any) -> None:
    rng = np.random.default_rng(0)
    drawn = draw_margins(rng, 2000, margin, maximum, fixed)
    assert drawn.shape == (2000, 4)
    assert set(np.unique(drawn)) == set(allowed)
    constant = (drawn == margin).all(axis=1).mean()
    assert constant == pytest.approx(1.0 if len(list(allowed)) == 1 else fixed, abs=0.04)


def test_collate_places_slabs_on_a_canvas() -> None:
    cases = [make_case("a"), make_case("b", (20, 10, 8))]
    dataset = make(cases, views=["axial"], items_per_epoch=4)
    items = [dataset[i] for i in range(4)]
    batch = SlabCollate(16)(items)
    assert batch["image"]["axial"].shape == (4, 3, 32, 16)
    assert sorted(batch["size"]["axial"][:, 0].tolist()) == [12, 12, 20, 20]
    for row, item in enumerate(items):
        h, w = batch["size"]["axial"][row].tolist()
        assert torch.equal(batch["image"]["axial"][row, :, :h, :w], item["image"]["axial"])
        assert batch["image"]["axial"][row, :, h:].sum() == 0 and batch["label"]["axial"][row, :, :, w:].sum() == 0


def broken_shape() -> dict[str, Any]:
    return make_case("bad.nii.gz") | {"mask": np.zeros((12, 10, 9), dtype=np.uint8)}


@pytest.mark.parametrize(
    ("cases", "kwargs", "message"),
    [
        ([], {}, "no training cases"),
        ([make_case(), broken_shape()], {}, r"bad\.nii\.gz: the image has shape \(12, 10, 8\)"),
        ([make_case("c1", empty=True)], {}, r"no label of the 1 training cases \(first: c1\) has any foreground"),
        (None, {"negative_fraction": 1.5}, r"negative_fraction must be in \[0, 1\], got 1.5"),
        (None, {"margin": -1}, "margins must not be negative, got margin -1"),
        (None, {"window": (3.0, 1.0)}, "window must be two increasing"),
    ],
)
def test_bad_input_is_refused(cases: list | None, kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(cases, **kwargs)


@pytest.mark.parametrize("slab", [SlabSpec(3, 3), SlabSpec(1, 1), SlabSpec(5, 3)], ids=str)
def test_slabs_are_cut_as_the_weights_expect(slab: SlabSpec) -> None:
    """Axial slices from the head down, rows to the back, columns to the left, against those of the RAS volume."""
    codes = {"axial": "IPL", "sagittal": "RAS"}
    options: dict[str, Any] = {"views": ["sagittal", "axial"], "slab": slab, "items_per_epoch": 3}
    plain, turned = make(**options), make(**options, slice_axcodes=codes)
    for index in range(3):
        before, after = plain[index], turned[index]
        for key in ("image", "label"):
            assert torch.equal(after[key]["sagittal"], before[key]["sagittal"])
            # (s, R, A) -> (s, A, R), then each axis the other way round
            expected = before[key]["axial"].transpose(1, 2).flip(0, 1, 2)
            assert torch.equal(after[key]["axial"], expected)
        assert after["image"]["axial"].shape == (slab.in_slices, 10, 12)


def test_slice_axcodes_name_every_view() -> None:
    with pytest.raises(ValueError, match=r"must name every view, \['sagittal', 'coronal'\] are not in"):
        make(slice_axcodes={"axial": "SPL"})


def test_margins_of_whole_slices_reach_over_them_and_leave_the_other_draws() -> None:
    whole, boxes = (make(margin=margin, rounds=2, negative_fraction=0.5) for margin in (None, 2))
    for index in range(4):
        found, other = whole[index], boxes[index]
        for view, image in found["image"].items():
            assert torch.equal(image, other["image"][view])
            assert torch.equal(found["fallback"][view], other["fallback"][view])
            assert found["margins"][view].shape == (2, 4)
            assert (found["margins"][view] == max(image.shape[-2:])).all()
