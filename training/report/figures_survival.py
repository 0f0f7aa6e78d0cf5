"""Kaplan-Meier curves of the risk groups of every model in every cohort (paper, Figure 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
from training.report.look import GROUP_STROKES, Entry, Grid, Stroke, legend, step_months
from training.report.numbers import hazard_ratio, p_equals
from training.report.panels import followed_months, model_on, models_of
from training.report.sheet import SMALL, Sheet, say, title
from training.report.svg import report_figure
from training.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def kaplan_meier_figure(study: Study) -> ReportFigure:
    """Survival of the risk groups, one row per cohort and one column per model."""
    models, cohorts = models_of(study), tuple(study.samples)
    grid = Grid(len(models), len(cohorts), height=190, above=52, below=84, left=86, gap=70)

    def paint(sheet: Sheet) -> None:
        legend(sheet, grid.left, 14, _legend())
        for row, cohort in enumerate(cohorts):
            for column, name in enumerate(models):
                axes = sheet.panel(*grid.place(row, column))
                _survival_panel(axes, study, name, cohort)

    caption = (
        "Kaplan-Meier curves of the risk groups, which the cutoff of each model separates; cutoffs are locked in the "
        "training cohort. Shaded: 95 % confidence band (on the scale of log survival). Log-rank test; hazard ratio "
        "(HR) of high against low risk by a Cox model, with its 95 % Wald interval and Wald test. Under each panel: "
        "patients at risk."
    )
    return report_figure(
        study, "figure_4_kaplan_meier", "Figure 4. Survival of the risk groups", caption, grid.size, paint
    )


def _legend() -> list[Entry]:
    groups = [Entry(GROUP_LABELS[group], GROUP_STROKES[group]) for group in reversed(GROUPS)]
    tick = Stroke(FAINT, "none", 1.0)
    return [*groups, Entry("Follow-up of a patient ends (censored)", tick, {"marker": "|", "markevery": [1]})]


def _survival_panel(axes: Axes, study: Study, name: ModelName, cohort: CohortName) -> None:
    heading = f"{MODEL_LABELS[name]}, {COHORT_LABELS[cohort].lower().removesuffix(' cohort')}"
    found = model_on(study, name, cohort)
    if isinstance(found, NotKnown):
        title(axes, heading)
        say(axes, found.why)
        return
    title(axes, heading, _tests(found))
    months = followed_months(study)
    for group, curve in found.curves.items():
        _curve(axes, curve, GROUP_STROKES[group])
    step = step_months(months)
    ticks = np.arange(0, months + 1e-9, step)
    axes.set(xlim=(0, max(months, 1)), ylim=(0, 1.03), xticks=ticks, yticks=np.arange(0, 1.01, 0.25))
    axes.set_yticklabels([f"{share:.0f}" for share in np.arange(0, 101, 25)])
    axes.set_ylabel("Alive (%)", color=FAINT, size=SMALL)
    axes.set_xlabel("Months", color=FAINT, size=SMALL, labelpad=2)
    _at_risk(axes, found, ticks)


def _tests(found: ModelEvaluation) -> str:
    """Two lines: log-rank test, hazard ratio."""
    test = found.log_rank
    ranks = test.why if isinstance(test, NotKnown) else p_equals(test.p_value)
    ratio = found.hr_groups
    if isinstance(ratio, NotKnown):
        return f"Log-rank test: {ranks}\nHR: {ratio.why}"
    return (
        f"Log-rank test: {ranks}\n"
        f"HR {hazard_ratio(ratio.value, ratio.lower, ratio.upper)}, {ratio.test} {p_equals(ratio.p)}"
    )


def _curve(axes: Axes, curve: KaplanMeier, stroke: Stroke) -> None:
    times, survival = _from_start(curve.times, curve.survival)
    lower, upper = (_from_start(curve.times, limit)[1] for limit in curve.limits())
    axes.fill_between(times, lower, upper, step="post", color=stroke.color, alpha=0.13, linewidth=0)
    axes.step(times, survival, where="post", **stroke.style)
    lost = curve.censored > 0
    axes.plot(
        curve.times[lost], curve.survival[lost], "|", color=stroke.color, markersize=6, markeredgewidth=1
    )


def _from_start(times: Floats, heights: Floats) -> tuple[Floats, Floats]:
    """Beginning at (0, 1), where everybody lives."""
    return np.concatenate(([0.0], times)), np.concatenate(([1.0], heights))


def _at_risk(axes: Axes, found: ModelEvaluation, ticks: Floats) -> None:
    from matplotlib.transforms import blended_transform_factory, offset_copy

    base = blended_transform_factory(axes.transData, axes.transAxes)
    names = -axes.get_xlim()[1] * 0.06
    head = offset_copy(base, axes.figure, y=-24, units="points")
    axes.text(names, 0, "at risk", ha="right", va="center", size=SMALL - 0.5, color=FAINT, transform=head)
    for place, group in enumerate(reversed(GROUPS)):
        down = offset_copy(base, axes.figure, y=-36 - 12 * place, units="points")
        style = {"color": GROUP_STROKES[group].color, "size": SMALL - 0.5, "va": "center", "transform": down}
        axes.text(names, 0, group, ha="right", **style)
        curve = found.curves.get(group)
        counts = curve.at_risk_at(ticks) if curve else np.zeros(len(ticks), int)
        for at, count in zip(ticks, counts, strict=True):
            axes.text(at, 0, f"{count}", ha="center", **style)
