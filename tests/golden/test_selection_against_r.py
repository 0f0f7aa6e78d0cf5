"""Univariable models and backward elimination against R's coxph and step; the calls stand in the figures."""

from __future__ import annotations

import json

import numpy as np
import pytest
from r_figures import figures, table

from prognode.statistics.outcome import outcome
from prognode.statistics.selection import backward_aic, factor_term, numeric_term, univariable

R, ALONE = figures("cox_step"), figures("cox")["univariable_cohort_train"]
LEVELS = {
    "celltype": ("squamous", "smallcell", "adeno", "large"),
    "location": ("cardia", "body", "antrum", "diffuse"),
    "grade": ("NETG1", "NETG2", "NETG3", "MiNEN", "NEC"),
    "g": ("a", "b", "c"),
}


def terms_of(data, names):
    return [
        factor_term(name, list(data[name]), LEVELS[name])
        if name in LEVELS
        else numeric_term(name, data[name])
        for name in names
    ]


@pytest.mark.parametrize("name", list(R["reference"]))
def test_every_step_is_that_of_r(name):
    """Terms, AIC, AIC without each term, the term that leaves; and the model at the end."""
    expected = R["reference"][name]
    frame = table(name.removesuffix("_full"))
    status = frame.event if "event" in frame else frame.status == frame.status.max()
    first = expected["path"][0]["current_terms"]
    result = backward_aic(terms_of(frame, first), outcome(frame.time, status))
    for step, r in zip(result.steps, expected["path"], strict=True):
        assert list(step.terms) == r["current_terms"]
        assert step.aic == pytest.approx(r["current_aic"], rel=1e-12)
        assert step.aic_if_dropped == pytest.approx(list(r["aic_if_dropped"].values()), rel=1e-12)
        assert step.dropped == r.get("dropped")
    assert [term.name for term in result.selected] == expected["selected"]
    assert result.fit.coefficients == pytest.approx(list(expected["final_coef"].values()), rel=1e-7)
    assert result.fit.aic == pytest.approx(expected["final_aic"], rel=1e-12)


def test_selection_ends_empty_where_r_ends_empty():
    """A synthetic outcome without relation to anything: R's last model is ~ 1."""
    frame, expected = table("cohort_train"), R["more"]["null_outcome"]
    result = backward_aic(terms_of(frame, ["age", "sex", "LN"]), outcome(frame.time_null, frame.event_null))
    assert [step.aic for step in result.steps] == pytest.approx(expected["aic"], rel=1e-12)
    assert [f"- {step.dropped}" for step in result.steps[:-1]] == expected["dropped"]
    assert result.selected == ()


def test_a_level_without_deaths_goes_through_the_steps_as_in_r():
    """Its likelihood counts at the limit, and the kept factor is flagged."""
    expected = R["more"]["level_without_events"]
    data = expected["data"]
    result = backward_aic(terms_of(data, ["x", "u", "g"]), outcome(data["time"], data["event"]))
    assert [step.aic for step in result.steps] == pytest.approx(expected["aic"], rel=1e-11)
    assert [f"- {step.dropped}" for step in result.steps[:-1]] == expected["dropped"]
    assert [term.name for term in result.selected] == [expected["selected"]]
    assert result.fit.infinite.tolist() == [False, True]
    assert result.fit.coefficients == pytest.approx(expected["coef"], rel=1e-7)


def test_univariable_models_are_those_of_r():
    """Hazard ratios with intervals and Wald p per column, likelihood ratio p per term."""
    frame = table("cohort_train")
    for row in univariable(terms_of(frame, ALONE), outcome(frame.time, frame.event)):
        r = ALONE[row.term.name]
        low, high = row.fit.confidence_interval().T
        assert row.fit.hazard_ratios == pytest.approx(np.atleast_1d(r["hr"]), rel=1e-7)
        assert low == pytest.approx(np.atleast_1d(r["lo"]), rel=1e-7)
        assert high == pytest.approx(np.atleast_1d(r["hi"]), rel=1e-7)
        assert row.fit.p_values == pytest.approx(np.atleast_1d(r["wald_p"]), rel=1e-7)
        assert row.likelihood_ratio_test.p == pytest.approx(r["lr_p"], rel=1e-10)
        assert not row.fit.infinite.any()


@pytest.mark.reference
def test_figures_are_those_of_the_reference_file(reference_dir):
    """The numbers carried here are the ones that R wrote."""
    r = json.loads((reference_dir / "stats" / "ref" / "02_step_aic.json").read_text())
    assert R["reference"] == {name: r[name] for name in R["reference"]}
