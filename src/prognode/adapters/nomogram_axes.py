"""The axes of a nomogram, as the page of one patient and the laboratory's report both show them.

A reader who adds up points on the printed nomogram must come to what the node says, so there is one drawing of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from prognode.adapters.drawing import FAINT, INK
from prognode.domain.cox_model import CoxModel, Term
from prognode.domain.nomogram import (
    SURVIVAL_TICKS,
    Nomogram,
    axis_points,
    nomogram_of,
    points_of_survival,
    total_points_ticks,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABELS_AT = -26.0
"""Where the names of the axes begin, on the scale of the page."""
POINTS, TOTAL = "Points", "Total points"


@dataclass(frozen=True, slots=True)
class NomogramAxis:
    """One line of the nomogram on the scale of the page, 0 to 100."""

    label: str
    ticks: tuple[tuple[float, str], ...]
    """(place, what is written there)."""


@dataclass(frozen=True, slots=True)
class AxesLook:
    """Sizes of type in points, and how near labels may come to each other on the scale of the page."""

    label_size: float = 12.5
    tick_size: float = 9.5
    between_labels: float = 4.5
    letter: float = 0.0
    """Width of a letter; 0 where ``between_labels`` holds for any label."""
    strides: tuple[int, ...] = ()
    """Of evenly spaced ticks every so many may be labelled; none: as many as there is room for."""


PAGE = AxesLook()


def horizon(months: int) -> str:
    """36 is ``3-year``, 40 is ``40-month``."""
    return f"{months // 12}-year" if months % 12 == 0 else f"{months}-month"


def nomogram_axes(
    model: CoxModel, horizons: Sequence[int], survival_label: str = "{} survival (%)"
) -> tuple[NomogramAxis, ...]:
    """From top to bottom: points, one axis per term of the model, total points, survival at each of the months.

    ``survival_label`` names a survival axis by its horizon. Raises ``ValueError`` where no axis has a width or the
    model's survival is 1 at a horizon.
    """
    nomogram = nomogram_of(model)
    points = NomogramAxis(POINTS, tuple((float(p), f"{p}") for p in range(0, 101, 10)))
    terms = [NomogramAxis(_label(term), _ticks(nomogram, term)) for term in model.terms]
    total = NomogramAxis(TOTAL, tuple((t * _scale(nomogram), f"{t:g}") for t in total_points_ticks(nomogram)))
    survival = [
        NomogramAxis(survival_label.format(horizon(months)), _survival_ticks(nomogram, model, months))
        for months in horizons
    ]
    return (points, *terms, total, *survival)


def total_at(model: CoxModel, total_points: float) -> float:
    """Place of a total on the scale of the page."""
    return total_points * _scale(nomogram_of(model))


def _scale(nomogram: Nomogram) -> float:
    return 100 / (total_points_ticks(nomogram)[-1] or 1)


def _survival_ticks(nomogram: Nomogram, model: CoxModel, months: int) -> tuple[tuple[float, str], ...]:
    scale = _scale(nomogram)
    places = (points_of_survival(nomogram, model, months, tick) * scale for tick in SURVIVAL_TICKS)
    return tuple((x, f"{100 * t:g}") for x, t in zip(places, SURVIVAL_TICKS, strict=True) if 0 <= x <= 100)


def _label(term: Term) -> str:
    return f"{term.label} ({term.unit})" if term.unit and not term.axis_labels else term.label


def _ticks(nomogram: Nomogram, term: Term) -> tuple[tuple[float, str], ...]:
    labels = term.axis_labels or tuple(f"{tick:g}" for tick in term.axis)
    return tuple(
        (axis_points(nomogram, term, tick), text) for tick, text in zip(term.axis, labels, strict=True)
    )


# ---------------------------------------------------------------- drawing


def draw_axes(axes: Axes, rows: Sequence[NomogramAxis], look: AxesLook = PAGE) -> None:
    """Names, labels, lines and ticks; row i lies at y = i, and y grows downwards."""
    for y, row in enumerate(rows):
        weight = "bold" if row.label == TOTAL else None
        axes.text(LABELS_AT, y, row.label, size=look.label_size, va="center", weight=weight)
        for x, text in _labelled(row.ticks, look):
            axes.text(x, y + 0.2, text, size=look.tick_size, color=FAINT, ha="center", va="top")
    _draw_lines(axes, rows)


def _labelled(ticks: Sequence[tuple[float, str]], look: AxesLook) -> Sequence[tuple[float, str]]:
    """Ticks whose labels do not run into each other."""
    ascending = sorted(ticks)
    if _are_even(ascending):
        for stride in look.strides:
            if len(_fitting(ascending[::stride], look)) == len(ascending[::stride]):
                return ascending[::stride]
    return _fitting(ascending, look)


def _are_even(ticks: Sequence[tuple[float, str]]) -> bool:
    steps = [after[0] - before[0] for before, after in pairwise(ticks)]
    return bool(steps) and max(steps) - min(steps) < 1e-6 * max(steps)


def _fitting(ticks: Sequence[tuple[float, str]], look: AxesLook) -> list[tuple[float, str]]:
    """As many as there is room for, from the left."""
    kept: list[tuple[float, str]] = []
    for x, text in ticks:
        letters = len(kept[-1][1]) + len(text) if kept else 0
        if not kept or x - kept[-1][0] >= look.between_labels + look.letter * letters / 2:
            kept.append((x, text))
    return kept


def _draw_lines(axes: Axes, rows: Sequence[NomogramAxis]) -> None:
    """Every axis and tick in two collections."""
    from matplotlib.collections import LineCollection

    strokes = [[(row.ticks[0][0], y), (row.ticks[-1][0], y)] for y, row in enumerate(rows) if row.ticks]
    small = [[(x, y), (x, y + 0.14)] for y, row in enumerate(rows) for x, _ in row.ticks]
    axes.add_collection(LineCollection(strokes, colors=INK, linewidths=1.3))
    axes.add_collection(LineCollection(small, colors=INK, linewidths=0.9))
