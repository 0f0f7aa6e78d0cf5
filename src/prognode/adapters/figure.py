"""The report as one page that a radiologist wants to look at: result, survival curve, outlines, nomogram.

It is drawn from the same :class:`~prognode.domain.report.Report` as the SR, so the two cannot disagree. No name or
identifier of the patient is on it. The bytes are the same for the same report on one machine.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from prognode.adapters.drawing import ACCENT, DRAWING, FAINT, INK, RULE
from prognode.adapters.nomogram_axes import LABELS_AT, TOTAL, draw_axes, horizon, nomogram_axes, total_at
from prognode.domain.cox_model import CoxModel
from prognode.domain.geometry import Vector
from prognode.domain.prognosis import Phase, Prognosis
from prognode.domain.report import PhaseFinding, Report, missing_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_PX, HEIGHT_PX, DPI = 1600, 1100, 100
WINDOW_HU = (-160.0, 240.0)  # level 40, width 400
LEAST_VIEW_MM = 130.0
CONTOUR = "#ffd23f"
WARNING = "#7a1712"


@dataclass(frozen=True, slots=True)
class FigureImage:
    """A page: ``rgb`` (rows, columns, 3) uint8, and the same as a PNG file."""

    rgb: NDArray[np.uint8]
    png: bytes


def draw_figure(report: Report, images: Mapping[Phase, NDArray[np.float32]], model: CoxModel) -> FigureImage:
    """Draw the page of a report.

    ``images`` holds per phase the image of the largest cross-section in HU (rows, columns), as
    ``report.findings[i].plane``; a phase that is not there is left blank. ``model`` is the recipe's model that made the
    prognosis, for the axes. ``ValueError`` for a case that could not be evaluated: it has no figure.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if report.prognosis is None:
        raise ValueError("a case that cannot be evaluated has no figure")
    with DRAWING, rc_context({"font.family": "DejaVu Sans", "font.size": 12, "text.color": INK}):
        figure = Figure(figsize=(WIDTH_PX / DPI, HEIGHT_PX / DPI), dpi=DPI, facecolor="white")
        canvas = FigureCanvasAgg(figure)
        _headline(figure, report, report.prognosis)
        _survival_curve(_axes(figure, 100, 175, 540, 310), report.prognosis)
        _slices(figure, report, images)
        _nomogram(_axes(figure, 60, 585, 1480, 410), report.prognosis, model)
        _footer(figure, report)
        canvas.draw()
        rgb = np.asarray(canvas.buffer_rgba())[..., :3].copy()
    return FigureImage(rgb, _png(rgb, report))


def _png(rgb: NDArray[np.uint8], report: Report) -> bytes:
    """PNG without date or software version, so that only the page decides its bytes."""
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    words = {"Description": " ".join(report.notices), "Software": "Prognode"}
    imsave(buffer, rgb, format="png", metadata=words, pil_kwargs={"compress_level": 3})
    return buffer.getvalue()


def _axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at a place given in pixels from the top left corner."""
    return figure.add_axes(
        (left / WIDTH_PX, 1 - (top + height) / HEIGHT_PX, width / WIDTH_PX, height / HEIGHT_PX)
    )


def _write(figure: Figure, x: float, y: float, words: str, **style: Any) -> None:
    """Text at pixels from the top left corner."""
    figure.text(x / WIDTH_PX, 1 - y / HEIGHT_PX, words, **{"va": "center", **style})


def _bar(figure: Figure, box: tuple[float, float, float, float], colour: str) -> None:
    """Filled rectangle: (left, top, width, height) in pixels from the top left corner."""
    from matplotlib.patches import Rectangle

    left, top, width, height = box
    corner = (left / WIDTH_PX, 1 - (top + height) / HEIGHT_PX)
    figure.add_artist(Rectangle(corner, width / WIDTH_PX, height / HEIGHT_PX, color=colour, linewidth=0))


# ---------------------------------------------------------------- headline and footer


def _headline(figure: Figure, report: Report, prognosis: Prognosis) -> None:
    colour = ACCENT[prognosis.risk_group]
    _bar(figure, (0, 0, 14, 140), colour)
    _write(figure, 40, 50, f"{prognosis.risk_group.upper()} RISK", size=34, weight="bold", color=colour)
    relation = "above" if prognosis.linear_predictor > prognosis.cutoff else "not above"
    rule = f"Linear predictor {prognosis.linear_predictor:.3f}, {relation} the cutoff {prognosis.cutoff:.3f}"
    _write(figure, 41, 96, rule, size=12, color=FAINT)
    _write(figure, 41, 120, _completeness(prognosis), size=12, color=FAINT)
    for place, (months, probability) in enumerate(prognosis.survival):
        x = 690 + 230 * place
        _write(figure, x, 52, f"{100 * probability:.1f} %", size=34, weight="bold", ha="center")
        _write(figure, x, 98, f"{horizon(months)} overall survival", size=13, color=FAINT, ha="center")
    _research_mark(figure, report)


def _completeness(prognosis: Prognosis) -> str:
    if prognosis.missing:
        return f"PRELIMINARY: {missing_words(prognosis)} missing, imaging signatures only"
    return f"{prognosis.total_points:.1f} nomogram points"


def _research_mark(figure: Figure, report: Report) -> None:
    marks = ["RESEARCH ONLY"] + (["DEMONSTRATION"] if report.recipe.demonstration else [])
    _bar(figure, (1140, 22, 430, 100), WARNING)
    _write(figure, 1355, 56, marks[0], size=29, weight="bold", color="white", ha="center")
    below = marks[1] if len(marks) > 1 else "not for clinical decisions"
    _write(figure, 1355, 97, below, size=17, weight="bold", color="white", ha="center")


def _footer(figure: Figure, report: Report) -> None:
    recipe = report.recipe
    _bar(figure, (0, HEIGHT_PX - 44, WIDTH_PX, 44), WARNING)
    words = "   ·   ".join(report.notices)
    _write(
        figure,
        800,
        HEIGHT_PX - 22,
        words,
        size=_fitting(words, 15),
        weight="bold",
        color="white",
        ha="center",
    )
    model = f"Model {recipe.name} {recipe.version}, recipe {recipe.digest[:12]}"
    _write(figure, 40, HEIGHT_PX - 66, model, size=11, color=FAINT)
    _write(figure, 1560, HEIGHT_PX - 66, f"Case {report.case_id}", size=11, color=FAINT, ha="right")


def _fitting(words: str, size: float, width_px: float = 1540.0) -> float:
    """Font size at which a bold line of DejaVu Sans fits the page: a letter is about 0.78 pixels per point wide."""
    return min(size, width_px / max(len(words), 1) / 0.78)


# ---------------------------------------------------------------- survival


def _survival_curve(axes: Axes, prognosis: Prognosis) -> None:
    colour = ACCENT[prognosis.risk_group]
    months, probability = np.array(prognosis.curve, dtype=float).T
    axes.fill_between(months, 100 * probability, step="post", color=colour, alpha=0.08, linewidth=0)
    axes.step(months, 100 * probability, where="post", color=colour, linewidth=2.4)
    for at, value in prognosis.survival:
        axes.plot([at, at, 0], [0, 100 * value, 100 * value], color=FAINT, linewidth=1, linestyle=(0, (3, 3)))
        axes.plot([at], [100 * value], "o", color=colour, markersize=8, markeredgecolor="white")
        axes.annotate(
            f"{100 * value:.1f} %",
            (at, 100 * value),
            (8, 8),
            textcoords="offset points",
            weight="bold",
            size=13,
        )
    last = max(float(months[-1]), *(float(at) for at, _ in prognosis.survival))
    axes.set(xlim=(0, last), ylim=(0, 104), xticks=np.arange(0, last + 1, 12), yticks=range(0, 101, 25))
    axes.set_xlabel("Months from diagnosis", color=FAINT)
    axes.set_ylabel("Alive (%)", color=FAINT)
    axes.set_title("Predicted overall survival", loc="left", weight="bold", size=14)
    axes.tick_params(colors=FAINT)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(RULE)


# ---------------------------------------------------------------- slices


def _slices(figure: Figure, report: Report, images: Mapping[Phase, NDArray[np.float32]]) -> None:
    findings = sorted(report.findings, key=lambda finding: finding.phase)
    for place, finding in enumerate(findings):
        axes = _axes(figure, 700 + 440 * place, 175, 400, 345)
        title = f"{finding.phase.capitalize()} phase"
        axes.set_title(title, loc="left", weight="bold", size=14)
        axes.set_title(
            f"{finding.longest_diameter_mm:.0f} mm, largest slice", loc="right", size=11, color=FAINT
        )
        axes.set(xticks=[], yticks=[], facecolor="black")
        if finding.phase in images:
            _slice(axes, finding, images[finding.phase])


def _slice(axes: Axes, finding: PhaseFinding, hu: NDArray[np.float32]) -> None:
    """Crop around the tumour with its outline. Pixel (0, 0) covers 0 to 1 in both directions (PS3.3 C.18.6.1.2)."""
    plane = finding.plane
    aspect = plane.row_spacing_mm / plane.column_spacing_mm
    left, right, top, bottom = _view(finding, 345 / 400)
    rows = slice(max(int(top), 0), max(int(np.ceil(bottom)), 1))
    columns = slice(max(int(left), 0), max(int(np.ceil(right)), 1))
    shown = hu[rows, columns]
    extent = (columns.start, columns.start + shown.shape[1], rows.start + shown.shape[0], rows.start)
    low, high = WINDOW_HU
    axes.imshow(
        shown, cmap="gray", vmin=low, vmax=high, extent=extent, aspect=aspect, interpolation="bilinear"
    )
    for outline in finding.outlines_px:
        closed = np.vstack([outline, outline[:1]])
        axes.plot(closed[:, 0], closed[:, 1], color="black", linewidth=2.6, alpha=0.5)
        axes.plot(closed[:, 0], closed[:, 1], color=CONTOUR, linewidth=1.5)
    axes.set(xlim=(left, right), ylim=(bottom, top))
    _orientation(axes, plane.row_cosines, plane.column_cosines)
    _scale_bar(axes, plane.column_spacing_mm, (left, right, top, bottom))


def _view(finding: PhaseFinding, ratio: float) -> tuple[float, float, float, float]:
    """(left, right, top, bottom) in pixels: twice the tumour, at least 130 mm wide, ``ratio`` high."""
    plane = finding.plane
    points = np.vstack(finding.outlines_px)
    low, high = points.min(axis=0), points.max(axis=0)
    spacing = np.array([plane.column_spacing_mm, plane.row_spacing_mm])
    width_mm = max(LEAST_VIEW_MM, 2 * float(((high - low) * spacing / (1, ratio)).max()))
    half = np.array([width_mm, width_mm * ratio]) / spacing / 2
    middle = (low + high) / 2
    return middle[0] - half[0], middle[0] + half[0], middle[1] - half[1], middle[1] + half[1]


def patient_side(direction: Vector) -> str:
    """Letter of the side that a direction (LPS) points to most: L, R, P, A, H or F."""
    axis = int(np.argmax(np.abs(direction)))
    return ("LPH" if direction[axis] > 0 else "RAF")[axis]


def _orientation(axes: Axes, row: Vector, column: Vector) -> None:
    def opposite(direction: Vector) -> Vector:
        return (-direction[0], -direction[1], -direction[2])

    style: dict[str, Any] = {
        "transform": axes.transAxes,
        "color": "white",
        "size": 12,
        "ha": "center",
        "va": "center",
    }
    axes.text(0.035, 0.5, patient_side(opposite(row)), **style)
    axes.text(0.965, 0.5, patient_side(row), **style)
    axes.text(0.5, 0.955, patient_side(opposite(column)), **style)


def _scale_bar(axes: Axes, spacing_mm: float, view: tuple[float, float, float, float]) -> None:
    left, right, top, bottom = view
    start, y = left + 0.05 * (right - left), bottom - 0.06 * (bottom - top)
    axes.plot([start, start + 20 / spacing_mm], [y, y], color="white", linewidth=3, solid_capstyle="butt")
    axes.text(start, y - 0.03 * (bottom - top), "2 cm", color="white", size=11, va="bottom")


# ---------------------------------------------------------------- nomogram


@dataclass(frozen=True, slots=True)
class _Mark:
    """Where the patient lies on one axis, and what is written at its right."""

    at: float
    value: str
    points: str = ""


def _nomogram(axes: Axes, prognosis: Prognosis, model: CoxModel) -> None:
    rows = nomogram_axes(model, [months for months, _ in prognosis.survival])
    axes.set(xlim=(-27, 127), ylim=(len(rows) - 0.4, -1.2))
    axes.axis("off")
    head: dict[str, Any] = {"size": 11, "color": FAINT, "va": "center"}
    axes.text(LABELS_AT, -0.85, "Nomogram", size=14, weight="bold", va="center")
    axes.text(108, -0.85, "This patient", ha="center", **head)
    axes.text(121, -0.85, "Points", ha="center", **head)
    draw_axes(axes, rows)
    colour = ACCENT[prognosis.risk_group]
    marks = _marks(prognosis, model)
    for y, mark in enumerate(marks, start=1):
        _draw_mark(axes, y, mark, colour)
    first = [row.label for row in rows].index(TOTAL)
    _drop(axes, marks[first - 1].at, first, len(rows) - 1)


def _marks(prognosis: Prognosis, model: CoxModel) -> list[_Mark]:
    """One per axis below the points."""
    patient = {axis.name: axis for axis in prognosis.axes}
    terms = [patient[term.name] for term in model.terms]
    at = total_at(model, prognosis.total_points)
    return [
        *(_Mark(axis.points, axis.shown, f"{axis.points:.1f}") for axis in terms),
        _Mark(at, "", f"{prognosis.total_points:.1f}"),
        *(_Mark(at, f"{100 * probability:.1f} %") for _, probability in prognosis.survival),
    ]


def _draw_mark(axes: Axes, y: int, mark: _Mark, colour: str) -> None:
    style: dict[str, Any] = {"size": 12.5, "ha": "center", "va": "center", "weight": "bold"}
    axes.text(108, y, mark.value, **style)
    axes.text(121, y, mark.points, color=colour, **style)
    shape = "<" if mark.at < 0 else ">" if mark.at > 100 else "o"
    place = [min(max(mark.at, 0), 100)]
    axes.plot(place, [y], shape, color=colour, markersize=11, markeredgecolor="white", zorder=5)


def _drop(axes: Axes, at: float, top: int, bottom: int) -> None:
    """A line down from the total that joins it to the survival axes."""
    from matplotlib.collections import LineCollection

    x = min(max(at, 0), 100)
    line = LineCollection([[(x, top), (x, bottom)]], colors=FAINT, linewidths=1, linestyles="dashed")
    axes.add_collection(line)
