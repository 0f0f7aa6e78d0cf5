"""A durable queue with consumer groups in one SQLite file, for the node on one machine.

One row per (group, message) says where the message stands with the group. What is published, acknowledged, handed back
or set aside is synced to disk on return. A lease is not: if it is lost in a power failure the message comes again.

Retention: a message stays for ``retention_s`` after it was published, so that a group that subscribes later gets it,
and longer for as long as a group that did subscribe has not acknowledged it. Dead letters stay.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from prognode.errors import Unavailable
from prognode.ports import JSON, Event, Message

_SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    topic TEXT NOT NULL,
    key TEXT NOT NULL,
    payload TEXT NOT NULL,
    published_at REAL NOT NULL,
    traceparent TEXT NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS subscriptions (
    group_name TEXT NOT NULL,
    topic TEXT NOT NULL,
    PRIMARY KEY (group_name, topic)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS standings (
    group_name TEXT NOT NULL,
    message_id INTEGER NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    topic TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting',  -- waiting | leased | done | dead
    visible_at REAL NOT NULL,               -- when a waiting message may be taken, or when its lease ends
    deliveries INTEGER NOT NULL DEFAULT 0,
    abandoned INTEGER NOT NULL DEFAULT 0,   -- leases that ended without an outcome
    why TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (group_name, message_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS open_standings ON standings (group_name, message_id) WHERE state IN ('waiting', 'leased');
CREATE INDEX IF NOT EXISTS standings_by_message ON standings (message_id);
CREATE INDEX IF NOT EXISTS messages_by_topic ON messages (topic);
"""

_NEXT = """
SELECT message_id FROM standings
WHERE group_name = ? AND state IN ('waiting', 'leased') AND visible_at <= ? AND topic IN ({topics})
ORDER BY message_id LIMIT 1
"""

_SETTLE = "UPDATE standings SET state = ?, visible_at = ?, why = ? WHERE group_name = ? AND message_id = ?"

_PRUNE = """
DELETE FROM messages WHERE published_at < ? AND NOT EXISTS (
    SELECT 1 FROM standings WHERE message_id = messages.id AND state <> 'done')
"""

_POLL_S = 0.05  # how late a message of another process, or one whose pause has ended, may be seen
_PRUNE_EVERY = 1000  # publications


class SqliteBus:
    """A :class:`~prognode.ports.Bus` in one file. Safe for many threads and several processes.

    A message is leased for ``lease_s``: if it is neither acknowledged, handed back nor set aside by then, it comes
    again. A process that owns the file alone calls :meth:`release_leases` at its start, so that what it had in hand
    when it died comes again at once.
    """

    def __init__(self, path: Path, lease_s: float = 300.0, retention_s: float = 7 * 86400.0) -> None:
        self._lease_s = lease_s
        self._retention_s = retention_s
        self._publications = 0
        self._changed = threading.Condition(threading.Lock())
        self._db = _connect(path, "FULL")
        self._lease_db = _connect(path, "NORMAL")
        with _bus_errors():
            self._db.executescript(_SCHEMA)
            _add_columns(self._db)

    def close(self) -> None:
        """Close the file; the bus is not used afterwards."""
        with self._changed:
            self._lease_db.close()
            self._db.close()

    def release_leases(self) -> int:
        """Make what is leased come again at once; the number of messages."""
        with self._changed, _transaction(self._db) as db:
            cursor = db.execute(
                """UPDATE standings SET state = 'waiting', visible_at = 0, abandoned = abandoned + 1
                WHERE state = 'leased'"""
            )
            self._changed.notify_all()
            return cursor.rowcount

    def publish(self, events: Sequence[Event]) -> None:
        with self._changed, _transaction(self._db) as db:
            _insert(db, events)
            self._prune_sometimes(db)
            self._changed.notify_all()

    def subscribe(self, group: str, topics: Sequence[str]) -> None:
        with self._changed, _transaction(self._db) as db:
            for topic in topics:
                _subscribe(db, group, topic)
            self._changed.notify_all()

    def receive(self, group: str, topics: Sequence[str], timeout_s: float) -> Message | None:
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while True:
                message = self._lease(group, topics)
                left = deadline - time.monotonic()
                if message is not None or left <= 0:
                    return message
                self._changed.wait(min(left, _POLL_S))

    def done(self, group: str, message: Message, then: Sequence[Event] = ()) -> None:
        """As the port says, in one transaction. Acknowledging twice publishes ``then`` once."""
        with self._changed, _transaction(self._db) as db:
            cursor = db.execute(
                f"{_SETTLE} AND state IN ('waiting', 'leased')", ("done", 0.0, "", group, int(message.id))
            )
            if cursor.rowcount == 1 and then:
                _insert(db, then)
                self._changed.notify_all()

    def retry(self, group: str, message: Message, delay_s: float, why: str) -> None:
        with self._changed, _transaction(self._db) as db:
            _give_up_lease(db, group, message, "waiting", visible_at=time.time() + delay_s, why=why)
            self._changed.notify_all()

    def dead(self, group: str, message: Message, why: str) -> None:
        with self._changed, _transaction(self._db) as db:
            _give_up_lease(db, group, message, "dead", visible_at=0.0, why=why)

    def dead_letters(self) -> list[JSON]:
        query = """
            SELECT group_name, message_id, messages.topic, key, payload, deliveries, why
            FROM standings JOIN messages ON messages.id = message_id WHERE state = 'dead' ORDER BY message_id, group_name
        """
        with self._changed, _bus_errors():
            rows = self._db.execute(query).fetchall()
        names = ("group", "id", "topic", "key", "payload", "deliveries", "why")
        return [
            dict(zip(names, row, strict=True)) | {"id": f"{row[0]}/{row[1]}", "payload": json.loads(row[4])}
            for row in rows
        ]

    def replay_dead_letter(self, letter_id: str) -> bool:
        again = (
            "UPDATE standings SET state = 'waiting', visible_at = 0, deliveries = 0, abandoned = 0, why = ''"
        )
        return self._settle_dead(again, letter_id)

    def drop_dead_letter(self, letter_id: str) -> bool:
        return self._settle_dead("UPDATE standings SET state = 'done'", letter_id)

    def _settle_dead(self, change: str, letter_id: str) -> bool:
        group, _, message_id = letter_id.rpartition("/")
        where = "WHERE state = 'dead' AND group_name = ? AND message_id = ?"
        if not message_id.isdecimal():
            return False
        with self._changed, _transaction(self._db) as db:
            found = db.execute(f"{change} {where}", (group, int(message_id))).rowcount == 1
            self._changed.notify_all()
        return found

    def lag(self, group: str) -> dict[str, int]:
        query = """
            SELECT topic, SUM(state IN ('waiting', 'leased')) FROM standings WHERE group_name = ? GROUP BY topic
        """
        with self._changed, _bus_errors():
            return dict(self._db.execute(query, (group,)).fetchall())

    def check(self) -> None:
        with self._changed, _bus_errors():
            self._db.execute("SELECT 1")

    def _lease(self, group: str, topics: Sequence[str]) -> Message | None:
        query = _NEXT.format(topics=",".join("?" * len(topics)))
        with _bus_errors():
            # most calls find nothing: look before taking the write lock
            if self._lease_db.execute(query, (group, time.time(), *topics)).fetchone() is None:
                return None
        with _transaction(self._lease_db) as db:
            now = time.time()
            found = db.execute(query, (group, now, *topics)).fetchone()
            return None if found is None else _take(db, group, found[0], now + self._lease_s)

    def _prune_sometimes(self, db: sqlite3.Connection) -> None:
        if self._publications % _PRUNE_EVERY == 0:
            db.execute(_PRUNE, (time.time() - self._retention_s,))
        self._publications += 1


def _take(db: sqlite3.Connection, group: str, message_id: int, until: float) -> Message:
    deliveries, abandoned = db.execute(
        """UPDATE standings SET abandoned = abandoned + (state = 'leased'),
        state = 'leased', visible_at = ?, deliveries = deliveries + 1
        WHERE group_name = ? AND message_id = ? RETURNING deliveries, abandoned""",
        (until, group, message_id),
    ).fetchone()
    topic, key, payload, traceparent = db.execute(
        "SELECT topic, key, payload, traceparent FROM messages WHERE id = ?", (message_id,)
    ).fetchone()
    event = Event(topic, key, json.loads(payload), traceparent)
    return Message(str(message_id), event, deliveries - 1, abandoned)


def _insert(db: sqlite3.Connection, events: Sequence[Event]) -> None:
    for event in events:
        now = time.time()
        cursor = db.execute(
            "INSERT INTO messages (topic, key, payload, published_at, traceparent) VALUES (?, ?, ?, ?, ?)",
            (event.topic, event.key, json.dumps(event.payload, sort_keys=True), now, event.traceparent),
        )
        db.execute(
            """INSERT INTO standings (group_name, message_id, topic, visible_at)
            SELECT group_name, ?, topic, 0 FROM subscriptions WHERE topic = ?""",
            (cursor.lastrowid, event.topic),
        )


def _subscribe(db: sqlite3.Connection, group: str, topic: str) -> None:
    db.execute("INSERT OR IGNORE INTO subscriptions VALUES (?, ?)", (group, topic))
    db.execute(
        """INSERT OR IGNORE INTO standings (group_name, message_id, topic, visible_at)
        SELECT ?, id, topic, 0 FROM messages WHERE topic = ?""",
        (group, topic),
    )


def _give_up_lease(
    db: sqlite3.Connection, group: str, message: Message, state: str, *, visible_at: float, why: str
) -> None:
    """Change where a leased message stands, unless the lease ended and another consumer has it now."""
    db.execute(
        f"{_SETTLE} AND state = 'leased' AND deliveries = ?",
        (state, visible_at, why, group, int(message.id), message.attempts + 1),
    )


def _connect(path: Path, synchronous: str) -> sqlite3.Connection:
    with _bus_errors():
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for pragma in (
            "busy_timeout=30000",
            "journal_mode=WAL",
            f"synchronous={synchronous}",
            "foreign_keys=ON",
        ):
            db.execute(f"PRAGMA {pragma}")
    return db


def _add_columns(db: sqlite3.Connection) -> None:
    """What a file of an earlier version lacks."""
    columns = {row[1] for row in db.execute("PRAGMA table_info(messages)")}
    if "traceparent" not in columns:
        db.execute("ALTER TABLE messages ADD COLUMN traceparent TEXT NOT NULL DEFAULT ''")


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    with _bus_errors():
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")


@contextmanager
def _bus_errors() -> Iterator[None]:
    """A locked or full data base is a peer that does not answer now; wrong statements are bugs."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise Unavailable(f"bus: {error}") from error
