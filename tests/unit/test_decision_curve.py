"""Net benefit against its plain count without censoring, and its rules at the edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from prognode.errors import NotEstimable
from prognode.statistics.decision_curve import (
    PERCENTS,
    decision_curve,
    net_benefit,
    net_benefit_of_all,
)
from prognode.statistics.kaplan_meier import kaplan_meier
from prognode.statistics.outcome import outcome

judged = st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.integers(0, 10)), min_size=1, max_size=20)


def split(rows):
    return np.array([row[2] for row in rows]) / 10, outcome(
        [row[0] for row in rows], [row[1] for row in rows]
    )


@settings(deadline=None)
@given(judged)
def test_without_censoring_net_benefit_is_a_count(rows):
    """Flagged deaths less the flagged survivors at the odds of the threshold, per patient."""
    risk, censored = split(rows)
    cohort = outcome(censored.time, np.ones(len(rows)))
    found = net_benefit(risk, cohort, 3)
    for threshold, benefit in zip(PERCENTS, found, strict=True):
        flagged, dead = risk >= threshold, cohort.time <= 3
        odds = threshold / (1 - threshold)
        count = (flagged & dead).mean() - (flagged & ~dead).mean() * odds
        assert benefit == pytest.approx(count, abs=1e-10)


@settings(deadline=None)
@given(judged, st.sampled_from([0.5, 3.0, 5.5]))
def test_each_threshold_is_a_kaplan_meier_estimate_of_its_own(rows, horizon):
    """Within the flagged; 0 for nobody, NaN where their follow-up ends too early with somebody alive."""
    risk, cohort = split(rows)
    for threshold, benefit in zip(PERCENTS, net_benefit(risk, cohort, horizon), strict=True):
        flagged = risk >= threshold
        if not flagged.any():
            assert benefit == 0
            continue
        curve = kaplan_meier(cohort.of(flagged))
        alive = float(curve.at(horizon))
        if curve.times[-1] < horizon and alive > 0:
            assert math.isnan(benefit)
        else:
            expected = flagged.mean() * (1 - alive - alive * threshold / (1 - threshold))
            assert benefit == pytest.approx(expected, abs=1e-10)


def test_a_risk_at_the_threshold_is_flagged():
    """The rule is "at least", so that a two-valued risk is flagged at its own value."""
    cohort = outcome([1, 9], [1, 0])
    assert net_benefit([0.3, 0.1], cohort, 5, [0.3]) == pytest.approx([0.5])
    assert net_benefit([0.3, 0.1], cohort, 5, [0.31]) == pytest.approx([0])


def test_follow_up_that_ends_early_is_unknown_unless_all_have_died():
    """The last flagged patient is lost before the horizon: NaN. Died before it: everybody flagged is dead."""
    risk = [0.9, 0.9, 0.1]
    assert math.isnan(net_benefit(risk, outcome([1, 2, 9], [1, 0, 0]), 5, [0.5])[0])
    assert net_benefit(risk, outcome([1, 2, 9], [1, 1, 0]), 5, [0.5]) == pytest.approx([2 / 3])
    assert net_benefit(risk, outcome([1, 5, 9], [1, 0, 0]), 5, [0.5]) == pytest.approx([0])


def test_treating_all_is_a_model_that_flags_all_and_treating_none_has_nothing():
    """The two curves that every model is held against."""
    cohort = outcome([1, 2, 3, 9, 9], [1, 0, 1, 0, 0])
    found = decision_curve({"sure": np.ones(5), "blind": np.zeros(5)}, cohort, 4)
    assert_allclose(found.models["sure"], found.treat_all)
    assert_allclose(found.models["blind"], found.treat_none)
    assert found.thresholds.tolist() == list(PERCENTS)
    assert found.horizon == 4


def test_treating_all_breaks_even_at_the_probability_of_death():
    """At the cohort's own risk a treated death weighs as much as the needless treatments."""
    cohort = outcome([1, 2, 3, 4, 9], [1, 1, 0, 1, 0])
    dead = 1 - float(kaplan_meier(cohort).at(5))
    assert net_benefit_of_all(cohort, 5, [dead]) == pytest.approx([0], abs=1e-15)


def test_a_horizon_beyond_all_follow_up_is_refused():
    """With somebody alive the whole cohort's risk is unknown, and with it every curve's scale."""
    with pytest.raises(NotEstimable, match="horizon"):
        decision_curve({}, outcome([1, 2], [1, 0]), 3)
    assert net_benefit_of_all(outcome([1, 2], [1, 1]), 3, [0.5]) == pytest.approx([1])


def test_nobody_has_no_net_benefit():
    """An empty cohort is refused by the model's curve as by treat-all."""
    for ask in (lambda: net_benefit([], outcome([], []), 1), lambda: net_benefit_of_all(outcome([], []), 1)):
        with pytest.raises(NotEstimable, match="at least one patient"):
            ask()


@pytest.mark.parametrize("risk", [[0.1], [0.1, 1.1], [-0.1, 0.5], [0.1, math.nan]])
def test_risks_must_be_probabilities_of_each_patient(risk):
    """A wrong call is no statistical outcome."""
    with pytest.raises(ValueError, match="risks"):
        net_benefit(risk, outcome([1, 2], [1, 0]), 1)


@pytest.mark.parametrize("thresholds", [[0.0], [1.0], [math.nan], 0.5])
def test_thresholds_must_lie_inside_0_and_1(thresholds):
    """At 1 the odds are infinite."""
    for ask in (lambda: net_benefit([0.1, 0.2], outcome([1, 2], [1, 0]), 1, thresholds),):
        with pytest.raises(ValueError, match="threshold"):
            ask()
