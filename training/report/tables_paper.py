"""Our figures of a synthetic cohort beside those that the paper prints of its patients: same layout, same methods."""

from __future__ import annotations

from collections.abc import Mapping

from training.published import CONCORDANCE, HAZARD_RATIO, SOURCE, Interval
from training.published import Row as Published
from training.report.items import ReportTable
from training.report.judged import Judged, absent_cohorts, judged, not_judged
from training.report.numbers import shown, with_limits
from training.report.tables_performance import harrell_c, ratio
from training.report.tabulated import Row, tabulated
from training.study import Study

COLUMNS = (
    "Model",
    "Cohort",
    "Harrell C (95 % CI), synthetic",
    "C-index (95 % CI), paper",
    "HR per unit of the linear predictor (95 % CI), synthetic",
    "HR, high against low risk (95 % CI), synthetic",
    "HR (95 % CI), paper",
)


def beside_the_paper(study: Study) -> ReportTable | None:
    """The paper's Table 3 beside ours; None for real patients, whose study is its own."""
    if not study.provenance.synthetic:
        return None
    rows = [_row(pair) for pair in judged(study)] + not_judged(study, len(COLUMNS))
    notes = [
        (
            f"Paper: {SOURCE}, Table 3. Its patients are others than these, who never were: the two have nothing to do with "
            "each other but layout and method, and their agreement or difference means nothing."
        ),
        (
            "The paper does not name the unit of its hazard ratios. Their intervals are too narrow for a comparison of two "
            "groups in cohorts of that size, and fit a ratio per unit of a continuous score."
        ),
        absent_cohorts(study),
    ]
    title = "Synthetic cohort beside the paper's Table 3"
    return tabulated(study, "beside_the_paper", title, COLUMNS, rows, notes)


def _row(pair: Judged) -> Row:
    one = pair.one
    return [
        *pair.labels,
        shown(one.concordance, harrell_c),
        _published(CONCORDANCE, pair),
        shown(one.hr_per_unit, ratio),
        shown(one.hr_groups, ratio),
        _published(HAZARD_RATIO, pair),
    ]


def _published(figures: Mapping[str, Published], pair: Judged) -> str:
    found: Interval = figures[pair.model][pair.cohort]
    return with_limits(found.value, (found.lower, found.upper))
