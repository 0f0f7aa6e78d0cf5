"""What an installer may change about scoring."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ScoringSettings(BaseModel):
    """How reports are marked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    figure: bool = Field(default=True, description="Send the figure as Secondary Capture after each report.")
