"""Calibration in groups, on the whole and by slope against R's survfit, rms::groupkm and coxph."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from prognode.statistics.calibration import (
    calibration_in_the_large,
    calibration_slope,
    grouped_calibration,
    quantile_groups,
    sized_groups,
)
from prognode.statistics.outcome import Outcome, outcome

R = Path(__file__).parent / "r"
FIGURES = json.loads((R / "calibration.json").read_text())
EXACT = {"rtol": 1e-12, "atol": 1e-14}
COLUMNS = {"km": "observed", "se": "standard_error", "lower": "lower", "upper": "upper"}

cases = pytest.mark.parametrize("case", FIGURES["cases"], ids=lambda case: case["name"])


def patients_of(case) -> Outcome:
    """The case's follow-up: its own, or that of a table beside the figures."""
    if "data" in case:
        return outcome(case["data"]["time"], case["data"]["event"])
    with (R / "data" / f"{case['table']}.csv").open() as table:
        rows = list(csv.DictReader(table))
    return outcome(*([float(row[case["columns"][name]]) for row in rows] for name in ("time", "event")))


def numbers(values) -> np.ndarray:
    """R's NA as NaN."""
    return np.array([np.nan if value is None else value for value in values], float)


@cases
def test_groups_at_quantiles_are_those_of_cut_and_survfit(case):
    """Who is in which group, mean prediction, Kaplan-Meier with error and limits; tied predictions, fewer groups."""
    patients = patients_of(case)
    for division in case["quantile"]:
        member = quantile_groups(case["predicted"], division["groups"])
        found = grouped_calibration(case["predicted"], patients, case["horizon"], member)
        rows = {name: numbers([row[name] for row in division["rows"]]) for name in division["rows"][0]}
        assert found.patients.tolist() == rows["n"].tolist()
        assert found.events.tolist() == rows["events"].tolist()
        assert_allclose(found.predicted, rows["predicted"], **EXACT)
        for theirs, ours in COLUMNS.items():
            assert_allclose(getattr(found, ours), rows[theirs], **EXACT)


@cases
def test_groups_by_size_are_those_of_rms_groupkm(case):
    """The division of rms and its std.err, the error of log S; where rms gives NA, follow-up ended or one patient is left."""
    patients = patients_of(case)
    for division in case["sized"]:
        member = sized_groups(case["predicted"], division["patients"])
        found = grouped_calibration(case["predicted"], patients, case["horizon"], member)
        assert_allclose(found.predicted, division["x"], **EXACT)
        several = found.patients > 1
        assert found.patients[several].tolist() == numbers(division["n"])[several].tolist()
        assert found.events[several].tolist() == numbers(division["events"])[several].tolist()
        told = found.followed & several
        assert_allclose(np.where(told, found.observed, np.nan), numbers(division["km"]), **EXACT)
        error = np.where(told & np.isfinite(found.log_error), found.log_error, np.nan)
        assert_allclose(error, numbers(division["std_err"]), **EXACT)


@cases
def test_ratio_of_observed_to_expected_deaths_follows_survfit(case):
    """The ratio and its limits out of the limits of survival in the whole cohort."""
    found = calibration_in_the_large(case["predicted"], patients_of(case), case["horizon"])
    expected = case["large"]
    assert [found.ratio, found.lower, found.upper] == pytest.approx(
        [expected["ratio"], expected["lower"], expected["upper"]], rel=1e-12
    )


@cases
def test_slope_is_that_of_coxph(case):
    """The Cox coefficient of the prediction's own linear predictor and its standard error."""
    chance = np.clip(case["predicted"], 1e-6, 1 - 1e-6)
    found = calibration_slope(np.log(-np.log(chance)), patients_of(case))
    assert found.value == pytest.approx(case["slope"]["value"], rel=1e-9)
    assert found.standard_error == pytest.approx(case["slope"]["se"], rel=1e-9)


@pytest.fixture(scope="module")
def reference(reference_dir):
    """The reference file's calibration, and its linear predictors."""
    folder = reference_dir / "stats" / "ref"
    figures = json.loads((folder / "08_calibration.json").read_text())
    return figures, json.loads((folder / "06_km_concordance_hr.json").read_text())["lp"]


def cohort(name: str) -> Outcome:
    return patients_of({"table": f"cohort_{name}", "columns": {"time": "time", "event": "event"}})


@pytest.mark.reference
@pytest.mark.parametrize("name", ["train", "internal"])
def test_groups_of_the_reference_file_agree(reference, name):
    """Three and four groups at 36 and 60 months."""
    figures = reference[0]["grouped"][name]
    for division in (part for row in figures for part in (row if isinstance(row, list) else [row])):
        member = quantile_groups(division["pred"], division["groups"])
        found = grouped_calibration(division["pred"], cohort(name), division["u"], member)
        for theirs, ours in {"n": "patients", "events": "events", "mean_pred": "predicted"}.items():
            assert_allclose(getattr(found, ours), [row[theirs] for row in division["rows"]], **EXACT)
        for theirs, ours in {
            "km": "observed",
            "km_se": "standard_error",
            "lo": "lower",
            "hi": "upper",
        }.items():
            assert_allclose(getattr(found, ours), numbers([row[theirs] for row in division["rows"]]), **EXACT)


@pytest.mark.reference
@pytest.mark.parametrize("name", ["train", "internal", "external"])
def test_slopes_of_the_reference_file_agree(reference, name):
    """Slope and standard error; R stops iterating at a relative gain of 1e-9, hence the tolerance."""
    figures, lp = reference
    found, expected = calibration_slope(lp[name], cohort(name)), figures["cox_calibration_slope"][name]
    assert found.value == pytest.approx(expected["slope"], rel=1e-8)
    assert found.standard_error == pytest.approx(expected["se"], rel=1e-8)
