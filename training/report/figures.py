"""Every figure of a report, in the order of the paper, then those that explain the training."""

from __future__ import annotations

from training.report.figures_calibration import calibration_figure, decision_figure
from training.report.figures_flow import flow_figure
from training.report.figures_icc import icc_figure
from training.report.figures_lasso import lasso_figure
from training.report.figures_nomogram import nomogram_figure
from training.report.figures_optimism import optimism_figure
from training.report.figures_risk_scores import risk_score_figure
from training.report.figures_roc import roc_figure
from training.report.figures_schoenfeld import schoenfeld_figure
from training.report.figures_survival import kaplan_meier_figure
from training.report.items import ReportFigure
from training.study import Study

FIGURES = (
    flow_figure,
    nomogram_figure,
    kaplan_meier_figure,
    risk_score_figure,
    calibration_figure,
    decision_figure,
    schoenfeld_figure,
    roc_figure,
    lasso_figure,
    icc_figure,
    optimism_figure,
)


def all_figures(study: Study) -> tuple[ReportFigure, ...]:
    """The figures of a study; what it does not determine is said in words where it would be."""
    return tuple(figure for draw in FIGURES if (figure := draw(study)) is not None)
