"""Reference cases: what a finished recipe promises to reproduce, written down by the code that serves it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prognode.domain.prognosis import Covariates
from prognode.domain.recipe import Recipe, ReferencePrognosis, recipe_from_json
from prognode.domain.reference_crop import reference_crop
from prognode.domain.verification import prognosis_of, summary
from prognode.ports import Extractor

RELATIVE_TOLERANCE = 1e-3
"""Between engines; float32 on one and the same engine differs by 1e-6 or less, another network by far more."""

JSON = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ReferencePatient:
    """Inputs of one reference prognosis; features are (2048,) per phase."""

    name: str
    features_arterial: NDArray[np.floating]
    features_venous: NDArray[np.floating]
    covariates: Covariates


def with_reference_cases(
    document: Mapping[str, Any],
    extractor: Extractor,
    patients: Sequence[ReferencePatient],
    seeds: Sequence[int],
) -> JSON:
    """Copy of a recipe document, complete but for its ``reference_cases``, with them filled in.

    Each patient gives a reference prognosis, each seed a reference crop whose features the extractor must reproduce.
    """
    draft = copy.deepcopy(dict(document)) | {"reference_cases": {"prognoses": [], "features": []}}
    recipe = recipe_from_json(draft)
    draft["reference_cases"] = {
        "prognoses": [_prognosis_case(recipe, patient) for patient in patients],
        "features": [_features_case(recipe, extractor, seed) for seed in seeds],
    }
    return draft


def _prognosis_case(recipe: Recipe, patient: ReferencePatient) -> JSON:
    arterial = _rounded(patient.features_arterial, recipe.signature_arterial.indices)
    venous = _rounded(patient.features_venous, recipe.signature_venous.indices)
    known = patient.covariates
    case = ReferencePrognosis(
        patient.name, arterial, venous, known.ki67_percent, known.m_stage, known.longest_diameter_mm, {}
    )
    return {
        "name": patient.name,
        "features": {"arterial": _json(arterial), "venous": _json(venous)},
        "covariates": {
            "ki67_percent": known.ki67_percent,
            "m_stage": known.m_stage,
            "longest_diameter_mm": known.longest_diameter_mm,
        },
        "expected": summary(prognosis_of(recipe, case)),
    }


def _features_case(recipe: Recipe, extractor: Extractor, seed: int) -> JSON:
    features = extractor.features(reference_crop(seed)[np.newaxis])[0]
    used = sorted({*recipe.signature_arterial.indices, *recipe.signature_venous.indices})
    return {
        "name": f"abdomen-ellipses.v1, seed {seed}",
        "crop": {"formula": "abdomen-ellipses.v1", "seed": seed},
        "features": _json(_rounded(features, used)),
        "relative_tolerance": RELATIVE_TOLERANCE,
    }


def _rounded(features: NDArray[np.floating], indices: Sequence[int]) -> dict[int, float]:
    """Six significant digits: more is noise of the processor that trained."""
    return {index: float(f"{features[index]:.6g}") for index in indices}


def _json(sparse: Mapping[int, float]) -> dict[str, float]:
    return {str(index): value for index, value in sparse.items()}
