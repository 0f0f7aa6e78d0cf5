"""Connections to the SQLite file of an index: durable commits, the tables of this version, one relay at a time."""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    create_engine,
    event,
    inspect,
    literal_column,
    make_url,
    text,
    update,
)

from prognode.adapters.index_tables import METADATA, OUTBOX

_FILLED = {
    "traceparent": "''",
    "event_id": "lower(hex(randomblob(16)))",
    "created_at": "strftime('%Y-%m-%d %H:%M:%f000', 'now')",
}
"""Columns that came after the first version -> what rows written before it get."""


def open_sqlite(address: Path | str) -> Engine:
    """An engine for a file or a ``sqlite:`` URL, with a connection for every association of a receiver."""
    is_url = "://" in str(address)
    url = make_url(str(address)) if is_url else URL.create("sqlite", database=str(address))
    return create_engine(url, pool_size=8, max_overflow=56, hide_parameters=True)


def prepare_sqlite(engine: Engine) -> None:
    """Durable commits, foreign keys, and transactions that begin where SQLAlchemy says (not where sqlite3 guesses)."""

    @event.listens_for(engine, "connect")
    def on_connect(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in ("busy_timeout=30000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def on_begin(db: Connection) -> None:
        # IMMEDIATE: a transaction that reads and then writes would fail where another wrote between
        reads_only = db.get_execution_options().get("prognode_reads_only", False)
        db.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")


def make_tables(db: Connection) -> None:
    """Make the tables, and give a file of an earlier version the columns that it lacks."""
    METADATA.create_all(db)
    there = {column["name"] for column in inspect(db).get_columns(OUTBOX.name)}
    for name, value in _FILLED.items():
        if name not in there:
            kind = OUTBOX.c[name].type.compile(db.dialect)
            db.execute(text(f"ALTER TABLE {OUTBOX.name} ADD COLUMN {name} {kind}"))
            db.execute(update(OUTBOX).values({name: literal_column(value)}))


@contextmanager
def only_relay(engine: Engine) -> Iterator[bool]:
    """Whether nobody else on this machine relays from the file now; if so, nobody will until the block ends."""
    with Path(f"{engine.url.database}.relay").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
