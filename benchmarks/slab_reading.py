# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Slabs per second that training can read from a cache on disk, for each view, and what other layouts would give.

Writes synthetic volumes of clinical size, reads random slabs of each view, with the files in the page cache and not
(the pages are dropped before, on Linux), and prints the environment and the figures as JSON:

    python benchmarks/slab_reading.py
    python benchmarks/slab_reading.py --folder /mnt/scratch --size 512 512 466
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from c2f_monai.data import DiskCache, DiskVolume, SlabDataset
from c2f_monai.utils import View
from c2f_monai.utils.environment import describe_machine, describe_source, describe_versions

CHUNK = 32
Reader = Callable[[View, int], object]


def synthetic_case(case: dict) -> dict[str, torch.Tensor]:
    """HU noise of the case's size and an ellipsoid of 1 % of the volume."""
    rng = np.random.default_rng(case["seed"])
    size = case["size"]
    image = rng.integers(-1000, 1000, size, dtype=np.int16)
    axes = np.ogrid[tuple(slice(-1, 1, complex(0, n)) for n in size)]
    label = (axes[0] / 0.25) ** 2 + (axes[1] / 0.25) ** 2 + (axes[2] / 0.3) ** 2 <= 1
    return {"image": torch.from_numpy(image)[None], "label": torch.from_numpy(label.astype(np.uint8))[None]}


def drop_pages(files: list[Path]) -> bool:
    """Remove files from the page cache, where the system can."""
    if not hasattr(os, "posix_fadvise"):
        return False
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return True


def rate(reader: Reader, view: View, length: int, files: list[Path], count: int) -> dict[str, float]:
    """Slabs per second: not in the page cache, then in it; and milliseconds of the processor, which no load changes."""
    centers = np.random.default_rng(view.axis).permutation(np.arange(1, length - 1))[:count].tolist()
    found = {}
    for name, cold in (("disk", True), ("page_cache", False)):
        if cold and not drop_pages(files):
            continue
        began, busy = time.perf_counter(), time.process_time()
        for center in centers:
            reader(view, center)
        found[name] = round(len(centers) / (time.perf_counter() - began), 1)
        found[f"{name}_cpu_ms"] = round(1000 * (time.process_time() - busy) / len(centers), 2)
    return found


def read_cached(volume: DiskVolume) -> Reader:
    return lambda view, center: volume.slices(view, center - 1, center + 2)


def one_copy(path: Path, size: tuple[int, ...]) -> Reader:
    """Image alone, memory-mapped as it lies in memory: (R, A, S), last axis fastest."""
    mapped = np.memmap(path, np.int16, "r", shape=size)
    return lambda view, center: np.array(np.moveaxis(mapped, view.axis, 0)[center - 1 : center + 2])


def chunks(path: Path, size: tuple[int, ...]) -> Reader:
    """Image alone, memory-mapped in cubes."""
    grid = tuple(-(-n // CHUNK) for n in size)
    mapped = np.memmap(path, np.int16, "r", shape=(*grid, CHUNK, CHUNK, CHUNK))

    def read(view: View, center: int) -> list[np.ndarray]:
        cubes = np.moveaxis(np.moveaxis(mapped, view.axis, 0), 3 + view.axis, 3)
        return [np.array(cubes[i // CHUNK, :, :, i % CHUNK]) for i in (center - 1, center, center + 1)]

    return read


def write_others(folder: Path, image: np.ndarray) -> dict[str, tuple[Path, Reader]]:
    """The layouts that were not chosen."""
    whole, cubes = folder / "one.raw", folder / "chunks.raw"
    image.tofile(whole)
    padded = np.pad(image, [(0, -n % CHUNK) for n in image.shape])
    shape = [part for n in padded.shape for part in (n // CHUNK, CHUNK)]
    np.ascontiguousarray(padded.reshape(shape).transpose(0, 2, 4, 1, 3, 5)).tofile(cubes)
    return {
        "one copy, image only, mapped": (whole, one_copy(whole, image.shape)),
        f"chunks of {CHUNK}, image only, mapped": (cubes, chunks(cubes, image.shape)),
    }


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where to write (default: the system's folder for temporary files)")
    parser.add_argument("--size", type=int, nargs=3, default=[512, 512, 240], help="voxels (default: 512 512 240)")
    parser.add_argument("--cases", type=int, default=2, help="volumes that are written (default: 2)")
    parser.add_argument("--slabs", type=int, default=60, help="slabs to read of each view (default: 60)")
    return parser.parse_args()


def measure(args: argparse.Namespace, folder: Path) -> dict[str, object]:
    cases = []
    for seed in range(args.cases):
        path = folder / f"case{seed}"  # the cache goes by files, though these volumes come from none
        path.touch()
        cases.append({"image": str(path), "label": str(path), "size": tuple(args.size), "seed": seed})
    began = time.perf_counter()
    options = {"min_pixels": 1, "progress": False, "workers": 1, "cache_dir": str(folder / "cache")}
    dataset = SlabDataset(cases, synthetic_case, **options)
    written = time.perf_counter() - began
    files = sorted((folder / "cache").rglob("*.raw"))
    volume = DiskCache(folder / "cache", synthetic_case).get(cases[0])
    assert volume is not None
    layouts = {"a copy for each view, image and label": (files, read_cached(volume))}
    others = write_others(folder, synthetic_case(cases[0])["image"][0].numpy())
    layouts |= {name: ([path], reader) for name, (path, reader) in others.items()}
    rates = {
        name: {view.value: rate(reader, view, args.size[view.axis], paths, args.slabs) for view in View}
        for name, (paths, reader) in layouts.items()
    }
    drop_pages(files)
    began = time.perf_counter()
    for index in range(args.slabs):
        dataset[index]
    items = args.slabs / (time.perf_counter() - began)
    return {
        "seconds_to_write_a_case": round(written / args.cases, 1),
        "bytes_of_a_case": sum(path.stat().st_size for path in files) // args.cases,
        "slabs_of_three_slices_per_second": rates,
        "training_items_per_second": round(items, 1),
    }


def main() -> None:
    args = parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        measured = measure(args, Path(folder))
    environment = {"threads": torch.get_num_threads(), "load_before": round(load, 2)}
    environment |= {**describe_machine(), **describe_versions(), **describe_source()}
    print(json.dumps({"size": args.size, "cases": args.cases, "environment": environment, **measured}, indent=1))


if __name__ == "__main__":
    main()
