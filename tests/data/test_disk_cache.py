# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Slabs from the disk are those from memory; the cache is shared, told apart and never half written."""

from __future__ import annotations

import errno
import os
import traceback
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, Orientationd, ScaleIntensityd, Spacingd

from c2f_monai.data import SlabDataset, disk_cache, load_volumes, volume_cache
from c2f_monai.data.disk_cache import DiskCache, describe_transform
from c2f_monai.utils import SlabSpec, View
from tests.bundle.volumes import write_nifti
from tests.processes import SERVER

SHAPE = (9, 8, 7)


def write_cases(root: Path, count: int = 2, shape: tuple[int, int, int] = SHAPE) -> list[dict[str, str]]:
    cases = []
    for number in range(count):
        rng = np.random.default_rng(number)
        label = np.zeros(shape, np.uint8)
        label[2:6, 3:6, 1 : 3 + number] = 1
        files = {key: root / f"c{number}_{key}.nii.gz" for key in ("image", "label")}
        write_nifti(files["image"], rng.integers(-1000, 1000, shape, dtype=np.int16))
        write_nifti(files["label"], label)
        cases.append({key: str(path) for key, path in files.items()})
    return cases


def preprocessing(pixdim: float = 2.0) -> Compose:
    keys = ["image", "label"]
    return Compose(
        [
            LoadImaged(keys),
            EnsureChannelFirstd(keys),
            Orientationd(keys, "LPS", labels=None),
            Spacingd(keys, [pixdim] * 3, mode=["bilinear", "nearest"]),
        ]
    )


def counted(transform: Any) -> tuple[Any, list[str]]:
    """A transform that notes the images it reads."""
    read: list[str] = []

    class Counted:
        def __init__(self) -> None:
            self.transform = transform

        def __call__(self, case: Any) -> Any:
            read.append(Path(case["image"]).name)
            return self.transform(case)

    return Counted(), read


@pytest.mark.parametrize("slab", [SlabSpec(1, 1), SlabSpec(3, 3), SlabSpec(5, 1)], ids=str)
def test_items_from_disk_are_those_from_memory(tmp_path: Path, slab: SlabSpec) -> None:
    cases = write_cases(tmp_path)
    options: dict[str, Any] = {"min_pixels": 1, "progress": False, "negative_fraction": 0.3, "slab": slab}
    memory = SlabDataset(cases, preprocessing(), **options)
    disk = SlabDataset(cases, preprocessing(), **options, cache_dir=str(tmp_path / "cache"))
    assert len(memory) == len(disk)
    for index in range(len(memory)):
        one, two = memory[index], disk[index]
        assert all(torch.equal(one[key][view], two[key][view]) for key in one for view in one[key])


@pytest.mark.parametrize("view", list(View))
@pytest.mark.parametrize(("start", "stop"), [(0, 2), (2, 5), (5, 7)])
def test_slices_of_several_classes(tmp_path: Path, view: View, start: int, stop: int) -> None:
    """HU encode the place; two classes."""
    h, w, d = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    image = torch.from_numpy((100 * h + 10 * w + d).astype(np.int16))
    label = torch.stack([image % 2 == 0, image % 3 == 0]).to(torch.uint8)
    case = write_cases(tmp_path, 1)[0]
    volume = DiskCache(tmp_path / "cache", None).put(case, image, label)
    found_image, found_label = volume.slices(view, start, stop)
    assert torch.equal(found_image, image.movedim(view.axis, 0)[start:stop])
    assert torch.equal(found_label, label.movedim(view.axis + 1, 1)[:, start:stop])
    expected = label.amax(0).sum(tuple(axis for axis in range(3) if axis != view.axis))
    assert volume.counts(view).tolist() == expected.tolist()


def test_a_second_run_reads_nothing(tmp_path: Path) -> None:
    cases = write_cases(tmp_path, 3)
    for expected in (["c0_image.nii.gz", "c1_image.nii.gz", "c2_image.nii.gz"], []):
        transform, read = counted(preprocessing())
        volumes = load_volumes(cases, transform, progress=False, cache_dir=tmp_path / "cache")
        assert sorted(read) == expected and [volume.name for volume in volumes] == [case["image"] for case in cases]


def test_changed_files_parameters_and_added_views_are_made_again(tmp_path: Path) -> None:
    cases = write_cases(tmp_path, 2)

    def read(pixdim: float = 2.0, views: tuple[View, ...] = (View.AXIAL,)) -> int:
        transform, names = counted(preprocessing(pixdim))
        load_volumes(cases, transform, progress=False, cache_dir=tmp_path / "cache", views=views)
        return len(names)

    assert (read(), read()) == (2, 0)
    assert (read(pixdim=3.0), read(pixdim=3.0)) == (2, 0)
    assert (read(views=tuple(View)), read(views=(View.CORONAL,))) == (2, 0)
    os.utime(cases[0]["label"], (1, 1))
    assert (read(), read()) == (1, 0)
    for path in (tmp_path / "cache").glob("c1_image-*/image_axial.raw"):
        path.write_bytes(path.read_bytes()[:-2])
    assert (read(), read()) == (1, 0)


def test_transforms_are_told_apart_by_class_and_parameters() -> None:
    assert str(describe_transform(preprocessing())) == str(describe_transform(preprocessing()))
    others = [preprocessing(3.0), Compose([ScaleIntensityd("image")]), Compose([ScaleIntensityd("label")]), np.sum, sum]
    described = [str(describe_transform(other)) for other in [preprocessing(), *others]]
    assert len(set(described)) == len(described)
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueError, match="more than 12 levels deep"):
        describe_transform(endless)


def make_all(cases: list[dict[str, str]], folder: Path, errors: Any) -> None:
    try:
        load_volumes(cases, preprocessing(), progress=False, cache_dir=folder)
        errors.put(None)
    except Exception as error:
        errors.put("".join(traceback.format_exception(error)))


def test_processes_share_a_cache(tmp_path: Path) -> None:
    cases = write_cases(tmp_path, 3)
    errors = SERVER.Queue()
    processes = [SERVER.Process(target=make_all, args=(cases, tmp_path / "cache", errors)) for _ in range(3)]
    for process in processes:
        process.start()
    assert [errors.get(timeout=120) for _ in processes] == [None] * 3
    for process in processes:
        process.join()
    disk = load_volumes(cases, preprocessing(), progress=False, cache_dir=tmp_path / "cache2")
    shared = load_volumes(cases, preprocessing(), progress=False, cache_dir=tmp_path / "cache")
    for one, two in zip(disk, shared, strict=True):
        assert torch.equal(one.slices(View.AXIAL, 0, 7)[0], two.slices(View.AXIAL, 0, 7)[0])
    assert not list((tmp_path / "cache").rglob(".*"))


def test_processes_of_a_run_begin_with_their_own_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volume_cache.idist, "get_world_size", lambda: 3)
    orders = []
    for rank in range(3):
        monkeypatch.setattr(volume_cache.idist, "get_rank", lambda rank=rank: rank)
        orders.append(volume_cache._own_first([0, 1, 2, 3, 5, 6]))
    assert orders == [[0, 3, 6, 1, 2, 5], [1, 2, 5, 0, 3, 6], [2, 5, 0, 3, 6, 1]]


Usage = namedtuple("Usage", "total used free")


def test_a_disk_without_room_is_told_before_the_first_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = write_cases(tmp_path, 3)
    monkeypatch.setattr(disk_cache.shutil, "disk_usage", lambda path: Usage(1, 1, 3 * 3 * 3 * 504 - 1))
    with pytest.raises(
        OSError,
        match=r"has no room: .*c0_image.nii.gz needs 4.54e-06 GB, with the 2 cases after it about 1.36e-05 GB, "
        r"1.36e-05 GB are free. Choose another cache_dir",
    ):
        load_volumes(cases, preprocessing(), workers=1, progress=False, cache_dir=tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_disk_that_fills_up_leaves_whole_cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = write_cases(tmp_path, 3)
    write, written = DiskCache._write, []

    def fill(path: Path, slices: torch.Tensor) -> None:
        if len(written) == 8:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        write(path, slices)

    monkeypatch.setattr(DiskCache, "_write", staticmethod(fill))
    with pytest.raises(OSError, match="has no room: .*c1_image.nii.gz needs .* cases that it holds are kept"):
        load_volumes(cases, preprocessing(), workers=1, progress=False, cache_dir=tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob(".*"))
    cache = DiskCache(tmp_path / "cache", preprocessing())
    assert [cache.get(case) is not None for case in cases] == [True, False, False]


def test_a_cache_that_was_cut_while_training_is_told(tmp_path: Path) -> None:
    volumes = load_volumes(write_cases(tmp_path, 1), preprocessing(), progress=False, cache_dir=tmp_path / "cache")
    (path,) = (tmp_path / "cache").glob("*/label_sagittal.raw")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="label_sagittal.raw is shorter than its case: remove .*, it is made again"):
        volumes[0].slices(View.SAGITTAL, 6, 9)
