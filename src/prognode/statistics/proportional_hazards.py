"""Do hazard ratios stay the same over time: the Schoenfeld-residual test of a Cox fit, and the residuals to plot.

The test is the score test of beta(t) = b0 + b1 g(t) at b1 = 0 (Grambsch and Therneau 1994, with the covariance of each
risk set instead of their average), which is what R's ``cox.zph`` computes since survival 3.0; older releases and
lifelines use the average, and differ by whole chi-square units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg.lapack import dposv

from prognode.errors import NotEstimable
from prognode.statistics.cox import ChiSquareTest, CoxFit, checked_covariates, chi_square_test
from prognode.statistics.outcome import Floats, Outcome
from prognode.statistics.partial_likelihood import (
    PartialLikelihood,
    RiskSets,
    partial_likelihood,
    risk_sets,
    weighted_information,
)

Transform = Literal["km", "rank", "identity", "log"]
Blocks = Sequence[Sequence[int]]

SINGULAR = 1e-11
"""Share of a column's information on b1 that is its own, below which nothing is left to test."""


@dataclass(frozen=True, slots=True)
class ProportionalHazards:
    """One test per term and one of all, with the residuals behind them. Made by :func:`proportional_hazards`."""

    terms: tuple[str, ...]
    tests: tuple[ChiSquareTest, ...]
    """One per term; df is its number of columns."""
    overall: ChiSquareTest
    """All columns at once (R's GLOBAL)."""
    time: Floats
    """(E,) time of each death, ascending."""
    transformed_time: Floats
    """(E,) g(time): the horizontal axis of the plot (R's ``x``)."""
    scaled_residuals: Floats
    """(E, terms) the vertical axis (R's ``y``).

    With only one-column terms: Schoenfeld residual times the inverse of the mean risk-set covariance, plus the
    coefficient, so that a smooth curve through them estimates beta(t). A term of several columns is drawn as its own
    contribution to the linear predictor, sum of coefficient times column, and its curve estimates a multiplier around 1.
    """


def proportional_hazards(
    fit: CoxFit,
    covariates: ArrayLike,
    outcome: Outcome,
    *,
    terms: Sequence[tuple[str, int]] = (),
    transform: Transform = "km",
) -> ProportionalHazards:
    """The test of ``fit`` over the patients (n, p) it was made from, as R's ``cox.zph(fit, transform, terms = TRUE)``.

    ``terms`` are names with their numbers of columns, in the order of the columns; without it every column is a term.
    ``transform`` g: ``km`` 1 - S(t-) of Kaplan-Meier, ``rank`` the mean rank of the time among all patients,
    ``identity``, ``log``.

    Raises NotEstimable when the fit has infinite coefficients or no covariates, when all deaths have one time, when
    too few deaths leave a test without information, and for the log of a death at time 0; ValueError for shapes or
    terms that do not agree.
    """
    blocks = _blocks(terms, len(fit.names))
    _require_finite(fit)
    sets = risk_sets(outcome, fit.ties)
    x, scale = _standardised(checked_covariates(covariates, outcome, len(fit.names))[sets.order])
    at = partial_likelihood(sets, x, fit.coefficients * scale)
    g = transformed_time(outcome, sets, transform)
    schoenfeld = x[sets.deaths] - sets.over_ties(at.means) / sets.over_ties(np.ones(len(g)))[:, None]
    gradient, information = _score_of_slopes(sets, x, at, g - g.mean(), schoenfeld)
    tests = tuple(_test(gradient, information, block) for block in blocks)
    return ProportionalHazards(
        terms=tuple(name for name, _ in terms) or fit.names,
        tests=tests,
        overall=_test(gradient, information, range(len(fit.names))),
        time=sets.time[sets.tie],
        transformed_time=g,
        scaled_residuals=_scaled(schoenfeld, at.information, blocks, fit.coefficients * scale, scale),
    )


def transformed_time(outcome: Outcome, sets: RiskSets, transform: Transform) -> Floats:
    """(E,) g at the time of each death of ``sets``. Raises NotEstimable where it is not finite or the same for all."""
    deaths = sets.time[sets.tie]
    if transform == "identity":
        g = deaths
    elif transform == "log":
        if deaths[0] == 0:
            raise NotEstimable("a death at time 0 has no logarithm: choose another transform of time")
        g = np.log(deaths)
    elif transform == "rank":
        g = _mean_ranks(outcome, deaths)
    elif transform == "km":
        g = _died_before(len(outcome), sets)
    else:
        raise ValueError(f"time is transformed by km, rank, identity or log, not by {transform}")
    if len(sets.time) == 1:
        raise NotEstimable("all deaths have one time, so no change over time can be seen")
    return np.asarray(g, np.float64)


def _mean_ranks(outcome: Outcome, deaths: Floats) -> Floats:
    """(E,) rank of each death's time among the times of all patients; equal times share the mean of their ranks."""
    times = np.sort(outcome.time)
    ranks: Floats = (times.searchsorted(deaths) + 1 + times.searchsorted(deaths, side="right")) / 2
    return ranks


def _died_before(n: int, sets: RiskSets) -> Floats:
    """(E,) 1 - Kaplan-Meier just before each death."""
    at_risk = n - sets.first[sets.tie_start]
    died = np.bincount(sets.tie)
    survival = np.concatenate(([1.0], np.cumprod(1 - died / at_risk)))
    before: Floats = 1 - survival[sets.tie]
    return before


def _blocks(terms: Sequence[tuple[str, int]], p: int) -> Blocks:
    sizes = [size for _, size in terms] or [1] * p
    if sum(sizes) != p or min(sizes, default=1) < 1:
        raise ValueError(f"the terms have {sum(sizes)} columns, the fit {p}")
    ends = np.cumsum(sizes, dtype=int).tolist()
    return [range(end - size, end) for end, size in zip(ends, sizes, strict=True)]


def _require_finite(fit: CoxFit) -> None:
    if not fit.names:
        raise NotEstimable("a model without covariates has no proportional hazards to test")
    if fit.infinite.any():
        raise NotEstimable(
            "proportional hazards cannot be tested where a hazard ratio has no finite estimate"
        )


def _standardised(x: Floats) -> tuple[Floats, Floats]:
    """(n, p) covariates, centred and in standard deviations, and these (p,)."""
    x = x - x.mean(axis=0)
    scale = x.std(axis=0)
    return x / scale, scale


def _score_of_slopes(
    sets: RiskSets, x: Floats, at: PartialLikelihood, g: Floats, schoenfeld: Floats
) -> tuple[Floats, Floats]:
    """(p,) score of the slopes b1 at 0, and (p, p) their information when the b0 are estimated."""
    cross = weighted_information(sets, x, at, g)
    slopes = weighted_information(sets, x, at, g * g)
    left = slopes - cross @ np.linalg.solve(at.information, cross)
    if (np.diag(left) <= SINGULAR * np.diag(slopes)).any():
        raise NotEstimable("too few deaths to see a change over time")
    return g @ schoenfeld, left


def _test(gradient: Floats, information: Floats, columns: Sequence[int]) -> ChiSquareTest:
    chosen = np.asarray(columns)
    u = gradient[chosen]
    return chi_square_test(float(u @ _solved(information[np.ix_(chosen, chosen)], u)), len(chosen))


def _solved(information: Floats, right: Floats) -> Floats:
    root, solution, failed = dposv(information, right)
    if failed or (np.diag(root) ** 2 <= SINGULAR * np.diag(information)).any():
        raise NotEstimable("too few deaths to see a change over time")
    return np.asarray(solution, np.float64)


def _scaled(schoenfeld: Floats, information: Floats, blocks: Blocks, beta: Floats, scale: Floats) -> Floats:
    """(E, terms) Schoenfeld residuals (E, p) in units of the coefficients, around them."""
    single = [len(block) == 1 for block in blocks]
    weights = np.zeros((len(beta), len(blocks)))
    for number, block in enumerate(blocks):
        weights[block, number] = 1.0 if single[number] else beta[block]
    level = np.where(single, [beta[block[0]] for block in blocks], 1.0)
    unit = np.where(single, [scale[block[0]] for block in blocks], 1.0)
    mean_covariance = weights.T @ information @ weights / len(schoenfeld)
    residuals: Floats = (_solved(mean_covariance, (schoenfeld @ weights).T).T + level) / unit
    return residuals
