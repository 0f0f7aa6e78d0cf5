"""Cutoffs against the criteria computed one cutoff after the other, and what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from prognode.errors import NotEstimable
from prognode.statistics import kaplan_meier as curves
from prognode.statistics.cutoff import lausen_schumacher_p, max_log_rank, median, youden
from prognode.statistics.kaplan_meier import kaplan_meier, log_rank
from prognode.statistics.outcome import outcome

scored = st.lists(
    st.tuples(st.integers(0, 6), st.booleans(), st.integers(-3, 3)), min_size=2, max_size=20
).map(
    lambda rows: (
        np.array([row[2] for row in rows], float),
        outcome([row[0] for row in rows], [row[1] for row in rows]),
    )
)


def chi_square(score, cohort, cutoff) -> float:
    """The log-rank chi-square of the two groups, NaN where it is refused."""
    try:
        return log_rank(cohort, score > cutoff).chi_square
    except NotEstimable:
        return math.nan


@settings(deadline=None)
@given(scored)
def test_the_chosen_cutoff_is_the_best_of_all_log_rank_tests(case):
    """Each observed score is tried by a test of its own; the lowest of the best is taken."""
    score, cohort = case
    cutoffs = np.unique(score)[:-1]
    expected = np.array([chi_square(score, cohort, cutoff) for cutoff in cutoffs])
    if np.isnan(expected).all():
        with pytest.raises(NotEstimable):
            max_log_rank(score, cohort, 0)
        return
    found = max_log_rank(score, cohort, 0)
    assert found.candidates.tolist() == cutoffs.tolist()
    assert_allclose(found.chi_squares, expected, rtol=1e-9, atol=1e-12)
    assert found.chi_square == pytest.approx(np.nanmax(expected), rel=1e-9, abs=1e-12)
    assert chi_square(score, cohort, found.cutoff) == pytest.approx(found.chi_square, rel=1e-9, abs=1e-12)


@settings(deadline=None)
@given(scored)
def test_chi_squares_do_not_depend_on_how_many_times_are_taken_at_once(case):
    """Memory is bounded without changing a number."""
    score, cohort = case
    try:
        whole = max_log_rank(score, cohort)
    except NotEstimable:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(curves, "CELLS_AT_ONCE", 1)
        assert_allclose(max_log_rank(score, cohort).chi_squares, whole.chi_squares, rtol=1e-12)


def test_of_equal_cutoffs_the_lowest_is_taken():
    """A patient lost before the first death changes no test, so the cutoffs on either side of them are equal."""
    cohort = outcome([9, 8, 0, 1, 2], [0, 1, 0, 1, 1])
    found = max_log_rank([1, 2, 3, 4, 5], cohort, 0)
    assert found.chi_squares[1] == pytest.approx(found.chi_squares[2], rel=1e-12)
    assert found.cutoff == 2


@pytest.mark.parametrize(
    ("n", "fraction", "least"), [(30, 0.1, 3), (76, 0.1, 8), (10, 0.3, 3), (70, 0.1, 7), (12, 0, 1)]
)
def test_either_group_holds_the_fraction_asked_for(n, fraction, least):
    """At least that many on either side, and a cutoff with exactly so many is tried."""
    random = np.random.default_rng(3)
    cohort = outcome(random.exponential(1, n), np.ones(n))
    found = max_log_rank(np.arange(n), cohort, fraction)
    assert found.candidates[0] + 1 == least
    assert n - 1 - found.candidates[-1] == least


def test_a_rising_transform_moves_the_cutoff_with_the_scores():
    """The cutoff is an observed score, with the high group strictly above it."""
    random = np.random.default_rng(5)
    score, cohort = random.normal(size=40), outcome(random.exponential(1, 40), random.random(40) < 0.7)
    plain, moved = max_log_rank(score, cohort), max_log_rank(np.exp(score), cohort)
    assert plain.cutoff in score
    assert moved.cutoff == np.exp(plain.cutoff)
    assert moved.chi_square == plain.chi_square
    assert (
        log_rank(cohort, score > plain.cutoff).chi_square
        == pytest.approx(plain.chi_square)
        == max(plain.chi_squares)
    )


@settings(deadline=None)
@given(st.floats(1, 8), st.floats(0.01, 0.45))
def test_the_adjusted_p_is_never_below_the_naive_one(statistic, fraction):
    """A maximum over many tests is less surprising than one test; and no p exceeds 1."""
    naive = math.erfc(statistic / math.sqrt(2))
    assert naive <= lausen_schumacher_p(statistic, fraction) <= 1


def test_the_adjusted_p_tells_a_real_difference_from_a_chosen_one():
    """Over cohorts with no difference the naive p is under 0.05 far too often, the adjusted one is not."""
    random = np.random.default_rng(11)
    found = [
        max_log_rank(random.normal(size=60), outcome(random.exponential(1, 60), random.random(60) < 0.7))
        for _ in range(300)
    ]
    assert np.mean([one.naive_p < 0.05 for one in found]) > 0.2
    assert np.mean([one.adjusted_p < 0.05 for one in found]) < 0.08


def test_without_a_least_group_the_adjusted_p_is_not_defined():
    """The approximation needs a share of patients on either side."""
    assert math.isnan(lausen_schumacher_p(3, 0))


@pytest.mark.parametrize(
    ("score", "time", "event", "fraction", "why"),
    [
        ([1, 1, 1], [1, 2, 3], [1, 1, 1], 0.1, "no cutoff"),
        ([1, 2, 2, 2, 2], [1, 2, 3, 4, 5], [1, 1, 1, 1, 1], 0.3, "no cutoff"),
        ([1, 2, 3], [1, 2, 3], [0, 0, 0], 0.1, "a death"),
        ([1, 2, 3], [2, 2, 2], [1, 1, 1], 0.1, "one time"),
        ([], [], [], 0.1, "no cutoff"),
        ([1], [1], [1], 0.1, "no cutoff"),
    ],
)
def test_a_cutoff_that_the_data_do_not_determine_is_refused(score, time, event, fraction, why):
    """One score, groups too small, no death, all deaths at once, nobody."""
    with pytest.raises(NotEstimable, match=why):
        max_log_rank(score, outcome(time, event), fraction)


@pytest.mark.parametrize("score", [[1, 2], [1, 2, math.nan], [1, 2, math.inf]])
def test_scores_must_be_one_finite_number_per_patient(score):
    """A wrong call is no statistical outcome."""
    cohort = outcome([1, 2, 3], [1, 1, 0])
    with pytest.raises(ValueError, match="finite"):
        max_log_rank(score, cohort)
    with pytest.raises(ValueError, match="finite"):
        youden(score, cohort, 2)


@pytest.mark.parametrize("fraction", [-0.1, 0.5, math.nan])
def test_the_fraction_must_leave_two_groups(fraction):
    """Half of the patients or more cannot be asked for on either side."""
    with pytest.raises(ValueError, match=r"under 0\.5"):
        max_log_rank([1, 2], outcome([1, 2], [1, 1]), fraction)


@settings(deadline=None)
@given(scored, st.sampled_from([1.0, 2.5, 4.0]))
def test_youden_is_the_best_of_heagertys_estimates(case, time):
    """Each cutoff by a Kaplan-Meier estimate of its own; the lowest of the best is taken."""
    score, cohort = case
    alive, cutoffs = float(kaplan_meier(cohort).at(time)), np.unique(score)[:-1]
    if not 0 < alive < 1 or time > cohort.time.max() or not len(cutoffs):
        with pytest.raises(NotEstimable):
            youden(score, cohort, time)
        return
    share = np.array([(score > cutoff).mean() for cutoff in cutoffs])
    above = np.array([kaplan_meier(cohort.of(score > cutoff)).at(time) for cutoff in cutoffs])
    sensitivity, false_positive = (1 - above) * share / (1 - alive), above * share / alive
    found = youden(score, cohort, time)
    assert_allclose(found.indices, sensitivity - false_positive, atol=1e-12)
    best = list(cutoffs).index(found.cutoff)
    assert found.index == pytest.approx(max(sensitivity - false_positive), abs=1e-12)
    assert (found.indices[:best] < found.index - 1e-12).all()
    assert found.sensitivity == pytest.approx(sensitivity[best], abs=1e-12)
    assert found.specificity == pytest.approx(1 - false_positive[best], abs=1e-12)


def test_with_full_follow_up_sensitivity_and_specificity_are_shares():
    """Three died by 3, two of them above the best cutoff; nobody of the others is."""
    found = youden([1, 5, 6, 2, 3], outcome([1, 2, 3, 4, 5], [1, 1, 1, 1, 1]), 3)
    assert found.cutoff == 3
    assert found.sensitivity == pytest.approx(2 / 3)
    assert found.specificity == pytest.approx(1)


@pytest.mark.parametrize(
    ("time", "why"), [(0.5, "deaths before"), (4, "survivors after"), (9, "survivors after")]
)
def test_youden_needs_deaths_before_and_survivors_after_its_time(time, why):
    """Before the first death and after the last one there is nothing to tell apart."""
    with pytest.raises(NotEstimable, match=why):
        youden([1, 2, 3, 4], outcome([1, 2, 3, 4], [1, 1, 1, 1]), time)


def test_youden_is_refused_after_the_end_of_follow_up():
    """Kaplan-Meier goes flat there, which is no estimate."""
    with pytest.raises(NotEstimable, match="follow-up"):
        youden([1, 2, 3, 4], outcome([1, 2, 3, 4], [1, 1, 1, 0]), 5)


def test_the_median_halves_and_is_refused_where_it_makes_no_group():
    """Even numbers have it between two scores; with half of the cohort at the top nobody is above it."""
    assert median([3, 1, 2]) == 2
    assert median([4, 1, 3, 2]) == 2.5
    for nothing in ([], [1], [1, 2, 2], [5, 5]):
        with pytest.raises(NotEstimable):
            median(nothing)
    with pytest.raises(ValueError, match="NaN"):
        median([1, math.nan])
