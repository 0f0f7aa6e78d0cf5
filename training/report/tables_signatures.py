"""How the radiomics signatures came about: reproducible features, the penalty of the LASSO, and what it selected."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from prognode.domain.prognosis import Phase
from prognode.domain.signature import FEATURE_COUNT
from prognode.statistics.cross_validation import CrossValidation, Rule
from prognode.statistics.outcome import Floats
from training.cohort import PHASES
from training.report.items import ReportTable
from training.report.numbers import decimal, not_estimable, percent, significant
from training.report.tabulated import Row, filled, tabulated
from training.settings import Settings
from training.signatures import SignatureFit
from training.study import Study

ICC_COLUMNS = (
    "Phase",
    "Form",
    "Kept above",
    "Patients read twice",
    "Features",
    "Constant",
    "Kept",
    "Minimum ICC",
    "First quartile",
    "Median",
    "Third quartile",
    "Maximum ICC",
)
LASSO_COLUMNS = (
    "Phase",
    "Rule",
    "Used",
    "Lambda",
    "Partial-likelihood deviance",
    "Standard error",
    "Features selected",
    "Candidates",
    "Folds",
)
FORM_WORDS = {
    "ICC1": "one random reader, absolute agreement",
    "ICC2": "two-way random readers, absolute agreement",
    "ICC3": "fixed readers, consistency",
}


def icc(study: Study) -> ReportTable | None:
    """How well a second reading reproduces the features of each phase."""
    if study.trained is None:
        return None
    settings = study.settings
    rows = [_icc_row(fit, settings) for fit in study.trained.signatures.values()]
    of_mean = ", mean of both readings" if settings.icc_form.endswith("k") else ", single reading"
    notes = [
        f"{settings.icc_form}: {FORM_WORDS[settings.icc_form.rstrip('k')]}{of_mean} (names of Shrout and Fleiss 1979).",
        (
            "Over patients of the training cohort. Constant: the same value in every patient and both readings, so that no "
            "correlation is defined; never kept. Minimum, quartiles and maximum are of the others."
        ),
    ]
    title = "Reproducibility of the features: intraclass correlation (ICC)"
    return tabulated(study, "icc", title, ICC_COLUMNS, rows, notes)


def _icc_row(fit: SignatureFit, settings: Settings) -> Row:
    found = fit.reproducibility
    row = [fit.phase, settings.icc_form, f"{settings.icc_threshold:g}"]
    if found is None:
        why = "fewer than three training patients were read twice; every feature that varies was taken"
        return filled([*row, not_estimable(why)], len(ICC_COLUMNS))
    constant = int(np.isnan(found.values).sum())
    counts = (found.patients, len(found.values), constant, int(found.kept.sum()))
    return filled([*row, *map(str, counts), *_quartiles(found.values)], len(ICC_COLUMNS))


def _quartiles(values: Floats) -> Iterable[str]:
    """Quantiles of type 7 of those that are defined, as R's ``quantile``; of none, a word."""
    known = values[np.isfinite(values)]
    if not len(known):
        return ["not estimable: every feature is constant"]
    return [decimal(float(one)) for one in np.quantile(known, [0.0, 0.25, 0.5, 0.75, 1.0])]


def lasso(study: Study) -> ReportTable | None:
    """The two penalties that cross-validation offers, and the one that was used."""
    if study.trained is None:
        return None
    fits = study.trained.signatures.values()
    notes = [
        (
            "LASSO-penalised Cox regression with Breslow's treatment of tied times on features of unit variance; "
            "cross-validated partial-likelihood deviance per death, folds stratified by death."
        ),
        "lambda.min: the penalty with the lowest deviance. lambda.1se: the strongest one within a standard error of it.",
        *(f"{fit.why_not}." for fit in fits if fit.why_not),
    ]
    rows = [row for fit in fits for row in _lasso_rows(fit, study.settings.lambda_rule)]
    return tabulated(study, "lasso", "Selection of features by LASSO", LASSO_COLUMNS, rows, notes)


def _lasso_rows(fit: SignatureFit, used: Rule) -> list[Row]:
    if fit.validation is None:
        row = [fit.phase, "", "", not_estimable(fit.why_not), "", "", "", str(len(fit.candidates))]
        return [filled(row, len(LASSO_COLUMNS))]
    rules: tuple[Rule, Rule] = ("min", "1se")
    return [_lasso_row(fit, fit.validation, rule, "yes" if rule == used else "no") for rule in rules]


def _lasso_row(fit: SignatureFit, validation: CrossValidation, rule: Rule, used: str) -> Row:
    place = validation.place(rule)
    return [
        fit.phase,
        f"lambda.{rule}",
        used,
        significant(float(validation.path.lambdas[place])),
        decimal(float(validation.deviance[place]), 3),
        decimal(float(validation.standard_error[place]), 3),
        str(len(validation.path.selected(place))),
        str(len(fit.candidates)),
        str(len(np.unique(validation.folds))),
    ]


def signature_features(study: Study) -> ReportTable:
    """Every feature of the signatures, with what is known of how firmly it stands there."""
    columns = ["Phase", "Feature", "Coefficient"]
    if study.trained is not None:
        columns.append(f"{study.settings.icc_form}")
    if study.bootstrap is not None:
        columns.append("Selected in bootstrap draws")
    rows = [row for phase in PHASES for row in _feature_rows(study, phase)]
    missing = [phase for phase in PHASES if phase not in study.signatures]
    notes = [
        (
            f"Feature numbers count the {FEATURE_COUNT} outputs of the network from 0. Coefficients are log hazard ratios "
            "per unit of the feature; the signature of a phase is the sum of coefficient times feature."
        ),
        *_scale_notes(study),
        f"There is no {' and no '.join(missing)} signature." if missing else "",
        *_bootstrap_note(study),
    ]
    title = "Features of the radiomics signatures"
    return tabulated(study, "signature_features", title, columns, rows, notes)


def _scale_notes(study: Study) -> list[str]:
    """Of signatures that are shifted and scaled, which those trained here are not."""
    return [
        f"The sum of the {phase} phase is then shifted by {significant(-one.center)} and divided by "
        f"{significant(one.scale)}."
        for phase, one in study.signatures.items()
        if (one.center, one.scale) != (0.0, 1.0)
    ]


def _bootstrap_note(study: Study) -> list[str]:
    if study.bootstrap is None:
        return []
    return [
        (
            f"Selected: share of {study.bootstrap.repetitions} bootstrap draws of the training cohort in which the whole "
            "selection, done again, chose the feature."
        )
    ]


def _feature_rows(study: Study, phase: Phase) -> Iterable[Row]:
    if phase not in study.signatures:
        return
    signature = study.signatures[phase]
    for number, coefficient in zip(signature.indices, signature.coefficients, strict=True):
        row = [phase, f"f{number:04d}", significant(coefficient)]
        if study.trained is not None:
            row.append(_icc_of(study.trained.signatures[phase], number))
        if study.bootstrap is not None:
            row.append(percent(study.bootstrap.selected.get(phase, {}).get(number, 0.0), 0))
        yield row


def _icc_of(fit: SignatureFit, number: int) -> str:
    found = fit.reproducibility
    return "not known: no second reading" if found is None else decimal(float(found.values[number]), 3)
