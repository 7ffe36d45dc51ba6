# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What tables of other targets than the pancreas are made by: a row for each organ or distance, four stages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from c2f_monai.metrics.rounds import after_rounds, last_round, stopped_at

from .declared import Declared, checked, declared, text_of, training_of
from .methods import CROPPED, near_organ_training, organ_training
from .plan import Evaluation, MeanGain, Row, RowPair, Table, Training, Weights, rounds_of

__all__ = ["distance_table", "four_stages", "organ_table", "organs_of"]

_ORGANS = ("methods", "chapter", "as_printed", "hard", "gain")


def organs_of(names: Mapping[int, str]) -> dict[str, tuple[int, ...]]:
    """The chapter's organs among a data set's label names, with their values; a cyst belongs to the pancreas.

    Examples:
        >>> organs_of({0: "background", 1: "pancreas", 2: "cyst", 5: "gallbladder", 9: "liver"})
        {'gallbladder': (5,), 'pancreas': (1, 2)}
    """
    values = {name: (value,) for value, name in sorted(names.items())}
    pancreas = values.get("pancreas", ()) + values.get("cyst", ())
    return {name: pancreas if name == "pancreas" else values[name] for name in _printed_organs() if name in values}


def _printed_organs() -> list[str]:
    """The chapter's organs, in its order."""
    return [organ for table in declared().tables.values() for organ in table.get("each_organ", {}).get("chapter", {})]


def organ_table(name: str, title: str, content: Any, found: Declared, organs: Mapping[str, Sequence[int]]) -> Table:
    """Coarse and fine stage of each method for each organ, by the label values of the data set [3.6].

    Args:
        name: of the table.
        title: of the table.
        content: of the key ``each_organ``.
        found: the trainings.
        organs: label values by organ.
    """
    own = checked(content, f"table {name}, each_organ", _ORGANS, ("methods", "chapter", "hard"))
    methods = {
        method: (training_of(one["of"], found.weights, f"table {name}"), stopped_at(one["stop"]))
        for method, one in own["methods"].items()
    }
    rows: list[Row] = []
    for organ, values in organs.items():
        printed = own["chapter"].get(own.get("as_printed", {}).get(organ, organ), [""] * 2 * len(methods))
        numbers = iter([text_of(number, f"table {name}, {organ}") for number in printed])
        for method, (base, stop) in methods.items():
            run = rounds_of(organ_training(base, organ, values))
            rows.append(Row(f"{organ}, {method}, coarse", run, after_rounds(0), next(numbers)))
            rows.append(Row(f"{organ}, {method}, fine", run, stop, next(numbers)))
    pairs = [RowPair(f"{organ}, RSTN, {s}", f"{organ}, step-wise, {s}") for organ in organs for s in ("coarse", "fine")]
    claimed = [value for values in organs.values() for value in values]
    if len(organs) == 1 or len(set(claimed)) < len(claimed):  # a part of an organ is no conflict
        return Table(name, title, tuple(rows), tuple(pairs))
    resolved = {method: _resolved(base, organs) for method, (base, _) in methods.items()}
    rows += [
        Row(f"{o}, {m}, conflicts resolved", e, last_round) for m, each in resolved.items() for o, e in each.items()
    ]
    pairs += [RowPair(f"{o}, {m}, conflicts resolved", f"{o}, {m}, fine") for m in methods for o in organs]
    return Table(name, title, tuple(rows), tuple(pairs), gains=_gains(organs, own["hard"], own.get("gain", "")))


def _gains(organs: Iterable[str], hard: Sequence[str], chapter: str) -> tuple[MeanGain, ...]:
    """The mean over the organs that are harder than kidneys, of each alone, and with conflicts resolved."""
    there = tuple(organ for organ in organs if organ in hard)
    whole = len(there) == len(hard)
    count = {5: "five"}.get(len(hard), str(len(hard)))
    told = f"{count} hard organs" if whole else f"{len(there)} of the {count} hard organs"
    gains = []
    for kind, name in (("fine", "each alone"), ("conflicts resolved", "conflicts resolved")):
        pairs = tuple(RowPair(*(f"{organ}, {m}, {kind}" for m in ("RSTN", "step-wise"))) for organ in there)
        label = f"Mean gain of RSTN over the step-wise approach, {told}, {name}"
        gains.append(MeanGain(label, pairs, chapter if whole else ""))
    return tuple(gains) if there else ()


def _resolved(base: Training, organs: Mapping[str, Sequence[int]]) -> dict[str, Evaluation]:
    """One run of all organs: what several claim goes to the largest confidence [3.6]. A table of cases for each."""
    trained = {_as_name(organ): organ_training(base, organ, values) for organ, values in organs.items()}
    run = f"{base.name}_organs_alone"
    options = {
        "organ_values": {_as_name(organ): list(values) for organ, values in organs.items()},
        "label_value": "$list(@organ_values.values())",  # not that of the first organ's training
        "keep_rounds": True,
    }
    files = {name: f"cases_{name}.csv" for name in trained}
    return {
        organ: Evaluation(
            f"{run}_{name}",
            next(iter(trained.values())),
            (*base.overlays, "configs/task/organs_alone.json"),
            options,
            base="inference",
            further={"ckpt_paths": trained},
            cases=files[name],
            run=run,
            product=next(iter(files.values())),
        )
        for organ, name in zip(organs, trained, strict=True)
    }


def _as_name(organ: str) -> str:
    """An organ as files and networks are called by it."""
    return organ.replace(" ", "_").rstrip(".")


def distance_table(name: str, title: str, content: Any, found: Declared, distance: float | None) -> Table:
    """The distance t around the true organ within which the cyst is looked for [3.3.3].

    Args:
        name: of the table.
        title: of the table.
        content: of the key ``each_distance``.
        found: the trainings.
        distance: t of the table of the cyst, mm, which the others are compared with; None for the configuration's.
    """
    keys = ("of", "configured", "mm")
    own = checked(content, f"table {name}, each_distance", keys, keys)
    base = training_of(own["of"], found.weights, f"table {name}")
    ladder = [None, *sorted({float(t) for t in own["mm"]} | ({distance} if distance is not None else set()))]
    label = {t: own["configured"] if t is None else f"t = {t:g} mm" for t in ladder}
    near = {label[t]: near_organ_training(base, t) for t in ladder}
    rows = tuple(Row(text, Evaluation(f"{weights.name}_final", weights)) for text, weights in near.items())
    return Table(name, title, rows, tuple(RowPair(text, label[distance]) for text in near if text != label[distance]))


def four_stages(
    near: Weights, organ: Training, crop: bool = False, found_by: Training | None = None, overlays: Sequence[str] = ()
) -> Evaluation:
    """The organ by networks of its own, then the cyst near what they find.

    Args:
        near: weights of the cyst near the organ.
        organ: of the organ.
        crop: the networks of the cyst see the organ's box, and nothing in it is hidden. Defaults to False.
        found_by: other weights of the organ than those, whose networks the overlays are for. Defaults to None.
        overlays: files at the end. Defaults to none.
    """
    return Evaluation(
        f"{near.name}_four_stages" if found_by is None else f"{near.name}_by_{found_by.name}_four_stages",
        near,
        (*organ.overlays, "configs/task/organ_then_cyst.json", *([CROPPED] if crop else []), *overlays),
        {"keep_rounds": True},
        base="inference",
        further={"organ_ckpt_path": organ if found_by is None else found_by},
        cases="cases_cyst.csv",
    )
