"""The probability of being still followed, and the weights made of it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from prognode.statistics.censoring import censoring_curve, death_weights
from prognode.statistics.kaplan_meier import kaplan_meier
from prognode.statistics.outcome import outcome

TIED = outcome([1, 2, 2, 2, 3, 3, 4, 5, 5, 6], [1, 1, 0, 0, 0, 1, 1, 0, 1, 0])


def test_curve_is_that_of_r_prodlim_where_deaths_and_censorings_are_tied():
    """prodlim(Hist(time, event) ~ 1, reverse = TRUE)$surv of these ten patients."""
    np.testing.assert_allclose(censoring_curve(TIED).survival, [1, 0.75, 0.6, 0.6, 0.3, 0], rtol=1e-12)


def test_death_weights_are_those_of_r_prodlim():
    """One over predictSurvIndividual(fit, lag = 1), for deaths alone, and for those asked for alone."""
    lagged = np.array([1, 1, 1, 1, 0.75, 0.75, 0.6, 0.6, 0.6, 0.3])
    np.testing.assert_allclose(
        death_weights(TIED, TIED.event), np.where(TIED.event, 1 / lagged, 0), rtol=1e-12
    )
    early = TIED.time <= 3
    np.testing.assert_allclose(
        death_weights(TIED, early), np.where(TIED.event & early, 1 / lagged, 0), rtol=1e-12
    )


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=30))
def test_death_and_censoring_share_out_survival(patients):
    """S(t) G(t) is the share of patients followed beyond t, ties or not: nothing is counted twice."""
    cohort = outcome([time for time, _ in patients], [event for _, event in patients])
    times = np.unique(cohort.time)
    product = kaplan_meier(cohort).at(times) * censoring_curve(cohort).at(times)
    beyond = (cohort.time[:, None] > times).mean(0)
    np.testing.assert_allclose(product, beyond, rtol=1e-10, atol=1e-12)


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=30))
def test_no_death_has_an_endless_weight(patients):
    """Whoever was seen to die was seen with a probability above 0."""
    cohort = outcome([time for time, _ in patients], [event for _, event in patients])
    weights = death_weights(cohort, cohort.event)
    assert (weights[cohort.event] >= 1).all()
    assert (weights[~cohort.event] == 0).all()
