"""How good a locked model is on a cohort: discrimination, groups, calibration, ROC, Brier score, decision curves.

Works on the domain's models alone, so that it judges a recipe that was just trained and one that came by mail in the
same way. Whatever a cohort does not determine stands there as a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from prognode.domain.cox_model import CoxModel
from prognode.errors import NotEstimable
from prognode.statistics.brier import BrierScore, brier_score
from prognode.statistics.calibration import (
    CalibrationInTheLarge,
    CalibrationSlope,
    GroupedCalibration,
    calibration_in_the_large,
    calibration_slope,
    grouped_calibration,
    quantile_groups,
)
from prognode.statistics.concordance import (
    Concordance,
    ConcordanceDifference,
    compare_concordance,
    concordance,
)
from prognode.statistics.cox import fit_cox
from prognode.statistics.decision_curve import DecisionCurve, decision_curve
from prognode.statistics.kaplan_meier import (
    KaplanMeier,
    LogRank,
    Quantile,
    kaplan_meier,
    log_rank,
    median_follow_up,
)
from prognode.statistics.outcome import Bools, Floats, Outcome
from prognode.statistics.time_dependent_roc import IpcwAuc, RocCurve, heagerty_km, heagerty_nne, ipcw_auc
from training.estimates import NotKnown, estimated
from training.models import ModelName, Values, complete_patients, predictors, survivals

GROUPS = ("low", "high")


@dataclass(frozen=True, slots=True)
class HazardRatio:
    """One hazard ratio with its Wald interval and p value."""

    value: float
    lower: float
    upper: float
    p: float
    test: str = "Wald test"


@dataclass(frozen=True)
class AtHorizon:
    """A model's predictions at one time against what happened."""

    months: int
    predicted: Floats
    """(n,) probability of being alive."""
    groups: GroupedCalibration | NotKnown
    in_the_large: CalibrationInTheLarge | NotKnown
    roc_km: RocCurve | NotKnown
    roc_nne: RocCurve | NotKnown
    ipcw: IpcwAuc | NotKnown
    brier: BrierScore | NotKnown


@dataclass(frozen=True)
class ModelEvaluation:
    """One model on one cohort."""

    name: ModelName
    lp: Floats
    """(n,)."""
    high: Bools
    """(n,) whose linear predictor is above the locked cutoff."""
    concordance: Concordance | NotKnown
    hr_per_unit: HazardRatio | NotKnown
    """Of the linear predictor: 2.7 where the locked coefficients hold exactly."""
    hr_per_sd: HazardRatio | NotKnown
    """Of the linear predictor, per standard deviation of it in this cohort."""
    hr_groups: HazardRatio | NotKnown
    """High against low risk."""
    log_rank: LogRank | NotKnown
    curves: Mapping[str, KaplanMeier]
    """By group; a group without patients is not there."""
    slope: CalibrationSlope | NotKnown
    at: tuple[AtHorizon, ...]

    @property
    def group_labels(self) -> tuple[str, ...]:
        """(n,) low or high."""
        return tuple(GROUPS[int(high)] for high in self.high)


@dataclass(frozen=True)
class CohortEvaluation:
    """Every model on one cohort, over the patients who have every term."""

    cohort: str
    chosen: Bools
    """(N,) which patients of the cohort these are."""
    outcome: Outcome
    models: Mapping[ModelName, ModelEvaluation]
    improvement: Mapping[ModelName, ConcordanceDifference | NotKnown]
    """C of the combined model less that of each other one."""
    decision_curves: tuple[DecisionCurve | NotKnown, ...]
    """One per horizon."""
    follow_up: Quantile
    """Median follow-up by reverse Kaplan-Meier."""
    survival: Quantile
    """Median survival."""


def evaluate(
    cohort: str,
    models: Mapping[ModelName, CoxModel],
    values: Values,
    outcome: Outcome,
    horizons: Sequence[int],
    calibration_groups: int,
) -> CohortEvaluation:
    """Judge locked models on n patients. Raises NotEstimable when no patient has every term."""
    terms = {term.name for model in models.values() for term in model.terms}
    chosen = complete_patients(values, terms, len(outcome))
    if not chosen.any():
        raise NotEstimable(f"no patient of the {cohort} cohort has every term of the models")
    known, followed = {term: values[term][chosen] for term in terms}, outcome.of(chosen)
    judged = {
        name: _judge(name, model, known, followed, horizons, calibration_groups)
        for name, model in models.items()
    }
    return CohortEvaluation(
        cohort=cohort,
        chosen=chosen,
        outcome=followed,
        models=judged,
        improvement=_improvement(judged, followed),
        decision_curves=tuple(_decisions(judged, followed, place) for place in range(len(horizons))),
        follow_up=median_follow_up(followed),
        survival=kaplan_meier(followed).median(),
    )


def _judge(
    name: ModelName, model: CoxModel, values: Values, outcome: Outcome, horizons: Sequence[int], groups: int
) -> ModelEvaluation:
    lp = predictors(model, values)
    high = lp > model.cutoff.value
    labels = [GROUPS[int(one)] for one in high]
    return ModelEvaluation(
        name=name,
        lp=lp,
        high=high,
        concordance=estimated(lambda: concordance(lp, outcome)),
        hr_per_unit=estimated(lambda: hazard_ratio(lp, outcome)),
        hr_per_sd=estimated(lambda: hazard_ratio(lp / lp.std(ddof=1), outcome)),
        hr_groups=estimated(lambda: _group_hazard_ratio(high, outcome)),
        log_rank=estimated(lambda: log_rank(outcome, labels)),
        curves={
            group: kaplan_meier(outcome.of(high == bool(place)))
            for place, group in enumerate(GROUPS)
            if (high == bool(place)).any()
        },
        slope=estimated(lambda: calibration_slope(lp, outcome)),
        at=tuple(_at(model, lp, outcome, months, groups) for months in horizons),
    )


def hazard_ratio(column: Floats, outcome: Outcome) -> HazardRatio:
    """Of one column (n,). Raises NotEstimable as the Cox fit does."""
    fit = fit_cox(column[:, None], outcome, names=("linear predictor",))
    lower, upper = fit.confidence_interval()[0]
    return HazardRatio(float(fit.hazard_ratios[0]), float(lower), float(upper), float(fit.p_values[0]))


def _group_hazard_ratio(high: Bools, outcome: Outcome) -> HazardRatio:
    for place, group in enumerate(GROUPS):
        members = high == bool(place)
        if not members.any():
            raise NotEstimable(f"nobody is in the {group}-risk group")
        if not outcome.event[members].any():
            raise NotEstimable(f"nobody died in the {group}-risk group ({members.sum()} patients)")
    return hazard_ratio(high.astype(np.float64), outcome)


def _at(model: CoxModel, lp: Floats, outcome: Outcome, months: int, groups: int) -> AtHorizon:
    predicted = survivals(model, lp, months)
    return AtHorizon(
        months=months,
        predicted=predicted,
        groups=estimated(
            lambda: grouped_calibration(predicted, outcome, months, quantile_groups(predicted, groups))
        ),
        in_the_large=estimated(lambda: calibration_in_the_large(predicted, outcome, months)),
        roc_km=estimated(lambda: heagerty_km(lp, outcome, months)),
        roc_nne=estimated(lambda: heagerty_nne(lp, outcome, months)),
        ipcw=estimated(lambda: ipcw_auc(lp, outcome, months)),
        brier=estimated(lambda: brier_score(predicted, outcome, months)),
    )


def _improvement(
    judged: Mapping[ModelName, ModelEvaluation], outcome: Outcome
) -> dict[ModelName, ConcordanceDifference | NotKnown]:
    if "combined" not in judged:
        return {}
    best = judged["combined"].lp
    return {
        name: estimated(lambda one=one: compare_concordance(best, one.lp, outcome))  # type: ignore[misc]
        for name, one in judged.items()
        if name != "combined"
    }


def _decisions(
    judged: Mapping[ModelName, ModelEvaluation], outcome: Outcome, place: int
) -> DecisionCurve | NotKnown:
    risks: dict[str, Floats] = {name: 1.0 - one.at[place].predicted for name, one in judged.items()}
    months = next(iter(judged.values())).at[place].months
    return estimated(lambda: decision_curve(risks, outcome, months))
