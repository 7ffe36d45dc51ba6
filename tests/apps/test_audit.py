# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``audit`` lists what a bundle would run, and runs none of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from c2f_monai.apps.audit import audit, is_allowed
from c2f_monai.apps.cli import main

ROOT = Path(__file__).resolve().parents[2]


def bundle_of(folder: Path, config: Any, **files: str) -> Path:
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "inference.json").write_text(json.dumps(config), encoding="utf-8")
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("target", "allowed"),
    [
        ("UNet", True),
        ("RandAffined", True),
        ("monai.networks.nets.UNet", True),
        ("torch.optim.SGD", True),
        ("ignite.handlers.ProgressBar", True),
        ("c2f_monai.networks.build_network", True),
        ("os.system", False),
        ("torch.load", False),
        ("torch.hub.load", False),
        ("monai.utils.run_cmd", False),
        ("monai.bundle.run", False),
        ("monai.data.utils.os.system", False),  # a path through what MONAI imports
        ("monai.networks.utils.torch.load", False),
        ("c2f_monai.data.datalist.os.remove", False),
        ("c2f_monai.apps.merge.run", False),
        ("no_such_class", False),
        ("NibabelReader", True),
        ("CacheDataset", True),
        ("NumpyReader", False),  # these load pickles
        ("monai.data.PersistentDataset", False),
        ("CacheNTransDataset", False),
        ("LMDBDataset", False),
        ("torch.utils.data.datapipes.iter.RoutedDecoder", False),
        ("@other", False),
    ],
)
def test_targets_are_classes_that_compute(target: str, allowed: bool) -> None:
    assert is_allowed(target) is allowed


def test_what_runs_is_listed_with_its_place_and_is_not_run(tmp_path: Path) -> None:
    config = {
        "imports": ["$import os"],
        "a": {"inner": ["$open('ran', 'w')"]},
        "b": {"_target_": "os.system", "command": "touch ran"},
        "c": "%/other/config.json#part",
        "d": {"_target_": "UNet", "spatial_dims": 2},
        "e": {"_target_": "$sys.exit"},
        "price": "5 $",
    }
    bundle = bundle_of(tmp_path / "bundle", config, scripts__py="open('ran', 'w')", logging__conf="[a]\nargs=(x(),)\n")
    (bundle / "broken.yaml").write_text("a: [", encoding="utf-8")
    torch.save({"model": torch.nn.Linear(1, 1)}, bundle / "model.pt")
    torch.save({"weight": torch.zeros(1)}, bundle / "tensors.pt")
    (bundle / "link").symlink_to("/etc/hostname")
    found = {(one.file, one.place, one.kind, one.what.split(":")[0]) for one in audit(bundle)}
    assert {one for one in found if one[0] == "configs/inference.json"} == {
        ("configs/inference.json", "imports::0", "expression", "$import os"),
        ("configs/inference.json", "a::inner::0", "expression", "$open('ran', 'w')"),
        ("configs/inference.json", "b", "target", "os.system"),
        ("configs/inference.json", "c", "macro", "%/other/config.json#part"),
        ("configs/inference.json", "e::_target_", "expression", "$sys.exit"),
    }
    assert {(file, kind) for file, _, kind, _ in found if file != "configs/inference.json"} == {
        ("scripts.py", "program"),
        ("logging.conf", "logging"),
        ("broken.yaml", "unreadable"),
        ("model.pt", "weights"),
        ("link", "program"),
    }
    assert not (tmp_path / "ran").exists() and not Path("ran").exists()


class Touching:
    """Makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_pickles_and_who_loads_them_are_listed(tmp_path: Path) -> None:
    load = {"_target_": "LoadImaged", "keys": "image"}
    config = {
        "a": {**load, "reader": {"_target_": "NumpyReader", "allow_pickle": True}},
        "b": {**load, "reader": "NumpyReader", "allow_pickle": "@yes"},
        "c": {**load, "reader": ["NibabelReader", "os.system"]},
        "d": {"_target_": "CheckpointLoader", "weights_only": False},
        "e::pickle_module": "dill",
        "+f#g": {**load, "allow_pickle": False, "weights_only": True, "pickle_module": "pickle"},
        "h::_target_": "os.system",
        "i": {"_target_": "SaveImaged", "keys": "pred", "writer": "os.system"},
    }
    bundle = bundle_of(tmp_path / "bundle", config)
    things = np.array([Touching(tmp_path / "ran")], dtype=object)
    np.save(bundle / "norm.npy", things)
    np.savez(bundle / "more.npz", numbers=np.zeros(3), things=things)
    things.dump(bundle / "bare.npy")
    np.save(bundle / "numbers.npy", np.zeros((2, 3), np.float32))
    np.savez_compressed(bundle / "numbers.npz", numbers=np.zeros(3), named=np.zeros(2, [("größe", "f4")]))
    found = [(one.file, one.place, one.kind, one.what.split(": the magic")[0]) for one in audit(bundle)]
    assert sorted(found) == [
        ("bare.npy", "", "program", "cannot be read as arrays"),
        ("configs/inference.json", "a::reader", "pickle", "allow_pickle: True"),
        ("configs/inference.json", "a::reader", "target", "NumpyReader"),
        ("configs/inference.json", "b", "pickle", "allow_pickle: @yes"),
        ("configs/inference.json", "b", "target", "NumpyReader"),
        ("configs/inference.json", "c", "target", "os.system"),
        ("configs/inference.json", "d", "pickle", "weights_only: False"),
        ("configs/inference.json", "e", "pickle", "pickle_module: dill"),
        ("configs/inference.json", "h", "target", "os.system"),
        ("configs/inference.json", "i", "target", "os.system"),
        ("more.npz", "", "program", "holds pickled objects"),
        ("norm.npy", "", "program", "holds pickled objects"),
    ]
    assert not (tmp_path / "ran").exists()
    np.load(bundle / "norm.npy", allow_pickle=True)
    assert (tmp_path / "ran").exists()


def test_kinds_of_files_are_told_by_all_their_suffixes(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "bundle", {}, LOG__CONF="args=(x(),)\n", mine__conf="[h]\nclass=X\n")
    for name in ("pytorch_model.bin", "weights.pth.tar"):
        (bundle / name).write_bytes(b"\x80\x04cos\nsystem\n.")
    for name in ("libx.so.1", "liby.so.1.2.3", "libz.dylib", "notes.so.txt"):
        (bundle / name).write_bytes(b"")
    torch.save({"weight": torch.zeros(1)}, bundle / "tensors.bin")
    assert {(one.file, one.kind) for one in audit(bundle)} == {
        ("LOG.CONF", "logging"),
        ("mine.conf", "logging"),
        ("pytorch_model.bin", "weights"),
        ("weights.pth.tar", "weights"),
        ("libx.so.1", "program"),
        ("liby.so.1.2.3", "program"),
        ("libz.dylib", "program"),
    }


def test_a_bundle_of_this_package_holds_nothing_new(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", str(ROOT / "bundle"), "--new"]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and "all of them as in c2f_monai" in out


def test_what_is_new_is_said_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = bundle_of(tmp_path / "bundle", {"imports": ["$import os"], "run": "$os.remove('x')"})
    paths = list(sys.path)
    assert main(["audit", str(bundle)]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "configs/inference.json, imports#0: expression $import os  [as in c2f_monai]",
        "configs/inference.json, run: expression $os.remove('x')",
    ]
    assert err.startswith("error: 1 of 2 places run what c2f_monai does not")
    assert sys.path == paths
    assert main(["audit", str(bundle), "--new"]) == 1
    assert "import os" not in capsys.readouterr().out


@pytest.mark.parametrize(("name", "message"), [("nowhere", "there is no bundle"), ("bundle.zip", "unpack an archive")])
def test_what_is_no_bundle_is_refused(
    name: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bundle.zip").touch()
    assert main(["audit", str(tmp_path / name)]) == 1
    assert message in capsys.readouterr().err
