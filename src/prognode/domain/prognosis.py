"""From two signatures and three covariates to survival probabilities and a risk group (paper, Methods and Figure 3)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from prognode.domain.cox_model import CoxModel, Term, linear_predictor, survival, survival_curve
from prognode.domain.nomogram import axis_points, nomogram_of
from prognode.domain.recipe import COVARIATE_TERMS, SIGNATURE_TERMS, Range, Recipe
from prognode.domain.signature import score
from prognode.errors import InvalidInput, Reason

Phase = Literal["arterial", "venous"]
RiskGroup = Literal["high", "low"]
CovariateOrigin = Literal["measured", "reported"]


@dataclass(frozen=True, slots=True)
class Covariates:
    """What the model needs beside the images. ``None`` is missing."""

    ki67_percent: float | None = None
    m_stage: Literal["M0", "M1"] | None = None
    longest_diameter_mm: float | None = None
    longest_diameter_origin: CovariateOrigin = "measured"


@dataclass(frozen=True, slots=True)
class AxisPoints:
    """One axis of the nomogram with this patient's place on it."""

    name: str  # signature_arterial | signature_venous | ki67_percent | longest_diameter_mm | m_stage
    label: str
    value: float
    shown: str
    """The value as a person writes it: ``41 mm``, ``M1``."""
    points: float


@dataclass(frozen=True, slots=True)
class Prognosis:
    """The result of one model for one patient."""

    model: Literal["combined", "signatures"]
    """``signatures`` when a covariate is missing: the result is then preliminary."""
    signature_arterial: float
    signature_venous: float
    linear_predictor: float
    axes: tuple[AxisPoints, ...]
    total_points: float
    survival: tuple[tuple[int, float], ...]
    """((36, S(36)), (60, S(60))): months and probability 0..1."""
    curve: tuple[tuple[float, float], ...]
    """Predicted survival curve as (months, probability) steps, from (0, 1)."""
    risk_group: RiskGroup
    cutoff: float
    """On the scale of the linear predictor; ``high`` is above it."""
    covariates: Covariates
    missing: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    """What a reader must know about these numbers: a value beyond its axis."""


M_STAGES = ("M0", "M1")


def prognose(
    recipe: Recipe,
    features_arterial: NDArray[np.floating],
    features_venous: NDArray[np.floating],
    covariates: Covariates,
) -> Prognosis:
    """Apply the recipe to one patient: (2048,) features of each phase and the covariates that are known.

    When a covariate of the combined model is missing, the model of the two signatures alone speaks, and ``missing``
    names what would be needed. Raises :class:`~prognode.errors.InvalidInput` for a covariate outside the range that
    the recipe allows, or features that are not finite.
    """
    known = _covariate_values(covariates, recipe.covariate_ranges)
    signatures = (
        score(recipe.signature_arterial, features_arterial),
        score(recipe.signature_venous, features_venous),
    )
    values = dict(zip(SIGNATURE_TERMS, signatures, strict=True)) | known
    missing = tuple(term.name for term in recipe.combined.terms if term.name not in values)
    model = recipe.signatures_only if missing else recipe.combined
    lp = linear_predictor(model, values)
    axes = _axes(model, values)
    return Prognosis(
        model="signatures" if missing else "combined",
        signature_arterial=signatures[0],
        signature_venous=signatures[1],
        linear_predictor=lp,
        axes=axes,
        total_points=math.fsum(axis.points for axis in axes),
        survival=tuple((months, survival(model, lp, months)) for months in recipe.horizons_months),
        curve=survival_curve(model, lp),
        risk_group="high" if lp > model.cutoff.value else "low",
        cutoff=model.cutoff.value,
        covariates=covariates,
        missing=missing,
        remarks=tuple(
            _remark(term, values[term.name]) for term in model.terms if _is_beyond(term, values[term.name])
        ),
    )


def _covariate_values(covariates: Covariates, ranges: Mapping[str, Range]) -> dict[str, float]:
    """Those that are known, as the model's numbers; M0 is 0 and M1 is 1."""
    given = {name: getattr(covariates, name) for name in COVARIATE_TERMS}
    return {
        name: _number(name, value, ranges.get(name)) for name, value in given.items() if value is not None
    }


def _number(name: str, value: float | str, allowed: Range | None) -> float:
    if name == "m_stage":
        if value not in M_STAGES:
            raise InvalidInput(Reason.COVARIATE_RANGE, "m_stage must be M0 or M1")
        return float(M_STAGES.index(str(value)))
    number = float(value)
    if not math.isfinite(number) or (allowed and not allowed.minimum <= number <= allowed.maximum):
        bounds = f"from {allowed.minimum:g} to {allowed.maximum:g}" if allowed else "a finite number"
        raise InvalidInput(Reason.COVARIATE_RANGE, f"{name} is {number:g}; it must be {bounds}")
    return number


def _axes(model: CoxModel, values: Mapping[str, float]) -> tuple[AxisPoints, ...]:
    nomogram = nomogram_of(model)
    return tuple(
        AxisPoints(
            name=term.name,
            label=term.label,
            value=values[term.name],
            shown=_shown(term, values[term.name]),
            points=axis_points(nomogram, term, values[term.name]),
        )
        for term in model.terms
    )


def _shown(term: Term, value: float) -> str:
    if term.name == "m_stage":
        return M_STAGES[int(value)]
    if term.name in SIGNATURE_TERMS:
        return f"{value:.2f}"
    return f"{round(value, 1):g} {term.unit}".rstrip()


def _is_beyond(term: Term, value: float) -> bool:
    return not term.axis[0] <= value <= term.axis[-1]


def _remark(term: Term, value: float) -> str:
    return (
        f"{term.label} {_shown(term, value)} lies outside the nomogram's axis ({term.axis[0]:g} to "
        f"{term.axis[-1]:g}): its points are extrapolated, and the model saw no such value in training."
    )
