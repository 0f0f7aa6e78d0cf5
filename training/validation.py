"""A finished recipe on other patients: its coefficients and cutoffs as they are, and how these patients differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from prognode.domain.cox_model import CoxModel
from prognode.domain.prognosis import Phase
from prognode.domain.recipe import Recipe
from prognode.domain.signature import Signature
from prognode.errors import BadRequest
from training.cohort import CohortName
from training.drift import NOTEWORTHY, Drift, drift
from training.models import ModelName
from training.report.items import ReportTable
from training.sample import Sample
from training.settings import Settings
from training.study import Provenance, Study, by_cohort, judge_cohorts


def validate_study(
    recipe: Recipe,
    sample: Sample,
    cohorts: Sequence[CohortName],
    provenance: Provenance,
    settings: Settings,
) -> Study:
    """Judge every model of a recipe on every cohort of a sample; nothing is fitted.

    Raises BadRequest when the table lacks a covariate that a model uses.
    """
    signatures: dict[Phase, Signature] = {
        "arterial": recipe.signature_arterial,
        "venous": recipe.signature_venous,
    }
    models: dict[ModelName, CoxModel] = {"signatures": recipe.signatures_only, "combined": recipe.combined}
    if recipe.clinical is not None:
        models = {"clinical": recipe.clinical, **models}
    _require_terms(models, sample)
    asked = replace(
        settings,
        name=recipe.name,
        version=recipe.version,
        horizons_months=recipe.horizons_months,
        bootstrap=0,
    )
    samples = by_cohort(sample, cohorts)
    values, evaluations = judge_cohorts(samples, signatures, models, asked)
    return Study(asked, provenance, samples, signatures, models, values, evaluations)


def _require_terms(models: dict[ModelName, CoxModel], sample: Sample) -> None:
    terms = {term.name for model in models.values() for term in model.terms}
    missing = sorted(
        term for term in terms if not term.startswith("signature_") and term not in sample.covariates
    )
    if missing:
        raise BadRequest(f"the cohort table has no {', '.join(missing)}, which the recipe's models use")


def drift_table(recipe: Recipe, study: Study) -> tuple[ReportTable, ...]:
    """One table per cohort; empty for a recipe that carries no summary of its training."""
    reference = recipe.training.get("reference")
    if reference is None:
        return ()
    return tuple(
        _table(cohort, drift(reference, sample, study.values[cohort]))
        for cohort, sample in study.samples.items()
    )


def _table(cohort: str, found: Sequence[Drift]) -> ReportTable:
    rows = [
        {
            "Kind": one.kind,
            "Variable": one.name,
            "Training": one.training,
            "Here": one.here,
            "Standardised difference": "" if one.difference is None else f"{one.difference:+.2f}",
            "Outside training's range": "" if one.outside is None else f"{100 * one.outside:.0f} %",
            "Look": "yes" if one.noteworthy else "",
        }
        for one in found
    ]
    notes = (
        "Mean ± standard deviation, or patients (share).",
        "The difference of means is in standard deviations of the training cohort; that of shares is Cohen's h.",
        f"Look: the difference exceeds {NOTEWORTHY:g}, or more than 5 % lie outside the range seen in training.",
    )
    return ReportTable(f"drift_{cohort}", f"Drift, {cohort} cohort", pd.DataFrame(rows), notes)
