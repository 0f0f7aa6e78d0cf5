"""How well the models tell patients apart: concordance, hazard ratios, optimism (paper, Table 3)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from prognode.statistics.concordance import Concordance, ConcordanceDifference
from prognode.statistics.cutoff import OPTIMISTIC
from prognode.statistics.kaplan_meier import LogRank
from prognode.statistics.optimism import Optimism
from training.bootstrap import Bootstrap
from training.estimates import NotKnown
from training.evaluation import CohortEvaluation, HazardRatio
from training.models import MODEL_LABELS, MODEL_NAMES, ModelName
from training.report.items import ReportTable
from training.report.judged import Judged, absent_cohorts, judged, not_judged
from training.report.labels import COHORT_LABELS
from training.report.numbers import (
    NOT_ESTIMABLE,
    decimal,
    hazard_ratio,
    not_estimable,
    p_value,
    shown,
    with_limits,
)
from training.report.tables_models import searches_cutoff
from training.report.tabulated import Row, filled, tabulated
from training.study import Study

COLUMNS = (
    "Model",
    "Cohort",
    "Patients",
    "Deaths",
    "Harrell C (95 % CI)",
    "P value, C against 0.5",
    "C corrected for optimism",
    "HR per unit of the linear predictor (95 % CI)",
    "P value, Wald test, per unit",
    "HR per SD of the linear predictor (95 % CI)",
    "HR, high against low risk (95 % CI)",
    "P value, Wald test, high against low",
    "P value, log-rank test, high against low",
)
DIFFERENCE_COLUMNS = (
    "Combined model against",
    "Cohort",
    "C of the combined model",
    "C of the other",
    "Difference (95 % CI)",
    "P value",
)
OPTIMISM_COLUMNS = (
    "Model",
    "What each draw repeats",
    "Apparent C",
    "Optimism",
    "Corrected C",
    "Calibration slope",
    "Draws with a model",
    "Draws without a model",
)
COEFFICIENTS_ONLY = "coefficients only"
WHOLE_TRAINING = "whole training"
TIED_ALIKE = "every comparable pair says the same, so the standard error is 0"
ORDERED_ALIKE = "both models order every pair alike"


def table_3_performance(study: Study) -> ReportTable:
    """C and hazard ratios of each model in each cohort, each named by what it is of."""
    rows = [_performance(study, pair) for pair in judged(study)] + not_judged(study, len(COLUMNS))
    notes = [
        (
            "C: Harrell's concordance index; standard error by the infinitesimal jackknife, P value by a normal test. The "
            "cohort's patients who have every term of all models are judged, the same ones for each model."
        ),
        (
            "Per unit: a Cox model of the linear predictor alone; in the patients that the model was fitted to it is 2.72 "
            "(e) by construction. Per SD: of the standard deviation in the same cohort; its P value is that per unit."
        ),
        "High against low risk: groups at the cutoff that was locked in the training cohort.",
        f"High against low risk in the training cohort: {OPTIMISTIC}" if searches_cutoff(study) else "",
        _correction_note(study),
        absent_cohorts(study),
    ]
    title = "Table 3. Performance of the models"
    return tabulated(study, "table_3_performance", title, COLUMNS, rows, notes)


def _correction_note(study: Study) -> str:
    if study.bootstrap is None:
        return "C was not corrected for optimism: training was not repeated on bootstrap draws."
    return (
        "C corrected for optimism: the apparent C of the training cohort less the optimism of the whole training, "
        f"repeated on {study.bootstrap.repetitions} bootstrap draws."
    )


def _performance(study: Study, pair: Judged) -> Row:
    one = pair.one
    return [
        *pair.labels,
        str(len(pair.whole.outcome)),
        str(pair.whole.outcome.events),
        shown(one.concordance, harrell_c),
        shown(one.concordance, lambda c: _tested(c.p_value, TIED_ALIKE)),
        _corrected(study, pair),
        shown(one.hr_per_unit, ratio),
        shown(one.hr_per_unit, lambda found: p_value(found.p)),
        shown(one.hr_per_sd, ratio),
        shown(one.hr_groups, ratio),
        shown(one.hr_groups, lambda found: p_value(found.p)),
        shown(one.log_rank, _log_rank),
    ]


def harrell_c(c: Concordance) -> str:
    """C with its 95 % limits."""
    return with_limits(c.value, limits_of(c, c.standard_error))


def _difference_of_c(found: ConcordanceDifference) -> str:
    return with_limits(found.value, limits_of(found, found.standard_error), 3)


def limits_of(estimate: Concordance | ConcordanceDifference, standard_error: float) -> tuple[float, float]:
    """95 % limits; none where the standard error is 0, which is no certainty but a measure that fails."""
    return estimate.limits() if standard_error > 0 else (math.nan, math.nan)


def _tested(p: float, why_not: str) -> str:
    """A P value, or why there is none: a NaN that stands for a standard error of 0."""
    text = p_value(p)
    return not_estimable(why_not) if text == NOT_ESTIMABLE else text


def ratio(found: HazardRatio) -> str:
    """A hazard ratio with its 95 % limits."""
    return hazard_ratio(found.value, found.lower, found.upper)


def _log_rank(test: LogRank) -> str:
    return p_value(test.p_value)


def _corrected(study: Study, pair: Judged) -> str:
    if pair.cohort != "training" or study.bootstrap is None:
        return ""
    found = study.bootstrap.whole_training.get(pair.model, NotKnown("it was not asked"))
    return shown(found, lambda optimism: decimal(optimism.corrected))


# ---------------------------------------------------------------- differences


def concordance_differences(study: Study) -> ReportTable:
    """C of the combined model less that of each other one, on the same patients."""
    rows = [row for name in MODEL_NAMES for row in _differences(study, name)]
    notes = [
        (
            "Both C are of the same patients, and the standard error of their difference keeps their correlation; P value "
            "by a normal test."
        ),
        *(
            f"{COHORT_LABELS[cohort]}: {not_estimable(found.why)}."
            for cohort, found in study.evaluations.items()
            if isinstance(found, NotKnown)
        ),
        "" if rows else "There is nothing to compare: the combined model, or every other, is not there.",
    ]
    title = "Differences of C between models"
    return tabulated(study, "concordance_differences", title, DIFFERENCE_COLUMNS, rows, notes)


def _differences(study: Study, name: ModelName) -> Iterator[Row]:
    for cohort, found in study.evaluations.items():
        if isinstance(found, CohortEvaluation) and name in found.improvement:
            yield _difference(MODEL_LABELS[name], COHORT_LABELS[cohort], found.improvement[name])


def _difference(model: str, cohort: str, found: ConcordanceDifference | NotKnown) -> Row:
    if isinstance(found, NotKnown):
        return filled([model, cohort, not_estimable(found.why)], len(DIFFERENCE_COLUMNS))
    return [
        model,
        cohort,
        decimal(found.first.value, 3),
        decimal(found.second.value, 3),
        _difference_of_c(found),
        _tested(found.p_value, ORDERED_ALIKE),
    ]


# ---------------------------------------------------------------- optimism


def optimism(study: Study) -> ReportTable | None:
    """What the bootstrap says of the C in the training cohort; None where nothing was trained here."""
    if study.trained is None:
        return None
    rows = [] if study.bootstrap is None else list(_optimism_rows(study.bootstrap))
    notes = [
        (
            f"{COEFFICIENTS_ONLY}: signatures and covariates stay as they are, and the Cox model is fitted again to each draw "
            "(as rms::validate does). This leaves out what choosing the features contributed."
        ),
        (
            f"{WHOLE_TRAINING}: everything is done again on each draw - reproducible features, LASSO with its "
            "cross-validation, choice of covariates, Cox fit - and judged on the original patients."
        ),
        "Calibration slope: mean over the draws, on the original patients; below 1, predictions are too extreme.",
        _bootstrap_note(study),
    ]
    title = "Optimism of the C in the training cohort"
    return tabulated(study, "optimism", title, OPTIMISM_COLUMNS, rows, notes)


def _bootstrap_note(study: Study) -> str:
    if study.bootstrap is not None:
        return f"{study.bootstrap.repetitions} draws of the training patients with replacement, seed {study.settings.seed}."
    if not study.models:
        return "There is no model whose optimism could be told."
    return "The settings asked for no bootstrap, so the optimism is not known."


def _optimism_rows(bootstrap: Bootstrap) -> Iterator[Row]:
    kinds: tuple[tuple[str, Mapping[ModelName, Optimism | NotKnown]], ...] = (
        (COEFFICIENTS_ONLY, bootstrap.coefficients_only),
        (WHOLE_TRAINING, bootstrap.whole_training),
    )
    for name in MODEL_NAMES:
        for kind, found in kinds:
            if name in found:
                yield _optimism(MODEL_LABELS[name], kind, found[name])


def _optimism(model: str, kind: str, found: Optimism | NotKnown) -> Row:
    if isinstance(found, NotKnown):
        return filled([model, kind, not_estimable(found.why)], len(OPTIMISM_COLUMNS))
    numbers = (found.apparent, found.optimism, found.corrected)
    return [
        model,
        kind,
        *(decimal(number, 3) for number in numbers),
        decimal(found.slope),
        str(found.draws),
        str(found.failed),
    ]
