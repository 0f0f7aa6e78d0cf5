"""Requests for storage commitment and their verdicts: whoever hears a verdict tells whoever asked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "commitments",
        sa.Column("transaction_uid", sa.String(64, collation="C"), primary_key=True),
        sa.Column("destination", sa.String(collation="C"), nullable=False),
        sa.Column("sop_instance_uid", sa.String(64, collation="C"), nullable=False),
        sa.Column("committed", sa.Boolean),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_commitments_sop_instance_uid", "commitments", ["sop_instance_uid"])


def downgrade() -> None:
    """Remove it: what was asked is asked anew."""
    op.drop_table("commitments")
