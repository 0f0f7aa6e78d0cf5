"""What an installer may change about when a case starts."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class AssemblySettings(BaseModel):
    """How the tumour's contour is recognised, and how long to wait for what nothing proves."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    roi_name_patterns: tuple[str, ...] = Field(
        default=(),
        description="Regular expressions for the tumour's ROI name; empty takes the built-in rule.",
    )
    segment_codes: tuple[tuple[str, str], ...] = Field(
        default=(), description="(scheme, value) codes of tumour segments; empty takes the built-in rule."
    )
    grace_s: float = Field(
        default=10.0,
        ge=0,
        description="Quiet time after which a refusal goes out or missing images are fetched.",
    )
    give_up_s: float = Field(
        default=3600.0, ge=0, description="Quiet time after which missing slices make the case not evaluable."
    )
