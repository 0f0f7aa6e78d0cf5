"""Who a peer is and what it is used for. Apart from the network code, so that reading a configuration is cheap."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

AETitle = Annotated[str, Field(min_length=1, max_length=16, pattern=r"^[ -\[\]-~]*[!-\[\]-~][ -\[\]-~]*$")]
"""PS3.5 table 6.2-1, VR AE: at most 16 printable characters, no backslash, not all blank."""


class PacsSettings(BaseModel):
    """One configured peer, and what it is used for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, description="how logs, deliveries and the command line call this PACS")
    ae_title: AETitle = Field(description="AE title of the PACS")
    host: str = Field(min_length=1, description="host name or address of the PACS")
    port: int = Field(ge=1, le=65535, description="DICOM port of the PACS")
    calling_ae_title: AETitle = Field(default="PROGNODE", description="AE title that this node calls itself")
    store: bool = Field(default=True, description="reports are delivered to this PACS")
    fetch: Literal["c-get", "c-move"] | None = Field(
        default=None, description="how missing images are fetched from this PACS; none: they are not"
    )
    move_destination: AETitle | None = Field(
        default=None,
        description="AE title under which the PACS knows this node's SCP; by default calling_ae_title",
    )
    storage_commitment: bool = Field(
        default=False, description="ask this PACS to commit to each stored report"
    )
    connect_timeout_s: float = Field(default=5.0, gt=0, description="time to open the TCP connection")
    response_timeout_s: float = Field(default=30.0, gt=0, description="time to wait for each answer")
    commitment_timeout_s: float = Field(
        default=10.0, gt=0, description="time to wait for the storage commitment verdict before asking again"
    )

    @model_validator(mode="after")
    def _move_needs_no_get(self) -> PacsSettings:
        if self.move_destination is not None and self.fetch != "c-move":
            raise ValueError('move_destination is used with fetch = "c-move" only')
        return self
