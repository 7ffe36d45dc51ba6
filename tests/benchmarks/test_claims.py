# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Verdicts on the chapter's claims, by hand-made numbers."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from benchmarks.chapter.claim_list import build_claims
from benchmarks.chapter.claims import FEWEST, Claim, Measured, Term, judge, lowest_tenth, measure, p_values_of
from benchmarks.chapter.methods import RSTN
from benchmarks.chapter.parts import ExperimentSettings, cases_file, evaluation_part
from benchmarks.chapter.plan import Evaluation, Training, rounds_of
from benchmarks.chapter.published import as_published
from benchmarks.chapter.tables import DEFAULT_ORGANS, build_tables
from benchmarks.chapter.verdicts import write_verdicts
from c2f_monai.metrics.random_effects import Estimate, two_way_bootstrap
from c2f_monai.metrics.rounds import RoundCurve

A, B = Evaluation("a", Training("one")), Evaluation("b", Training("two"))


def last(curve: RoundCurve) -> float:
    return curve.dsc[-1]


def claim(**more: bool) -> Claim:
    return Claim("a beats b", "a - b", (Term(1.0, A, last), Term(-1.0, B, last)), **more)


def curves(*seeds: tuple[float, ...]) -> dict[int, list[RoundCurve]]:
    return {seed: [RoundCurve(f"case{i}", (dsc,), ()) for i, dsc in enumerate(row)] for seed, row in enumerate(seeds)}


def test_a_sum_is_the_mean_over_cases_and_seeds() -> None:
    found = measure(claim(), {"a": curves((5.0, 7.0), (6.0, 8.0)), "b": curves((4.0, 4.0), (6.0, 6.0))})
    assert found.seeds == pytest.approx((2.0, 1.0))
    assert found.estimate.value == pytest.approx(1.5)
    # Two seeds and two cases, with a difference of 1 and 2 between them, tell next to nothing.
    assert found.estimate.interval()[0] < 0 < 3 < found.estimate.interval()[1]


def test_the_worst_cases_are_the_lowest_tenth_of_each_row() -> None:
    first, second = (5.0, 3.0, 6.0, *[9.0] * 17), (2.0, 8.0, 1.0, *[9.0] * 17)  # 20 cases: 3 and 5, 1 and 2
    found = measure(claim(worst=True), {"a": curves(first), "b": curves(second)})
    assert found.estimate.value == pytest.approx(2.5) and found.seeds == pytest.approx((2.5,))
    low, high = found.estimate.interval()
    assert low < 2.5 < high


def test_a_tenth_is_rounded_up() -> None:
    values = np.arange(11.0)[::-1]
    assert [float(lowest_tenth(x)) for x in (values, values[1:], values[-1:])] == [0.5, 0.0, 0.0]


def test_cases_and_seeds_are_paired_by_name() -> None:
    """Tables may list them in another order: here the same scores, which differ by nothing."""
    one = curves((1.0, 2.0, 6.0), (3.0, 5.0, 7.0))
    other = {seed: one[seed][::-1] for seed in (1, 0)}
    found = measure(claim(), {"a": one, "b": other})
    assert (found.estimate.value, found.estimate.error, found.seeds) == (0.0, 0.0, (0.0, 0.0))


def test_other_seeds_are_refused() -> None:
    one = curves((1.0, 2.0), (3.0, 4.0))
    with pytest.raises(ValueError, match="a - b: not about the same cases and training seeds"):
        measure(claim(), {"a": one, "b": {0: one[0], 2: one[1]}})


def test_estimate_and_interval_of_the_worst_cases_are_of_one_statistic() -> None:
    """The lowest case of each seed, not of the mean over the seeds: here 1 and 2, whose mean is 1.5, not 3.5."""
    found = measure(claim(worst=True), {"a": curves((1.0, 6.0), (5.0, 2.0)), "b": curves((0.0, 0.0), (0.0, 0.0))})
    low, high = found.estimate.interval()
    assert found.estimate.value == pytest.approx(1.5) == pytest.approx((low + high) / 2)


def test_the_worst_case_need_not_be_the_same() -> None:
    found = measure(claim(worst=True), {"a": curves((5.0, 3.0)), "b": curves((1.0, 4.0))})
    assert found.estimate.value == pytest.approx(2.0)  # min 3 - min 1
    assert found.seeds == pytest.approx((2.0,))


def test_other_cases_are_refused() -> None:
    with pytest.raises(ValueError, match="a - b: not about the same cases and training seeds"):
        measure(claim(), {"a": curves((1.0, 2.0)), "b": curves((1.0,))})


def test_seeds_of_other_cases_are_refused() -> None:
    """As many cases with each seed, but not the same: they are no table of seeds and cases."""
    of_seed = {0: ("p", "q"), 1: ("q", "r")}
    found = {seed: [RoundCurve(case, (0.5,), ()) for case in cases] for seed, cases in of_seed.items()}
    with pytest.raises(ValueError, match="a - b: not about the same cases and training seeds"):
        measure(claim(), {"a": found, "b": found})


FIVE = (1.0, 1.0, 1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("value", "seeds", "corrected", "more", "verdict"),
    [
        (2.0, FIVE, [0.01], {}, "found"),
        (2.0, FIVE, [0.06], {}, "not distinguishable"),
        (0.4, FIVE, [0.01], {}, "found"),  # whatever its size
        (-2.0, FIVE, [0.01], {}, "not found"),
        (2.0, FIVE[:4], [], {}, "not enough seeds"),
        (0.3, FIVE[:4], [], {"equal": True}, "not enough seeds"),
        (0.3, FIVE, [0.01, 0.02], {"equal": True}, "found"),  # a small difference, and known to be small
        (0.9, FIVE, [0.01, 0.3], {"equal": True}, "not distinguishable"),
        (1.3, FIVE, [0.01, 0.9], {"equal": True}, "not found"),
        (-1.3, FIVE, [0.01, 0.9], {"equal": True}, "not found"),
        (1.3, FIVE, [0.2, 0.9], {"equal": True}, "not distinguishable"),
    ],
)
def test_verdicts(value: float, seeds: tuple, corrected: list[float], more: dict, verdict: str) -> None:
    found = Measured(Estimate(value, 0.4, 10.0), seeds)
    assert judge(claim(**more), found, corrected) == verdict
    assert len(p_values_of(claim(**more), found)) == len(corrected)


def test_a_claim_is_tested_by_its_p_value_and_equality_by_two() -> None:
    found = Measured(Estimate(1.0, 0.5, 10.0), FIVE)
    (differs,) = p_values_of(claim(), found)
    assert differs == pytest.approx(2 * stats.t.sf(2.0, 10))
    assert p_values_of(claim(equal=True), found) == [differs, pytest.approx(0.5)]  # at the margin itself
    # The nearer end of the margin is the one in doubt, on either side: 0.6 of 1 point, two errors of 0.3.
    for value in (0.4, -0.4):
        within = p_values_of(claim(equal=True), Measured(Estimate(value, 0.3, 10.0), FIVE))[1]
        assert within == pytest.approx(stats.t.sf(2.0, 10))
    # One case has no error.
    alone = Measured(Estimate(1.0, float("nan"), float("nan")), FIVE)
    assert (p_values_of(claim(), alone), judge(claim(), alone, [])) == ([], "not distinguishable")


@pytest.mark.parametrize(("seeds", "verdict"), [((2.0,) * 2, "not enough seeds"), ((2.0,) * 3, "found")])
def test_the_same_weights_tested_in_two_ways_need_three_seeds(seeds: tuple, verdict: str) -> None:
    """One training alone says nothing of what other ones would do, and two may agree by chance."""
    same = Claim("more rounds", "", (Term(1.0, A, last), Term(-1.0, A, lambda curve: curve.dsc[0])))
    found = Measured(Estimate(2.0, 0.4, 30.0), seeds)
    assert judge(same, found, p_values_of(same, found)) == verdict


def test_equality_needs_five_seeds_of_the_same_weights_too() -> None:
    same = Claim("insensitive", "", (Term(1.0, A, last), Term(-1.0, A, lambda curve: curve.dsc[0])), equal=True)
    counts = [len(p_values_of(same, Measured(Estimate(0.1, 0.2, 30.0), FIVE[:seeds]))) for seeds in (4, 5)]
    assert (same.trainings, same.least_seeds, counts) == (1, 5, [0, 2])


def test_fewer_seeds_than_a_verdict_needs_would_find_what_is_not_there() -> None:
    """False verdicts at a level of 5 %, where seeds bring three times the error of 40 cases."""

    def found(seeds: int) -> float:
        rng = np.random.default_rng(seeds)
        of_seeds, of_cases = rng.normal(size=(300, seeds, 1)), rng.normal(size=(300, 1, 40))
        scores = 3 * np.sqrt(seeds) * of_seeds + np.sqrt(40) * of_cases + rng.normal(size=(300, seeds, 40))
        return float(np.mean([two_way_bootstrap(one, resamples=200).p_value() < 0.05 for one in scores]))

    assert found(FEWEST) < 0.09 < found(FEWEST - 1)


def test_the_chapters_difference_stands_beside() -> None:
    known = {(c.text, c.compared): c.chapter for c in build_claims(build_tables(DEFAULT_ORGANS))}
    assert known["1x1 < 3x3", "3x3 (basic) - 1x1"] == pytest.approx(83.47 - 82.85)
    # 82.16 against the middle of 75.74 and 82.25.
    one_round = "step-wise, 1 round - midway between coarse and 10 rounds"
    assert known["one round brings most of it", one_round] == pytest.approx(82.16 - (75.74 + 82.25) / 2)
    assert known["7x7 < 5x5", "5x5 - 7x7"] is None  # not printed
    assert known["gallbladder may lose in the fine stage", "--organs has no gallbladder"] is None
    assert known["more rounds help the worst case", "step-wise, lowest tenth, 10 rounds - 1 round"] is None  # means are


def test_each_claim_is_a_gain_where_the_chapter_prints_one() -> None:
    """Its printed means, the claimed side first; loss in the fine stage is what coarse has more."""
    organs = {"gallbladder": (4,), "inferior vena cava": (9,)}
    printed: dict[str, list[float]] = {}
    for one in build_claims(build_tables(organs)):
        if one.chapter is not None:
            printed.setdefault(one.text, []).append(one.chapter)
    assert {text: pytest.approx(sorted(gains)) for text, gains in printed.items()} == {
        "fine beats coarse": [84.50 - 78.23, 82.37 - 75.74],
        "one round brings most of it": [82.16 - (75.74 + 82.25) / 2],
        "end-to-end beats step-wise, fine stage": [84.50 - 82.37],
        "1x1 < 3x3": [83.47 - 82.85],
        "3x3 < 5x5": [83.64 - 83.47],
        "two-layer 3x3 best": [83.93 - 83.64, 83.93 - 83.47, 83.93 - 82.85],
        "fine-tuning on predicted references helps": [0.0, 83.99 - 83.47],
        "fine-tuning shrinks the gap to the oracle box": [(86.26 - 83.68) - (86.37 - 84.50)],
        "fusion beats each view": [75.74 - 73.08, 75.74 - 71.41, 75.74 - 66.88],
        "the cyst gains from the organ": [63.44 - 60.46, 67.19 - 60.73],
        "without the organ the two approaches tie": [60.73 - 60.46],
        "a stronger coarse network of the organ helps the cyst": [69.38 - 63.44],
        "gallbladder may lose in the fine stage": [82.57 - 82.12],
        "inferior vena cava may lose in the fine stage": [71.77 - 71.15],
    }


def test_claims_without_printed_means_are_gains_of_what_is_claimed() -> None:
    """What is to be the larger one, by its evaluation, then what it is compared with."""
    tables = build_tables(DEFAULT_ORGANS)
    joint = {row.label: row.evaluation for row in tables["joint"].rows if row.evaluation}
    apart, jointly = joint["coarse, trained apart"], joint["coarse, trained jointly, vote"]
    premise = [row.evaluation for row in tables["premise"].rows if row.evaluation]
    whole, boxed, true = premise
    found = {(c.text, c.compared): {t.evaluation.name: t.factor for t in c.terms} for c in build_claims(tables)}
    coarse = "end-to-end beats step-wise, coarse stage"
    for text, larger, smaller in (
        ("a box beats the whole image", boxed, whole),
        ("the true box beats the predicted one", true, boxed),
        (f"{coarse}, both by vote", jointly, apart),
        (f"{coarse}, both by mean", joint["coarse, trained jointly"], joint["coarse, trained apart, mean"]),
        ("joint training beats", jointly, joint["coarse networks alone, as long, vote"]),
    ):
        (factors,) = (of for key, of in found.items() if ", ".join(key).startswith(text))
        assert factors == {larger.name: 1.0, smaller.name: -1.0}, text


def test_what_is_varied_is_compared_with_all_others() -> None:
    compared: dict[str, list[str]] = {}
    for one in build_claims(build_tables(DEFAULT_ORGANS)):
        compared.setdefault(one.text, []).append(one.compared)
    others = ("1x1", "3x3 (basic)", "5x5", "7x7")
    assert compared["two-layer 3x3 best"] == [f"two-layer 3x3 - {other}" for other in others]
    assert compared["insensitive to K"] == [f"margin {k} - default" for k in (4, 16, 30)]


def test_with_the_published_constants_the_gap_is_that_before_fine_tuning() -> None:
    """Of what the training keeps after 80,000 iterations, as printed, not of the control that learns as long."""
    claims = build_claims(as_published(build_tables(DEFAULT_ORGANS)))
    (gap,) = (c for c in claims if c.text == "fine-tuning shrinks the gap to the oracle box")
    assert gap.compared == "gap, not fine-tuned - fine-tuned"
    assert gap.chapter == pytest.approx((86.26 - 83.68) - (86.37 - 84.50))


def test_only_ties_and_what_is_insensitive_are_to_be_equal() -> None:
    for one in build_claims(build_tables(DEFAULT_ORGANS)):
        assert one.equal == (one.text.startswith("insensitive to ") or one.text.endswith(" tie")), one.text


def test_faster_is_fewer_rounds() -> None:
    """Until the first of two masks that agree by 0.95, whatever their DSC."""
    (faster,) = (c for c in build_claims(build_tables(DEFAULT_ORGANS)) if c.text == "RSTN converges faster")
    stepwise, rstn = faster.terms
    assert (stepwise.evaluation.weights.name, stepwise.factor) == ("stepwise", 1.0)
    assert (rstn.evaluation.weights.name, rstn.factor) == ("rstn", -1.0)
    curve = RoundCurve("case", (0.5, 0.6, 0.7, 0.8), (0.9, 0.95, 0.99))
    assert [term.value(curve) for term in faster.terms] == [2, 2]


def test_the_coarse_stages_are_compared_under_one_fusion_and_with_a_control() -> None:
    of_coarse = [c for c in build_claims(build_tables(DEFAULT_ORGANS)) if "coarse" in c.text and "joint" in c.compared]
    fused = {
        c.compared: [
            term.evaluation.options.get("fusion", FUSION.get(term.evaluation.weights.name)) for term in c.terms
        ]
        for c in of_coarse
    }
    assert fused == {
        "both by vote, jointly - apart": ["vote", "vote"],
        "both by mean, jointly - apart": ["mean", "mean"],
        "coarse, trained jointly, vote - coarse networks alone, as long, vote": ["vote", "vote"],
    }
    control = of_coarse[-1].terms[1].evaluation.weights
    assert isinstance(control, Training) and control.start == RSTN.start  # as long, from the same coarse networks


# Of the approaches where nothing is set.
FUSION = {"rstn": "mean", "stepwise": "vote"}


def test_the_pixel_threshold_is_that_of_the_coarse_training() -> None:
    varied = [c for c in build_claims(build_tables(DEFAULT_ORGANS)) if c.text == "insensitive to the pixel threshold"]
    assert len(varied) == 2
    for claim_ in varied:
        first, default = (term.evaluation for term in claim_.terms)
        assert isinstance(first.weights, Training) and first.weights.start is None  # trained so from the start
        assert "configs/baseline/coarse_only.json" in first.weights.overlays
        assert first.weights.options["min_pixels"] != 10 and "min_pixels" not in default.weights.options
        assert first.options == default.options == {"max_rounds": 0}


def test_another_training_of_the_organ_is_another_training() -> None:
    """The cyst's networks are the same, those that find the organ are not."""
    claims = {c.text: c for c in build_claims(build_tables(DEFAULT_ORGANS))}
    stronger = claims["a stronger coarse network of the organ helps the cyst"]
    assert len({term.evaluation.weights.name for term in stronger.terms}) == 1
    assert (stronger.trainings, stronger.least_seeds) == (2, 5)
    assert claims["fine beats coarse"].trainings == 1


def test_every_evaluation_of_a_claim_is_in_a_table() -> None:
    tables = build_tables(DEFAULT_ORGANS)
    known = {evaluation for table in tables.values() for evaluation in map(repr, table.evaluations)}
    claims = build_claims(tables)
    assert len({(c.text, c.compared) for c in claims}) == len(claims)
    assert {repr(term.evaluation) for c in claims for term in c.terms} <= known


def write_run(
    evaluation: Evaluation,
    settings: ExperimentSettings,
    seed: int,
    gain: float,
    rounds: int = 10,
    fold: int | None = None,
) -> Path:
    """Three cases of so many rounds that gain so much in the first, and nothing then."""
    path = cases_file(evaluation, settings, fold, seed)
    path.parent.mkdir(parents=True)
    (path.parent / "result.json").write_text("{}", encoding="utf-8")
    command = evaluation_part(evaluation, settings, fold, seed).command
    (path.parent / "arguments.json").write_text(json.dumps(command), encoding="utf-8")
    columns = ["case", "label_voxels", "stop_reason", *(f"dsc_round_{t}" for t in range(rounds + 1))]
    columns += [f"d_{t}" for t in range(1, rounds + 1)]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for i in range(3):
            name = f"c{i}" if fold is None else f"c{3 * fold + i}"
            row = {"case": name, "label_voxels": 9, "stop_reason": "fixed rounds", "dsc_round_0": 0.5 + 0.1 * i}
            row |= {f"dsc_round_{t}": 0.5 + 0.1 * i + gain for t in range(1, rounds + 1)}
            row |= {f"d_{t}": 1.0 for t in range(1, rounds + 1)}
            writer.writerow(row)
    return path.parent


def test_verdicts_come_from_what_is_there(tmp_path: Path) -> None:
    settings = ExperimentSettings(tmp_path, tmp_path, seeds=(0, 1, 2))
    for seed, gain in ((0, 0.1), (1, 0.2), (2, 0.3)):
        folder = write_run(rounds_of(RSTN), settings, seed, gain)
        rows = ["case,view,channel,target,around", "c0,axial,1,3,1", "c0,axial,2,2,1", "c0,axial,3,1,2"]
        rows += ["c1,axial,1,1,2", "c1,axial,2,2,1", "c1,axial,3,1,2"]
        (folder / "saliency.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    lines = write_verdicts(build_tables(DEFAULT_ORGANS), settings, "a command").read_text(encoding="utf-8").splitlines()
    assert (
        "| fine beats coarse | RSTN, d >= 0.99 - coarse | +20.00 | -4.58 .. +44.58 | +10.00, +20.00, +30.00 | +6.27 | "
        "0.22 | not distinguishable | 20.00: 6 seeds, 3 cases |"  # three seeds that differ so much
    ) in lines
    assert (
        "| one round brings most of it | RSTN, 1 round - midway between coarse and 10 rounds | +10.00 |"
        in "\n".join(lines)
    )
    assert "| fine beats coarse | step-wise, d >= 0.95 - coarse |  |  |  |  |  | no results |  |" in lines
    absent = "| gallbladder may lose in the fine stage | --organs has no gallbladder |"
    assert f"{absent}  |  |  |  |  | not distinguishable |  |" in lines
    assert "| 0 | axial | +0.500 | +1.000 | -1.000 | 2 of 3 |" in lines
    assert "Two channels on the target and one beside it in 3 of 3 networks." in lines
    assert "`a command`" in lines


def test_results_that_are_not_whole_or_of_other_settings_say_nothing(tmp_path: Path) -> None:
    settings, tables = ExperimentSettings(tmp_path, tmp_path, seeds=(0,)), build_tables(DEFAULT_ORGANS)
    folder = write_run(rounds_of(RSTN), settings, 0, 0.1)
    with pytest.raises(ValueError, match=r"rstn_rounds.seed0 was made with other settings"):
        write_verdicts(tables, replace(settings, options={"margin": 99}), "")
    (folder / "result.json").unlink()
    text = write_verdicts(tables, settings, "").read_text(encoding="utf-8")
    assert "| fine beats coarse | RSTN, d >= 0.99 - coarse |  |  |  |  |  | no results |  |" in text


def test_a_seed_counts_when_all_its_folds_are_there(tmp_path: Path) -> None:
    settings = ExperimentSettings(tmp_path, tmp_path, folds=(0, 1), seeds=(0, 1, 2))
    for seed, fold in ((0, 0), (0, 1), (1, 0), (1, 1), (2, 0)):
        write_run(rounds_of(RSTN), settings, seed, 0.1 * (1 + seed), fold=fold)
    tables = build_tables(DEFAULT_ORGANS)
    text = write_verdicts(tables, settings, "", [tables["rounds"]], longer=4).read_text(encoding="utf-8")
    (line,) = (line for line in text.splitlines() if line.startswith("| fine beats coarse |"))
    assert "| +15.00 |" in line and "| +10.00, +20.00 | +6.27 |  | not enough seeds |" in line
    assert "in the seconds that they took here, those of refining trainings 4 times. Of few" in " ".join(text.split())


def test_equality_counts_with_two_tests(tmp_path: Path) -> None:
    """The default gains 10 points and K = 4 as many, K = 16 from 10.5 to 10.7, and K = 30 30."""
    settings, tables = ExperimentSettings(tmp_path, tmp_path, seeds=range(5)), build_tables(DEFAULT_ORGANS)
    gains = {"default": 0.1, "margin 4": 0.1, "margin 16": 0.105, "margin 30": 0.3}
    for row in tables["testing"].rows:
        for seed in settings.seeds if row.label in gains else ():
            assert row.evaluation is not None
            write_run(row.evaluation, settings, seed, gains[row.label] + 0.0005 * seed * (row.label == "margin 16"))
    text = write_verdicts(tables, settings, "", [tables["testing"]]).read_text(encoding="utf-8")
    assert "6 tests are corrected for." in text.splitlines()
    found = {line.split(" | ")[1]: line.split(" | ")[6:8] for line in text.splitlines() if "insensitive to K" in line}
    assert found["margin 4 - default"] == ["1, < 0.0001", "found"]
    assert found["margin 16 - default"][1] == "found"
    assert found["margin 30 - default"] == ["< 0.0001, 1", "not found"]


def test_a_claim_about_more_rounds_than_were_run_has_no_results(tmp_path: Path) -> None:
    settings, tables = ExperimentSettings(tmp_path, tmp_path, seeds=(0, 1)), build_tables(DEFAULT_ORGANS)
    for seed in (0, 1):
        write_run(rounds_of(RSTN), settings, seed, 0.1, rounds=3)
    text = write_verdicts(tables, settings, "", [tables["rounds"]]).read_text(encoding="utf-8")
    assert "| RSTN, lowest tenth, 10 rounds - 1 round |  |  |  |  |  | no results |  |" in text
    assert "| fine beats coarse | RSTN, d >= 0.99 - coarse | +10.00 |" in text


def test_claims_of_single_tables_leave_the_others_out(tmp_path: Path) -> None:
    tables = build_tables(DEFAULT_ORGANS)
    text = write_verdicts(
        tables, ExperimentSettings(tmp_path, tmp_path), "", [tables["cyst"], tables["distance"]]
    ).read_text(encoding="utf-8")
    claims = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")][1:]
    of_both = [*["the cyst gains from the organ"] * 2, "without the organ the two approaches tie"]
    of_both.append("a stronger coarse network of the organ helps the cyst")
    of_both += ["insensitive to t"] * 2
    assert claims == [f"| {claim}" for claim in of_both]
    assert "channels" not in text


def test_an_organ_loses_when_its_fine_stage_is_worse(tmp_path: Path) -> None:
    settings, tables = ExperimentSettings(tmp_path, tmp_path, seeds=(0, 1, 2)), build_tables({"gallbladder": (4,)})
    row = next(row for row in tables["organs"].rows if row.label == "gallbladder, step-wise, coarse")
    assert row.evaluation is not None
    for seed in (0, 1, 2):
        write_run(row.evaluation, settings, seed, -0.1)
    text = write_verdicts(tables, settings, "a command").read_text(encoding="utf-8")
    assert (
        "| gallbladder may lose in the fine stage | gallbladder, step-wise, coarse - gallbladder, step-wise, fine | "
        "+10.00 | +10.00 .. +10.00 | +10.00, +10.00, +10.00 | +0.45 | < 0.0001 | found |  |"
    ) in text
