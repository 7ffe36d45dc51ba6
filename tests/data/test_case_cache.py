# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Validation cases from the disk are those that were read, may be inverted, and are made again when files change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd

from c2f_monai.data import CachedCases, case_cache, labeled_preprocessing
from c2f_monai.inferers.records import is_stack
from tests.bundle.volumes import make_volume, write_nifti
from tests.data.test_disk_cache import write_cases

PIXDIM = [1.5, 2.0, 3.0]


def preprocessing() -> Compose:
    return labeled_preprocessing(1, pixdim=PIXDIM, keep_label=True)


def dataset(cases: list[dict[str, str]], folder: Path | None, **options: Any) -> CachedCases:
    return CachedCases(cases, preprocessing(), folder, progress=False, **options)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Cases that were preprocessed: CacheDataset's own way."""
    made: list[int] = []
    original = case_cache.CacheDataset._load_cache_item

    def noted(self: Any, idx: int) -> Any:
        made.append(idx)
        return original(self, idx)

    monkeypatch.setattr(case_cache.CacheDataset, "_load_cache_item", noted)
    return made


@pytest.mark.parametrize("rate", [1.0, 0.5, 0.0])
def test_the_second_start_reads_what_the_first_has_made(tmp_path: Path, reads: list[int], rate: float) -> None:
    cases = write_cases(tmp_path)
    memory = dataset(cases, None)
    reads.clear()
    first = dataset(cases, tmp_path / "cache", cache_rate=rate)
    made = [first[index] for index in range(2)]
    assert sorted(reads) == [0, 1]
    second = dataset(cases, tmp_path / "cache", cache_rate=rate)
    found = [second[index] for index in range(2)]
    assert sorted(reads) == [0, 1] and len(second._cache) == int(2 * rate)
    for one, two, three in zip([memory[0], memory[1]], made, found, strict=True):
        for key in ("image", "label", "label_grid"):
            for other in (two[key], three[key]):
                assert isinstance(other, MetaTensor) and other.dtype == one[key].dtype
                assert torch.equal(other.as_tensor(), one[key].as_tensor())
                assert torch.equal(other.affine, one[key].affine)
                assert other.meta["filename_or_obj"] == one[key].meta["filename_or_obj"]


def test_a_case_from_the_disk_is_inverted_by_the_transforms_of_its_process(tmp_path: Path) -> None:
    cases = write_cases(tmp_path, 1)
    dataset(cases, tmp_path / "cache")
    results = []
    for folder in (None, tmp_path / "cache"):
        data = dataset(cases, folder)
        case = {**data[0], "pred": data[0]["label_grid"].clone()}
        inverted = Invertd("pred", data.transform, orig_keys="image", nearest_interp=False)(case)["pred"]
        results.append(inverted)
        assert inverted.shape == data[0]["label"].shape and 0 < float(inverted.sum()) < inverted.numel()
    assert torch.equal(results[0].as_tensor(), results[1].as_tensor())


@pytest.mark.parametrize("change", ["image", "label", "transform", "damage"])
def test_what_changed_is_made_again(tmp_path: Path, reads: list[int], change: str) -> None:
    cases = write_cases(tmp_path)
    dataset(cases, tmp_path / "cache")
    transform = preprocessing()
    if change == "transform":
        transform = labeled_preprocessing(1, pixdim=[3.0, 3.0, 3.0], keep_label=True)
    elif change == "damage":
        for file in (tmp_path / "cache" / "cases").glob("*.pt"):
            file.write_bytes(file.read_bytes()[:-200])
    else:
        values = make_volume((9, 8, 7)) if change == "image" else (make_volume((9, 8, 7)) > 40).astype("uint8")
        write_nifti(Path(cases[1][change]), values)
    reads.clear()
    again = CachedCases(cases, transform, tmp_path / "cache", progress=False)
    assert sorted(reads) == ([1] if change in ("image", "label") else [0, 1])
    expected = CachedCases(cases, transform, progress=False)
    assert torch.equal(again[1]["image"].as_tensor(), expected[1]["image"].as_tensor())
    assert torch.equal(again[1]["label"].as_tensor(), expected[1]["label"].as_tensor())


def test_what_the_data_set_says_of_a_case_is_known_again(tmp_path: Path, reads: list[int]) -> None:
    """A stack of single slices is one from the disk, too, and a case that becomes one is made again."""
    (case,) = write_cases(tmp_path, 1)
    dataset([case], tmp_path / "cache")
    for made in (1, 0):
        reads.clear()
        found = dataset([{**case, "slices": True}], tmp_path / "cache")[0]  # type: ignore[dict-item]
        assert len(reads) == made and is_stack(found["image"][None], 0)
    assert not is_stack(dataset([case], tmp_path / "cache")[0]["image"][None], 0)


def test_a_file_holds_no_code_and_masks_in_a_byte(tmp_path: Path) -> None:
    dataset(write_cases(tmp_path, 1), tmp_path / "cache")
    (file,) = (tmp_path / "cache" / "cases").glob("*.pt")
    stored = torch.load(file, weights_only=True)
    assert {key: stored[key]["values"].dtype for key in stored if isinstance(stored[key], dict)} == {
        "image": torch.float32,
        "label": torch.uint8,
        "label_grid": torch.uint8,
    }
