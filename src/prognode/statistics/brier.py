"""How far predicted survival is from what happened: calibration and discrimination in one number.

The Brier score at a time is the mean squared difference between the predicted probability to live longer and the fact,
0 or 1. Patients lost before count through others' weights. It means something beside the score of a model that knows
no covariates and predicts the Kaplan-Meier curve for everybody: the share of that score which a model saves is the
scaled Brier score, or index of prediction accuracy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from prognode.errors import NotEstimable
from prognode.statistics.censoring import censoring_curve, death_weights
from prognode.statistics.kaplan_meier import kaplan_meier
from prognode.statistics.outcome import Floats, Outcome


@dataclass(frozen=True, slots=True)
class BrierScore:
    """Score of one model at one time, or its mean over the time from 0 to ``time``."""

    time: float
    score: float
    """0 is perfect; 0.25 is what everybody's 50 % gets."""
    null: float
    """Of the Kaplan-Meier curve of the same patients."""

    @property
    def scaled(self) -> float:
        """1 - score / null: 1 is perfect, 0 no better than the null model, negative worse. NaN where null is 0."""
        return float(_scaled(np.array([self.score]), np.array([self.null]))[0])


@dataclass(frozen=True, slots=True)
class BrierCurve:
    """Scores of one model at m times, as :class:`BrierScore` each."""

    times: Floats
    """(m,), ascending, in the unit of the outcome."""
    score: Floats
    """(m,)"""
    null: Floats
    """(m,)"""

    @property
    def scaled(self) -> Floats:
        """(m,), 1 - score / null; NaN where null is 0: nobody has died yet."""
        return _scaled(self.score, self.null)


def brier_score(predicted: ArrayLike, outcome: Outcome, time: float) -> BrierScore:
    """Brier score of (n,) predicted probabilities to live longer than ``time``; otherwise as :func:`brier_curve`."""
    curve = brier_curve(np.asarray(predicted, np.float64)[..., None], outcome, [time])
    return BrierScore(float(time), float(curve.score[0]), float(curve.null[0]))


def brier_curve(predicted: ArrayLike, outcome: Outcome, times: ArrayLike) -> BrierCurve:
    """Brier scores of (n, m) predicted probabilities that n patients live longer than m ascending times (m,).

    Mean over the patients of (1 - S)^2 / G(t) for those followed beyond t, S^2 / G(T-) for those dead by t, and 0 for
    those lost by t, with the Kaplan-Meier estimate G of censoring: Graf et al. 1999. Equals R's
    ``pec(..., cens.model = "marginal", splitMethod = "none")$AppErr`` and ``riskRegression::Score``.

    Raises NotEstimable for a time beyond the last follow-up; ValueError for shapes that do not fit, probabilities outside
    0..1, and times that do not ascend.
    """
    chances, at = _checked(predicted, outcome, times)
    if at[-1] > outcome.time.max(initial=-1.0):
        raise NotEstimable(f"nobody is followed to {at[-1]:g}, so there is no Brier score")
    dead, alive = _weights(outcome, at)
    null = kaplan_meier(outcome).at(at)
    return BrierCurve(at, _mean_square(chances, dead, alive), _mean_square(null[None, :], dead, alive))


def integrated_brier_score(curve: BrierCurve, end: float | None = None) -> BrierScore:
    """Scores averaged over the time from 0 to ``end`` (the last time), each holding until the next time.

    As R's ``pec::crps(pec(...), times = end, start = 0)`` on the grid of these times and 0: predictions are 1 at time 0,
    so the score is 0 there. The finer the grid the better; R's default is all distinct times of the cohort.

    Raises NotEstimable for an end beyond the last time; ValueError where it is not above 0.
    """
    stop = float(curve.times[-1]) if end is None else end
    if stop <= 0:
        raise ValueError("an integrated score needs an end above 0")
    if stop > curve.times[-1]:
        raise NotEstimable(f"the scores end before {stop:g}")
    inside = curve.times < stop
    held = np.diff(curve.times[inside], append=stop)
    mean = (np.array([curve.score[inside], curve.null[inside]]) @ held) / stop
    return BrierScore(stop, float(mean[0]), float(mean[1]))


def _checked(predicted: ArrayLike, outcome: Outcome, times: ArrayLike) -> tuple[Floats, Floats]:
    chances, at = np.asarray(predicted, np.float64), np.asarray(times, np.float64)
    if at.ndim != 1 or not len(at) or chances.shape != (len(outcome), len(at)):
        raise ValueError(
            f"predictions {chances.shape} must be ({len(outcome)} patients, as many times as {at.shape})"
        )
    if not ((chances >= 0) & (chances <= 1)).all():
        raise ValueError("a predicted probability is not from 0 to 1")
    if not (np.isfinite(at).all() and at[0] >= 0 and (np.diff(at) > 0).all()):
        raise ValueError("times must ascend from 0 or later")
    return chances, at


def _weights(outcome: Outcome, times: Floats) -> tuple[Floats, Floats]:
    """(n, m) weights of patients dead by, and alive after, each time."""
    beyond = outcome.time[:, None] > times
    followed = censoring_curve(outcome).at(times)
    dead = np.where(beyond, 0.0, death_weights(outcome, outcome.event)[:, None])
    return dead, np.divide(1.0, followed, out=np.zeros(beyond.shape), where=beyond)


def _mean_square(survival: Floats, dead: Floats, alive: Floats) -> Floats:
    return np.asarray((dead * survival**2 + alive * (1 - survival) ** 2).mean(0), np.float64)


def _scaled(score: Floats, null: Floats) -> Floats:
    share = np.full(len(null), np.nan)
    np.divide(score, null, out=share, where=null > 0)
    return 1 - share
