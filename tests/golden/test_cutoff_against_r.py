"""Cutoffs by maximal log-rank, median and Youden's index against R's survdiff, maxstat and survfit."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from prognode.statistics.cutoff import lausen_schumacher_p, max_log_rank, median, youden
from prognode.statistics.kaplan_meier import kaplan_meier
from prognode.statistics.outcome import Outcome, outcome

R = Path(__file__).parent / "r"
FIGURES = json.loads((R / "cutoff.json").read_text())

cases = pytest.mark.parametrize("case", FIGURES["cases"], ids=lambda case: case["name"])


def columns(case) -> dict[str, np.ndarray]:
    """The case's columns as numbers: its own, or those of a table beside the figures."""
    if "data" in case:
        return {name: np.array(column, float) for name, column in case["data"].items()}
    with (R / "data" / f"{case['table']}.csv").open() as table:
        rows = list(csv.DictReader(table))
    return {name: np.array([float(row[column]) for row in rows]) for name, column in case["columns"].items()}


def patients_of(case) -> tuple[np.ndarray, Outcome]:
    data = columns(case)
    return data["score"], outcome(data["time"], data["event"])


@cases
def test_chi_squares_of_all_cutoffs_are_those_of_survdiff(case):
    """Every cutoff that leaves enough patients on either side, the largest chi-square and its two p values."""
    found = max_log_rank(*patients_of(case), case["fraction"])
    assert found.candidates.tolist() == case["cuts"]
    assert_allclose(found.chi_squares, case["chisq"], rtol=1e-10, atol=1e-13)
    assert found.cutoff == case["cutoff"]
    assert found.chi_square == max(found.chi_squares)
    assert found.naive_p == pytest.approx(case["p"], rel=1e-10)
    assert found.adjusted_p == pytest.approx(case["lausen"], rel=1e-10)


@cases
def test_youden_and_median_are_those_of_r(case):
    """Youden's index of every cutoff from survfit in all patients and in those above it; the median."""
    score, patients = patients_of(case)
    found, expected = youden(score, patients, case["horizon"]), case["youden"]
    assert found.candidates.tolist() == expected["cuts"]
    assert_allclose(found.indices, expected["index"], rtol=1e-11, atol=1e-13)
    assert found.cutoff == expected["cutoff"]
    assert found.sensitivity == pytest.approx(expected["sensitivity"], rel=1e-12)
    assert found.specificity == pytest.approx(expected["specificity"], rel=1e-12)
    assert median(score) == case["median"]


@pytest.mark.parametrize("line", FIGURES["lausen"], ids=lambda line: f"f={line['fraction']}")
def test_adjusted_p_is_that_of_maxstat_for_the_same_statistic(line):
    """The approximation of Lausen and Schumacher, which maxstat lets exceed 1 and this code does not."""
    found = [lausen_schumacher_p(b, line["fraction"]) for b in line["b"]]
    assert found == pytest.approx(np.minimum(line["p"], 1), rel=1e-12)


def test_maxstat_differs_by_its_permutation_variance_alone_where_no_death_is_tied():
    """Observed minus expected over the permutation variance gives maxstat's statistic and cutoff; ours is near it."""
    case = next(case for case in FIGURES["cases"] if case["name"] == "no ties")
    score, patients = patients_of(case)
    curve = kaplan_meier(patients)
    hazard = (curve.events / curve.at_risk).cumsum()[np.searchsorted(curve.times, patients.time)]
    own = (patients.event - hazard)[score.argsort()]
    low, n = np.arange(1, len(own)), len(own)
    statistic = abs(own.cumsum()[:-1]) / np.sqrt(low * (n - low) / n * own.var(ddof=1))
    allowed = (low >= 0.1 * n) & (low <= 0.9 * n)
    assert max(statistic[allowed]) == pytest.approx(case["maxstat"]["statistic"], rel=1e-12)
    found = max_log_rank(score, patients)
    assert found.cutoff == case["maxstat"]["cutoff"]
    assert found.chi_square**0.5 == pytest.approx(case["maxstat"]["statistic"], rel=0.1)
    assert found.chi_square**0.5 != pytest.approx(case["maxstat"]["statistic"], rel=0.01)
