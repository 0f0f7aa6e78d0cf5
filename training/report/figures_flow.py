"""How patients came into the cohorts, and who was left out (paper, Figure 1)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from prognode.adapters.drawing import FAINT, INK
from prognode.dicom.codes import REASON_MEANING
from prognode.errors import Reason
from training.cohort import COHORTS, CohortName
from training.estimates import NotKnown
from training.report.items import ReportFigure
from training.report.labels import COHORT_LABELS
from training.report.panels import cohort_of
from training.report.sheet import LARGE, TEXT, Sheet, wrapped
from training.report.svg import report_figure
from training.study import Study

WIDTH = 1000.0
LINE = 19.0
PADDING = 14.0
SIDE_LEFT, SIDE_WIDTH = 560.0, 424.0
TOP_WIDTH = 420.0
BOTTOM_WIDTH, BOTTOM_GAP = 300.0, 34.0
MOST_REASONS = 8
"""The rarer ones are counted together."""


@dataclass(frozen=True, slots=True)
class _Box:
    """A heading and the lines under it."""

    heading: str
    lines: tuple[str, ...]

    @property
    def height(self) -> float:
        return 2 * PADDING + LINE * (1 + len(self.lines)) - 4


def flow_figure(study: Study) -> ReportFigure:
    """Patients of the table, those left out with the reasons, and the cohorts with their deaths."""
    top, side = _table_box(study), _left_out_box(study)
    bottom = [_cohort_box(study, name) for name in COHORTS]
    upper = 12.0
    middle = upper + top.height + 34
    beside = side.height if study.provenance.left_out else 0.0
    lower = max(middle + 20, upper + top.height + 30 + beside + 30)
    size = (WIDTH, lower + max(box.height for box in bottom) + 26)

    def paint(sheet: Sheet) -> None:
        axis, places = WIDTH / 2, _places()
        turn = lower - 22
        _arrow(sheet, [(axis, upper + top.height), (axis, turn)], head=False)
        _arrow(sheet, [(places[0], turn), (places[-1], turn)], head=False)
        for x in places:
            _arrow(sheet, [(x, turn), (x, lower)])
        if beside:
            y = upper + top.height + 30 + beside / 2
            _arrow(sheet, [(axis, y), (SIDE_LEFT, y)])
            _draw(sheet, side, SIDE_LEFT, y - beside / 2, SIDE_WIDTH)
        _draw(sheet, top, axis - TOP_WIDTH / 2, upper, TOP_WIDTH)
        for box, x in zip(bottom, places, strict=True):
            _draw(sheet, box, x - BOTTOM_WIDTH / 2, lower, BOTTOM_WIDTH)

    caption = (
        "Patients of the cohort table, those whose images could not be evaluated, and the cohorts. Only the training "
        "cohort takes part in training; a model is judged on the patients who have every term of all models."
    )
    return report_figure(study, "figure_1_flow", "Figure 1. Patients and cohorts", caption, size, paint)


def _places() -> list[float]:
    """Middles of the lower boxes."""
    return [16 + BOTTOM_WIDTH / 2 + place * (BOTTOM_WIDTH + BOTTOM_GAP) for place in range(len(COHORTS))]


def _table_box(study: Study) -> _Box:
    patients = sum(len(sample) for sample in study.samples.values()) + len(study.provenance.left_out)
    split = _lines(f"Cohorts: {study.provenance.split}", TOP_WIDTH)
    return _Box(f"Patients in the table: {patients}", split)


def _left_out_box(study: Study) -> _Box:
    reasons = Counter(_meaning(one.reason) for one in study.provenance.left_out).most_common()
    shown = reasons[:MOST_REASONS]
    others = sum(count for _, count in reasons[MOST_REASONS:])
    said = [f"{count}: {reason}" for reason, count in shown]
    said += [f"{others}: other reasons" for _ in range(bool(others))]
    lines = [line for one in said for line in _lines(one, SIDE_WIDTH)]
    return _Box(f"Left out: {len(study.provenance.left_out)}", tuple(lines))


def _meaning(reason: str) -> str:
    """What the code at the beginning of a reason means; the details differ from patient to patient."""
    code = reason.partition(":")[0].strip()
    return REASON_MEANING[Reason(code)] if code in set(Reason) else reason


def _cohort_box(study: Study, name: CohortName) -> _Box:
    if name not in study.samples:
        return _Box(COHORT_LABELS[name], ("No patient",))
    outcome = study.samples[name].outcome
    deaths = f"Patients: {len(outcome)}, deaths: {outcome.events}"
    lost = sum(one.cohort == name for one in study.provenance.left_out)
    left_out = (f"Left out before: {lost}",) if lost else ()
    return _Box(COHORT_LABELS[name], (deaths, *_lines(_evaluated(study, name), BOTTOM_WIDTH), *left_out))


def _evaluated(study: Study, name: CohortName) -> str:
    found = cohort_of(study, name)
    return (
        f"Not judged: {found.why}"
        if isinstance(found, NotKnown)
        else f"With every term of the models: {int(found.chosen.sum())}"
    )


def _lines(words: str, width: float) -> tuple[str, ...]:
    return tuple(wrapped(words, width - 2 * PADDING).split("\n"))


def _draw(sheet: Sheet, box: _Box, left: float, top: float, width: float) -> None:
    sheet.box(left, top, width, box.height, edgecolor=FAINT, zorder=2)
    y = top + PADDING + LINE / 2 - 2
    sheet.write(left + PADDING, y, box.heading, size=LARGE, weight="bold")
    for place, line in enumerate(box.lines, start=1):
        sheet.write(left + PADDING, y + place * LINE, line, size=TEXT, color=INK)


def _arrow(sheet: Sheet, points: list[tuple[float, float]], *, head: bool = True) -> None:
    sheet.rule(points, color=FAINT, zorder=1)
    if head:
        (x0, y0), (x, y) = points[-2:]
        back = 7.0
        tips = [(x - back, y - 4), (x - back, y + 4)] if x > x0 else [(x - 4, y - back), (x + 4, y - back)]
        for tip in tips:
            sheet.rule([tip, (x, y)], color=FAINT, zorder=1)
        assert x > x0 or y > y0
