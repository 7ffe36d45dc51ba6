# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The file of the tables, ``tables.yaml``: its weights as they are planned, its tables as they stand there, checked."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from .plan import Merged, Training, Weights

__all__ = ["TABLES", "Declared", "DeclarationError", "checked", "declared", "named", "text_of", "training_of"]

#: The file.
TABLES = Path(__file__).with_name("tables.yaml")
_LISTS = ("overlays", "published", "apart")
_TRAINING = (*_LISTS, "options", "small", "own_recipe", "effort", "start", "kept_by")


class DeclarationError(ValueError):
    """What the file says cannot be planned."""


@dataclass(frozen=True)
class Declared:
    """What the file declares.

    Attributes:
        weights: trainings and merged weights by name.
        tables: each table by name, as it stands in the file.
    """

    weights: Mapping[str, Weights]
    tables: Mapping[str, Mapping[str, Any]]

    def training(self, name: str) -> Training:
        """The training of a name.

        Raises:
            DeclarationError: When there is none.
        """
        return training_of(name, self.weights, "trainings")


@cache
def declared(path: Path = TABLES) -> Declared:
    """What a file declares.

    Raises:
        DeclarationError: For what it does not say rightly, with the place.
        OSError: When there is no such file.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except yaml.YAMLError as error:
        raise DeclarationError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    content = checked(content, path.name, ("trainings", "merges", "tables"), ("trainings", "tables"))
    weights: dict[str, Weights] = {}
    for name, own in content["trainings"].items():
        weights[name] = _training(name, own or {}, weights)
    for name, own in (content.get("merges") or {}).items():
        where = f"merges, {name}"
        own = checked(own, where, ("joint", "coarse"), ("joint", "coarse"))
        joint, coarse = (training_of(own[key], weights, where) for key in ("joint", "coarse"))
        weights[name] = Merged(name, joint.overlays, joint.options, joint=joint, coarse=coarse)
    return Declared(weights, {name: _mapping(table, f"table {name}") for name, table in content["tables"].items()})


def checked(content: Any, where: str, known: Collection[str], needed: Collection[str] = ()) -> dict[str, Any]:
    """A mapping with no other keys than the known ones, and all that are needed.

    Raises:
        DeclarationError: When it is another thing.
    """
    content = _mapping(content, where)
    for key in content:
        if key not in known:
            raise DeclarationError(f"{TABLES.name}, {where}: there is no key {key!r}, but {', '.join(known)}.")
    if missing := [key for key in needed if key not in content]:
        raise DeclarationError(f"{TABLES.name}, {where}: {missing[0]} is missing.")
    return content


def text_of(value: Any, where: str) -> str:
    """What the chapter prints.

    Raises:
        DeclarationError: For a number, which would lose its last zeros.
    """
    if not isinstance(value, str):
        raise DeclarationError(f"{TABLES.name}, {where}: what the chapter prints stands in quotes, got {value!r}.")
    return value


def named(name: Any, weights: Mapping[str, Weights], where: str) -> Weights:
    """Weights by name.

    Raises:
        DeclarationError: When there are none.
    """
    if not isinstance(name, str) or name not in weights:
        raise DeclarationError(
            f"{TABLES.name}, {where}: there are no weights {name!r} above, but {', '.join(weights)}."
        )
    return weights[name]


class _Loader(yaml.SafeLoader):
    """YAML that says so when a key is there twice, of which it would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        if not node.value or len(set(keys)) == len(keys):
            return super().construct_mapping(node, deep)
        twice = next(key for key in keys if keys.count(key) > 1)
        raise yaml.constructor.ConstructorError(None, None, f"the key {twice!r} is there twice", node.start_mark)


def _training(name: str, own: Any, weights: Mapping[str, Weights]) -> Training:
    where = f"training {name}"
    found = checked(own, where, _TRAINING)
    for key in _LISTS:
        if key in found:
            if not (isinstance(found[key], list) and all(isinstance(file, str) for file in found[key])):
                raise DeclarationError(f"{TABLES.name}, {where}: {key} is a list of files, got {found[key]!r}.")
            found[key] = tuple(found[key])
    for key in ("start", "kept_by"):
        if key in found:
            found[key] = training_of(found[key], weights, where)
    for key in ("options", "small"):
        if key in found:
            found[key] = _mapping(found[key], f"{where}, {key}")
    return Training(name, **found)


def training_of(name: Any, weights: Mapping[str, Weights], where: str) -> Training:
    """A training by name.

    Raises:
        DeclarationError: When there is none.
    """
    found = named(name, weights, where)
    if not isinstance(found, Training):
        raise DeclarationError(f"{TABLES.name}, {where}: {name} is merged, it is no training.")
    return found


def _mapping(content: Any, where: str) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise DeclarationError(f"{TABLES.name}, {where}: keys and values are needed, got {content!r}.")
    return dict(content)
