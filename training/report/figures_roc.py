"""Time-dependent ROC curves of the models (paper, Figure S2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from prognode.adapters.drawing import FAINT, INK
from prognode.statistics.time_dependent_roc import RocCurve
from training.cohort import CohortName
from training.estimates import NotKnown
from training.models import MODEL_LABELS, ModelName
from training.report.items import ReportFigure
from training.report.look import ASIDE, DASHED, MODEL_STROKES, Entry, Grid, Stroke
from training.report.numbers import decimal
from training.report.panels import absent_models, by_horizon, model_at, named, no_model, shown_models
from training.report.sheet import SMALL, Sheet, say, title
from training.report.svg import report_figure, worded_figure
from training.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KEY, TITLE = "figure_s2_roc", "Figure S2. Time-dependent ROC curves"
NNE, KM = Stroke(INK, "-", 1.6), Stroke(INK, DASHED, 1.1)
COLUMNS = (0.62, 0.86)
"""Where the areas of the two estimators stand under a panel, as shares of its width."""


def roc_figure(study: Study) -> ReportFigure:
    """Heagerty's curves by both estimators; one row per horizon, one column per cohort."""
    models, rows = shown_models(study), by_horizon(study)
    if not models:
        return worded_figure(study, KEY, TITLE, no_model(study))
    grid = Grid(
        len(rows[0]), len(rows), height=262, legend=_legend(), notes=absent_models(study),
        below=76 + 17 * len(models),
    )  # fmt: skip

    def paint(sheet: Sheet) -> None:
        grid.begin(sheet)
        for row, pairs in enumerate(rows):
            for column, (cohort, months) in enumerate(pairs):
                _panel(sheet, grid.place(row, column), study, cohort, months)

    caption = (
        "Time-dependent receiver operating characteristic of the linear predictor (Heagerty, Lumley and Pepe 2000): "
        "who dies by the horizon against who lives longer. Solid: nearest-neighbour estimate (span 0.25 n^-0.2); dashed: "
        "Kaplan-Meier estimate, which need not rise all the way. Below: areas under the curves."
    )
    return report_figure(study, KEY, TITLE, caption, grid.size, paint)


def _legend() -> tuple[Entry, ...]:
    return Entry("Nearest neighbours (NNE)", NNE), Entry("Kaplan-Meier (KM)", KM), Entry("Chance", ASIDE)


def _panel(
    sheet: Sheet, place: tuple[float, float, float, float], study: Study, cohort: CohortName, months: int
) -> None:
    axes = sheet.panel(*place)
    title(axes, named(cohort, months))
    models = shown_models(study)
    curves = {name: _curves(study, name, cohort, months) for name in models}
    known = [name for name in models if any(isinstance(curve, RocCurve) for curve in curves[name])]
    if not known:
        say(axes, _why(curves[models[0]]))
        return
    axes.plot([0, 1], [0, 1], **ASIDE.style)
    for name in reversed(known):
        for curve, stroke in zip(curves[name], (NNE, KM), strict=True):
            if isinstance(curve, RocCurve):
                _curve(axes, curve, stroke, MODEL_STROKES[name].color)
    quarters = np.arange(0, 1.01, 0.25)
    axes.set(xlim=(0, 1.01), ylim=(0, 1.01), xticks=quarters, yticks=quarters)
    axes.set_xlabel("False positive rate", color=FAINT, size=SMALL)
    axes.set_ylabel("True positive rate", color=FAINT, size=SMALL)
    _areas(sheet, place, curves)


def _curves(
    study: Study, name: ModelName, cohort: CohortName, months: int
) -> tuple[RocCurve | NotKnown, RocCurve | NotKnown]:
    """(nearest neighbours, Kaplan-Meier)."""
    found = model_at(study, name, cohort, months)
    return (found, found) if isinstance(found, NotKnown) else (found.roc_nne, found.roc_km)


def _why(curves: tuple[RocCurve | NotKnown, ...]) -> str:
    return next(curve.why for curve in curves if isinstance(curve, NotKnown))


def _curve(axes: Axes, curve: RocCurve, stroke: Stroke, color: str) -> None:
    rates = np.clip(np.column_stack((curve.false_positive, curve.true_positive)), 0, 1)
    axes.plot(*rates.T, linestyle=stroke.linestyle, linewidth=stroke.linewidth, color=color)


def _areas(
    sheet: Sheet,
    place: tuple[float, float, float, float],
    curves: dict[ModelName, tuple[RocCurve | NotKnown, RocCurve | NotKnown]],
) -> None:
    """A small table under the panel: AUC of each model by each estimator."""
    left, top, width, height = place
    y = top + height + 56
    for share, words in zip(COLUMNS, ("AUC, NNE", "AUC, KM"), strict=True):
        sheet.write(left + share * width, y, words, size=SMALL - 0.5, color=FAINT, ha="center")
    for name, pair in curves.items():
        y += 17
        sheet.rule([(left, y), (left + 18, y)], color=MODEL_STROKES[name].color, linewidth=2.4)
        sheet.write(left + 24, y, MODEL_LABELS[name], size=SMALL)
        for share, curve in zip(COLUMNS, pair, strict=True):
            words = "not known" if isinstance(curve, NotKnown) else decimal(curve.auc)
            sheet.write(left + share * width, y, words, size=SMALL, ha="center")
