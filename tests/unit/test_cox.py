"""The partial likelihood, the Cox fit and the baseline hazard: definitions by brute force, invariants, refusals."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lifelines import CoxPHFitter
from lifelines.statistics import logrank_test

from prognode.errors import NotEstimable
from prognode.statistics.cox import baseline_hazard, fit_cox, martingale_residuals, survival_probability
from prognode.statistics.outcome import Outcome, distinguishable, outcome
from prognode.statistics.partial_likelihood import (
    partial_likelihood,
    risk_sets,
    weighted_information,
)

TIES = pytest.mark.parametrize("ties", ["efron", "breslow"])


def cohort(seed: int, n: int = 40, p: int = 3, *, tied: bool = True) -> tuple[np.ndarray, Outcome]:
    """Covariates (n, p) and an outcome that depends on the first, with many tied times unless told otherwise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p))
    time = rng.exponential(8 * np.exp(-0.7 * x[:, 0]))
    event = rng.random(n) < 0.7
    event[0] = True
    return x, outcome(np.floor(time) if tied else time, event)


seeds = st.integers(0, 2**32 - 1)


def literal_loglik(x, followed, beta, ties):
    """The definition, term by term: every death looks at all who are at risk at its time."""
    lp, total = x @ beta, 0.0
    for t in np.unique(followed.time[followed.event]):
        at_risk, dead = followed.time >= t, (followed.time == t) & followed.event
        count = int(dead.sum())
        for gone in range(count):
            share = gone / count if ties == "efron" else 0.0
            total -= math.log(np.exp(lp[at_risk]).sum() - share * np.exp(lp[dead]).sum())
        total += lp[dead].sum()
    return total


def kernel(x, followed, beta, ties):
    sets = risk_sets(followed, ties)
    return partial_likelihood(sets, x[sets.order], np.asarray(beta, float))


def test_loglik_of_three_patients_by_hand():
    """Deaths at 1 and 2 among three and two at risk, the third patient censored at 3."""
    x, followed = np.array([[1.0], [0.0], [0.0]]), outcome([1, 2, 3], [1, 1, 0])
    b = 0.7
    expected = (b - math.log(math.exp(b) + 2)) + (0 - math.log(2))
    assert kernel(x, followed, [b], "efron").loglik == pytest.approx(expected, rel=1e-14)


def test_two_tied_deaths_by_hand():
    """Efron lets half of the tied risk go before the second death; Breslow lets none go."""
    x, followed = np.array([[1.0], [0.0], [0.0]]), outcome([1, 1, 2], [1, 1, 0])
    b = 0.4
    whole, tied = math.exp(b) + 2, math.exp(b) + 1
    efron = b - math.log(whole) - math.log(whole - tied / 2)
    assert kernel(x, followed, [b], "efron").loglik == pytest.approx(efron, rel=1e-14)
    assert kernel(x, followed, [b], "breslow").loglik == pytest.approx(b - 2 * math.log(whole), rel=1e-14)


@TIES
@given(seed=seeds, n=st.integers(2, 30))
@settings(max_examples=40, deadline=None)
def test_loglik_is_the_definition(ties, seed, n):
    """The cumulative sums equal the loop over deaths, at any coefficients."""
    x, followed = cohort(seed, n)
    beta = np.random.default_rng(seed).normal(size=3)
    assert kernel(x, followed, beta, ties).loglik == pytest.approx(
        literal_loglik(x, followed, beta, ties), rel=1e-11, abs=1e-11
    )


@TIES
@given(seed=seeds)
@settings(max_examples=25, deadline=None)
def test_score_and_information_are_the_derivatives(ties, seed):
    """Central differences of loglik and score."""
    x, followed = cohort(seed, 25)
    beta, h = np.random.default_rng(seed).normal(size=3) / 2, 1e-5
    at = kernel(x, followed, beta, ties)
    above = [kernel(x, followed, beta + h * unit, ties) for unit in np.eye(3)]
    below = [kernel(x, followed, beta - h * unit, ties) for unit in np.eye(3)]
    slopes = [(a.loglik - b.loglik) / (2 * h) for a, b in zip(above, below, strict=True)]
    curvature = [-(a.score - b.score) / (2 * h) for a, b in zip(above, below, strict=True)]
    assert at.score == pytest.approx(np.array(slopes), rel=1e-5, abs=1e-5)
    assert at.information == pytest.approx(np.array(curvature), rel=1e-5, abs=1e-5)


@TIES
def test_weighted_information_of_equal_weights_is_the_information(ties):
    """With every death counted once nothing is weighted."""
    x, followed = cohort(3)
    sets = risk_sets(followed, ties)
    at = partial_likelihood(sets, x[sets.order], np.array([0.2, -0.1, 0.3]))
    weighted = weighted_information(sets, x[sets.order], at, np.ones(followed.events))
    assert weighted == pytest.approx(at.information, rel=1e-12)


def test_a_large_linear_predictor_does_not_overflow():
    """Only differences count: covariates far from 0 change nothing."""
    x, followed = cohort(5)
    beta = np.array([1.0, 0.5, -0.5])
    near, far = kernel(x, followed, beta, "efron"), kernel(x + 1e6, followed, beta, "efron")
    assert far.loglik == pytest.approx(near.loglik, rel=1e-8)


def test_times_that_differ_by_rounding_are_one_time():
    """0.1 + 0.2 and 0.3 are the same month; a true difference stays."""
    time = np.array([0.3, 0.1 + 0.2, 0.30001, 0.0])
    assert distinguishable(time).tolist() == [0.3, 0.3, 0.30001, 0.0]
    x, followed = [[1.0], [0.0], [2.0], [1.0]], outcome([0.1 + 0.2, 0.3, 1, 2], [1, 1, 1, 1])
    assert fit_cox(x, followed, ties="breslow").loglik_null == pytest.approx(-math.log(4 * 4 * 2), rel=1e-14)


@TIES
@given(seed=seeds)
@settings(max_examples=40, deadline=None)
def test_the_score_is_zero_at_the_fit(ties, seed):
    """The fit ends at the maximum: the gradient, in standard errors, is below 1e-9."""
    x, followed = cohort(seed, 60)
    fit = fit_cox(x, followed, ties=ties)
    at = kernel(x, followed, fit.coefficients, ties)
    assert np.abs(at.score * fit.standard_errors).max() < 1e-9
    assert at.loglik == pytest.approx(fit.loglik, rel=1e-12)


@given(seed=seeds, factor=st.floats(1e-3, 1e3), shift=st.floats(-1e3, 1e3))
@settings(max_examples=40, deadline=None)
def test_units_and_order_do_not_matter(seed, factor, shift):
    """Another unit and origin of a covariate, and another order of patients, give the same model."""
    x, followed = cohort(seed, 60)
    fit = fit_cox(x, followed)
    other = np.random.default_rng(seed).permutation(60)
    again = fit_cox(x[other] * [factor, 1, 1] + [shift, 0, 0], followed.of(other))
    assert again.coefficients * [factor, 1, 1] == pytest.approx(fit.coefficients, rel=1e-7, abs=1e-9)
    assert again.loglik == pytest.approx(fit.loglik, rel=1e-11)
    assert again.z == pytest.approx(fit.z, rel=1e-7, abs=1e-9)


@given(seed=seeds, p=st.integers(1, 6))
@settings(max_examples=10, deadline=None)
def test_lifelines_finds_the_same_coefficients(seed, p):
    """An independent second opinion, on tied data."""
    x, followed = cohort(seed, 80, p)
    table = pd.DataFrame(x).assign(time=followed.time, event=followed.event)
    exact = {"step_size": 0.5, "precision": 1e-13, "r_precision": 1e-13}
    other = CoxPHFitter().fit(table, "time", "event", fit_options=exact)
    fit = fit_cox(x, followed)
    assert fit.coefficients == pytest.approx(other.params_.to_numpy(), abs=1e-6)
    assert fit.standard_errors == pytest.approx(other.standard_errors_.to_numpy(), abs=1e-6)
    assert fit.loglik == pytest.approx(other.log_likelihood_, rel=1e-9)


def test_a_patient_far_from_all_others_does_not_derail_the_fit():
    """Newton's first step overshoots here by a factor of thousands; halved, it still climbs to the maximum."""
    x, followed = cohort(8, 50, 1, tied=False)
    x[int(np.argmax(followed.time)), 0] = -400
    x[int(np.argmin(followed.time)), 0] = -300
    fit = fit_cox(x, followed)
    assert np.abs(kernel(x, followed, fit.coefficients, "efron").score * fit.standard_errors).max() < 1e-9
    assert fit.loglik >= fit.loglik_null


def test_score_test_of_two_groups_is_the_log_rank_test():
    """Without ties Rao's statistic of a 0/1 covariate is the log-rank statistic."""
    x, followed = cohort(9, 50, 1, tied=False)
    group = (x > 0).astype(float)
    one, two = followed.of(group[:, 0] == 0), followed.of(group[:, 0] == 1)
    expected = logrank_test(one.time, two.time, one.event, two.event).test_statistic
    assert fit_cox(group, followed).score_test.statistic == pytest.approx(expected, rel=1e-10)


def test_the_summary_follows_from_coefficients_and_covariance():
    """Intervals, p values, AIC and BIC by their formulas."""
    x, followed = cohort(10)
    fit = fit_cox(x, followed, names=["a", "b", "c"])
    low, high = fit.confidence_interval(0.9).T
    assert np.log(high * low) / 2 == pytest.approx(fit.coefficients, rel=1e-10)
    assert np.log(high / low) / 2 == pytest.approx(1.6448536269514722 * fit.standard_errors, rel=1e-10)
    assert fit.wald_test.df == fit.likelihood_ratio_test.df == fit.score_test.df == 3
    assert fit.aic == pytest.approx(6 - 2 * fit.loglik)
    assert fit.bic == pytest.approx(3 * math.log(fit.events) - 2 * fit.loglik)
    alone = fit_cox(x[:, :1], followed)
    assert alone.wald_test.p == pytest.approx(alone.p_values[0], rel=1e-10)


def test_a_confidence_level_is_a_probability():
    """95 is not 0.95."""
    x, followed = cohort(10)
    with pytest.raises(ValueError, match="level"):
        fit_cox(x, followed).confidence_interval(95)


def test_no_covariates_leave_the_null_model():
    """With p = 0: the null log-likelihood, no test, and the baseline of everybody."""
    _, followed = cohort(11)
    nothing = np.empty((40, 0))
    fit = fit_cox(nothing, followed)
    assert fit.loglik == fit.loglik_null
    assert fit.aic == fit.bic == -2 * fit.loglik
    with pytest.raises(NotEstimable, match="nothing to test"):
        _ = fit.likelihood_ratio_test
    baseline = baseline_hazard(fit, nothing, followed)
    at_risk = np.array([(followed.time >= t).sum() for t in baseline.time])
    assert baseline.hazard[0] >= 1 / at_risk[0]


def test_a_level_without_deaths_is_refused_by_name_or_flagged():
    """Its hazard ratio is 0; the other coefficients are those of the patients that the level leaves."""
    x, followed = cohort(12, 60, 2)
    level = np.zeros(60)
    level[::5] = 1
    followed = outcome(followed.time, followed.event & (level == 0))
    covariates = np.column_stack([x, level])
    with pytest.raises(NotEstimable, match=r"^c: "):
        fit_cox(covariates, followed, names=("a", "b", "c"))
    fit = fit_cox(covariates, followed, infinite="flag")
    assert fit.infinite.tolist() == [False, False, True]
    assert fit.coefficients[2] < -10
    rest = fit_cox(x[level == 0], followed.of(level == 0))
    assert fit.coefficients[:2] == pytest.approx(rest.coefficients, abs=1e-6)
    assert fit.loglik == pytest.approx(rest.loglik, abs=1e-5)


def test_columns_that_separate_only_together_are_all_named():
    """Neither of two columns separates, their difference does; the third is innocent."""
    rng = np.random.default_rng(13)
    time = np.arange(1.0, 31.0)
    ahead = np.where(time <= 15, 1.0, -1.0)
    shared = rng.normal(size=30)
    x = np.column_stack([shared + ahead, shared, rng.normal(size=30)])
    fit = fit_cox(x, outcome(time, np.ones(30)), infinite="flag")
    assert fit.infinite.tolist() == [True, True, False]


def test_a_perfect_order_is_refused():
    """A covariate that ranks all deaths has no finite hazard ratio, however uneven its steps."""
    x = np.sort(np.random.default_rng(3).normal(size=20))[:, None]
    with pytest.raises(NotEstimable, match="biomarker"):
        fit_cox(x, outcome(np.arange(20), np.ones(20)), names=["biomarker"])


@given(seed=seeds)
@settings(max_examples=40, deadline=None)
def test_a_strong_but_finite_effect_is_not_taken_for_infinite(seed):
    """One death in the protected group is enough for an estimate."""
    rng = np.random.default_rng(seed)
    group = np.repeat([0.0, 1.0], 40)
    time = np.where(group == 0, rng.uniform(0, 1, 80), rng.uniform(2, 3, 80))
    event = group == 0
    time[-1], event[-1] = 0.3, True
    fit = fit_cox(group[:, None], outcome(time, event))
    assert not fit.infinite.any()
    assert np.isfinite(fit.coefficients).all()


def test_what_has_no_estimate_is_named():
    """Constant, dependent, and silent columns; nobody dead."""
    x, followed = cohort(14)
    names = ["a", "b", "c", "d"]
    with pytest.raises(NotEstimable, match=r"^d does not vary"):
        fit_cox(np.column_stack([x, np.full(40, 1e7 / 3)]), followed, names=names)
    with pytest.raises(NotEstimable, match=r"^a, b, d depend"):
        fit_cox(np.column_stack([x, x[:, 0] + 2 * x[:, 1]]), followed, names=names)
    first = np.arange(40) == np.argmin(followed.time)
    silent = np.column_stack([x, first])
    later = outcome(followed.time + ~first, followed.event & ~first)
    with pytest.raises(NotEstimable, match=r"^d does not vary among the patients at risk"):
        fit_cox(silent, later, names=names)
    with pytest.raises(NotEstimable, match="nobody died"):
        fit_cox(x, outcome(followed.time, np.zeros(40)))


def test_long_lists_of_names_are_cut():
    """More columns than patients: the sentence stays a sentence."""
    _, followed = cohort(15, 20)
    with pytest.raises(NotEstimable, match=r"x8 and 32 more"):
        fit_cox(np.random.default_rng(0).normal(size=(20, 40)), followed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x * np.nan, "not finite"),
        (lambda x: x[:5], "must be"),
        (lambda x: x[:, 0], "must be"),
    ],
)
def test_wrong_covariates_are_refused(change, message):
    """NaN and wrong shapes are errors of the caller."""
    x, followed = cohort(16)
    with pytest.raises(ValueError, match=message):
        fit_cox(change(x), followed)


def test_wrong_names_and_ties_are_refused():
    """One name per column; two treatments of ties."""
    x, followed = cohort(16)
    with pytest.raises(ValueError, match="2 names for 3 columns"):
        fit_cox(x, followed, names=["a", "b"])
    with pytest.raises(ValueError, match="exact"):
        fit_cox(x, followed, ties="exact")
    with pytest.raises(ValueError, match="2 columns for a fit of 3"):
        baseline_hazard(fit_cox(x, followed), x[:, :2], followed)


@TIES
@given(seed=seeds)
@settings(max_examples=25, deadline=None)
def test_martingale_residuals_sum_to_nothing(ties, seed):
    """Expected deaths equal the deaths, in all and weighted by each covariate."""
    x, followed = cohort(seed, 60)
    residuals = martingale_residuals(fit_cox(x, followed, ties=ties), x, followed)
    assert residuals.sum() == pytest.approx(0, abs=1e-9)
    assert residuals @ x == pytest.approx(np.zeros(3), abs=1e-7)
    assert (residuals <= 1).all()


def test_expected_deaths_are_the_hazard_that_each_patient_met():
    """Without ties: event - H0(time) exp(lp)."""
    x, followed = cohort(17, tied=False)
    fit = fit_cox(x, followed)
    baseline = baseline_hazard(fit, x, followed)
    met = np.concatenate([[0], baseline.hazard])[baseline.time.searchsorted(followed.time, side="right")]
    expected = followed.event - met * np.exp(fit.linear_predictor(x))
    assert martingale_residuals(fit, x, followed) == pytest.approx(expected, rel=1e-10, abs=1e-12)


def test_survival_is_a_falling_step_function():
    """1 before the first death, then down at each death, and constant after the last."""
    x, followed = cohort(18)
    fit = fit_cox(x, followed)
    baseline, lp = baseline_hazard(fit, x, followed), fit.linear_predictor(x)
    assert survival_probability(baseline, lp, -1.0).tolist() == [1.0] * 40
    curve = np.array([survival_probability(baseline, lp, t) for t in baseline.time])
    assert (np.diff(curve, axis=0) < 0).all()
    assert (np.diff(curve[-1][np.argsort(lp)]) <= 0).all()
    assert survival_probability(baseline, lp, 1e9) == pytest.approx(curve[-1])
    assert baseline.follow_up == followed.time.max()
    assert curve[:, 0] == pytest.approx(np.exp(-baseline.hazard * np.exp(lp[0])), rel=1e-12)


def test_an_origin_far_from_the_data_keeps_the_survival():
    """Survival needs no hazard at 0, and the hazard at 0 is refused where a double cannot hold it."""
    x, followed = cohort(19)
    fit, far = fit_cox(x, followed), x + 3000 * np.sign(fit_cox(x, followed).coefficients)
    distant = fit_cox(far, followed)
    baseline = baseline_hazard(distant, far, followed)
    expected = survival_probability(baseline_hazard(fit, x, followed), fit.linear_predictor(x), 5.0)
    got = survival_probability(baseline, distant.linear_predictor(far), 5.0)
    assert got == pytest.approx(expected, rel=1e-8)
    with pytest.raises(NotEstimable, match="too far"):
        _ = baseline.hazard


def test_extreme_risks_give_survival_0_and_1():
    """No overflow, no warning: certain death and certain survival."""
    x, followed = cohort(20)
    baseline = baseline_hazard(fit_cox(x, followed), x, followed)
    assert survival_probability(baseline, [1e4, -1e4], 5.0).tolist() == [0.0, 1.0]
    with pytest.raises(ValueError, match="not a number"):
        survival_probability(baseline, [0.0], math.nan)
