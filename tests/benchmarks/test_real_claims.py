# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Claims on the real slices by hand-made rows, and the record of the project."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from benchmarks.chapter.claim_list import build_claims
from benchmarks.chapter.claims import Claim
from benchmarks.chapter.tables import DEFAULT_ORGANS, build_tables
from benchmarks.real.claims import fold_curves, measure_folds, measure_seeds, with_rstn
from benchmarks.real.command import main

CLAIMS = {(claim.text, claim.compared): claim for claim in build_claims(build_tables(DEFAULT_ORGANS))}
RECORDS = Path(__file__).resolve().parents[2] / "docs" / "results"
FINE = CLAIMS["fine beats coarse", "RSTN, d >= 0.99 - coarse"]
WHOLE = CLAIMS["a box beats the whole image", "coarse to fine - whole image, coarse networks"]
WORST = CLAIMS["more rounds help the worst case", "RSTN, lowest tenth, 10 rounds - 1 round"]


def rows(gains: dict[int, list[float]], seeds: tuple[int, ...] = (0,)) -> pd.DataFrame:
    """Ten rounds that add a gain to a coarse DSC of 0.5 from the first on; one network for the slice has 0.6."""
    found = []
    for fold, of_patients in gains.items():
        for number, gain in enumerate(of_patients):
            for seed in seeds:
                key = {"fold": fold, "seed": seed, "patient": f"{fold}{number}"}
                changes = {f"d_{t}": 0.9 for t in range(1, 11)}
                rounds = {f"dsc_round_{t}": 0.5 + gain * (t > 0) + 0.01 * seed * (t > 0) for t in range(11)}
                found.append({"method": "rstn", **key, **rounds, **changes, "dsc_oracle": 0.9})
                found.append({"method": "single_stage", **key, "dsc": 0.6})
    return pd.DataFrame(found).assign(rounds_stop_reason="fixed rounds")


def test_the_folds_are_the_random_effect() -> None:
    found = measure_folds(FINE, fold_curves(rows({0: [0.1, 0.3], 1: [0.0, 0.0, 0.0]})))
    assert found.seeds == pytest.approx((20.0, 0.0))  # the mean of each fold
    # Two folds are two numbers, whatever their patients: 10 +- 12.7 * 10.
    assert found.estimate.value == pytest.approx(10.0)
    assert found.estimate.interval() == pytest.approx((10.0 - 127.06, 10.0 + 127.06), abs=0.01)


def test_seeds_are_averaged_by_patient() -> None:
    found = measure_folds(FINE, fold_curves(rows({0: [0.1], 1: [0.1]}, seeds=(0, 1))))
    assert found.seeds == pytest.approx((10.5, 10.5))


def test_one_network_for_the_slice_is_the_whole_image() -> None:
    found = measure_folds(WHOLE, fold_curves(rows({0: [0.2], 1: [0.0]})))
    assert found.seeds == pytest.approx((10.0, -10.0))


def test_the_worst_patients_are_those_of_each_fold() -> None:
    data = rows({0: [0.0, 0.0], 1: [0.0, 0.0]})
    data.loc[(data["patient"] == "00") & (data["method"] == "rstn"), "dsc_round_10"] = 0.3  # the lowest of its fold
    found = measure_folds(WORST, fold_curves(data))
    assert found.seeds == pytest.approx((-20.0, 0.0))


def test_the_worst_patients_are_those_of_each_seed() -> None:
    """Another patient is lost with each seed: 20 points less in the lowest of either, 10 less in their means."""
    data = rows({0: [0.2, 0.2], 1: [0.2, 0.2]}, seeds=(0, 1))
    rounds = [f"dsc_round_{t}" for t in range(1, 11)]
    data.loc[data["method"] == "rstn", rounds] = 0.7
    for patient, seed in (("00", 0), ("01", 1)):
        data.loc[(data["patient"] == patient) & (data["seed"] == seed), "dsc_round_10"] = 0.5
    found = measure_folds(WORST, fold_curves(data))
    assert found.seeds == pytest.approx((-20.0, 0.0))


def test_another_method_stands_for_rstn() -> None:
    data = rows({0: [0.1, 0.3], 1: [0.0, 0.0]})
    better = rows({0: [0.2, 0.4], 1: [0.1, 0.1]}).replace({"method": {"rstn": "rstn_fine_first"}})
    both = pd.concat([data, better[better["method"] == "rstn_fine_first"]])
    for name, expected in (("rstn", (20.0, 0.0)), ("rstn_fine_first", (30.0, 10.0))):
        assert measure_folds(FINE, fold_curves(with_rstn(both, name))).seeds == pytest.approx(expected)
    with pytest.raises(ValueError, match=r"no row is of rstn_from_stepwise: choose --rstn among"):
        with_rstn(both, "rstn_from_stepwise")


def test_a_fold_of_more_seeds_counts_once() -> None:
    """One network for the slice with one seed, at 60, RSTN with two, at 70 and 71."""
    data = rows({0: [0.2], 1: [0.2]}, seeds=(0, 1))
    found = measure_folds(WHOLE, fold_curves(data[~((data["method"] == "single_stage") & (data["seed"] == 1))]))
    assert found.seeds == pytest.approx((10.5, 10.5))


def test_a_patient_that_one_seed_lacks_is_refused() -> None:
    data = rows({0: [0.2, 0.2], 1: [0.2, 0.2]}, seeds=(0, 1))
    with pytest.raises(ValueError, match="not about the same folds and patients"):
        measure_folds(FINE, fold_curves(data[~((data["patient"] == "01") & (data["seed"] == 1))]))


def test_other_patients_are_refused() -> None:
    data = rows({0: [0.2, 0.2], 1: [0.0]})
    less = data[~((data["method"] == "single_stage") & (data["patient"] == "01"))]
    with pytest.raises(ValueError, match="not about the same folds and patients"):
        measure_folds(WHOLE, fold_curves(less))


def is_answered(claim: Claim, names: set[str]) -> bool:
    return bool(claim.terms) and {term.evaluation.name for term in claim.terms} <= names


def test_phantom_and_real_slices_stand_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The document of the project is what this code makes of its records."""
    real, phantom = RECORDS / "real", RECORDS / "experiments" / "rows.csv"
    options = ["--output", str(real / "rows.csv"), "--phantom", str(phantom), "--seeds", "0", "1", "2"]
    assert main(["claims", *options, "--folder", str(tmp_path)]) == 0
    made = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert made == [line for line in (real / "claims.md").read_text().splitlines() if line.startswith("| ")]
    answered = [c for c in CLAIMS.values() if is_answered(c, set(fold_curves(pd.read_csv(real / "rows.csv"))))]
    assert len(answered) == sum(not line.endswith("| not run |") for line in made[1:]) == 10


def test_one_fold_of_one_seed_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows({0: [0.1, 0.2]}).to_csv(tmp_path / "rows.csv", index=False)
    phantom = RECORDS / "experiments" / "rows.csv"
    assert main(["claims", "--output", str(tmp_path / "rows.csv"), "--phantom", str(phantom)]) == 1
    assert "claims on real slices need two folds, or two training seeds of one" in capsys.readouterr().err


def test_patients_and_seeds_are_the_random_effects_of_one_fold() -> None:
    """Gains of 10 and 30 points, and one point more with each seed; the network for the slice has one seed less."""
    data = rows({2: [0.1, 0.3]}, seeds=(0, 1, 2))
    curves = fold_curves(data[~((data["method"] == "single_stage") & (data["seed"] == 2))])
    found = measure_seeds(FINE, curves)
    assert found.seeds == pytest.approx((20.0, 21.0, 22.0)) and found.estimate.value == pytest.approx(21.0)
    found = measure_seeds(WHOLE, curves)
    assert found.seeds == pytest.approx((10.0, 11.0)) and found.estimate.value == pytest.approx(10.5)
    other = data[
        ~((data["method"] == "single_stage") & (data["seed"] < 2)) & ~((data["method"] == "rstn") & (data["seed"] == 2))
    ]
    with pytest.raises(ValueError, match="no training seed that all have"):
        measure_seeds(WHOLE, fold_curves(other))


def test_five_seeds_of_one_fold_give_a_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gains = [0.2 + 0.01 * i for i in range(12)]
    rows({0: gains}, seeds=tuple(range(5))).to_csv(tmp_path / "rows.csv", index=False)
    phantom = RECORDS / "experiments" / "rows.csv"
    options = ["--output", str(tmp_path / "rows.csv"), "--phantom", str(phantom), "--folder", str(tmp_path)]
    assert main(["claims", *options]) == 0
    (whole,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith(f"| {WHOLE.text} ")]
    assert whole.endswith("| +15.50, +16.50, +17.50, +18.50, +19.50 | found |")
