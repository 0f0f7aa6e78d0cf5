"""The test of proportional hazards: its definition by brute force, invariants, power, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prognode.errors import NotEstimable
from prognode.statistics.cox import fit_cox
from prognode.statistics.outcome import outcome
from prognode.statistics.proportional_hazards import proportional_hazards

seeds = st.integers(0, 2**32 - 1)
TRANSFORMS = pytest.mark.parametrize("transform", ["km", "rank", "identity", "log"])


def cohort(seed, n=60, p=3):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p))
    time = 1 + np.floor(rng.exponential(8 * np.exp(-0.4 * x[:, 0])))
    event = rng.random(n) < 0.7
    return x, outcome(time, event)


def literal_statistic(x, followed, beta, columns):
    """The score test written out: every death of a tie (Efron) adds its own covariance, times (1, t, t squared)."""
    p, lp = x.shape[1], x @ beta
    score, information = np.zeros(2 * p), np.zeros((2 * p, 2 * p))
    centre = followed.time[followed.event].mean()
    for t in np.unique(followed.time[followed.event]):
        dead = (followed.time == t) & followed.event
        for gone in range(int(dead.sum())):
            weight = np.exp(lp) * (followed.time >= t) * (1 - dead * gone / dead.sum())
            weight /= weight.sum()
            mean = weight @ x
            spread = (x - mean).T @ (weight[:, None] * (x - mean))
            score += np.kron([1, t - centre], x[dead].mean(axis=0) - mean)
            information += np.kron(np.outer([1, t - centre], [1, t - centre]), spread)
    kept = [*range(p), *(p + column for column in columns)]
    u = np.where(np.arange(2 * p) < p, 0, score)[kept]
    return u @ np.linalg.solve(information[np.ix_(kept, kept)], u)


@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_the_statistics_are_the_score_test_by_definition(seed):
    """Terms of one and of two columns, and all of them, on tied data."""
    x, followed = cohort(seed)
    fit = fit_cox(x, followed)
    result = proportional_hazards(fit, x, followed, terms=[("a", 1), ("b", 2)], transform="identity")
    expected = [
        literal_statistic(x, followed, fit.coefficients, columns) for columns in ([0], [1, 2], [0, 1, 2])
    ]
    got = [*(test.statistic for test in result.tests), result.overall.statistic]
    assert got == pytest.approx(expected, rel=1e-7, abs=1e-10)
    assert [test.df for test in (*result.tests, result.overall)] == [1, 2, 3]
    assert result.terms == ("a", "b")


@TRANSFORMS
@given(seed=seeds, factor=st.floats(1e-3, 1e3), shift=st.floats(-100, 100))
@settings(max_examples=15, deadline=None)
def test_units_of_covariates_do_not_matter(transform, seed, factor, shift):
    """The test is the same in millimetres and metres, and its curve scales as the coefficient does."""
    x, followed = cohort(seed)
    other = x * [factor, 1, 1] + [shift, 0, 0]
    one = proportional_hazards(fit_cox(x, followed), x, followed, transform=transform)
    two = proportional_hazards(fit_cox(other, followed), other, followed, transform=transform)
    assert [t.statistic for t in two.tests] == pytest.approx(
        [t.statistic for t in one.tests], rel=1e-6, abs=1e-9
    )
    assert two.scaled_residuals[:, 0] * factor == pytest.approx(
        one.scaled_residuals[:, 0], rel=1e-6, abs=1e-6
    )


@pytest.mark.parametrize("transform", ["km", "rank"])
def test_only_the_order_of_times_counts_for_km_and_rank(transform):
    """Days or the square of years: the same test."""
    x, followed = cohort(3)
    bent = outcome(followed.time**2, followed.event)
    one = proportional_hazards(fit_cox(x, followed), x, followed, transform=transform)
    two = proportional_hazards(fit_cox(x, bent), x, bent, transform=transform)
    assert two.overall.statistic == pytest.approx(one.overall.statistic, rel=1e-9)
    assert two.transformed_time == pytest.approx(one.transformed_time)


def test_scaled_residuals_average_to_the_coefficients():
    """Schoenfeld residuals sum to 0 at the fit, so beta(t) scatters around beta; a block around 1."""
    x, followed = cohort(4)
    fit = fit_cox(x, followed)
    alone = proportional_hazards(fit, x, followed)
    assert alone.scaled_residuals.shape == (followed.events, 3)
    assert alone.scaled_residuals.mean(axis=0) == pytest.approx(fit.coefficients, rel=1e-8, abs=1e-10)
    block = proportional_hazards(fit, x, followed, terms=[("a", 1), ("b", 2)])
    assert block.scaled_residuals.mean(axis=0) == pytest.approx([fit.coefficients[0], 1], rel=1e-8)


def test_the_axis_of_time_follows_the_deaths():
    """Ascending, one per death; km is the share dead before, identity the time itself."""
    x, followed = cohort(5)
    fit = fit_cox(x, followed)
    plain = proportional_hazards(fit, x, followed, transform="identity")
    assert plain.time.tolist() == sorted(followed.time[followed.event].tolist())
    assert plain.transformed_time.tolist() == plain.time.tolist()
    logarithm = proportional_hazards(fit, x, followed, transform="log").transformed_time
    assert logarithm == pytest.approx(np.log(plain.time))
    died = proportional_hazards(fit, x, followed, transform="km").transformed_time
    assert died[0] == 0
    assert (np.diff(died) >= 0).all()
    assert died[-1] < 1


def test_an_effect_that_turns_round_is_seen():
    """A covariate that harms early and protects late is rejected; a steady one beside it is not."""
    rng = np.random.default_rng(6)
    n = 400
    turning, steady = rng.integers(0, 2, (2, n)).astype(float)
    early, late = rng.exponential(np.exp(-turning), n), 0.4 + rng.exponential(np.exp(turning), n)
    time = np.where(early < 0.4, early, late) * np.exp(-0.3 * steady)
    x, followed = np.column_stack([turning, steady]), outcome(time, np.ones(n))
    first, second = proportional_hazards(fit_cox(x, followed), x, followed).tests
    assert first.p < 1e-6
    assert second.p > 0.01


def test_what_cannot_be_tested_says_why():
    """No covariates, an infinite hazard ratio, deaths all at one time, the log of 0."""
    x, followed = cohort(7)
    nothing = np.empty((60, 0))
    with pytest.raises(NotEstimable, match="without covariates"):
        proportional_hazards(fit_cox(nothing, followed), nothing, followed)
    one_time = outcome(np.where(followed.event, 3.0, followed.time), followed.event)
    with pytest.raises(NotEstimable, match="one time"):
        proportional_hazards(fit_cox(x, one_time), x, one_time)
    from_zero = outcome(followed.time - 1, followed.event)
    with pytest.raises(NotEstimable, match="logarithm"):
        proportional_hazards(fit_cox(x, from_zero), x, from_zero, transform="log")
    group = np.arange(60.0)[:, None] < 30
    spared = outcome(followed.time, followed.event & ~group[:, 0])
    endless = fit_cox(group, spared, infinite="flag")
    with pytest.raises(NotEstimable, match="finite"):
        proportional_hazards(endless, group, spared)


def test_too_few_deaths_leave_nothing_to_see():
    """Two deaths, the second with nobody else at risk: one covariance, used up by the hazard ratio itself."""
    x, followed = np.array([[0.5], [1.0], [0.2], [0.3]]), outcome([1, 2, 3, 4], [1, 0, 0, 1])
    with pytest.raises(NotEstimable, match="too few deaths"):
        proportional_hazards(fit_cox(x, followed), x, followed)


@pytest.mark.parametrize(
    ("terms", "transform", "message"),
    [
        ([("a", 1)], "km", "1 columns, the fit 3"),
        ([("a", 3), ("b", 0)], "km", "columns"),
        ([], "sqrt", "sqrt"),
    ],
)
def test_wrong_arguments_are_refused(terms, transform, message):
    """Terms must add up to the columns; transforms are named."""
    x, followed = cohort(8)
    with pytest.raises(ValueError, match=message):
        proportional_hazards(fit_cox(x, followed), x, followed, terms=terms, transform=transform)


def test_covariates_must_be_those_of_the_fit():
    """Another number of columns is refused, and a value that is not finite."""
    x, followed = cohort(8)
    with pytest.raises(ValueError, match="2 columns for a fit of 3"):
        proportional_hazards(fit_cox(x, followed), x[:, :2], followed)
    with pytest.raises(ValueError, match="not finite"):
        proportional_hazards(fit_cox(x, followed), x * np.nan, followed)
