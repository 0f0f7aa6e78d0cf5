"""How well predicted survival fits what happened: calibration, time-dependent ROC, Brier score (paper, Figures 6 and S2)."""

from __future__ import annotations

import math
from collections.abc import Iterator

from prognode.statistics.brier import BrierScore
from prognode.statistics.calibration import CalibrationInTheLarge, CalibrationSlope, GroupedCalibration
from prognode.statistics.time_dependent_roc import IpcwAuc, RocCurve
from training.estimates import NotKnown
from training.evaluation import AtHorizon
from training.report.items import ReportTable
from training.report.judged import Judged, absent_cohorts, judged, not_judged
from training.report.numbers import decimal, not_estimable, p_value, shown, with_limits
from training.report.tabulated import Row, filled, tabulated
from training.study import Study

GROUP_COLUMNS = (
    "Model",
    "Cohort",
    "Months",
    "Group",
    "Patients",
    "Deaths",
    "Mean predicted survival",
    "Observed survival (95 % CI)",
)
SUMMARY_COLUMNS = (
    "Model",
    "Cohort",
    "Months",
    "Deaths expected (probability)",
    "Deaths observed (probability)",
    "Observed / expected (95 % CI)",
    "Calibration slope (95 % CI)",
    "P value, Wald test, slope of 1",
)
ROC_COLUMNS = (
    "Model",
    "Cohort",
    "Months",
    "AUC, Heagerty, Kaplan-Meier",
    "AUC, Heagerty, nearest neighbours",
    "AUC, IPCW (95 % CI)",
    "Cases",
    "Controls",
    "Lost before",
)
BRIER_COLUMNS = (
    "Model",
    "Cohort",
    "Months",
    "Brier score",
    "Brier score of the Kaplan-Meier curve",
    "Scaled Brier score",
)
WIDTH_95 = 1.959963984540054


def _at_horizons(study: Study) -> Iterator[tuple[Judged, AtHorizon, list[str]]]:
    """Each model, cohort and horizon with the first three cells of its rows."""
    for pair in judged(study):
        for at in pair.one.at:
            yield pair, at, [*pair.labels, str(at.months)]


def calibration(study: Study) -> ReportTable:
    """Predicted against observed survival in groups of patients, from the lowest prediction to the highest."""
    rows = [row for _, at, first in _at_horizons(study) for row in _group_rows(at, first)]
    notes = [
        (
            f"Groups at quantiles of the predicted survival, {study.settings.calibration_groups} where ties allow; group 1 "
            "has the lowest prediction. Observed: Kaplan-Meier at the horizon, log limits. Deaths: over all of the follow-up."
        ),
        absent_cohorts(study),
    ]
    rows += not_judged(study, len(GROUP_COLUMNS))
    return tabulated(study, "calibration", "Calibration in groups", GROUP_COLUMNS, rows, notes)


def _group_rows(at: AtHorizon, first: list[str]) -> Iterator[Row]:
    found = at.groups
    if isinstance(found, NotKnown):
        yield filled([*first, not_estimable(found.why)], len(GROUP_COLUMNS))
        return
    for place in range(len(found.patients)):
        counts = (place + 1, int(found.patients[place]), int(found.events[place]))
        predicted = decimal(float(found.predicted[place]), 3)
        yield [*first, *map(str, counts), predicted, _observed(found, place)]


def _observed(found: GroupedCalibration, place: int) -> str:
    if not found.followed[place]:
        return not_estimable("the follow-up of this group ends before the horizon")
    limits = float(found.lower[place]), float(found.upper[place])
    return with_limits(float(found.observed[place]), limits, 3)


def calibration_summary(study: Study) -> ReportTable:
    """Deaths observed over expected at each horizon, and the calibration slope."""
    rows = [_summary_row(pair, at, first) for pair, at, first in _at_horizons(study)]
    notes = [
        (
            "Expected: mean predicted probability of death by the horizon; observed: one less the Kaplan-Meier survival. A "
            "ratio above 1: more died than predicted."
        ),
        (
            "Calibration slope: Cox coefficient of the linear predictor, over all of the follow-up; below 1, predictions are "
            "too extreme. In the patients that the model was fitted to it is 1 by construction."
        ),
        absent_cohorts(study),
    ]
    rows += not_judged(study, len(SUMMARY_COLUMNS))
    title = "Calibration in the large and calibration slope"
    return tabulated(study, "calibration_summary", title, SUMMARY_COLUMNS, rows, notes)


def _summary_row(pair: Judged, at: AtHorizon, first: list[str]) -> Row:
    return [
        *first,
        *_in_the_large(at.in_the_large),
        shown(pair.one.slope, lambda slope: with_limits(slope.value, slope.limits())),
        shown(pair.one.slope, _slope_p),
    ]


def _slope_p(slope: CalibrationSlope) -> str:
    return p_value(slope.p_value)


def _in_the_large(found: CalibrationInTheLarge | NotKnown) -> tuple[str, str, str]:
    """Expected, observed, ratio."""
    if isinstance(found, NotKnown):
        return not_estimable(found.why), "", ""
    ratio = with_limits(found.ratio, (found.lower, found.upper))
    return decimal(found.expected, 3), decimal(found.observed, 3), ratio


def roc(study: Study) -> ReportTable:
    """Areas under the time-dependent ROC curves, by three estimators."""
    rows = [_roc_row(at, first) for _, at, first in _at_horizons(study)]
    notes = [
        (
            "Cumulative cases (deaths by the horizon) against dynamic controls (alive beyond it). Heagerty, Lumley and Pepe "
            "(2000): Kaplan-Meier above each cut, and nearest neighbours with a span of 0.25 n^-0.2; these have no CI here."
        ),
        (
            "IPCW: cases weighted by the inverse probability of being followed (Uno et al. 2007); standard error after "
            "Blanche et al. (2013), limits cut to 0 and 1. Lost before: follow-up ended before the horizon without death."
        ),
        absent_cohorts(study),
    ]
    rows += not_judged(study, len(ROC_COLUMNS))
    title = "Time-dependent ROC: areas under the curves (AUC)"
    return tabulated(study, "roc", title, ROC_COLUMNS, rows, notes)


def _roc_row(at: AtHorizon, first: list[str]) -> Row:
    counts = [
        shown(at.ipcw, lambda auc, what=what: str(getattr(auc, what)))  # type: ignore[misc]
        for what in ("cases", "controls", "lost")
    ]
    if isinstance(at.ipcw, NotKnown):
        counts = [""] * 3
    return [*first, shown(at.roc_km, _area), shown(at.roc_nne, _area), shown(at.ipcw, _ipcw), *counts]


def _area(curve: RocCurve) -> str:
    return decimal(curve.auc)


def _ipcw(found: IpcwAuc) -> str:
    half = WIDTH_95 * found.standard_error if found.standard_error > 0 else math.nan
    return with_limits(found.auc, (max(found.auc - half, 0.0), min(found.auc + half, 1.0)))


def brier(study: Study) -> ReportTable:
    """Brier scores beside those of a prediction that knows no patient."""
    rows = [_brier_row(at, first) for _, at, first in _at_horizons(study)]
    notes = [
        (
            "Mean squared difference between predicted survival and what happened, weighted for censoring (Graf et al. 1999). "
            "The Kaplan-Meier curve of the same cohort predicts the same for everybody. Scaled: 1 - score / that of the "
            "Kaplan-Meier curve; 1 is perfect, at 0 or below the model predicts no better than the curve."
        ),
        absent_cohorts(study),
    ]
    rows += not_judged(study, len(BRIER_COLUMNS))
    return tabulated(study, "brier", "Brier scores", BRIER_COLUMNS, rows, notes)


def _brier_row(at: AtHorizon, first: list[str]) -> Row:
    if isinstance(at.brier, NotKnown):
        return filled([*first, not_estimable(at.brier.why)], len(BRIER_COLUMNS))
    return [*first, decimal(at.brier.score, 3), decimal(at.brier.null, 3), _scaled(at.brier)]


def _scaled(score: BrierScore) -> str:
    if math.isnan(score.scaled):
        return not_estimable("nobody has died by the horizon")
    return decimal(score.scaled, 3)
