"""The LASSO-Cox path at its edges: the equations hold everywhere, and what cannot be selected is said."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prognode.errors import NotEstimable
from prognode.statistics.cross_validation import cross_validate, stratified_folds
from prognode.statistics.lasso_cox import (
    breslow_loglik,
    death_times,
    lambda_grid,
    largest_lambda,
    lasso_cox_path,
    standardised,
)
from prognode.statistics.outcome import Outcome, outcome


def cohort(
    seed: int, n: int, p: int, *, tied: bool = False, signal: float = 1.0
) -> tuple[np.ndarray, Outcome]:
    """Patients whose hazard rises with the first feature and falls with the last."""
    random = np.random.default_rng(seed)
    features = np.maximum(random.standard_normal((n, p)), 0.0)
    death = random.exponential(20, n) / np.exp(signal * (features[:, 0] - features[:, -1]))
    censored = random.uniform(1, 60, n)
    time = np.minimum(death, censored)
    return features, outcome(np.ceil(time / 5) if tied else time, death <= censored)


def loss(features: np.ndarray, followed: Outcome, coefficients: np.ndarray) -> float:
    """Negative partial log-likelihood per patient."""
    order = np.argsort(followed.time, kind="stable")
    return -breslow_loglik(death_times(followed.of(order)), features[order] @ coefficients) / len(followed)


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 10**6),
    st.integers(8, 60),
    st.integers(1, 80),
    st.booleans(),
    st.floats(0.0, 4.0),
)
def test_no_small_change_lowers_the_penalised_loss(seed, n, p, tied, signal):
    """At every lambda the optimum is an optimum: moving any coefficient either way makes it worse."""
    features, followed = cohort(seed, n, p, tied=tied, signal=signal)
    if not followed.events or not np.ptp(features, axis=0).any():
        return
    path = lasso_cox_path(features, followed, lambda_grid(features, followed, 20)[:14])
    spread = np.sqrt(features.var(axis=0))
    for place in {len(path.lambdas) // 2, len(path.lambdas) - 1}:
        beta, penalty = path.coefficients[place], path.lambdas[place]
        best = loss(features, followed, beta) + penalty * np.abs(beta * spread).sum()
        for feature in np.flatnonzero(spread > 0)[:10]:
            for move in (1e-3, -1e-3):
                moved = beta.copy()
                moved[feature] += move / spread[feature]
                other = loss(features, followed, moved) + penalty * np.abs(moved * spread).sum()
                assert other >= best - 1e-12


def test_the_largest_lambda_selects_nothing_and_the_next_one_something():
    """lambda_max is where the first feature enters."""
    features, followed = cohort(1, 60, 40)
    largest = largest_lambda(features, followed)
    path = lasso_cox_path(features, followed, [largest, 0.999 * largest])
    assert not path.coefficients[0].any()
    assert len(path.selected(1)) == 1


def test_planted_features_enter_first_with_their_signs():
    """A strong signal is found before noise."""
    features, followed = cohort(2, 300, 200, signal=2.0)
    path = lasso_cox_path(features, followed, lambda_grid(features, followed)[:20])
    place = next(i for i in range(len(path.lambdas)) if len(path.selected(i)) >= 2)
    assert list(path.selected(place)) == [0, 199]
    assert path.coefficients[place, 0] > 0 > path.coefficients[place, 199]


def test_constant_columns_never_enter_and_do_not_matter():
    """Dead features change nothing and get no coefficient."""
    features, followed = cohort(3, 60, 30)
    dead = features.copy()
    dead = np.insert(dead, [0, 15, 30], [[3.0, 0.0, -7.5]], axis=1)
    with_dead, without = lasso_cox_path(dead, followed), lasso_cox_path(features, followed)
    assert not with_dead.coefficients[:, [0, 16, 32]].any()
    assert np.delete(with_dead.coefficients, [0, 16, 32], axis=1) == pytest.approx(
        without.coefficients, abs=1e-9
    )


def test_copies_of_a_feature_are_one_feature():
    """However identical columns share a coefficient, the fit is that of one."""
    features, followed = cohort(4, 80, 20)
    twice = np.column_stack([features, features])
    path, single = lasso_cox_path(twice, followed), lasso_cox_path(features, followed)
    together = min(len(path.lambdas), len(single.lambdas))
    assert path.deviance_ratio[:together] == pytest.approx(single.deviance_ratio[:together], abs=1e-8)
    merged = path.coefficients[:, :20] + path.coefficients[:, 20:]
    assert merged[:together] == pytest.approx(single.coefficients[:together], rel=1e-5, abs=1e-7)


def test_units_of_a_feature_do_not_matter():
    """A feature in other units has its coefficient in those units, and nothing else changes."""
    features, followed = cohort(5, 70, 25)
    units = np.geomspace(1e-3, 1e3, 25)
    path, scaled = lasso_cox_path(features, followed), lasso_cox_path(features * units + 5.0, followed)
    assert scaled.coefficients[:30] * units == pytest.approx(path.coefficients[:30], rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("events", [0, 1])
def test_without_deaths_nothing_is_selected_and_it_is_said(events):
    """No death: there is no likelihood. One death: a path exists, folds do not."""
    features, followed = cohort(6, 30, 10)
    died = np.zeros(30, bool)
    died[:events] = True
    few = Outcome(followed.time, died)
    if not events:
        with pytest.raises(NotEstimable, match="nobody died"):
            lasso_cox_path(features, few)
    with pytest.raises(NotEstimable, match="deaths"):
        stratified_folds(few, 1)


def test_all_constant_features_are_refused():
    """Nothing to select from is a sentence, not a path of zeros."""
    _, followed = cohort(7, 30, 10)
    with pytest.raises(NotEstimable, match="constant"):
        lasso_cox_path(np.ones((30, 4)), followed)


def test_values_that_are_no_numbers_are_refused():
    """A NaN would make every comparison false and every feature unselected."""
    features, followed = cohort(8, 30, 10)
    features[3, 4] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        lasso_cox_path(features, followed)


def test_folds_share_the_deaths_and_follow_the_seed():
    """Every fold has its share of patients and of deaths; the same seed gives the same folds."""
    _, followed = cohort(9, 76, 2)
    folds = stratified_folds(followed, 11)
    per_fold = np.bincount(folds[followed.event], minlength=11)[1:]
    sizes = np.bincount(folds)[1:]
    assert np.ptp(per_fold) <= 1
    assert np.ptp(sizes) <= 1
    assert (folds == stratified_folds(followed, 11)).all()
    assert (folds != stratified_folds(followed, 12)).any()


def test_a_null_outcome_mostly_selects_nothing_by_one_standard_error():
    """Where nothing is planted, lambda.1se is the empty model in most cohorts."""
    empty = 0
    for seed in range(12):
        features, followed = cohort(100 + seed, 76, 300, signal=0.0)
        found = cross_validate(features, followed, stratified_folds(followed, seed), quick=True)
        empty += not len(found.path.selected(found.one_se))
    assert empty >= 9


def test_a_quick_search_finds_the_same_minimum():
    """Stopping where the curve has risen changes neither place."""
    for seed in range(4):
        features, followed = cohort(seed, 76, 400)
        folds = stratified_folds(followed, seed)
        quick = cross_validate(features, followed, folds, quick=True)
        whole = cross_validate(features, followed, folds)
        assert (quick.minimum, quick.one_se) == (whole.minimum, whole.one_se)
        assert len(quick.deviance) < len(whole.deviance)
        assert quick.path.coefficients[quick.minimum] == pytest.approx(whole.path.coefficients[whole.minimum])


def test_standardised_columns_have_glmnets_variance():
    """Mean 0 and mean square 1, divided by n and not by n - 1."""
    features, _ = cohort(10, 50, 6)
    columns, spread, varying = standardised(features)
    assert columns.mean(axis=0) == pytest.approx(np.zeros(len(varying)), abs=1e-12)
    assert (columns**2).mean(axis=0) == pytest.approx(np.ones(len(varying)))
    assert spread == pytest.approx(features.std(axis=0))
