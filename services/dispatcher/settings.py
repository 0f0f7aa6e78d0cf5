"""What an operator may decide about deliveries."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class DispatcherSettings(BaseModel):
    """How long the dispatcher tries."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    retry_first_s: float = Field(
        default=1.0, gt=0, description="pause before the second try; it doubles from there"
    )
    retry_cap_s: float = Field(default=300.0, gt=0, description="longest pause between two tries")
    refusals: int = Field(
        default=5,
        ge=1,
        description="tries after which an object that the PACS refuses for what it is becomes a dead letter",
    )
    commitment_tries: int = Field(
        default=10,
        ge=1,
        description="requests for storage commitment before the object counts as stored only",
    )
