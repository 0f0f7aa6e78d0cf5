"""Tables of performance and prediction: cells against lifelines and against hand counts, and honest gaps."""

from __future__ import annotations

from dataclasses import replace

import laboratory
import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter, KaplanMeierFitter
from lifelines.statistics import logrank_test
from lifelines.utils import concordance_index

from training.estimates import NotKnown
from training.published import CONCORDANCE
from training.report.items import ReportTable
from training.report.labels import COHORT_LABELS
from training.report.numbers import hazard_ratio, p_value
from training.report.tables_paper import beside_the_paper
from training.report.tables_performance import concordance_differences, optimism, table_3_performance
from training.report.tables_prediction import brier, calibration, calibration_summary, roc
from training.study import Study

COMBINED = "Combined model"
EXTERNAL = COHORT_LABELS["external"]
TRAINING = COHORT_LABELS["training"]


@pytest.fixture(scope="module")
def study() -> Study:
    return laboratory.ordinary_study()


def rows(table: ReportTable, model: str, cohort: str, months: int | None = None) -> pd.DataFrame:
    """Rows of one model and cohort, at one horizon."""
    frame = table.frame
    chosen = (frame.iloc[:, 0] == model) & (frame.iloc[:, 1] == cohort)
    if months is not None:
        chosen &= frame["Months"] == str(months)
    return frame[chosen]


def row(table: ReportTable, model: str, cohort: str, months: int | None = None) -> pd.Series:
    """The one such row."""
    found = rows(table, model, cohort, months)
    assert len(found) == 1
    return found.iloc[0]


def wald(outcome, column: np.ndarray) -> tuple[str, str]:
    """Hazard ratio and P value of one column by lifelines, as the report writes them."""
    frame = pd.DataFrame({"x": column.astype(float), "months": outcome.time, "died": outcome.event})
    found = CoxPHFitter().fit(frame, "months", "died", fit_options={"precision": 1e-10}).summary.loc["x"]
    text = hazard_ratio(found["exp(coef)"], found["exp(coef) lower 95%"], found["exp(coef) upper 95%"])
    return text, p_value(found["p"])


@pytest.mark.parametrize("cohort", ["training", "internal", "external"])
def test_table_3_is_lifelines(study, cohort):
    """C, both hazard ratios and the log-rank test of the combined model."""
    found = row(table_3_performance(study), COMBINED, COHORT_LABELS[cohort])
    judged = study.evaluations[cohort]
    outcome, model = judged.outcome, judged.models["combined"]
    c = concordance_index(outcome.time, -model.lp, outcome.event)
    assert found["Harrell C (95 % CI)"].startswith(f"{c:.2f} (")
    unit = found["HR per unit of the linear predictor (95 % CI)"], found["P value, Wald test, per unit"]
    assert unit == wald(outcome, model.lp)
    assert (
        found["HR per SD of the linear predictor (95 % CI)"]
        == wald(outcome, model.lp / model.lp.std(ddof=1))[0]
    )
    groups = found["HR, high against low risk (95 % CI)"], found["P value, Wald test, high against low"]
    assert groups == wald(outcome, model.high)
    high = model.high
    test = logrank_test(outcome.time[high], outcome.time[~high], outcome.event[high], outcome.event[~high])
    assert found["P value, log-rank test, high against low"] == p_value(test.p_value)
    assert (found["Patients"], found["Deaths"]) == (str(len(outcome)), str(outcome.event.sum()))


def test_only_the_training_cohort_is_corrected_for_optimism(study):
    """The corrected C is that of the whole training, and no other cohort has one."""
    table = table_3_performance(study)
    corrected = study.bootstrap.whole_training["combined"].corrected
    assert row(table, COMBINED, TRAINING)["C corrected for optimism"] == f"{corrected:.2f}"
    assert row(table, COMBINED, EXTERNAL)["C corrected for optimism"] == ""


def test_a_cohort_that_cannot_be_judged_says_why(study):
    """One row with the reason, and no invented number."""
    gone = replace(study, evaluations={**study.evaluations, "external": NotKnown("nobody has every term")})
    found = row(table_3_performance(gone), "", EXTERNAL)
    assert found["Patients"] == "not estimable: nobody has every term"
    assert f"{EXTERNAL}: not estimable: nobody has every term." in concordance_differences(gone).notes


def test_a_cohort_without_patients_is_named():
    """A reader is told that a cohort is not there."""
    kept = np.flatnonzero(np.array(laboratory.cohorts_of()) != "external")
    cohorts = tuple(laboratory.cohorts_of()[place] for place in kept)
    study = laboratory.study_of(laboratory.patients().of(kept), cohorts, bootstrap=0)
    expected = "No patient was analysed in the external validation cohort."
    for table in (table_3_performance(study), calibration(study), roc(study), brier(study)):
        assert expected in table.notes


def test_a_perfect_order_has_no_limits():
    """With a standard error of 0 there is neither an interval nor a P value: words stand there."""
    kept = np.arange(laboratory.SIZES["training"] + 3)
    sample = laboratory.patients().of(kept)
    cohorts = ("training",) * laboratory.SIZES["training"] + ("external",) * 3
    study = laboratory.study_of(sample, cohorts, bootstrap=0)
    lp = study.evaluations["external"].models["combined"].lp
    months = sample.outcome.time.copy()
    event = sample.outcome.event.copy()
    months[-3:], event[-3:] = 40.0 - 10 * np.argsort(np.argsort(lp)), True
    study = laboratory.study_of(laboratory.with_outcome(sample, months, event), cohorts, bootstrap=0)
    found = row(table_3_performance(study), COMBINED, EXTERNAL)
    assert found["Harrell C (95 % CI)"] == "1.00 (limits not estimable)"
    assert found["P value, C against 0.5"].startswith("not estimable: every comparable pair")


def test_differences_are_of_the_same_patients(study):
    """The difference is that of the two C beside it."""
    table = concordance_differences(study)
    assert set(table.frame["Combined model against"]) == {"Clinical model", "Imaging signatures"}
    found = row(table, "Clinical model", EXTERNAL)
    difference = float(found["C of the combined model"]) - float(found["C of the other"])
    assert abs(float(found["Difference (95 % CI)"].split(" (")[0]) - difference) < 0.0016


def test_equal_models_have_no_p_value(study):
    """Two models that order every pair alike cannot be told apart, nor tested."""
    judged = study.evaluations["external"]
    same = judged.improvement["clinical"].first
    twin = replace(judged.improvement["clinical"], second=same)
    changed = replace(judged, improvement={"clinical": twin})
    table = concordance_differences(replace(study, evaluations={"external": changed}))
    found = row(table, "Clinical model", EXTERNAL)
    assert found["Difference (95 % CI)"] == "0.000 (limits not estimable)"
    assert found["P value"] == "not estimable: both models order every pair alike"


def test_optimism_shows_both_kinds(study):
    """Corrected = apparent - optimism; failed draws are counted."""
    table = optimism(study).frame
    assert len(table) == 6
    numbers = table[["Apparent C", "Optimism", "Corrected C"]].astype(float)
    assert (numbers["Apparent C"] - numbers["Optimism"] - numbers["Corrected C"]).abs().max() < 0.0016
    draws = table["Draws with a model"].astype(int) + table["Draws without a model"].astype(int)
    assert set(draws) == {laboratory.SETTINGS.bootstrap}


def test_no_bootstrap_is_no_optimism():
    """What was not computed is said not to be known."""
    study = laboratory.study_of(laboratory.patients(), bootstrap=0)
    table = optimism(study)
    assert not len(table.frame)
    assert "The settings asked for no bootstrap, so the optimism is not known." in table.notes
    assert set(table_3_performance(study).frame["C corrected for optimism"]) == {""}


# ---------------------------------------------------------------- prediction


def test_calibration_groups_are_counted(study):
    """Groups hold everybody once, in the order of the prediction; the observed survival is Kaplan-Meier's."""
    found = rows(calibration(study), COMBINED, TRAINING, 36)
    (at, _) = study.evaluations["training"].models["combined"].at
    outcome = study.evaluations["training"].outcome
    assert found["Patients"].astype(int).sum() == len(outcome)
    assert found["Deaths"].astype(int).sum() == outcome.events
    assert found["Mean predicted survival"].astype(float).is_monotonic_increasing
    lowest = at.predicted <= np.quantile(at.predicted, 1 / 3)
    curve = KaplanMeierFitter().fit(outcome.time[lowest], outcome.event[lowest])
    first = found.iloc[0]
    assert first["Patients"] == str(lowest.sum())
    assert first["Mean predicted survival"] == f"{at.predicted[lowest].mean():.3f}"
    assert first["Observed survival (95 % CI)"].startswith(f"{curve.predict(36):.3f} (")


def test_a_group_that_is_lost_before_the_horizon_is_not_observed():
    """No survival is carried forward past the last patient."""
    sample = laboratory.patients()
    short = np.minimum(sample.outcome.time, 45.0)
    late = np.array(laboratory.cohorts_of()) == "external"
    months = np.where(late, short, sample.outcome.time)
    event = sample.outcome.event & (months == sample.outcome.time)
    study = laboratory.study_of(laboratory.with_outcome(sample, months, event), bootstrap=0)
    cells = rows(calibration(study), COMBINED, EXTERNAL, 60)["Observed survival (95 % CI)"]
    words = "not estimable: the follow-up of this group ends before the horizon"
    assert (cells == words).any()
    assert ((cells == words) | cells.str.startswith("0.000")).all()


def test_deaths_observed_over_expected(study):
    """One less Kaplan-Meier over one less the mean prediction."""
    found = row(calibration_summary(study), COMBINED, EXTERNAL, 36)
    outcome = study.evaluations["external"].outcome
    (at, _) = study.evaluations["external"].models["combined"].at
    observed = 1 - KaplanMeierFitter().fit(outcome.time, outcome.event).predict(36)
    expected = 1 - at.predicted.mean()
    assert found["Deaths observed (probability)"] == f"{observed:.3f}"
    assert found["Deaths expected (probability)"] == f"{expected:.3f}"
    assert found["Observed / expected (95 % CI)"].startswith(f"{observed / expected:.2f} (")


def test_the_slope_is_1_where_the_model_was_fitted(study):
    """By construction; with P = 1 against a slope of 1."""
    found = row(calibration_summary(study), COMBINED, TRAINING, 60)
    assert found["Calibration slope (95 % CI)"].startswith("1.00 (")
    assert found["P value, Wald test, slope of 1"] == "1.000"


def test_roc_counts_everybody_once(study):
    """Cases, controls and lost patients are the cohort."""
    outcome = study.evaluations["external"].outcome
    found = row(roc(study), COMBINED, EXTERNAL, 36)
    assert found["Cases"] == str((outcome.event & (outcome.time <= 36)).sum())
    assert found["Controls"] == str((outcome.time > 36).sum())
    assert sum(int(found[name]) for name in ("Cases", "Controls", "Lost before")) == len(outcome)
    assert found["AUC, IPCW (95 % CI)"].endswith(")")


def test_scaled_brier_is_the_share_that_the_model_saves(study):
    """1 - score / score of the Kaplan-Meier curve."""
    for _, found in brier(study).frame.iterrows():
        score, null = float(found["Brier score"]), float(found["Brier score of the Kaplan-Meier curve"])
        assert abs(float(found["Scaled Brier score"]) - (1 - score / null)) < 0.006


def test_beside_the_paper_prints_the_paper(study):
    """The paper's own figures, and a note that they have nothing to do with ours."""
    table = beside_the_paper(study)
    printed = CONCORDANCE["combined"]["external"]
    found = row(table, COMBINED, EXTERNAL)
    assert found["C-index (95 % CI), paper"] == f"{printed.value} ({printed.lower}-{printed.upper})"
    notes = " ".join(table.notes)
    assert "nothing to do with each other" in notes
    assert "does not name the unit" in notes
