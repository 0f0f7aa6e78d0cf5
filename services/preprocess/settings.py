"""What an installer may change about preprocessing."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class PreprocessSettings(BaseModel):
    """Rules by which a series is called arterial or venous when the header's timing does not tell."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    arterial_description: str = Field(
        default="", description="Regular expression; empty takes the built-in rule."
    )
    venous_description: str = Field(
        default="", description="Regular expression; empty takes the built-in rule."
    )
