# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The wheel alone segments: it holds the bundle with its weights, and nothing is written into it."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from setuptools import find_packages

from tests.bundle.volumes import make_volume, write_nifti

BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
SEGMENT = """
import sys
from pathlib import Path
import c2f_monai
from c2f_monai.apps.cli import main
from c2f_monai.utils import bundle_root, config_file, work_root
package = Path(c2f_monai.__file__).parent
assert package == Path(sys.argv[1]) / "c2f_monai"
assert bundle_root() == package / "bundle" and config_file("network/deeplab.json").is_relative_to(package)
assert work_root(bundle_root()) == sys.argv[2]
sys.exit(main(["segment", "ct.nii.gz", "mask.nii.gz", "--quiet", "--device", "cpu"]))
"""


@pytest.fixture(scope="module")
def installed(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel brings."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(project_root / name, source)
    made = shutil.ignore_patterns("__pycache__", "data", "runs", "eval")
    for name in ("bundle", "configs"):
        shutil.copytree(project_root / name, source / name, ignore=made if name == "bundle" else None)
    shutil.copytree(project_root / "c2f_monai", source / "c2f_monai", ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(folder)], cwd=source, capture_output=True, text=True, check=True, timeout=300
    )
    site = folder / "site"
    with zipfile.ZipFile(folder / done.stdout.split()[-1]) as wheel:
        wheel.extractall(site)
    return site


def test_every_room_is_packed(project_root: Path) -> None:
    parser = configparser.ConfigParser()
    parser.read(project_root / "setup.cfg", encoding="utf-8")
    listed = set(parser["options"]["packages"].split())
    rooms = set(find_packages(str(project_root), include=["c2f_monai", "c2f_monai.*"]))
    assert listed == rooms | {"c2f_monai.bundle", "c2f_monai.overlays"}


def test_the_wheel_holds_the_bundle_and_what_names_find(installed: Path, project_root: Path) -> None:
    for own, packed, patterns in (
        ("bundle", "bundle", ("configs/*.json", "docs/*", "models/*.pt", "models/*.json", "LICENSE")),
        ("configs", "overlays", ("*/*.json",)),
    ):
        files = [file for pattern in patterns for file in (project_root / own).glob(pattern)]
        assert len(files) > 10
        for file in files:
            copy = installed / "c2f_monai" / packed / file.relative_to(project_root / own)
            assert copy.stat().st_size == file.stat().st_size
    assert (installed / "c2f_monai" / "apps" / "report.html").is_file()


def test_the_wheel_segments_from_any_directory_and_stays_as_it_is(installed: Path, tmp_path: Path) -> None:
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    write_nifti(tmp_path / "ct.nii.gz", make_volume(), affine)
    cache = tmp_path / "cache"
    environment = os.environ | {"PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    environment["C2F_MONAI_CACHE"] = str(cache)
    before = sorted(installed.rglob("*"))
    command = [sys.executable, "-W", "ignore", "-c", SEGMENT, str(installed), str(cache)]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    mask = nib.load(tmp_path / "mask.nii.gz")
    assert mask.shape == (40, 36, 30) and np.array_equal(mask.affine, affine)
    assert sorted(installed.rglob("*")) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ct.nii.gz", "mask.nii.gz"]
