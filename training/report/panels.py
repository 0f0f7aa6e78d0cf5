"""What a panel of a figure can show: a model on a cohort, or the sentence that says why there is nothing."""

from __future__ import annotations

from prognode.domain.cox_model import CoxModel
from training.cohort import CohortName
from training.estimates import NotKnown
from training.evaluation import AtHorizon, CohortEvaluation, ModelEvaluation
from training.models import MODEL_NAMES, ModelName
from training.report.tables_models import why_no_model
from training.study import Study

ORDER: tuple[ModelName, ...] = ("combined", "signatures", "clinical")
"""Of the paper's figures."""
NO_TRAINING = "A finished recipe was judged: nothing was trained here."


def models_of(study: Study) -> tuple[ModelName, ...]:
    """Models that the study has, or has a reason not to have."""
    wanted = MODEL_NAMES if study.trained or not study.models else tuple(study.models)
    return tuple(name for name in ORDER if name in wanted)


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
