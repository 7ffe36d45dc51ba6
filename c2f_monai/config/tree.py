# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A configuration as a tree: who refers to whom, and what an id stands for without building anything."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cache
from typing import Any

from monai.bundle import ComponentLocator, ConfigComponent, ConfigParser, ReferenceResolver

from ..utils import root_cause

__all__ = ["ConfigTree", "MissingReferenceError", "UnresolvedError", "nodes", "target_path"]

#: Components that cost nothing and read nothing, so that ids that refer to them can be known.
_CHEAP = {"work_root"}


class UnresolvedError(Exception):
    """An id whose value is known only when components have been built."""


class MissingReferenceError(ValueError):
    """A reference to an id that is not there."""

    def __init__(self, name: str) -> None:
        super().__init__(f"it refers to @{name.replace('::', '#')}, which is no id here")
        self.name = name


class ConfigTree:
    """
    A copy of a configuration to ask questions of.

    Args:
        config: of a ``ConfigParser``, macros replaced or not; it is left as it is.

    Attributes:
        content: the copy, its macros and relative references replaced.
        references: ids that something in it refers to.

    Raises:
        ValueError: for a macro that leads nowhere.
    """

    def __init__(self, config: Any) -> None:
        self._parser = ConfigParser(_copy(config))
        try:
            self._parser.parse()
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(f"the configuration cannot be put together: {error}") from error
        self.content: dict[str, Any] = self._parser.get()
        self.references = {reference for _, node in nodes(self.content) for reference in _references(node)}
        self._referenced = {_top(reference) for reference in self.references}

    def is_used(self, name: str) -> bool:
        """Whether something refers to a top-level id, or holds a copy of its value (``%name``)."""
        if name in self._referenced:
            return True
        value = self.content[name]
        return _is_built(value) and any(
            node == value for place, node in nodes(self.content) if _top(place) not in ("", name)
        )

    def reachable(self, roots: set[str], known: Collection[str] = ()) -> set[str]:
        """Top-level ids that some ids lead to, themselves included; references to ``known`` ones are not followed."""
        found: set[str] = set()
        todo = roots & set(self.content)
        while todo:
            found |= todo
            inside = {_top(r) for name in todo for _, node in nodes(self.content[name]) for r in _references(node)}
            todo = (inside & set(self.content)) - found - set(known)
        return found

    def value(self, name: str) -> Any:
        """What an id stands for, expressions evaluated.

        Raises:
            UnresolvedError: where components would have to be built.
            MissingReferenceError: where an id is missing.
            ValueError: where it cannot be evaluated.
        """
        value = self._parser[name]
        if not (_is_built(value) or any(_is_computed(node) for _, node in nodes(value))):
            return value
        self._ask_for_plain(name, value, set())
        try:
            return self._parser.get_parsed_content(name)
        except Exception as error:  # an expression may raise anything
            cause = root_cause(error)
            raise ValueError(f"{value!r} cannot be evaluated: {type(cause).__name__}: {cause}") from error

    def _ask_for_plain(self, name: str, value: Any, seen: set[str]) -> None:
        if _top(name) in _CHEAP or name in seen:
            return
        if _is_built(value):
            raise UnresolvedError(name)
        for reference in {r for _, node in nodes(value) for r in _references(node)}:
            if reference not in self._parser:
                raise MissingReferenceError(reference)
            self._ask_for_plain(reference, self._parser.get(reference), seen | {name})


def nodes(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Every value in a tree with its id, from the outside to the inside; the root's is empty.

    Examples:
        >>> [place for place, _ in nodes({"a": [1, 2]})]
        ['', 'a', 'a::0', 'a::1']
    """
    yield place, value
    if isinstance(value, (dict, list)):
        for _, inner, node in ReferenceResolver.iter_subconfigs(place, value):
            yield from nodes(node, inner)


def _is_built(value: Any) -> bool:
    """Whether there is a component in a value."""
    return any(isinstance(node, dict) and "_target_" in node for _, node in nodes(value))


def _references(node: Any) -> list[str]:
    return list(ReferenceResolver.match_refs_pattern(node)) if isinstance(node, str) else []


def _is_computed(node: Any) -> bool:
    return bool(_references(node)) or (isinstance(node, str) and node.startswith("$"))


def _top(place: str) -> str:
    return ReferenceResolver.split_id(place)[0]


def _copy(value: Any) -> Any:
    """A copy of the tree; what is neither a mapping nor a list, such as a network that was put in, is the same."""
    if isinstance(value, dict):
        return {key: _copy(entry) for key, entry in value.items()}
    return [_copy(entry) for entry in value] if isinstance(value, list) else value


def target_path(target: str) -> str:
    """The path of a ``_target_``, whose short names are those of MONAI's classes.

    Examples:
        >>> target_path("SupervisedTrainer"), target_path("torch.nn.ReLU")
        ('monai.engines.trainer.SupervisedTrainer', 'torch.nn.ReLU')
    """
    path: str = ConfigComponent({"_target_": target}, locator=_locator()).resolve_module_name()
    return path


@cache
def _locator() -> ComponentLocator:
    """One for all: it lists the modules of MONAI."""
    return ComponentLocator()
