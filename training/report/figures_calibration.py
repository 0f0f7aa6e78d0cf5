"""Whether predicted survival comes true, and whether acting on it does good (paper, Figure 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from prognode.adapters.drawing import FAINT, INK
from prognode.statistics.calibration import GroupedCalibration
from prognode.statistics.decision_curve import DecisionCurve
from prognode.statistics.outcome import Floats
from training.cohort import CohortName
from training.estimates import NotKnown
from training.evaluation import AtHorizon, ModelEvaluation
from training.models import MODEL_LABELS
from training.report.items import ReportFigure
from training.report.look import ASIDE, DOTTED, MODEL_STROKES, Entry, Grid, Heading, Stroke, ticks
from training.report.numbers import with_limits
from training.report.panels import (
    absent_models,
    by_horizon,
    cohort_of,
    leading,
    model_on,
    named,
    no_model,
    shown_models,
)
from training.report.sheet import SMALL, Sheet, say, title
from training.report.svg import report_figure, worded_figure
from training.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EVERYBODY, NOBODY = Stroke(FAINT, DOTTED, 1.6), Stroke(FAINT, "-", 1.0)
LEAST_BENEFIT = -0.1
"""Bottom of the decision curves: treating everybody falls without end."""


def calibration_figure(study: Study) -> ReportFigure:
    """Observed against predicted survival of the combined model, one row per horizon and one column per cohort."""
    key, words = "figure_6a_calibration", "Figure 6A. Calibration"
    if not study.models:
        return worded_figure(study, key, words, no_model(study))
    name, rows = leading(study), by_horizon(study)
    notes = absent_models(study) if name != "combined" else ()
    grid = Grid(len(rows[0]), len(rows), height=262, legend=_calibration_legend(), notes=notes)
    places = {(row, column): pair for row, pairs in enumerate(rows) for column, pair in enumerate(pairs)}
    found = {place: model_on(study, name, cohort) for place, (cohort, _) in places.items()}
    headings = {place: _heading(grid, found[place], *pair) for place, pair in places.items()}
    grid = grid.with_room_for(headings.values())

    def paint(sheet: Sheet) -> None:
        grid.begin(sheet)
        for place, (_, months) in places.items():
            axes = sheet.panel(*grid.place(*place))
            title(axes, headings[place].words, headings[place].padded(grid.lines))
            _calibration_panel(axes, found[place], months)

    caption = (
        f"Calibration of the {MODEL_LABELS[name].lower()}: predicted survival (mean of a group of patients) against "
        f"Kaplan-Meier survival with its 95 % interval, in {study.settings.calibration_groups} groups by predicted "
        "survival; a group of which nobody survived has no interval. Small ticks along the bottom: predictions of the "
        "single patients. Slope: Cox coefficient of the linear predictor (1 where it is right). O/E: probability of "
        "death by the horizon, observed (Kaplan-Meier) over expected. 95 % intervals."
    )
    return report_figure(study, key, words, caption, grid.size, paint)


def _calibration_legend() -> tuple[Entry, ...]:
    dot = {"marker": "o", "markevery": [1], "markersize": 5.5, "markeredgecolor": INK}
    none = Stroke(INK, "none")
    return (
        Entry("Group of patients", none, dot),
        Entry("Follow-up of the group ends before the horizon", none, dot | {"markerfacecolor": "white"}),
        Entry("Perfect prediction", ASIDE),
    )


def _heading(grid: Grid, found: ModelEvaluation | NotKnown, cohort: CohortName, months: int) -> Heading:
    words = named(cohort, months)
    if isinstance(found, NotKnown):
        return grid.heading(words)
    return grid.heading(words, _slope(found), _ratio(_at(found, months)))


def _at(found: ModelEvaluation, months: int) -> AtHorizon:
    return next(one for one in found.at if one.months == months)


def _calibration_panel(axes: Axes, found: ModelEvaluation | NotKnown, months: int) -> None:
    if isinstance(found, NotKnown):
        say(axes, found.why)
        return
    at = _at(found, months)
    if isinstance(at.groups, NotKnown):
        say(axes, at.groups.why)
        return
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
    for place in np.flatnonzero(np.isfinite(groups.lower) & np.isfinite(groups.upper)).tolist():
        limits = [100 * groups.lower[place], 100 * groups.upper[place]]
        axes.plot([x[place]] * 2, limits, color=INK, linewidth=1.3, marker="_", markersize=7)
    for place, followed in enumerate(groups.followed):
        fill = INK if followed else "white"
        axes.plot(
            x[place], y[place], "o", markersize=6, markerfacecolor=fill, color=INK, clip_on=False, zorder=4
        )


def _rug(axes: Axes, predicted: Floats) -> None:
    axes.plot(*ticks(np.unique(predicted.round(1)), 0, 3), color=FAINT, linewidth=0.7, alpha=0.7)


# ---------------------------------------------------------------- decision curves


def decision_figure(study: Study) -> ReportFigure:
    """Net benefit of every model, of treating everybody and nobody; one row per horizon, one column per cohort."""
    key, words = "figure_6b_decision_curves", "Figure 6B. Decision curves"
    if not study.models:
        return worded_figure(study, key, words, no_model(study))
    rows = by_horizon(study)
    grid = Grid(
        len(rows[0]), len(rows), height=215, legend=_decision_legend(study), notes=absent_models(study)
    )

    def paint(sheet: Sheet) -> None:
        grid.begin(sheet)
        top = _highest_benefit(study)
        for row, pairs in enumerate(rows):
            for column, (cohort, months) in enumerate(pairs):
                axes = sheet.panel(*grid.place(row, column))
                title(axes, named(cohort, months))
                _decision_panel(axes, study, _curves(study, cohort, months), top)

    caption = (
        "Decision curves: net benefit of treating the patients whose predicted risk of death by the horizon is at "
        "least the threshold, with deaths by the Kaplan-Meier estimate among the treated. A curve is interrupted where "
        "the follow-up of the treated ends before the horizon."
    )
    return report_figure(study, key, words, caption, grid.size, paint)


def _decision_legend(study: Study) -> tuple[Entry, ...]:
    models = [Entry(MODEL_LABELS[name], MODEL_STROKES[name]) for name in shown_models(study)]
    return (*models, Entry("Treat all", EVERYBODY), Entry("Treat none", NOBODY))


def _curves(study: Study, cohort: CohortName, months: int) -> DecisionCurve | NotKnown:
    evaluation = cohort_of(study, cohort)
    if isinstance(evaluation, NotKnown):
        return evaluation
    return evaluation.decision_curves[study.settings.horizons_months.index(months)]


def _highest_benefit(study: Study) -> float:
    """Of all panels, so that they share their axis."""
    every = [_curves(study, *pair) for pairs in by_horizon(study) for pair in pairs]
    known = [
        np.concatenate((one.treat_all, *one.models.values()))
        for one in every
        if not isinstance(one, NotKnown)
    ]
    finite = [values[np.isfinite(values)] for values in known]
    return max([float(values.max()) for values in finite if len(values)] + [0.1])


def _decision_panel(axes: Axes, study: Study, curves: DecisionCurve | NotKnown, top: float) -> None:
    if isinstance(curves, NotKnown):
        say(axes, curves.why)
        return
    percent = 100 * curves.thresholds
    axes.plot(percent, curves.treat_none, **NOBODY.style)
    shown = curves.treat_all > LEAST_BENEFIT - 0.2
    axes.plot(percent[shown], curves.treat_all[shown], **EVERYBODY.style)
    for name in reversed(shown_models(study)):
        if name in curves.models:
            axes.plot(percent, curves.models[name], **MODEL_STROKES[name].style)
    axes.set(xlim=(0, 100), ylim=(LEAST_BENEFIT, top * 1.05), xticks=range(0, 101, 25))
    axes.set_xlabel("Threshold probability (%)", color=FAINT, size=SMALL)
    axes.set_ylabel("Net benefit", color=FAINT, size=SMALL)
