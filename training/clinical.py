"""Which clinical covariates predict survival (paper, Table 2 and Figure S1): Schoenfeld test, Cox models, backward AIC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from prognode.domain.recipe import COVARIATE_TERMS
from prognode.errors import NotEstimable
from prognode.statistics.cox import CoxFit, fit_cox
from prognode.statistics.outcome import Outcome
from prognode.statistics.proportional_hazards import ProportionalHazards, proportional_hazards
from prognode.statistics.selection import (
    BackwardSelection,
    ModelTerm,
    Univariable,
    backward_aic,
    design,
    factor_term,
    numeric_term,
    univariable,
)
from training.covariates import Factor, covariate
from training.estimates import NotKnown, estimated
from training.sample import Sample, known_covariates
from training.settings import Settings


@dataclass(frozen=True)
class ClinicalAnalysis:
    """Everything about the clinical covariates, and which of them the clinical model takes."""

    univariable: tuple[Univariable, ...]
    """One per covariate, over the patients who have it."""
    patients: int
    """With every covariate: what the multivariable analyses are over."""
    events: int
    multivariable: CoxFit | NotKnown
    terms: tuple[ModelTerm, ...]
    """Of the multivariable model."""
    hazards: ProportionalHazards | NotKnown
    """Schoenfeld test of the multivariable model."""
    selection: BackwardSelection | NotKnown
    chosen: tuple[str, ...]
    """Covariates of the clinical model; may be empty."""
    remarks: tuple[str, ...]


def analyse_clinical(sample: Sample, settings: Settings) -> ClinicalAnalysis:
    """Table 2 on a training cohort, and the covariates of its clinical model."""
    remarks: list[str] = []
    alone = [_alone(sample, one.name) for one in known_covariates(sample)]
    names = [one.term.name for one in alone if one.fit is not None]
    remarks += [f"{one.term.name}: {one.why_not}" for one in alone if one.fit is None]
    complete = sample.of(sample.complete(names))
    if len(complete) < len(sample):
        remarks.append(
            f"{len(sample) - len(complete)} of {len(sample)} training patients lack a covariate and are left out of the "
            "multivariable analyses"
        )
    terms, left_out = _terms(complete, names)
    remarks += left_out
    fit = estimated(lambda: _fit(terms, complete.outcome))
    hazards = estimated(lambda: _hazards(fit, terms, complete.outcome))
    eligible = [term for term in terms if _is_eligible(term, hazards, settings, remarks)]
    selection = estimated(lambda: _select(eligible, complete.outcome))
    chosen = _chosen(sample, selection, settings, remarks)
    remarks += _endless(fit)
    return ClinicalAnalysis(
        univariable=tuple(alone),
        patients=len(complete),
        events=complete.outcome.events,
        multivariable=fit,
        terms=tuple(terms),
        hazards=hazards,
        selection=selection,
        chosen=chosen,
        remarks=tuple(dict.fromkeys(remarks)),
    )


def model_term(frame: pd.DataFrame, name: str) -> ModelTerm:
    """A covariate of patients who all have it. Raises NotEstimable for a factor with a single level."""
    known = covariate(name)
    if isinstance(known, Factor):
        return factor_term(name, frame[name].tolist(), known.levels)
    return numeric_term(name, frame[name].to_numpy(float))


def _alone(sample: Sample, name: str) -> Univariable:
    known = sample.of(sample.complete([name]))
    try:
        term = model_term(known.covariates, name)
    except NotEstimable as fault:
        return Univariable(numeric_term(name, known.outcome.time), None, str(fault))
    if not known.outcome.events:
        return Univariable(term, None, "nobody died among the patients who have it")
    fitted = estimated(lambda: univariable([term], known.outcome)[0])
    return Univariable(term, None, fitted.why) if isinstance(fitted, NotKnown) else fitted


def _terms(complete: Sample, names: Sequence[str]) -> tuple[list[ModelTerm], list[str]]:
    """(terms, what had to be left out of them and why)."""
    terms: list[ModelTerm] = []
    remarks = []
    for name in names:
        try:
            term = model_term(complete.covariates, name)
        except NotEstimable as fault:
            remarks.append(f"{name}: {fault}; left out of the multivariable analyses")
            continue
        terms.append(term)
        if term.absent_levels:
            remarks.append(f"{name}: no patient of the training cohort is {', '.join(term.absent_levels)}")
    return terms, remarks


def _fit(terms: Sequence[ModelTerm], outcome: Outcome) -> CoxFit:
    covariates, names = design(terms, len(outcome))
    return fit_cox(covariates, outcome, names=names, infinite="flag")


def _hazards(fit: CoxFit | NotKnown, terms: Sequence[ModelTerm], outcome: Outcome) -> ProportionalHazards:
    if isinstance(fit, NotKnown):
        raise NotEstimable(fit.why)
    covariates, _ = design(terms, len(outcome))
    blocks = [(term.name, len(term.labels)) for term in terms]
    return proportional_hazards(fit, covariates, outcome, terms=blocks)


def _is_eligible(
    term: ModelTerm, hazards: ProportionalHazards | NotKnown, settings: Settings, remarks: list[str]
) -> bool:
    if isinstance(hazards, NotKnown):
        return True
    p = hazards.tests[hazards.terms.index(term.name)].p
    if p > settings.schoenfeld_alpha:
        return True
    remarks.append(
        f"{term.name} is not eligible: its hazard is not proportional (Schoenfeld test, p = {p:.3g})"
    )
    return False


def _select(terms: Sequence[ModelTerm], outcome: Outcome) -> BackwardSelection:
    if not terms:
        raise NotEstimable("no covariate is eligible for selection")
    return backward_aic(terms, outcome)


def _chosen(
    sample: Sample, selection: BackwardSelection | NotKnown, settings: Settings, remarks: list[str]
) -> tuple[str, ...]:
    """Covariates of the clinical model: given beforehand, or what backward elimination keeps and the node can know."""
    if settings.clinical_terms is not None:
        absent = [name for name in settings.clinical_terms if name not in sample.covariates]
        if absent:
            raise NotEstimable(
                f"the table has no {', '.join(absent)}, which the clinical model was to use; add the column, or leave "
                "it out of --clinical-terms"
            )
        return settings.clinical_terms
    if isinstance(selection, NotKnown):
        return ()
    kept = [term.name for term in selection.selected]
    others = [name for name in kept if name not in COVARIATE_TERMS]
    if others:
        remarks.append(
            f"backward elimination also keeps {', '.join(others)}, which the node is not given with a study: left out "
            "of the clinical and the combined model"
        )
    return tuple(name for name in COVARIATE_TERMS if name in kept)


def _endless(fit: CoxFit | NotKnown) -> list[str]:
    if isinstance(fit, NotKnown) or not fit.infinite.any():
        return []
    names = [name for name, endless in zip(fit.names, fit.infinite, strict=True) if endless]
    return [
        f"multivariable model: {', '.join(names)} has no finite hazard ratio (all or none of its patients died)"
    ]
