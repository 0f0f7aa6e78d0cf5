"""Whether predicted survival comes true, and whether acting on it does good (paper, Figure 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from prognode.adapters.drawing import FAINT, INK
from prognode.adapters.nomogram_axes import horizon
from prognode.statistics.calibration import GroupedCalibration
from prognode.statistics.decision_curve import DecisionCurve
from prognode.statistics.outcome import Floats
from training.cohort import CohortName
from training.estimates import NotKnown
from training.evaluation import AtHorizon, ModelEvaluation
from training.models import MODEL_LABELS
from training.report.items import ReportFigure
from training.report.labels import COHORT_LABELS
from training.report.look import ASIDE, DOTTED, MODEL_STROKES, Entry, Grid, Stroke, legend
from training.report.numbers import with_limits
from training.report.panels import cohort_of, leading, model_on, models_of
from training.report.sheet import SMALL, Sheet, say, title
from training.report.svg import report_figure
from training.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EVERYBODY, NOBODY = Stroke(FAINT, DOTTED, 1.6), Stroke(FAINT, "-", 1.0)
LEAST_BENEFIT = -0.1
"""Bottom of the decision curves: treating everybody falls without end."""


def calibration_figure(study: Study) -> ReportFigure:
    """Observed against predicted survival of the combined model, one row per horizon and one column per cohort."""
    cohorts, horizons = tuple(study.samples), study.settings.horizons_months
    name = leading(study)
    grid = Grid(len(cohorts), len(horizons), height=262, above=56, below=44, left=66, gap=62)

    def paint(sheet: Sheet) -> None:
        legend(sheet, grid.left, 14, _calibration_legend())
        for row, months in enumerate(horizons):
            for column, cohort in enumerate(cohorts):
                axes = sheet.panel(*grid.place(row, column))
                _calibration_panel(axes, model_on(study, name, cohort), cohort, months)

    caption = (
        f"Calibration of the {MODEL_LABELS[name].lower()}: predicted survival (mean of a group of patients) against "
        f"Kaplan-Meier survival with its 95 % interval, in {study.settings.calibration_groups} groups by predicted "
        "survival; a group of which nobody survived has no interval. Small ticks along the bottom: predictions of the "
        "single patients. Slope: Cox coefficient of the linear predictor (1 where it is right). O/E: probability of "
        "death by the horizon, observed (Kaplan-Meier) over expected. 95 % intervals."
    )
    return report_figure(study, "figure_6a_calibration", "Figure 6A. Calibration", caption, grid.size, paint)


def _calibration_legend() -> list[Entry]:
    dot = {"marker": "o", "markevery": [1], "markersize": 5.5, "markeredgecolor": INK}
    none = Stroke(INK, "none")
    return [
        Entry("Group of patients", none, dot),
        Entry("Follow-up of the group ends before the horizon", none, dot | {"markerfacecolor": "white"}),
        Entry("Perfect prediction", ASIDE),
    ]


def _calibration_panel(
    axes: Axes, found: ModelEvaluation | NotKnown, cohort: CohortName, months: int
) -> None:
    heading = f"{COHORT_LABELS[cohort].removesuffix(' cohort')}, {horizon(months)} survival"
    if isinstance(found, NotKnown):
        title(axes, heading)
        say(axes, found.why)
        return
    at = next(one for one in found.at if one.months == months)
    if isinstance(at.groups, NotKnown):
        title(axes, heading)
        say(axes, at.groups.why)
        return
    title(axes, heading, f"{_slope(found)}\n{_ratio(at)}")
    axes.plot([0, 100], [0, 100], **ASIDE.style)
    _groups(axes, at.groups)
    _rug(axes, 100 * at.predicted)
    axes.set(xlim=(-3, 103), ylim=(0, 104), xticks=range(0, 101, 25), yticks=range(0, 101, 25))
    axes.set_xlabel("Predicted survival (%)", color=FAINT, size=SMALL)
    axes.set_ylabel("Observed survival (%)", color=FAINT, size=SMALL)


def _slope(found: ModelEvaluation) -> str:
    slope = found.slope
    return (
        f"Slope: {slope.why}"
        if isinstance(slope, NotKnown)
        else f"Slope {with_limits(slope.value, slope.limits())}"
    )


def _ratio(at: AtHorizon) -> str:
    large = at.in_the_large
    if isinstance(large, NotKnown):
        return f"O/E: {large.why}"
    return f"O/E {with_limits(large.ratio, (large.lower, large.upper))}"


def _groups(axes: Axes, groups: GroupedCalibration) -> None:
    x, y = 100 * groups.predicted, 100 * groups.observed
    axes.plot(x, y, color=INK, linewidth=1.1, alpha=0.5)
    for place in np.flatnonzero(np.isfinite(groups.lower) & np.isfinite(groups.upper)):
        limits = [100 * groups.lower[place], 100 * groups.upper[place]]
        axes.plot([x[place]] * 2, limits, color=INK, linewidth=1.3, marker="_", markersize=7)
    for place, followed in enumerate(groups.followed):
        fill = INK if followed else "white"
        axes.plot(
            x[place], y[place], "o", markersize=6, markerfacecolor=fill, color=INK, clip_on=False, zorder=4
        )


def _rug(axes: Axes, predicted: Floats) -> None:
    from matplotlib.collections import LineCollection

    strokes = [[(x, 0), (x, 3)] for x in np.unique(predicted.round(1))]
    axes.add_collection(LineCollection(strokes, colors=FAINT, linewidths=0.7, alpha=0.7))


# ---------------------------------------------------------------- decision curves


def decision_figure(study: Study) -> ReportFigure:
    """Net benefit of every model, of treating everybody and nobody; one row per horizon, one column per cohort."""
    cohorts, horizons = tuple(study.samples), study.settings.horizons_months
    grid = Grid(len(cohorts), len(horizons), height=215, above=34, below=46, left=66, gap=56)

    def paint(sheet: Sheet) -> None:
        legend(sheet, grid.left, 14, _decision_legend(study))
        top = _highest_benefit(study)
        for row in range(len(horizons)):
            for column, cohort in enumerate(cohorts):
                axes = sheet.panel(*grid.place(row, column))
                _decision_panel(axes, study, cohort, row, top)

    caption = (
        "Decision curves: net benefit of treating the patients whose predicted risk of death by the horizon is at "
        "least the threshold, with deaths by the Kaplan-Meier estimate among the treated. A curve is interrupted where "
        "the follow-up of the treated ends before the horizon."
    )
    return report_figure(
        study, "figure_6b_decision_curves", "Figure 6B. Decision curves", caption, grid.size, paint
    )


def _decision_legend(study: Study) -> list[Entry]:
    models = [
        Entry(MODEL_LABELS[name], MODEL_STROKES[name]) for name in models_of(study) if name in study.models
    ]
    return [*models, Entry("Treat all", EVERYBODY), Entry("Treat none", NOBODY)]


def _curves(study: Study, cohort: CohortName, place: int) -> DecisionCurve | NotKnown:
    evaluation = cohort_of(study, cohort)
    return evaluation if isinstance(evaluation, NotKnown) else evaluation.decision_curves[place]


def _highest_benefit(study: Study) -> float:
    """Of all panels, so that they share their axis."""
    horizons = study.settings.horizons_months
    every = [_curves(study, cohort, place) for cohort in study.samples for place in range(len(horizons))]
    known = [
        np.concatenate((one.treat_all, *one.models.values()))
        for one in every
        if not isinstance(one, NotKnown)
    ]
    finite = [values[np.isfinite(values)] for values in known]
    return max([float(values.max()) for values in finite if len(values)] + [0.1])


def _decision_panel(axes: Axes, study: Study, cohort: CohortName, place: int, top: float) -> None:
    months = study.settings.horizons_months[place]
    title(axes, f"{COHORT_LABELS[cohort].removesuffix(' cohort')}, {horizon(months)} risk of death")
    curves = _curves(study, cohort, place)
    if isinstance(curves, NotKnown):
        say(axes, curves.why)
        return
    percent = 100 * curves.thresholds
    axes.plot(percent, curves.treat_none, **NOBODY.style)
    shown = curves.treat_all > LEAST_BENEFIT - 0.2
    axes.plot(percent[shown], curves.treat_all[shown], **EVERYBODY.style)
    for name in reversed(models_of(study)):
        if name in curves.models:
            axes.plot(percent, curves.models[name], **MODEL_STROKES[name].style)
    axes.set(xlim=(0, 100), ylim=(LEAST_BENEFIT, top * 1.05), xticks=range(0, 101, 25))
    axes.set_xlabel("Threshold probability (%)", color=FAINT, size=SMALL)
    axes.set_ylabel("Net benefit", color=FAINT, size=SMALL)
