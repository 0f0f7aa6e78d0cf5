"""Where Alembic begins: runs the steps on the connection that :mod:`prognode.adapters.index_schema` hands over."""

from __future__ import annotations

from alembic import context

from prognode.adapters.index_tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
context.run_migrations()
