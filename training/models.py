"""The three Cox models of the paper: clinical, signatures, and both together (paper, Construction of the nomogram).

A fitted model is written down as the domain's :class:`~prognode.domain.cox_model.CoxModel`, the one that the node
scores with; nothing else of the fit is used to predict.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from prognode.domain.cox_model import Baseline, CoxModel, Cutoff, Term, linear_predictor, survival
from prognode.domain.nomogram import pretty
from prognode.domain.prognosis import M_STAGES, Phase
from prognode.domain.recipe import COVARIATE_TERMS, SIGNATURE_TERMS
from prognode.domain.signature import Signature
from prognode.errors import NotEstimable
from prognode.statistics.cox import BaselineHazard, CoxFit, baseline_hazard, fit_cox
from prognode.statistics.cutoff import max_log_rank, median, youden
from prognode.statistics.outcome import Bools, Floats, Outcome
from training.covariates import Number, covariate
from training.sample import Sample
from training.settings import CUTOFF_WORDS, Settings
from training.signatures import scores

ModelName = Literal["clinical", "signatures", "combined"]
MODEL_NAMES: tuple[ModelName, ...] = ("clinical", "signatures", "combined")
MODEL_LABELS: dict[ModelName, str] = {
    "clinical": "Clinical model",
    "signatures": "Imaging signatures",
    "combined": "Combined model",
}
SIGNATURE_LABELS = {
    "signature_arterial": "Signature, arterial phase",
    "signature_venous": "Signature, venous phase",
}
PHASE_OF: dict[str, Phase] = {"signature_arterial": "arterial", "signature_venous": "venous"}
FEW_VALUES = 10
"""A number with at most this many distinct values has them as the ticks of its nomogram axis, as in rms."""
LEAST_SHARE = 0.1

Values = Mapping[str, Floats]
"""(n,) of each term."""


@dataclass(frozen=True)
class ModelFit:
    """One model as fitted in the training cohort."""

    name: ModelName
    model: CoxModel
    """What predicts."""
    fit: CoxFit
    covariates: Floats
    """(n, p) that it was fitted to."""
    outcome: Outcome
    cutoff_p: float | None
    """Of the log-rank test at a maximally selected cutoff, adjusted for the search; None for other methods."""

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of its terms."""
        return tuple(term.name for term in self.model.terms)


def term_values(sample: Sample, signatures: Mapping[Phase, Signature]) -> dict[str, Floats]:
    """(n,) of every term that a model of this sample can use; NaN where a covariate is missing."""
    values = {
        name: scores(signatures[phase], sample.features[phase])
        for name, phase in PHASE_OF.items()
        if phase in signatures
    }
    return values | {name: sample.numeric(name) for name in COVARIATE_TERMS if name in sample.covariates}


def complete_patients(values: Values, terms: Iterable[str], patients: int) -> Bools:
    """(n,) who of ``patients`` has every term."""
    complete = np.ones(patients, np.bool_)
    for term in terms:
        complete &= np.isfinite(values[term])
    return complete


def matrix(values: Values, terms: Sequence[str]) -> Floats:
    """(n, p) of some terms, side by side."""
    return np.ascontiguousarray(np.column_stack([values[name] for name in terms]))


def fit_model(
    name: ModelName, terms: Sequence[str], values: Values, outcome: Outcome, settings: Settings
) -> ModelFit:
    """Fit, baseline, nomogram axes and cutoff of one model, on patients who have all terms.

    Raises NotEstimable where the fit has no finite maximum or the cutoff cannot be chosen.
    """
    covariates = matrix(values, terms)
    fit = fit_cox(covariates, outcome, names=terms)
    baseline = _baseline(baseline_hazard(fit, covariates, outcome))
    _require_follow_up(baseline, settings)
    axes = [
        _term(term, values[term], coefficient)
        for term, coefficient in zip(terms, fit.coefficients, strict=True)
    ]
    undecided = CoxModel(tuple(axes), baseline, Cutoff(0.0, ""))
    lp = predictors(undecided, values)
    cutoff, adjusted = choose_cutoff(lp, outcome, settings)
    return ModelFit(name, CoxModel(tuple(axes), baseline, cutoff), fit, covariates, outcome, adjusted)


def _baseline(steps: BaselineHazard) -> Baseline:
    return Baseline(tuple(steps.time.tolist()), tuple(steps.hazard.tolist()), steps.follow_up)


def _require_follow_up(baseline: Baseline, settings: Settings) -> None:
    last = max(settings.horizons_months)
    if baseline.follow_up_months < last:
        raise NotEstimable(
            f"the longest follow-up in training is {baseline.follow_up_months:g} months: survival at {last} months "
            "cannot be told"
        )
    if baseline.months[0] > min(settings.horizons_months):
        raise NotEstimable(
            f"nobody died within {min(settings.horizons_months)} months: there is no curve to predict"
        )


def _term(name: str, values: Floats, coefficient: float) -> Term:
    if name == "m_stage":
        return Term(name, "M stage", "", float(coefficient), (0.0, 1.0), M_STAGES)
    if name in SIGNATURE_TERMS:
        return Term(name, SIGNATURE_LABELS[name], "", float(coefficient), axis_ticks(values))
    known = covariate(name)
    assert isinstance(known, Number)
    return Term(name, known.label, known.unit, float(coefficient), axis_ticks(values))


def axis_ticks(values: Floats) -> tuple[float, ...]:
    """Ticks of a nomogram axis over the training range: ``pretty()``, or the values where there are few (rms)."""
    distinct = np.unique(values)
    if 2 <= len(distinct) <= FEW_VALUES:
        return tuple(distinct.tolist())
    return pretty(float(distinct[0]), float(distinct[-1]))


def predictors(model: CoxModel, values: Values) -> Floats:
    """(n,) linear predictors, patient by patient as the node reckons them."""
    names = [term.name for term in model.terms]
    rows = zip(*(values[name].tolist() for name in names), strict=True)
    return np.array([linear_predictor(model, dict(zip(names, row, strict=True))) for row in rows])


def survivals(model: CoxModel, lp: Floats, months: float) -> Floats:
    """(n,) predicted probability of living longer than ``months``."""
    return np.array([survival(model, value, months) for value in lp.tolist()])


def choose_cutoff(lp: Floats, outcome: Outcome, settings: Settings) -> tuple[Cutoff, float | None]:
    """The cutoff by the method of the settings, and for the maximal log-rank its p adjusted for the search."""
    words = CUTOFF_WORDS[settings.cutoff]
    if settings.cutoff == "median":
        return Cutoff(median(lp), words), None
    if settings.cutoff == "youden":
        at = settings.cutoff_months
        return Cutoff(youden(lp, outcome, float(at)).cutoff, f"{words} at {at} months"), None
    found = max_log_rank(lp, outcome, LEAST_SHARE)
    return Cutoff(found.cutoff, words), found.adjusted_p
