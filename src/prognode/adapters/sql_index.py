"""The index in SQL: SQLite for the node on one machine, PostgreSQL for a server, with the same statements.

Every write is one transaction that is durable when the method returns (SQLite: write-ahead log, synchronous FULL).
SQLite has one writer at a time: a lock queues the threads of this process, the busy timeout those of others.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    Insert,
    Row,
    Select,
    Table,
    delete,
    func,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from prognode.adapters.index_schema import require_current
from prognode.adapters.index_tables import (
    CASES,
    CHOICES,
    CLINICAL,
    COMMITMENTS,
    DELIVERIES,
    INSTANCES,
    OUTBOX,
    PROBLEMS,
    STUDIES,
)
from prognode.adapters.postgres_connection import open_postgres
from prognode.adapters.sql_errors import Locked, again_when_overlapped, database_errors
from prognode.adapters.sqlite_connection import make_tables, only_relay, open_sqlite, prepare_sqlite
from prognode.adapters.sqlite_registration import GroupedRegistration
from prognode.ports import JSON, Case, CaseCount, CaseState, Delivery, Event, Instance, Registered

RELAY_PATIENCE_S = 1.0
"""How long one relay waits for another before it leaves the outbox to it."""
ONE_RELAY = 7_302_002
"""PostgreSQL's advisory lock of whoever relays."""
COMMITMENT_KEPT = timedelta(days=7)
"""A request for storage commitment that has had no verdict for so long is forgotten."""


class SqlIndex:
    """An :class:`~prognode.ports.Index` in a SQL data base. Safe for many threads and several processes.

    ``address`` is the path of an SQLite file, or a URL that begins with ``sqlite:`` or ``postgresql:``. A file gets the
    tables that it lacks; a PostgreSQL data base must have them. Raises BadRequest for an address that a person must
    mend and for another schema than this code's, Unavailable when the data base does not answer.
    """

    def __init__(self, address: Path | str) -> None:
        self._sqlite = isinstance(address, Path) or "://" not in address or address.startswith("sqlite:")
        self._engine = open_sqlite(address) if self._sqlite else open_postgres(str(address))
        self._one_writer = threading.Lock()
        self._together = GroupedRegistration(
            (STUDIES, INSTANCES), _next_revision(sqlite.insert(STUDIES)), self._one_writer, self._on_driver
        )
        if self._sqlite:
            prepare_sqlite(self._engine)
            with self._write() as db:
                make_tables(db)
        else:
            require_current(self._engine)

    def close(self) -> None:
        """Close the connections; the index opens them again when it is used."""
        self._engine.dispose()

    # ------------------------------------------------------------ instances

    @again_when_overlapped
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

    def studies(self) -> list[str]:
        query = select(STUDIES.c.study_instance_uid).order_by(STUDIES.c.study_instance_uid)
        with self._read() as db:
            return list(db.scalars(query))

    # ------------------------------------------------------------ problems

    @again_when_overlapped
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

    @again_when_overlapped
    def touch(self, study_instance_uid: str) -> None:
        with self._write() as db:
            self._raise_revision(db, study_instance_uid, None)

    @again_when_overlapped
    def save_assessment(
        self, case: Case | None, study_instance_uid: str, revision: int, events: Sequence[Event]
    ) -> None:
        """As the port says. The study's row is locked first, so that its assessments follow one another.

        An outcome that scoring saved for the same inputs meanwhile is kept, together with its state; a case of which the
        assessment says what is known already is left as it is.
        """
        with self._write() as db:
            self._insert_unless_there(db, STUDIES, study_instance_uid=study_instance_uid, revision=revision)
            same = STUDIES.c.study_instance_uid == study_instance_uid
            assessed = db.scalar(select(STUDIES.c.assessed_revision).where(same).with_for_update()) or 0
            if assessed > revision:
                return
            if case is None or self._save_case(db, case, beside_another=assessed == revision):
                _add_to_outbox(db, events)
            db.execute(update(STUDIES).where(same).values(assessed_revision=revision))

    def _save_case(self, db: Connection, case: Case, *, beside_another: bool) -> bool:
        """Save the case; whether it says anything that the stored one does not say already."""
        row = _values(case)
        if self._insert_unless_there(db, CASES, **row):
            return True
        known = db.execute(select(CASES).where(CASES.c.case_id == case.case_id).with_for_update()).one()
        decided = known.state != CaseState.WAITING
        if beside_another and decided and case.state is CaseState.WAITING:
            return False
        same_inputs = case.input_digest is not None and known.input_digest == case.input_digest
        if same_inputs and decided and known.assessment == row["assessment"]:
            return False
        if same_inputs and known.outcome:
            row |= {"state": known.state, "outcome": known.outcome}
        db.execute(update(CASES).where(CASES.c.case_id == case.case_id).values(**row))
        return not (same_inputs and decided)

    @again_when_overlapped
    def save_outcome(self, case_id: str, input_digest: str, state: CaseState, outcome: JSON) -> bool:
        statement = (
            update(CASES)
            .where(CASES.c.case_id == case_id, CASES.c.input_digest == input_digest)
            .values(state=str(state), outcome=outcome, updated_at=datetime.now(tz=UTC))
        )
        with self._write() as db:
            return db.execute(statement).rowcount == 1

    def outbox(self, limit: int = 100) -> list[tuple[int, Event]]:
        with self._read() as db:
            return _outbox(db, limit)

    def outbox_age_s(self) -> float:
        query = select(OUTBOX.c.created_at).order_by(OUTBOX.c.id).limit(1)
        with self._read() as db:
            oldest = db.scalar(query)
        return 0.0 if oldest is None else _age_s(oldest)

    def publish_outbox(self, publish: Callable[[Sequence[Event]], None], limit: int = 100) -> int:
        return self._publish_here(publish, limit) if self._sqlite else self._publish_of_many(publish, limit)

    def _publish_here(self, publish: Callable[[Sequence[Event]], None], limit: int) -> int:
        """Publish between two transactions: nobody who writes waits for the bus."""
        with only_relay(self._engine) as alone:
            rows = self.outbox(limit) if alone else []
            if rows:
                publish([fact for _, fact in rows])
                with self._write() as db:
                    _remove_from_outbox(db, rows)
        return len(rows)

    def _publish_of_many(self, publish: Callable[[Sequence[Event]], None], limit: int) -> int:
        """Publish within the transaction whose lock keeps the relays of other processes waiting."""
        try:
            with self._write() as db:
                db.execute(select(func.set_config("lock_timeout", f"{1000 * RELAY_PATIENCE_S:.0f}", True)))
                db.execute(select(func.pg_advisory_xact_lock(ONE_RELAY)))
                rows = _outbox(db, limit)
                if rows:
                    publish([fact for _, fact in rows])
                    _remove_from_outbox(db, rows)
        except Locked:
            return 0
        return len(rows)

    # ------------------------------------------------------------ cases

    def case(self, case_id: str) -> Case | None:
        with self._read() as db:
            row = db.execute(select(CASES).where(CASES.c.case_id == case_id)).one_or_none()
        return None if row is None else _case(row)

    def cases(self, state: CaseState | None = None) -> list[Case]:
        query = select(CASES).order_by(CASES.c.updated_at, CASES.c.case_id)
        if state is not None:
            query = query.where(CASES.c.state == str(state))
        with self._read() as db:
            return [_case(row) for row in db.execute(query)]

    def case_counts(self) -> list[CaseCount]:
        with self._read() as db:
            others, waiting = db.execute(_count_others()).all(), db.execute(_waiting()).all()
        by_wait: dict[str, list[datetime]] = defaultdict(list)
        for assessment, since in waiting:
            by_wait[_first_wait(assessment)].append(since)
        return [CaseCount(CaseState(state), "", count, _age_s(oldest)) for state, count, oldest in others] + [
            CaseCount(CaseState.WAITING, kind, len(since), _age_s(min(since)))
            for kind, since in by_wait.items()
        ]

    def choices(self, case_id: str) -> JSON:
        return self._value(CHOICES, case_id)

    @again_when_overlapped
    def save_choices(self, case_id: str, choices: JSON) -> None:
        with self._write() as db:
            self._save_value(db, CHOICES, case_id, choices)

    def clinical(self, case_id: str) -> JSON:
        return self._value(CLINICAL, case_id)

    @again_when_overlapped
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

    @again_when_overlapped
    def save_delivery(self, delivery: Delivery) -> None:
        row = _values(delivery)
        key = {name: row[name] for name in ("sop_instance_uid", "destination")}
        with self._write() as db:
            if not self._insert_unless_there(db, DELIVERIES, **row):
                db.execute(update(DELIVERIES).filter_by(**key).values(**row))

    # ------------------------------------------------------------ storage commitment

    @again_when_overlapped
    def open_commitment(self, transaction_uid: str, destination: str, sop_instance_uid: str) -> None:
        now = datetime.now(tz=UTC)
        row = {
            "transaction_uid": transaction_uid,
            "destination": destination,
            "sop_instance_uid": sop_instance_uid,
            "asked_at": now,
        }
        with self._write() as db:
            db.execute(delete(COMMITMENTS).where(COMMITMENTS.c.asked_at < now - COMMITMENT_KEPT))
            db.execute(insert(COMMITMENTS), row)

    @again_when_overlapped
    def record_commitment(self, transaction_uid: str, committed: Collection[str]) -> None:
        asked = update(COMMITMENTS).filter_by(transaction_uid=transaction_uid, committed=None)
        with self._write() as db:
            db.execute(asked.values(committed=COMMITMENTS.c.sop_instance_uid.in_(committed)))

    @again_when_overlapped
    def take_commitment(self, destination: str, sop_instance_uid: str) -> bool | None:
        subject = {"destination": destination, "sop_instance_uid": sop_instance_uid}
        verdict = (
            select(COMMITMENTS.c.committed)
            .filter_by(**subject)
            .where(COMMITMENTS.c.committed.is_not(None))
            .order_by(COMMITMENTS.c.asked_at.desc())
            .limit(1)
        )
        with self._read() as db:
            found: bool | None = db.scalar(verdict)
        if found is not None:
            with self._write() as db:
                db.execute(delete(COMMITMENTS).filter_by(**subject))
        return found

    # ------------------------------------------------------------ transactions

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        with (
            self._one_writer if self._sqlite else nullcontext(),
            database_errors(),
            self._engine.connect() as db,
            db.begin(),
        ):
            yield db

    @contextmanager
    def _on_driver(self) -> Iterator[sqlite3.Connection]:
        """A write transaction on SQLite's own connection, for whoever holds ``_one_writer``."""
        with database_errors(), self._engine.connect() as db, db.begin():
            driver = db.connection.driver_connection
            assert isinstance(driver, sqlite3.Connection)
            yield driver

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        with database_errors(), self._engine.connect() as db:
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


def _count_others() -> Select[Any]:
    """(state, how many, when the oldest changed) of the cases that wait for nothing."""
    return (
        select(CASES.c.state, func.count(), func.min(CASES.c.updated_at))
        .where(CASES.c.state != CaseState.WAITING.value)
        .group_by(CASES.c.state)
    )


def _waiting() -> Select[Any]:
    """(assessment, last arrival) of each case that waits: they are few, and what they wait for is in their JSON.

    It is read here, not in SQL: PostgreSQL looks into no document that quotes a zero byte.
    """
    last_arrival = (
        select(func.max(INSTANCES.c.received_at))
        .where(INSTANCES.c.study_instance_uid == CASES.c.study_instance_uid)
        .scalar_subquery()
    )
    since = func.coalesce(last_arrival, CASES.c.updated_at)
    return select(CASES.c.assessment, since).where(CASES.c.state == CaseState.WAITING.value)


def _first_wait(assessment: JSON) -> str:
    """The kind of what a case waits for first, or nothing where only time is to pass."""
    waits = assessment.get("waiting_for")
    return str(waits[0]["kind"]) if waits else ""


def _age_s(moment: datetime) -> float:
    return max(0.0, (datetime.now(tz=UTC) - moment) / timedelta(seconds=1))


def _json_row(row: Row[Any]) -> JSON:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in row._asdict().items()
    }


def _outbox(db: Connection, limit: int) -> list[tuple[int, Event]]:
    query = select(OUTBOX).order_by(OUTBOX.c.id).limit(limit)
    return [
        (row.id, Event(row.topic, row.key, row.payload, row.traceparent, row.event_id))
        for row in db.execute(query)
    ]


def _add_to_outbox(db: Connection, events: Sequence[Event]) -> None:
    rows = [
        {
            "topic": fact.topic,
            "key": fact.key,
            "payload": fact.payload,
            "traceparent": fact.traceparent,
            "event_id": fact.id,
            "created_at": datetime.now(tz=UTC),
        }
        for fact in events
    ]
    if rows:
        db.execute(insert(OUTBOX), rows)


def _remove_from_outbox(db: Connection, rows: Sequence[tuple[int, Event]]) -> None:
    db.execute(delete(OUTBOX).where(OUTBOX.c.id.in_([row_id for row_id, _ in rows])))
