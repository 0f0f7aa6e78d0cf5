"""Registers the instances of several associations in one SQLite transaction.

A commit waits for the disk, and SQLite has one writer at a time. Threads that arrive meanwhile queue here; whoever gets
the writer's place next registers all of them and commits once. Each still returns only when its own row is committed.
The statements are compiled once and go to the driver directly, which costs a tenth of the general way.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Insert, Select, Table, bindparam, select
from sqlalchemy.dialects import sqlite

from prognode.ports import Instance, Registered

_DIALECT = sqlite.dialect(paramstyle="named")

WriteTransaction = Callable[[], AbstractContextManager[sqlite3.Connection]]
"""Opens a transaction that is durable when the block is left, and rolled back when it is left by an exception."""


@dataclass(slots=True, eq=False)
class _Waiting:
    row: dict[str, Any]
    outcome: Registered | None = None
    failure: BaseException | None = None


class GroupedRegistration:
    """The queue and the statements. ``one_writer`` is the lock that every writer of this process takes."""

    def __init__(
        self,
        tables: tuple[Table, Table],
        next_revision: Insert,
        one_writer: threading.Lock,
        transaction: WriteTransaction,
    ) -> None:
        studies, instances = tables
        self._one_writer = one_writer
        self._transaction = transaction
        self._queue: list[_Waiting] = []
        self._queue_lock = threading.Lock()
        self._processors = _processors(instances)
        self._owner = _text(select(studies.c.patient_key).where(_same(studies, "study_instance_uid")))
        self._sha256 = _text(select(instances.c.sha256).where(_same(instances, "sop_instance_uid")))
        self._raise_revision = _text(next_revision)
        self._insert = _text(sqlite.insert(instances))

    def register(self, instance: Instance, patient_key: str) -> Registered:
        """As :meth:`prognode.ports.Index.register`; what fails one transaction fails everybody in it."""
        mine = _Waiting(self._row(instance, patient_key))
        with self._queue_lock:
            self._queue.append(mine)
        with self._one_writer:
            if mine.outcome is None and mine.failure is None:
                self._register_all()
        if mine.failure is not None:
            raise mine.failure
        assert mine.outcome is not None
        return mine.outcome

    def _register_all(self) -> None:
        with self._queue_lock:
            group, self._queue = self._queue, []
        try:
            with self._transaction() as db:
                outcomes = [self._register(db, each.row) for each in group]
        except BaseException as error:  # noqa: BLE001 - each of the group raises it in its own thread
            for each in group:
                each.failure = error
        else:
            for each, outcome in zip(group, outcomes, strict=True):
                each.outcome = outcome

    def _register(self, db: sqlite3.Connection, row: dict[str, Any]) -> Registered:
        """One registration; what is refused writes nothing, so that it needs no rollback of its own."""
        owner = _scalar(db, self._owner, row)
        if owner not in (None, row["patient_key"]):
            return Registered.FOREIGN_PATIENT
        known = _scalar(db, self._sha256, row)
        if known is not None:
            return Registered.DUPLICATE if known == row["sha256"] else Registered.CONFLICT
        db.execute(self._raise_revision, row)
        db.execute(self._insert, row)
        return Registered.NEW

    def _row(self, instance: Instance, patient_key: str) -> dict[str, Any]:
        row = {name: getattr(instance, name) for name in instance.__slots__}
        for name, process in self._processors:
            row[name] = process(row[name])
        return row | {"patient_key": patient_key, "revision": 1, "assessed_revision": 0}


def _processors(table: Table) -> list[tuple[str, Callable[[Any], Any]]]:
    """How SQLAlchemy writes the columns that SQLite has no type for."""
    found = ((c.name, c.type.dialect_impl(_DIALECT).bind_processor(_DIALECT)) for c in table.columns)
    return [(name, process) for name, process in found if process is not None]


def _same(table: Table, column: str) -> Any:
    return table.c[column] == bindparam(column)


def _text(statement: Select[Any] | Insert) -> str:
    return str(statement.compile(dialect=_DIALECT))


def _scalar(db: sqlite3.Connection, statement: str, row: dict[str, Any]) -> Any:
    found: Iterable[Any] | None = db.execute(statement, row).fetchone()
    return None if found is None else next(iter(found))
