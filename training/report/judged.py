"""Every model on every cohort, in the report's order, and why a pair has no numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from training.cohort import COHORTS, CohortName
from training.estimates import NotKnown
from training.evaluation import CohortEvaluation, ModelEvaluation
from training.models import MODEL_LABELS, MODEL_NAMES, ModelName
from training.report.labels import COHORT_LABELS
from training.report.numbers import not_estimable
from training.report.tables_models import why_no_model
from training.report.tabulated import Row, filled
from training.study import Study


@dataclass(frozen=True, slots=True)
class Judged:
    """One model on one cohort."""

    model: ModelName
    cohort: CohortName
    whole: CohortEvaluation
    one: ModelEvaluation

    @property
    def labels(self) -> tuple[str, str]:
        """What the first two cells of its rows say."""
        return MODEL_LABELS[self.model], COHORT_LABELS[self.cohort]


def judged(study: Study) -> Iterator[Judged]:
    """Every pair that was judged: models in the paper's order, and of each the cohorts."""
    for model in MODEL_NAMES:
        for cohort, found in study.evaluations.items():
            if isinstance(found, CohortEvaluation) and model in found.models:
                yield Judged(model, cohort, found, found.models[model])


def not_judged(study: Study, columns: int) -> list[Row]:
    """A row for each model that there is not, and for each cohort that could not be judged; the reason stands third."""
    rows: list[Row] = [
        filled([MODEL_LABELS[model], "", not_estimable(why_no_model(study, model))], columns)
        for model in MODEL_NAMES
        if model not in study.models
    ]
    return rows + [
        filled(["", COHORT_LABELS[cohort], not_estimable(found.why)], columns)
        for cohort, found in study.evaluations.items()
        if isinstance(found, NotKnown) and study.models
    ]


def absent_cohorts(study: Study) -> str:
    """A sentence that names cohorts without an analysed patient; empty where there is none.

    A finished recipe is validated on what somebody has; only a training study is expected to have all three.
    """
    if study.trained is None:
        return ""
    absent = [COHORT_LABELS[name].lower() for name in COHORTS if name not in study.samples]
    return f"No patient was analysed in the {' and the '.join(absent)}." if absent else ""
