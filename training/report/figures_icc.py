"""Which features two contourings agree on (paper, Building of the DL-based radiomics signature)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from prognode.adapters.drawing import FAINT, INK, RULE
from training.cohort import PHASES
from training.estimates import NotKnown
from training.report.items import ReportFigure
from training.report.look import BLUE, DASHED, ORANGE, Grid, Stroke
from training.report.panels import NO_TRAINING
from training.report.sheet import SMALL, Sheet, say, title
from training.report.svg import report_figure
from training.signatures import SignatureFit
from training.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = np.linspace(-1, 1, 81)
MINIMUM, ONE_SE = Stroke(BLUE, "-", 1.2), Stroke(ORANGE, DASHED, 1.2)
MOST_PATHS = 60
"""The features with the largest coefficients are drawn, so that the figure stays small."""
POINTS_PER_PATH = 50


def icc_figure(study: Study) -> ReportFigure:
    """Histogram of the intraclass correlations of all features, one panel per phase."""
    grid = Grid(len(PHASES), 1, height=190, above=46, below=44, head=14)

    def paint(sheet: Sheet) -> None:
        for column, phase in enumerate(PHASES):
            axes = sheet.panel(*grid.place(0, column))
            fit = study.trained.signatures[phase] if study.trained else NotKnown(NO_TRAINING)
            _icc_panel(axes, fit, study.settings.icc_threshold, f"{phase.capitalize()} phase")

    settings = study.settings
    caption = (
        f"Intraclass correlation ({settings.icc_form}) of each deep feature between two contourings of the same patients. "
        f"Features above the threshold of {settings.icc_threshold:g} are candidates for the signatures."
    )
    return report_figure(study, "figure_icc", "Reproducibility of the features", caption, grid.size, paint)


def _icc_panel(axes: Axes, fit: SignatureFit | NotKnown, threshold: float, heading: str) -> None:
    if isinstance(fit, NotKnown) or fit.reproducibility is None:
        title(axes, heading)
        unread = (
            "Fewer than three training patients have a second reading: nothing is known of reproducibility."
        )
        say(axes, fit.why if isinstance(fit, NotKnown) else unread)
        return
    found = fit.reproducibility
    known = found.values[np.isfinite(found.values)]
    constant = len(found.values) - len(known)
    title(
        axes,
        heading,
        f"{found.patients} patients read twice; {int(found.kept.sum())} of {len(found.values)} features above the "
        f"threshold\n{constant} features are constant and have no correlation",
    )
    counts, edges = np.histogram(np.clip(known, -1, 1), BINS)
    kept = edges[:-1] >= threshold - 1e-9
    for chosen, color in ((kept, BLUE), (~kept, RULE)):
        drawn = chosen & (counts > 0)
        axes.bar(
            edges[:-1][drawn], counts[drawn], width=np.diff(BINS)[0], align="edge", color=color, linewidth=0
        )
    axes.axvline(threshold, **Stroke(INK, DASHED, 1.1).style)
    low = min(float(known.min(initial=0.0)), 0.0)
    axes.set(xlim=(max(low - 0.05, -1.0), 1.0))
    axes.set_xlabel("Intraclass correlation", color=FAINT, size=SMALL)
    axes.set_ylabel("Features", color=FAINT, size=SMALL)
