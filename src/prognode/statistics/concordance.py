"""How often the patient with the higher risk score dies first: Harrell's C with its uncertainty, and two C compared.

A pair of patients is comparable where one is known to have died before the other: at the earlier time a death, or a
death and a censoring at the same time (who is censored then outlived the death). C is the share of comparable pairs
in which the earlier death had the higher score, a tied score counting one half. Pairs of deaths at one time say
nothing about order; they are counted and left out. All of it as ``survival::concordance(..., reverse = TRUE)`` in R.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri
from scipy.stats import norm

from prognode.errors import NotEstimable
from prognode.statistics.outcome import Bools, Floats, Outcome

PAIRS_AT_ONCE = 2_000_000
"""How many pairs are compared at a time, so that memory stays at some 20 MB whatever the cohort."""


@dataclass(frozen=True, slots=True)
class PairCounts:
    """Pairs of patients by what their scores and times say; R's ``$count``."""

    concordant: int
    """The earlier death had the higher score."""
    discordant: int
    tied_risk: int
    """Comparable, with equal scores; R's ``tied.x``."""
    tied_time: int
    """Both died at one time, with different scores; R's ``tied.y``."""
    tied_both: int
    """Both died at one time, with equal scores; R's ``tied.xy``."""

    @property
    def comparable(self) -> int:
        return self.concordant + self.discordant + self.tied_risk


@dataclass(frozen=True, slots=True)
class Concordance:
    """Harrell's C of one score, 0..1; 0.5 is no better than chance."""

    value: float
    standard_error: float
    """By the infinitesimal jackknife: root of the sum of squared influences. 0 where every pair says the same."""
    counts: PairCounts
    influence: Floats
    """(n,), how C changes per unit of a patient's weight: R's ``dfbeta``."""

    def limits(self, level: float = 0.95) -> tuple[float, float]:
        """C minus and plus 1.96 standard errors (at 95 %), cut to 0..1: a C beyond them cannot be."""
        half = float(ndtri(0.5 + level / 2)) * self.standard_error
        return max(self.value - half, 0.0), min(self.value + half, 1.0)

    @property
    def p_value(self) -> float:
        """Two-sided normal test of C = 0.5; NaN where the standard error is 0, which then measures nothing."""
        return _two_sided(self.value - 0.5, self.standard_error)


@dataclass(frozen=True, slots=True)
class ConcordanceDifference:
    """C of a first score minus C of a second one on the same patients."""

    first: Concordance
    second: Concordance

    @property
    def value(self) -> float:
        return self.first.value - self.second.value

    @property
    def standard_error(self) -> float:
        """From the patients' influences on both, which keeps the correlation of the two C: R's ``vcov``."""
        return float(np.linalg.norm(self.first.influence - self.second.influence))

    def limits(self, level: float = 0.95) -> tuple[float, float]:
        """The difference minus and plus 1.96 standard errors (at 95 %)."""
        half = float(ndtri(0.5 + level / 2)) * self.standard_error
        return self.value - half, self.value + half

    @property
    def p_value(self) -> float:
        """Two-sided normal test of no difference; NaN where the standard error is 0: the scores order all pairs alike."""
        return _two_sided(self.value, self.standard_error)


def concordance(score: ArrayLike, outcome: Outcome) -> Concordance:
    """Harrell's C of (n,) risk scores, higher meaning shorter survival, with standard error and influences.

    R's ``concordance(Surv(time, event) ~ score, reverse = TRUE, influence = 1)``; Harrell et al. (1982), Therneau and
    Atkinson (2020) for the standard error. Time grows with deaths times n, memory does not.
    Raises NotEstimable where no pair is comparable; ValueError where scores are not (n,) or hold NaN.
    """
    scores = _scores(score, outcome)
    counted = np.zeros((3, len(scores)))
    for rows, later, higher, equal in _blocks(scores, outcome):
        found = np.stack((later & higher, later & equal, later))
        counted += np.count_nonzero(found, axis=1)
        counted[:, rows] += np.count_nonzero(found, axis=2)
    better, ties, pairs = counted
    counts = _counts(better, ties, pairs, _same_time(scores, outcome))
    c = _share(counts.concordant, counts.tied_risk, counts.comparable)
    influence = (better + ties / 2 - c * pairs) / counts.comparable
    return Concordance(c, float(np.linalg.norm(influence)), counts, influence)


def c_index(score: ArrayLike, outcome: Outcome) -> float:
    """Harrell's C alone, for bootstraps; otherwise as :func:`concordance`."""
    concordant = ties = pairs = 0
    for _, later, higher, equal in _blocks(_scores(score, outcome), outcome):
        pairs += int(np.count_nonzero(later))
        concordant += int(np.count_nonzero(later & higher))
        ties += int(np.count_nonzero(later & equal))
    return _share(concordant, ties, pairs)


def compare_concordance(first: ArrayLike, second: ArrayLike, outcome: Outcome) -> ConcordanceDifference:
    """C of two (n,) scores of the same patients, and whether they differ: R's ``concordance(fit1, fit2)``.

    Raises as :func:`concordance`.
    """
    return ConcordanceDifference(concordance(first, outcome), concordance(second, outcome))


def _scores(score: ArrayLike, outcome: Outcome) -> Floats:
    scores = np.asarray(score, np.float64)
    if scores.shape != outcome.time.shape:
        raise ValueError(f"scores {scores.shape} for {len(outcome)} patients")
    if np.isnan(scores).any():
        raise ValueError("a risk score is NaN")
    return scores


def _blocks(scores: Floats, outcome: Outcome) -> Iterator[tuple[NDArray[np.intp], Bools, Bools, Bools]]:
    """For some deaths at a time: their rows, who outlived them, whose score theirs exceeds, whose it equals.

    A censoring counts as the next greater number, so that one comparison puts it after a death at its time.
    """
    deaths = outcome.event.nonzero()[0]
    until = np.where(outcome.event, outcome.time, np.nextafter(outcome.time, np.inf))
    step = max(PAIRS_AT_ONCE // max(len(scores), 1), 1)
    for start in range(0, len(deaths), step):
        rows = deaths[start : start + step]
        own = scores[rows, None]
        yield rows, until > outcome.time[rows, None], own > scores, own == scores


def _same_time(scores: Floats, outcome: Outcome) -> tuple[int, int]:
    """How many pairs of deaths share their time, and how many share time and score."""
    times, marks = outcome.time[outcome.event], scores[outcome.event]
    at_once = np.unique(times, return_counts=True)[1]
    alike = np.unique(np.column_stack((times, marks)), axis=0, return_counts=True)[1]
    return int((at_once * (at_once - 1) // 2).sum()), int((alike * (alike - 1) // 2).sum())


def _counts(better: Floats, ties: Floats, pairs: Floats, same_time: tuple[int, int]) -> PairCounts:
    """Pairs out of the patients' own counts, in which each pair stands twice."""
    concordant, tied, comparable = (int(count.sum()) // 2 for count in (better, ties, pairs))
    at_once, alike = same_time
    return PairCounts(concordant, comparable - concordant - tied, tied, at_once - alike, alike)


def _share(concordant: int, ties: int, pairs: int) -> float:
    if not pairs:
        raise NotEstimable("no pair of patients is comparable: nobody is known to have outlived a death")
    return (concordant + ties / 2) / pairs


def _two_sided(estimate: float, error: float) -> float:
    return float(2 * norm.sf(abs(estimate) / error)) if error > 0 else float("nan")
