"""The LASSO's choice among the reproducible features: how strong the penalty is, and what it leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from prognode.adapters.drawing import FAINT, INK, RULE
from prognode.statistics.cross_validation import CrossValidation
from prognode.statistics.lasso_cox import LassoPath
from prognode.statistics.outcome import Floats
from training.cohort import PHASES
from training.report.items import ReportFigure
from training.report.look import BLUE, DASH_DOTTED, DASHED, ORANGE, Entry, Grid, Stroke, ticks
from training.report.numbers import significant
from training.report.panels import NO_TRAINING
from training.report.sheet import SMALL, Sheet, say, title
from training.report.svg import report_figure, worded_figure
from training.signatures import SignatureFit
from training.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KEY, TITLE = "figure_lasso", "Selection of features by the LASSO"
MINIMUM, ONE_SE = Stroke(BLUE, DASHED, 1.3), Stroke(ORANGE, DASH_DOTTED, 1.3)
MOST_PATHS = 60
"""Only the largest are drawn, so that the figure stays small."""
POINTS_PER_PATH = 50
RISEN = 4.0
"""In the larger of the minimum's standard error and its depth below the first lambda."""
COUNTS_ABOVE = 8
"""How many numbers of features stand above a panel."""


def lasso_figure(study: Study) -> ReportFigure:
    """Cross-validated deviance and the paths of the coefficients, one row per phase."""
    trained = study.trained
    if trained is None:
        return worded_figure(study, KEY, TITLE, NO_TRAINING)
    fits = [trained.signatures[phase] for phase in PHASES]
    if not any(fit.validation for fit in fits):
        return worded_figure(study, KEY, TITLE, " ".join(f"{_name(fit)}: {fit.why_not}." for fit in fits))
    nothing = tuple(f"{_name(fit)}: {fit.why_not}." for fit in fits if fit.validation and fit.why_not)
    grid = Grid(2, len(fits), height=230, legend=_legend(), notes=nothing, lines=1, above=48, left=72, gap=84)

    def paint(sheet: Sheet) -> None:
        grid.begin(sheet)
        for row, fit in enumerate(fits):
            if fit.validation is None:
                left, top, width, height = grid.place(row, 0)
                axes = sheet.panel(left, top, 2 * width + grid.gap, height)
                title(axes, _name(fit))
                say(axes, fit.why_not)
            else:
                panels = (sheet.panel(*grid.place(row, 0)), sheet.panel(*grid.place(row, 1)))
                _row(panels, study, fit, fit.validation)

    caption = (
        "LASSO-Cox among the reproducible features. Left: partial-likelihood deviance per death in cross-validation "
        f"(at most {study.settings.folds} folds), bars of one standard error; right: coefficients per standard deviation "
        f"of the feature, at most {MOST_PATHS} features; those of the signature are dark. Above the panels: how many "
        "features are selected. Smaller penalties are not shown where the deviance has plainly risen."
    )
    return report_figure(study, KEY, TITLE, caption, grid.size, paint)


def _name(fit: SignatureFit) -> str:
    return f"{fit.phase.capitalize()} phase"


def _legend() -> tuple[Entry, ...]:
    dot = {"marker": "o", "markevery": [1], "markersize": 3}
    deviance = Entry("Deviance, 1 standard error", Stroke(INK, "-", 0.8), dot)
    return deviance, Entry("lambda.min", MINIMUM), Entry("lambda.1se", ONE_SE)


def _row(panels: tuple[Axes, Axes], study: Study, fit: SignatureFit, validation: CrossValidation) -> None:
    for axes, what in zip(panels, ("cross-validation", "coefficients"), strict=True):
        title(axes, f"{_name(fit)}, {what}", (_chosen(study, fit, validation),), lift=13)
        axes.set_xlabel("Logarithm of lambda", color=FAINT, size=SMALL)
    shown = _shown(validation)
    _deviance(panels[0], validation, shown)
    _paths(
        panels[1],
        validation.path,
        _spread(study, fit),
        validation.place(study.settings.lambda_rule),
        shown,
    )
    for axes in panels:
        logs = np.log(validation.path.lambdas)
        axes.axvline(logs[validation.minimum], **MINIMUM.style)
        axes.axvline(logs[validation.one_se], **ONE_SE.style)
        axes.margins(x=0.02)
        _counts(axes, validation.path, shown)


def _chosen(study: Study, fit: SignatureFit, validation: CrossValidation) -> str:
    rule = study.settings.lambda_rule
    penalty = significant(float(validation.path.lambdas[validation.place(rule)]), 3)
    features = len(fit.signature.indices) if fit.signature else 0
    return f"lambda.{rule} = {penalty}: {features} of {len(fit.candidates)} features"


def _shown(validation: CrossValidation) -> int:
    """How many lambdas are drawn: to where the deviance has risen far above its minimum, which else were a flat line."""
    deviance, last = validation.deviance, len(validation.path.lambdas)
    lowest, error = deviance[validation.minimum], validation.standard_error[validation.minimum]
    height = RISEN * max(float(error), float(deviance[0] - lowest))
    risen = np.flatnonzero(~(deviance[:last] <= lowest + height))
    beyond = risen[risen > validation.minimum]
    return max(int(beyond[0]) + 1, 2) if len(beyond) else last


def _deviance(axes: Axes, validation: CrossValidation, shown: int) -> None:
    logs = np.log(validation.path.lambdas[:shown])
    kept = np.isfinite(validation.deviance[:shown])
    x, mean = logs[kept], validation.deviance[:shown][kept]
    error = np.nan_to_num(validation.standard_error[:shown][kept])
    axes.plot(*ticks(x, mean - error, mean + error), color=FAINT, linewidth=0.7)
    axes.plot(x, mean, "o", color=INK, markersize=2.6, markeredgewidth=0)
    axes.set_ylabel("Deviance", color=FAINT, size=SMALL)


def _spread(study: Study, fit: SignatureFit) -> Floats:
    """(p,) standard deviation of each candidate in the training cohort."""
    assert study.trained is not None
    features = study.trained.sample.features[fit.phase][:, fit.candidates]
    return np.asarray(features.std(axis=0), np.float64)


def _paths(axes: Axes, path: LassoPath, spread: Floats, used: int, shown: int) -> None:
    """Coefficients against log lambda; those that are selected at ``used`` are dark."""
    logs, scaled = np.log(path.lambdas[:shown]), path.coefficients[:shown] * spread
    thin = np.unique(np.linspace(0, len(logs) - 1, POINTS_PER_PATH).round().astype(int))
    chosen = set(path.selected(used).tolist())
    for feature in sorted(_largest(scaled), key=lambda one: one in chosen):
        color, width = (INK, 1.1) if feature in chosen else (RULE, 0.8)
        entered = thin[_from_entry(scaled[thin, feature])]
        axes.plot(logs[entered], scaled[entered, feature], color=color, linewidth=width)
    axes.axhline(0, color=RULE, linewidth=0.8)
    axes.set_ylabel("Coefficient per standard deviation", color=FAINT, size=SMALL)


def _largest(scaled: Floats) -> list[int]:
    """Features with the largest coefficients anywhere on the path."""
    size = np.abs(scaled).max(axis=0)
    order = np.argsort(-size, kind="stable")[:MOST_PATHS]
    return [int(feature) for feature in order if size[feature] > 0]


def _from_entry(values: Floats) -> NDArray[np.bool_]:
    """(m,) from just before a coefficient first differs from 0."""
    entered = np.flatnonzero(values)
    first = int(entered[0]) if len(entered) else len(values)
    return np.arange(len(values)) >= first - 1


def _counts(axes: Axes, path: LassoPath, shown: int) -> None:
    """Numbers of selected features above the frame."""
    logs = np.log(path.lambdas[:shown])
    wanted = np.linspace(logs[0], logs[-1], COUNTS_ABOVE)
    for place in np.unique(np.abs(logs[:, None] - wanted).argmin(axis=0)):
        axes.annotate(
            f"{len(path.selected(int(place)))}", (logs[place], 1), (0, 3), xycoords=("data", "axes fraction"),
            textcoords="offset points", ha="center", va="bottom", size=SMALL - 0.5, color=FAINT, annotation_clip=False,
        )  # fmt: skip
