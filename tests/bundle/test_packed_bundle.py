# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A bundle that carries the package in its own folder, read from another directory, by ids alone."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.processes import run_python

# What consumers take from the configurations without running `initialize`, and what that runs.
ALONE = {
    "inference": ("network_def", "preprocessing", "inferer", "postprocessing", "initialize"),
    "train": ("network_def", "initialize"),
}
SCRIPT = """
import json, sys
from pathlib import Path
from monai.bundle import ConfigParser

root, alone = Path(sys.argv[1]), json.loads(sys.argv[2])
paths = list(sys.path)
for name, ids in alone.items():
    for key in ids:
        sys.path[:] = paths
        for module in [module for module in sys.modules if module.split(".")[0] == "c2f_monai"]:
            del sys.modules[module]
        parser = ConfigParser()
        parser.read_config(str(root / "configs" / f"{name}.json"))
        parser["bundle_root"] = str(root)
        assert parser.get_parsed_content(key) is not None
        import c2f_monai  # where the id has not imported it, it has made it importable
        found = Path(c2f_monai.__file__)
        assert found.is_relative_to(root), f"{name}, {key}: {found}"
print("packed")
"""


@pytest.fixture(scope="module")
def packed(project_root: Path, bundle_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle's configurations with the package beside them."""
    folder = tmp_path_factory.mktemp("packed") / "bundle"
    shutil.copytree(bundle_root / "configs", folder / "configs")
    shutil.copytree(project_root / "c2f_monai", folder / "c2f_monai", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def run_elsewhere(folder: Path, *words: str) -> CompletedProcess:
    # Without the path that the tests' own package lies on.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    return run_python(words, folder, environment)


def test_each_id_that_is_asked_for_alone_finds_the_bundles_own_package(packed: Path, tmp_path: Path) -> None:
    done = run_elsewhere(tmp_path, "-c", SCRIPT, str(packed), json.dumps(ALONE))
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip().endswith("packed")


def test_monais_check_of_the_network_finds_it_from_any_directory(packed: Path, tmp_path: Path) -> None:
    (packed / "c2f_monai" / "__init__.py").open("a", encoding="utf-8").write("\nprint('own package', __file__)\n")
    configs = packed / "configs"
    words = ["-m", "monai.bundle", "verify_net_in_out", "network_def", "--bundle_root", str(packed)]
    words += ["--meta_file", str(configs / "metadata.json"), "--config_file", str(configs / "inference.json")]
    words += ["--device", "cpu"]
    done = run_elsewhere(tmp_path, *words)
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"own package {packed}" in done.stdout


def test_a_typing_error_is_refused_in_one_line_from_any_directory(packed: Path, tmp_path: Path) -> None:
    configs = str([str(packed / "configs" / f"{name}.json") for name in ("train", "evaluate")])
    words = ["-W", "ignore", "-m", "monai.bundle", "run", "--config_file", configs, "--bundle_root", str(packed)]
    done = run_elsewhere(tmp_path, *words, "--ckpt", "mine.pt")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ckpt is no id of the configuration: did you mean ckpt_path")
