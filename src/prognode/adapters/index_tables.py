"""The tables of the index, one description for SQLite and PostgreSQL.

PostgreSQL gets them by migrations (:mod:`prognode.adapters.index_schema`), which a test holds to this description.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
)
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """A moment. SQLite forgets time zones, so it is stored as UTC and given back as UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _text(length: int | None = None) -> String:
    """Text that PostgreSQL, too, compares byte by byte: no locale of a server changes an order or an index."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


METADATA = MetaData()
_AUTO_ID = BigInteger().with_variant(Integer, "sqlite")  # only INTEGER numbers itself in SQLite

STUDIES = Table(
    "studies",
    METADATA,
    Column("study_instance_uid", _text(64), primary_key=True),
    Column("patient_key", _text(64)),
    Column("revision", Integer, nullable=False, default=0),
    Column("assessed_revision", Integer, nullable=False, default=0),
)
INSTANCES = Table(
    "instances",
    METADATA,
    Column("sop_instance_uid", _text(64), primary_key=True),
    Column("sop_class_uid", _text(64), nullable=False),
    Column("transfer_syntax_uid", _text(64), nullable=False),
    Column(
        "study_instance_uid",
        _text(64),
        ForeignKey("studies.study_instance_uid"),
        nullable=False,
        index=True,
    ),
    Column("series_instance_uid", _text(64), nullable=False),
    Column("modality", _text(16), nullable=False),
    Column("object_key", _text(), nullable=False),
    Column("sha256", _text(64), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Column("card", JSON, nullable=False),
)
PROBLEMS = Table(
    "problems",
    METADATA,
    Column("study_instance_uid", _text(64), primary_key=True),
    Column("kind", _text(64), primary_key=True),
    Column("detail", _text(512), primary_key=True),
    Column("count", Integer, nullable=False),
    Column("first_at", UtcDateTime, nullable=False),
    Column("last_at", UtcDateTime, nullable=False),
)
CASES = Table(
    "cases",
    METADATA,
    Column("case_id", _text(64), primary_key=True),
    Column("study_instance_uid", _text(64), nullable=False),
    Column("state", _text(16), nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("input_digest", _text(64)),
    Column("assessment", JSON, nullable=False),
    Column("outcome", JSON, nullable=False),
)
OUTBOX = Table(
    "outbox",
    METADATA,
    Column("id", _AUTO_ID, primary_key=True, autoincrement=True),
    Column("topic", _text(64), nullable=False),
    Column("key", _text(64), nullable=False),
    Column("payload", JSON, nullable=False),
    Column("traceparent", _text(), nullable=False),
    Column("event_id", _text(64), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    sqlite_autoincrement=True,
)
CHOICES = Table(
    "choices",
    METADATA,
    Column("case_id", _text(64), primary_key=True),
    Column("value", JSON, nullable=False),
)
CLINICAL = Table(
    "clinical",
    METADATA,
    Column("case_id", _text(64), primary_key=True),
    Column("value", JSON, nullable=False),
)
DELIVERIES = Table(
    "deliveries",
    METADATA,
    Column("sop_instance_uid", _text(64), primary_key=True),
    Column("destination", _text(), primary_key=True),
    Column("state", _text(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("last_status", _text(), nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)
COMMITMENTS = Table(
    "commitments",
    METADATA,
    Column("transaction_uid", _text(64), primary_key=True),
    Column("destination", _text(), nullable=False),
    Column("sop_instance_uid", _text(64), nullable=False, index=True),
    Column("committed", Boolean),
    Column("asked_at", UtcDateTime, nullable=False),
)
"""Requests for storage commitment; ``committed`` is the verdict, none while the PACS owes it."""
