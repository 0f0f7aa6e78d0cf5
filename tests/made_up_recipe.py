"""A recipe for any extractor, without training: its numbers are made up, and it says so.

Coefficients, baseline and cutoffs are invented; the extractor is run on synthetic crops only to put the two signatures
on a scale on which the invented numbers look like survival.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prognode.adapters.onnx_extractor import OnnxExtractor
from prognode.adapters.resnet50 import ARCHITECTURE, Window
from prognode.domain.nomogram import pretty
from prognode.domain.prognosis import Covariates
from prognode.domain.reference_crop import reference_crop
from prognode.ports import Extractor
from training.reference_cases import ReferencePatient, with_reference_cases

JSON = dict[str, Any]
Float = NDArray[np.float64]

NOTICE = (
    "Demonstration recipe: its coefficients are synthetic numbers, not fitted to any patient. "
    "Its results mean nothing."
)
CROP_SEEDS = tuple(range(1, 17))
BATCH = 4
TERMS_PER_SIGNATURE = 12
SIGNATURE_SPREAD = 0.4
"""Standard deviation of a signature over the synthetic crops."""
MONTHS = tuple(round(2.4 * step, 1) for step in range(1, 41))
COMBINED_HAZARD_PER_MONTH = 0.0055
SIGNATURES_HAZARD_PER_MONTH = 0.0140


def make_up_recipe(extractor: Extractor) -> JSON:
    """A recipe document for ``extractor``: schema-valid, reference cases included; same extractor, same document."""
    features = _synthetic_features(extractor)
    document = _document(extractor.sha256, _recorded(extractor), features)
    return with_reference_cases(document, extractor, _patients(features), seeds=CROP_SEEDS[:2])


def _recorded(extractor: Extractor) -> Mapping[str, str]:
    """What the model file says of itself; nothing for an extractor that is no file."""
    return extractor.metadata if isinstance(extractor, OnnxExtractor) else {}


def _synthetic_features(extractor: Extractor) -> Float:
    """(16, 2048) features of synthetic crops."""
    crops = np.stack([reference_crop(seed) for seed in CROP_SEEDS])
    batches = [extractor.features(crops[start : start + BATCH]) for start in range(0, len(crops), BATCH)]
    return np.concatenate(batches).astype(np.float64)


def _document(sha256: str, recorded: Mapping[str, str], features: Float) -> JSON:
    return {
        "schema": "prognode.recipe",
        "schema_version": 1,
        "name": "prognode-demonstration",
        "version": "1",
        "demonstration": True,
        "notices": [NOTICE],
        "preprocessing": _preprocessing(recorded),
        "extractor": {
            "architecture": ARCHITECTURE,
            "sha256": sha256,
            "weights": recorded.get("weights", "not recorded in the model"),
        },
        "signatures": {"arterial": _signature(features, 0), "venous": _signature(features, 1)},
        "models": {"combined": _combined(), "signatures": _signatures_only()},
        "horizons_months": [36, 60],
        "covariates": {
            "ki67_percent": {"minimum": 0, "maximum": 100},
            "longest_diameter_mm": {"minimum": 5, "maximum": 320},
        },
        "training": {
            "cohort": "none: synthetic numbers",
            "synthetic": True,
            "patients": 0,
            "events": 0,
            "signature_scale": f"standard deviation {SIGNATURE_SPREAD} over {len(CROP_SEEDS)} synthetic crops",
        },
    }


def _preprocessing(recorded: Mapping[str, str]) -> JSON:
    usual = Window()
    return {
        "spacing_mm": 1,
        "size_px": 224,
        "slices": 3,
        "interpolation": "cubic-b-spline",
        "window": {
            "level_hu": float(recorded.get("window_level_hu", usual.level_hu)),
            "width_hu": float(recorded.get("window_width_hu", usual.width_hu)),
        },
    }


def _signature(features: Float, phase: int) -> JSON:
    """Twelve features spread over those that vary, with invented weights of alternating sign."""
    spread = features.std(axis=0)
    varying = np.flatnonzero(spread > 0.25 * np.median(spread))
    places = np.linspace(0, len(varying) - 1, 2 * TERMS_PER_SIGNATURE).astype(int)[phase::2]
    indices = varying[places]
    weights = np.array([(-1.0) ** place / (1 + place // 2) for place in range(len(indices))])
    coefficients = np.array([_significant(value, 3) for value in weights / spread[indices]])
    raw = features[:, indices] @ coefficients
    return {
        "terms": [
            {"feature": int(index), "coefficient": float(coefficient)}
            for index, coefficient in zip(indices, coefficients, strict=True)
        ],
        "center": _significant(raw.mean(), 4),
        "scale": _significant(raw.std() / SIGNATURE_SPREAD, 4),
    }


def _significant(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")


def _signature_terms(arterial: float, venous: float) -> list[JSON]:
    axis = list(pretty(-3.0, 3.0))
    return [
        _term("signature_arterial", "Signature, arterial phase", "", arterial, axis),
        _term("signature_venous", "Signature, venous phase", "", venous, axis),
    ]


def _term(name: str, label: str, unit: str, coefficient: float, axis: list[float]) -> JSON:
    return {"name": name, "label": label, "unit": unit, "coefficient": coefficient, "axis": axis}


def _combined() -> JSON:
    m_stage = _term("m_stage", "M stage", "", 0.7, [0, 1]) | {"axis_labels": ["M0", "M1"]}
    terms = [
        *_signature_terms(0.8, 0.6),
        _term("ki67_percent", "Ki-67 index", "%", 0.012, list(pretty(0, 100))),
        _term("longest_diameter_mm", "Longest diameter", "mm", 0.008, list(pretty(5, 160))),
        m_stage,
    ]
    return _model(terms, COMBINED_HAZARD_PER_MONTH, cutoff=1.2)


def _signatures_only() -> JSON:
    return _model(_signature_terms(0.9, 0.7), SIGNATURES_HAZARD_PER_MONTH, cutoff=0.0)


def _model(terms: list[JSON], hazard_per_month: float, cutoff: float) -> JSON:
    return {
        "terms": terms,
        "baseline": {
            "method": "efron",
            "months": list(MONTHS),
            "cumulative_hazard": [round(hazard_per_month * month, 6) for month in MONTHS],
            "follow_up_months": MONTHS[-1],
        },
        "cutoff": {"value": cutoff, "method": "synthetic number, for demonstration"},
    }


def _patients(features: Float) -> list[ReferencePatient]:
    complete = Covariates(20.0, "M0", 41.0)
    advanced = Covariates(80.0, "M1", 88.5)
    unknown = Covariates(longest_diameter_mm=41.0)
    return [
        ReferencePatient("synthetic patient, M0", features[0], features[1], complete),
        ReferencePatient("synthetic patient, M1", features[2], features[3], advanced),
        ReferencePatient("synthetic patient, covariates missing", features[4], features[5], unknown),
    ]
