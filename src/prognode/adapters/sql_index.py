"""The index in SQL: SQLite for the node on one machine, PostgreSQL for a server, with the same statements.

Every write is one transaction that is durable when the method returns (SQLite: write-ahead log, synchronous FULL).
SQLite has one writer at a time: a lock queues the threads of this process, the busy timeout those of others.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    DateTime,
    Dialect,
    Engine,
    ForeignKey,
    Insert,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    Text,
    create_engine,
    delete,
    event,
    func,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.types import TypeDecorator

from prognode.adapters.sqlite_registration import GroupedRegistration
from prognode.errors import Unavailable
from prognode.ports import JSON, Case, CaseState, Delivery, Event, Instance, Registered


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


METADATA = MetaData()
_AUTO_ID = BigInteger().with_variant(Integer, "sqlite")  # only INTEGER numbers itself in SQLite

STUDIES = Table(
    "studies",
    METADATA,
    Column("study_instance_uid", String(64), primary_key=True),
    Column("patient_key", String(64)),
    Column("revision", Integer, nullable=False, default=0),
    Column("assessed_revision", Integer, nullable=False, default=0),
)
INSTANCES = Table(
    "instances",
    METADATA,
    Column("sop_instance_uid", String(64), primary_key=True),
    Column("sop_class_uid", String(64), nullable=False),
    Column("transfer_syntax_uid", String(64), nullable=False),
    Column("study_instance_uid", ForeignKey("studies.study_instance_uid"), nullable=False, index=True),
    Column("series_instance_uid", String(64), nullable=False),
    Column("modality", String(16), nullable=False),
    Column("object_key", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Column("card", sqlalchemy.JSON, nullable=False),
)
PROBLEMS = Table(
    "problems",
    METADATA,
    Column("study_instance_uid", String(64), primary_key=True),
    Column("kind", String(64), primary_key=True),
    Column("detail", String(512), primary_key=True),
    Column("count", Integer, nullable=False),
    Column("first_at", UtcDateTime, nullable=False),
    Column("last_at", UtcDateTime, nullable=False),
)
CASES = Table(
    "cases",
    METADATA,
    Column("case_id", String(64), primary_key=True),
    Column("study_instance_uid", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("input_digest", String(64)),
    Column("assessment", sqlalchemy.JSON, nullable=False),
    Column("outcome", sqlalchemy.JSON, nullable=False),
)
OUTBOX = Table(
    "outbox",
    METADATA,
    Column("id", _AUTO_ID, primary_key=True, autoincrement=True),
    Column("topic", String(64), nullable=False),
    Column("key", String(64), nullable=False),
    Column("payload", sqlalchemy.JSON, nullable=False),
    sqlite_autoincrement=True,
)
CHOICES = Table(
    "choices",
    METADATA,
    Column("case_id", String(64), primary_key=True),
    Column("value", sqlalchemy.JSON, nullable=False),
)
CLINICAL = Table(
    "clinical",
    METADATA,
    Column("case_id", String(64), primary_key=True),
    Column("value", sqlalchemy.JSON, nullable=False),
)
DELIVERIES = Table(
    "deliveries",
    METADATA,
    Column("sop_instance_uid", String(64), primary_key=True),
    Column("destination", String(64), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("last_status", Text, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)


class SqlIndex:
    """An :class:`~prognode.ports.Index` in a SQL data base. Safe for many threads and several processes.

    ``address`` is the path of an SQLite file, an SQLAlchemy URL, or an engine.
    """

    def __init__(self, address: Path | str | Engine) -> None:
        self._engine = (
            address if isinstance(address, Engine) else create_engine(_url(address), **_pool(address))
        )
        self._sqlite = self._engine.dialect.name == "sqlite"
        if self._sqlite:
            _prepare_sqlite(self._engine)
        self._one_writer = threading.Lock()
        self._together = GroupedRegistration(
            (STUDIES, INSTANCES), _next_revision(sqlite.insert(STUDIES)), self._one_writer, self._on_driver
        )
        with self._write() as db:
            METADATA.create_all(db)

    def close(self) -> None:
        """Close the connections; the index opens them again when it is used."""
        self._engine.dispose()

    # ------------------------------------------------------------ instances

    def register(self, instance: Instance, patient_key: str) -> Registered:
        if self._sqlite:
            return self._together.register(instance, patient_key)
        with self._write() as db:
            outcome = self._register(db, instance, patient_key)
            if outcome is not Registered.NEW:
                db.rollback()
        return outcome

    def _register(self, db: Connection, instance: Instance, patient_key: str) -> Registered:
        owner = self._raise_revision(db, instance.study_instance_uid, patient_key)
        if owner != patient_key:
            return Registered.FOREIGN_PATIENT
        if self._insert_unless_there(db, INSTANCES, **_values(instance)):
            return Registered.NEW
        sha256 = db.scalar(
            select(INSTANCES.c.sha256).where(INSTANCES.c.sop_instance_uid == instance.sop_instance_uid)
        )
        return Registered.DUPLICATE if sha256 == instance.sha256 else Registered.CONFLICT

    def _raise_revision(self, db: Connection, study_instance_uid: str, patient_key: str | None) -> str | None:
        """Raise the study's revision, or make the study; the patient who owns it."""
        statement = _next_revision(self._insert(STUDIES)).returning(STUDIES.c.patient_key)
        row = {"study_instance_uid": study_instance_uid, "patient_key": patient_key, "revision": 1}
        return db.scalar(statement, row)

    def instance(self, sop_instance_uid: str) -> Instance | None:
        with self._read() as db:
            row = db.execute(
                select(INSTANCES).where(INSTANCES.c.sop_instance_uid == sop_instance_uid)
            ).one_or_none()
        return None if row is None else Instance(*row)

    def instances(self, study_instance_uid: str) -> list[Instance]:
        query = (
            select(INSTANCES)
            .where(INSTANCES.c.study_instance_uid == study_instance_uid)
            .order_by(INSTANCES.c.series_instance_uid, INSTANCES.c.sop_instance_uid)
        )
        with self._read() as db:
            return [Instance(*row) for row in db.execute(query)]

    # ------------------------------------------------------------ problems

    def report_problem(self, study_instance_uid: str, kind: str, detail: str) -> None:
        now = datetime.now(tz=UTC)
        same = {"study_instance_uid": study_instance_uid, "kind": kind, "detail": detail[:512]}
        with self._write() as db:
            if not self._insert_unless_there(db, PROBLEMS, **same, count=1, first_at=now, last_at=now):
                db.execute(update(PROBLEMS).filter_by(**same).values(count=PROBLEMS.c.count + 1, last_at=now))

    def problems(self, study_instance_uid: str | None = None) -> list[JSON]:
        query = select(PROBLEMS).order_by(PROBLEMS.c.first_at, PROBLEMS.c.detail)
        if study_instance_uid is not None:
            query = query.where(PROBLEMS.c.study_instance_uid == study_instance_uid)
        with self._read() as db:
            return [_json_row(row) for row in db.execute(query)]

    # ------------------------------------------------------------ assessment

    def unassessed(self) -> list[tuple[str, int]]:
        query = (
            select(STUDIES.c.study_instance_uid, STUDIES.c.revision)
            .where(STUDIES.c.revision > STUDIES.c.assessed_revision)
            .order_by(STUDIES.c.study_instance_uid)
        )
        with self._read() as db:
            return [(study, revision) for study, revision in db.execute(query)]

    def touch(self, study_instance_uid: str) -> None:
        with self._write() as db:
            self._raise_revision(db, study_instance_uid, None)

    def save_assessment(
        self, case: Case | None, study_instance_uid: str, revision: int, events: Sequence[Event]
    ) -> None:
        """As the port says. An assessment older than one that is saved changes nothing.

        An outcome that scoring saved for the same inputs meanwhile is kept, together with its state.
        """
        with self._write() as db:
            self._insert_unless_there(db, STUDIES, study_instance_uid=study_instance_uid, revision=revision)
            if not _mark_assessed(db, study_instance_uid, revision):
                return
            if case is not None:
                self._save_case(db, case)
            _add_to_outbox(db, events)

    def _save_case(self, db: Connection, case: Case) -> None:
        row = _values(case)
        if self._insert_unless_there(db, CASES, **row):
            return
        known = db.execute(select(CASES).where(CASES.c.case_id == case.case_id).with_for_update()).one()
        if known.outcome and case.input_digest and known.input_digest == case.input_digest:
            row |= {"state": known.state, "outcome": known.outcome}
        db.execute(update(CASES).where(CASES.c.case_id == case.case_id).values(**row))

    def save_outcome(self, case_id: str, input_digest: str, state: CaseState, outcome: JSON) -> bool:
        statement = (
            update(CASES)
            .where(CASES.c.case_id == case_id, CASES.c.input_digest == input_digest)
            .values(state=str(state), outcome=outcome, updated_at=datetime.now(tz=UTC))
        )
        with self._write() as db:
            return db.execute(statement).rowcount == 1

    def outbox(self, limit: int = 100) -> list[tuple[int, Event]]:
        query = select(OUTBOX).order_by(OUTBOX.c.id).limit(limit)
        with self._read() as db:
            return [(row.id, Event(row.topic, row.key, row.payload)) for row in db.execute(query)]

    def outbox_done(self, ids: Iterable[int]) -> None:
        with self._write() as db:
            db.execute(delete(OUTBOX).where(OUTBOX.c.id.in_(list(ids))))

    # ------------------------------------------------------------ cases

    def case(self, case_id: str) -> Case | None:
        with self._read() as db:
            row = db.execute(select(CASES).where(CASES.c.case_id == case_id)).one_or_none()
        return None if row is None else _case(row)

    def cases(self) -> list[Case]:
        with self._read() as db:
            return [
                _case(row) for row in db.execute(select(CASES).order_by(CASES.c.updated_at, CASES.c.case_id))
            ]

    def choices(self, case_id: str) -> JSON:
        return self._value(CHOICES, case_id)

    def save_choices(self, case_id: str, choices: JSON) -> None:
        with self._write() as db:
            self._save_value(db, CHOICES, case_id, choices)

    def clinical(self, case_id: str) -> JSON:
        return self._value(CLINICAL, case_id)

    def save_clinical(self, case_id: str, values: JSON, events: Sequence[Event]) -> None:
        with self._write() as db:
            self._save_value(db, CLINICAL, case_id, values)
            _add_to_outbox(db, events)

    def _value(self, table: Table, case_id: str) -> JSON:
        with self._read() as db:
            return db.scalar(select(table.c.value).where(table.c.case_id == case_id)) or {}

    def _save_value(self, db: Connection, table: Table, case_id: str, value: JSON) -> None:
        if not self._insert_unless_there(db, table, case_id=case_id, value=value):
            db.execute(update(table).where(table.c.case_id == case_id).values(value=value))

    # ------------------------------------------------------------ deliveries

    def delivery(self, sop_instance_uid: str, destination: str) -> Delivery | None:
        query = select(DELIVERIES).filter_by(sop_instance_uid=sop_instance_uid, destination=destination)
        with self._read() as db:
            row = db.execute(query).one_or_none()
        return None if row is None else Delivery(*row)

    def deliveries(self, sop_instance_uid: str | None = None) -> list[Delivery]:
        query = select(DELIVERIES).order_by(DELIVERIES.c.sop_instance_uid, DELIVERIES.c.destination)
        if sop_instance_uid is not None:
            query = query.filter_by(sop_instance_uid=sop_instance_uid)
        with self._read() as db:
            return [Delivery(*row) for row in db.execute(query)]

    def save_delivery(self, delivery: Delivery) -> None:
        row = _values(delivery)
        key = {name: row[name] for name in ("sop_instance_uid", "destination")}
        with self._write() as db:
            if not self._insert_unless_there(db, DELIVERIES, **row):
                db.execute(update(DELIVERIES).filter_by(**key).values(**row))

    # ------------------------------------------------------------ transactions

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        with (
            self._one_writer if self._sqlite else nullcontext(),
            _database_errors(),
            self._engine.connect() as db,
            db.begin(),
        ):
            yield db

    @contextmanager
    def _on_driver(self) -> Iterator[sqlite3.Connection]:
        """A write transaction on SQLite's own connection, for whoever holds ``_one_writer``."""
        with _database_errors(), self._engine.connect() as db, db.begin():
            driver = db.connection.driver_connection
            assert isinstance(driver, sqlite3.Connection)
            yield driver

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        with _database_errors(), self._engine.connect() as db:
            yield db.execution_options(prognode_reads_only=True)

    def _insert_unless_there(self, db: Connection, table: Table, **values: Any) -> bool:
        """Insert a row; False if one with its primary key is there."""
        return db.execute(self._insert(table).on_conflict_do_nothing(), values).rowcount == 1

    def _insert(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        """INSERT that can say ON CONFLICT, which both data bases spell alike."""
        return sqlite.insert(table) if self._sqlite else postgresql.insert(table)


# ---------------------------------------------------------------- rows


def _next_revision(new: sqlite.Insert | postgresql.Insert) -> Insert:
    """Raise a study's revision, or make the study; its first patient stays."""
    return new.on_conflict_do_update(
        index_elements=[STUDIES.c.study_instance_uid],
        set_={
            "revision": STUDIES.c.revision + literal_column("1"),
            "patient_key": func.coalesce(STUDIES.c.patient_key, new.excluded.patient_key),
        },
    )


def _values(value: Instance | Case | Delivery) -> dict[str, Any]:
    row = {name: getattr(value, name) for name in value.__slots__}
    return row | {"state": str(row["state"])} if "state" in row else row


def _case(row: Row[Any]) -> Case:
    return Case(**row._asdict() | {"state": CaseState(row.state)})


def _json_row(row: Row[Any]) -> JSON:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in row._asdict().items()
    }


def _mark_assessed(db: Connection, study_instance_uid: str, revision: int) -> bool:
    """Raise the assessed revision; False if it is already higher than ``revision``."""
    statement = (
        update(STUDIES)
        .where(STUDIES.c.study_instance_uid == study_instance_uid, STUDIES.c.assessed_revision <= revision)
        .values(assessed_revision=revision)
    )
    return db.execute(statement).rowcount == 1


def _add_to_outbox(db: Connection, events: Sequence[Event]) -> None:
    rows = [{"topic": fact.topic, "key": fact.key, "payload": fact.payload} for fact in events]
    if rows:
        db.execute(insert(OUTBOX), rows)


# ---------------------------------------------------------------- connections


def _url(address: Path | str) -> str:
    return f"sqlite:///{address}" if isinstance(address, Path) or "://" not in address else address


def _pool(address: Path | str) -> dict[str, Any]:
    """Enough connections for every association of a receiver; PostgreSQL's are checked before use."""
    return {"pool_size": 8, "max_overflow": 56, "pool_pre_ping": not _url(address).startswith("sqlite")}


def _prepare_sqlite(engine: Engine) -> None:
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


@contextmanager
def _database_errors() -> Iterator[None]:
    """A locked, full or unreachable data base is a peer that does not answer now; wrong statements are bugs."""
    try:
        yield
    except OperationalError as error:
        raise Unavailable(f"index: {type(error.orig).__name__}") from error
    except sqlite3.OperationalError as error:
        raise Unavailable(f"index: {type(error).__name__}") from error
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        raise Unavailable("index: connection lost") from error
