"""The nomogram: how points add up to survival (paper, Figure 3). Its axes are those of a patient's page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from prognode.adapters.drawing import FAINT, INK
from prognode.adapters.nomogram_axes import (
    LABELS_AT,
    POINTS,
    TOTAL,
    AxesLook,
    NomogramAxis,
    draw_axes,
    nomogram_axes,
)
from training.estimates import NotKnown
from training.models import MODEL_LABELS
from training.report.items import ReportFigure
from training.report.panels import leading, model_of, no_model
from training.report.sheet import LARGE, WIDTH_PX, Sheet
from training.report.svg import report_figure, worded_figure
from training.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KEY, TITLE = "figure_3_nomogram", "Figure 3. Nomogram"
ROW_PX = 46.0
LOOK = AxesLook(label_size=10, tick_size=8.5, between_labels=0.9, letter=0.9, strides=(1, 2, 5, 10))
SUBDIVISIONS = 5
"""Of the axes that points are read from."""
RIGHT_AT = 103.0
"""End of the panel on the scale of the points."""


def nomogram_figure(study: Study) -> ReportFigure:
    """Axes of the combined model, or of the next best one that exists."""
    name, rows = leading(study), _rows(study)
    if isinstance(rows, NotKnown):
        return worded_figure(study, KEY, TITLE, rows.why)
    height = ROW_PX * len(rows)

    def paint(sheet: Sheet) -> None:
        sheet.write(12, 18, _heading(study), size=LARGE, weight="bold")
        _draw(sheet.bare(12, 36, WIDTH_PX - 24, height), rows)

    caption = (
        f"Nomogram of the {MODEL_LABELS[name].lower()}. The value on each axis gives points on the uppermost one; their "
        "sum on the axis of total points stands above the probability of overall survival (OS). Values beyond an axis "
        "have points on the same straight line. The program itself computes survival from the model, not from points."
    )
    return report_figure(study, KEY, TITLE, caption, (WIDTH_PX, height + 62), paint)


def _heading(study: Study) -> str:
    name = leading(study)
    combined = model_of(study, "combined")
    if name == "combined" or not isinstance(combined, NotKnown):
        return MODEL_LABELS[name]
    return f"{MODEL_LABELS[name]} (no combined model: {combined.why})"


def _rows(study: Study) -> tuple[NomogramAxis, ...] | NotKnown:
    model = model_of(study, leading(study))
    if isinstance(model, NotKnown):
        return NotKnown(no_model(study))
    try:
        return nomogram_axes(model, study.settings.horizons_months, "{} OS probability (%)")
    except ValueError as fault:
        return NotKnown(str(fault))


def _draw(axes: Axes, rows: Sequence[NomogramAxis]) -> None:
    axes.set(xlim=(LABELS_AT - 1, RIGHT_AT), ylim=(len(rows) - 0.45, -0.45))
    axes.axis("off")
    draw_axes(axes, rows, LOOK)
    _minor_ticks(axes, rows)
    for y, row in enumerate(rows):
        if not row.ticks:
            axes.text(0, y, "outside 1 to 99 % on this scale", size=8.5, color=FAINT, va="center")


def _minor_ticks(axes: Axes, rows: Sequence[NomogramAxis]) -> None:
    """Finer marks on the axes of points, as on a ruler."""
    from matplotlib.collections import LineCollection

    strokes = []
    for y, row in enumerate(rows):
        if row.label in {POINTS, TOTAL} and len(row.ticks) > 1:
            first, last = row.ticks[0][0], row.ticks[-1][0]
            places = np.linspace(first, last, SUBDIVISIONS * (len(row.ticks) - 1) + 1)
            strokes += [[(x, y), (x, y + 0.08)] for x in places]
    axes.add_collection(LineCollection(strokes, colors=INK, linewidths=0.6))
