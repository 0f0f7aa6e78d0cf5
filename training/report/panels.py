"""What a panel of a figure can show: a model on a cohort, or the sentence that says why there is nothing."""

from __future__ import annotations

from prognode.domain.cox_model import CoxModel
from training.cohort import CohortName
from training.estimates import NotKnown
from training.evaluation import AtHorizon, CohortEvaluation, ModelEvaluation
from training.models import MODEL_LABELS, ModelName
from training.report.labels import COHORT_LABELS
from training.report.tables_models import why_no_model
from training.study import Study

ORDER: tuple[ModelName, ...] = ("combined", "signatures", "clinical")
"""Of the paper's figures."""
NO_TRAINING = "A finished recipe was judged: nothing was trained here."


def shown_models(study: Study) -> tuple[ModelName, ...]:
    """Models that exist."""
    return tuple(name for name in ORDER if name in study.models)


def absent_models(study: Study) -> tuple[str, ...]:
    """Why the training gave no such model, a sentence each."""
    absent = [name for name in ORDER if name not in study.models] if study.trained else []
    return tuple(f"{MODEL_LABELS[name]}: {why_no_model(study, name)}." for name in absent)


def no_model(study: Study) -> str:
    """Where no model exists: why."""
    return " ".join(("There is no model to judge.", *absent_models(study)))


def by_horizon(study: Study) -> list[list[tuple[CohortName, int]]]:
    """Panels as rows of (cohort, months): a row per horizon; of a single cohort all horizons in one row."""
    cohorts, horizons = tuple(study.samples), study.settings.horizons_months
    if len(cohorts) == 1:
        return [[(cohorts[0], months) for months in horizons]]
    return [[(cohort, months) for cohort in cohorts] for months in horizons]


def named(cohort: CohortName, months: int) -> str:
    """Name of such a panel."""
    when = f"{months // 12} years" if months % 12 == 0 and months > 12 else f"{months} months"
    return f"{COHORT_LABELS[cohort].removesuffix(' cohort')}, {when}"


def leading(study: Study) -> ModelName:
    """The combined model, or the next best that exists; the combined one too where none does."""
    return next((name for name in ORDER if name in study.models), ORDER[0])


def model_of(study: Study, name: ModelName) -> CoxModel | NotKnown:
    """A model, or why it was not fitted."""
    if name in study.models:
        return study.models[name]
    return NotKnown(why_no_model(study, name))


def cohort_of(study: Study, cohort: CohortName) -> CohortEvaluation | NotKnown:
    """The evaluation of a cohort, or why there is none."""
    return study.evaluations.get(cohort, NotKnown("no patient is in this cohort"))


def model_on(study: Study, name: ModelName, cohort: CohortName) -> ModelEvaluation | NotKnown:
    """The evaluation of a model on a cohort, or why there is none."""
    model = model_of(study, name)
    if isinstance(model, NotKnown):
        return model
    found = cohort_of(study, cohort)
    return found if isinstance(found, NotKnown) else found.models[name]


def model_at(study: Study, name: ModelName, cohort: CohortName, months: int) -> AtHorizon | NotKnown:
    """The evaluation of a model's predictions at one time, or why there is none."""
    found = model_on(study, name, cohort)
    if isinstance(found, NotKnown):
        return found
    return next((at for at in found.at if at.months == months), NotKnown(f"not judged at {months} months"))


def followed_months(study: Study) -> float:
    """The longest follow-up of all cohorts."""
    return max((float(sample.outcome.time.max()) for sample in study.samples.values()), default=0.0)
