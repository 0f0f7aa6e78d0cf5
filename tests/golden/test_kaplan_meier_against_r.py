"""Kaplan-Meier curves, medians, restricted means and log-rank tests against R's survival; the R calls stand in the figures."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from prognode.statistics.kaplan_meier import kaplan_meier, log_rank, median_follow_up
from prognode.statistics.outcome import Outcome, outcome

R = Path(__file__).parent / "r"
FIGURES = json.loads((R / "kaplan_meier.json").read_text())
SCALES = ("log", "log-log", "plain")
EXACT = {"rtol": 1e-12, "atol": 1e-14}

curves = pytest.mark.parametrize("case", FIGURES["curves"], ids=lambda case: case["name"])
rank_tests = pytest.mark.parametrize("case", FIGURES["log_rank"], ids=lambda case: case["name"])
scales = pytest.mark.parametrize("scale", SCALES)


def columns(case) -> dict[str, np.ndarray]:
    """The case's columns: its own, or those of a table beside the figures."""
    if "data" in case:
        return {name: np.array(column) for name, column in case["data"].items()}
    with (R / "data" / f"{case['table']}.csv").open() as table:
        rows = list(csv.DictReader(table))
    return {name: np.array([row[column] for row in rows]) for name, column in case["columns"].items()}


def outcome_of(data: dict[str, np.ndarray]) -> Outcome:
    return outcome(data["time"].astype(float), data["event"].astype(float))


def numbers(values) -> np.ndarray:
    """R's NA as NaN."""
    return np.array([np.nan if value is None else value for value in values], float)


def three(quantile) -> list[float | None]:
    return [quantile.value, quantile.lower, quantile.upper]


@curves
def test_survival_and_numbers_at_risk_are_those_of_summary_survfit(case):
    """S, its standard error and the numbers at risk, before the first time, between, at and after the last one."""
    curve = kaplan_meier(outcome_of(columns(case)))
    assert_allclose(curve.at(case["at"]), numbers(case["surv"]), **EXACT)
    assert_allclose(curve.standard_error_at(case["at"]), numbers(case["std_err"]), **EXACT)
    assert_array_equal(curve.at_risk_at(case["at"]), case["n_risk"])


@scales
@curves
def test_limits_and_median_are_those_of_each_conf_type(case, scale):
    """Confidence limits of S, and the median with limits as print(survfit) shows it."""
    curve, expected = kaplan_meier(outcome_of(columns(case))), case[scale]
    lower, upper = curve.limits_at(case["at"], scale)
    assert_allclose(lower, numbers(expected["lower"]), **EXACT)
    assert_allclose(upper, numbers(expected["upper"]), **EXACT)
    assert three(curve.median(scale)) == expected["median"]
    if "all_lower" in expected:
        assert_allclose(curve.limits(scale)[0], numbers(expected["all_lower"]), **EXACT)
        assert_allclose(curve.limits(scale)[1], numbers(expected["all_upper"]), **EXACT)


@curves
def test_restricted_means_and_follow_up_are_those_of_print_survfit(case):
    """Mean survival up to each end with its standard error, and the reverse Kaplan-Meier median."""
    patients = outcome_of(columns(case))
    means = [kaplan_meier(patients).restricted_mean(tau) for tau in case["taus"]]
    assert_allclose([(mean.value, mean.standard_error) for mean in means], case["rmean"], **EXACT)
    assert three(median_follow_up(patients)) == case["follow_up"]


@pytest.mark.parametrize(
    "case", [case for case in FIGURES["curves"] if "all" in case], ids=lambda case: case["name"]
)
def test_every_time_of_a_curve_is_that_of_survfit(case):
    """The whole object: times with pure censoring and time 0, counts, survival and standard error of its logarithm."""
    curve, expected = kaplan_meier(outcome_of(columns(case))), case["all"]
    assert curve.times.tolist() == expected["time"]
    assert curve.at_risk.tolist() == expected["n_risk"]
    assert curve.events.tolist() == expected["n_event"]
    assert curve.censored.tolist() == expected["n_censor"]
    assert_allclose(curve.survival, expected["surv"], **EXACT)
    error = np.where(expected["std_err_is_inf"], np.inf, numbers(expected["std_err"]))
    assert_allclose(curve.log_error, error, **EXACT)


@rank_tests
def test_log_rank_is_that_of_survdiff(case):
    """Chi-square, degrees of freedom, p, and observed and expected deaths of every group."""
    data = columns(case)
    result = log_rank(outcome_of(data), data["group"])
    assert [str(label) for label in result.labels] == case["labels"]
    assert result.patients.tolist() == case["n"]
    assert result.observed.tolist() == case["obs"]
    assert_allclose(result.expected, case["exp"], **EXACT)
    assert result.degrees_of_freedom == case["df"]
    assert result.chi_square == pytest.approx(case["chisq"], rel=1e-11)
    assert result.p_value == pytest.approx(case["p"], rel=1e-10)


@pytest.mark.reference
@pytest.mark.parametrize("cohort", ["train", "internal", "external"])
def test_risk_groups_of_the_reference_file_agree(reference_dir, cohort):
    """The groups by a fixed cutoff: log-rank, curves on three scales, medians, mean up to 60 months, follow-up."""
    figures = json.loads((reference_dir / "stats" / "ref" / "06_km_concordance_hr.json").read_text())
    data = columns({"table": f"cohort_{cohort}", "columns": {"time": "time", "event": "event"}})
    patients, expected = outcome_of(data), figures["groups_median"][cohort]
    high = np.array(figures["lp"][cohort]) > figures["cutoff_median"]
    result = log_rank(patients, high)
    assert [result.chi_square, result.p_value] == pytest.approx(
        [expected["logrank_chisq"], expected["logrank_p"]], rel=1e-10
    )
    assert result.observed.tolist() == expected["obs"]
    assert_allclose(result.expected, expected["exp"], **EXACT)
    for group, name in ((~high, "group0"), (high, "group1")):
        agrees_with_reference(patients.of(group), expected["km"][name])
    agrees_with_reference(patients, figures["km_all"][cohort])


def agrees_with_reference(patients: Outcome, expected) -> None:
    curve = kaplan_meier(patients)
    for scale in SCALES:
        figures = expected[scale]
        lower, upper = curve.limits_at(figures["times"], scale)
        assert_allclose(curve.at(figures["times"]), figures["surv"], **EXACT)
        assert_allclose(curve.standard_error_at(figures["times"]), numbers(figures["std_err"]), **EXACT)
        assert_allclose(lower, numbers(figures["lo"]), **EXACT)
        assert_allclose(upper, numbers(figures["hi"]), **EXACT)
        assert curve.at_risk_at(figures["times"]).tolist() == figures["n_risk"]
        assert three(curve.median(scale)) == [figures[key] for key in ("median", "median_lo", "median_hi")]
    mean = curve.restricted_mean(expected["rmst_to_last_time"]["tau"])
    assert mean.value == pytest.approx(expected["rmst_to_last_time"]["rmst"], rel=1e-12)
    assert mean.standard_error == pytest.approx(expected["rmst_to_last_time"]["se"], rel=1e-12)
    assert median_follow_up(patients).value == expected["reverse_km_median_followup"]
