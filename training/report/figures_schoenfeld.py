"""Whether the hazard ratios of the clinical covariates stay the same over time (paper, Figure S1)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from prognode.adapters.drawing import FAINT, INK
from prognode.statistics.proportional_hazards import ProportionalHazards
from prognode.statistics.selection import ModelTerm
from training.covariates import covariate
from training.estimates import NotKnown, estimated
from training.report.items import ReportFigure
from training.report.look import ASIDE, BLUE, Entry, Grid, Stroke
from training.report.numbers import decimal, p_equals
from training.report.panels import NO_TRAINING
from training.report.sheet import SMALL, Sheet, title
from training.report.smooth import smooth
from training.report.svg import report_figure, worded_figure
from training.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KEY, TITLE = "figure_s1_schoenfeld", "Figure S1. Test of proportional hazards"
MOST_COLUMNS = 4
TIME_LABELS = 5


def schoenfeld_figure(study: Study) -> ReportFigure:
    """Scaled Schoenfeld residuals of the multivariable model, one panel per covariate."""
    found = _hazards(study)
    if isinstance(found, NotKnown):
        return worded_figure(study, KEY, TITLE, found.why)
    columns = min(len(found.terms), MOST_COLUMNS)
    rows = math.ceil(len(found.terms) / columns)
    grid = Grid(columns, rows, height=150, legend=_legend(), notes=(_overall(found),), lines=1, gap=64)

    def paint(sheet: Sheet) -> None:
        grid.begin(sheet)
        for place, name in enumerate(found.terms):
            axes = sheet.panel(*grid.place(*divmod(place, columns)))
            _panel(axes, found, place, _term(study, name))

    caption = (
        "Test of proportional hazards in the multivariable model of all clinical covariates: score test on Schoenfeld "
        "residuals (Grambsch and Therneau 1994), time transformed by 1 - Kaplan-Meier. Each point is a death. A flat "
        "curve means that the hazard ratio does not change; the dotted line is the estimate of the Cox model. For a "
        "covariate with several columns the residual is that of its contribution to the linear predictor, whose "
        f"estimate is 1. Covariates with p of {study.settings.schoenfeld_alpha:g} or less are not eligible for the model."
    )
    words = f"{TITLE} (GLOBAL {p_equals(found.overall.p)})"
    return report_figure(study, KEY, words, caption, grid.size, paint)


def _hazards(study: Study) -> ProportionalHazards | NotKnown:
    if study.trained is None:
        return NotKnown(NO_TRAINING)
    return study.trained.clinical.hazards


def _term(study: Study, name: str) -> ModelTerm:
    assert study.trained is not None
    return next(term for term in study.trained.clinical.terms if term.name == name)


def _overall(found: ProportionalHazards) -> str:
    test = found.overall
    return f"GLOBAL: chi-square {decimal(test.statistic)}, df {test.df}, {p_equals(test.p)}"


def _legend() -> tuple[Entry, ...]:
    dot = {"marker": "o", "markevery": [1], "markersize": 4, "markerfacecolor": "white"}
    return (
        Entry("Scaled Schoenfeld residual", Stroke(INK, "none"), dot),
        Entry("Natural spline, 95 % band", Stroke(BLUE)),
        Entry("Estimate of the Cox model", ASIDE),
    )


def _panel(axes: Axes, found: ProportionalHazards, place: int, term: ModelTerm) -> None:
    test, single = found.tests[place], len(term.labels) == 1
    score = f"chi-square {decimal(test.statistic)}, df {test.df}, {p_equals(test.p)}"
    title(axes, covariate(term.name).label, (score,))
    x, y = found.transformed_time, found.scaled_residuals[:, place]
    curve = estimated(lambda: smooth(x, y))
    if not isinstance(curve, NotKnown):
        axes.fill_between(curve.x, curve.lower, curve.upper, color=BLUE, alpha=0.13, linewidth=0)
        axes.plot(curve.x, curve.y, color=BLUE, linewidth=1.7)
    axes.plot(x, y, "o", markersize=3, markerfacecolor="white", color=INK, markeredgewidth=0.8)
    axes.axhline(float(y.mean()), **ASIDE.style)
    _months(axes, found)
    axes.locator_params(axis="y", nbins=5)
    axes.set_ylabel("Log hazard ratio" if single else "Multiple of the estimate", color=FAINT, size=SMALL)
    axes.set_xlabel("Months", color=FAINT, size=SMALL)


def _months(axes: Axes, found: ProportionalHazards) -> None:
    """Labels of deaths that lie about evenly on the transformed axis."""
    x = found.transformed_time
    wanted = np.linspace(x.min(), x.max(), TIME_LABELS)
    nearest = np.unique(np.abs(x[:, None] - wanted).argmin(axis=0))
    axes.set_xticks(
        x[nearest], [f"{time:.0f}" if time >= 10 else f"{time:.1f}" for time in found.time[nearest]]
    )
