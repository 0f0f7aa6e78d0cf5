"""The tables of the index.

Written out, so that what this step does stays the same when the code goes on.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "studies",
        sa.Column("study_instance_uid", _text(64), primary_key=True),
        sa.Column("patient_key", _text(64)),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("assessed_revision", sa.Integer, nullable=False),
    )
    op.create_table(
        "instances",
        sa.Column("sop_instance_uid", _text(64), primary_key=True),
        sa.Column("sop_class_uid", _text(64), nullable=False),
        sa.Column("transfer_syntax_uid", _text(64), nullable=False),
        sa.Column(
            "study_instance_uid", _text(64), sa.ForeignKey("studies.study_instance_uid"), nullable=False
        ),
        sa.Column("series_instance_uid", _text(64), nullable=False),
        sa.Column("modality", _text(16), nullable=False),
        sa.Column("object_key", _text(), nullable=False),
        sa.Column("sha256", _text(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("card", sa.JSON, nullable=False),
    )
    op.create_index("ix_instances_study_instance_uid", "instances", ["study_instance_uid"])
    op.create_table(
        "problems",
        sa.Column("study_instance_uid", _text(64), primary_key=True),
        sa.Column("kind", _text(64), primary_key=True),
        sa.Column("detail", _text(512), primary_key=True),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "cases",
        sa.Column("case_id", _text(64), primary_key=True),
        sa.Column("study_instance_uid", _text(64), nullable=False),
        sa.Column("state", _text(16), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("input_digest", _text(64)),
        sa.Column("assessment", sa.JSON, nullable=False),
        sa.Column("outcome", sa.JSON, nullable=False),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=True),
        sa.Column("topic", _text(64), nullable=False),
        sa.Column("key", _text(64), nullable=False),
        sa.Column("payload", sa.JSON, nullable=False),
        sa.Column("traceparent", _text(), nullable=False),
        sa.Column("event_id", _text(64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    for name in ("choices", "clinical"):
        op.create_table(
            name,
            sa.Column("case_id", _text(64), primary_key=True),
            sa.Column("value", sa.JSON, nullable=False),
        )
    op.create_table(
        "deliveries",
        sa.Column("sop_instance_uid", _text(64), primary_key=True),
        sa.Column("destination", _text(), primary_key=True),
        sa.Column("state", _text(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("last_status", _text(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    )


def downgrade() -> None:
    """Remove every table, with all that it holds."""
    for name in (
        "deliveries",
        "clinical",
        "choices",
        "outbox",
        "cases",
        "problems",
        "instances",
        "studies",
    ):
        op.drop_table(name)


def _text(length: int | None = None) -> sa.String:
    return sa.String(length, collation="C")
