"""A trained study as a recipe: the one document that the node scores with.

Nothing in it belongs to a single patient: coefficients, steps of a baseline, summaries, and reference cases whose
inputs are drawn by formula.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import numpy as np

from prognode.adapters.onnx_extractor import OnnxExtractor
from prognode.adapters.resnet50 import ARCHITECTURE, Window
from prognode.domain.cox_model import CoxModel
from prognode.domain.prognosis import Covariates
from prognode.domain.recipe import canonical_json
from prognode.domain.reference_crop import reference_crop
from prognode.domain.signature import Signature
from prognode.errors import NotEstimable
from prognode.ports import Extractor
from training.drift import reference_distribution
from training.estimates import NotKnown
from training.models import ModelName
from training.reference_cases import ReferencePatient, with_reference_cases
from training.sample import Sample
from training.study import Study
from training.train import Trained

JSON = dict[str, Any]

SYNTHETIC_NOTICE = "Demonstration recipe: trained on synthetic patients who never were. Its results mean nothing for anybody."
PLAUSIBLE = {
    "ki67_percent": {"minimum": 0, "maximum": 100},
    "longest_diameter_mm": {"minimum": 5, "maximum": 320},
}
LIBRARIES = ("prognode", "numpy", "scipy", "pandas", "lifelines", "onnxruntime")
REFERENCE_SEEDS = (1, 2)
REFERENCE_PATIENTS = (
    ("drawn by formula, M0", Covariates(20.0, "M0", 41.0)),
    ("drawn by formula, M1", Covariates(80.0, "M1", 88.5)),
    ("drawn by formula, covariates missing", Covariates(longest_diameter_mm=41.0)),
)


def recipe_document(study: Study, extractor: Extractor) -> JSON:
    """The recipe of a study, schema-valid, for the extractor that made its features.

    Raises NotEstimable with the reason when the study gave no combined model, no model of the signatures, or one that
    a second implementation does not confirm.
    """
    trained = _usable(study)
    document = _document(study, trained, extractor)
    return with_reference_cases(document, extractor, _patients(extractor), REFERENCE_SEEDS)


def why_no_recipe(study: Study) -> str:
    """The reason why a study gives no recipe; empty when it does."""
    try:
        _usable(study)
    except NotEstimable as fault:
        return str(fault)
    return ""


def _usable(study: Study) -> Trained:
    trained = study.trained
    if trained is None:
        raise NotEstimable("nothing was trained")
    for name in ("signatures", "combined"):
        model = trained.models[name]
        if isinstance(model, NotKnown):
            raise NotEstimable(f"there is no {name} model: {model.why}")
    for opinion in (study.second_opinion or {}).values():
        if isinstance(opinion, NotKnown):
            raise NotEstimable(opinion.why)
    return trained


def _document(study: Study, trained: Trained, extractor: Extractor) -> JSON:
    recorded = extractor.metadata if isinstance(extractor, OnnxExtractor) else {}
    synthetic = study.provenance.synthetic
    return {
        "schema": "prognode.recipe",
        "schema_version": 1,
        "name": study.settings.name,
        "version": study.settings.version,
        "demonstration": synthetic,
        "notices": [SYNTHETIC_NOTICE] if synthetic else [],
        "preprocessing": _preprocessing(recorded),
        "extractor": {
            "architecture": ARCHITECTURE,
            "sha256": extractor.sha256,
            "weights": recorded.get("weights", "not recorded in the model"),
        },
        "signatures": {phase: _signature(one) for phase, one in trained.built.items()},
        "models": {name: _model(fit.model) for name, fit in trained.fitted.items()},
        "horizons_months": list(study.settings.horizons_months),
        "covariates": PLAUSIBLE,
        "training": _training(study, trained),
    }


def _preprocessing(recorded: Mapping[str, str]) -> JSON:
    usual = Window()
    level, width = (
        recorded.get("window_level_hu", usual.level_hu),
        recorded.get("window_width_hu", usual.width_hu),
    )
    return {
        "spacing_mm": 1,
        "size_px": 224,
        "slices": 3,
        "interpolation": "cubic-b-spline",
        "window": {"level_hu": float(level), "width_hu": float(width)},
    }


def _signature(signature: Signature) -> JSON:
    terms = zip(signature.indices, signature.coefficients, strict=True)
    return {
        "terms": [{"feature": feature, "coefficient": coefficient} for feature, coefficient in terms],
        "center": signature.center,
        "scale": signature.scale,
    }


def _model(model: CoxModel) -> JSON:
    return {
        "terms": [
            {"name": term.name, "label": term.label, "unit": term.unit, "coefficient": term.coefficient}
            | {"axis": list(term.axis)}
            | ({"axis_labels": list(term.axis_labels)} if term.axis_labels else {})
            for term in model.terms
        ],
        "baseline": {
            "method": "efron",
            "months": list(model.baseline.months),
            "cumulative_hazard": list(model.baseline.cumulative_hazard),
            "follow_up_months": model.baseline.follow_up_months,
        },
        "cutoff": {"value": model.cutoff.value, "method": model.cutoff.method},
    }


# ---------------------------------------------------------------- what training was


def _training(study: Study, trained: Trained) -> JSON:
    settings = asdict(study.settings)
    values = study.values["training"]
    return {
        "cohort": "synthetic cohort" if study.provenance.synthetic else "the training cohort of the study",
        "synthetic": study.provenance.synthetic,
        "patients": len(trained.sample),
        "events": trained.sample.outcome.events,
        "patients_by_model": dict(trained.patients),
        "read_twice": int(trained.sample.read_twice.sum()),
        "split": study.provenance.split,
        "features": study.provenance.features,
        "settings": {
            name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()
        },
        "seed": study.settings.seed,
        "data_sha256": data_digest(trained.sample),
        "libraries": {name: version(name) for name in LIBRARIES},
        "concordance": _concordance(study),
        "reference": reference_distribution(trained.sample, values, trained.built),
    }


def _concordance(study: Study) -> JSON:
    """C in training, apparent and corrected, for people who read the recipe."""
    found: JSON = {}
    evaluation = study.evaluations["training"]
    if isinstance(evaluation, NotKnown):
        return found
    for name, judged in evaluation.models.items():
        if not isinstance(judged.concordance, NotKnown):
            found[name] = {"apparent": judged.concordance.value} | _corrected(study, name)
    return found


def _corrected(study: Study, name: ModelName) -> JSON:
    repeated = study.bootstrap.whole_training.get(name) if study.bootstrap else None
    if repeated is None or isinstance(repeated, NotKnown):
        return {}
    return {"corrected_for_optimism": repeated.corrected}


def data_digest(sample: Sample) -> str:
    """SHA-256 of everything that the training saw, without the patients' names; the order of rows does not matter."""
    rows = []
    for place in range(len(sample)):
        row = {str(name): _plain(sample.covariates[name].iloc[place]) for name in sample.covariates}
        state = hashlib.sha256(canonical_json(row))
        state.update(
            np.array([sample.outcome.time[place], sample.outcome.event[place]], np.float64).tobytes()
        )
        for values in (*sample.features.values(), *sample.second.values()):
            state.update(np.ascontiguousarray(values[place], np.float64).tobytes())
        rows.append(state.hexdigest())
    return hashlib.sha256("".join(sorted(rows)).encode()).hexdigest()


def _plain(value: object) -> object:
    if value is None or value != value:  # noqa: PLR0124 - NaN is what differs from itself
        return None
    return value if isinstance(value, str) else float(value)  # type: ignore[arg-type]


def _patients(extractor: Extractor) -> list[ReferencePatient]:
    features = [
        extractor.features(np.stack([reference_crop(2 * place + 3), reference_crop(2 * place + 4)]))
        for place in range(len(REFERENCE_PATIENTS))
    ]
    return [
        ReferencePatient(name, arterial, venous, known)
        for (name, known), (arterial, venous) in zip(REFERENCE_PATIENTS, features, strict=True)
    ]
