"""Kaplan-Meier curves of the risk groups of every model in every cohort (paper, Figure 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from prognode.adapters.drawing import FAINT
from prognode.statistics.kaplan_meier import KaplanMeier
from prognode.statistics.outcome import Floats
from training.cohort import CohortName
from training.estimates import NotKnown
from training.evaluation import GROUPS, ModelEvaluation
from training.models import MODEL_LABELS, ModelName
from training.report.items import ReportFigure
from training.report.labels import COHORT_LABELS, GROUP_LABELS
from training.report.look import GROUP_STROKES, Entry, Grid, Heading, Stroke, step_months, ticks
from training.report.numbers import hazard_ratio, p_equals
from training.report.panels import absent_models, followed_months, model_on, no_model, shown_models
from training.report.sheet import SMALL, Sheet, say, title
from training.report.svg import report_figure, worded_figure
from training.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TICK = 2.0
"""Half the height of a mark of censoring, in percent."""
KEY, TITLE = "figure_4_kaplan_meier", "Figure 4. Survival of the risk groups"


def kaplan_meier_figure(study: Study) -> ReportFigure:
    """Survival of the risk groups, one row per cohort and one column per model."""
    models = shown_models(study)
    if not models:
        return worded_figure(study, KEY, TITLE, no_model(study))
    rows = _rows(models, tuple(study.samples))
    only = (MODEL_LABELS[models[0]],) if len(models) == 1 else ()
    grid = Grid(
        len(rows[0]), len(rows), height=190, legend=_legend(), notes=only + absent_models(study),
        below=84, left=86, gap=70,
    )  # fmt: skip
    places = {(row, column): pair for row, pairs in enumerate(rows) for column, pair in enumerate(pairs)}
    found = {place: model_on(study, *pair) for place, pair in places.items()}
    names = {place: _name(*pair, alone=bool(only)) for place, pair in places.items()}
    headings = {place: _heading(grid, names[place], found[place]) for place in places}
    grid = grid.with_room_for(headings.values())

    def paint(sheet: Sheet) -> None:
        grid.begin(sheet)
        for place in places:
            axes = sheet.panel(*grid.place(*place))
            title(axes, headings[place].words, headings[place].padded(grid.lines))
            _panel(axes, found[place], followed_months(study))

    caption = (
        "Kaplan-Meier curves of the risk groups, which the cutoff of each model separates; cutoffs are locked in the "
        "training cohort. Shaded: 95 % confidence band (on the scale of log survival). Log-rank test; hazard ratio "
        "(HR) of high against low risk by a Cox model, with its 95 % Wald interval and Wald test. Under each panel: "
        "patients at risk."
    )
    return report_figure(study, KEY, TITLE, caption, grid.size, paint)


def _rows(
    models: Sequence[ModelName], cohorts: Sequence[CohortName]
) -> list[list[tuple[ModelName, CohortName]]]:
    """One row per cohort; of a single model all cohorts in one row."""
    if len(models) == 1:
        return [[(models[0], cohort) for cohort in cohorts]]
    return [[(name, cohort) for name in models] for cohort in cohorts]


def _legend() -> tuple[Entry, ...]:
    groups = [Entry(GROUP_LABELS[group], GROUP_STROKES[group]) for group in reversed(GROUPS)]
    tick = {"marker": "|", "markevery": [1], "markersize": 7}
    return (*groups, Entry("Follow-up of a patient ends (censored)", Stroke(FAINT, "none", 1.0), tick))


def _name(name: ModelName, cohort: CohortName, *, alone: bool) -> str:
    """Of a panel; where there is one model only it need not be said in each."""
    if alone:
        return COHORT_LABELS[cohort]
    return f"{MODEL_LABELS[name]}, {COHORT_LABELS[cohort].lower().removesuffix(' cohort')}"


def _heading(grid: Grid, words: str, found: ModelEvaluation | NotKnown) -> Heading:
    return grid.heading(words) if isinstance(found, NotKnown) else grid.heading(words, *_tests(found))


def _tests(found: ModelEvaluation) -> tuple[str, str]:
    """Log-rank test, hazard ratio."""
    test, ratio = found.log_rank, found.hr_groups
    ranks = test.why if isinstance(test, NotKnown) else p_equals(test.p_value)
    if isinstance(ratio, NotKnown):
        return f"Log-rank test: {ranks}", f"HR: {ratio.why}"
    hazard = f"HR {hazard_ratio(ratio.value, ratio.lower, ratio.upper)}, {ratio.test} {p_equals(ratio.p)}"
    return f"Log-rank test: {ranks}", hazard


def _panel(axes: Axes, found: ModelEvaluation | NotKnown, months: float) -> None:
    if isinstance(found, NotKnown):
        say(axes, found.why)
        return
    for group, curve in found.curves.items():
        _curve(axes, curve, GROUP_STROKES[group])
    at = np.arange(0, months + 1e-9, step_months(months))
    quarters = np.arange(0, 101, 25)
    axes.set(xlim=(0, max(months, 1)), ylim=(0, 102.5), xticks=at, yticks=quarters)
    axes.set_ylabel("Alive (%)", color=FAINT, size=SMALL)
    axes.set_xlabel("Months", color=FAINT, size=SMALL, labelpad=2)
    _at_risk(axes, found, at)


def _curve(axes: Axes, curve: KaplanMeier, stroke: Stroke) -> None:
    drawn = curve.events > 0  # nothing changes at the other times
    drawn[-1] = True
    times = np.concatenate(([0.0], curve.times[drawn]))
    lower, upper = (_percent_from_start(limit[drawn]) for limit in curve.limits())
    axes.fill_between(times, lower, upper, step="post", color=stroke.color, alpha=0.13, linewidth=0)
    axes.step(times, _percent_from_start(curve.survival[drawn]), where="post", **stroke.style)
    lost = curve.censored > 0
    at = 100 * curve.survival[lost]
    axes.plot(*ticks(curve.times[lost], at - TICK, at + TICK), color=stroke.color, linewidth=1)


def _percent_from_start(survival: Floats) -> Floats:
    """Beginning at 100 %, where everybody lives."""
    return 100 * np.concatenate(([1.0], survival))


def _at_risk(axes: Axes, found: ModelEvaluation, months: Floats) -> None:
    from matplotlib.transforms import blended_transform_factory, offset_copy

    figure = axes.get_figure(root=True)
    base = blended_transform_factory(axes.transData, axes.transAxes)
    names = -axes.get_xlim()[1] * 0.06
    head = offset_copy(base, figure, y=-24, units="points")
    axes.text(names, 0, "at risk", ha="right", va="center", size=SMALL - 0.5, color=FAINT, transform=head)
    for place, group in enumerate(reversed(GROUPS)):
        down = offset_copy(base, figure, y=-36 - 12 * place, units="points")
        style: dict[str, Any] = {
            "color": GROUP_STROKES[group].color,
            "size": SMALL - 0.5,
            "va": "center",
            "transform": down,
        }
        axes.text(names, 0, group, ha="right", **style)
        curve = found.curves.get(group)
        counts = curve.at_risk_at(months) if curve else np.zeros(len(months), int)
        for at, count in zip(months, counts, strict=True):
            axes.text(at, 0, f"{count}", ha="center", **style)
