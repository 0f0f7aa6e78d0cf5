"""Which bucket, and how. Apart from the client's code, so that reading a configuration is cheap."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class S3Settings(BaseModel):
    """A bucket of an S3 service."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bucket: str = Field(min_length=3, max_length=63, description="The bucket; it must exist.")
    endpoint: str = Field(
        default="", description="Address of the service (http:// or https://); empty: Amazon's."
    )
    region: str = Field(default="us-east-1", description="Region of the bucket.")
    prefix: str = Field(
        default="", pattern=r"^([a-z0-9_-]+(/[a-z0-9_-]+)*)?$", description="Every key begins so."
    )
    access_key_id: str = Field(
        default="", description="Key of the account; empty: from the environment or the machine's role."
    )
    secret_access_key: SecretStr = Field(default=SecretStr(""), description="Secret of the account.")
    connect_timeout_s: float = Field(default=2.0, gt=0, description="Time to open a connection.")
    timeout_s: float = Field(
        default=10.0,
        gt=0,
        description="Time for one request; a C-STORE is answered out of resources after it.",
    )
