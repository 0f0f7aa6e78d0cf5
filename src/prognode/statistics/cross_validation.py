"""How strong the LASSO's penalty is: cross-validated partial-likelihood deviance, as R's ``cv.glmnet(family = "cox")``.

A fold is judged by what it adds to the log-likelihood of all patients (``grouped = TRUE``): the deviance of everybody
minus that of the patients trained on, both with the coefficients that the fold never saw. So a fold with three deaths
is still compared within whole risk sets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from prognode.errors import NotEstimable
from prognode.statistics.lasso_cox import (
    LassoPath,
    breslow_loglik,
    death_times,
    lambda_grid,
    lasso_cox_path,
    walk,
)
from prognode.statistics.outcome import Floats, Outcome

Folds = NDArray[np.intp]
Rule = Literal["min", "1se"]
FOLDS = 10
LEAST_FOLDS = 3
RISING = 3.0
"""A quick search ends where the deviance has risen above its minimum by this many standard errors."""


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """The curve over lambda, and the two places that people choose from."""

    path: LassoPath
    """Fitted on all patients, at the same lambdas."""
    deviance: Floats
    """(m,) mean over folds per death."""
    standard_error: Floats
    """(m,) of that mean."""
    minimum: int
    """Place of the lowest deviance (``lambda.min``)."""
    one_se: int
    """Place of the largest lambda within one standard error of it (``lambda.1se``)."""
    folds: Folds
    """(n,) the fold of each patient, from 1."""

    def place(self, rule: Rule) -> int:
        """Index into the path for a rule."""
        return self.minimum if rule == "min" else self.one_se


def stratified_folds(outcome: Outcome, seed: int, count: int = FOLDS) -> Folds:
    """(n,) fold numbers from 1, drawn so that each fold has its share of deaths; the same seed gives the same folds.

    Raises NotEstimable for fewer than three deaths or patients than folds: a fold without a death judges nothing, so
    there are at most as many folds as deaths.
    """
    count = min(count, outcome.events)
    if count < LEAST_FOLDS:
        raise NotEstimable(f"{outcome.events} deaths: cross-validation needs at least {LEAST_FOLDS}")
    random = np.random.default_rng(seed)
    folds = np.empty(len(outcome), np.intp)
    start = 0
    for stratum in (outcome.event, ~outcome.event):
        members = random.permutation(np.flatnonzero(stratum))
        folds[members] = (np.arange(len(members)) + start) % count + 1
        start += len(members)
    return folds


def cross_validate(
    features: Floats, outcome: Outcome, folds: Folds, lambdas: Floats | None = None, *, quick: bool = False
) -> CrossValidation:
    """Cross-validate the path of features (n, p) over given folds (n,).

    ``lambdas`` default to the path's own. ``quick`` stops where the curve has plainly risen beyond its minimum, which
    a bootstrap that only asks for the minimum can afford.
    Raises NotEstimable where the path cannot be fitted, or no fold has deaths on both sides.
    """
    grid = lambda_grid(features, outcome) if lambdas is None else lambdas
    if not quick:
        path = lasso_cox_path(features, outcome, lambdas)
        deviance, error = _curve(features, outcome, folds, path.lambdas, rising=np.inf)
    else:
        deviance, error = _curve(features, outcome, folds, grid, rising=RISING)
        path = lasso_cox_path(features, outcome, grid[: len(deviance)])
    if not np.isfinite(deviance).any():
        raise NotEstimable("no fold has deaths inside and outside: the penalty cannot be cross-validated")
    minimum, one_se = _choose(deviance, error)
    return CrossValidation(path, deviance, error, minimum, one_se, folds)


def _choose(deviance: Floats, error: Floats) -> tuple[int, int]:
    """Places of the lowest deviance and of the largest lambda within a standard error of it."""
    minimum = int(np.flatnonzero(deviance <= np.nanmin(deviance))[0])
    return minimum, int(np.flatnonzero(deviance <= deviance[minimum] + error[minimum])[0])


def _curve(
    features: Floats, outcome: Outcome, folds: Folds, lambdas: Floats, rising: float
) -> tuple[Floats, Floats]:
    """Mean deviance per death over the folds and its standard error, up to where it rose by ``rising`` errors."""
    order = np.argsort(outcome.time, kind="stable")
    features, outcome, folds = features[order], outcome.of(order), folds[order]
    judging = [fold for fold in np.unique(folds) if _judges(outcome, folds == fold)]
    deaths = np.array([outcome.event[folds == fold].sum() for fold in judging], np.float64)
    walks = [_deviances(features, outcome, folds != fold, lambdas) for fold in judging]
    means: list[float] = []
    errors: list[float] = []
    for column in zip(*walks, strict=True):
        mean, error = _weighted(np.array(column) / deaths, deaths)
        means.append(mean)
        errors.append(error)
        lowest = int(np.argmin(means))
        if means[-1] > means[lowest] + rising * errors[lowest]:
            break
    return np.array(means), np.array(errors)


def _judges(outcome: Outcome, fold: NDArray[np.bool_]) -> bool:
    return bool(outcome.event[fold].any() and outcome.event[~fold].any())


def _weighted(values: Floats, weights: Floats) -> tuple[float, float]:
    """Weighted mean and its standard error over the folds that reached this lambda."""
    reached = np.isfinite(values)
    if reached.sum() < LEAST_FOLDS:
        return np.inf, np.nan
    values, weights = values[reached], weights[reached]
    mean = float(np.average(values, weights=weights))
    variance = float(np.average((values - mean) ** 2, weights=weights))
    return mean, float(np.sqrt(variance / (len(values) - 1)))


def _deviances(
    features: Floats, outcome: Outcome, rest: NDArray[np.bool_], lambdas: Floats
) -> Iterator[float]:
    """What the fold outside ``rest`` adds to the deviance at each lambda; NaN where the path of ``rest`` has ended."""
    everybody, trained = death_times(outcome), death_times(outcome.of(rest))
    constant = everybody.saturated - trained.saturated
    reached = 0
    for step in walk(features[rest], outcome.of(rest), lambdas):
        used = np.flatnonzero(step.coefficients)
        eta = features[:, used] @ step.coefficients[used]
        gained = breslow_loglik(everybody, eta) - breslow_loglik(trained, eta[rest])
        yield 2 * (constant - gained)
        reached += 1
    yield from (np.nan for _ in range(len(lambdas) - reached))
