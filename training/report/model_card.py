"""A model card (Mitchell et al., FAT* 2019): what the model is, for whom, how good, and what it must not be used for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from training.estimates import NotKnown
from training.models import MODEL_LABELS
from training.study import Study

RESEARCH_ONLY = "Research use only. Not a medical device; not for clinical decisions."


def model_card(study: Study, recipe: Mapping[str, Any] | None, recipe_digest: str, why_not: str) -> str:
    """The card as Markdown."""
    name = f"{study.settings.name} {study.settings.version}"
    parts = [f"# Model card: {name}", RESEARCH_ONLY]
    if study.provenance.synthetic:
        parts.append("**Trained on synthetic patients. Its results mean nothing for anybody.**")
    parts += [_what(recipe, recipe_digest, why_not), _use(), _data(study), _how(study), _performance(study)]
    return "\n\n".join([*parts, _limits(study)]) + "\n"


def _what(recipe: Mapping[str, Any] | None, digest: str, why_not: str) -> str:
    if recipe is None:
        return f"## Model\n\nNo recipe came of this run: {why_not}."
    terms = ", ".join(term["label"] for term in recipe["models"]["combined"]["terms"])
    return (
        "## Model\n\n"
        f"- Cox nomogram of {terms}; overall survival at {_months(recipe)} months and a risk group\n"
        f"- recipe digest {digest}\n"
        f"- extractor {recipe['extractor']['architecture']}, {recipe['extractor']['weights']}, "
        f"SHA-256 {recipe['extractor']['sha256']}\n"
        "- method: Yang et al., Quant Imaging Med Surg 2023;13(12):8190-8203"
    )


def _months(recipe: Mapping[str, Any]) -> str:
    return " and ".join(str(months) for months in recipe["horizons_months"])


def _use() -> str:
    return (
        "## Use\n\n"
        "- Meant for: research on prognosis of gastric neuroendocrine neoplasm from biphasic contrast CT with tumour "
        "contours in both phases\n"
        "- Not meant for: treatment decisions, other tumours, other scan protocols, patients after treatment\n"
        "- FOR A PERSON TO FILL IN: intended users, setting, and who answers for the model"
    )


def _data(study: Study) -> str:
    rows = [
        f"- {name}: {len(sample)} patients, {sample.outcome.events} deaths"
        for name, sample in study.samples.items()
    ]
    return "\n".join(
        [
            "## Data",
            "",
            *rows,
            f"- cohorts: {study.provenance.split}",
            f"- features: {study.provenance.features}",
        ]
    )


def _how(study: Study) -> str:
    if study.trained is None:
        return "## Training\n\nNothing was trained in this run; a finished recipe was judged."
    s = study.settings
    chosen = ", ".join(study.trained.clinical.chosen) or "none"
    counts = ", ".join(f"{phase} {len(one.indices)}" for phase, one in study.signatures.items()) or "none"
    return (
        "## Training\n\n"
        f"- features kept where {s.icc_form} > {s.icc_threshold:g}; LASSO-Cox with lambda.{s.lambda_rule}; selected: {counts}\n"
        f"- clinical covariates: {chosen}\n"
        f"- cutoff: {s.cutoff}; seed {s.seed}"
    )


def _performance(study: Study) -> str:
    lines = ["## Performance (Harrell's C)", "", "| model | " + " | ".join(study.evaluations) + " |"]
    lines.append("|---" * (1 + len(study.evaluations)) + "|")
    for name in study.models:
        cells = []
        for evaluation in study.evaluations.values():
            found = NotKnown("") if isinstance(evaluation, NotKnown) else evaluation.models[name].concordance
            cells.append("not known" if isinstance(found, NotKnown) else f"{found.value:.3f}")
        lines.append(f"| {MODEL_LABELS[name]} | " + " | ".join(cells) + " |")
    repeated = study.bootstrap.whole_training.get("combined") if study.bootstrap else None
    if repeated is not None and not isinstance(repeated, NotKnown):
        lines += [
            "",
            f"Combined model, training, corrected for the optimism of the whole training: {repeated.corrected:.3f}",
        ]
    return "\n".join(lines)


def _limits(study: Study) -> str:
    said = list(study.trained.remarks if study.trained else ())
    said += study.trained.clinical.remarks if study.trained else ()
    said += study.provenance.remarks
    rows = [f"- {one}" for one in dict.fromkeys(said)] or ["- none was noticed by the program"]
    return "\n".join(
        [
            "## What was noticed",
            "",
            *rows,
            "- FOR A PERSON TO FILL IN: groups in which the model was not tried",
        ]
    )
