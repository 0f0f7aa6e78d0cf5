"""The recipe: one JSON document that binds training to inference.

Everything that turns two crops and three covariates into a prognosis is a number in it, and so are the reference
cases that prove at start-up that this code and this extractor still give what the training saw.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from prognode.domain.cox_model import Baseline, CoxModel, Cutoff, Term
from prognode.domain.signature import FEATURE_COUNT, Signature
from prognode.errors import BadRequest

SCHEMA = "prognode.recipe"
SCHEMA_VERSION = 1
SIGNATURE_TERMS = ("signature_arterial", "signature_venous")
COVARIATE_TERMS = ("ki67_percent", "longest_diameter_mm", "m_stage")
"""What the node can be given with a study, and so the only covariates that a recipe may use."""
TERMS = SIGNATURE_TERMS + COVARIATE_TERMS


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """From images to the network's input (paper, Methods and Appendix 1)."""

    spacing_mm: float
    size_px: int
    slices: int
    interpolation: str
    window_level_hu: float
    window_width_hu: float


@dataclass(frozen=True, slots=True)
class ExtractorIdentity:
    """The one network that the signatures belong to."""

    architecture: str
    sha256: str
    """Of the ONNX file."""
    weights: str
    """Where its weights came from, for people."""


@dataclass(frozen=True, slots=True)
class Range:
    """Values that the model was made for, ends included."""

    minimum: float
    maximum: float


@dataclass(frozen=True, slots=True)
class ReferencePrognosis:
    """Features and covariates with the result that they must give."""

    name: str
    features_arterial: Mapping[int, float]
    """Feature number -> value; all others are 0."""
    features_venous: Mapping[int, float]
    ki67_percent: float | None
    m_stage: Literal["M0", "M1"] | None
    longest_diameter_mm: float | None
    expected: Mapping[str, Any]
    """model, signatures, linear predictor, points, total points, survival, risk group."""


@dataclass(frozen=True, slots=True)
class ReferenceFeatures:
    """A crop by formula with the features that the extractor must give for it."""

    name: str
    seed: int
    """Of :func:`prognode.domain.reference_crop.reference_crop`."""
    features: Mapping[int, float]
    relative_tolerance: float
    """Relative to the largest of ``features``: other processors round otherwise."""


@dataclass(frozen=True, slots=True)
class RecipeIdentity:
    """Which model speaks."""

    name: str
    version: str
    digest: str
    """SHA-256 of the recipe's canonical JSON."""
    extractor_sha256: str
    demonstration: bool


@dataclass(frozen=True, slots=True)
class Recipe:
    """All of a model. ``digest`` is the SHA-256 of the document's canonical JSON."""

    name: str
    version: str
    demonstration: bool
    notices: tuple[str, ...]
    preprocessing: Preprocessing
    extractor: ExtractorIdentity
    signature_arterial: Signature
    signature_venous: Signature
    combined: CoxModel
    signatures_only: CoxModel
    """Used while a covariate is missing: the result is preliminary."""
    clinical: CoxModel | None
    """Covariates alone: never scores, compared with in a validation."""
    horizons_months: tuple[int, ...]
    covariate_ranges: Mapping[str, Range]
    training: Mapping[str, Any]
    reference_prognoses: tuple[ReferencePrognosis, ...]
    reference_features: tuple[ReferenceFeatures, ...]
    digest: str

    @property
    def identity(self) -> RecipeIdentity:
        """What a report says of the model."""
        return RecipeIdentity(self.name, self.version, self.digest, self.extractor.sha256, self.demonstration)


def canonical_json(document: Mapping[str, Any]) -> bytes:
    """UTF-8 JSON with sorted keys and no spaces: the same document is the same bytes."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def digest_of(document: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(document)).hexdigest()


def recipe_from_json(document: Mapping[str, Any]) -> Recipe:
    """Turn a document that fits ``schemas/recipe.v1.schema.json`` into a recipe.

    Raises :class:`~prognode.errors.BadRequest`, naming the JSON path, for what a schema cannot say: steps that fall,
    a horizon beyond the follow-up, a feature named twice, a term that the model may not hold.
    """
    horizons = tuple(document["horizons_months"])
    models = document["models"]
    return Recipe(
        name=document["name"],
        version=document["version"],
        demonstration=document["demonstration"],
        notices=tuple(document["notices"]),
        preprocessing=_preprocessing(document["preprocessing"]),
        extractor=ExtractorIdentity(**document["extractor"]),
        signature_arterial=_signature(document["signatures"]["arterial"], "$.signatures.arterial"),
        signature_venous=_signature(document["signatures"]["venous"], "$.signatures.venous"),
        combined=_model(models["combined"], TERMS, horizons, "$.models.combined"),
        signatures_only=_model(models["signatures"], SIGNATURE_TERMS, horizons, "$.models.signatures"),
        clinical=_model(models["clinical"], COVARIATE_TERMS, horizons, "$.models.clinical")
        if "clinical" in models
        else None,
        horizons_months=horizons,
        covariate_ranges=_ranges(document["covariates"]),
        training=document["training"],
        reference_prognoses=tuple(map(_reference_prognosis, document["reference_cases"]["prognoses"])),
        reference_features=tuple(map(_reference_features, document["reference_cases"]["features"])),
        digest=digest_of(document),
    )


def _preprocessing(part: Mapping[str, Any]) -> Preprocessing:
    window = part["window"]
    return Preprocessing(
        spacing_mm=part["spacing_mm"],
        size_px=part["size_px"],
        slices=part["slices"],
        interpolation=part["interpolation"],
        window_level_hu=window["level_hu"],
        window_width_hu=window["width_hu"],
    )


def _signature(part: Mapping[str, Any], path: str) -> Signature:
    indices = tuple(term["feature"] for term in part["terms"])
    _require(len(set(indices)) == len(indices), f"{path}.terms", "a feature is named twice")
    _require(all(0 <= index < FEATURE_COUNT for index in indices), f"{path}.terms", "features are 0 to 2047")
    coefficients = tuple(float(term["coefficient"]) for term in part["terms"])
    return Signature(indices, coefficients, float(part["center"]), float(part["scale"]))


def _model(part: Mapping[str, Any], allowed: Sequence[str], horizons: Iterable[int], path: str) -> CoxModel:
    terms = tuple(_term(term, f"{path}.terms[{place}]") for place, term in enumerate(part["terms"]))
    names = [term.name for term in terms]
    _require(set(names) <= set(allowed), f"{path}.terms", f"only {', '.join(allowed)} may stand here")
    _require(len(set(names)) == len(names), f"{path}.terms", "a term is named twice")
    _require(any(term.coefficient for term in terms), f"{path}.terms", "every coefficient is zero")
    baseline = _baseline(part["baseline"], f"{path}.baseline")
    reached = max(horizons) <= baseline.follow_up_months
    _require(reached, f"{path}.baseline.follow_up_months", "the follow-up ends before the last horizon")
    cutoff = Cutoff(float(part["cutoff"]["value"]), part["cutoff"]["method"])
    return CoxModel(terms, baseline, cutoff)


def _term(part: Mapping[str, Any], path: str) -> Term:
    ticks = tuple(float(tick) for tick in part["axis"])
    labels = tuple(part.get("axis_labels", ()))
    _require(_rises(ticks), f"{path}.axis", "ticks must rise")
    _require(len(labels) in (0, len(ticks)), f"{path}.axis_labels", "one label per tick, or none")
    _require(part["name"] != "m_stage" or ticks == (0.0, 1.0), f"{path}.axis", "M stage is 0 (M0) or 1 (M1)")
    return Term(part["name"], part["label"], part["unit"], float(part["coefficient"]), ticks, labels)


def _baseline(part: Mapping[str, Any], path: str) -> Baseline:
    months = tuple(float(value) for value in part["months"])
    hazard = tuple(float(value) for value in part["cumulative_hazard"])
    _require(len(months) == len(hazard), path, "months and cumulative_hazard differ in length")
    _require(_rises(months) and months[0] >= 0, f"{path}.months", "event times must rise from 0")
    falls = any(later < earlier for earlier, later in pairwise(hazard))
    _require(not falls and hazard[0] >= 0, f"{path}.cumulative_hazard", "a cumulative hazard never falls")
    end = float(part["follow_up_months"])
    _require(end >= months[-1], f"{path}.follow_up_months", "the follow-up ends before the last event")
    return Baseline(months, hazard, end)


def _ranges(part: Mapping[str, Any]) -> dict[str, Range]:
    for name, bounds in part.items():
        _require(
            bounds["minimum"] < bounds["maximum"], f"$.covariates.{name}", "minimum must be below maximum"
        )
    return {name: Range(float(bounds["minimum"]), float(bounds["maximum"])) for name, bounds in part.items()}


def _reference_prognosis(part: Mapping[str, Any]) -> ReferencePrognosis:
    covariates = part["covariates"]
    return ReferencePrognosis(
        name=part["name"],
        features_arterial=_sparse(part["features"]["arterial"]),
        features_venous=_sparse(part["features"]["venous"]),
        ki67_percent=covariates["ki67_percent"],
        m_stage=covariates["m_stage"],
        longest_diameter_mm=covariates["longest_diameter_mm"],
        expected=part["expected"],
    )


def _reference_features(part: Mapping[str, Any]) -> ReferenceFeatures:
    return ReferenceFeatures(
        name=part["name"],
        seed=part["crop"]["seed"],
        features=_sparse(part["features"]),
        relative_tolerance=part["relative_tolerance"],
    )


def _sparse(part: Mapping[str, float]) -> dict[int, float]:
    return {int(index): float(value) for index, value in part.items()}


def _rises(values: Sequence[float]) -> bool:
    return all(earlier < later for earlier, later in pairwise(values))


def _require(holds: bool, path: str, sentence: str) -> None:
    if not holds:
        raise BadRequest(f"recipe, {path}: {sentence}")
