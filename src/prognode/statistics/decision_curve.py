"""Whether treating by a risk prediction does more good than harm: the net benefit at each threshold probability.

At a threshold p, whoever flags a patient with a risk of p or more holds one treated death to be worth p / (1 - p)
needless treatments. Net benefit counts the deaths among the flagged, less the others at that rate, per patient of the
cohort: Vickers and Elkin (2006). Follow-up is censored, so deaths by the horizon t come from the Kaplan-Meier estimate
within the flagged: Vickers, Cronin, Elkin and Gonen (2008).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prognode.errors import NotEstimable
from prognode.statistics.kaplan_meier import kaplan_meier, nested_survival
from prognode.statistics.outcome import Floats, Outcome

PERCENTS = tuple(percent / 100 for percent in range(1, 100))
"""Threshold probabilities from 1 % to 99 %."""


@dataclass(frozen=True, slots=True)
class DecisionCurve:
    """Net benefit of models, and of treating everybody, at (k,) threshold probabilities; treating nobody has 0."""

    horizon: float
    thresholds: Floats
    models: Mapping[str, Floats]
    """By name, (k,) as :func:`net_benefit`: NaN where the flagged patients' follow-up does not tell."""
    treat_all: Floats

    @property
    def treat_none(self) -> Floats:
        return np.zeros(len(self.thresholds))


def decision_curve(
    risks: Mapping[str, ArrayLike], outcome: Outcome, horizon: float, thresholds: ArrayLike = PERCENTS
) -> DecisionCurve:
    """Net benefit of each model's (n,) predicted risks of death by ``horizon``, at (k,) thresholds inside 0..1.

    Raises as :func:`net_benefit`; NotEstimable also where the follow-up of all ends before the horizon with survivors,
    or nobody is there.
    """
    return DecisionCurve(
        horizon=horizon,
        thresholds=_thresholds(thresholds),
        models={name: net_benefit(risk, outcome, horizon, thresholds) for name, risk in risks.items()},
        treat_all=net_benefit_of_all(outcome, horizon, thresholds),
    )


def net_benefit(
    risk: ArrayLike, outcome: Outcome, horizon: float, thresholds: ArrayLike = PERCENTS
) -> Floats:
    """(k,) net benefit of flagging who has a risk (n,) of at least the threshold p, at (k,) thresholds::

        P(flagged) (F - (1 - F) p / (1 - p)),   F = 1 - S(horizon) by Kaplan-Meier within the flagged

    0 where nobody is flagged. NaN where the follow-up of the flagged ends before the horizon while some still lived:
    F is then unknown. R's dcurves gives NA at every end of follow-up before the horizon, so also where the last of
    the flagged has died and F is 1; and treat-all alike. Where both give a number, they are equal.
    Raises NotEstimable where nobody is there; ValueError where risks are not (n,) and in 0..1, or thresholds not (k,)
    and inside 0..1.
    """
    risks, limits = np.asarray(risk, np.float64), _thresholds(thresholds)
    if risks.shape != outcome.time.shape or not ((risks >= 0) & (risks <= 1)).all():
        raise ValueError(f"risks {risks.shape} must lie in 0..1, one for each of {len(outcome)} patients")
    if not len(outcome):
        raise NotEstimable("net benefit needs at least one patient")
    order = risks.argsort(kind="stable")
    return _benefit(outcome.of(order), np.searchsorted(risks[order], limits, "left"), horizon, limits)


def net_benefit_of_all(outcome: Outcome, horizon: float, thresholds: ArrayLike = PERCENTS) -> Floats:
    """(k,) net benefit of flagging everybody: F - (1 - F) p / (1 - p), F from the whole cohort.

    Raises NotEstimable where nobody is there, or the follow-up of all ends before the horizon with survivors.
    """
    curve = kaplan_meier(outcome)
    if horizon > curve.times[-1] and curve.survival[-1] > 0:
        raise NotEstimable("nobody's follow-up reaches the horizon of the decision curve")
    limits = _thresholds(thresholds)
    return _weighed(1 - float(curve.at(horizon)), limits)


def _thresholds(thresholds: ArrayLike) -> Floats:
    limits = np.asarray(thresholds, np.float64)
    if limits.ndim != 1 or not ((limits > 0) & (limits < 1)).all():
        raise ValueError("threshold probabilities must be (k,) and inside 0..1")
    return limits


def _benefit(ranked: Outcome, first_flagged: NDArray[np.intp], horizon: float, limits: Floats) -> Floats:
    """Net benefit where, of patients sorted by risk, those from ``first_flagged`` (k,) on are flagged."""
    flagged = len(ranked) - first_flagged
    benefit = np.zeros(len(limits))
    some = flagged > 0
    if not some.any():
        return benefit
    starts, place = np.unique(first_flagged[some], return_inverse=True)
    alive = nested_survival(ranked, starts, horizon)
    last = np.maximum.accumulate(ranked.time[::-1])[::-1][starts]
    alive[(last < horizon) & (alive > 0)] = np.nan
    benefit[some] = flagged[some] / len(ranked) * _weighed(1 - alive[place], limits[some])
    return benefit


def _weighed(deaths: Floats | float, limits: Floats) -> Floats:
    return np.asarray(deaths - (1 - deaths) * limits / (1 - limits), np.float64)
