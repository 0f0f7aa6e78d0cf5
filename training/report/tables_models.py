"""The Cox models as they are locked: coefficients, baseline survival, cutoff, and what the fit says about them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from prognode.domain.cox_model import CoxModel, Term, survival
from prognode.statistics.cutoff import OPTIMISTIC
from training.estimates import NotKnown
from training.models import MODEL_LABELS, MODEL_NAMES, ModelFit, ModelName
from training.report.items import ReportTable
from training.report.numbers import (
    decimal,
    hazard_ratio,
    not_estimable,
    one_ratio,
    p_equals,
    p_value,
    shown,
    significant,
)
from training.report.tabulated import Row, filled, tabulated
from training.settings import CUTOFF_WORDS
from training.study import Study

COLUMNS = ("Model", "Term", "Unit", "Coefficient", "HR (95 % CI)", "P value", "Test")


def models(study: Study) -> ReportTable:
    """Terms of each model with their hazard ratios."""
    rows = [row for name in MODEL_NAMES for row in _term_rows(study, name)]
    notes = [
        "Coefficients are log hazard ratios per unit, of M stage for M1 against M0; CI and P value by Wald's test."
    ]
    if study.trained is None:
        notes = [
            "A recipe carries coefficients without their standard errors: there is no CI and no P value."
        ]
    return tabulated(study, "models", "Cox models", COLUMNS, rows, notes)


def _term_rows(study: Study, name: ModelName) -> Iterator[Row]:
    label = MODEL_LABELS[name]
    if name not in study.models:
        yield filled([label, "", "", not_estimable(why_no_model(study, name))], len(COLUMNS))
        return
    fit = study.trained.fitted.get(name) if study.trained else None
    for place, term in enumerate(study.models[name].terms):
        yield [label, term.label, term.unit, significant(term.coefficient), *_hazard(term, place, fit)]


def _hazard(term: Term, place: int, fit: ModelFit | None) -> tuple[str, str, str]:
    """Hazard ratio, P value, test."""
    if fit is None:
        return one_ratio(float(np.exp(term.coefficient))), "", ""
    lower, upper = fit.fit.confidence_interval()[place].tolist()
    ratio = hazard_ratio(float(fit.fit.hazard_ratios[place]), lower, upper)
    return ratio, p_value(float(fit.fit.p_values[place])), "Wald test"


def why_no_model(study: Study, name: ModelName) -> str:
    """Why a study lacks one of the three models."""
    if study.trained is None:
        return "the recipe has no such model"
    found = study.trained.models[name]
    return found.why if isinstance(found, NotKnown) else "it is not among the models of this study"


def model_summary(study: Study) -> ReportTable:
    """Fit, cutoff and baseline survival of each model, one line each."""
    rows = [_summary(study, name, study.models[name]) for name in MODEL_NAMES if name in study.models]
    notes = [
        (
            "High risk: a linear predictor above the cutoff, which is locked in the training cohort. Linear predictors are "
            "not centred."
        ),
        _mean_note(study),
        "Baseline survival at covariates of 0 may describe nobody; it is what the predictions are reckoned from.",
        f"{OPTIMISTIC} Adjusted: Lausen and Schumacher (1992)." if searches_cutoff(study) else "",
        _agreement_note(study),
        *(
            f"{MODEL_LABELS[name]}: {why_no_model(study, name)}."
            for name in MODEL_NAMES
            if name not in study.models
        ),
    ]
    title = "Fit, cutoff and baseline survival of the models"
    return tabulated(study, "model_summary", title, _summary_columns(study), rows, notes)


def _mean_note(study: Study) -> str:
    if study.trained is None:
        return ""
    return "Mean patient: the mean linear predictor of the training patients that the model was fitted to."


def _agreement_note(study: Study) -> str:
    if study.trained is None:
        return ""
    return (
        "Agreement: largest difference of a coefficient from a second fit by lifelines, in standard errors."
    )


def searches_cutoff(study: Study) -> bool:
    """Whether a cutoff was chosen where the groups of these very patients differ most."""
    words = CUTOFF_WORDS["max-log-rank"]
    return "training" in study.samples and any(one.cutoff.method == words for one in study.models.values())


def _summary_columns(study: Study) -> list[str]:
    horizons = study.settings.horizons_months
    columns = [
        "Model",
        "Cutoff",
        "Method of the cutoff",
        *(f"S({months} months) at 0" for months in horizons),
    ]
    if study.trained is None:
        return columns
    return [
        *columns,
        *(f"S({months} months) of the mean patient" for months in horizons),
        "Patients",
        "Deaths",
        "AIC",
        "Likelihood ratio test",
        "Adjusted P value of the cutoff",
        "Agreement with lifelines",
    ]


def _summary(study: Study, name: ModelName, model: CoxModel) -> Row:
    horizons = study.settings.horizons_months
    row = [
        MODEL_LABELS[name],
        decimal(model.cutoff.value, 3),
        model.cutoff.method,
        *(_probability(survival(model, 0.0, months)) for months in horizons),
    ]
    if study.trained is None:
        return row
    fit = study.trained.fitted[name]
    mean = float((fit.covariates @ fit.fit.coefficients).mean())
    return [
        *row,
        *(_probability(survival(model, mean, months)) for months in horizons),
        str(fit.fit.n),
        str(fit.fit.events),
        decimal(fit.fit.aic, 1),
        _likelihood_ratio(fit),
        _adjusted(fit),
        _agreement(study, name),
    ]


def _probability(value: float) -> str:
    """Three decimals; what is so near to 0 or 1 that they would hide it, in significant digits."""
    return decimal(value, 3) if 0.0005 <= value < 0.9995 else f"{value:.6g}"


def _likelihood_ratio(fit: ModelFit) -> str:
    test = fit.fit.likelihood_ratio_test
    return f"chi-square {test.statistic:.2f}, {test.df} df, {p_equals(test.p)}"


def _adjusted(fit: ModelFit) -> str:
    return "not searched for by p" if fit.cutoff_p is None else p_value(fit.cutoff_p)


def _agreement(study: Study, name: ModelName) -> str:
    found = (study.second_opinion or {}).get(name, NotKnown("it was not asked"))
    return shown(found, lambda difference: f"{difference:.0e}")
