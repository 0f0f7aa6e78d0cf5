"""Which Kafka, and how. Apart from the client's code, so that reading a configuration is cheap."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class KafkaSettings(BaseModel):
    """The brokers, and this process's place among the consumers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bootstrap: str = Field(min_length=1, description="Brokers as host:port, by comma.")
    topic_prefix: str = Field(
        default="prognode", pattern=r"^[A-Za-z0-9._-]{1,80}$", description="Every topic and group begins so."
    )
    instance: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._-]{0,80}$",
        description="Name of this replica, the same after a restart and no other's (a StatefulSet's pod name): it comes "
        "back to its partitions at once. Empty: the partitions of a replica that died wait for session_timeout_s.",
    )
    create_topics: bool = Field(
        default=True, description="Make topics that are missing; off where an operator makes them."
    )
    replication: int = Field(default=1, ge=1, description="Replicas of a topic that is made here.")
    partitions: int = Field(
        default=0, ge=0, description="Partitions of a topic that is made here; 0: as its schema says."
    )
    session_timeout_s: float = Field(
        default=10.0, ge=6.0, description="Silence after which a consumer counts as dead."
    )
    lease_s: float = Field(
        default=900.0, gt=0, description="Time after which a message that nobody finished is taken again."
    )
    request_timeout_s: float = Field(
        default=10.0, gt=0, description="Time for one request before the broker counts as unavailable."
    )
    fetch_wait_ms: int = Field(
        default=50, ge=1, le=500, description="Longest wait of the broker for new events before it answers."
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="How the brokers are spoken to."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="SCRAM-SHA-512", description="Used with the SASL protocols."
    )
    username: str = Field(default="", description="Used with the SASL protocols.")
    password: SecretStr = Field(default=SecretStr(""), description="Used with the SASL protocols.")
    ca_file: str = Field(default="", description="Certificates that sign the brokers'; empty: the system's.")
