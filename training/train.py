"""Training: from one training cohort to signatures, three Cox models and their cutoffs. Pure; sees no other cohort."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from prognode.domain.prognosis import Phase
from prognode.domain.signature import Signature
from prognode.statistics.outcome import Bools
from training.clinical import ClinicalAnalysis, analyse_clinical
from training.cohort import PHASES
from training.estimates import NotKnown, estimated
from training.models import (
    MODEL_NAMES,
    PHASE_OF,
    ModelFit,
    ModelName,
    Values,
    complete_patients,
    fit_model,
    term_values,
)
from training.sample import Sample
from training.settings import Settings
from training.signatures import SignatureFit, fit_signature


@dataclass(frozen=True)
class Trained:
    """All that training found, with the reasons for what it did not find."""

    settings: Settings
    sample: Sample
    """The training cohort."""
    signatures: Mapping[Phase, SignatureFit]
    clinical: ClinicalAnalysis
    models: Mapping[ModelName, ModelFit | NotKnown]
    patients: Mapping[ModelName, int]
    """How many had every term."""
    remarks: tuple[str, ...]

    @property
    def built(self) -> dict[Phase, Signature]:
        """The signatures that exist."""
        return {phase: fit.signature for phase, fit in self.signatures.items() if fit.signature is not None}

    @property
    def fitted(self) -> dict[ModelName, ModelFit]:
        """The models that exist."""
        return {name: model for name, model in self.models.items() if isinstance(model, ModelFit)}


def train(sample: Sample, settings: Settings, on_step: Callable[[str], object] = lambda _: None) -> Trained:
    """Train everything on one cohort; ``on_step`` is told what comes next.

    What cannot be found is in its place with the reason. Raises NotEstimable only where the settings ask for what the
    table does not have.
    """
    signatures = {}
    for phase in PHASES:
        on_step(f"signature, {phase} phase")
        signatures[phase] = fit_signature(sample, phase, settings)
    built = {phase: fit.signature for phase, fit in signatures.items() if fit.signature}
    on_step("clinical covariates")
    clinical = analyse_clinical(sample, settings)
    on_step("Cox models")
    values = term_values(sample, built)
    terms = model_terms(clinical.chosen, tuple(built))
    models: dict[ModelName, ModelFit | NotKnown] = {}
    patients: dict[ModelName, int] = {}
    for name in MODEL_NAMES:
        complete = complete_patients(values, terms[name], len(sample))
        patients[name] = int(complete.sum())
        models[name] = _fit(name, terms[name], values, complete, sample, settings, signatures)
    remarks = [fit.why_not for fit in signatures.values() if fit.why_not]
    remarks += [
        f"no second reading of at least three training patients: which {phase} features are reproducible is not known"
        for phase, fit in signatures.items()
        if fit.reproducibility is None
    ]
    return Trained(settings, sample, signatures, clinical, models, patients, tuple(remarks))


def model_terms(clinical: tuple[str, ...], phases: tuple[Phase, ...]) -> dict[ModelName, tuple[str, ...]]:
    """Terms of each model: signatures first, as in the paper's Figure 3."""
    signatures = tuple(name for name, phase in PHASE_OF.items() if phase in phases)
    return {"clinical": clinical, "signatures": signatures, "combined": signatures + clinical}


def _fit(
    name: ModelName,
    terms: tuple[str, ...],
    values: Values,
    complete: Bools,
    sample: Sample,
    settings: Settings,
    signatures: Mapping[Phase, SignatureFit],
) -> ModelFit | NotKnown:
    missing = [phase for phase, fit in signatures.items() if fit.signature is None]
    if name != "clinical" and missing:
        return NotKnown(f"there is no {' and no '.join(missing)} signature")
    if name != "signatures" and not any(term not in PHASE_OF for term in terms):
        return NotKnown(
            "no clinical covariate was chosen; name them with --clinical-terms to use them all the same"
        )
    chosen = {term: values[term][complete] for term in terms}
    return estimated(lambda: fit_model(name, terms, chosen, sample.outcome.of(complete), settings))
