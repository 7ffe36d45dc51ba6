# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Kinds of values that ids of the configurations take: what is accepted, and the words that say so."""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from ..utils import View

__all__ = [
    "Kind",
    "with_condition",
    "axcodes",
    "built",
    "choice",
    "device",
    "flag",
    "increasing",
    "integer",
    "label_values",
    "list_of",
    "mapping_of",
    "names_of_values",
    "number",
    "one_or_pair",
    "path",
    "read_flag",
    "text",
    "view_names",
]

_OPPOSITES = ("RL", "AP", "SI")


@dataclass(frozen=True)
class Kind:
    """What an id takes.

    Attributes:
        words: what it must be, as in "must be a whole number of at least 0".
        accepts: whether a value is of this kind.
        checked: whether a value is looked at; that of an id that is built from components is not.
        read: what a value of a command line means, where the words and numbers there are something else.
    """

    words: str
    accepts: Callable[[Any], bool]
    checked: bool = True
    read: Callable[[Any], Any] = lambda value: value

    def or_none(self) -> Kind:
        """The same, or None."""
        return replace(self, words=f"{self.words}, or None", accepts=lambda value: value is None or self.accepts(value))


def integer(low: int, high: int | None = None) -> Kind:
    """A whole number; True and False are none.

    Examples:
        >>> integer(1).accepts(2.0), integer(0, 3).accepts(3), integer(0).words
        (False, True, 'a whole number of at least 0')
    """
    return Kind(f"a whole number{_range(low, high)}", lambda value: _is_integer(value) and _within(value, low, high))


def number(low: float | None = None, high: float | None = None, above: float | None = None) -> Kind:
    """A finite number.

    Args:
        low: the least one.
        high: the greatest one.
        above: all numbers are greater than this one.

    Examples:
        >>> number(above=0).accepts(float("nan")), number(0, 1).accepts(1), number(above=0).words
        (False, True, 'a number above 0')
    """
    words = f"a number above {above}" if above is not None else f"a number{_range(low, high)}"
    words += f" and at most {high}" if above is not None and high is not None else ""

    def accepts(value: Any) -> bool:
        return _is_number(value) and _within(value, low, high) and (above is None or value > above)

    return Kind(words, accepts)


def flag() -> Kind:
    """True or False; on a command line also true and false, which ``monai.bundle`` gives as texts.

    Examples:
        >>> flag().read("false"), flag().read("no"), flag().accepts("no")
        (False, 'no', False)
    """
    return Kind("true or false", lambda value: isinstance(value, bool), read=read_flag)


def read_flag(value: Any) -> Any:
    """A truth value for the words true and false; everything else is as it was."""
    return {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value


def choice(names: Iterable[str]) -> Kind:
    """One of some names."""
    known = [str(name) for name in names]
    return Kind(f"one of {', '.join(known)}", lambda value: isinstance(value, str) and value in known)


def one_or_pair(names: Iterable[str]) -> Kind:
    """One of some names, or a pair of them."""
    one = choice(names)

    def accepts(value: Any) -> bool:
        return one.accepts(value) or (_is_list(value) and len(value) == 2 and all(map(one.accepts, value)))

    return Kind(f"{one.words}, or a pair of them", accepts)


def text() -> Kind:
    """A text that is not empty."""
    return Kind("a text", lambda value: isinstance(value, str) and bool(value.strip()))


def path() -> Kind:
    """A file or a folder, which need not exist; on a command line also a folder whose name is a number."""
    return Kind(
        "a path",
        lambda value: isinstance(value, os.PathLike) or text().accepts(value),
        read=lambda value: str(value) if _is_integer(value) else value,
    )


def list_of(kind: Kind, length: int | None = None, words: str = "") -> Kind:
    """A list of values of one kind.

    Args:
        kind: of the entries.
        length: how many there must be. Defaults to None, any number from 1 up.
        words: for the whole list. Defaults to those of the kind.
    """
    said = words or f"a list of {length or 'values'}, each {kind.words}"

    def accepts(value: Any) -> bool:
        return (
            _is_list(value) and (len(value) == length if length else len(value) > 0) and all(map(kind.accepts, value))
        )

    return Kind(said, accepts)


def mapping_of(kind: Kind) -> Kind:
    """Values of one kind by names."""

    def accepts(value: Any) -> bool:
        return isinstance(value, Mapping) and all(text().accepts(k) and kind.accepts(v) for k, v in value.items())

    return Kind(f"a mapping from names, each value {kind.words}", accepts)


def with_condition(kind: Kind, words: str, fits: Callable[[Any], bool]) -> Kind:
    """A kind with one more condition.

    Args:
        kind: to begin with.
        words: for both.
        fits: the condition, asked of values of the kind.
    """
    return Kind(words, lambda value: kind.accepts(value) and fits(value))


def increasing() -> Kind:
    """Two increasing numbers."""
    words = "two increasing numbers, such as [-100, 240]"
    return with_condition(list_of(number(), 2), words, lambda value: value[0] < value[1])


def label_values() -> Kind:
    """Values of a label map: one, several of one target, or a list for each target."""
    one = integer(1, 255)
    several = list_of(one)
    nested = list_of(several)
    words = "a label value from 1 to 255, a list of them, or a list of such lists, one for each class"
    return Kind(words, lambda value: one.accepts(value) or several.accepts(value) or nested.accepts(value))


def names_of_values() -> Kind:
    """Names by values of label maps; a component or an expression may make them, too.

    Examples:
        >>> kind = names_of_values()
        >>> kind.accepts({"1": "liver"}), kind.accepts({1: "liver"}), kind.accepts({"liver": 1})
        (True, True, False)
    """
    one = integer(0, 255)

    def accepts(value: Any) -> bool:
        if not isinstance(value, Mapping) or "_target_" in value:
            return built().accepts(value)
        keys = [int(key) if str(key).isdecimal() else None for key in value]
        return all(map(one.accepts, keys)) and all(map(text().accepts, value.values()))

    return Kind('names by values, such as {"1": "liver"}', accepts, checked=False)


def view_names() -> Kind:
    """Different views, in the order they are run."""
    names = choice(View)
    words = f'a list of different names out of {", ".join(View)}, such as ["axial"]'
    return with_condition(list_of(names), words, lambda value: len(set(value)) == len(value))


def axcodes() -> Kind:
    """Directions of slices, rows and columns of each view, such as ``{"axial": "SPL"}``."""
    words = 'directions of slices, rows and columns by views, such as {"axial": "SPL"}, letters out of R L A P S I'

    def is_code(value: Any) -> bool:
        axes = [index for letter in str(value) for index, pair in enumerate(_OPPOSITES) if letter in pair]
        return isinstance(value, str) and len(value) == 3 and sorted(axes) == [0, 1, 2]

    views = list(View)
    return with_condition(mapping_of(Kind("", is_code)), words, lambda value: all(name in views for name in value))


def device() -> Kind:
    """A device of PyTorch that is there."""
    words = f"a device that is here ({_devices_here()}), as PyTorch writes it: cpu, cuda, cuda:1 or mps"

    def accepts(value: Any) -> bool:
        if not isinstance(value, (str, torch.device)):
            return False
        try:
            wanted = torch.device(value)
        except RuntimeError:
            return False
        counts = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
        return wanted.type not in counts or (wanted.index or 0) < counts[wanted.type]

    return Kind(words, accepts)


def built() -> Kind:
    """What is put together from components: a mapping with ``_target_``, a list of them, a reference, an expression."""

    def accepts(value: Any) -> bool:
        return not isinstance(value, (bool, numbers.Number)) and not (
            isinstance(value, str) and not value.startswith(("$", "@", "%"))
        )

    return Kind('a component ({"_target_": ...}), a reference (@id) or an expression ($...)', accepts, checked=False)


def _devices_here() -> str:
    names = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    return ", ".join([*names, "mps"] if torch.backends.mps.is_available() else names)


def _is_integer(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _within(value: Any, low: float | None, high: float | None) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)


def _range(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f" from {low} to {high}"
    if low is not None:
        return f" of at least {low}"
    return "" if high is None else f" of at most {high}"
