# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Peak memory of the bundle's whole inference on a volume of clinical size, from the file to the mask.

Writes a CT of air with eight copies of a case of the embedded data set in its middle as int16 NIfTI, runs ``python -m
monai.bundle run`` on it in a process of its own, and prints that process's peak resident memory and time as JSON. The
copies are on the grid of the phantom's weights, which find their targets, so that fine rounds run; the box around the
targets is about 180 voxels a side, as that of a pancreas at 512 x 512. Further arguments are handed to the run:

    python benchmarks/memory.py --size 512 512 300 --pixdim '$None'
    python benchmarks/memory.py --size 512 512 1000 --pixdim '$None' --max_rounds 2
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import nibabel as nib
import numpy as np
from monai.transforms import Compose, LoadImage, Orientation, ResizeWithPadOrCrop, Spacing

from c2f_monai.data import resolve_dataset
from c2f_monai.utils.environment import describe_machine, describe_source, describe_versions

SPACING = 2.0  # mm, of the phantom's weights
CASE = "imagesTr/phantom_training_000.nii.gz"


def write_ct(path: Path, size: list[int], case: Path) -> None:
    """Eight copies of a case, two along each axis, in the middle of air."""
    grid = Compose([LoadImage(ensure_channel_first=True), Orientation("RAS", labels=None), Spacing([SPACING] * 3)])
    copies = np.tile(np.asarray(grid(case))[0].astype(np.int16), (2, 2, 2))
    volume = ResizeWithPadOrCrop(size, mode="constant", value=-1000)(copies[None])[0]
    nib.save(nib.Nifti1Image(np.asarray(volume), np.diag([-SPACING, -SPACING, SPACING, 1.0])), path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, default=[512, 512, 300], help="voxels (default: 512 512 300)")
    parser.add_argument("--bundle_root", default="bundle", help="default: bundle")
    args, options = parser.parse_known_args()
    embedded = Path(args.bundle_root) / "data" / "phantom-v1"  # made on first use
    case = Path(resolve_dataset(embedded, embedded)) / CASE
    with tempfile.TemporaryDirectory() as folder:
        write_ct(Path(folder) / "ct.nii.gz", args.size, case)
        command = [sys.executable, "-m", "monai.bundle", "run", "--config_file"]
        files = [f"{args.bundle_root}/configs/{name}.json" for name in ("inference", "three_views")]
        command += [str(files), "--bundle_root", args.bundle_root]
        command += ["--input", f"{folder}/ct.nii.gz", "--output_dir", f"{folder}/out", *options]
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
        seconds = time.perf_counter() - start
        if done.returncode:
            raise SystemExit(done.stderr[-3000:])
        mask = nib.load(Path(folder) / "out" / "ct_seg.nii.gz")
    report = {
        "command": " ".join(sys.argv),
        "environment": {**describe_machine(), **describe_versions(), **describe_source()},
        "peak_rss_gib": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20, 2),
        "seconds": round(seconds, 1),
        "mask_shape": list(mask.shape),
        "log": [line.split("INFO", 1)[-1].strip() for line in done.stdout.splitlines() if "rounds" in line],
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
