"""Everything that a study leaves behind, as files in one folder."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from prognode.domain.recipe import digest_of
from training.estimates import NotKnown
from training.models import ModelName, survivals
from training.report.figures import all_figures
from training.report.items import ReportTable
from training.report.model_card import model_card
from training.report.page import render
from training.report.tables import all_tables, write_tables
from training.report.tripod import checklist
from training.study import Study

REPORT = "report.html"
MODEL_CARD = "model_card.md"
CHECKLIST = "tripod_ai.csv"
PREDICTIONS = "predictions.csv"


def write_report(
    study: Study,
    out: Path,
    recipe: Mapping[str, Any] | None = None,
    why_not: str = "",
    more_tables: tuple[ReportTable, ...] = (),
    on_step: Callable[[str], object] = lambda _: None,
) -> None:
    """Write report.html, tables/*.csv, figures/*.svg, predictions.csv, the checklist and the model card."""
    digest = digest_of(recipe) if recipe else ""
    for folder in ("tables", "figures"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    on_step("tables")
    tables = (*all_tables(study), *more_tables)
    write_tables(tables, out / "tables")
    on_step("figures")
    figures = all_figures(study)
    for figure in figures:
        (out / "figures" / f"{figure.key}.svg").write_text(figure.svg, encoding="utf-8")
    on_step("page")
    page = render(study, (*tables, *figures), recipe, digest, why_not)
    (out / REPORT).write_text(page, encoding="utf-8")
    (out / MODEL_CARD).write_text(model_card(study, recipe, digest, why_not), encoding="utf-8")
    _write_rows(
        out / CHECKLIST,
        [["item", "asks", "answer"], *([i.number, i.asks, i.answer] for i in checklist(study))],
    )
    _write_rows(out / PREDICTIONS, prediction_rows(study))


def prediction_rows(study: Study) -> list[list[object]]:
    """What every model says of every patient: one row a patient and model, numbers in full."""
    months = study.settings.horizons_months
    rows: list[list[object]] = [
        [
            "patient_id",
            "cohort",
            "model",
            "linear_predictor",
            "risk_group",
            *(f"survival_{m}" for m in months),
        ]
    ]
    for cohort, sample in study.samples.items():
        for name in study.models:
            rows += _predictions(study, cohort, sample.ids, name)
    return rows


def _predictions(study: Study, cohort: str, ids: tuple[str, ...], name: ModelName) -> list[list[object]]:
    evaluation = study.evaluations[cohort]  # type: ignore[index]
    if isinstance(evaluation, NotKnown):
        return []
    judged, model = evaluation.models[name], study.models[name]
    columns = [survivals(model, judged.lp, months).tolist() for months in study.settings.horizons_months]
    chosen = [patient for patient, known in zip(ids, evaluation.chosen, strict=True) if known]
    return [
        [patient, cohort, name, repr(lp), group, *(repr(column[place]) for column in columns)]
        for place, (patient, lp, group) in enumerate(
            zip(chosen, judged.lp.tolist(), judged.group_labels, strict=True)
        )
    ]


def _write_rows(path: Path, rows: list[list[object]] | list[list[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
