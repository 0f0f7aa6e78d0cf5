"""Which bucket, and how. Apart from the client's code, so that reading a configuration is cheap."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

_ENDPOINT = re.compile(
    r"https?://(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_-][A-Za-z0-9._-]*)(?::(\d{1,5}))?(?:/[A-Za-z0-9._~-]+)*/?"
)


class S3Settings(BaseModel):
    """A bucket of an S3 service. What the client could not even send is refused here, by name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bucket: str = Field(
        min_length=3,
        max_length=63,
        pattern=r"^[a-z0-9][a-z0-9.-]*[a-z0-9]$",
        description="The bucket; it must exist.",
    )
    endpoint: str = Field(
        default="", description="Address of the service (http:// or https://); empty: Amazon's."
    )
    region: str = Field(default="us-east-1", pattern=r"^[a-z0-9-]+$", description="Region of the bucket.")
    prefix: str = Field(
        default="", pattern=r"^([a-z0-9_-]+(/[a-z0-9_-]+)*)?$", description="Every key begins so."
    )
    access_key_id: str = Field(
        default="",
        pattern=r"^[!-~]*$",
        description="Key of the account; empty: from the environment or the machine's role.",
    )
    secret_access_key: SecretStr = Field(default=SecretStr(""), description="Secret of the account.")
    connect_timeout_s: float = Field(default=2.0, gt=0, description="Time to open a connection.")
    timeout_s: float = Field(
        default=10.0,
        gt=0,
        description="Time for one call, its quick retries included; a C-STORE is answered out of resources after it.",
    )

    @field_validator("endpoint")
    @classmethod
    def _is_an_address(cls, endpoint: str) -> str:
        found = _ENDPOINT.fullmatch(endpoint)
        if endpoint and (not found or not 0 < int(found[1] or 1) < 65536):
            raise ValueError("not the address of a service; give http://HOST:PORT or https://HOST")
        return endpoint

    @model_validator(mode="after")
    def _key_and_secret_go_together(self) -> S3Settings:
        if bool(self.access_key_id) != bool(self.secret_access_key.get_secret_value()):
            raise ValueError("access_key_id and secret_access_key go together; give both, or neither")
        return self
