"""The whole study of one cohort: train on the training cohort, judge on every cohort, repeat for the optimism."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from prognode.domain.cox_model import CoxModel
from prognode.domain.prognosis import Phase
from prognode.domain.signature import Signature
from prognode.errors import NotEstimable
from training.bootstrap import Bootstrap, bootstrap
from training.cohort import COHORTS, CohortName
from training.estimates import NotKnown, estimated
from training.evaluation import CohortEvaluation, evaluate
from training.models import ModelName, Values, term_values
from training.sample import Sample
from training.second_opinion import ask
from training.settings import Settings
from training.train import Trained, train

OnStep = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A patient whose images could not be evaluated."""

    row: int
    patient_id: str
    cohort: str
    reason: str


@dataclass(frozen=True)
class Provenance:
    """Where the data came from, for the report and the recipe."""

    table: str
    """File name of the cohort table."""
    split: str
    features: str
    """How features came about, in words."""
    remarks: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    synthetic: bool = False


@dataclass(frozen=True)
class Study:
    """Everything that a report is made of."""

    settings: Settings
    provenance: Provenance
    samples: Mapping[CohortName, Sample]
    """In the order training, internal, external; a cohort without patients is not there."""
    signatures: Mapping[Phase, Signature]
    models: Mapping[ModelName, CoxModel]
    values: Mapping[CohortName, Values]
    """Terms of every patient."""
    evaluations: Mapping[CohortName, CohortEvaluation | NotKnown]
    trained: Trained | None = None
    """None where a finished recipe was validated."""
    bootstrap: Bootstrap | None = None
    second_opinion: Mapping[ModelName, float | NotKnown] | None = None


def run_study(
    sample: Sample,
    cohorts: Sequence[CohortName],
    provenance: Provenance,
    settings: Settings,
    workers: int = 1,
    on_step: OnStep = lambda _: None,
    on_repetition: Callable[[], object] = lambda: None,
) -> Study:
    """Train on the patients whose cohort is ``training``, and on nobody else; then judge the locked models on all."""
    samples = by_cohort(sample, cohorts)
    trained = train(samples["training"], settings, on_step)
    models = {name: fit.model for name, fit in trained.fitted.items()}
    on_step("evaluation")
    values, evaluations = judge_cohorts(samples, trained.built, models, settings)
    on_step("second opinion")
    opinions = {name: estimated(lambda fit=fit: ask(fit)) for name, fit in trained.fitted.items()}  # type: ignore[misc]
    on_step("bootstrap")
    repeated = bootstrap(trained, workers, on_repetition) if settings.bootstrap and models else None
    return Study(
        settings=settings,
        provenance=provenance,
        samples=samples,
        signatures=trained.built,
        models=models,
        values=values,
        evaluations=evaluations,
        trained=trained,
        bootstrap=repeated,
        second_opinion=opinions,
    )


def by_cohort(sample: Sample, cohorts: Sequence[CohortName]) -> dict[CohortName, Sample]:
    """The patients of each cohort that has any."""
    assigned = np.array(cohorts)
    return {name: sample.of(assigned == name) for name in COHORTS if (assigned == name).any()}


def judge_cohorts(
    samples: Mapping[CohortName, Sample],
    signatures: Mapping[Phase, Signature],
    models: Mapping[ModelName, CoxModel],
    settings: Settings,
) -> tuple[dict[CohortName, Values], dict[CohortName, CohortEvaluation | NotKnown]]:
    """Terms and evaluation of every cohort."""
    values: dict[CohortName, Values] = {name: term_values(one, signatures) for name, one in samples.items()}
    evaluations = {
        name: estimated(lambda name=name: _judge(name, samples[name], values[name], models, settings))  # type: ignore[misc]
        for name in samples
    }
    return values, evaluations


def _judge(
    name: CohortName, sample: Sample, values: Values, models: Mapping[ModelName, CoxModel], settings: Settings
) -> CohortEvaluation:
    if not models:
        raise NotEstimable("there is no model to judge")
    return evaluate(
        name, models, values, sample.outcome, settings.horizons_months, settings.calibration_groups
    )
