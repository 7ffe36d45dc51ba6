# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""How long training takes to its first iteration: a data set is read, for the first time and again with ``cache_dir``.

Writes volumes and labels as ``.nii.gz`` (default: 82 of 128x128x60 voxels of 1.4x1.4x2.5 mm, four fifths for training)
and reads them as ``train.json`` does, on its default grid. Seconds of the processor (all threads) and of the clock for

- "memory": without ``cache_dir``, as every start is then,
- "first", "second": with an empty and a full ``cache_dir``,
- "second, training alone": as it was when validation cases were read anew at every start.

    python benchmarks/startup.py --output docs/results/speed/startup_82.json
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import nibabel as nib
import numpy as np
import torch
from scipy import ndimage

from c2f_monai.data import CachedCases, SlabDataset, labeled_preprocessing
from c2f_monai.utils.environment import describe_machine, describe_source, describe_versions

GRID: dict[str, Any] = {"pixdim": [0.8, 0.8, -1.0], "antialias": True}
SPACING = (1.4, 1.4, 2.5)  # mm


def write_cases(folder: Path, count: int, size: list[int]) -> list[dict[str, str]]:
    """Noise on smooth blobs; each case has a target of two labels."""
    rng, cases = np.random.default_rng(0), []
    affine = np.diag([-SPACING[0], -SPACING[1], SPACING[2], 1.0])
    label = np.zeros(size, np.uint8)
    label[tuple(slice(2 * n // 5, 3 * n // 5) for n in size)] = 1
    label[tuple(slice(9 * n // 20, n // 2) for n in size)] = 2
    for number in range(count):
        coarse = rng.normal(0, 300, [max(n // 16, 1) for n in size])
        zoom = [n / m for n, m in zip(size, coarse.shape, strict=True)]
        values = ndimage.zoom(coarse, zoom, order=1) + rng.normal(0, 20, size)
        files = {key: folder / f"{key}{number}.nii.gz" for key in ("image", "label")}
        nib.save(nib.Nifti1Image(values.clip(-1024, 1500).astype(np.int16), affine), files["image"])
        nib.save(nib.Nifti1Image(label, affine), files["label"])
        cases.append({key: str(file) for key, file in files.items()})
    return cases


def start(cases: list[dict[str, str]], cache: Path | None, validation_cache: Path | None) -> dict[str, float]:
    """Seconds until training could begin."""
    held = len(cases) // 5
    cpu, wall = time.process_time(), time.perf_counter()
    SlabDataset(
        cases[held:], labeled_preprocessing([1, 2], **GRID), views=["axial"], min_pixels=10, progress=False,
        cache_dir=cache,
    )  # fmt: skip
    train = time.process_time() - cpu, time.perf_counter() - wall
    CachedCases(cases[:held], labeled_preprocessing([1, 2], keep_label=True, **GRID), validation_cache, progress=False)
    both = time.process_time() - cpu, time.perf_counter() - wall
    names = ("training_cpu_seconds", "training_seconds", "cpu_seconds", "seconds")
    return {name: round(value, 2) for name, value in zip(names, (*train, *both), strict=True)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=82, help="default: 82")
    parser.add_argument("--size", type=int, nargs=3, default=[128, 128, 60], help="voxels (default: 128 128 60)")
    parser.add_argument("--threads", type=int, default=2, help="of torch (default: 2)")
    parser.add_argument("--output", type=Path, help="JSON file (default: print it)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    result: dict[str, Any] = {"command": " ".join(sys.argv), "load_before": round(os.getloadavg()[0], 2)}
    result |= {"threads": args.threads, **describe_machine(), **describe_versions(), **describe_source()}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        cases = write_cases(root, args.cases, args.size)
        result["mb"] = round(sum(file.stat().st_size for file in root.iterdir()) / 1e6, 1)
        cache = root / "cache"
        result["memory"] = start(cases, None, None)
        result["first"] = start(cases, cache, cache)
        result["second"] = start(cases, cache, cache)
        result["second, training alone"] = start(cases, cache, None)
        result["cache_gb"] = round(sum(f.stat().st_size for f in cache.rglob("*") if f.is_file()) / 1e9, 2)
    text = json.dumps(result, indent=1)
    print(text)
    if args.output is not None:
        args.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
