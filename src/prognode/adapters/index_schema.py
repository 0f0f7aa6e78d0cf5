"""The schema of an index in PostgreSQL: brought up to date on purpose, by ``prognode db``, never by a service that starts.

A service checks that the data base has exactly the schema that its code was written for, and else refuses to start.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from prognode.adapters.postgres_connection import open_postgres
from prognode.adapters.sql_errors import database_errors, sqlstate
from prognode.errors import BadRequest

NOTHING = "base"
"""Alembic's word for a data base without the tables."""

_ONE_AT_A_TIME = 7_302_001
"""Advisory lock of whoever changes the schema."""


def upgrade(address: str) -> str:
    """Bring the data base to the schema of this code, and name the revision. What it holds stays.

    Raises BadRequest for an address that is wrong or a data base that is newer, Unavailable when it does not answer.
    """
    with _changing(address) as db:
        _require_not_newer(db)
        command.upgrade(_config(db), "head")
        return revision_of(db)


def downgrade(address: str, revision: str) -> str:
    """Take the schema back to ``revision``, and name it. ``base`` removes every table with all that it holds."""
    with _changing(address) as db:
        _require_not_newer(db)
        _require_known(revision)
        command.downgrade(_config(db), revision)
        if revision == NOTHING:
            db.execute(text("DROP TABLE IF EXISTS alembic_version"))
        return revision_of(db)


def current(address: str) -> tuple[str, str]:
    """(revision of the data base, revision that this code needs)."""
    with _changing(address) as db:
        return revision_of(db), head()


def require_current(engine: Engine) -> None:
    """Raise BadRequest unless the data base has the schema of this code, or when it cannot be used at all."""
    with database_errors(), _refusals(engine.url.database), engine.connect() as db:
        found = revision_of(db)
        _require_not_newer(db)
    if found == NOTHING:
        raise BadRequest("the index's data base has no tables yet; run `prognode db upgrade`")
    if found != head():
        raise BadRequest(
            f"the index's data base has schema {found}, this version needs {head()}; run `prognode db upgrade`"
        )


def revision_of(db: Connection) -> str:
    """The revision that the data base is at."""
    return MigrationContext.configure(db).get_current_revision() or NOTHING


def head() -> str:
    """The revision that this code needs."""
    return str(_scripts().get_current_head())


def _require_not_newer(db: Connection) -> None:
    found = revision_of(db)
    if found != NOTHING and found not in _known():
        raise BadRequest(
            f"the index's data base has schema {found}, which this version does not know; "
            "it was upgraded by a newer version: run that one"
        )


def _require_known(revision: str) -> None:
    if revision != NOTHING and revision not in _known():
        raise BadRequest(f"'{revision}' is no schema; known are {NOTHING}, {', '.join(sorted(_known()))}")


def _known() -> set[str]:
    return {script.revision for script in _scripts().walk_revisions()}


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _config(db: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", "prognode.adapters:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = db
    return config


@contextmanager
def _changing(address: str) -> Iterator[Connection]:
    """One transaction for the whole change, without a limit of time; whoever comes second waits."""
    engine = open_postgres(address, bounded=False)
    try:
        with database_errors(), _refusals(engine.url.database), engine.begin() as db:
            db.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ONE_AT_A_TIME})
            yield db
    finally:
        engine.dispose()


@contextmanager
def _refusals(database: str | None) -> Iterator[None]:
    """What a server refuses at the start is a wrong address or a missing right: BadRequest."""
    sentences = {
        "28": "the index's data base refuses user or password; check both in its URL",
        "3D": f"the server has no data base '{database}'; create it (createdb), or correct the index's URL",
        "42501": "the index's user has no right to its tables; grant it, or make it their owner",
    }
    try:
        yield
    except DBAPIError as error:
        for begin, sentence in sentences.items():
            if sqlstate(error).startswith(begin):
                raise BadRequest(sentence) from error
        raise
