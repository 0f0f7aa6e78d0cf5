"""From two signatures and three covariates to survival probabilities and a risk group (paper, Methods and Figure 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
