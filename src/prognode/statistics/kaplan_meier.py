"""How many patients are still alive at each time, with the follow-up as it is: censored.

Survival curves, medians, numbers at risk, calibration, decision curves and time-dependent ROC curves all stand on the
one estimator of Kaplan and Meier (1958); bootstraps draw it thousands of times, so it is a few cumulative sums here.
Two times are the same where the numbers are equal; :func:`~prognode.statistics.outcome.outcome` has made those equal
that differ by rounding only, as R's ``timefix`` does.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from prognode.errors import NotEstimable
from prognode.statistics.outcome import Floats, Outcome

Integers = NDArray[np.int64]
Scale = Literal["log", "log-log", "plain"]
"""The scale on which a confidence interval of survival is symmetric: R's ``conf.type``, whose default is "log"."""

SAME_HEIGHT = float(np.finfo(np.float64).eps ** 0.5)
"""How near to 0.5 a curve counts as flat at the median (the tolerance of R's print of a survfit)."""

CELLS_AT_ONCE = 2_000_000
"""How many (patient, death time) cells are held at a time, so that memory stays at some 50 MB whatever the cohort."""


@dataclass(frozen=True, slots=True)
class Quantile:
    """A time by which survival has fallen to a level, with its limits; None where the curve does not reach it."""

    value: float | None
    lower: float | None
    upper: float | None


@dataclass(frozen=True, slots=True)
class RestrictedMean:
    """Mean survival time up to ``tau`` and its standard error, in the unit of the times."""

    value: float
    standard_error: float
    tau: float


@dataclass(frozen=True, slots=True)
class KaplanMeier:
    """The estimate at the k distinct times of a cohort, those with censoring only included, as R's ``survfit``."""

    times: Floats
    """(k,), ascending; may begin with 0."""
    at_risk: Integers
    """(k,), how many are followed up to just before the time."""
    events: Integers
    """(k,), deaths at the time."""
    censored: Integers
    """(k,), how many are lost at the time: after its deaths, so that they count as at risk for these."""
    survival: Floats
    """(k,), probability to live longer than the time."""

    def at(self, times: ArrayLike) -> Floats:
        """S(t) = P(T > t), right-continuous: 1 before the first time, the last value carried after the last."""
        return self._step(self.survival, times, "right")

    def before(self, times: ArrayLike) -> Floats:
        """S(t-) = P(T >= t), the limit from the left."""
        return self._step(self.survival, times, "left")

    def at_risk_at(self, times: ArrayLike) -> Integers:
        """How many are at risk just before each time: R's ``summary(fit, times, extend = TRUE)$n.risk``."""
        return np.append(self.at_risk, 0)[np.searchsorted(self.times, times, "left")]

    @property
    def log_error(self) -> Floats:
        """(k,), standard error of log S, which R calls ``std.err``: root of the sum of d / (n (n - d)) (Greenwood 1926).

        Infinite where S is 0.
        """
        left = self.at_risk - self.events
        terms = _filled(np.inf, len(left))
        np.divide(self.events, self.at_risk * left, out=terms, where=left > 0)
        error: Floats = np.sqrt(terms.cumsum())
        return error

    @property
    def standard_error(self) -> Floats:
        """(k,), Greenwood's standard error of S: R's ``summary(fit)$std.err``. NaN where S is 0, as there."""
        error = _filled(np.nan, len(self.times))
        np.multiply(self.survival, self.log_error, out=error, where=self.survival > 0)
        return error

    def standard_error_at(self, times: ArrayLike) -> Floats:
        """Greenwood's standard error of S(t); 0 before the first time."""
        return self._step(self.standard_error, times, "right", first=0.0)

    def log_error_at(self, times: ArrayLike) -> Floats:
        """Standard error of log S(t); 0 before the first time."""
        return self._step(self.log_error, times, "right", first=0.0)

    def limits(self, scale: Scale = "log", level: float = 0.95) -> tuple[Floats, Floats]:
        """(k,) lower and (k,) upper confidence limits of S at each time, cut to 0..1, equal to R's.

        NaN as in R where the scale has none: "log" where S is 0, "log-log" where S is 0 or 1, "plain" where S is 0.
        """
        width = float(ndtri(0.5 + level / 2))
        if scale == "plain":
            half = width * self.standard_error
            return np.maximum(self.survival - half, 0), np.minimum(self.survival + half, 1)
        if scale == "log":
            return _log_limits(self.survival, width * self.log_error)
        return _log_log_limits(self.survival, width * self.log_error)

    def limits_at(self, times: ArrayLike, scale: Scale = "log", level: float = 0.95) -> tuple[Floats, Floats]:
        """Lower and upper limits of S(t) at each time; 1 and 1 before the first time, as in R's ``summary``."""
        lower, upper = self.limits(scale, level)
        return self._step(lower, times, "right"), self._step(upper, times, "right")

    def median(self, scale: Scale = "log", level: float = 0.95) -> Quantile:
        """Median survival with the limits that R's ``print(survfit)`` gives (Brookmeyer and Crowley 1982).

        The first time at which S is 0.5 or less; the limits are the first times at which the limits of S are. Where
        the curve is flat at 0.5, the middle between the beginning and the end of the flat step. None: not reached.
        """
        lower, upper = self.limits(scale, level)
        return Quantile(*(_time_of_half(curve, self.times) for curve in (self.survival, lower, upper)))

    def restricted_mean(self, tau: float) -> RestrictedMean:
        """Area under the curve from 0 to ``tau``, with R's standard error: ``print(fit, rmean = tau)``.

        Its square is the sum over the deaths' times u of (area from u to tau)^2 d / (n (n - d)), where a time at which
        all at risk die adds nothing. After the last time the last value is carried, as R does.
        Raises ValueError where ``tau`` is not above 0.
        """
        if not tau > 0:
            raise ValueError("the mean survival time needs an end above 0")
        inside = int(np.searchsorted(self.times, tau, "right"))
        left = self.at_risk[:inside] - self.events[:inside]
        widths = np.diff(self.times[:inside], prepend=0.0, append=tau)
        areas = widths * np.append(1.0, self.survival[:inside])
        terms = np.divide(
            self.events[:inside], self.at_risk[:inside] * left, out=np.zeros(inside), where=left > 0
        )
        ahead = areas[:0:-1].cumsum()[::-1]
        return RestrictedMean(float(areas.sum()), float(np.sqrt(ahead**2 @ terms)), tau)

    def _step(
        self, heights: Floats, times: ArrayLike, side: Literal["left", "right"], first: float = 1.0
    ) -> Floats:
        """The step function through ``heights`` at the times."""
        return np.concatenate(((first,), heights))[np.searchsorted(self.times, times, side)]


def kaplan_meier(outcome: Outcome) -> KaplanMeier:
    """The product-limit estimate of n patients, n >= 1: S(t) = product over the times u <= t of 1 - d(u) / n(u).

    Equals R's ``survfit(Surv(time, event) ~ 1)``; Kaplan and Meier (1958). Raises NotEstimable where nobody is there.
    """
    if not len(outcome):
        raise NotEstimable("survival needs at least one patient")
    order = outcome.time.argsort()
    time, death = outcome.time[order], outcome.event[order]
    ends = np.append((time[1:] != time[:-1]).nonzero()[0], len(time) - 1)
    counted = np.concatenate(((-1,), ends))
    leaving = counted[1:] - counted[:-1]
    at_risk = len(time) - 1 - counted[:-1]
    deaths = np.concatenate(((0,), death.cumsum()[ends]))
    events = deaths[1:] - deaths[:-1]
    return KaplanMeier(
        time[ends], at_risk, events, leaving - events, ((at_risk - events) / at_risk).cumprod()
    )


def median_follow_up(outcome: Outcome, scale: Scale = "log", level: float = 0.95) -> Quantile:
    """Median follow-up by the reverse Kaplan-Meier estimate, death being the censoring (Schemper and Smith 1996).

    Equals R's ``survfit(Surv(time, 1 - event) ~ 1)``. Raises NotEstimable where nobody is there.
    """
    return kaplan_meier(outcome.reversed()).median(scale, level)


def death_places(curve: KaplanMeier, until: float = np.inf) -> Iterator[NDArray[np.intp]]:
    """The places of the curve's times of death up to ``until``, some at a time, so that (n, b) tables stay small."""
    places = ((curve.events > 0) & (curve.times <= until)).nonzero()[0]
    step = max(CELLS_AT_ONCE // int(curve.at_risk[0]), 1)
    for first in range(0, len(places), step):
        yield places[first : first + step]


def nested_at_risk(outcome: Outcome, starts: NDArray[np.intp], times: Floats) -> Integers:
    """(k, b) how many of the patients from place ``starts[i]`` (0..n) on are at risk at each of b times.

    Of patients sorted by a score, these are the groups above k cutoffs.
    """
    return _between(outcome.time[:, None] >= times, starts, np.full_like(starts, len(outcome)))


def nested_survival(
    outcome: Outcome, starts: NDArray[np.intp], time: float, stops: NDArray[np.intp] | None = None
) -> Floats:
    """(k,) S(time) of k groups, each by its own Kaplan-Meier estimate: the patients from place ``starts[i]`` on.

    ``stops`` ends each group before that place, for neighbourhoods instead of all above a cutoff. A group whose
    follow-up ends earlier carries its last value; a group of nobody (``starts[i]`` is n) has 1. Raises NotEstimable
    where nobody is there at all.
    """
    stops = np.full_like(starts, len(outcome)) if stops is None else stops
    curve, survival = kaplan_meier(outcome), np.ones(len(starts))
    for place in death_places(curve, time):
        times = curve.times[place]
        at_risk = _between(outcome.time[:, None] >= times, starts, stops)
        deaths = _between((outcome.time[:, None] == times) & outcome.event[:, None], starts, stops)
        survival *= (1 - deaths / np.maximum(at_risk, 1)).prod(axis=1)
    return survival


@dataclass(frozen=True, slots=True)
class LogRank:
    """A log-rank test of g groups: whether they die at the same rate."""

    chi_square: float
    degrees_of_freedom: int
    p_value: float
    labels: tuple[Hashable, ...]
    """The g groups, sorted."""
    patients: Integers
    """(g,)"""
    observed: Integers
    """(g,), deaths."""
    expected: Floats
    """(g,), deaths that the whole cohort's rate would give the group."""


def log_rank(outcome: Outcome, groups: Sequence[Hashable] | NDArray[np.generic]) -> LogRank:
    """Log-rank test between the groups, (n,) labels: R's ``survdiff(Surv(time, event) ~ group)``.

    The chi-square is lifelines'; the variance is hypergeometric where deaths are tied (Mantel 1966). A group of which
    nobody is at risk at any death has no expected deaths and takes no part in the test, as in R: it costs no degree of
    freedom. Raises NotEstimable where fewer than two groups remain, nobody died, or all at risk died at one time;
    ValueError where the number of labels is not n.
    """
    if len(groups) != len(outcome):
        raise ValueError(f"{len(groups)} group labels for {len(outcome)} patients")
    labels, member = np.unique(np.asarray(groups), return_inverse=True)
    _require_deaths(outcome)
    expected = expected_deaths(outcome, member, len(labels))
    tested = expected[member] > 0
    compared = int(np.count_nonzero(expected))
    if compared < 2:
        raise NotEstimable("a log-rank test needs two groups with patients at risk")
    result = _lifelines_log_rank(outcome.of(tested), member[tested])
    return LogRank(
        chi_square=float(result[0]),
        degrees_of_freedom=compared - 1,
        p_value=float(result[1]),
        labels=tuple(labels.tolist()),
        patients=np.bincount(member, minlength=len(labels)),
        observed=np.bincount(member[outcome.event], minlength=len(labels)),
        expected=expected,
    )


def expected_deaths(outcome: Outcome, member: NDArray[np.intp], groups: int) -> Floats:
    """(groups,) deaths of each group under the rate of the whole cohort; ``member``: (n,) group of each patient.

    The whole cohort's cumulative hazard (Nelson 1972, Aalen 1978) up to a patient's time is what that patient is
    expected to have gone through: the sum over a group is R's ``survdiff(...)$exp``.
    """
    curve = kaplan_meier(outcome)
    hazard = (curve.events / curve.at_risk).cumsum()
    own = hazard[np.searchsorted(curve.times, outcome.time)]
    return np.asarray(np.bincount(member, own, groups), np.float64)


def _between(marked: NDArray[np.bool_], starts: NDArray[np.intp], stops: NDArray[np.intp]) -> Integers:
    """(k, b) how many rows of an (n, b) table are marked from place ``starts[i]`` to before ``stops[i]``."""
    until = np.zeros((len(marked) + 1, marked.shape[1]), np.int64)
    np.cumsum(marked, axis=0, out=until[1:])
    return until[stops] - until[starts]


def _require_deaths(outcome: Outcome) -> None:
    if not outcome.events:
        raise NotEstimable("a log-rank test needs a death")
    first = outcome.time[outcome.event].min()
    if outcome.event[outcome.time >= first].all() and (outcome.time <= first).all():
        raise NotEstimable("a log-rank test needs deaths at different times")


def _lifelines_log_rank(outcome: Outcome, member: NDArray[np.intp]) -> tuple[float, float]:
    from lifelines.statistics import multivariate_logrank_test

    result = multivariate_logrank_test(outcome.time, member, outcome.event)
    return result.test_statistic, result.p_value


def _log_limits(survival: Floats, half: Floats) -> tuple[Floats, Floats]:
    positive = survival > 0
    log = np.log(survival, out=_filled(np.nan, len(survival)), where=positive)
    half = np.where(positive, half, np.nan)
    return np.exp(log - half), np.minimum(np.exp(log + half), 1)


def _log_log_limits(survival: Floats, half: Floats) -> tuple[Floats, Floats]:
    inside = (survival > 0) & (survival < 1)
    log = np.log(survival, out=_filled(np.nan, len(survival)), where=inside)
    shift = np.exp(np.where(inside, half, np.nan) / -log)
    return np.exp(log * shift), np.exp(log / shift)


def _time_of_half(curve: Floats, times: Floats) -> float | None:
    """R's rule for the time at which a falling curve reaches 0.5; entries that are NaN are passed over."""
    reached = (curve < 0.5 + SAME_HEIGHT).nonzero()[0]
    if not len(reached):
        return None
    first = reached[0]
    lower = reached[curve[reached] < curve[first]]
    if abs(curve[first] - 0.5) < SAME_HEIGHT and len(lower):
        return float((times[first] + times[lower[0]]) / 2)
    return float(times[first])


def _filled(value: float, size: int) -> Floats:
    return np.full(size, value, np.float64)
