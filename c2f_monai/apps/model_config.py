# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Configuration of a model that a user names: one of the package's, a bundle's folder, or a file of weights."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from ..config import override_config
from ..utils import bundle_root, config_file, settings_beside
from .models import DEFAULT_MODEL, MODELS
from .training_config import parse_option

__all__ = ["find_model", "label_names", "model_ids", "read_model", "signature_of"]

#: Ids that commands with INPUT and OUTPUT have arguments for, or do not look at.
OF_COMMANDS = frozenset(
    ("input", "output_dir", "dataset_dir", "split", "fold", "overwrite", "strict", "overlays", "bundle_root")
    + ("ckpt_path", "device", "progress")
)


def read_model(
    model: str | os.PathLike[str] = DEFAULT_MODEL,
    configs: Sequence[str | os.PathLike[str]] = (),
    options: Mapping[str, Any] | None = None,
) -> ConfigParser:
    """Configuration of a model, see :class:`c2f_monai.Segmenter` for the arguments.

    Raises:
        FileNotFoundError: when there is no such model or configuration.
        ValueError: when :func:`c2f_monai.config.check_config` refuses it.
    """
    root, files, found = find_model(model, configs)
    config = ConfigParser()
    config.read_config([str(file) for file in files])
    config.update({"bundle_root": str(root), **found})
    override_config(config, options or {})
    return config


def find_model(
    model: str | os.PathLike[str], configs: Sequence[str | os.PathLike[str]] = ()
) -> tuple[Path, list[Path], dict[str, str]]:
    """Folder of the bundle, configurations and ids of a model, see :class:`c2f_monai.Segmenter` for the arguments.

    Raises:
        FileNotFoundError: when there is no such model or configuration.
    """
    root, found, beside = bundle_root(), {}, []
    names: tuple[str, ...] = ("inference.json",)
    path = Path(model).expanduser()
    if str(model) in MODELS:
        names = MODELS[str(model)].configs
    elif path.is_dir():
        root = path.absolute()
    elif path.is_file():
        found = {"ckpt_path": str(path.absolute())}
        beside = settings_beside(path.absolute())
    else:
        raise FileNotFoundError(
            f"there is no model {model}: give one of {', '.join(MODELS)}, the folder of a bundle, or a file of weights."
        )
    files = [root / "configs" / name for name in names]
    if missing := [file for file in files if not file.is_file()]:
        raise FileNotFoundError(f"{model} is no bundle that can be used: there is no {missing[0]}.")
    return root, [*files, *beside, *map(config_file, configs)], found


def label_names(config: ConfigParser, weights: Mapping[str, str]) -> dict[int, str]:
    """Names of the values of masks, but the background's: ``output_names``, for a bundle's own weights its metadata.

    What a bundle says of its weights is no word about others, such as those of another organ.

    Args:
        config: of the model.
        weights: SHA-256 of its files of weights by their paths.
    """
    root = Path(config["bundle_root"])
    path = root / "configs" / "metadata.json"
    metadata = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    released = {entry.get("sha256") for entry in metadata.get("weights", {}).values()}
    models = (root / "models").resolve()
    own = all(digest in released or Path(file).resolve().parent == models for file, digest in weights.items())
    outputs = metadata.get("network_data_format", {}).get("outputs", {}) if own else {}
    given = config.get_parsed_content("output_names") if "output_names" in config.get() else None
    names = {**outputs.get("pred", {}).get("channel_def", {}), **(given or {})}
    return {int(value): str(name) for value, name in names.items() if int(value) > 0}


def signature_of(config: ConfigParser, weights: Sequence[str]) -> str:
    """Digest of what answers depend on: ids without places and devices, and the hashes of the weights.

    Args:
        config: of the model.
        weights: hashes, and what else tells models apart.

    Returns:
        12 hexadecimal digits.
    """
    places = ("bundle_root", "device", "input", "dataset_dir", "output_dir", "progress", "description")
    beside = (*places, "debug", "overwrite", "strict", "output_names")
    content = {k: value for k, value in config.get().items() if k not in beside and not k.endswith("ckpt_path")}
    text = json.dumps([content, weights], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def model_ids(options: Sequence[str], said: Set[str] = OF_COMMANDS) -> dict[str, Any]:
    """Ids and values of ``--option`` of a command that has arguments of its own for places and cases.

    Args:
        options: such as "max_rounds=3", see :func:`c2f_monai.apps.training_config.parse_option`.
        said: ids that the command says otherwise. Defaults to those of commands with INPUT and OUTPUT.

    Raises:
        ValueError: for one that is no ID=VALUE, and for an id that the command says otherwise.
    """
    ids = dict(parse_option(text) for text in options)
    if refused := sorted(ids.keys() & said):
        raise ValueError(
            f"--option {refused[0]}: this command says it by an argument of its own, or not at all: see --help."
        )
    return ids
