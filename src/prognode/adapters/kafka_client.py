"""Connections to the brokers, with every time limited, and their failures as outcomes."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import KafkaAdminClient
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import (
    AuthorizationError,
    KafkaConfigurationError,
    KafkaError,
    SaslAuthenticationFailedError,
    TopicAlreadyExistsError,
)
from kafka.net.compat import KafkaNetClient

from prognode.adapters.kafka_settings import KafkaSettings
from prognode.errors import BadRequest, Unavailable

T = TypeVar("T")

RECONNECT_MAX_MS = 1000
"""A broker that comes back is found again within a second."""


@contextmanager
def kafka_errors() -> Iterator[None]:
    """A broker that does not answer now is Unavailable; one that refuses who we are is for a person to mend."""
    try:
        yield
    except (SaslAuthenticationFailedError, AuthorizationError) as fault:
        raise BadRequest(
            f"kafka: the brokers refuse this user ({type(fault).__name__}); check user, password and rights"
        ) from fault
    except KafkaConfigurationError as fault:
        raise BadRequest(f"kafka: {fault}") from fault
    except KafkaError as fault:
        raise Unavailable(f"bus: {type(fault).__name__}") from fault


def producer(settings: KafkaSettings, client_id: str) -> KafkaProducer:
    """An idempotent producer that waits for all replicas. Raises Unavailable."""
    limit_ms = int(settings.request_timeout_s * 1000)
    with kafka_errors():
        return _opened(
            KafkaProducer,
            **_common(settings, client_id),
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            max_block_ms=limit_ms,
            request_timeout_ms=limit_ms,
            delivery_timeout_ms=2 * limit_ms,
        )


def close_producer(client: KafkaProducer, patience_s: float) -> None:
    """Send what is on its way for so long, then end it. The client's own close leaves its thread running for ever where it
    cannot send.
    """
    with suppress(KafkaError):
        client.flush(patience_s)
    client._sender.force_close()  # noqa: SLF001 - there is no other way
    with suppress(KafkaError):
        client.close(timeout=1.0)


def group_consumer(settings: KafkaSettings, client_id: str, group: str) -> KafkaConsumer:
    """A member of a consumer group that commits by hand and gives partitions up one by one. Raises Unavailable."""
    with kafka_errors():
        return _opened(
            KafkaConsumer,
            **_common(settings, client_id),
            group_id=group,
            group_instance_id=f"{settings.instance}-{group}" if settings.instance else None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            partition_assignment_strategy=[CooperativeStickyAssignor],
            session_timeout_ms=int(settings.session_timeout_s * 1000),
            heartbeat_interval_ms=int(settings.session_timeout_s * 1000 / 4),
            fetch_max_wait_ms=settings.fetch_wait_ms,
            max_poll_records=50,
            metadata_max_age_ms=30_000,
        )


def reader(settings: KafkaSettings, client_id: str) -> KafkaConsumer:
    """A consumer of no group, for who reads a topic from its beginning. Raises Unavailable."""
    with kafka_errors():
        return _opened(
            KafkaConsumer,
            **_common(settings, client_id),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=settings.fetch_wait_ms,
        )


def make_topics(settings: KafkaSettings, client_id: str, topics: Mapping[str, Mapping[str, Any]]) -> None:
    """Make those topics that are not there: name -> what the broker takes for a new topic. Raises Unavailable."""
    with kafka_errors():
        admin = _opened(KafkaAdminClient, **_addresses(settings, client_id))
        try:
            there = set(admin.list_topics())
            for name, wanted in topics.items():
                if name not in there:
                    _make(admin, name, wanted)
        finally:
            admin.close()


def _make(admin: KafkaAdminClient, name: str, wanted: Mapping[str, Any]) -> None:
    # another replica may have been faster
    with suppress(TopicAlreadyExistsError):
        admin.create_topics({name: dict(wanted)}, wait_for_metadata=True)


def _opened(kind: Callable[..., T], **options: Any) -> T:
    """A client; one whose brokers do not answer leaves nothing behind, as its own constructor would: a running thread."""
    networks: list[KafkaNetClient] = []

    def network(**given: Any) -> KafkaNetClient:
        networks.append(KafkaNetClient(**given))
        return networks[-1]

    try:
        return kind(kafka_client=network, **options)
    except BaseException:
        for each in networks:
            each.close()
        raise


def _common(settings: KafkaSettings, client_id: str) -> dict[str, Any]:
    return {**_addresses(settings, client_id), "metrics_enabled": False}


def _addresses(settings: KafkaSettings, client_id: str) -> dict[str, Any]:
    return {
        "bootstrap_servers": [each.strip() for each in settings.bootstrap.split(",")],
        "client_id": client_id,
        "bootstrap_timeout_ms": int(settings.request_timeout_s * 1000),
        "reconnect_backoff_max_ms": RECONNECT_MAX_MS,
        "security_protocol": settings.security_protocol,
        **_credentials(settings),
    }


def _credentials(settings: KafkaSettings) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if settings.security_protocol.startswith("SASL"):
        found |= {
            "sasl_mechanism": settings.sasl_mechanism,
            "sasl_plain_username": settings.username,
            "sasl_plain_password": settings.password.get_secret_value(),
        }
    if settings.security_protocol.endswith("SSL"):
        found["ssl_context"] = ssl.create_default_context(cafile=settings.ca_file or None)
    return found
