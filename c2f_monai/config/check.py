# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The check of a configuration before anything is read: its ids, their values, and what these say about each other."""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import pydoc
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from functools import cache
from typing import Any

from monai.bundle import ConfigComponent, ConfigParser, ReferenceResolver

from .kinds import built, read_flag
from .rules import contradictions
from .schema import IDS, MONAI_IDS
from .tree import ConfigTree, MissingReferenceError, UnresolvedError, nodes, target_path

__all__ = ["ConfigError", "check_config", "nearest", "override_config"]

_RUN_IDS = ("initialize", "run", "finalize")
_ROOTS = {"imports", *_RUN_IDS}
#: How alike two names are of which one is taken for a typing error of the other, where any name might be meant.
_ALIKE = 0.88
#: Names that a question lists.
_SHOWN = 3


class ConfigError(ValueError):
    """Mistakes in a configuration or in what was given on the command line, in one line."""


def check_config(
    parser: ConfigParser,
    given: Mapping[str, Any] | None = None,
    run_ids: Set[str] = frozenset(),
    more: Callable[[ConfigTree], Iterable[str]] = lambda tree: (),
) -> None:
    """Refuse what cannot be meant: unknown ids, values of another kind, and those that contradict each other.

    An id is known when it is one of :data:`c2f_monai.config.IDS`, or when the configuration refers to it: overlays may
    bring ids of their own, and notes whose ids begin with an underscore. Nothing is built and no image is read. The
    texts "true" and "false" of a command line become truth values where the id takes these, numbers become names of
    folders where it takes a path, and a None that was given, which ``monai.bundle`` leaves out, is set.

    Args:
        parser: the configuration, before or after ``parse``; it is changed as said above.
        given: ids and values of the command line, which must have an effect. Defaults to none.
        run_ids: further ids that are run, beside "initialize", "run" and "finalize".
        more: what else is to be checked: messages about the whole configuration. Defaults to nothing.

    Raises:
        ConfigError: for any of it, all in one line.

    Examples:
        >>> check_config(ConfigParser({"margin": 20, "margn": 30}))
        Traceback (most recent call last):
        c2f_monai.config.check.ConfigError: margn is no id of the configuration: did you mean margin or max_margin?
    """
    _take_as_meant(parser, given or {})
    tree = ConfigTree(parser.get())
    known = {*MONAI_IDS, *IDS, *run_ids}
    reached = tree.reachable({*_ROOTS, *run_ids})
    problems = [*_unknown_ids(tree, known), *_without_effect(tree, given or {}, reached)]
    problems += [*_unknown_arguments(tree, given or {}), *_unknown_places(tree, given or {})]
    values, wrong = _values(tree, reached)
    problems += _not_run(tree, {*_RUN_IDS, *run_ids})
    problems += [*wrong, *contradictions(values, tree.content), *more(tree)]
    if problems:
        raise ConfigError("; ".join(problems))


def override_config(parser: ConfigParser, options: Mapping[str, Any]) -> None:
    """Set ids of a configuration as a user gives them, and check it, see :func:`check_config`.

    Args:
        parser: the configuration.
        options: values by ids, which must have an effect.

    Raises:
        ConfigError: for what cannot be meant.
    """
    for name, value in options.items():
        try:
            parser[name] = value
        except (KeyError, IndexError, ValueError) as error:
            parent = ReferenceResolver.split_id(name, last=True)[0].replace("::", "#")
            raise ConfigError(f"{name} is no id of the configuration: there is no {parent} in it") from error
    check_config(parser, options)


def nearest(name: str, known: Iterable[str]) -> str:
    """A question for the known names that are nearest to one, empty where none is near.

    Examples:
        >>> nearest("inputs", ["input", "output_dir"])
        ': did you mean input?'
    """
    names = sorted(set(known))
    # Cut short, such as air for air_threshold.
    close = sorted((one for one in names if one.startswith(name) and len(name) > 1), key=len)
    close += [one for one in difflib.get_close_matches(name, names, _SHOWN) if one not in close]
    return f": did you mean {' or '.join(close[:_SHOWN])}?" if close else ""


def _take_as_meant(parser: ConfigParser, given: Mapping[str, Any]) -> None:
    """Truth values that came as texts, names of folders that came as numbers, and None that did not come at all."""
    for name, value in parser.get().items():
        if name in IDS and (meant := IDS[name].kind.read(value)) is not value:
            _put(parser, name, meant)
    for name, value in given.items():
        nested = len(ReferenceResolver.split_id(name)) > 1
        if value is None or (nested and read_flag(value) is not value):
            _put(parser, name, read_flag(value))


def _put(parser: ConfigParser, name: str, value: Any) -> None:
    """Set an id, also while the parser resolves others: its own setter would forget all that is resolved so far."""
    place = ReferenceResolver.normalize_id(name)
    parent, key = ReferenceResolver.split_id(place, last=True)
    holder = parser[parent]
    holder[key if isinstance(holder, dict) else int(key)] = value
    if place in parser.ref_resolver.items:
        parser.ref_resolver.items[place].update_config(value)
    parser.ref_resolver.remove_resolved_content(place)


def _unknown_ids(tree: ConfigTree, known: Set[str]) -> Iterator[str]:
    for name in tree.content:
        if name not in known and not name.startswith("_") and not tree.is_used(name):
            similar = nearest(name, {*IDS, *tree.content} - {name})
            yield f"{name} is no id of the configuration{similar or ', and nothing in it refers to it'}"


def _without_effect(tree: ConfigTree, given: Mapping[str, Any], reached: Set[str]) -> Iterator[str]:
    """Ids that were given where no part of the configuration looks at them, such as ``epochs`` in inference.

    Of what is inside of an id, augmentations alone: parts of networks may be given to several methods at once, of which
    some have others.
    """
    for name in given:
        top, *inside = ReferenceResolver.split_id(name)
        if inside and top == "augmentations" and reached and top not in reached:
            yield f"{name} has no effect in this configuration: nothing that runs uses {top}"
        if name in IDS and IDS[name].kind.checked and not tree.is_used(name):
            similar = nearest(name, (one for one in tree.content if one in IDS and one != name))
            yield f"{name} has no effect in this configuration, nothing in it refers to it{similar}"


def _unknown_arguments(tree: ConfigTree, given: Iterable[str]) -> Iterator[str]:
    """Arguments that a component's class or function does not take.

    Where it takes any, an argument that was given on the command line is one when it is nearly another's name.
    """
    typed = {ReferenceResolver.normalize_id(name) for name in given}
    for place, node in nodes(tree.content):
        target = node.get("_target_") if isinstance(node, dict) else None
        if not isinstance(target, str) or target.startswith(("$", "@", "%")):
            continue
        name = place.replace("::", "#")  # as it is written on the command line
        try:
            taken, takes_any = _arguments(target)
        except LookupError:
            yield f"{name}: there is no {target} to build it from"
            continue
        for key in ConfigComponent(node).resolve_args():
            doubtful = f"{place}::{key}" in typed and difflib.get_close_matches(key, taken, cutoff=_ALIKE)
            if key not in taken and (doubtful or not takes_any):
                yield f"{name}#{key} is no argument of {target}{nearest(key, taken)}"


@cache
def _arguments(target: str) -> tuple[tuple[str, ...], bool]:
    """Names of what a class, with those it inherits from, or a function takes, and whether it takes any others.

    Raises:
        LookupError: When there is no such class or function in a package that is there; the package of a bundle may
            become importable only when the bundle runs.
    """
    path = target_path(target)
    found = pydoc.locate(path)
    if found is None and ("." not in path or importlib.util.find_spec(path.split(".")[0]) is not None):
        raise LookupError(target)
    try:
        parameters = list(inspect.signature(found).parameters.values())  # type: ignore[arg-type]
        takes_any = any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters)
        if takes_any and inspect.isclass(found):
            makers = [vars(base)["__init__"] for base in inspect.getmro(found)[1:-1] if "__init__" in vars(base)]
            parameters += [parameter for make in makers for parameter in inspect.signature(make).parameters.values()]
    except (TypeError, ValueError):
        return (), True
    named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(parameter.name for parameter in parameters if parameter.kind in named), takes_any


def _unknown_places(tree: ConfigTree, given: Mapping[str, Any]) -> Iterator[str]:
    """Nested ids that were given, beside the arguments of components, where nothing looks at them."""
    used = [ReferenceResolver.split_id(reference) for reference in tree.references]
    for name in given:
        path = ReferenceResolver.split_id(name)
        holders: list[Any] = [tree.content]
        for key in path[:-1]:
            holders.append(holders[-1][key if isinstance(holders[-1], dict) else int(key)])
        plain = all(isinstance(holder, dict) and "_target_" not in holder for holder in holders)
        read = any(path[: len(one)] == one or one[: len(path)] == path for one in used)
        if len(path) > 1 and plain and not read:
            yield f"{name} is no id of the configuration{nearest(path[-1], (k for k in holders[-1] if k != path[-1]))}"


def _values(tree: ConfigTree, reached: Set[str]) -> tuple[dict[str, Any], list[str]]:
    """What ids of the schema stand for, and what is wrong with them."""
    values, wrong = {}, []
    for name in tree.content:
        if name not in IDS:
            continue
        kind = IDS[name].kind
        try:
            value = tree.value(name) if kind.checked else tree.content[name]
        except UnresolvedError:
            continue
        except MissingReferenceError as error:
            # Overlays of training set ids of training in inference, too, where nothing looks at them.
            if name in reached:
                wrong.append(f"{name}: {error}{nearest(error.name, tree.content)}")
            continue
        except ValueError as error:
            wrong.append(f"{name}: {error}")
            continue
        if kind.accepts(value):
            values[name] = value
        elif not _is_said_by_another(name, tree):
            wrong.append(f"{name} must be {kind.words}, got {_shown(value)}")
    return values, wrong


def _not_run(tree: ConfigTree, run_ids: Set[str]) -> Iterator[str]:
    """What is run and does nothing, since it is a name in place of an expression or a component."""
    for name in sorted(run_ids & set(tree.content)):
        entries = tree.content[name]
        for entry in entries if isinstance(entries, list) else [entries]:
            if entry is not None and not built().accepts(entry):
                yield f"{name} must be {built().words}, or a list of them, got {_shown(entry)}"


def _is_said_by_another(name: str, tree: ConfigTree) -> bool:
    """Whether a value is that of another id of the same kind, whose mistake is said there."""
    raw = tree.content[name]
    other = raw[1:] if isinstance(raw, str) and raw.startswith("@") else ""
    return other in IDS and other in tree.content and IDS[other].kind == IDS[name].kind


def _shown(value: Any, longest: int = 80) -> str:
    written = repr(value)
    return written if len(written) <= longest else f"{written[:longest]}..."
