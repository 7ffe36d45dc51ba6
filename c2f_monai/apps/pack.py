# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``pack``: a model as a bundle that carries the package, for the model zoo and for MONAI Label."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from ..inferers import quality_path
from ..utils import atomic_write, bundle_root, config_file, read_state_dict, sha256_of
from .model_config import find_model, label_names, read_model
from .staging import move_files, staged

__all__ = ["LARGE", "PACKAGE", "run"]

PACKAGE = Path(__file__).resolve().parents[1]
#: Bytes above which the model zoo takes no file, but its address.
LARGE = 25_000_000
#: Bytes above which the checks of its pull requests refuse a file that is added.
ADDED = 1_048_576
#: What of the metadata was measured with the released weights.
MEASURED = ("eval_metrics",)
WEIGHTS = "models/model.pt"
CKPT_PATH = "$os.path.join(@bundle_root, 'models', 'model.pt')"
#: Configurations that stand beside those of inference and training as they are.
BESIDE = (
    "evaluate.json",
    "multi_gpu_evaluate.json",
    "multi_gpu_inference.json",
    "multi_gpu_train.json",
    "federated.json",
    "logging.conf",
)
#: Rooms and folders that a bundle does not need: the commands, and what is mapped into an installed package.
LEFT_OUT = ("apps", "bundle", "overlays", "__pycache__", "__main__.py")


def run(args: argparse.Namespace) -> None:
    """Write the folder and its zip.

    Raises:
        FileExistsError: when the folder holds something, or its zip is there.
        FileNotFoundError: when there is no such model.
        ValueError: when the weights are large and there is no address, or are none, such as the graphs of an export,
            and when the model's metadata are no bundle's. Nothing is written then.
    """
    output: Path = args.output.resolve()  # the working directory has a name, too, and a folder around it
    if output.is_file() or (output.is_dir() and any(output.iterdir())):
        raise FileExistsError(f"{output} exists: give a new or empty folder.")
    archive = Path(f"{output}.zip")
    if archive.exists():
        raise FileExistsError(f"{archive} exists, and would be the folder's zip: remove it, or give another folder.")
    root, files, _ = find_model(args.model, args.config)
    config = read_model(args.model, args.config)
    weights = config.get_parsed_content("ckpt_path")
    if not isinstance(weights, str):
        raise ValueError(f"{args.model} has several files of weights: pack each of its models by itself.")
    _check_weights(args.model, weights)
    size = Path(weights).stat().st_size
    if size > LARGE and args.url is None:
        raise ValueError(f"{weights} has {size / 1e6:.0f} MB, and the zoo takes {LARGE / 1e6:.0f}: give its --url.")
    metadata = _read_metadata(_own(root, "configs/metadata.json"))
    overlays = [file for file in files if file.name != "inference.json"]
    with staged(output) as part:
        bundle = part / output.name  # as the zip has it
        _write_configs(bundle, root, overlays, files, args.label)
        _write_metadata(bundle, metadata, config, weights)
        _copy(bundle, root, weights, args.url)
        with atomic_write(archive) as zipped:
            shutil.make_archive(str(zipped.with_suffix("")), "zip", part, bundle.name)
            move_files(bundle, output)
    print(f"{args.output}: {sum(1 for path in output.rglob('*') if path.is_file())} files, {archive}")
    if size > ADDED and not args.label:
        print(f"the model zoo: {_advice(args.url)}")


def _advice(url: str | None) -> str:
    """What the weights, which are over the size of a file that is added, mean for a pull request."""
    if url is None:
        return f"a pull request takes no file over {ADDED >> 20} MiB: lay the weights somewhere and give their --url."
    return f"leave {WEIGHTS} out of the pull request, large_files.yml has its address."


def _check_weights(model: str, weights: str) -> None:
    """Refuse what cannot be the bundle's ``model.pt``, such as the manifest of graphs.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it holds no weights.
    """
    try:
        read_state_dict(weights)
    except ValueError as error:
        raise ValueError(
            f"{model} has no file of weights to pack, but {weights}: give the model itself, no export of it"
        ) from error


def _own(root: Path, name: str) -> Path:
    """A file or folder of the model's bundle, which its owner may have edited; the package's where it has none."""
    return root / name if (root / name).exists() else bundle_root() / name


def _write_configs(output: Path, root: Path, overlays: Sequence[Path], files: Sequence[Path], label: bool) -> None:
    train = [_own(root, "configs/train.json"), *overlays, *([config_file("label.json")] if label else [])]
    for name, sources in (("inference", files), ("train", train)):
        parser = ConfigParser()
        parser.read_config([str(source) for source in sources])
        merged = parser.get()
        merged.pop("_meta_", None)
        merged["ckpt_path"] = CKPT_PATH
        _write_json(output / "configs" / f"{name}.json", merged)
    for name in BESIDE:
        shutil.copy(_own(root, f"configs/{name}"), output / "configs")


def _read_metadata(path: Path) -> dict[str, Any]:
    """Metadata of a bundle, which names what its masks hold.

    Raises:
        ValueError: when they do not.
    """
    try:
        metadata: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        metadata["network_data_format"]["outputs"]["pred"].get("channel_def")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} has no network_data_format with outputs and pred, which names the values of masks "
            f"({type(error).__name__}: {error}): write it as MONAI's schema of metadata has it."
        ) from error
    return metadata


def _write_metadata(output: Path, metadata: dict[str, Any], config: ConfigParser, weights: str) -> None:
    digest = sha256_of(weights)
    released = [entry for entry in metadata.get("weights", {}).values() if entry.get("sha256") == digest]
    metadata["weights"] = {"model.pt": released[0] if released else {"sha256": digest}}
    if not released:
        metadata = {key: value for key, value in metadata.items() if key not in MEASURED}
        print("these are no released weights: say in docs/README.md and metadata.json what they were trained on.")
    metadata["network_data_format"]["outputs"]["pred"]["channel_def"] = _names(config, {weights: digest})
    _write_json(output / "configs" / "metadata.json", metadata)


def _names(config: ConfigParser, weights: Mapping[str, str]) -> dict[str, str]:
    """What the values of masks are called: of weights that bring no names, nothing that another organ has."""
    given = config.get_parsed_content("output_value") if "output_value" in config.get() else 1
    values = given if isinstance(given, Sequence) else [given]
    unnamed = {value: "target" if len(values) == 1 else f"target {value}" for value in values}
    names = {**unnamed, **label_names(config, weights)}
    return {"0": "background", **{str(value): names[value] for value in sorted(names)}}


def _copy(output: Path, root: Path, weights: str, url: str | None) -> None:
    """License, documents, the package, the weights with what predicts their quality, and their address."""
    shutil.copy(_own(root, "LICENSE"), output)
    shutil.copytree(_own(root, "docs"), output / "docs")
    shutil.copytree(PACKAGE, output / PACKAGE.name, ignore=_left_out)
    (output / WEIGHTS).parent.mkdir()
    shutil.copy(weights, output / WEIGHTS)
    if quality_path(weights).is_file():
        shutil.copy(quality_path(weights), quality_path(output / WEIGHTS))
    if url is not None:
        lines = ["large_files:", f'  - path: "{WEIGHTS}"', f'    url: "{url}"']
        lines += [f'    hash_val: "{sha256_of(weights)}"', '    hash_type: "sha256"']
        (output / "large_files.yml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _left_out(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name in LEFT_OUT] if Path(folder) == PACKAGE else ["__pycache__"]


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with atomic_write(path) as part:
        part.write_text(json.dumps(content, indent=4, ensure_ascii=False) + "\n", encoding="utf-8")
