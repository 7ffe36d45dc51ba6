# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``c2f pack``: a folder that needs nothing of the project but itself."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from monai.apps.utils import HashCheckError, download_url
from monai.bundle import ConfigParser, verify_metadata

from c2f_monai import Segmenter
from c2f_monai.apps.cli import main
from c2f_monai.apps.pack import ADDED
from c2f_monai.inferers import QualityModel
from c2f_monai.utils import REQUIRED, bundle_root, sha256_of
from tests.bundle.conftest import TINY
from tests.bundle.test_train_bundle import TINY as TRAINING
from tests.bundle.test_train_bundle import write_case
from tests.bundle.volumes import make_volume, write_nifti
from tests.processes import run_python

#: The model zoo's checks of code.
FORMATS = {
    "isort": ["isort", "--check", "--profile", "black", "--line-length", "120", "--project", "models", "."],
    "black": ["black", "--check", "--line-length", "120", "--skip-magic-trailing-comma", "."],
    "flake8": [
        *("flake8", "--isolated", "--select", "B,C,E,F,N,P,T4,W,B9", "--max-line-length", "120"),
        *("--ignore", "E203,E501,E741,W503,W504,C408,N812,B023", "--per-file-ignores", "__init__.py:F401", "."),
    ],
}
#: Of the model zoo's template of a README, and of those that its bundles have.
SECTIONS = {
    *("Authors", "Tags", "Model Description", "Data", "Preprocessing", "Performance", "System Configuration"),
    *("Limitations", "Citation Info", "References", "Model Overview", "Training configuration", "Input", "Output"),
    *("MONAI Bundle Commands", "License"),
}
HEADER = "# Copyright (c) c2f_monai contributors\n# SPDX-License-Identifier: Apache-2.0\n"
PROPERTIES = """
import sys
from monai.bundle import create_workflow

root, data = sys.argv[1:]
for kind in ("inference", "train"):
    config = f"{root}/configs/{kind}.json"
    options = {"meta_file": f"{root}/configs/metadata.json", "logging_file": f"{root}/configs/logging.conf"}
    if kind == "train":
        options |= {"dataset_dir": data, "holdout": 0.5}
    print(kind, create_workflow(config_file=config, workflow_type=kind, bundle_root=root, **options).check_properties())
"""
ZOOS_CHECKS = """
import sys
from monai.bundle import ckpt_export, verify_net_in_out

root, script = sys.argv[1:]
sys.path.insert(0, root)
files = {"meta_file": f"{root}/configs/metadata.json", "config_file": f"{root}/configs/inference.json"}
verify_net_in_out("network_def", bundle_root=root, **files)
ckpt_export("network_def", script, f"{root}/models/model.pt", bundle_root=root, **files)
"""
WITHOUT_TWO_PACKAGES = """
import importlib.util
import runpy

find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name in ("itk", "ignite") else find_spec(name, *more)
runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def packed(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with a prediction of its DSC, whose package says where it was imported from."""
    folder = tmp_path_factory.mktemp("packed")
    tiny_weights = Path(shutil.copy(tiny_weights, folder / "weights.pt"))
    QualityModel({"view_dsc": 1.0}, 0.05, 0.1, 0.7, 12).write(folder / "weights.quality.json")
    overlay = folder / "tiny.json"
    overlay.write_text(
        json.dumps({**TRAINING, **TINY, "epochs": 1, "stages": TRAINING["stages"][-1:]}), encoding="utf-8"
    )
    words = ["--config", "three_views.json", "--config", str(overlay)]
    assert main(["pack", str(tiny_weights), str(folder / "tiny"), *words]) == 0
    with (folder / "tiny" / "c2f_monai" / "__init__.py").open("a", encoding="utf-8") as file:
        file.write('\n\nprint("own package", __file__)\n')
    return folder / "tiny"


def run_elsewhere(cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Python from another directory, with the package nowhere but where it is installed."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    return run_python(words, cwd, environment)


def run_bundle(packed: Path, cwd: Path, command: str, *words: str) -> str:
    """A command of MONAI from another directory; what it prints."""
    done = run_elsewhere(cwd, "-m", "monai.bundle", command, *words, "--bundle_root", str(packed))
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"own package {packed}" in done.stdout
    return done.stdout


def test_it_segments_from_any_directory_as_the_model_does(packed: Path, tiny_weights: Path, tmp_path: Path) -> None:
    image = write_nifti(tmp_path / "ct.nii.gz", make_volume())
    config = str(packed / "configs" / "inference.json")
    run_bundle(packed, tmp_path, "run", "--config_file", config, "--input", "ct.nii.gz", "--output_dir", "out")
    expected = Segmenter(tiny_weights, "cpu", configs=["three_views.json", packed.with_name("tiny.json")])(image).mask
    assert 0 < expected.sum() < expected.numel()
    assert np.array_equal(np.asarray(nib.load(tmp_path / "out" / "ct_seg.nii.gz").dataobj), expected.numpy())


def test_it_trains_and_evaluates(packed: Path, tmp_path: Path) -> None:
    write_data(tmp_path / "data")
    configs = [str(packed / "configs" / name) for name in ("train.json", "evaluate.json")]
    words = ["--dataset_dir", "data", "--holdout", "0.5", "--pixdim", "$None"]
    run_bundle(packed, tmp_path, "run", "--config_file", configs[0], *words, "--output_dir", "trained")
    evaluation = [*words, "--ckpt_path", "trained/model.pt", "--output_dir", "scores"]
    run_bundle(packed, tmp_path, "run", "--config_file", str(configs), *evaluation)
    assert (tmp_path / "scores" / "cases.csv").is_file()


def test_the_metadata_is_of_the_schemas_form(packed: Path, shared_data: Path) -> None:
    meta = str(packed / "configs" / "metadata.json")
    verify_metadata(meta_file=meta, filepath=str(shared_data / "meta_schema_20240725.json"))


def test_the_zoos_checks_of_the_network_pass(packed: Path, tmp_path: Path) -> None:
    """As the zoo makes them: from the folder above, by relative paths, the bundle first in the modules' path."""
    file = tmp_path / "model.ts"
    done = run_elsewhere(packed.parent, "-c", ZOOS_CHECKS, packed.name, str(file))
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"own package {packed}" in done.stdout
    with torch.no_grad():
        assert torch.jit.load(str(file))(torch.rand(1, 1, 32, 32, 4)).shape == (1, 1, 32, 32, 4)


def write_data(folder: Path) -> str:
    """A data set of three cases; its folder."""
    folder.mkdir()
    lists = {
        "training": [write_case(folder, f"train{i}", i) for i in range(2)],
        "test": [write_case(folder, "test", 9)],
    }
    (folder / "dataset.json").write_text(json.dumps(lists), encoding="utf-8")
    return str(folder)


def test_its_properties_are_there(packed: Path, tmp_path: Path) -> None:
    """Those of inference without an image: the model zoo gives none."""
    done = run_elsewhere(tmp_path, "-c", PROPERTIES, str(packed), write_data(tmp_path / "data"))
    assert done.returncode == 0, done.stderr[-2000:]
    assert {"inference []", "train []"} <= set(done.stdout.splitlines())


def test_monais_load_needs_the_path_and_says_so(packed: Path, tmp_path: Path) -> None:
    """MONAI tells it no folder; the package is hidden where the tests have it installed."""
    hidden = "import sys; sys.meta_path[:] = [one for one in sys.meta_path if 'editable' not in repr(one)]; "
    load = f"import monai.bundle; net = monai.bundle.load('tiny', bundle_dir={str(packed.parent)!r}, source='github')"
    done = run_elsewhere(tmp_path, "-c", hidden + load)
    assert done.returncode == 1
    assert "No module named 'c2f_monai: pip install c2f-monai, or PYTHONPATH=<folder of the bundle>'" in done.stderr
    path = f"sys.path.insert(0, {str(packed)!r}); "
    done = run_elsewhere(tmp_path, "-c", hidden + path + load + "; print(type(net).__name__)")
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "CoarseToFineNet"


def test_a_package_that_is_missing_is_named_with_the_command_that_installs_it(packed: Path, tmp_path: Path) -> None:
    """Modules that cannot be found, in the place of an environment that lacks them."""
    (tmp_path / "run.py").write_text(WITHOUT_TWO_PACKAGES, encoding="utf-8")
    words = ["--config_file", str(packed / "configs" / "inference.json"), "--bundle_root", str(packed)]
    done = run_elsewhere(tmp_path, "run.py", "run", *words, "--input", "ct.nii.gz")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "error: c2f_monai needs more packages: pip install itk pytorch-ignite"


@pytest.mark.parametrize("words", FORMATS.values(), ids=FORMATS.keys())
def test_the_zoos_format_checks_pass(packed: Path, words: list[str]) -> None:
    """With the options of its setup.cfg, pyproject.toml and runtests.sh."""
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=packed, capture_output=True, encoding="utf-8", timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_files_end_and_begin_as_the_zoos_hooks_ask(packed: Path) -> None:
    files = [path for path in packed.rglob("*") if path.is_file() and path.suffix not in (".pt", ".pyc")]
    names = [str(path.relative_to(packed)).lower() for path in files]
    assert len(names) == len(set(names)) > 100
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert not text or (text.endswith("\n") and not text.endswith("\n\n")), path
        assert [line for line in text.split("\n") if line != line.rstrip()] == [], path
        assert path.suffix != ".py" or text.startswith(HEADER), path
    assert [path.name for path in files if path.stat().st_size > ADDED] == []


def test_the_metadata_names_every_package_that_is_imported(packed: Path) -> None:
    metadata = json.loads((packed / "configs" / "metadata.json").read_text(encoding="utf-8"))
    known = {"torch": "torch", "monai": "monai", "numpy": "numpy", **REQUIRED}
    imported = set().union(*(modules_of(path) for path in (packed / "c2f_monai").rglob("*.py")))
    others = imported - set(sys.stdlib_module_names)
    # One more class of images and the extra dicom, looked for where they are installed; what matplotlib brings.
    assert others - known.keys() == {"SimpleITK", "pydicom", "contourpy"}
    # fire is asked for by `python -m monai.bundle`.
    assert metadata["required_packages_version"].keys() == {*REQUIRED.values(), "fire"}


def modules_of(path: Path) -> set[str]:
    """Modules, without those of the package itself, that a source imports."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    named = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module}
    return {name.split(".")[0] for name in plain | named}


def test_it_holds_what_the_zoo_asks_for(packed: Path, tiny_weights: Path) -> None:
    names = {"LICENSE", "configs/metadata.json", "configs/train.json", "docs/README.md", "models/model.pt"}
    assert all((packed / name).is_file() for name in names)
    assert sorted(file.name for file in (packed / "models").iterdir()) == ["model.pt", "model.quality.json"]
    metadata = json.loads((packed / "configs" / "metadata.json").read_text(encoding="utf-8"))
    assert metadata["version"] in metadata["changelog"]
    assert metadata["supported_apps"].keys() == {"monai-label"}
    assert metadata["weights"] == {"model.pt": {"sha256": sha256_of(tiny_weights)}}
    assert "eval_metrics" not in metadata  # those of other weights
    text = (packed / "docs" / "README.md").read_text(encoding="utf-8")
    headings = {line.lstrip("# ") for line in text.splitlines() if line.startswith("#")}
    assert headings >= SECTIONS, "sections of the zoo's template"
    assert metadata["network_data_format"]["outputs"]["pred"]["channel_def"] == {"0": "background", "1": "target"}
    with zipfile.ZipFile(packed.with_suffix(".zip")) as archive:
        assert names <= {name.removeprefix("tiny/") for name in archive.namelist()}
        assert not [name for name in archive.namelist() if "__pycache__" in name or "/apps/" in name]


def test_a_bundle_that_is_packed_again_keeps_what_its_owner_wrote(tiny_weights: Path, tmp_path: Path) -> None:
    """Pack itself asks for these edits."""
    overlay = tmp_path / "names.json"
    overlay.write_text(json.dumps({**TINY, "output_names": {"1": "liver"}, "epochs": 3}), encoding="utf-8")
    mine, again = tmp_path / "mine", tmp_path / "again"
    words = ["--config", "three_views.json", "--config", str(overlay)]
    assert main(["pack", str(tiny_weights), str(mine), *words]) == 0
    path = mine / "configs" / "metadata.json"
    metadata = json.loads(path.read_text(encoding="utf-8"))
    outputs = metadata["network_data_format"]["outputs"]["pred"]
    assert outputs["channel_def"] == {"0": "background", "1": "liver"}
    metadata |= {"name": "My liver", "eval_metrics": {"mean_dice": 0.9}}
    path.write_text(json.dumps(metadata), encoding="utf-8")
    for name in ("docs/README.md", "LICENSE"):
        (mine / name).write_text(f"my {name}\n", encoding="utf-8")
    assert main(["pack", str(mine), str(again)]) == 0
    assert json.loads((again / "configs" / "metadata.json").read_text(encoding="utf-8")) == metadata
    for name in ("docs/README.md", "LICENSE"):
        assert (again / name).read_text(encoding="utf-8") == f"my {name}\n"
    assert json.loads((again / "configs" / "train.json").read_text(encoding="utf-8"))["epochs"] == 3
    assert (again / "models" / "model.pt").read_bytes() == tiny_weights.read_bytes()
    assert Segmenter(again, "cpu").origin.labels == {1: "liver"}


def test_what_is_no_file_of_weights_is_not_packed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As the folder of ``c2f export`` has it: its ``ckpt_path`` is the manifest of the graphs."""
    folder = tmp_path / "exported"
    (folder / "configs").mkdir(parents=True)
    manifest = folder / "models" / "manifest.json"
    manifest.parent.mkdir()
    manifest.write_text("{}", encoding="utf-8")
    config = json.loads((bundle_root() / "configs" / "inference.json").read_text(encoding="utf-8"))
    config["ckpt_path"] = "$os.path.join(@bundle_root, 'models', 'manifest.json')"
    (folder / "configs" / "inference.json").write_text(json.dumps(config), encoding="utf-8")
    assert main(["pack", str(folder), str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {folder} has no file of weights to pack, but {manifest}: give the model")
    assert error.count("\n") == 1 and not (tmp_path / "out").exists()


def test_a_zip_that_is_there_stays(
    tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = tmp_path / "model.v1.zip"
    archive.write_bytes(b"of somebody")
    words = ["pack", str(tiny_weights), "model.v1"]
    monkeypatch.chdir(tmp_path)
    assert main(words) == 1
    assert "model.v1.zip exists, and would be the folder's zip" in capsys.readouterr().err
    assert archive.read_bytes() == b"of somebody" and not (tmp_path / "model.v1").exists()
    archive.unlink()
    assert main(words) == 0
    assert str(archive) in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.v1", "model.v1.zip"]
    with zipfile.ZipFile(archive) as file:
        assert "model.v1/configs/inference.json" in file.namelist()


def test_the_working_directory_is_packed_alone(
    tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its name is that of the folder, and what lies around it is somebody's own."""
    (tmp_path / "thesis.txt").write_text("five years", encoding="utf-8")
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    assert main(["pack", str(tiny_weights), "."]) == 0
    assert f"files, {tmp_path / 'mine.zip'}" in capsys.readouterr().out
    with zipfile.ZipFile(tmp_path / "mine.zip") as file:
        packed = {name for name in file.namelist() if not name.endswith("/")}
    assert packed == {f"mine/{path.relative_to('.').as_posix()}" for path in Path(".").rglob("*") if path.is_file()}
    assert "mine/models/model.pt" in packed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "mine.zip", "thesis.txt"]


@pytest.mark.parametrize("content", ['{"version": "1"}', "[]", "{"])
def test_metadata_that_are_no_bundles_are_told_and_nothing_is_written(
    content: str, tmp_path: Path, tiny_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "bundle"
    (bundle / "configs").mkdir(parents=True)
    shutil.copy(bundle_root() / "configs" / "inference.json", bundle / "configs")
    (bundle / "configs" / "metadata.json").write_text(content, encoding="utf-8")
    (bundle / "models").mkdir()
    shutil.copy(tiny_weights, bundle / "models" / "model.pt")
    assert main(["pack", str(bundle), str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {bundle / 'configs' / 'metadata.json'} has no network_data_format")
    assert error.count("\n") == 1 and [path.name for path in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.parametrize("there", [False, True], ids=["new", "empty"])
def test_a_bundle_that_cannot_be_written_leaves_nothing_half(
    there: bool, tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    if there:
        output.mkdir()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("c2f_monai.apps.pack._copy", full)
        assert main(["pack", str(tiny_weights), str(output)]) == 1
    assert list(tmp_path.rglob("*")) == [output] * there
    assert main(["pack", str(tiny_weights), str(output)]) == 0
    assert (output / "configs" / "metadata.json").is_file() and (tmp_path / "out.zip").is_file()


def test_large_weights_need_an_address(
    tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("c2f_monai.apps.pack.LARGE", 1000)
    words = ["pack", str(tiny_weights), str(tmp_path / "zoo")]
    assert main(words) == 1
    assert "give its --url" in capsys.readouterr().err
    assert not (tmp_path / "zoo").exists()
    monkeypatch.setattr("c2f_monai.apps.pack.ADDED", 1000)
    assert main([*words, "--url", "https://example.org/model.pt"]) == 0
    assert "leave models/model.pt out of the pull request" in capsys.readouterr().out
    content = yaml.safe_load((tmp_path / "zoo" / "large_files.yml").read_text(encoding="utf-8"))
    (entry,) = content["large_files"]
    assert entry["path"] == "models/model.pt" and entry["url"] == "https://example.org/model.pt"
    # What is there with the right checksum is not fetched; another file is.
    given = {key: value for key, value in entry.items() if key != "path"}
    download_url(filepath=str(tmp_path / "zoo" / "models" / "model.pt"), **given)
    with pytest.raises(HashCheckError, match="hash check of existing file failed"):
        download_url(filepath=__file__, **given)
    assert main([*words, "--url", "https://example.org/model.pt"]) == 1
    assert "exists: give a new or empty folder" in capsys.readouterr().err


def test_training_under_monai_label_renews_the_served_weights(tiny_weights: Path, tmp_path: Path) -> None:
    assert main(["pack", str(tiny_weights), str(tmp_path / "app"), "--config", "three_views.json", "--label"]) == 0
    parser = ConfigParser()
    parser.read_config(str(tmp_path / "app" / "configs" / "train.json"))
    parser["bundle_root"] = str(tmp_path / "app")
    served = parser.get_parsed_content("served_path")
    assert served == str(tmp_path / "app" / "models" / "model.pt")
    assert torch.load(served, weights_only=True).keys() == torch.load(tiny_weights, weights_only=True).keys()
    assert parser.get_parsed_content("coarse_stage") is None
    folders = {str(ConfigParser(parser.get()).get_parsed_content("output_dir")) for _ in range(2)}
    assert len(folders) == 2 and all(folder.startswith(str(tmp_path / "app" / "runs")) for folder in folders)
