"""Which features two contourings agree on (paper, Building of the DL-based radiomics signature)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from prognode.adapters.drawing import FAINT, INK, RULE
from training.cohort import PHASES
from training.report.items import ReportFigure
from training.report.look import BLUE, DASHED, Grid, Stroke
from training.report.panels import NO_TRAINING
from training.report.sheet import SMALL, Sheet, say, title
from training.report.svg import report_figure, worded_figure
from training.signatures import Reproducibility, SignatureFit
from training.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KEY, TITLE = "figure_icc", "Reproducibility of the features"
UNREAD = (
    "Fewer than three training patients have a second reading: which features are reproducible is not known."
)
BINS = np.linspace(-1, 1, 81)


def icc_figure(study: Study) -> ReportFigure:
    """Histogram of the intraclass correlations of all features, one panel per phase."""
    trained, settings = study.trained, study.settings
    if trained is None:
        return worded_figure(study, KEY, TITLE, NO_TRAINING)
    grid = Grid(len(PHASES), 1, height=190, lines=2, below=44)

    def paint(sheet: Sheet) -> None:
        for column, phase in enumerate(PHASES):
            axes = sheet.panel(*grid.place(0, column))
            _panel(axes, trained.signatures[phase], settings.icc_threshold)

    caption = (
        f"Intraclass correlation ({settings.icc_form}) of each deep feature between two contourings of the same patients. "
        f"Features above the threshold of {settings.icc_threshold:g} are candidates for the signatures."
    )
    return report_figure(study, KEY, TITLE, caption, grid.size, paint)


def _panel(axes: Axes, fit: SignatureFit, threshold: float) -> None:
    heading = f"{fit.phase.capitalize()} phase"
    found = fit.reproducibility
    if found is None:
        title(axes, heading)
        say(axes, UNREAD)
        return
    known = found.values[np.isfinite(found.values)]
    title(axes, heading, _counted(found, len(known)))
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


def _counted(found: Reproducibility, known: int) -> tuple[str, str]:
    features = len(found.values)
    return (
        f"{found.patients} patients read twice; {int(found.kept.sum())} of {features} features above the threshold",
        f"{features - known} features are constant and have no correlation",
    )
