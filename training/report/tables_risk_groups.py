"""What distinguishes patients of low and high risk, in each cohort (paper, Table 4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from prognode.statistics.cutoff import OPTIMISTIC
from prognode.statistics.kaplan_meier import kaplan_meier, median_follow_up
from prognode.statistics.outcome import Bools, Outcome
from training.cohort import CohortName
from training.estimates import NotKnown
from training.evaluation import GROUPS, CohortEvaluation
from training.models import MODEL_LABELS, ModelName
from training.report.characteristics import (
    NOT_TESTED,
    Line,
    Tested,
    cell,
    compared_survival,
    covariate_lines,
    tested,
)
from training.report.items import ReportTable
from training.report.judged import absent_cohorts
from training.report.labels import COHORT_LABELS, GROUP_LABELS
from training.report.numbers import median_months, not_estimable, share
from training.report.tables_models import searches_cutoff
from training.report.tabulated import Row, tabulated
from training.study import Study

KEY = "table_4_risk_groups"
TITLE = "Table 4. Characteristics of the risk groups"
BEST_FIRST: tuple[ModelName, ...] = ("combined", "signatures", "clinical")
NOBODY = "nobody"


@dataclass(frozen=True)
class _Block:
    """One cohort, divided."""

    cohort: CohortName
    frames: tuple[pd.DataFrame, pd.DataFrame]
    """Low, high."""
    outcomes: tuple[Outcome, Outcome]

    @property
    def columns(self) -> list[str]:
        label = COHORT_LABELS[self.cohort]
        sizes = zip(GROUPS, self.outcomes, strict=True)
        groups = [f"{label}: {GROUP_LABELS[group].lower()} (n={len(one)})" for group, one in sizes]
        return [*groups, f"{label}: P value", f"{label}: test"]


def table_4_risk_groups(study: Study) -> ReportTable:
    """Covariates, deaths and survival of the two risk groups of the best model that there is."""
    model = next((name for name in BEST_FIRST if name in study.models), None)
    if model is None:
        return tabulated(
            study, KEY, TITLE, ("Characteristic",), [], ["There is no model, so there are no risk groups."]
        )
    blocks = [
        _block(study, cohort, found, model)
        for cohort, found in study.evaluations.items()
        if isinstance(found, CohortEvaluation)
    ]
    frames = [frame for block in blocks for frame in block.frames]
    lines = covariate_lines(frames) if frames else []
    rows = [_row(line.labels, blocks, lambda block, line=line: _cells(line, block)) for line in lines]  # type: ignore[misc]
    columns = ["Characteristic", "Shown", *(column for block in blocks for column in block.columns)]
    return tabulated(study, KEY, TITLE, columns, rows + _fate(blocks), _notes(study, model))


def _block(study: Study, cohort: CohortName, found: CohortEvaluation, model: ModelName) -> _Block:
    known = study.samples[cohort].of(found.chosen)
    high: Bools = found.models[model].high
    low, above = known.of(~high), known.of(high)
    return _Block(cohort, (low.covariates, above.covariates), (low.outcome, above.outcome))


def _notes(study: Study, model: ModelName) -> list[str]:
    return [
        (
            f"Groups of the {MODEL_LABELS[model][0].lower()}{MODEL_LABELS[model][1:]} at its locked cutoff; patients who have "
            "every term of all models."
        ),
        (
            "Percentages are of the patients whose value is known; SD: standard deviation. Median survival by the Kaplan-Meier "
            "estimate, median follow-up by the reverse Kaplan-Meier estimate."
        ),
        f"Survival in the training cohort: {OPTIMISTIC} {_adjusted(study, model)}"
        if searches_cutoff(study)
        else "",
        *(
            f"{COHORT_LABELS[cohort]}: {not_estimable(found.why)}."
            for cohort, found in study.evaluations.items()
            if isinstance(found, NotKnown)
        ),
        absent_cohorts(study),
    ]


def _adjusted(study: Study, model: ModelName) -> str:
    """Where the adjusted P value stands."""
    fit = study.trained.fitted.get(model) if study.trained else None
    return "" if fit is None or fit.cutoff_p is None else "It stands in the table of the models' fit."


def _row(labels: tuple[str, str], blocks: list[_Block], cells: Callable[[_Block], list[str]]) -> Row:
    return [*labels, *(text for block in blocks for text in cells(block))]


def _cells(line: Line, block: _Block) -> list[str]:
    both = all(len(frame) for frame in block.frames)
    test: Tested = tested(line, block.frames) if both else NOT_TESTED
    return [*(cell(line, frame) if len(frame) else _nobody(line) for frame in block.frames), *test]


def _nobody(line: Line) -> str:
    return "" if line.kind == "factor" else NOBODY


def _fate(blocks: list[_Block]) -> list[Row]:
    """Deaths, follow-up and survival of the groups."""

    def row(labels: tuple[str, str], write: Callable[[Outcome], str], *, test: bool = False) -> Row:
        def cells(block: _Block) -> list[str]:
            written = [write(one) if len(one) else NOBODY for one in block.outcomes]
            return [*written, *(_survival_test(block) if test else NOT_TESTED)]

        return _row(labels, blocks, cells)

    return [
        row(("Deaths", "n (%)"), lambda one: share(one.events, len(one))),
        row(("Follow-up (months)", "median (95 % CI)"), lambda one: median_months(median_follow_up(one))),
        row(
            ("Overall survival (months)", "median (95 % CI)"),
            lambda one: median_months(kaplan_meier(one).median()),
            test=True,
        ),
    ]


def _survival_test(block: _Block) -> Tested:
    if not all(len(one) for one in block.outcomes):
        empty = GROUPS[int(np.argmin([len(one) for one in block.outcomes]))]
        return not_estimable(f"nobody is in the {empty}-risk group"), ""
    return compared_survival(block.outcomes)
