"""The partial likelihood of the Cox model and its derivatives, over risk sets that are prepared once per outcome.

Fit, residuals, baseline hazard and the test of proportional hazards are all made of it. Patients lie in order of time,
so that a sum over everybody still at risk is a cumulative sum from the end; each death is one row, so that Efron's
correction for tied deaths (Efron 1977) is a subtraction per row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from prognode.errors import NotEstimable
from prognode.statistics.outcome import Floats, Index, Outcome

Ties = Literal["efron", "breslow"]


@dataclass(frozen=True, slots=True)
class RiskSets:
    """Who is at risk at each of E deaths, among n patients in order of time. Made by :func:`risk_sets`."""

    order: Index
    """(n,) patients by ascending time; all other positions count along it."""
    deaths: Index
    """(E,) position of each death."""
    first: Index
    """(E,) position of the first patient still at risk at the death's time; all later ones are at risk too."""
    correction: Floats
    """(E,) share of the tied deaths that has left the risk set: 0, 1/d, .. (d-1)/d (Efron), or 0 (Breslow)."""
    tie: Index
    """(E,) number of the death's distinct time, from 0."""
    tie_start: Index
    """(G,) the first death of each distinct time."""
    died_by: Index
    """(n,) how many deaths lie at or before the patient's time."""
    time: Floats
    """(G,) the distinct times of death, ascending."""
    corrected: bool
    """Whether any correction differs from 0."""

    def over_ties(self, values: Floats) -> Floats:
        """(E, ...) values of the deaths -> (E, ...): each death has the sum over the deaths at its time."""
        return np.add.reduceat(values, self.tie_start, axis=0)[self.tie]

    def spread(self, per_death: Floats) -> Floats:
        """(E,) hazard increments -> (n,) what each patient met: all up to the own time, corrected at an own death."""
        met = np.concatenate(([0.0], np.cumsum(per_death)))[self.died_by]
        if self.corrected:
            met[self.deaths] -= self.over_ties(self.correction * per_death)
        return met


def risk_sets(outcome: Outcome, ties: Ties = "efron") -> RiskSets:
    """Risk sets of an outcome of n patients. Raises NotEstimable when nobody died, ValueError for unknown ties."""
    if ties not in ("efron", "breslow"):
        raise ValueError(f"ties are efron or breslow, not {ties}")
    if not outcome.event.any():
        raise NotEstimable("nobody died, so no hazard can be estimated")
    order = outcome.time.argsort(kind="stable")
    time = outcome.time[order]
    deaths = outcome.event[order].nonzero()[0]
    at = time[deaths]
    earliest = at.searchsorted(at)
    rank = np.arange(len(at)) - earliest
    correction = rank / (at.searchsorted(at, side="right") - earliest)
    if ties == "breslow":
        correction = np.zeros(len(at))
    return RiskSets(
        order=order,
        deaths=deaths,
        first=time.searchsorted(at),
        correction=correction,
        tie=np.cumsum(rank == 0) - 1,
        tie_start=(rank == 0).nonzero()[0],
        died_by=at.searchsorted(time, side="right"),
        time=at[rank == 0],
        corrected=bool(correction.any()),
    )


@dataclass(frozen=True, slots=True)
class PartialLikelihood:
    """The log partial likelihood at one coefficient vector, and what its derivatives are made of."""

    loglik: float
    score: Floats
    """(p,) gradient."""
    information: Floats
    """(p, p) minus the second derivative."""
    residuals: Floats
    """(n,) martingale residuals in the order of time: death minus expected deaths."""
    means: Floats
    """(E, p) risk-weighted mean covariates of the risk set of each death."""
    risk: Floats
    """(n,) exp(lp - largest lp) in the order of time."""
    at_risk: Floats
    """(E,) sum of ``risk`` over the risk set of each death."""


def _from_the_end(values: Floats) -> Floats:
    return values[::-1].cumsum(axis=0)[::-1]


def _over_risk_sets(sets: RiskSets, values: Floats) -> Floats:
    total = _from_the_end(values)[sets.first]
    if sets.corrected:
        share = sets.correction if values.ndim == 1 else sets.correction[:, None]
        total -= share * sets.over_ties(values[sets.deaths])
    return total


def partial_likelihood(sets: RiskSets, x: Floats, beta: Floats) -> PartialLikelihood:
    """Log partial likelihood, score and information at ``beta`` (p,), for ``x`` (n, p) in the order of ``sets``.

    Efron's or Breslow's treatment of ties, as the risk sets were made. With w the expected deaths of each patient the
    score is x'(death - w), and the information x' diag(w) x - sum over deaths of mean mean'. The log-likelihood is not
    finite where the linear predictor spans more than the range of a double.
    """
    lp = x @ beta
    lp -= lp.max()
    risk = np.exp(lp)
    weighted = risk[:, None] * x
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        at_risk = _over_risk_sets(sets, risk)
        means = _over_risk_sets(sets, weighted) / at_risk[:, None]
        met = sets.spread(1 / at_risk)
        residuals = -risk * met
        residuals[sets.deaths] += 1
        return PartialLikelihood(
            loglik=float(lp[sets.deaths].sum() - np.log(at_risk).sum()),
            score=residuals @ x,
            information=x.T @ (met[:, None] * weighted) - means.T @ means,
            residuals=residuals,
            means=means,
            risk=risk,
            at_risk=at_risk,
        )


def weighted_information(sets: RiskSets, x: Floats, at: PartialLikelihood, weights: Floats) -> Floats:
    """(p, p) sum over deaths of weight (E,) times the covariance of ``x`` (n, p) in the death's risk set."""
    met = sets.spread(weights / at.at_risk)
    return x.T @ ((met * at.risk)[:, None] * x) - at.means.T @ (weights[:, None] * at.means)
