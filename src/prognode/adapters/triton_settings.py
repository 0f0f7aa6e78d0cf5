"""Which Triton, and how. Apart from the client's code, so that reading a configuration is cheap."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class TritonSettings(BaseModel):
    """An inference server that holds the extractor."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(min_length=1, description="Address of the server's gRPC port, as host:port.")
    model: str = Field(default="resnet50_features", description="Name of the model in its repository.")
    version: str = Field(default="", description="Version of the model; empty: what the server takes.")
    timeout_s: float = Field(default=10.0, gt=0, description="Time for one request.")
    retries: int = Field(default=3, ge=0, description="Quick further tries where the server does not answer.")
    shared_memory: Literal["auto", "off"] = Field(
        default="auto", description="Hand crops over in memory where the server is on the same machine."
    )
