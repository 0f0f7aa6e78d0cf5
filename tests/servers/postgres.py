"""PostgreSQL for the tests: a cluster of its own, as durable as a real one, and a data base for each test's address.

``PROGNODE_TEST_POSTGRES`` may hold the URL of another server, whose user may make data bases; those that the tests make
there are called ``prognode_test_...`` and are left.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import components
from pg8000.native import Connection, Error, InterfaceError
from sqlalchemy import make_url

from prognode.adapters import index_schema
from servers.shared import shared

USER, PASSWORD = "prognode", "only-for-tests"
BINARIES = "/usr/lib/postgresql"
SERVER_USER = "postgres"
"""Made by Debian's package."""


@dataclass
class Postgres:
    """A running cluster."""

    program: components.Program
    folder: Path
    port: int

    @property
    def address(self) -> str:
        """URL of the data base that every cluster has."""
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def shut_down(self) -> None:
        """Stop in good order, which ends every connection at once and writes everything to its place."""
        self._end(signal.SIGINT)

    def stop(self) -> None:
        """Stop at once, as after a crash: nothing is put in order before the next start."""
        self._end(signal.SIGQUIT)

    def _end(self, how: int) -> None:
        if self.program.process.poll() is None:
            self.program.process.send_signal(how)
            self.program.process.wait(components.START_LIMIT_S)

    def kill(self) -> None:
        """SIGKILL to its first process; the others notice by themselves, and this returns when all are gone."""
        pid = self.program.process.pid
        family = [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
        self.program.discard()
        components.wait_until(
            lambda: not any(Path(f"/proc/{one}").exists() for one in family), "the end of PostgreSQL"
        )

    def start(self) -> None:
        """Start again on the same folder and port."""
        self.program = _run(self.folder, self.port)


def start_postgres(folder: Path) -> Postgres:
    """Make a cluster in ``folder``, which its user must reach, and start it; the caller stops it."""
    binaries = _binaries()
    data = folder / "data"
    password = folder / "password"
    password.write_text(PASSWORD)
    give_to_server(folder, password)
    command = [*_as_server_user(), str(binaries / "initdb"), "--pgdata", str(data), "--username", USER]
    command += [
        "--pwfile",
        str(password),
        "--auth",
        "scram-sha-256",
        "--encoding",
        "UTF8",
        "--locale",
        "C.UTF-8",
    ]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    port = components.free_port()
    return Postgres(_run(folder, port), folder, port)


def give_to_server(*paths: Path) -> None:
    """Make the user that runs the server the owner of these files and folders."""
    if os.geteuid() == 0:
        for path in paths:
            shutil.chown(path, SERVER_USER)


def _run(folder: Path, port: int) -> components.Program:
    options = {
        "port": port,
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "max_connections": 400,
        "shared_buffers": "64MB",
    }
    command = [*_as_server_user(), str(_binaries() / "postgres"), "-D", str(folder / "data")]
    command += [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    program = components.Program.start(command, folder)
    url = f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{port}/postgres"
    components.wait_until(lambda: program.require_alive() and _answers(url), "PostgreSQL's start")
    return program


def _answers(url: str) -> bool:
    try:
        with talk(url) as db:
            return db.run("SELECT 1") == [[1]]
    except (Error, OSError):
        return False


def _binaries() -> Path:
    """Debian keeps them off the path, a folder for each version; the newest is taken."""
    on_path = shutil.which("postgres")
    found = (
        [Path(on_path).resolve().parent] if on_path else sorted(Path(BINARIES).glob("*/bin"), key=_version)
    )
    found = [folder for folder in found if (folder / "initdb").exists()]
    if not found:
        components.missing("PostgreSQL is not installed (apt install postgresql)")
    return found[-1]


def program(name: str) -> Path:
    """One of the programs that come with the server: pg_dump, pg_restore."""
    return _binaries() / name


def _version(binaries: Path) -> float:
    return float(binaries.parent.name)


def _as_server_user() -> list[str]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid", SERVER_USER, "--regid", SERVER_USER, "--clear-groups"]


# ---------------------------------------------------------------- one server for all tests


def shared_postgres() -> str:
    """URL of the server that all tests share."""
    return shared("POSTGRES", start_postgres)


def index_url(address: Path, server: str | None = None) -> str:
    """URL of the data base that belongs to ``address``: made when it is first asked for, with every table."""
    return _index_url(str(address), server or shared_postgres())


@functools.cache
def _index_url(address: str, server: str) -> str:
    name = f"prognode_test_{hashlib.sha256(address.encode()).hexdigest()[:24]}"
    template = f"prognode_test_template_{index_schema.head()}"
    with talk(server) as db:
        db.run("SELECT pg_advisory_lock(1)")  # of several processes one makes the template
        if not _is_there(db, template):
            db.run(f"CREATE DATABASE {template}")
            index_schema.upgrade(_url_of(server, template))
        if not _is_there(db, name):
            db.run(f"CREATE DATABASE {name} TEMPLATE {template}")
    return _url_of(server, name)


def empty_database(name: str, server: str | None = None) -> str:
    """URL of a new data base without tables."""
    server = server or shared_postgres()
    with talk(server) as db:
        db.run(f"DROP DATABASE IF EXISTS prognode_test_{name}")
        db.run(f"CREATE DATABASE prognode_test_{name}")
    return _url_of(server, f"prognode_test_{name}")


def _is_there(db: Connection, name: str) -> bool:
    return bool(db.run("SELECT 1 FROM pg_database WHERE datname = :name", name=name))


def _url_of(server: str, database: str) -> str:
    return make_url(server).set(database=database).render_as_string(hide_password=False)


@contextlib.contextmanager
def talk(url: str) -> Iterator[Connection]:
    """A plain connection, on which every statement is a transaction unless BEGIN says otherwise."""
    parts = make_url(url)
    connection = Connection(
        parts.username, parts.host, parts.database, parts.port or 5432, parts.password, timeout=30
    )
    try:
        yield connection
    finally:
        with contextlib.suppress(InterfaceError):
            connection.close()
