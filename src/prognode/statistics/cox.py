"""The Cox model: its fit, and the baseline hazard that turns the fit into survival.

The fit is this project's own because every bootstrap repeats it hundreds of times, and because a fit must end at the
maximum or say that there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg.lapack import dposv
from scipy.special import chdtrc, ndtr, ndtri

from prognode.errors import NotEstimable
from prognode.statistics.outcome import Bools, Floats, Outcome
from prognode.statistics.partial_likelihood import (
    PartialLikelihood,
    RiskSets,
    Ties,
    partial_likelihood,
    risk_sets,
)

CONSTANT = 1e-13
"""A standard deviation below this share of the largest value is rounding: the column does not vary."""
DEPENDENT = 1e-11
"""Share of a column's information that is not explained by the others, below which it has none of its own."""
R_SETTLED = 1e-9
"""Relative gain of the log-likelihood at which R's ``coxph`` stops."""
AT_MAXIMUM = 1e-20
"""Squared Newton step, in standard errors, at which the maximum is reached."""
AT_ROUNDING = 1e-14
"""The same where ill-conditioned columns let rounding stop the fit first."""
NEAR_MAXIMUM = 1e-2
"""The same from which a small gain means that little is left, not that a step was halved many times."""
STEPS_TO_SETTLE = 50
STEPS_AFTER = 4
"""At a finite maximum two more steps end the fit; a coefficient without bound goes on at an even pace."""
HALVINGS = 30
ROUNDING = 1e-12
"""Relative loss of log-likelihood that a step up may show."""
DRIFT = 1e-4
"""Share of the longest lasting step (columns in standard deviations) from which a column takes part in it."""
INVOLVED = 1e-4
"""Weight in a direction without information from which a column belongs to it."""
NO_END = "so its hazard ratio has no finite estimate"
LISTED = 8
"""Columns that a sentence names."""
LARGEST_EXPONENT = 700.0


@dataclass(frozen=True, slots=True)
class ChiSquareTest:
    """A statistic with its degrees of freedom and its upper tail probability."""

    statistic: float
    df: int
    p: float


def chi_square_test(statistic: float, df: int) -> ChiSquareTest:
    """The test of a chi-square statistic. Raises NotEstimable with no degree of freedom: there is nothing to test."""
    if df == 0:
        raise NotEstimable("a model without covariates has nothing to test")
    return ChiSquareTest(float(statistic), df, float(chdtrc(df, max(statistic, 0.0))))


@dataclass(frozen=True, slots=True)
class CoxFit:
    """A Cox model fitted to n patients: what R's ``coxph`` and its summary report. Made by :func:`fit_cox`."""

    names: tuple[str, ...]
    coefficients: Floats
    """(p,) log hazard ratios per unit."""
    covariance: Floats
    """(p, p) inverse of the information."""
    loglik_null: float
    loglik: float
    score_statistic: float
    """Of the score test that all coefficients are 0."""
    n: int
    events: int
    ties: Ties
    infinite: Bools
    """(p,) True where the likelihood rises without end: coefficient, standard error and Wald test mean nothing."""

    @property
    def standard_errors(self) -> Floats:
        """(p,) square roots of the variances."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def z(self) -> Floats:
        """(p,) Wald statistics."""
        return self.coefficients / self.standard_errors

    @property
    def p_values(self) -> Floats:
        """(p,) two-sided Wald p of each coefficient."""
        return np.asarray(2 * ndtr(-np.abs(self.z)), np.float64)

    @property
    def hazard_ratios(self) -> Floats:
        """(p,) exp(coefficient)."""
        return np.exp(self.coefficients)

    @property
    def aic(self) -> float:
        """-2 loglik + 2 p, as R's ``AIC(coxph)``."""
        return -2 * self.loglik + 2 * len(self.names)

    @property
    def bic(self) -> float:
        """-2 loglik + p log(number of deaths), as R's ``BIC(coxph)``."""
        return float(-2 * self.loglik + len(self.names) * np.log(self.events))

    @property
    def likelihood_ratio_test(self) -> ChiSquareTest:
        """Against the model without covariates. Raises NotEstimable with p = 0, as the other two tests do."""
        return chi_square_test(2 * (self.loglik - self.loglik_null), len(self.names))

    @property
    def wald_test(self) -> ChiSquareTest:
        """Of all coefficients together: b' V^-1 b."""
        b = self.coefficients
        return chi_square_test(float(b @ np.linalg.solve(self.covariance, b)), len(b))

    @property
    def score_test(self) -> ChiSquareTest:
        """Rao's test at 0; for one 0/1 covariate without ties the log-rank test."""
        return chi_square_test(self.score_statistic, len(self.names))

    def confidence_interval(self, level: float = 0.95) -> Floats:
        """(p, 2) Wald interval of the hazard ratios. Raises ValueError for a level outside (0, 1)."""
        if not 0 < level < 1:
            raise ValueError(f"a confidence level lies between 0 and 1, not at {level}")
        reach = float(ndtri((1 + level) / 2)) * self.standard_errors
        with np.errstate(over="ignore"):
            bounds: Floats = np.exp(self.coefficients[:, None] + reach[:, None] * np.array([-1.0, 1.0]))
        return bounds

    def linear_predictor(self, covariates: ArrayLike) -> Floats:
        """(m, p) covariates -> (m,) log relative hazard against x = 0, not centred."""
        return np.asarray(covariates, np.float64) @ self.coefficients


def fit_cox(
    covariates: ArrayLike,
    outcome: Outcome,
    *,
    ties: Ties = "efron",
    names: Sequence[str] = (),
    infinite: Literal["raise", "flag"] = "raise",
) -> CoxFit:
    """Maximum partial likelihood of ``covariates`` (n, p), as R's ``coxph`` (Cox 1972), by Newton steps from 0.

    R's iteration, carried on until the Newton step is below 1e-10 standard errors. Where the likelihood has no maximum
    (separation, a factor level without deaths), ``infinite="flag"`` returns R's last iterate with those columns marked,
    and ``"raise"`` refuses. With p = 0 the fit holds the null log-likelihood and has no test.

    Raises NotEstimable when nobody died, a column does not vary, columns depend on each other, or a coefficient has no
    finite estimate; ValueError for covariates that are not finite or shapes that do not agree.
    """
    checked = checked_covariates(covariates, outcome)
    labels = tuple(names) or tuple(f"x{number + 1}" for number in range(checked.shape[1]))
    if len(labels) != checked.shape[1]:
        raise ValueError(f"{len(labels)} names for {checked.shape[1]} columns")
    sets = risk_sets(outcome, ties)
    x, scale = _standardised(checked[sets.order], labels)
    start, end, drift = _maximise(sets, x, labels)
    endless = _lasting(drift)
    if infinite == "raise" and endless.any():
        raise NotEstimable(
            f"{_listed(labels, endless)}: some values go with no death or with every one, {NO_END}"
        )
    return CoxFit(
        names=labels,
        coefficients=end.beta / scale,
        covariance=np.linalg.inv(end.at.information) / np.outer(scale, scale),
        loglik_null=start.at.loglik,
        loglik=end.at.loglik,
        score_statistic=start.length,
        n=len(outcome),
        events=outcome.events,
        ties=ties,
        infinite=endless,
    )


def checked_covariates(covariates: ArrayLike, outcome: Outcome, columns: int | None = None) -> Floats:
    """(n, p) finite covariates of the n patients of an outcome; p is ``columns`` where that is given.

    Raises ValueError for another shape and for a value that is not finite.
    """
    x = np.asarray(covariates, np.float64)
    if x.ndim != 2 or len(x) != len(outcome):
        raise ValueError(
            f"covariates {x.shape} must be (n, p) for the {len(outcome)} patients of the outcome"
        )
    if columns not in (None, x.shape[1]):
        raise ValueError(f"{x.shape[1]} columns for a fit of {columns}")
    if not np.isfinite(x).all():
        raise ValueError("a covariate is not finite")
    return x


def _listed(names: Sequence[str], which: Bools) -> str:
    chosen = [name for name, named in zip(names, which, strict=True) if named]
    rest = f" and {len(chosen) - LISTED} more" if len(chosen) > LISTED else ""
    return ", ".join(chosen[:LISTED]) + rest


def _standardised(x: Floats, names: Sequence[str]) -> tuple[Floats, Floats]:
    """(n, p) columns less their means, in standard deviations; and these (p,). The maximum is the same."""
    largest = np.abs(x).max(axis=0)
    x = x - x.mean(axis=0)
    scale = np.sqrt((x * x).mean(axis=0))
    constant = scale <= CONSTANT * largest
    if constant.any():
        raise NotEstimable(f"{_listed(names, constant)} does not vary")
    return x / scale, scale


@dataclass(frozen=True, slots=True)
class _Point:
    """One place of the ascent, with the Newton step that leads on from it."""

    beta: Floats
    at: PartialLikelihood
    step: Floats
    length: float
    """Squared, in standard errors; infinite where the information is not positive definite."""
    own: Floats
    """(p,) information of each column that those before it do not share."""


def _point(sets: RiskSets, x: Floats, beta: Floats) -> _Point:
    at = partial_likelihood(sets, x, beta)
    if len(beta) == 0:
        return _Point(beta, at, beta, 0.0, beta)
    if not np.isfinite(at.loglik):
        return _Point(beta, at, beta, np.inf, beta)
    root, step, failed = dposv(at.information, at.score)
    if failed:
        return _Point(beta, at, beta, np.inf, np.zeros(len(beta)))
    return _Point(beta, at, step, float(at.score @ step), np.diag(root) ** 2)


def _maximise(sets: RiskSets, x: Floats, names: Sequence[str]) -> tuple[_Point, _Point, Floats]:
    """The point at 0, the point at the end, and (p,) the step that does not die away: zeros at a maximum."""
    here = start = _point(sets, x, np.zeros(x.shape[1]))
    _require_information(start, len(sets.deaths), names)
    settled, left = None, STEPS_TO_SETTLE
    while here.length > AT_MAXIMUM and left > 0:
        there = _uphill(sets, x, here)
        if there is None:
            break
        if settled is None and _has_settled(here, there):
            settled, left = there, STEPS_AFTER + 1
        here, left = there, left - 1
    if here.length <= AT_ROUNDING:
        return start, here, np.zeros(x.shape[1])
    if settled is None:
        raise NotEstimable(f"{_listed(names, _lasting(here.step))}: the Cox fit does not converge, {NO_END}")
    return start, settled, here.step


def _lasting(step: Floats) -> Bools:
    """(p,) the columns that take part in a step."""
    size = np.abs(step)
    return np.asarray(size > DRIFT * size.max(initial=0.0), np.bool_)


def _uphill(sets: RiskSets, x: Floats, here: _Point) -> _Point | None:
    """The Newton step, halved until it does not lead down; None when no part of it leads on."""
    lowest = here.at.loglik - ROUNDING * abs(here.at.loglik)
    for halving in range(HALVINGS):
        there = _point(sets, x, here.beta + here.step / 2**halving)
        if there.at.loglik >= lowest and np.isfinite(there.length):
            return there
    return None


def _has_settled(here: _Point, there: _Point) -> bool:
    gain = abs(there.at.loglik - here.at.loglik)
    return gain <= R_SETTLED * max(abs(there.at.loglik), 1.0) and there.length < NEAR_MAXIMUM


def _require_information(start: _Point, deaths: int, names: Sequence[str]) -> None:
    """Raise unless every column says something at 0 that the others do not."""
    information = start.at.information / deaths
    own = np.diag(information)
    if (start.own > DEPENDENT * deaths * own).all() and (own > DEPENDENT).all():
        return
    silent = own <= DEPENDENT
    if silent.any():
        raise NotEstimable(
            f"{_listed(names, silent)} does not vary among the patients at risk when somebody dies"
        )
    values, vectors = np.linalg.eigh(information / np.sqrt(np.outer(own, own)))
    involved = np.abs(vectors[:, values <= max(DEPENDENT, values[0])]).max(axis=1) > INVOLVED
    raise NotEstimable(
        f"{_listed(names, involved)} depend on each other linearly: one follows from the others"
    )


@dataclass(frozen=True, slots=True)
class BaselineHazard:
    """Cumulative hazard as a right-continuous step function. Made by :func:`baseline_hazard`.

    It is kept at a linear predictor inside the data, because at covariates 0, which may lie far away, it can leave the
    range of a double.
    """

    time: Floats
    """(G,) distinct times of death, ascending."""
    hazard_at_centre: Floats
    """(G,) cumulative hazard of a patient whose linear predictor is ``centre``."""
    centre: float
    follow_up: float
    """Longest follow-up: beyond it the last value stands, as in R, though nobody was seen there."""

    @property
    def hazard(self) -> Floats:
        """(G,) cumulative hazard at covariates 0. Raises NotEstimable where a double cannot hold it."""
        if abs(self.centre) > LARGEST_EXPONENT:
            raise NotEstimable("covariates of 0 lie too far from the data for a baseline hazard there")
        hazard: Floats = self.hazard_at_centre * np.exp(-self.centre)
        return hazard

    def steps_until(self, t: float) -> int:
        """How many steps lie at or before ``t``. Raises ValueError for a time that is not a number."""
        if np.isnan(t):
            raise ValueError("survival is asked for at a time that is not a number")
        return int(self.time.searchsorted(t, side="right"))


def _fitted(
    fit: CoxFit, covariates: ArrayLike, outcome: Outcome
) -> tuple[RiskSets, PartialLikelihood, Floats]:
    x = checked_covariates(covariates, outcome, len(fit.names))
    sets = risk_sets(outcome, fit.ties)
    lp = fit.linear_predictor(x)[sets.order]
    return sets, partial_likelihood(sets, lp[:, None], np.ones(1)), lp


def baseline_hazard(fit: CoxFit, covariates: ArrayLike, outcome: Outcome) -> BaselineHazard:
    """Cumulative hazard of the fit over the patients (n, p) it was made from.

    Efron's estimate for ties="efron" and Breslow's for "breslow", as R's ``survfit(coxph)``: at each death 1 / sum of
    exp(lp) over the risk set, which tied deaths leave share by share (Efron) or not (Breslow). Raises as
    :func:`fit_cox` does for the same arguments.
    """
    sets, at, lp = _fitted(fit, covariates, outcome)
    centre = float(lp.mean())
    steps = np.add.reduceat(1 / at.at_risk, sets.tie_start).cumsum()
    return BaselineHazard(sets.time, steps * np.exp(centre - lp.max()), centre, float(outcome.time.max()))


def survival_probability(baseline: BaselineHazard, lp: ArrayLike, t: float) -> Floats:
    """(n,) linear predictors (against x = 0) -> (n,) probability of living longer than ``t``: exp(-H0(t) exp(lp)).

    1 before the first death; beyond the last follow-up the last value, as R's ``summary(survfit, extend = TRUE)``.
    Raises ValueError for a time that is not a number.
    """
    steps = baseline.steps_until(t)
    distance = np.asarray(lp, np.float64) - baseline.centre
    if steps == 0:
        return np.ones_like(distance)
    with np.errstate(over="ignore"):
        survival: Floats = np.exp(-baseline.hazard_at_centre[steps - 1] * np.exp(distance))
    return survival


def martingale_residuals(fit: CoxFit, covariates: ArrayLike, outcome: Outcome) -> Floats:
    """(n,) death minus expected deaths of each patient, as R's ``residuals(coxph, type = "martingale")``.

    Raises as :func:`fit_cox` does for the same arguments.
    """
    sets, at, _ = _fitted(fit, covariates, outcome)
    residuals = np.empty(len(outcome))
    residuals[sets.order] = at.residuals
    return residuals
