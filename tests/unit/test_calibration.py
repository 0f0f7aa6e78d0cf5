"""Calibration: who is put in which group, counts without censoring, and what is refused."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from prognode.errors import NotEstimable
from prognode.statistics.calibration import (
    calibration_in_the_large,
    calibration_slope,
    grouped_calibration,
    quantile_groups,
    sized_groups,
)
from prognode.statistics.kaplan_meier import kaplan_meier
from prognode.statistics.outcome import outcome

whole = st.lists(st.integers(0, 30), min_size=1, max_size=40)


def exact_breaks(values: list[int], groups: int) -> list[Fraction]:
    """Quantiles of type 7 without rounding."""
    ordered, found = sorted(values), []
    for k in range(groups + 1):
        position = Fraction(k * (len(values) - 1), groups)
        low = int(position)
        high = min(low + 1, len(values) - 1)
        found.append(ordered[low] + (position - low) * (ordered[high] - ordered[low]))
    return sorted(set(found))


@settings(deadline=None)
@given(whole, st.integers(1, 8))
def test_quantile_groups_are_closed_on_the_right(values, groups):
    """Against exact fractions: each value lies above its group's lower break and not above the upper one."""
    breaks = exact_breaks(values, groups)
    expected = [sum(value > inner for inner in breaks[1:-1]) for value in values]
    found = quantile_groups(np.array(values, float), groups)
    assert found.tolist() == [sorted(set(expected)).index(place) for place in expected]


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 8))
def test_groups_of_distinct_predictions_are_of_one_size(n, groups):
    """Sizes differ by one at most, whichever way the groups are made."""
    values = np.random.default_rng(n).permutation(n) / n
    for member, count in (
        (quantile_groups(values, groups), min(groups, n)),
        (sized_groups(values, groups), max(n // groups, 1)),
    ):
        sizes = np.bincount(member)
        assert len(sizes) == count
        assert sizes.max() - sizes.min() <= 1


@settings(deadline=None)
@given(whole, st.integers(1, 12))
def test_equal_predictions_stay_together_and_higher_ones_never_come_lower(values, number):
    """The groups are a division of the scale, numbered from the lowest without a gap."""
    scale = np.array(values, float)
    for member in (quantile_groups(scale, number), sized_groups(scale, number)):
        assert sorted(set(member.tolist())) == list(range(member.max() + 1))
        order = np.lexsort((member, scale))
        assert (np.diff(member[order]) >= 0).all()
        assert len({(value, group) for value, group in zip(values, member, strict=True)}) == len(set(values))


def test_one_prediction_for_all_makes_one_group():
    """Ties can leave fewer groups than were asked for, down to one."""
    assert quantile_groups([0.4] * 6, 3).tolist() == [0] * 6
    assert sized_groups([0.4] * 6, 2).tolist() == [0] * 6
    assert quantile_groups([0.2, 0.2, 0.2, 0.2, 0.9], 4).max() == 0
    assert quantile_groups([0.2, 0.2, 0.2, 0.5, 0.9], 4).tolist() == [0, 0, 0, 0, 1]


def test_a_quantile_that_is_a_prediction_keeps_it_in_the_lower_group():
    """76 patients in thirds: 26, 25 and 25, as R divides them; rounding must not move the patient at the break."""
    assert np.bincount(quantile_groups(np.random.default_rng(0).random(76), 3)).tolist() == [26, 25, 25]
    for n, groups in ((50, 7), (99, 49), (66, 13), (31, 6)):
        sizes = np.bincount(quantile_groups(np.arange(n) / 7, groups))
        assert sizes.tolist() == [(n - 1) // groups + 1] + [(n - 1) // groups] * (groups - 1)


def test_nobody_has_no_group_and_no_calibration():
    """An empty cohort divides into nothing, and every look at it is refused."""
    nobody = outcome([], [])
    assert quantile_groups([], 3).tolist() == sized_groups([], 3).tolist() == []
    with pytest.raises(NotEstimable, match="at least one patient"):
        grouped_calibration([], nobody, 1, quantile_groups([], 3))
    with pytest.raises(NotEstimable, match="at least one patient"):
        calibration_in_the_large([], nobody, 1)


@pytest.mark.parametrize("divide", [quantile_groups, sized_groups])
def test_a_division_into_less_than_one_is_refused(divide):
    """A wrong call is no statistical outcome."""
    with pytest.raises(ValueError, match="at least one"):
        divide([0.1, 0.2], 0)


def test_without_censoring_observed_is_the_share_alive():
    """Two groups of three, counted by hand."""
    cohort = outcome([1, 2, 8, 3, 9, 9], [1, 1, 1, 1, 1, 1])
    predicted = [0.1, 0.2, 0.3, 0.7, 0.8, 0.9]
    found = grouped_calibration(predicted, cohort, 5, quantile_groups(predicted, 2))
    assert found.patients.tolist() == [3, 3]
    assert found.events.tolist() == [3, 3]
    assert_allclose(found.predicted, [0.2, 0.8])
    assert_allclose(found.observed, [1 / 3, 2 / 3])
    assert_allclose(found.standard_error, [math.sqrt(2 / 27)] * 2)
    assert_allclose(found.log_error, found.standard_error / found.observed)
    assert found.followed.all()


def test_a_group_whose_follow_up_ends_early_says_so():
    """Its last value is carried and marked; a group that died out needs no follow-up, and has no limits."""
    cohort, member = outcome([1, 2, 1, 2, 9, 9], [1, 0, 1, 1, 1, 0]), np.array([0, 0, 1, 1, 2, 2])
    found = grouped_calibration([0.1, 0.1, 0.2, 0.2, 0.3, 0.3], cohort, 5, member)
    assert found.observed.tolist() == [0.5, 0, 1]
    assert found.followed.tolist() == [False, True, True]
    assert np.isnan([found.standard_error[1], found.lower[1], found.upper[1]]).all()
    assert found.log_error[1] == np.inf
    assert (found.lower[2], found.upper[2]) == (1, 1)


def test_one_group_is_the_cohort():
    """The grouped figures of everybody are the cohort's curve, and agree with the ratio in the large."""
    cohort = outcome([1, 2, 3, 4, 9], [1, 0, 1, 0, 0])
    predicted = [0.5, 0.6, 0.7, 0.8, 0.9]
    found = grouped_calibration(predicted, cohort, 5, quantile_groups(predicted, 1))
    large = calibration_in_the_large(predicted, cohort, 5)
    assert found.observed[0] == float(kaplan_meier(cohort).at(5)) == pytest.approx(1 - large.observed)
    assert large.expected == pytest.approx(1 - found.predicted[0])
    assert large.ratio == pytest.approx((1 - found.observed[0]) / (1 - found.predicted[0]))
    assert large.lower == pytest.approx((1 - found.upper[0]) / large.expected)
    assert large.upper == pytest.approx((1 - found.lower[0]) / large.expected)
    assert large.lower < large.ratio < large.upper


def test_in_the_large_limits_are_missing_where_nobody_lives():
    """A cohort that died out has a ratio without limits."""
    found = calibration_in_the_large([0.2, 0.3], outcome([1, 2], [1, 1]), 5)
    assert found.ratio == pytest.approx(1 / 0.75)
    assert math.isnan(found.lower)
    assert math.isnan(found.upper)


def test_in_the_large_is_refused_where_the_data_do_not_tell():
    """Follow-up too short with somebody alive; a prediction that expects no death."""
    with pytest.raises(NotEstimable, match="follow-up"):
        calibration_in_the_large([0.2, 0.3], outcome([1, 2], [1, 0]), 5)
    with pytest.raises(NotEstimable, match="no death"):
        calibration_in_the_large([1, 1], outcome([1, 2], [1, 0]), 2)


@pytest.mark.parametrize("predicted", [[0.1], [0.1, 1.1], [-0.1, 0.5], [0.1, math.nan]])
def test_predictions_must_be_probabilities_of_each_patient(predicted):
    """A wrong call is no statistical outcome."""
    cohort = outcome([1, 2], [1, 0])
    with pytest.raises(ValueError, match="predictions"):
        calibration_in_the_large(predicted, cohort, 1)
    with pytest.raises(ValueError, match="predictions"):
        grouped_calibration(predicted, cohort, 1, np.zeros(2, np.intp))


def cohort_of(slope: float, n: int = 400):
    """Exponential survival whose log hazard rises with a predictor at the slope."""
    random = np.random.default_rng(4)
    predictor = random.normal(size=n)
    return predictor, outcome(random.exponential(np.exp(-slope * predictor)), random.random(n) < 0.8)


def test_a_right_predictor_has_a_slope_of_one():
    """A predictor twice too strong has half the slope, half the error, and is told from 1."""
    predictor, cohort = cohort_of(1.0)
    right, strong = calibration_slope(predictor, cohort), calibration_slope(2 * predictor + 5, cohort)
    assert right.limits()[0] < 1 < right.limits()[1]
    assert right.p_value > 0.05
    assert strong.value == pytest.approx(right.value / 2, rel=1e-8)
    assert strong.standard_error == pytest.approx(right.standard_error / 2, rel=1e-8)
    assert strong.p_value < 1e-6
    assert strong.limits()[1] < 1


def test_a_slope_that_the_data_do_not_determine_is_refused():
    """No death, or one predictor for all."""
    predictor, cohort = cohort_of(1.0, 30)
    with pytest.raises(NotEstimable):
        calibration_slope(predictor, outcome(cohort.time, np.zeros(30)))
    with pytest.raises(NotEstimable):
        calibration_slope(np.ones(30), cohort)
    with pytest.raises(ValueError, match="for 30 patients"):
        calibration_slope(predictor[1:], cohort)
