"""Time-dependent ROC curves against R's survivalROC, timeROC and riskRegression; the R calls stand in the figures."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from prognode.statistics.outcome import Outcome, outcome
from prognode.statistics.time_dependent_roc import heagerty_km, heagerty_nne, ipcw_auc

HERE = Path(__file__).parent / "r"
FIGURES = json.loads((HERE / "time_dependent_roc.json").read_text())
HORIZONS = [(cohort, place) for cohort in sorted(FIGURES["cohorts"]) for place in (0, 1)]
EXACT = {"rtol": 1e-12, "atol": 1e-13}


def outcome_of(case: dict) -> Outcome:
    if "data" not in case:
        return outcome(case["times_of"], case["events_of"])
    with (HERE / "data" / f"{case['data']}.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    return outcome([float(row[case["time"]]) for row in rows], [int(row[case["event"]]) for row in rows])


@pytest.mark.parametrize(("cohort", "place"), HORIZONS)
def test_kaplan_meier_curve_is_that_of_r(cohort, place):
    """Every cut in R's order, its true and false positives, the area, and S(t)."""
    case = FIGURES["cohorts"][cohort]
    r = case["heagerty"][place]
    mine = heagerty_km(case["marker"], outcome_of(case), r["time"])
    assert mine.cuts[0] == -np.inf
    np.testing.assert_array_equal(mine.cuts[1:], r["cut"])
    np.testing.assert_allclose(mine.true_positive, r["KM"]["TP"], **EXACT)
    np.testing.assert_allclose(mine.false_positive, r["KM"]["FP"], **EXACT)
    np.testing.assert_allclose([mine.auc, mine.survival], [r["KM"]["AUC"], r["S_km"]], **EXACT)


@pytest.mark.parametrize(("cohort", "place"), HORIZONS)
def test_nearest_neighbour_curve_is_that_of_r(cohort, place):
    """The same with the default span, and the area with a narrower one."""
    case = FIGURES["cohorts"][cohort]
    r = case["heagerty"][place]
    patients = outcome_of(case)
    mine = heagerty_nne(case["marker"], patients, r["time"])
    assert 0.25 * len(patients) ** -0.2 == pytest.approx(r["NNE"]["span"], rel=1e-14)
    np.testing.assert_allclose(mine.true_positive, r["NNE"]["TP"], **EXACT)
    np.testing.assert_allclose(mine.false_positive, r["NNE"]["FP"], **EXACT)
    assert mine.auc == pytest.approx(r["NNE"]["AUC"], rel=1e-12)
    narrow = heagerty_nne(case["marker"], patients, r["time"], span=0.05)
    assert narrow.auc == pytest.approx(r["NNE_span_0.05_AUC"], rel=1e-12)


@pytest.mark.parametrize(("cohort", "place"), HORIZONS)
def test_weighted_area_and_error_are_those_of_timeroc(cohort, place):
    """Area, standard error by influences, and who counts as what; a death at the horizon itself is left out there."""
    case = FIGURES["cohorts"][cohort]
    r = case["timeROC"]
    mine = ipcw_auc(case["marker"], outcome_of(case), r["times"][place], "left out")
    assert mine.auc == pytest.approx(r["AUC"][place], rel=1e-12)
    assert mine.standard_error == pytest.approx(r["se"][place], rel=1e-12)
    assert [mine.cases, mine.controls, mine.lost] == r["counts"][place]


@pytest.mark.parametrize("name", sorted(FIGURES["score"]))
def test_weighted_area_is_that_of_riskregression(name):
    """Deaths at the horizon count as cases; R's two packages order tied times differently, so errors agree to 0.1 %."""
    case = FIGURES["score"][name]
    patients = outcome_of(case)
    for time, auc, error in zip(case["times"], case["AUC"], case["se"], strict=True):
        mine = ipcw_auc(case["marker"], patients, time)
        assert mine.auc == pytest.approx(auc, rel=1e-12)
        assert mine.standard_error == pytest.approx(error, rel=1e-3)


@pytest.mark.reference
def test_figures_are_those_of_the_reference_file(reference_dir):
    """The numbers carried here are the ones that R wrote."""
    r = json.loads((reference_dir / "stats" / "ref" / "07_tdroc.json").read_text())
    for cohort, case in FIGURES["cohorts"].items():
        for mine, of_r in zip(case["heagerty"], r[cohort]["heagerty"], strict=True):
            assert mine["KM"]["TP"] == pytest.approx(of_r["KM"]["TP"], rel=1e-14)
            assert mine["NNE"]["FP"] == pytest.approx(of_r["NNE"]["FP"], rel=1e-14)
        assert case["timeROC"]["se"] == pytest.approx(r[cohort]["timeROC_ipcw"]["se"], rel=1e-14)
