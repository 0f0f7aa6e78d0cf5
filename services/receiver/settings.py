"""What an installer may change about the receiver."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator


class ReceiverSettings(BaseModel):
    """Where the receiver listens, whom it answers and when it says that the disk is full."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ae_title: str = Field(default="PROGNODE", min_length=1, max_length=16, description="Own AE title.")
    host: str = Field(default="0.0.0.0", description="Address to listen on.")  # noqa: S104 - a PACS is another machine
    port: int = Field(default=11112, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    require_called_ae_title: bool = Field(
        default=False, description="Refuse associations that call another AE title."
    )
    calling_ae_titles: tuple[str, ...] = Field(
        default=(), description="AE titles that may send; empty admits every one."
    )
    sop_classes: tuple[str, ...] = Field(
        default=(),
        description="Storage SOP Class UIDs that are accepted and kept; empty accepts every standard one.",
    )
    maximum_associations: int = Field(default=32, ge=1, description="Associations at one time.")
    maximum_pdu_bytes: int = Field(default=131072, ge=4096, le=1 << 20, description="Largest PDU accepted.")
    network_timeout_s: float = Field(
        default=60.0, gt=0, description="An association that is silent for so long is ended."
    )
    fast_receive: bool = Field(
        default=True,
        description="Take C-STORE from the connection directly, where the installed pynetdicom is one that this was "
        "tested with; off: by its documented interface alone, slower.",
    )
    watermark: float = Field(
        default=0.95,
        gt=0,
        le=1,
        description="Used fraction of the disk from which C-STORE is answered 0xA700.",
    )
    watermark_recovery: float = Field(
        default=0.93, gt=0, le=1, description="Used fraction of the disk under which it is accepted again."
    )

    @model_validator(mode="after")
    def _recovers_below_watermark(self) -> ReceiverSettings:
        if self.watermark_recovery > self.watermark:
            raise ValueError("watermark_recovery must not be above watermark")
        return self
