"""Harrell's C, its standard error and the difference of two against R's survival::concordance."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from prognode.statistics.concordance import PairCounts, c_index, compare_concordance, concordance
from prognode.statistics.cox import fit_cox
from prognode.statistics.outcome import outcome

R = Path(__file__).parent / "r"
FIGURES = json.loads((R / "concordance.json").read_text())


def columns(case) -> dict[str, np.ndarray]:
    """The case's columns as numbers: its own, or those of a table beside the figures."""
    if "data" in case:
        return {name: np.array(column, float) for name, column in case["data"].items()}
    with (R / "data" / f"{case['table']}.csv").open() as table:
        rows = list(csv.DictReader(table))
    return {name: np.array([float(row[column]) for row in rows]) for name, column in case["columns"].items()}


def counts(values) -> PairCounts:
    return PairCounts(*values)


@pytest.mark.parametrize("case", FIGURES["cases"], ids=lambda case: case["name"])
def test_c_its_error_its_counts_and_influences_are_those_of_r(case):
    """Continuous and tied scores, tied times, deaths and censorings at one time."""
    data = columns(case)
    patients = outcome(data["time"], data["event"])
    found, first = concordance(data["score"], patients), len(case["dfbeta"])
    assert found.counts == counts(case["counts"])
    assert found.value == pytest.approx(case["C"], rel=1e-14)
    assert c_index(data["score"], patients) == found.value
    assert found.standard_error == pytest.approx(case["se"], rel=1e-12)
    assert_allclose(found.influence[:first], case["dfbeta"], rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("case", FIGURES["differences"], ids=lambda case: case["name"])
def test_difference_of_two_scores_has_the_error_of_the_joint_covariance(case):
    """C of each, their difference and its standard error out of R's vcov of a concordance of two models."""
    data = columns(case)
    found = compare_concordance(data["first"], data["second"], outcome(data["time"], data["event"]))
    assert [found.first.value, found.second.value] == pytest.approx(case["C"], rel=1e-14)
    assert found.value == pytest.approx(case["difference"], rel=1e-12)
    assert found.standard_error == pytest.approx(case["se"], rel=1e-12)


@pytest.mark.reference
@pytest.mark.parametrize("cohort", ["train", "internal", "external"])
def test_c_of_the_reference_file_agrees(reference_dir, cohort):
    """C of a linear predictor with counts, limits and p, in three cohorts."""
    figures = json.loads((reference_dir / "stats" / "ref" / "06_km_concordance_hr.json").read_text())
    data = columns({"table": f"cohort_{cohort}", "columns": {"time": "time", "event": "event"}})
    found = concordance(figures["lp"][cohort], outcome(data["time"], data["event"]))
    expected = figures["cindex"][cohort]
    assert found.counts == counts(expected["counts"].values())
    assert [found.value, found.standard_error, *found.limits(), found.p_value] == pytest.approx(
        [expected[key] for key in ("C", "se", "lo95", "hi95", "p_vs_half")], rel=1e-11
    )


@pytest.mark.reference
@pytest.mark.parametrize(
    ("table", "key", "covariates"),
    [("veteran", "cindex_karno", ["karno"]), ("lung_cc", "cindex", ["age", "sex", "ph.ecog"])],
)
def test_c_of_tied_scores_of_the_reference_file_agrees(reference_dir, table, key, covariates):
    """C of one column and of a linear predictor, tied in many patients."""
    figures = json.loads((reference_dir / "stats" / "ref" / "06_km_concordance_hr.json").read_text())
    named = {"time": "time", "event": "status", **{name: name for name in covariates}}
    data = columns({"table": table, "columns": named})
    patients = outcome(data["time"], data["event"])
    coefficients = fit_cox(np.column_stack([data[name] for name in covariates]), patients).coefficients
    score = sum(b * data[name] for b, name in zip(coefficients, covariates, strict=True))
    found, expected = concordance(score, patients), figures[table][key]
    assert found.counts == counts(expected["counts"].values())
    assert [found.value, found.standard_error, *found.limits(), found.p_value] == pytest.approx(
        [expected[key] for key in ("C", "se", "lo95", "hi95", "p_vs_half")], rel=1e-11
    )
