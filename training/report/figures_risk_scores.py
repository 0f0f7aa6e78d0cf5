"""Risk scores of the patients by their group and by what became of them (paper, Figure 5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from prognode.adapters.drawing import ACCENT, FAINT, INK
from prognode.statistics.outcome import Bools, Floats, Outcome
from training.cohort import CohortName
from training.estimates import NotKnown
from training.evaluation import ModelEvaluation
from training.models import MODEL_LABELS
from training.report.items import ReportFigure
from training.report.labels import COHORT_LABELS, GROUP_LABELS
from training.report.look import ASIDE, Entry, Grid, Stroke
from training.report.numbers import decimal
from training.report.panels import absent_models, cohort_of, leading, model_of, model_on, no_model
from training.report.sheet import SMALL, Sheet, say, title
from training.report.svg import report_figure, worded_figure
from training.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KEY, TITLE = "figure_5_risk_scores", "Figure 5. Risk scores"
PLACES = (0.0, 1.0, 2.6, 3.6, 4.6)
"""Of the boxes: two risk groups, a gap, three fates."""
SHAPES = {"high": "o", "low": "s"}
SPREAD = 0.46
"""How far the points of a box are strewn sideways."""
GOLDEN = 0.6180339887498949
LEAST_FOR_A_BOX = 5
"""Fewer points than this are shown without a box: its quartiles would say less than they do."""


@dataclass(frozen=True, slots=True)
class _Strip:
    """One column of points."""

    words: str
    members: Bools


def risk_score_figure(study: Study) -> ReportFigure:
    """Linear predictor of the combined model, by risk group and by death before the first horizon, per cohort."""
    cohorts, months = tuple(study.samples), min(study.settings.horizons_months)
    if not study.models:
        return worded_figure(study, KEY, TITLE, no_model(study))
    name = leading(study)
    notes = absent_models(study) if name != "combined" else ()
    grid = Grid(len(cohorts), 1, height=270, legend=_legend(), notes=notes, below=64, gap=26)

    def paint(sheet: Sheet) -> None:
        grid.begin(sheet)
        limits = _limits(study)
        for column, cohort in enumerate(cohorts):
            axes = sheet.panel(*grid.place(0, column))
            title(axes, COHORT_LABELS[cohort])
            found = model_on(study, name, cohort)
            if isinstance(found, NotKnown):
                say(axes, found.why)
                continue
            _panel(axes, study, cohort, found, months, limits)
            if column:
                axes.set_yticklabels([])
            else:
                axes.set_ylabel("Linear predictor", color=FAINT, size=SMALL)

    caption = (
        f"Risk score (linear predictor) of each patient by the {MODEL_LABELS[name].lower()}; left in each panel by risk "
        f"group, right by what is known at {months} months: alive, follow-up lost before, died. Boxes: quartiles and "
        "median; whiskers reach to the last score within 1.5 box heights; boxes of fewer than "
        f"{LEAST_FOR_A_BOX} patients are not drawn. Dotted: the cutoff, locked in the training cohort."
    )
    return report_figure(study, KEY, TITLE, caption, grid.size, paint)


def _legend() -> tuple[Entry, ...]:
    def dot(shape: str, fill: str, edge: str) -> dict[str, Any]:
        return {
            "marker": shape,
            "markevery": [1],
            "markersize": 5,
            "markerfacecolor": fill,
            "markeredgecolor": edge,
        }

    none = Stroke(INK, "none")
    return (
        *(
            Entry(GROUP_LABELS[group], none, dot(shape, ACCENT[group], ACCENT[group]))
            for group, shape in SHAPES.items()
        ),
        Entry("Filled: died", none, dot("D", FAINT, FAINT)),
        Entry("Open: alive at the end of follow-up", none, dot("D", "white", FAINT)),
        Entry("Cutoff", ASIDE),
    )


def _limits(study: Study) -> tuple[float, float]:
    """Range of the scores in all cohorts with some room, so that the panels share their axis."""
    found = [model_on(study, leading(study), cohort) for cohort in study.samples]
    scores = [one.lp for one in found if not isinstance(one, NotKnown)]
    if not scores:
        return 0.0, 1.0
    every = np.concatenate(scores)
    room = 0.06 * float(np.ptp(every)) or 1.0
    return float(every.min()) - room, float(every.max()) + room


def _panel(
    axes: Axes,
    study: Study,
    cohort: CohortName,
    found: ModelEvaluation,
    months: int,
    limits: tuple[float, float],
) -> None:
    evaluation = cohort_of(study, cohort)
    assert not isinstance(evaluation, NotKnown)
    strips = _strips(found, evaluation.outcome, months)
    for place, strip in zip(PLACES, strips, strict=True):
        scores = found.lp[strip.members]
        if len(scores) >= LEAST_FOR_A_BOX:
            _box(axes, place, scores)
        _points(axes, place, scores, found.high[strip.members], evaluation.outcome.event[strip.members])
    model = model_of(study, found.name)
    assert not isinstance(model, NotKnown)
    cutoff = model.cutoff.value
    axes.axhline(cutoff, zorder=1, **ASIDE.style)
    axes.set(xlim=(-0.65, PLACES[-1] + 0.65), ylim=limits, xticks=PLACES)
    axes.set_xticklabels([strip.words for strip in strips])
    for place, strip in zip(PLACES, strips, strict=True):
        _below(axes, place, -27, f"n = {int(strip.members.sum())}", FAINT)
    _below(axes, 0.5, -44, "Risk group", INK)
    _below(axes, 3.6, -44, f"At {months} months", INK)
    axes.annotate(
        decimal(cutoff), (1.8, cutoff), (0, 3), textcoords="offset points", ha="center", size=SMALL - 0.5,
        color=FAINT,
    )  # fmt: skip


def _below(axes: Axes, place: float, points: float, words: str, color: str) -> None:
    """Words under the frame."""
    axes.annotate(
        words, (place, 0), (0, points), xycoords=("data", "axes fraction"), textcoords="offset points", ha="center",
        size=SMALL, color=color, annotation_clip=False,
    )  # fmt: skip


def _strips(found: ModelEvaluation, outcome: Outcome, months: int) -> tuple[_Strip, ...]:
    dead = outcome.event & (outcome.time <= months)
    alive = outcome.time > months
    alive |= ~outcome.event & (outcome.time == months)
    return (
        _Strip("low", ~found.high),
        _Strip("high", found.high),
        _Strip("alive", alive),
        _Strip("lost", ~dead & ~alive),
        _Strip("died", dead),
    )


def _box(axes: Axes, place: float, scores: Floats) -> None:
    line: dict[str, Any] = {"color": FAINT, "linewidth": 1}
    axes.boxplot(
        [scores],
        positions=[place],
        widths=0.62,
        showfliers=False,
        manage_ticks=False,
        patch_artist=True,
        boxprops={"facecolor": "#f3f5f7", "edgecolor": FAINT, "linewidth": 1},
        medianprops={"color": INK, "linewidth": 1.8},
        whiskerprops=line,
        capprops=line,
        zorder=2,
    )


def _points(axes: Axes, place: float, scores: Floats, high: Bools, died: Bools) -> None:
    x = place + _strewn(scores)
    for group, chosen in (("low", ~high), ("high", high)):
        for event in (False, True):
            shown = chosen & (died == event)
            fill = ACCENT[group] if event else "white"
            style: dict[str, Any] = {
                "markersize": 3.6,
                "markeredgewidth": 0.8,
                "color": ACCENT[group],
                "zorder": 3,
            }
            axes.plot(x[shown], scores[shown], SHAPES[group], markerfacecolor=fill, **style)


def _strewn(scores: Floats) -> NDArray[np.float64]:
    """(n,) sideways places, the same each time: neighbours in the score lie far from each other."""
    ranks = np.argsort(np.argsort(scores, kind="stable"), kind="stable")
    return np.asarray(((ranks * GOLDEN) % 1 - 0.5) * SPREAD, np.float64)
