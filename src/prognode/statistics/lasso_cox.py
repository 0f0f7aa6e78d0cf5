"""The LASSO-Cox path: which of thousands of features carry prognosis (paper, Building of the DL-based radiomics signature).

Solves ``min -l(beta) / n + lambda * |beta|_1`` over a falling sequence of lambda, l being Cox's partial log-likelihood
with Breslow's treatment of ties, on columns of unit variance: the problem of R's ``glmnet(x, y, family = "cox")``, on
glmnet's scale of lambda. Where glmnet descends one coordinate at a time to a loose tolerance, this solves the
Karush-Kuhn-Tucker equations of the features that are in the model by Newton's method, since they are few. A feature
enters when its gradient exceeds lambda and leaves when its coefficient reaches zero. Converged means 1e-9 of lambda, so
the result is the optimum and not a neighbourhood of it.

A patient censored at the very time of a death is at risk of it, as in R's ``coxph``; glmnet 4.1 drops some of these
from the risk set, depending on how it sorted them, so its path differs where such ties occur.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from prognode.errors import NotEstimable
from prognode.statistics.outcome import Floats, Outcome

Integers = NDArray[np.intp]

KKT_TOLERANCE = 1e-9
"""Of lambda: how far a gradient may be from where the optimum has it."""
NEWTON_STEPS = 60
SHORTEST_STEP = 1e-8
EXPLAINED_ALL = 0.999
EXPLAINED_NO_MORE = 1e-5
"""A path ends where it explains nearly all deviance, or hardly more than one step before (glmnet's devmax and fdev)."""
LEAST_STEPS = 5


@dataclass(frozen=True, slots=True)
class LassoPath:
    """Solutions for a falling sequence of lambda, on the features' own scale."""

    lambdas: Floats
    """(m,), falling; shorter than what was asked for where the path ended early."""
    coefficients: Floats
    """(m, p) log hazard ratio per unit of a feature; 0 for what is not selected and for constant columns."""
    deviance_ratio: Floats
    """(m,) share of the null deviance that is explained."""
    null_deviance: float

    def selected(self, place: int) -> Integers:
        """Which features have a coefficient at ``lambdas[place]``, ascending."""
        return np.flatnonzero(self.coefficients[place])


@dataclass(frozen=True, slots=True)
class DeathTimes:
    """What Breslow's partial likelihood needs of an outcome, whose patients are sorted by ascending time."""

    events: Floats
    """(n,) 1 at a death."""
    starts: Integers
    """(g,) first patient still at risk at each distinct time of death."""
    deaths: Floats
    """(g,) deaths at that time."""
    passed: Integers
    """(n,) how many distinct times of death lie at or before a patient's own time."""

    @property
    def saturated(self) -> float:
        """Log-likelihood of a model that foresees every death: ``-sum(d log d)``."""
        return -float(self.deaths @ np.log(self.deaths))


def death_times(ascending: Outcome) -> DeathTimes:
    """Deaths and risk sets of an outcome that is sorted by time. Raises NotEstimable when nobody died."""
    if not ascending.events:
        raise NotEstimable("nobody died: there is no partial likelihood")
    times, deaths = np.unique(ascending.time[ascending.event], return_counts=True)
    return DeathTimes(
        events=ascending.event.astype(np.float64),
        starts=np.searchsorted(ascending.time, times, side="left"),
        deaths=deaths.astype(np.float64),
        passed=np.searchsorted(times, ascending.time, side="right"),
    )


def breslow_loglik(sets: DeathTimes, eta: Floats) -> float:
    """Partial log-likelihood of linear predictors (n,), in the order of ``sets``, however far these lie apart."""
    log_at_risk = np.logaddexp.accumulate(eta[::-1])[::-1][sets.starts]
    return float(sets.events @ eta - sets.deaths @ log_at_risk)


@dataclass(frozen=True, slots=True)
class _Point:
    """The loss and its derivatives by eta, at one eta."""

    loss: float
    weights: Floats
    """(n,) exp(eta), scaled."""
    at_risk: Floats
    """(g,) sum of the weights of those at risk."""
    by_eta: Floats
    """(n,) gradient of the loss."""
    curvature: Floats
    """(n,) weight times cumulative hazard: the diagonal part of the Hessian by eta, times n."""


def _point(sets: DeathTimes, eta: Floats) -> _Point:
    n, top = len(eta), float(eta.max())
    weights = np.exp(eta - top)
    at_risk = weights[::-1].cumsum()[::-1][sets.starts]
    # predictors too far apart for a double: infinitely bad, so that no step leads there
    at_risk = np.where(at_risk > 0, at_risk, np.nan)
    hazard = np.concatenate(([0.0], (sets.deaths / at_risk).cumsum()))
    curvature = weights * hazard[sets.passed]
    loss = -float(sets.events @ eta - sets.deaths @ (np.log(at_risk) + top)) / n
    return _Point(
        loss if np.isfinite(loss) else np.inf, weights, at_risk, (curvature - sets.events) / n, curvature
    )


def _hessian(sets: DeathTimes, at: _Point, columns: Floats) -> Floats:
    """(k, k) second derivative of the loss by the coefficients of ``columns`` (n, k)."""
    below = (at.weights[:, None] * columns)[::-1].cumsum(axis=0)[::-1][sets.starts]
    means = below * (np.sqrt(sets.deaths) / at.at_risk)[:, None]
    return np.asarray((columns.T @ (at.curvature[:, None] * columns) - means.T @ means) / len(columns))


class _Solver:
    """Walks down the path; holds the coefficients of the features that are in the model."""

    def __init__(self, columns: Floats, sets: DeathTimes) -> None:
        self.columns = columns  # (n, p), standardised, patients by ascending time
        self.by_feature = np.ascontiguousarray(columns.T)
        self.sets = sets
        self.chosen: list[int] = []
        self.beta = np.zeros(0)
        self.signs = np.zeros(0)
        self.active = columns[:, []]
        self.at = _point(sets, np.zeros(len(columns)))

    def gradient(self) -> Floats:
        """(p,) gradient of the loss."""
        return np.asarray(self.by_feature @ self.at.by_eta)

    def solve(self, penalty: float) -> bool:
        """Move to the optimum at ``penalty``; False when Newton's method does not get there."""
        limit = penalty * (1 + KKT_TOLERANCE)
        for _ in range(4 * self.columns.shape[0]):
            if not self._converge(penalty):
                return False
            gradient = self.gradient()
            gradient[self.chosen] = 0.0
            beyond = np.flatnonzero(np.abs(gradient) > limit)
            if not len(beyond):
                return True
            self._enter(beyond, gradient, penalty)
        return False

    def _enter(self, beyond: Integers, gradient: Floats, penalty: float) -> None:
        """Take the features in whose gradient exceeds the penalty; only the farthest where they disturb each other."""
        self._add(beyond, -np.sign(gradient[beyond]))
        direction, unique = self._direction(penalty)
        inward = direction[-len(beyond) :] * self.signs[-len(beyond) :] <= 0
        if len(beyond) > 1 and (inward.any() or not unique):
            farthest = beyond[[np.argmax(np.abs(gradient[beyond]))]]
            self._keep(np.arange(len(self.chosen)) < len(self.chosen) - len(beyond))
            self._add(farthest, -np.sign(gradient[farthest]))

    def _add(self, features: Integers, signs: Floats) -> None:
        self.chosen += [int(feature) for feature in features]
        self.beta = np.concatenate((self.beta, np.zeros(len(features))))
        self.signs = np.concatenate((self.signs, signs))
        self.active = self.columns[:, self.chosen]

    def _keep(self, kept: NDArray[np.bool_]) -> None:
        self.chosen = [feature for feature, stays in zip(self.chosen, kept, strict=True) if stays]
        self.beta, self.signs, self.active = self.beta[kept], self.signs[kept], self.active[:, kept]

    def _residual(self, penalty: float) -> Floats:
        return np.asarray(self.active.T @ self.at.by_eta + penalty * self.signs)

    def _direction(self, penalty: float) -> tuple[Floats, bool]:
        """Newton's step for the features in the model, and whether it is the only one."""
        hessian, residual = _hessian(self.sets, self.at, self.active), self._residual(penalty)
        _, step, fault = lapack.dposv(hessian, -residual)
        if fault:  # features that are copies of each other as far as the deaths can tell
            step = np.linalg.lstsq(hessian, -residual, rcond=1e-10)[0]
        return np.asarray(step), not fault

    def _converge(self, penalty: float) -> bool:
        """Solve for the features in the model, dropping those whose coefficient reaches zero."""
        for _ in range(NEWTON_STEPS):
            if not self.chosen or np.abs(self._residual(penalty)).max() <= KKT_TOLERANCE * penalty:
                return True
            if not self._step(self._direction(penalty)[0], penalty):
                return False
        return False

    def _step(self, direction: Floats, penalty: float) -> bool:
        """Go along ``direction``, at most to where a coefficient reaches zero, and only downhill."""
        inward = direction * self.signs < 0
        lengths = np.full(len(direction), np.inf)
        lengths[inward] = -self.beta[inward] / direction[inward]
        length, along = min(1.0, float(lengths.min())), self.active @ direction
        before = self.at.loss + penalty * float(self.signs @ self.beta)
        slope = float(direction @ self._residual(penalty))
        eta = self.active @ self.beta
        hit = lengths <= length
        while length > SHORTEST_STEP or hit.any():
            beta, at = self.beta + length * direction, _point(self.sets, eta + length * along)
            if at.loss + penalty * float(self.signs @ beta) <= before + 1e-4 * length * slope + 1e-14:
                self.beta, self.at = beta, at
                if hit.any():
                    self.beta[hit] = 0.0
                    self._keep(~hit)
                return True
            length, hit = length / 2, np.zeros_like(hit)
        return False


def standardised(features: Floats) -> tuple[Floats, Floats, Integers]:
    """(columns of mean 0 and variance 1 (n, q), their standard deviations (q,), which features they are (q,)).

    Variance is the mean square, as glmnet's; columns without variance are left out.
    """
    centred = features - features.mean(axis=0)
    spread = np.sqrt((centred**2).mean(axis=0))
    varying = np.flatnonzero(spread > 1e-12 * np.maximum(1.0, np.abs(features).max(axis=0)))
    return centred[:, varying] / spread[varying], spread[varying], varying


def largest_lambda(features: Floats, outcome: Outcome) -> float:
    """The smallest lambda that selects nothing. Raises NotEstimable as :func:`lasso_cox_path`."""
    columns, sets, _, _ = _prepared(features, outcome)
    return float(np.abs(columns.T @ _point(sets, np.zeros(len(columns))).by_eta).max())


def lambda_grid(features: Floats, outcome: Outcome, count: int = 100) -> Floats:
    """(count,) falling from :func:`largest_lambda` in equal ratios, to a hundredth of it where patients are fewer than
    features and a ten-thousandth elsewhere, as glmnet.
    """
    smallest = 0.01 if features.shape[0] < features.shape[1] else 1e-4
    return largest_lambda(features, outcome) * np.geomspace(1.0, smallest, count)


def _prepared(features: Floats, outcome: Outcome) -> tuple[Floats, DeathTimes, Floats, Integers]:
    if features.ndim != 2 or features.shape[0] != len(outcome):
        raise ValueError(f"features {features.shape} do not fit {len(outcome)} patients")
    if not np.isfinite(features).all():
        raise ValueError("a feature is not finite")
    order = np.argsort(outcome.time, kind="stable")
    sets = death_times(outcome.of(order))
    columns, spread, varying = standardised(features[order])
    if not len(varying):
        raise NotEstimable("every feature is constant: there is nothing to select from")
    return columns, sets, spread, varying


def lasso_cox_path(
    features: Floats, outcome: Outcome, lambdas: Sequence[float] | Floats | None = None
) -> LassoPath:
    """Solve the path for features (n, p).

    ``lambdas`` (falling) default to :func:`lambda_grid`; that path then ends early as glmnet's does, where it explains
    0.999 of the deviance or no more than the step before. Given lambdas are all solved. Either path ends where the
    equations have no solution that can be found (more features in the model than the deaths can tell apart).
    Raises NotEstimable when nobody died or every feature is constant, ValueError for features that are not finite.
    """
    grid = lambda_grid(features, outcome) if lambdas is None else np.asarray(lambdas, np.float64)
    found: list[Floats] = []
    ratios: list[float] = []
    null = 0.0
    for step in walk(features, outcome, grid):
        found.append(step.coefficients)
        ratios.append(step.deviance_ratio)
        null = step.null_deviance
        if lambdas is None and _is_explained(ratios):
            break
    shape = (len(found), features.shape[1])
    return LassoPath(grid[: len(found)], np.array(found).reshape(shape), np.array(ratios), null)


@dataclass(frozen=True, slots=True)
class PathStep:
    """The solution at one lambda."""

    coefficients: Floats
    """(p,) on the features' own scale."""
    deviance_ratio: float
    null_deviance: float


def walk(features: Floats, outcome: Outcome, lambdas: Sequence[float] | Floats) -> Iterator[PathStep]:
    """The path of :func:`lasso_cox_path` one falling lambda at a time, for who may not need all of it."""
    columns, sets, spread, varying = _prepared(features, outcome)
    solver, n = _Solver(columns, sets), len(columns)
    null = 2 * (sets.saturated + n * solver.at.loss)
    for penalty in lambdas:
        if not solver.solve(float(penalty)):
            return
        coefficients = np.zeros(features.shape[1])
        coefficients[varying[solver.chosen]] = solver.beta / spread[solver.chosen]
        yield PathStep(coefficients, 1 - 2 * (sets.saturated + n * solver.at.loss) / null, null)


def _is_explained(ratios: Sequence[float]) -> bool:
    if len(ratios) < LEAST_STEPS:
        return False
    return ratios[-1] > EXPLAINED_ALL or ratios[-1] - ratios[-2] < EXPLAINED_NO_MORE * ratios[-1]
