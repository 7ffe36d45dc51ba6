# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Peak memory of the bundle's whole inference on a volume of clinical size, from the file to the mask.

Writes a synthetic CT (body, air, a bright ellipsoid) as int16 NIfTI, runs ``python -m monai.bundle run`` on it in a
process of its own, and prints that process's peak resident memory and time as JSON. Further arguments are handed to the
run:

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

from c2f_monai.utils.environment import describe_machine, describe_source, describe_versions


def write_ct(path: Path, size: list[int], spacing: float) -> None:
    """A body of soft tissue with noise in air, and an ellipsoid of 1 % of the volume."""
    rng = np.random.default_rng(0)
    volume = np.full(size, -1000, dtype=np.int16)
    x, y = np.meshgrid(*(np.linspace(-1, 1, n) for n in size[:2]), indexing="ij")
    for i, z in enumerate(np.linspace(-1, 1, size[2])):
        body, organ = (x / 0.8) ** 2 + (y / 0.6) ** 2 <= 1, (x**2 + y**2 + z**2) <= 0.267**2
        plane = np.where(organ, 110, np.where(body, 40, -1000)) + rng.normal(0, 12, size[:2])
        volume[:, :, i] = plane
    nib.save(nib.Nifti1Image(volume, np.diag([-spacing, -spacing, spacing, 1.0])), path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, default=[512, 512, 300], help="voxels (default: 512 512 300)")
    parser.add_argument("--spacing", type=float, default=0.8, help="mm (default: 0.8)")
    parser.add_argument("--bundle_root", default="bundle", help="default: bundle")
    args, options = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        write_ct(Path(folder) / "ct.nii.gz", args.size, args.spacing)
        command = [sys.executable, "-m", "monai.bundle", "run", "--config_file"]
        command += [f"{args.bundle_root}/configs/inference.json", "--bundle_root", args.bundle_root]
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
