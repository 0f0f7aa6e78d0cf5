"""Who was analysed, and what these patients were like (paper, Figure 1 and Table 1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from prognode.statistics.kaplan_meier import kaplan_meier, median_follow_up
from prognode.statistics.outcome import Outcome
from training.cohort import COHORTS, CohortName
from training.report.characteristics import (
    NOT_TESTED,
    Tested,
    cell,
    compared_survival,
    covariate_lines,
    tested,
)
from training.report.items import ReportTable
from training.report.labels import COHORT_LABELS
from training.report.numbers import median_months, months, share, shown
from training.report.tabulated import Row, tabulated
from training.study import Study


def flow(study: Study) -> ReportTable:
    """How many patients each cohort began with, and how many are behind each number of the report."""
    cohorts = _cohorts(study)
    reasons = Counter(_code(one.reason) for one in study.provenance.left_out)
    rows = [
        _counted(
            "In the cohort table", cohorts, lambda name: _analysed(study, name) + _left_out(study, name)
        ),
        _counted("Left out: images or contours not evaluable", cohorts, lambda name: _left_out(study, name)),
        *(
            _counted(f"of these: {reason}", cohorts, lambda name, code=reason: _left_out(study, name, code))  # type: ignore[misc]
            for reason in sorted(reasons)
        ),
        _counted("Analysed", cohorts, lambda name: _analysed(study, name)),
        _counted("Deaths among the analysed", cohorts, lambda name: _deaths(study, name)),
        ["With every term of the models", *(_complete(study, name, len) for name in cohorts), ""],
        ["Deaths among these", *(_complete(study, name, _events) for name in cohorts), ""],
        _counted("Contoured twice", cohorts, lambda name: _read_twice(study, name)),
    ]
    columns = ["Patients", *(COHORT_LABELS[name] for name in cohorts), "All"]
    return tabulated(study, "flow", "Patients of each cohort", columns, rows, _flow_notes(study))


def _flow_notes(study: Study) -> list[str]:
    source = study.provenance
    absent = [COHORT_LABELS[name] for name in COHORTS if name not in _cohorts(study)]
    return [
        f"Cohort table: {source.table}. Features: {source.features}.",
        f"Split into cohorts: {source.split}.",
        f"Without patients: {', '.join(absent)}." if absent else "",
        *(f"{remark}." for remark in source.remarks),
    ]


def left_out(study: Study) -> ReportTable:
    """Each patient who could not be evaluated, by row of the cohort table, with the reason."""
    labels: dict[str, str] = {str(name): label for name, label in COHORT_LABELS.items()}
    rows = [
        (str(one.row), labels.get(one.cohort, one.cohort), one.reason)
        for one in sorted(study.provenance.left_out, key=lambda one: one.row)
    ]
    notes = [] if rows else ["Nobody was left out."]
    return tabulated(
        study, "left_out", "Patients who could not be evaluated", ("Row", "Cohort", "Reason"), rows, notes
    )


def _cohorts(study: Study) -> list[CohortName]:
    """Those with a patient in the cohort table, evaluable or not."""
    lost = {one.cohort for one in study.provenance.left_out}
    return [name for name in COHORTS if name in study.samples or name in lost]


def _counted(label: str, cohorts: list[CohortName], count: Callable[[CohortName], int]) -> Row:
    counts = [count(name) for name in cohorts]
    return [label, *(str(one) for one in counts), str(sum(counts))]


def _code(reason: str) -> str:
    """``tumour-small`` of ``tumour-small: 3 mm wide``."""
    return reason.partition(":")[0].strip()


def _left_out(study: Study, name: CohortName, code: str = "") -> int:
    return sum(one.cohort == name and code in ("", _code(one.reason)) for one in study.provenance.left_out)


def _analysed(study: Study, name: CohortName) -> int:
    return len(study.samples[name]) if name in study.samples else 0


def _deaths(study: Study, name: CohortName) -> int:
    return study.samples[name].outcome.events if name in study.samples else 0


def _read_twice(study: Study, name: CohortName) -> int:
    return int(study.samples[name].read_twice.sum()) if name in study.samples else 0


def _events(outcome: Outcome) -> int:
    return outcome.events


def _complete(study: Study, name: CohortName, count: Callable[[Outcome], int]) -> str:
    if name not in study.evaluations:
        return "0"
    return shown(study.evaluations[name], lambda one: str(count(one.outcome)))


# ---------------------------------------------------------------- Table 1


def table_1_baseline(study: Study) -> ReportTable:
    """Characteristics and follow-up of every cohort, with the test of whether cohorts differ."""
    samples = list(study.samples.values())
    frames = [sample.covariates for sample in samples]
    rows = [
        (*line.labels, *(cell(line, frame) for frame in frames), *tested(line, frames))
        for line in covariate_lines(frames)
    ]
    columns = [
        "Characteristic",
        "Shown",
        *(f"{COHORT_LABELS[name]} (n={len(sample)})" for name, sample in study.samples.items()),
        "P value",
        "Test",
    ]
    notes = [
        "Percentages are of the patients whose value is known; SD: standard deviation.",
        "" if len(samples) > 1 else "There is one cohort only, so nothing is compared.",
        (
            "Median follow-up by the reverse Kaplan-Meier estimate, median survival by the Kaplan-Meier estimate; not "
            "reached: the curve, or its limit, does not come down to one half."
        ),
    ]
    title = "Table 1. Clinical characteristics of the patients"
    return tabulated(
        study, "table_1_baseline", title, columns, rows + _fate([one.outcome for one in samples]), notes
    )


def _fate(outcomes: list[Outcome]) -> list[Row]:
    """Deaths, follow-up and survival of each cohort."""

    def row(labels: tuple[str, str], write: Callable[[Outcome], str], test: Tested = NOT_TESTED) -> Row:
        return [*labels, *(write(one) for one in outcomes), *test]

    return [
        row(("Deaths", "n (%)"), lambda one: share(one.events, len(one))),
        row(
            ("Follow-up (months)", "median (95 % CI)"),
            lambda one: median_months(median_follow_up(one)),
        ),
        row(("", "longest"), lambda one: months(float(one.time.max()))),
        row(
            ("Overall survival (months)", "median (95 % CI)"),
            lambda one: median_months(kaplan_meier(one).median()),
            compared_survival(outcomes),
        ),
    ]
