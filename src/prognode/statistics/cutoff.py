"""Where to divide a training cohort into low and high risk: the cutoff that the other cohorts then take as it is.

High risk is a score strictly above the cutoff. A cutoff that is searched is always an observed score, the highest one
of the low-risk group, so that the groups of the training cohort are those that were compared; how far the gap above it
reaches does not move it. Only the median may lie between two scores.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc
from scipy.stats import norm

from prognode.errors import NotEstimable
from prognode.statistics.kaplan_meier import (
    KaplanMeier,
    death_places,
    kaplan_meier,
    nested_at_risk,
    nested_survival,
)
from prognode.statistics.outcome import Floats, Outcome

OPTIMISTIC = (
    "The cutoff was chosen where the groups differ most, so the p value of their log-rank test in the same patients "
    "is optimistic; the adjusted p value allows for the choice."
)
"""Stands beside every figure of a cutoff by maximal log-rank in the cohort that chose it."""

EQUAL = 1e-12
"""Relative difference up to which two criteria count as equal: they come out of sums in different orders."""


@dataclass(frozen=True, slots=True)
class MaxLogRank:
    """The cutoff with the largest log-rank chi-square, and the curve it was chosen from."""

    cutoff: float
    chi_square: float
    """Log-rank chi-square (1 df) of the two groups, as R's ``survdiff``."""
    naive_p: float
    """Its p value as if the cutoff had been given: see OPTIMISTIC."""
    adjusted_p: float
    """For the largest of all the tests, by Lausen and Schumacher (1992)."""
    candidates: Floats
    """(k,) cutoffs compared, ascending."""
    chi_squares: Floats
    """(k,) log-rank chi-square of each; NaN where it is not determined (its variance is 0)."""


@dataclass(frozen=True, slots=True)
class Youden:
    """The cutoff with the largest sensitivity + specificity - 1 at one time, and the curve it was chosen from."""

    cutoff: float
    index: float
    sensitivity: float
    specificity: float
    candidates: Floats
    """(k,) cutoffs compared, ascending."""
    indices: Floats
    """(k,) Youden's index of each."""


def max_log_rank(score: ArrayLike, outcome: Outcome, min_fraction: float = 0.1) -> MaxLogRank:
    """The cutoff of (n,) scores whose groups differ most by the log-rank test; of equal ones, the lowest.

    Every observed score that leaves at least ``min_fraction`` of the patients on either side is tried. The chi-square
    is that of R's ``survdiff``, with the hypergeometric variance of each pair of groups (Mantel 1966). R's
    ``maxstat.test(smethod = "LogRank")`` takes the variance over permutations of the log-rank scores instead, and
    scores of its own where deaths are tied, so its statistic (the root of a chi-square) is near but not equal to the
    root of this one, and it may choose another cutoff; it also admits a group of floor(min_fraction n).
    Raises NotEstimable where no such cutoff exists, nobody died or no chi-square is determined; ValueError where
    scores are not (n,) and finite, or the fraction is not in 0..0.5 (0.5 not included).
    """
    if not 0 <= min_fraction < 0.5:
        raise ValueError("the smaller group's least fraction must be at least 0 and under 0.5")
    ranked, splits = _splits(score, outcome, min_fraction)
    chi_squares = _chi_squares(ranked, splits)
    if np.isnan(chi_squares).all():
        raise NotEstimable("no cutoff's log-rank test is determined: all patients at risk died at one time")
    best = _first_largest(chi_squares)
    chi_square = float(chi_squares[best])
    return MaxLogRank(
        cutoff=float(splits.cutoffs[best]),
        chi_square=chi_square,
        naive_p=float(chdtrc(1, chi_square)),
        adjusted_p=lausen_schumacher_p(float(np.sqrt(chi_square)), min_fraction),
        candidates=splits.cutoffs,
        chi_squares=chi_squares,
    )


def lausen_schumacher_p(statistic: float, min_fraction: float) -> float:
    """P value of the largest of all absolute standardised statistics b over cutoffs in [f, 1 - f] of the ranks.

    4 phi(b) / b + phi(b) (b - 1 / b) log((1 - f)^2 / f^2), phi the normal density: Lausen and Schumacher (1992), from
    the tail of a Brownian bridge divided by its standard deviation, good where it is small. 1 for b under 1, and cut
    to 1. Equals R's ``maxstat::pLausen92(b, f, 1 - f)`` but for the cut. NaN where f is 0: the bridge has no bound.
    """
    if min_fraction == 0:
        return float("nan")
    if statistic < 1:
        return 1.0
    density = float(norm.pdf(statistic))
    odds = (1 - min_fraction) / min_fraction
    tail = 4 * density / statistic + density * (statistic - 1 / statistic) * 2 * float(np.log(odds))
    return min(tail, 1.0)


def median(score: ArrayLike) -> float:
    """The middle score, between the two middle ones of an even number: R's ``median``.

    Raises NotEstimable where nobody is above it, as with one patient or where half of the cohort has the highest
    score; ValueError where a score is NaN.
    """
    scores = np.asarray(score, np.float64)
    if np.isnan(scores).any():
        raise ValueError("a score is NaN")
    if not len(scores):
        raise NotEstimable("a median needs at least one score")
    middle = float(np.median(scores))
    if not (scores > middle).any():
        raise NotEstimable("no score lies above the median: it makes no high-risk group")
    return middle


def youden(score: ArrayLike, outcome: Outcome, time: float) -> Youden:
    """The cutoff of (n,) scores with the best sensitivity + specificity - 1 at ``time``; of equal ones, the lowest.

    Both by Kaplan-Meier, as Heagerty, Lumley and Pepe (2000) estimate them from censored follow-up, S(t | c) being
    the estimate in the patients with a score above c::

        sensitivity(c) = (1 - S(t | c)) P(score > c) / (1 - S(t))
        1 - specificity(c) = S(t | c) P(score > c) / S(t)

    They need not fall as c rises, and may leave 0..1 a little. A group whose follow-up ends before ``time`` carries
    its last value, as R does. Every observed score but the highest is tried.
    Raises NotEstimable where no cutoff exists, S(t) is 0 or 1, or nobody's follow-up reaches ``time``; ValueError
    where scores are not (n,) and finite.
    """
    ranked, splits = _splits(score, outcome, 0.0)
    alive = _survival_inside(kaplan_meier(ranked), time)
    above, share = nested_survival(ranked, splits.first_high, time), 1 - splits.first_high / len(ranked)
    sensitivity, false_positive = (1 - above) * share / (1 - alive), above * share / alive
    indices = sensitivity - false_positive
    best = _first_largest(indices)
    return Youden(
        cutoff=float(splits.cutoffs[best]),
        index=float(indices[best]),
        sensitivity=float(sensitivity[best]),
        specificity=float(1 - false_positive[best]),
        candidates=splits.cutoffs,
        indices=indices,
    )


@dataclass(frozen=True, slots=True)
class _Splits:
    """k ways to divide patients sorted by score."""

    cutoffs: Floats
    first_high: NDArray[np.intp]
    """(k,) place of the first patient above the cutoff."""


def _splits(score: ArrayLike, outcome: Outcome, min_fraction: float) -> tuple[Outcome, _Splits]:
    """The outcome sorted by score, and the cutoffs that leave enough patients on either side."""
    scores = np.asarray(score, np.float64)
    if scores.shape != outcome.time.shape or not np.isfinite(scores).all():
        raise ValueError(f"scores {scores.shape} must be finite and one for each of {len(outcome)} patients")
    order = scores.argsort(kind="stable")
    ranked = scores[order]
    first_high = (ranked[1:] > ranked[:-1]).nonzero()[0] + 1
    least = (min_fraction - EQUAL) * len(scores)
    first_high = first_high[np.minimum(first_high, len(scores) - first_high) >= least]
    if not len(first_high):
        raise NotEstimable("no cutoff divides the scores into two groups of the size asked for")
    return outcome.of(order), _Splits(ranked[first_high - 1], first_high)


def _chi_squares(ranked: Outcome, splits: _Splits) -> Floats:
    """(k,) log-rank chi-squares: (observed - expected)^2 / variance in the high group.

    Observed minus expected is a sum of the patients' own deaths minus their cumulative hazards, for all cutoffs one
    cumulative sum. The variance needs the two groups' sizes at each time of death.
    """
    if not ranked.events:
        raise NotEstimable("a cutoff by log-rank needs a death")
    curve = kaplan_meier(ranked)
    hazard = (curve.events / curve.at_risk).cumsum()
    difference = (ranked.event - hazard[np.searchsorted(curve.times, ranked.time)]).cumsum()[
        splits.first_high - 1
    ]
    variance = np.zeros(len(splits.cutoffs))
    for place in death_places(curve):
        n, d = curve.at_risk[place], curve.events[place]
        share = nested_at_risk(ranked, splits.first_high, curve.times[place]) / n
        variance += share * (1 - share) @ (d * (n - d) / np.maximum(n - 1, 1))
    chi_squares = np.full(len(variance), np.nan)
    np.divide(difference**2, variance, out=chi_squares, where=variance > 0)
    return chi_squares


def _survival_inside(curve: KaplanMeier, time: float) -> float:
    alive = float(curve.at(time))
    if not 0 < alive < 1:
        raise NotEstimable("sensitivity and specificity need deaths before the time, and survivors after it")
    if time > curve.times[-1]:
        raise NotEstimable("nobody's follow-up reaches the time of the sensitivity")
    return alive


def _first_largest(criteria: Floats) -> int:
    """The first entry that is as large as any; NaN entries are passed over."""
    largest = float(np.nanmax(criteria))
    return int((criteria >= largest - EQUAL * abs(largest)).argmax())
