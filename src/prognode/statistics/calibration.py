"""Whether predicted survival is what happens: in groups of patients, on the whole, and along the risk score.

A prediction can put patients in the right order and still be wrong for each of them. Three looks at it: survival
observed against predicted in groups at one horizon, deaths observed against expected in the whole cohort, and the
slope that a Cox model gives to the prediction's own linear predictor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from prognode.errors import NotEstimable
from prognode.statistics.cox import fit_cox
from prognode.statistics.kaplan_meier import kaplan_meier
from prognode.statistics.outcome import Bools, Floats, Outcome


@dataclass(frozen=True, slots=True)
class GroupedCalibration:
    """Observed against predicted survival at a horizon in g groups, from the lowest prediction to the highest."""

    horizon: float
    patients: NDArray[np.int64]
    """(g,)"""
    events: NDArray[np.int64]
    """(g,) deaths over all of the follow-up."""
    predicted: Floats
    """(g,) arithmetic mean of the predicted survival."""
    observed: Floats
    """(g,) Kaplan-Meier survival at the horizon, the last value carried where ``followed`` is False."""
    standard_error: Floats
    """(g,) Greenwood's, of the observed survival; NaN where that is 0."""
    log_error: Floats
    """(g,) that of its logarithm, which ``rms::groupkm`` calls ``std.err``; infinite where it is 0."""
    lower: Floats
    """(g,) 95 % confidence limits of the observed survival (R's default "log"); NaN where it is 0."""
    upper: Floats
    followed: Bools
    """(g,) False where the follow-up of the group ends before the horizon with survivors: rms then gives NA."""


@dataclass(frozen=True, slots=True)
class CalibrationInTheLarge:
    """Deaths by a horizon, observed over expected: above 1 where the prediction is too good."""

    ratio: float
    lower: float
    """95 % confidence limits; NaN where nobody survived the horizon (see :func:`calibration_in_the_large`)."""
    upper: float
    observed: float
    """Probability of death by the horizon, 1 - Kaplan-Meier."""
    expected: float
    """Mean predicted probability of death by the horizon."""


@dataclass(frozen=True, slots=True)
class CalibrationSlope:
    """Cox coefficient of a linear predictor: 1 where it is right, less where its differences are too large."""

    value: float
    standard_error: float

    def limits(self, level: float = 0.95) -> tuple[float, float]:
        """The slope minus and plus 1.96 standard errors (at 95 %)."""
        half = float(ndtri(0.5 + level / 2)) * self.standard_error
        return self.value - half, self.value + half

    @property
    def p_value(self) -> float:
        """Two-sided Wald test of a slope of 1."""
        return float(2 * ndtr(-abs(self.value - 1) / self.standard_error))


def grouped_calibration(
    predicted: ArrayLike, outcome: Outcome, horizon: float, member: NDArray[np.intp]
) -> GroupedCalibration:
    """Predicted (n,) survival at the horizon against Kaplan-Meier within the groups 0..g-1 of ``member`` (n,).

    ``member`` comes from :func:`quantile_groups` or :func:`sized_groups`. The survival is R's
    ``summary(survfit(Surv(time, event) ~ 1, data = group), times = horizon, extend = TRUE)``.
    Raises NotEstimable where nobody is there; ValueError where predictions are not (n,) and in 0..1.
    """
    chances = _chances(predicted, outcome)
    if not len(outcome):
        raise NotEstimable("calibration needs at least one patient")
    rows = [_group(outcome.of(member == group), horizon) for group in range(int(member.max()) + 1)]
    observed, log_error, lower, upper, followed = (np.array(column) for column in zip(*rows, strict=True))
    patients = np.bincount(member)
    standard_error = np.full(len(rows), np.nan)
    np.multiply(observed, log_error, out=standard_error, where=observed > 0)
    return GroupedCalibration(
        horizon=horizon,
        patients=patients,
        events=np.bincount(member[outcome.event], minlength=len(patients)),
        predicted=np.bincount(member, chances) / patients,
        observed=observed,
        standard_error=standard_error,
        log_error=log_error,
        lower=lower,
        upper=upper,
        followed=followed.astype(np.bool_),
    )


def quantile_groups(predicted: ArrayLike, groups: int) -> NDArray[np.intp]:
    """(n,) group of each prediction, 0 the lowest, divided at the quantiles of the predictions.

    R's ``cut(x, unique(quantile(x, 0:groups / groups)), include.lowest = TRUE)``: quantiles of type 7, groups closed
    on the right. Tied predictions stay together, so there may be fewer groups than asked for, down to one; groups
    that would hold nobody are left out. Raises ValueError where ``groups`` is under 1.
    """
    if groups < 1:
        raise ValueError("patients must be divided into at least one group")
    ordered = np.sort(np.asarray(predicted, np.float64))
    if not len(ordered):
        return np.zeros(0, np.intp)
    place, rest = np.divmod(np.arange(groups + 1) * (len(ordered) - 1), groups)
    low, high = ordered[place], ordered[np.minimum(place + 1, len(ordered) - 1)]
    between = (1 - rest / groups) * low + rest / groups * high
    return _divided(predicted, np.unique(np.where(low == high, low, between))[1:-1])


def sized_groups(predicted: ArrayLike, patients: int) -> NDArray[np.intp]:
    """(n,) group of each prediction, 0 the lowest, of about so many patients each: ``Hmisc::cut2(x, m = patients)``.

    The division of ``rms::groupkm`` and ``rms::calibrate``: floor(n / patients) groups, at least one, the j-th ending
    with the first prediction that at least j n / groups patients do not exceed. Tied predictions stay together.
    (cut2 itself reads predictions to 15 digits, and groupkm takes those under 1e-10 for 0.)
    Raises ValueError where ``patients`` is under 1.
    """
    if patients < 1:
        raise ValueError("a group must hold at least one patient")
    ordered = np.sort(np.asarray(predicted, np.float64))
    if not len(ordered):
        return np.zeros(0, np.intp)
    groups = max(len(ordered) // patients, 1)
    ends = ordered[-(-np.arange(1, groups + 1) * len(ordered) // groups) - 1]
    return _divided(predicted, np.unique(ends)[:-1])


def calibration_in_the_large(predicted: ArrayLike, outcome: Outcome, horizon: float) -> CalibrationInTheLarge:
    """Observed over expected probability of death by the horizon, from (n,) predicted survival.

    Observed is 1 - S, by Kaplan-Meier; expected is one less the mean prediction, and taken as known. The limits of the
    ratio come from the limits of S that R's ``survfit`` gives by default (those of log S, by Greenwood's error), so
    the lower one is 0 where the upper one of S is cut at 1, and there are none where S is 0.
    Raises NotEstimable where nobody is there, nobody's follow-up reaches the horizon although some still lived, or no
    death is expected; ValueError where predictions are not (n,) and in 0..1.
    """
    chances = _chances(predicted, outcome)
    curve = kaplan_meier(outcome)
    if horizon > curve.times[-1] and curve.survival[-1] > 0:
        raise NotEstimable("nobody's follow-up reaches the horizon of the calibration")
    expected = float((1 - chances).mean())
    if expected == 0:
        raise NotEstimable("the prediction expects no death, so nothing can be set against it")
    lower, upper = (float(limit) for limit in curve.limits_at(horizon))
    observed = 1 - float(curve.at(horizon))
    return CalibrationInTheLarge(
        observed / expected, (1 - upper) / expected, (1 - lower) / expected, observed, expected
    )


def calibration_slope(linear_predictor: ArrayLike, outcome: Outcome) -> CalibrationSlope:
    """Coefficient and standard error of the (n,) linear predictor as the only covariate of a Cox model (Efron).

    R's ``coxph(Surv(time, event) ~ lp)``; van Houwelingen (2000). Raises NotEstimable as
    :func:`prognode.statistics.cox.fit_cox`: nobody died, the predictor is constant or orders all deaths.
    """
    predictor = np.asarray(linear_predictor, np.float64)
    if predictor.shape != outcome.time.shape:
        raise ValueError(f"linear predictors {predictor.shape} for {len(outcome)} patients")
    fit = fit_cox(predictor[:, None], outcome, names=("linear predictor",))
    return CalibrationSlope(float(fit.coefficients[0]), float(fit.standard_errors[0]))


def _chances(predicted: ArrayLike, outcome: Outcome) -> Floats:
    chances = np.asarray(predicted, np.float64)
    if chances.shape != outcome.time.shape or not ((chances >= 0) & (chances <= 1)).all():
        raise ValueError(
            f"predictions {chances.shape} must lie in 0..1, one for each of {len(outcome)} patients"
        )
    return chances


def _group(outcome: Outcome, horizon: float) -> tuple[float, float, float, float, bool]:
    """Survival at the horizon, the error of its logarithm, its limits, whether follow-up tells it."""
    curve = kaplan_meier(outcome)
    lower, upper = curve.limits_at(horizon)
    followed = horizon <= curve.times[-1] or curve.survival[-1] == 0
    return float(curve.at(horizon)), float(curve.log_error_at(horizon)), float(lower), float(upper), followed


def _divided(predicted: ArrayLike, inner: Floats) -> NDArray[np.intp]:
    """Groups between the inner breaks (ascending), closed on the right, numbered without the empty ones."""
    places = np.searchsorted(inner, np.asarray(predicted, np.float64), "left")
    return np.asarray(np.unique(places, return_inverse=True)[1], np.intp)
