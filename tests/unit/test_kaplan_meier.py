"""Kaplan-Meier, the nested curves and the log-rank test against their definitions, and at the edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from prognode.errors import NotEstimable
from prognode.statistics import kaplan_meier as module
from prognode.statistics.kaplan_meier import (
    Quantile,
    expected_deaths,
    kaplan_meier,
    log_rank,
    median_follow_up,
    nested_survival,
)
from prognode.statistics.outcome import Outcome, outcome

patients = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=25).map(
    lambda rows: outcome(*zip(*rows, strict=True))
)
grouped = st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.booleans()), min_size=2, max_size=25).map(
    lambda rows: (outcome([row[0] for row in rows], [row[1] for row in rows]), [row[2] for row in rows])
)
NOBODY = outcome([], [])


def by_definition(cohort: Outcome, time: float) -> float:
    """The product over the times of death, one after the other."""
    survival = 1.0
    for death in sorted(
        {t for t, event in zip(cohort.time, cohort.event, strict=True) if event and t <= time}
    ):
        at_risk = sum(cohort.time >= death)
        survival *= 1 - sum((cohort.time == death) & cohort.event) / at_risk
    return survival


@settings(deadline=None)
@given(patients)
def test_survival_is_the_product_over_the_deaths(cohort):
    """At every whole and half time, the step function is the product-limit definition; from the left, the one before."""
    grid = np.arange(-0.5, 8, 0.5)
    curve = kaplan_meier(cohort)
    assert_allclose(curve.at(grid), [by_definition(cohort, time) for time in grid], atol=1e-14)
    assert_allclose(curve.before(grid), [by_definition(cohort, time - 0.01) for time in grid], atol=1e-14)
    assert_array_equal(curve.at_risk_at(grid), [(cohort.time >= time).sum() for time in grid])


@settings(deadline=None)
@given(patients)
def test_everybody_leaves_once(cohort):
    """Deaths and censorings sum to the cohort, and at each time those at risk are all who have not left."""
    curve = kaplan_meier(cohort)
    left = np.concatenate(([0], (curve.events + curve.censored).cumsum()))
    assert left[-1] == len(cohort)
    assert_array_equal(curve.at_risk, len(cohort) - left[:-1])
    assert curve.events.sum() == cohort.events
    assert (np.diff(curve.times) > 0).all()


@settings(deadline=None)
@given(patients, st.randoms())
def test_the_order_of_patients_and_their_copies_do_not_matter(cohort, random):
    """Shuffled, or each taken twice: the same survival."""
    order = list(range(len(cohort))) * 2
    random.shuffle(order)
    assert_allclose(
        kaplan_meier(cohort.of(np.array(order))).survival, kaplan_meier(cohort).survival, atol=1e-14
    )


@settings(deadline=None)
@given(patients, st.sampled_from(["log", "log-log", "plain"]))
def test_limits_enclose_survival_or_are_nan(cohort, scale):
    """Limits lie in 0..1 around S; they are missing exactly where the scale has none."""
    curve = kaplan_meier(cohort)
    lower, upper = curve.limits(scale)
    missing = (curve.survival == 0) | ((scale == "log-log") & (curve.survival == 1))
    assert_array_equal(np.isnan(lower), missing)
    assert_array_equal(np.isnan(upper), missing)
    inside = ~missing
    assert (lower[inside] >= 0).all()
    assert (lower[inside] <= curve.survival[inside] + 1e-14).all()
    assert (curve.survival[inside] - 1e-14 <= upper[inside]).all()
    assert (upper[inside] <= 1).all()


def test_greenwood_error_is_the_binomial_one_without_censoring():
    """With full follow-up S is a proportion, and its error that of a proportion."""
    curve = kaplan_meier(outcome([1, 2, 3, 4, 5], [1, 1, 1, 1, 1]))
    share = curve.survival[:-1]
    assert_allclose(curve.standard_error[:-1], np.sqrt(share * (1 - share) / 5))
    assert np.isnan(curve.standard_error[-1])
    assert curve.log_error[-1] == np.inf
    assert curve.standard_error_at(0.5) == 0
    assert curve.log_error_at(0.5) == 0


def test_one_time_gives_one_number():
    """A scalar goes in and a scalar comes out."""
    curve = kaplan_meier(outcome([1, 2], [1, 0]))
    assert float(curve.at(1)) == 0.5
    assert float(curve.before(1)) == 1
    assert int(curve.at_risk_at(2)) == 1


@pytest.mark.parametrize(
    ("time", "event", "median"),
    [
        ([1, 2, 3], [1, 1, 1], 2),
        ([1, 2, 3, 4], [1, 1, 1, 1], 2.5),
        ([1, 2, 3, 4], [1, 1, 0, 1], 3),
        ([1, 2, 3, 4], [1, 1, 0, 0], 2),
        ([1, 2, 3, 4], [1, 0, 0, 0], None),
        ([4, 5], [0, 0], None),
        ([3], [1], 3),
    ],
)
def test_median_is_the_first_half_or_the_middle_of_a_flat_half(time, event, median):
    """Also where the flat step goes on to the end, or the curve never gets there."""
    assert kaplan_meier(outcome(time, event)).median().value == median


def test_a_median_follow_up_takes_death_for_censoring():
    """Who died was followed up at least so long."""
    assert median_follow_up(outcome([1, 2, 3, 4], [1, 0, 1, 0])).value == 4
    assert median_follow_up(outcome([1, 2], [1, 1])) == Quantile(None, None, None)


def test_wider_limits_at_a_higher_level():
    """The level is used."""
    curve = kaplan_meier(outcome([1, 2, 3, 4], [1, 0, 1, 0]))
    assert curve.limits(level=0.99)[0][0] < curve.limits(level=0.9)[0][0]


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), min_size=2, max_size=20), st.integers(1, 12))
def test_restricted_mean_without_censoring_is_a_mean(times, tau):
    """The mean of the times cut at tau, its error that of a mean (dividing by n)."""
    cut = np.minimum(times, tau)
    mean = kaplan_meier(outcome(times, np.ones(len(times)))).restricted_mean(tau)
    assert mean.value == pytest.approx(cut.mean(), abs=1e-12)
    assert mean.standard_error == pytest.approx(cut.std() / len(times) ** 0.5, abs=1e-12)
    assert mean.tau == tau


def test_restricted_mean_needs_an_end():
    """An area up to 0 is none."""
    with pytest.raises(ValueError, match="above 0"):
        kaplan_meier(outcome([1], [1])).restricted_mean(0)


def test_nobody_has_no_survival():
    """An empty group is refused, whatever is asked of it."""
    for ask in (kaplan_meier, median_follow_up, lambda empty: nested_survival(empty, np.array([0]), 1.0)):
        with pytest.raises(NotEstimable, match="at least one patient"):
            ask(NOBODY)


@settings(deadline=None)
@given(patients, st.floats(0, 7))
def test_nested_curves_are_those_of_the_groups_alone(cohort, time):
    """From each place on, also from behind the last patient; the same where the times are taken one by one."""
    starts = np.arange(len(cohort) + 1)
    expected = [by_definition(cohort.of(starts[start:-1]), time) for start in starts]
    assert_allclose(nested_survival(cohort, starts, time), expected, atol=1e-14)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CELLS_AT_ONCE", 1)
        assert_allclose(nested_survival(cohort, starts, time), expected, atol=1e-14)


def tables(cohort: Outcome, high: np.ndarray) -> tuple[float, float]:
    """Observed minus expected deaths of a group and the variance, one 2 x 2 table per time of death."""
    difference = variance = 0.0
    for time in np.unique(cohort.time[cohort.event]):
        n, own = (cohort.time >= time).sum(), ((cohort.time >= time) & high).sum()
        deaths = (cohort.time == time) & cohort.event
        d = deaths.sum()
        difference += (deaths & high).sum() - d * own / n
        variance += d * own / n * (1 - own / n) * (n - d) / max(n - 1, 1)
    return difference, variance


@settings(deadline=None)
@given(grouped)
def test_log_rank_of_two_groups_is_the_sum_of_tables(case):
    """The chi-square is that of the 2 x 2 tables, or is refused where these have no variance."""
    cohort, labels = case
    difference, variance = tables(cohort, np.array(labels))
    if variance < 1e-12:
        with pytest.raises(NotEstimable):
            log_rank(cohort, labels)
        return
    found = log_rank(cohort, labels)
    assert found.chi_square == pytest.approx(difference**2 / variance, rel=1e-9, abs=1e-12)
    assert found.degrees_of_freedom == 1
    assert found.observed.sum() == cohort.events
    assert found.expected.sum() == pytest.approx(cohort.events)
    assert found.observed[1] - found.expected[1] == pytest.approx(difference, abs=1e-12)


def test_a_group_gone_before_the_first_death_costs_no_degree_of_freedom():
    """It stands in the table with nobody expected; the test is that of the others."""
    times, events = [1, 1, 3, 4, 5, 6], [0, 0, 1, 1, 1, 0]
    found = log_rank(outcome(times, events), ["a", "a", "b", "c", "b", "c"])
    alone = log_rank(outcome(times[2:], events[2:]), ["b", "c", "b", "c"])
    assert found.labels == ("a", "b", "c")
    assert found.expected[0] == 0
    assert found.degrees_of_freedom == 1
    assert found.chi_square == pytest.approx(alone.chi_square)


@pytest.mark.parametrize(
    ("time", "event", "labels", "why"),
    [
        ([1, 2, 3], [1, 1, 0], ["a", "a", "a"], "two groups"),
        ([1, 2, 3], [0, 0, 0], ["a", "b", "a"], "a death"),
        ([1, 2, 2], [0, 1, 1], ["a", "b", "a"], "different times"),
        ([1, 2, 3], [0, 1, 1], ["a", "b", "b"], "two groups"),
        ([], [], [], "a death"),
    ],
)
def test_a_log_rank_test_that_the_data_do_not_determine_is_refused(time, event, labels, why):
    """One group, no death, one time of death for all at risk, nobody of the other group at risk."""
    with pytest.raises(NotEstimable, match=why):
        log_rank(outcome(time, event), labels)


def test_a_death_of_all_at_one_time_is_told_from_a_death_among_others():
    """One time of death is enough where somebody outlives it."""
    assert log_rank(outcome([2, 2, 3], [1, 1, 0]), ["a", "a", "b"]).chi_square > 0


def test_labels_must_be_one_per_patient():
    """A wrong call is no statistical outcome."""
    with pytest.raises(ValueError, match="3 group labels for 2"):
        log_rank(outcome([1, 2], [1, 1]), ["a", "b", "a"])


@settings(deadline=None)
@given(patients)
def test_expected_deaths_of_singles_are_their_cumulative_hazards(cohort):
    """Each patient a group: what the whole cohort's rate gave them up to their time; all together, the deaths."""
    own = expected_deaths(cohort, np.arange(len(cohort)), len(cohort))
    assert own.sum() == pytest.approx(cohort.events)
    assert_array_equal(own == 0, [not (cohort.time[cohort.event] <= time).any() for time in cohort.time])
