"""Terms, univariable screening and backward elimination: codings, invariants, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prognode.errors import NotEstimable
from prognode.statistics.cox import fit_cox
from prognode.statistics.outcome import outcome
from prognode.statistics.selection import backward_aic, design, factor_term, numeric_term, univariable

seeds = st.integers(0, 2**32 - 1)


def cohort(seed, n=70):
    """Three numbers and a factor; only the first number and the factor's third level matter."""
    rng = np.random.default_rng(seed)
    x, grade = rng.normal(size=(n, 3)), rng.choice(["G1", "G2", "G3"], n)
    time = np.ceil(rng.exponential(20 * np.exp(-0.8 * x[:, 0] - 1.2 * (grade == "G3"))))
    terms = [numeric_term(name, x[:, place]) for place, name in enumerate("abc")]
    terms.insert(1, factor_term("grade", grade.tolist(), ["G1", "G2", "G3"]))
    return terms, outcome(time, rng.random(n) < 0.75)


def test_a_factor_is_coded_against_its_first_level():
    """Treatment contrasts in the order of the levels, not of the alphabet or the rows."""
    term = factor_term("site", ["x", "b", "a", "x"], ["x", "b", "a"])
    assert term.reference == "x"
    assert term.labels == ("b", "a")
    assert term.columns.tolist() == [[0, 0], [1, 0], [0, 1], [0, 0]]
    assert term.column_names == ("site=b", "site=a")
    assert term.absent_levels == ()


def test_a_level_that_nobody_has_is_dropped_and_reported():
    """Also when it is the reference: the next level takes its place."""
    term = factor_term("site", ["b", "a", "b"], ["x", "b", "y", "a"])
    assert term.absent_levels == ("x", "y")
    assert term.reference == "b"
    assert term.labels == ("a",)


def test_a_factor_needs_two_levels():
    """One level, or no patient, has nothing to compare."""
    with pytest.raises(NotEstimable, match="site does not vary"):
        factor_term("site", ["a", "a"], ["a", "b"])
    with pytest.raises(NotEstimable, match="site does not vary"):
        factor_term("site", [], ["a", "b"])


def test_wrong_levels_are_refused():
    """A value outside the levels, a level twice."""
    with pytest.raises(ValueError, match="none of its levels: z"):
        factor_term("site", ["a", "z"], ["a", "b"])
    with pytest.raises(ValueError, match="twice"):
        factor_term("site", ["a"], ["a", "a"])
    with pytest.raises(ValueError, match="not \\(n,\\)"):
        numeric_term("age", [[1.0]])


def test_a_design_puts_terms_side_by_side():
    """Columns and names in the order of the terms; no term gives n rows of nothing."""
    terms = [numeric_term("age", [50, 60]), factor_term("site", ["a", "b"], ["a", "b"])]
    covariates, names = design(terms)
    assert covariates.tolist() == [[50, 0], [60, 1]]
    assert names == ("age", "site=b")
    assert design([], 4)[0].shape == (4, 0)


def test_a_design_refuses_what_does_not_fit_together():
    """Two terms of one name, or of different lengths."""
    age = numeric_term("age", [50, 60])
    with pytest.raises(ValueError, match="one name"):
        design([age, age])
    with pytest.raises(ValueError, match="different numbers"):
        design([age, numeric_term("diameter", [1, 2, 3])])
    with pytest.raises(ValueError, match="different numbers"):
        design([age], 3)


def test_univariable_fits_each_term_alone():
    """The factor is tested as one block; a constant term says why in its place."""
    terms, followed = cohort(1)
    constant = numeric_term("d", np.ones(70))
    table = univariable([*terms, constant], followed)
    assert [row.term.name for row in table] == ["a", "grade", "b", "c", "d"]
    assert table[1].likelihood_ratio_test.df == table[1].wald_test.df == 2
    alone = fit_cox(terms[0].columns, followed)
    assert table[0].fit.coefficients == pytest.approx(alone.coefficients)
    assert table[-1].fit is None
    assert table[-1].why_not == "d does not vary"
    with pytest.raises(NotEstimable, match="d does not vary"):
        _ = table[-1].wald_test


def test_univariable_flags_a_level_without_deaths():
    """The likelihood ratio stands, the hazard ratio is marked."""
    terms, followed = cohort(2)
    spared = terms[1].columns[:, 0] == 1
    row = univariable([terms[1]], outcome(followed.time, followed.event & ~spared))[0]
    assert row.fit.infinite.tolist() == [True, False]
    assert 0 <= row.likelihood_ratio_test.p <= 1


def test_no_deaths_are_nobodys_reason_in_particular():
    """Neither screening nor selection goes on."""
    terms, followed = cohort(3)
    alive = outcome(followed.time, np.zeros(70))
    with pytest.raises(NotEstimable, match="nobody died"):
        univariable(terms, alive)
    with pytest.raises(NotEstimable, match="nobody died"):
        backward_aic(terms, alive)


@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_each_step_is_the_best_loss_and_the_last_has_none(seed):
    """AIC falls strictly; the dropped term is the argmin; the end is that every loss costs."""
    terms, followed = cohort(seed)
    result = backward_aic(terms, followed)
    for step, following in zip(result.steps, result.steps[1:], strict=False):
        assert following.aic == min(step.aic_if_dropped) < step.aic
        assert step.dropped == step.terms[int(np.argmin(step.aic_if_dropped))]
        assert following.terms == tuple(name for name in step.terms if name != step.dropped)
    last = result.steps[-1]
    assert last.dropped is None
    assert all(aic >= last.aic for aic in last.aic_if_dropped)
    assert last.terms == tuple(term.name for term in result.selected)
    assert result.fit.aic == last.aic
    covariates, names = design(result.selected, 70)
    assert result.fit.names == names
    if names:
        assert result.fit.loglik == pytest.approx(fit_cox(covariates, followed).loglik, rel=1e-12)


def test_what_matters_stays():
    """The planted covariate and the planted factor, whole, survive the elimination."""
    terms, followed = cohort(5, 400)
    selected = {term.name for term in backward_aic(terms, followed).selected}
    assert {"a", "grade"} <= selected


def test_the_empty_model_is_a_result():
    """Nothing related to death: every term leaves, and the null model remains."""
    rng = np.random.default_rng(3)
    followed = outcome(rng.exponential(size=60), np.ones(60))
    for seed in range(20):
        noise = numeric_term("noise", np.random.default_rng(seed).normal(size=60))
        result = backward_aic([noise], followed)
        if not result.selected:
            break
    assert result.selected == ()
    assert [step.dropped for step in result.steps] == ["noise", None]
    assert result.steps[-1].aic_if_dropped == ()
    assert result.fit.aic == -2 * result.fit.loglik_null


def test_no_terms_at_all_select_nothing():
    """The null model from the start."""
    _, followed = cohort(6)
    assert backward_aic([], followed).selected == ()


def test_dependent_terms_are_refused_before_any_step():
    """The full model must exist; R would silently leave one column out."""
    terms, followed = cohort(7)
    double = numeric_term("e", 2 * terms[0].columns[:, 0])
    with pytest.raises(NotEstimable, match="a, e depend"):
        backward_aic([*terms, double], followed)
