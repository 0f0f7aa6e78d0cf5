"""How well a marker tells who dies by a horizon from who lives longer, when follow-up is censored.

An ordinary ROC curve needs everybody's outcome at the horizon; those lost before it have none. Three estimators of the
same curve (cumulative cases, dynamic controls) differ in how they replace them: Heagerty, Lumley and Pepe (2000) by
Kaplan-Meier curves of the patients above each cut, simple but not always monotone, or by survival among neighbours in the
marker, always monotone; and weighting by the probability of being seen, whose area also has a standard error.
A high marker means high risk; positive is above the cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prognode.errors import NotEstimable
from prognode.statistics.censoring import death_weights
from prognode.statistics.kaplan_meier import kaplan_meier, nested_survival
from prognode.statistics.outcome import Floats, Outcome

Places = NDArray[np.intp]
AtHorizon = Literal["cases", "left out"]


@dataclass(frozen=True, slots=True)
class RocCurve:
    """A curve over k distinct marker values, from "all are positive" to "nobody is"."""

    time: float
    cuts: Floats
    """(k + 1,), minus infinity, then the marker's values ascending."""
    true_positive: Floats
    """(k + 1,), share of those who die by ``time`` that lies above the cut; 1 first, 0 last."""
    false_positive: Floats
    """(k + 1,), share of those who live longer that lies above the cut; 1 first, 0 last."""
    auc: float
    """Trapezoids between neighbouring cuts."""
    survival: float
    """The estimate of survival to ``time`` that the shares stand on."""


@dataclass(frozen=True, slots=True)
class IpcwAuc:
    """Area under the weighted curve at one time."""

    time: float
    auc: float
    standard_error: float
    cases: int
    """Deaths by ``time``."""
    controls: int
    """Patients followed beyond it."""
    lost: int
    """All others: they count through the weights."""


def heagerty_km(marker: ArrayLike, outcome: Outcome, time: float) -> RocCurve:
    """Curve at ``time`` from a Kaplan-Meier estimate above each cut of the (n,) marker (Heagerty et al. 2000, 2.1).

    With F the marker's distribution and S(t | c) the survival of patients above c:
    TP = (1 - S(t | c)) (1 - F(c)) / (1 - S(t)), FP = S(t | c) (1 - F(c)) / S(t). Neither is bound to fall as c rises, or
    to stay under 1. Equals R's ``survivalROC(method = "KM")``.

    Raises NotEstimable where nobody dies by ``time``, nobody lives longer, or nobody is followed to it; ValueError for a
    marker that is not (n,) finite values.
    """
    values = _checked(marker, outcome, time)
    order = np.argsort(values, kind="stable")
    cuts, above, share = _cuts(values[order])
    alive = nested_survival(outcome.of(order), above, time) * share
    return _curve(time, cuts, share, alive, float(kaplan_meier(outcome).at(time)))


def heagerty_nne(marker: ArrayLike, outcome: Outcome, time: float, span: float | None = None) -> RocCurve:
    """Curve at ``time`` from survival among neighbours in the (n,) marker (Akritas 1994; Heagerty et al. 2000, 2.2).

    A patient's neighbours lie no farther away, in units of the marker and to either side, than the patient ``span`` n
    ranks above; near the upper end, than the highest. With S(t | M) by Kaplan-Meier among them:
    S(c, t) = mean of S(t | M) over M > c, TP = (1 - F(c) - S(c, t)) / (1 - S(-inf, t)), FP = S(c, t) / S(-inf, t).
    Equals R's ``survivalROC(method = "NNE", span = span)``, version 1.0.3.1; its ``survivalROC.C`` takes as many ranks to
    both sides instead. ``span`` is 0.25 n^-0.2 by default. Distances are compared to their last digit, as in R: two that
    are equal but for rounding may differ in who is a neighbour.

    Raises NotEstimable and ValueError as :func:`heagerty_km`; ValueError also for a span that is not above 0.
    """
    values = _checked(marker, outcome, time)
    width = 0.25 * len(values) ** -0.2 if span is None else span
    if not width > 0:
        raise ValueError("a span must be above 0")
    order = np.argsort(values, kind="stable")
    outcome, values = outcome.of(order), values[order]
    cuts, above, share = _cuts(values)
    given = _neighbours_survival(outcome, values, above, time, int(len(values) * width + 0.5))
    alive = np.append(np.cumsum(given[::-1])[::-1], 0.0)[above] / len(values)
    return _curve(time, cuts, share, alive, float(alive[0]))


def ipcw_auc(
    marker: ArrayLike, outcome: Outcome, time: float, deaths_at_time: AtHorizon = "cases"
) -> IpcwAuc:
    """Area at ``time`` with deaths weighted by 1 / G(T-), G the Kaplan-Meier estimate of censoring, and its error.

    The probability that a patient who dies by ``time`` has a higher marker (n,) than one who lives longer, ties counting
    half (Uno et al. 2007; Hung and Chiang 2010). The standard error is that of the mean of the patients' influences, the
    estimation of G included (Blanche et al. 2013). With ``deaths_at_time`` "left out" it equals R's
    ``timeROC(weighting = "marginal", iid = TRUE)``, which counts deaths at ``time`` itself neither as cases nor as
    controls. As there, patients whose times are equal count as lost one after the other, in the order given.

    Raises NotEstimable without a case or a control at ``time``; ValueError as :func:`heagerty_km`.
    """
    values = _checked(marker, outcome, time)
    case = outcome.event & (outcome.time <= time if deaths_at_time == "cases" else outcome.time < time)
    control = outcome.time > time
    if not case.any() or not control.any():
        raise NotEstimable(f"a curve at {time:g} needs a death by then and somebody followed beyond")
    weight = death_weights(outcome, case)
    weight /= weight.sum()
    below = _share_below(values, values[control])
    auc = float(weight @ below)
    influence = _influence(outcome, weight * (below - auc))
    influence[control] += (_weight_above(values[control], values, weight) - auc) / control.sum()
    cases, controls = int(case.sum()), int(control.sum())
    error = float(influence.std(ddof=1) * np.sqrt(len(values)))
    return IpcwAuc(time, auc, error, cases, controls, len(values) - cases - controls)


def _checked(marker: ArrayLike, outcome: Outcome, time: float) -> Floats:
    values = np.asarray(marker, np.float64)
    if values.shape != outcome.time.shape or not np.isfinite(values).all():
        raise ValueError(f"a marker must be ({len(outcome)},) finite values")
    if not (outcome.time >= time).any():
        raise NotEstimable(f"nobody is followed to {time:g}")
    return values


def _cuts(ascending: Floats) -> tuple[Floats, Places, Floats]:
    """Minus infinity and the distinct values, where the patients above each begin, and their share."""
    cuts = np.concatenate([[-np.inf], ascending[np.flatnonzero(np.diff(ascending, prepend=-np.inf))]])
    above = np.searchsorted(ascending, cuts, side="right")
    return cuts, above, 1 - above / len(ascending)


def _curve(time: float, cuts: Floats, share: Floats, alive: Floats, survival: float) -> RocCurve:
    """From the shares of patients above each cut, and of patients above it who live longer."""
    if survival >= 1:
        raise NotEstimable(f"nobody dies by {time:g}, so there is no case")
    if survival <= 0:
        raise NotEstimable(f"nobody lives beyond {time:g}, so there is no control")
    true, false = (share - alive) / (1 - survival), alive / survival
    true[0] = false[0] = 1.0
    auc = float(-(np.diff(false) * (true[1:] + true[:-1])).sum() / 2)
    return RocCurve(time, cuts, true, false, auc, survival)


def _neighbours_survival(
    outcome: Outcome, ascending: Floats, above: Places, time: float, reach: int
) -> Floats:
    """(n,) survival to ``time`` among each patient's neighbours, patients in the order of the marker."""
    first, last = above[:-1], above[1:]
    distance = np.abs(ascending - ascending[first][:, None])
    farthest = ascending[np.minimum(first + reach, len(ascending) - 1)] - ascending[first]
    near = distance <= farthest[:, None]
    start = near.argmax(axis=1)
    survival = nested_survival(outcome, start, time, start + near.sum(axis=1))
    return np.repeat(survival, last - first)


def _share_below(values: Floats, others: Floats) -> Floats:
    """Share of the others that each value exceeds, equal ones counting half."""
    ascending = np.sort(others)
    places = np.searchsorted(ascending, values, "left") + np.searchsorted(ascending, values, "right")
    return np.asarray(places / (2 * len(others)), np.float64)


def _weight_above(values: Floats, others: Floats, weight: Floats) -> Floats:
    """Weight of the others that exceed each value, equal ones counting half; all weights sum to 1."""
    order = np.argsort(others)
    until = np.concatenate([[0.0], np.cumsum(weight[order])])
    ascending = others[order]
    places = (np.searchsorted(ascending, values, side) for side in ("left", "right"))
    return 1 - sum((until[place] for place in places), np.zeros(len(values))) / 2


def _influence(outcome: Outcome, gain: Floats) -> Floats:
    """(n,) influence of each patient as a case, and through the estimate of censoring in the cases' weights.

    ``gain`` is each case's weight times its deviation from the area. A censoring at u raises the weights of the cases after
    u by one over the number at risk; having been at risk lowers them by the hazard's share. Cases at u count as after it.
    """
    order = np.argsort(outcome.time, kind="stable")
    time, lost = outcome.time[order], ~outcome.event[order]
    at_risk = np.arange(len(time), 0, -1)
    gain_after = np.cumsum(gain[order][::-1])[::-1] / at_risk
    expected = np.cumsum(np.where(lost, gain_after / at_risk, 0.0))
    own = np.where(lost, gain_after[np.searchsorted(time, time)], 0.0)
    influence = gain.copy()
    influence[order] += own - expected
    return influence
