"""Does this code, with this extractor, still give what the recipe's training saw? Asked before a service is ready."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from prognode.domain.prognosis import Covariates, Prognosis, prognose
from prognode.domain.recipe import Recipe, ReferenceFeatures, ReferencePrognosis
from prognode.domain.reference_crop import reference_crop
from prognode.domain.signature import FEATURE_COUNT
from prognode.errors import RecipeMismatch

NUMBERS_AGREE = 1e-9
"""Relative, and absolute below 1: other mathematics libraries differ in the last bits only."""


class FeatureExtractor(Protocol):
    """What is asked of an extractor here; every :class:`prognode.ports.Extractor` is one."""

    sha256: str

    def features(self, crops_hu: NDArray[np.float32]) -> NDArray[np.float32]: ...


def verify(recipe: Recipe, extractor: FeatureExtractor) -> None:
    """Return if the extractor is the recipe's and every reference case reproduces.

    Raises :class:`~prognode.errors.RecipeMismatch` with a sentence that names what differs.
    """
    verify_extractor_digest(recipe, extractor.sha256)
    for prognosis_case in recipe.reference_prognoses:
        _verify_prognosis(recipe, prognosis_case)
    for features_case in recipe.reference_features:
        _verify_features(recipe, extractor, features_case)


def verify_extractor_digest(recipe: Recipe, sha256: str) -> None:
    """Raise :class:`~prognode.errors.RecipeMismatch` unless ``sha256`` is the recipe's extractor."""
    if sha256 != recipe.extractor.sha256:
        raise RecipeMismatch(
            f"recipe {recipe.name} {recipe.version} was made with extractor {recipe.extractor.sha256} "
            f"({recipe.extractor.weights}), but the extractor here is {sha256}: import the weights that the recipe "
            "names, or choose the recipe that belongs to these weights"
        )


def summary(prognosis: Prognosis) -> dict[str, Any]:
    """A prognosis as the recipe's reference cases write it down."""
    return {
        "model": prognosis.model,
        "signature_arterial": prognosis.signature_arterial,
        "signature_venous": prognosis.signature_venous,
        "linear_predictor": prognosis.linear_predictor,
        "points": {axis.name: axis.points for axis in prognosis.axes},
        "total_points": prognosis.total_points,
        "survival": {str(months): probability for months, probability in prognosis.survival},
        "risk_group": prognosis.risk_group,
    }


def dense(sparse: Mapping[int, float]) -> NDArray[np.float64]:
    """(2048,) features from {number: value}; all others are 0."""
    features = np.zeros(FEATURE_COUNT)
    for index, value in sparse.items():
        features[index] = value
    return features


def prognosis_of(recipe: Recipe, case: ReferencePrognosis) -> Prognosis:
    """What this code makes of a reference case."""
    covariates = Covariates(case.ki67_percent, case.m_stage, case.longest_diameter_mm)
    return prognose(recipe, dense(case.features_arterial), dense(case.features_venous), covariates)


def _verify_prognosis(recipe: Recipe, case: ReferencePrognosis) -> None:
    found = dict(_leaves(summary(prognosis_of(recipe, case))))
    wanted = dict(_leaves(case.expected))
    # the model's own order: what went wrong first is named
    for path in [*found, *(wanted.keys() - found.keys())]:
        if not _agree(found.get(path), wanted.get(path)):
            raise RecipeMismatch(
                f"recipe {recipe.name} {recipe.version}: reference case {case.name!r} does not reproduce: {path} is "
                f"{found.get(path)}, the recipe expects {wanted.get(path)}; recipe and program do not belong together"
            )


def _leaves(part: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in part.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _agree(found: object, wanted: object) -> bool:
    if isinstance(found, int | float) and isinstance(wanted, int | float):
        return math.isclose(found, wanted, rel_tol=NUMBERS_AGREE, abs_tol=NUMBERS_AGREE)
    return found == wanted


def _verify_features(recipe: Recipe, extractor: FeatureExtractor, case: ReferenceFeatures) -> None:
    indices = list(case.features)
    wanted = np.array([case.features[index] for index in indices])
    found = extractor.features(reference_crop(case.seed)[np.newaxis])[0][indices].astype(np.float64)
    difference = float(np.max(np.abs(found - wanted)) / np.max(np.abs(wanted)))
    if not difference <= case.relative_tolerance:
        raise RecipeMismatch(
            f"recipe {recipe.name} {recipe.version}: the extractor does not reproduce reference crop {case.name!r}: "
            f"features differ by {difference:.2g} relative, {case.relative_tolerance:g} is allowed; "
            "the inference engine reckons otherwise than the one the recipe was made with"
        )
