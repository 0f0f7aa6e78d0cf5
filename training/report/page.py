"""The report as one file: every table and figure, the checklist, and how it was made. Nothing is loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from training.estimates import NotKnown
from training.models import MODEL_LABELS
from training.report.items import ReportFigure, ReportTable
from training.report.model_card import RESEARCH_ONLY
from training.report.tripod import checklist
from training.study import Study

Shown = ReportTable | ReportFigure

SECTIONS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("patients", "Patients", ("flow", "left_out", "figure_1", "table_1")),
    ("drift", "Against the training cohort", ("drift",)),
    ("clinical", "Clinical covariates", ("table_2", "schoenfeld", "figure_s1", "backward")),
    ("signatures", "Imaging signatures", ("icc", "figure_icc", "lasso", "figure_lasso", "signature")),
    ("models", "Models", ("model", "figure_3")),
    (
        "performance",
        "Discrimination and risk groups",
        ("table_3", "concordance", "optimism", "figure_optimism"),
    ),
    ("groups", "Survival of the risk groups", ("figure_4", "table_4", "figure_5")),
    ("calibration", "Calibration", ("figure_6a", "calibration")),
    ("roc", "Time-dependent ROC and Brier score", ("figure_s2", "roc", "brier")),
    ("decisions", "Decision curves", ("figure_6b",)),
    ("paper", "Beside the published figures", ("beside",)),
)
"""(anchor, title, beginnings of the keys that belong there)."""


@dataclass(frozen=True, slots=True)
class _Section:
    key: str
    title: str
    items: tuple[Shown, ...]
    text: str = ""


@dataclass(frozen=True, slots=True)
class _Card:
    value: str
    label: str


def render(
    study: Study,
    shown: Sequence[Shown],
    recipe: Mapping[str, Any] | None,
    recipe_digest: str,
    why_not: str,
) -> str:
    """The HTML of a study's report. The same study gives the same bytes."""
    from jinja2 import Environment

    template = (files("training.report") / "page.html.j2").read_text(encoding="utf-8")
    items = checklist(study)
    return (
        Environment(autoescape=True)
        .from_string(template)
        .render(
            title=f"{study.settings.name} {study.settings.version}",
            subtitle=_subtitle(study),
            mark=_mark(study),
            cards=_cards(study),
            problems=_problems(study, recipe, why_not),
            sections=_sections(shown),
            items=items,
            open_items=sum(item.by_person for item in items),
            made=_made(study, recipe, recipe_digest),
            version=version("prognode"),
        )
    )


def _mark(study: Study) -> str:
    synthetic = "SYNTHETIC DATA: nothing here holds for any patient. " if study.provenance.synthetic else ""
    return synthetic + RESEARCH_ONLY


def _subtitle(study: Study) -> str:
    cohorts = ", ".join(f"{name} {len(sample)}" for name, sample in study.samples.items())
    what = "Training and validation" if study.trained else "Validation of a locked recipe"
    return f"{what}; overall survival in gastric neuroendocrine neoplasm; patients: {cohorts}"


def _cards(study: Study) -> list[_Card]:
    cards = []
    for cohort, evaluation in study.evaluations.items():
        if isinstance(evaluation, NotKnown):
            continue
        name = "combined" if "combined" in evaluation.models else next(iter(evaluation.models))
        found = evaluation.models[name].concordance
        value = "not known" if isinstance(found, NotKnown) else f"{found.value:.2f}"
        cards.append(_Card(value, f"C, {MODEL_LABELS[name].lower()}, {cohort}"))
    repeated = study.bootstrap.whole_training.get("combined") if study.bootstrap else None
    if repeated is not None and not isinstance(repeated, NotKnown):
        cards.insert(1, _Card(f"{repeated.corrected:.2f}", "C, training, corrected for optimism"))
    return cards


def _problems(study: Study, recipe: Mapping[str, Any] | None, why_not: str) -> list[str]:
    said = []
    if study.trained is not None and recipe is None:
        said.append(f"No recipe came of this run: {why_not}.")
    said += [
        f"{MODEL_LABELS[name]}: {model.why}."
        for name, model in (study.trained.models.items() if study.trained else ())
        if isinstance(model, NotKnown)
    ]
    said += [
        f"{name} cohort: {one.why}." for name, one in study.evaluations.items() if isinstance(one, NotKnown)
    ]
    if study.trained is not None:
        said += [f"{remark[:1].upper()}{remark[1:]}." for remark in study.trained.remarks]
    return list(dict.fromkeys(said))


def _sections(shown: Sequence[Shown]) -> list[_Section]:
    left = {one.key: one for one in shown}
    sections = []
    for key, title, beginnings in SECTIONS:
        mine = [name for begin in beginnings for name in left if name.startswith(begin)]
        if mine:
            sections.append(_Section(key, title, tuple(left.pop(name) for name in dict.fromkeys(mine))))
    return [*sections, _Section("further", "Further", tuple(left.values()))] if left else sections


def _made(study: Study, recipe: Mapping[str, Any] | None, recipe_digest: str) -> list[str]:
    lines = [
        f"cohort table {study.provenance.table}; cohorts: {study.provenance.split}",
        f"features {study.provenance.features}",
        *study.provenance.remarks,
    ]
    if recipe is not None:
        training = recipe["training"]
        lines += [
            f"recipe digest {recipe_digest}",
            f"training data SHA-256 {training['data_sha256']}",
            f"extractor SHA-256 {recipe['extractor']['sha256']} ({recipe['extractor']['weights']})",
            "libraries: " + ", ".join(f"{name} {number}" for name, number in training["libraries"].items()),
        ]
    return [*lines, f"seed {study.settings.seed}"]
