"""A radiomics signature from one phase's features (paper, Building of the DL-based radiomics signature).

Features that a second reading does not reproduce are put aside, the LASSO-Cox chooses among the rest, and its score is
the signature. Both steps see the training cohort and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prognode.domain.prognosis import Phase
from prognode.domain.signature import Signature, score
from prognode.errors import NotEstimable
from prognode.statistics.cross_validation import CrossValidation, Folds, cross_validate, stratified_folds
from prognode.statistics.icc import icc_values
from prognode.statistics.outcome import Bools, Floats
from training.estimates import NotKnown, estimated
from training.sample import Sample
from training.settings import Settings

LEAST_DEATHS = 10
"""With fewer, a selection among thousands of features is chance."""
LEAST_READ_TWICE = 3
"""Fewer patients than this say nothing about reproducibility."""


@dataclass(frozen=True, slots=True)
class Reproducibility:
    """Which features two readings agree on."""

    patients: int
    values: Floats
    """(2048,) intraclass correlations; NaN where a feature is constant in both readings."""
    kept: Bools
    """(2048,)."""


@dataclass(frozen=True, slots=True)
class SignatureFit:
    """How one phase's signature was found."""

    phase: Phase
    reproducibility: Reproducibility | None
    """None without a second reading: every feature that varies is then taken."""
    candidates: tuple[int, ...]
    """Feature numbers that the LASSO chose from."""
    validation: CrossValidation | None
    """None where the penalty could not be cross-validated."""
    signature: Signature | None
    why_not: str = ""
    """A sentence where there is no signature."""


def reproducibility(sample: Sample, phase: Phase, settings: Settings) -> Reproducibility | None:
    """Intraclass correlation of every feature over the patients who were read twice; None when they are too few."""
    twice = sample.read_twice
    if twice.sum() < LEAST_READ_TWICE:
        return None
    readings = np.stack([sample.features[phase][twice], sample.second[phase][twice]], axis=1)
    values = icc_values(readings, settings.icc_form)
    with np.errstate(invalid="ignore"):
        return Reproducibility(int(twice.sum()), values, values > settings.icc_threshold)


def candidate_features(sample: Sample, phase: Phase, found: Reproducibility | None) -> tuple[int, ...]:
    """Feature numbers that are reproducible and not constant in the sample."""
    varies = np.ptp(sample.features[phase], axis=0) > 0
    return tuple(np.flatnonzero(varies & found.kept if found else varies).tolist())


def build_signature(
    sample: Sample,
    phase: Phase,
    candidates: tuple[int, ...],
    settings: Settings,
    folds: Folds | None = None,
    *,
    quick: bool = False,
) -> tuple[CrossValidation, Signature | None]:
    """Cross-validated LASSO-Cox over the candidates; no signature where the chosen penalty selects nothing.

    Raises NotEstimable with fewer than ten deaths, fewer than folds can judge, or no candidate.
    """
    if sample.outcome.events < LEAST_DEATHS:
        raise NotEstimable(
            f"{sample.outcome.events} deaths: fewer than {LEAST_DEATHS} cannot carry a selection among thousands of features"
        )
    if not candidates:
        raise NotEstimable(f"no {phase} feature is reproducible and varies: there is nothing to select from")
    features = sample.features[phase][:, candidates]
    if folds is None:
        folds = stratified_folds(sample.outcome, settings.seed, settings.folds)
    validation = cross_validate(features, sample.outcome, folds, quick=quick)
    place = validation.place(settings.lambda_rule)
    chosen = validation.path.selected(place)
    if not len(chosen):
        return validation, None
    coefficients = validation.path.coefficients[place, chosen]
    numbers = tuple(candidates[feature] for feature in chosen)
    return validation, Signature(numbers, tuple(coefficients.tolist()))


def fit_signature(sample: Sample, phase: Phase, settings: Settings) -> SignatureFit:
    """The signature of one phase, with everything the report says about it."""
    found = reproducibility(sample, phase, settings)
    candidates = candidate_features(sample, phase, found)
    built = estimated(lambda: build_signature(sample, phase, candidates, settings))
    if isinstance(built, NotKnown):
        return SignatureFit(phase, found, candidates, None, None, built.why)
    validation, signature = built
    why_not = "" if signature else _selected_nothing(phase, settings)
    return SignatureFit(phase, found, candidates, validation, signature, why_not)


def _selected_nothing(phase: Phase, settings: Settings) -> str:
    advice = "; lambda.min penalises less" if settings.lambda_rule == "1se" else ""
    return (
        f"the LASSO selects no {phase} feature at lambda.{settings.lambda_rule}: by cross-validation none predicts "
        f"survival, so there is no {phase} signature{advice}"
    )


def scores(signature: Signature, features: Floats) -> Floats:
    """(n,) signatures of (n, 2048) features, one by one as the node reckons them."""
    return np.array([score(signature, row) for row in features])
