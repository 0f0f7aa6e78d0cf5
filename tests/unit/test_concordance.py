"""Harrell's C against all pairs taken one by one, its influences as derivatives, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from prognode.errors import NotEstimable
from prognode.statistics import concordance as module
from prognode.statistics.concordance import PairCounts, c_index, compare_concordance, concordance
from prognode.statistics.outcome import Outcome, outcome

scored = st.lists(
    st.tuples(st.integers(0, 5), st.booleans(), st.integers(-3, 3), st.integers(-3, 3)),
    min_size=2,
    max_size=20,
).map(
    lambda rows: (
        outcome([row[0] for row in rows], [row[1] for row in rows]),
        np.array([row[2] for row in rows], float),
        np.array([row[3] for row in rows], float),
    )
)


def pairs(cohort: Outcome, score: np.ndarray, weights: np.ndarray) -> list[float]:
    """Concordant, discordant, tied score, tied time, tied both: pair by pair, each with the product of its weights."""
    found = [0.0] * 5
    for i in range(len(cohort)):
        for j in range(len(cohort)):
            if not cohort.event[i]:
                continue
            later = cohort.time[j] > cohort.time[i] or (
                cohort.time[j] == cohort.time[i] and not cohort.event[j]
            )
            at_once = cohort.time[j] == cohort.time[i] and cohort.event[j] and i < j
            if later:
                place = 2 if score[i] == score[j] else int(score[i] < score[j])
            elif at_once:
                place = 4 if score[i] == score[j] else 3
            else:
                continue
            found[place] += weights[i] * weights[j]
    return found


def weighted_c(cohort: Outcome, score: np.ndarray, weights: np.ndarray) -> float:
    concordant, discordant, tied, *_ = pairs(cohort, score, weights)
    return (concordant + tied / 2) / (concordant + discordant + tied)


def comparable(cohort: Outcome) -> bool:
    return sum(pairs(cohort, np.zeros(len(cohort)), np.ones(len(cohort)))[:3]) > 0


@settings(deadline=None)
@given(scored)
def test_counts_and_c_are_those_of_all_pairs(case):
    """Every pair is judged once; without a comparable pair there is no C."""
    cohort, score, _ = case
    expected = pairs(cohort, score, np.ones(len(cohort)))
    if not comparable(cohort):
        for ask in (concordance, c_index):
            with pytest.raises(NotEstimable, match="comparable"):
                ask(score, cohort)
        return
    found = concordance(score, cohort)
    assert found.counts == PairCounts(*(int(count) for count in expected))
    assert found.value == pytest.approx(weighted_c(cohort, score, np.ones(len(cohort))), rel=1e-14)
    assert c_index(score, cohort) == found.value


@settings(deadline=None)
@given(scored)
def test_an_influence_is_the_derivative_by_a_patients_weight(case):
    """Measured by moving each weight a little; together the influences are nothing."""
    cohort, score, _ = case
    assume(comparable(cohort))
    found, step = concordance(score, cohort), 1e-5 * np.eye(len(cohort))
    moved = [(weighted_c(cohort, score, 1 + up) - weighted_c(cohort, score, 1 - up)) / 2e-5 for up in step]
    assert_allclose(found.influence, moved, atol=1e-8)
    assert found.influence.sum() == pytest.approx(0, abs=1e-12)
    assert found.standard_error == pytest.approx(math.sqrt((found.influence**2).sum()))


@settings(deadline=None)
@given(scored)
def test_c_depends_on_the_order_of_scores_alone(case):
    """A rising transform changes nothing; turning the score turns C round 0.5."""
    cohort, score, _ = case
    assume(comparable(cohort))
    found = concordance(score, cohort)
    assert c_index(np.exp(score) * 7, cohort) == found.value
    turned = concordance(-score, cohort)
    assert turned.value == pytest.approx(1 - found.value, abs=1e-14)
    assert turned.standard_error == pytest.approx(found.standard_error, abs=1e-14)


@settings(deadline=None)
@given(scored)
def test_pairs_in_blocks_are_the_pairs_at_once(case):
    """Memory is bounded without changing a number."""
    cohort, score, _ = case
    assume(comparable(cohort))
    whole = concordance(score, cohort)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PAIRS_AT_ONCE", 1)
        parts = concordance(score, cohort)
        assert c_index(score, cohort) == whole.value
    assert parts.counts == whole.counts
    assert_allclose(parts.influence, whole.influence, atol=1e-15)


@settings(deadline=None)
@given(scored)
def test_a_difference_has_the_joint_error_of_both(case):
    """Turned round it changes its sign only; its variance is that of both less twice their covariance."""
    cohort, first, second = case
    assume(comparable(cohort))
    found, turned = compare_concordance(first, second, cohort), compare_concordance(second, first, cohort)
    assert found.value == -turned.value
    assert found.limits() == pytest.approx(tuple(-limit for limit in reversed(turned.limits())))
    a, b = found.first, found.second
    variance = a.standard_error**2 + b.standard_error**2 - 2 * a.influence @ b.influence
    assert found.standard_error**2 == pytest.approx(variance, abs=1e-12)


def test_a_score_that_orders_all_pairs_has_no_p_value():
    """Where every pair says the same, the error is 0 and measures nothing."""
    found = concordance([4, 3, 2, 1], outcome([1, 2, 3, 4], [1, 1, 1, 0]))
    assert (found.value, found.standard_error) == (1, 0)
    assert math.isnan(found.p_value)
    assert math.isnan(compare_concordance([4, 3, 2, 1], [8, 6, 4, 2], outcome([1, 2, 3, 4], [1] * 4)).p_value)


def test_limits_stay_inside_what_c_can_be():
    """Close to 1, the upper limit is cut; the lower one and a p value are those of the normal distribution."""
    found = concordance([5, 4, 2, 3, 1], outcome([1, 2, 3, 4, 5], [1, 1, 1, 1, 0]))
    lower, upper = found.limits()
    assert upper == 1
    assert lower == pytest.approx(found.value - 1.959964 * found.standard_error, abs=1e-7)
    z = (found.value - 0.5) / found.standard_error
    assert found.p_value == pytest.approx(math.erfc(z / math.sqrt(2)))


def test_a_censoring_at_the_time_of_a_death_counts_as_later():
    """The pair is comparable, and concordant where the death had the higher score; two deaths at once are not."""
    assert c_index([2, 1], outcome([3, 3], [1, 0])) == 1
    assert c_index([1, 2], outcome([3, 3], [1, 0])) == 0
    with pytest.raises(NotEstimable):
        c_index([1, 2], outcome([3, 3], [1, 1]))


def test_infinite_scores_are_ranked():
    """A predicted certainty has its place."""
    assert c_index([np.inf, 0, -np.inf], outcome([1, 2, 3], [1, 1, 1])) == 1


@pytest.mark.parametrize(("score", "why"), [([1, 2, 3], "for 2 patients"), ([1, np.nan], "NaN")])
def test_scores_must_be_one_number_per_patient(score, why):
    """A wrong call is no statistical outcome."""
    for ask in (concordance, c_index):
        with pytest.raises(ValueError, match=why):
            ask(score, outcome([1, 2], [1, 1]))
