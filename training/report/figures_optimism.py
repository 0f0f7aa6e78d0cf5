"""What a C of the training cohort is worth: apparent, corrected for optimism, and in other patients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prognode.adapters.drawing import FAINT, RULE
from prognode.statistics.optimism import Optimism
from training.bootstrap import Bootstrap
from training.cohort import CohortName
from training.estimates import NotKnown
from training.models import MODEL_LABELS, ModelName
from training.report.items import ReportFigure
from training.report.labels import COHORT_LABELS
from training.report.look import ASIDE, MODEL_STROKES
from training.report.numbers import decimal, with_limits
from training.report.panels import model_on, shown_models
from training.report.sheet import LARGE, SMALL, TEXT, Sheet
from training.report.svg import report_figure
from training.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, LEFT, RIGHT = 1000.0, 270.0, 250.0
LINE, HEADING = 22.0, 34.0
LEAST_C = 0.4


@dataclass(frozen=True, slots=True)
class _Line:
    """One estimate of C."""

    words: str
    value: float | None
    limits: tuple[float, float] | None
    text: str
    hollow: bool = False


def optimism_figure(study: Study) -> ReportFigure | None:
    """Dot plot of C, one block per model; None without a bootstrap."""
    repeated = study.bootstrap
    if repeated is None:
        return None
    blocks = {name: tuple(_lines(study, repeated, name)) for name in shown_models(study)}
    height = sum(HEADING + LINE * len(lines) for lines in blocks.values()) + 14

    def paint(sheet: Sheet) -> None:
        axes = sheet.panel(LEFT, 14, WIDTH - LEFT - RIGHT, height)
        axes.axvline(0.5, **ASIDE.style)
        y = 14.0
        for name, lines in blocks.items():
            sheet.write(16, y + HEADING / 2 + 6, MODEL_LABELS[name], size=LARGE, weight="bold")
            y += HEADING
            for line in lines:
                _draw(sheet, axes, name, line, y + LINE / 2, (y - 14 + LINE / 2) / height)
                y += LINE
        axes.set(xlim=(_least(blocks), 1.005), ylim=(1, 0), yticks=[])
        axes.set_xlabel("Harrell's C", color=FAINT, size=SMALL)
        axes.spines["left"].set_visible(False)

    caption = (
        "Harrell's C with its 95 % interval where one is known (infinitesimal jackknife; of the training cohort it does "
        f"not know of the selection). Hollow: corrected by {repeated.repetitions} bootstrap draws for the optimism of the "
        "Cox coefficients alone, or of the whole training, selection of features and covariates included; with the mean "
        "calibration slope, and with the number of draws where some gave no model. Dotted: 0.5."
    )
    return report_figure(
        study, "figure_optimism", "Concordance and its optimism", caption, (WIDTH, height + 72), paint
    )


def _lines(study: Study, repeated: Bootstrap, name: ModelName) -> Iterator[_Line]:
    yield _on_cohort(study, name, "training", "Training cohort, apparent")
    for words, optimism in (
        ("Corrected, coefficients only", repeated.coefficients_only.get(name)),
        ("Corrected, whole training", repeated.whole_training.get(name)),
    ):
        if optimism is None or isinstance(optimism, NotKnown):
            yield _Line(words, None, None, "not known")
        else:
            yield _Line(words, optimism.corrected, None, _corrected(optimism), hollow=True)
    for cohort in study.samples:
        if cohort != "training":
            yield _on_cohort(study, name, cohort, COHORT_LABELS[cohort])


def _corrected(optimism: Optimism) -> str:
    slope = f"slope {decimal(optimism.slope)}"
    draws = f", {optimism.draws} draws" if optimism.failed else ""
    return f"{decimal(optimism.corrected)} ({slope}{draws})"


def _on_cohort(study: Study, name: ModelName, cohort: CohortName, words: str) -> _Line:
    found = model_on(study, name, cohort)
    if isinstance(found, NotKnown) or isinstance(found.concordance, NotKnown):
        return _Line(words, None, None, "not known")
    c = found.concordance
    return _Line(words, c.value, c.limits(), with_limits(c.value, c.limits()))


def _least(blocks: dict[ModelName, tuple[_Line, ...]]) -> float:
    every = [line for lines in blocks.values() for line in lines if line.value is not None]
    return min([LEAST_C, *(line.limits[0] if line.limits else line.value or 0.0 for line in every)])


def _draw(sheet: Sheet, axes: Axes, name: ModelName, line: _Line, y_px: float, y: float) -> None:
    sheet.write(30, y_px, line.words, size=TEXT)
    sheet.write(WIDTH - RIGHT + 18, y_px, line.text, size=TEXT)
    axes.axhline(y, color=RULE, linewidth=0.5)
    if line.value is None:
        return
    color = MODEL_STROKES[name].color
    if line.limits:
        axes.plot(line.limits, [y, y], color=color, linewidth=1.6)
    fill = "white" if line.hollow else color
    axes.plot(
        line.value,
        y,
        "D" if line.hollow else "o",
        markersize=5.5,
        color=color,
        markerfacecolor=fill,
        clip_on=False,
    )
