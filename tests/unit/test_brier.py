"""Brier scores: what they are without censoring, what is refused, and what must not change them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prognode.errors import NotEstimable
from prognode.statistics.brier import BrierCurve, brier_curve, brier_score, integrated_brier_score
from prognode.statistics.kaplan_meier import kaplan_meier
from prognode.statistics.outcome import Outcome, outcome

SEEN = outcome([1.0, 2.0, 3.0, 4.0], [1, 1, 1, 1])
CENSORED = outcome([1.0, 2.0, 3.0, 3.0, 5.0, 6.0], [1, 0, 1, 0, 1, 0])


@st.composite
def cohorts(draw) -> Outcome:
    n = draw(st.integers(3, 25))
    times = draw(st.lists(st.integers(0, 8), min_size=n, max_size=n))
    return outcome(times, draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))


def test_nobody_lost_is_a_mean_squared_error():
    """With every outcome known, no weights: predicted 0.75 for all, half alive after time 2."""
    score = brier_curve(np.full((4, 1), 0.75), SEEN, [2.0])
    assert score.score.tolist() == [(2 * 0.75**2 + 2 * 0.25**2) / 4]
    assert score.null.tolist() == [0.25]


def test_perfect_and_worst_predictions():
    """0 where every patient's fate is foretold, and 1 where its opposite is."""
    fate = (SEEN.time > 2)[:, None].astype(np.float64)
    assert brier_curve(fate, SEEN, [2.0]).score.tolist() == [0.0]
    assert brier_curve(1 - fate, SEEN, [2.0]).score.tolist() == [1.0]
    assert brier_curve(fate, SEEN, [2.0]).scaled.tolist() == [1.0]


def test_weights_by_hand():
    """Six patients, one lost at 2 and one at 3 after a death there: G is 4/5 after 2 and 4/5 x 2/3 after 3."""
    after_two, after_three = 4 / 5, 4 / 5 * 2 / 3
    score = brier_curve(np.full((6, 1), 0.5), CENSORED, [3.0])
    assert score.score[0] == pytest.approx((0.25 + 0.25 / after_two + 2 * 0.25 / after_three) / 6)


def test_scaled_score_is_nan_where_nobody_has_died():
    """Before the first death the null model is always right: there is nothing to save."""
    score = brier_curve(np.full((6, 2), 0.9), CENSORED, [0.5, 3.0])
    assert np.isnan(score.scaled).tolist() == [True, False]
    assert np.isnan(integrated_brier_score(score, 0.5).scaled)


def test_one_time_is_the_curve_at_it():
    """The same digits, as plain numbers; predictions are (n,) then."""
    chances = np.linspace(0.9, 0.1, 6)
    one, curve = brier_score(chances, CENSORED, 3.0), brier_curve(chances[:, None], CENSORED, [3.0])
    assert (one.time, one.score, one.null, one.scaled) == (
        3.0,
        curve.score[0],
        curve.null[0],
        curve.scaled[0],
    )
    with pytest.raises(ValueError, match="predictions"):
        brier_score(chances[:, None], CENSORED, 3.0)


def test_integral_holds_each_score_until_the_next_time():
    """From 0 to the first time it is 0; an end between times cuts the last step."""
    score = BrierCurve(np.array([1.0, 3.0]), np.array([0.2, 0.4]), np.array([0.4, 0.5]))
    assert integrated_brier_score(score).score == pytest.approx(0.2 * 2 / 3)
    assert integrated_brier_score(score, 2.0).score == pytest.approx(0.2 / 2)
    assert integrated_brier_score(score, 2.0).scaled == pytest.approx(0.5)
    assert integrated_brier_score(score, 1.0).score == 0.0


def test_time_beyond_follow_up_is_not_estimable():
    """The last time itself still is."""
    survival = np.full((6, 1), 0.5)
    assert brier_curve(survival, CENSORED, [6.0]).times.tolist() == [6.0]
    with pytest.raises(NotEstimable, match=r"nobody is followed to 6\.1"):
        brier_curve(survival, CENSORED, [6.1])
    with pytest.raises(NotEstimable, match="nobody"):
        brier_score([], outcome([], []), 1.0)


def test_integral_beyond_the_scores_is_not_estimable():
    """No last value is carried on."""
    score = brier_curve(np.full((6, 1), 0.5), CENSORED, [3.0])
    with pytest.raises(NotEstimable, match="end before 4"):
        integrated_brier_score(score, 4.0)
    with pytest.raises(ValueError, match="above 0"):
        integrated_brier_score(score, 0.0)


@pytest.mark.parametrize(
    ("survival", "times", "words"),
    [
        (np.full((5, 1), 0.5), [3.0], "patients"),
        (np.full((6, 2), 0.5), [3.0], "patients"),
        (np.full(6, 0.5), [3.0], "patients"),
        (np.empty((6, 0)), [], "patients"),
        (np.full((6, 1), 1.01), [3.0], "from 0 to 1"),
        (np.full((6, 1), np.nan), [3.0], "from 0 to 1"),
        (np.full((6, 2), 0.5), [3.0, 3.0], "ascend"),
        (np.full((6, 1), 0.5), [-1.0], "ascend"),
        (np.full((6, 1), 0.5), [np.nan], "ascend"),
    ],
)
def test_what_does_not_fit_is_refused(survival, times, words):
    """Shapes, probabilities and times are checked before anything is computed."""
    with pytest.raises(ValueError, match=words):
        brier_curve(survival, CENSORED, times)


@given(cohorts())
def test_null_model_scores_what_its_own_curve_scores(cohort):
    """Predicting the Kaplan-Meier curve for everybody saves nothing."""
    times = np.unique(cohort.time)
    curve = np.tile(kaplan_meier(cohort).at(times), (len(cohort), 1))
    score = brier_curve(curve, cohort, times)
    np.testing.assert_allclose(score.score, score.null, rtol=1e-12, atol=1e-15)


@given(cohorts(), st.integers(0, 1000))
def test_order_of_patients_does_not_matter(cohort, seed):
    """Nor does the presence of other times on the grid."""
    random = np.random.default_rng(seed)
    times = np.unique(cohort.time)
    survival = random.uniform(size=(len(cohort), len(times)))
    order = random.permutation(len(cohort))
    score = brier_curve(survival, cohort, times)
    other = brier_curve(survival[order], cohort.of(order), times)
    np.testing.assert_allclose(other.score, score.score, rtol=1e-12)
    alone = brier_curve(survival[:, -1:], cohort, times[-1:])
    np.testing.assert_allclose(alone.score, score.score[-1:], rtol=1e-12)


@given(cohorts())
def test_weights_share_out_all_patients(cohort):
    """While somebody is followed beyond the time, the weights sum to n: a prediction of 0.5 scores 0.25."""
    times = np.unique(cohort.time)[:-1]
    if len(times):
        score = brier_curve(np.full((len(cohort), len(times)), 0.5), cohort, times)
        np.testing.assert_allclose(score.score, 0.25, rtol=1e-12)
