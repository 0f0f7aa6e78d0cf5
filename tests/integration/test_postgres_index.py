"""The index on a PostgreSQL that restarts, is killed, runs out of connections, or holds a lock too long."""

from __future__ import annotations

import dataclasses
import itertools
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import components
import pytest
from contract import samples
from contract.samples import STUDY
from servers.postgres import Postgres, give_to_server, index_url, start_postgres, talk

from prognode.adapters import postgres_connection
from prognode.adapters.sql_index import SqlIndex
from prognode.errors import BadRequest, Unavailable
from prognode.ports import Registered


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A cluster that the tests here may stop and start."""
    folder = Path(tempfile.mkdtemp(prefix="prognode-postgres-"))
    running = start_postgres(folder)
    yield running
    running.stop()
    shutil.rmtree(folder)


class Registrations:
    """Threads that register without end, and keep what was acknowledged and what was refused."""

    def __init__(self, index: SqlIndex, threads: int = 4) -> None:
        self.index = index
        self.acknowledged: list[int] = []
        self.refusals: list[str] = []
        self.faults: list[BaseException] = []
        self._numbers = itertools.count()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for_more(self, count: int = 20) -> None:
        """Wait until ``count`` more are acknowledged."""
        goal = len(self.acknowledged) + count
        components.wait_until(lambda: self.faults or len(self.acknowledged) >= goal, "more registrations")

    def _run(self) -> None:
        while not self._stop.is_set():
            number = next(self._numbers)
            try:
                if self.index.register(samples.instance(number), "patient") is Registered.NEW:
                    self.acknowledged.append(number)
            except Unavailable as refusal:
                self.refusals.append(str(refusal))
                self._stop.wait(0.02)
            except BaseException as fault:
                self.faults.append(fault)
                return


ENDS = {
    "in good order": Postgres.shut_down,
    "at once": Postgres.stop,
    "kill -9": Postgres.kill,
}


@pytest.mark.parametrize("end", ENDS)
def test_a_restart_in_the_middle_loses_nothing(server, tmp_path, end):
    """Whatever ends the server: every acknowledged row is there, meanwhile it is Unavailable, and then it works again."""
    index = SqlIndex(index_url(tmp_path, server.address))
    with Registrations(index) as running:
        running.wait_for_more()
        ENDS[end](server)
        components.wait_until(lambda: running.faults or len(running.refusals) >= 8, "refusals")
        server.start()
        running.wait_for_more()
    assert running.faults == []
    stored = {instance.sop_instance_uid for instance in index.instances(STUDY)}
    assert {samples.instance(number).sop_instance_uid for number in running.acknowledged} <= stored
    assert index.unassessed() == [(STUDY, len(stored))]
    assert not [text for text in running.refusals if STUDY in text or "patient" in text]
    index.close()


def test_a_server_without_a_free_connection_is_waited_for(tmp_path, server):
    """Too many connections: Unavailable at once, and the next call works when one is free."""
    url = index_url(tmp_path, server.address)
    index = SqlIndex(url)
    index.close()
    name = url.rpartition("/")[2]
    with talk(server.address) as db:
        db.run(
            "CREATE ROLE few LOGIN PASSWORD 'few' IN ROLE pg_read_all_data, pg_write_all_data CONNECTION LIMIT 1"
        )
    few = SqlIndex(f"postgresql://few:few@127.0.0.1:{server.port}/{name}")
    few.close()
    with (
        talk(f"postgresql://few:few@127.0.0.1:{server.port}/{name}"),
        pytest.raises(Unavailable, match="takes no more connections"),
    ):
        few.instances(STUDY)
    components.wait_until(lambda: answers(few), "a free connection")
    few.close()


def answers(index: SqlIndex) -> bool:
    try:
        return index.instances(STUDY) == []
    except Unavailable:
        return False


def test_more_callers_than_connections_wait_or_are_told(tmp_path, server, monkeypatch):
    """Callers queue for the connections of a pool; who waits too long gets Unavailable, and the pool is whole after."""
    monkeypatch.setitem(postgres_connection.POOL, "pool_size", 1)
    monkeypatch.setitem(postgres_connection.POOL, "max_overflow", 1)
    monkeypatch.setitem(postgres_connection.POOL, "pool_timeout", 0.2)
    url = index_url(tmp_path, server.address)
    index = SqlIndex(url)
    index.register(samples.instance(0), "patient")
    with talk(url) as db, ThreadPoolExecutor(4) as pool:
        db.run("BEGIN")
        db.run("SELECT * FROM studies FOR UPDATE")
        waiting = [pool.submit(index.register, samples.instance(number), "patient") for number in range(1, 5)]
        components.wait_until(lambda: sum(one.done() for one in waiting) == 2, "two refusals")
        db.run("COMMIT")
        outcomes = [one.exception() or one.result() for one in waiting]
    refused = [outcome for outcome in outcomes if isinstance(outcome, Unavailable)]
    assert [str(outcome) for outcome in refused] == ["index: every connection is in use"] * 2
    assert outcomes.count(Registered.NEW) == 2
    assert index.unassessed() == [(STUDY, 3)]
    index.close()


def test_32_associations_register_at_once(tmp_path, server):
    """The pool has a connection for every association of a receiver."""
    index = SqlIndex(index_url(tmp_path, server.address))
    with ThreadPoolExecutor(32) as pool:
        outcomes = list(
            pool.map(lambda number: index.register(samples.instance(number), "patient"), range(320))
        )
    assert outcomes == [Registered.NEW] * 320
    assert index.unassessed() == [(STUDY, 320)]
    index.close()


def test_a_statement_that_takes_too_long_is_given_up(tmp_path, server, monkeypatch):
    """A lock that somebody holds keeps no association for ever; nothing of the registration is left."""
    monkeypatch.setattr(postgres_connection, "STATEMENT_TIMEOUT_S", 0.3)
    url = index_url(tmp_path, server.address)
    index = SqlIndex(url)
    index.register(samples.instance(0), "patient")
    with talk(url) as db:
        db.run("BEGIN")
        db.run("SELECT * FROM studies FOR UPDATE")
        with pytest.raises(Unavailable, match="no answer in time"):
            index.register(samples.instance(1), "patient")
        db.run("ROLLBACK")
    assert index.register(samples.instance(1), "patient") is Registered.NEW
    assert index.unassessed() == [(STUDY, 2)]
    index.close()


def test_a_server_that_says_nothing_is_given_up(monkeypatch):
    """A peer that takes the connection and never answers is Unavailable."""
    monkeypatch.setattr(postgres_connection, "ANSWER_TIMEOUT_S", 0.3)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(Unavailable, match="connection lost"),
    ):
        SqlIndex(f"postgresql://user:secret@127.0.0.1:{silent.getsockname()[1]}/name")


def test_two_transactions_that_wait_for_each_other_are_sorted_out(tmp_path, server):
    """The one that the server ends is tried again, and its caller never knows."""
    url = index_url(tmp_path, server.address)
    with talk(server.address) as db:
        db.run(f"ALTER DATABASE {url.rpartition('/')[2]} SET deadlock_timeout = '3s'")
    index = SqlIndex(url)
    index.register(samples.instance(0), "patient")
    first = samples.instance(1)
    with talk(url) as db, ThreadPoolExecutor(1) as pool:
        db.run("SET deadlock_timeout = '10min'")  # so that it is the index's transaction that is ended
        db.run("INSERT INTO studies VALUES ('1.2.3', 'patient', 0, 0)")
        db.run("BEGIN")
        db.run(
            "INSERT INTO instances VALUES (:uid, '', '', '1.2.3', '', '', '', '', 0, now(), '{}')",
            uid=first.sop_instance_uid,
        )
        waiting = pool.submit(index.register, first, "patient")
        components.wait_until(lambda: is_inserting(url), "the index waiting for the other transaction")
        db.run("UPDATE studies SET revision = revision WHERE study_instance_uid = :uid", uid=STUDY)
        db.run("ROLLBACK")
        assert waiting.result() is Registered.NEW
    components.wait_until(lambda: deadlocks(url) == 1, "a deadlock in the server's statistics")
    assert index.unassessed() == [(STUDY, 2)]
    index.close()


def deadlocks(url: str) -> int:
    with talk(url) as db:
        ((count,),) = db.run("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    return count


def is_inserting(url: str) -> bool:
    """Whether the index waits for another transaction to decide about the row that it inserts."""
    with talk(url) as db:
        return bool(
            db.run(
                "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'prognode'"
                " AND wait_event_type = 'Lock' AND wait_event = 'transactionid'"
                " AND query LIKE 'INSERT INTO instances%'"
            )
        )


def test_a_large_card_does_not_stall(tmp_path, server):
    """A statement larger than any buffer arrives whole: the card of a segmentation with many frames."""
    index = SqlIndex(index_url(tmp_path, server.address))
    planes = [{"z_mm": 1.25 * number, "text": "x" * 100} for number in range(20_000)]
    large = dataclasses.replace(samples.instance(1), card={"planes": planes})
    assert index.register(large, "patient") is Registered.NEW
    assert index.instance(large.sop_instance_uid) == large
    index.close()


# ---------------------------------------------------------------- encryption


@pytest.fixture
def encrypted(server) -> Iterator[Postgres]:
    """The server with TLS and a certificate that nobody trusts."""
    openssl = components.require("openssl", apt="openssl")
    data = server.folder / "data"
    key, certificate = data / "server.key", data / "server.crt"
    command = [
        openssl,
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=localhost",
        "-days",
        "2",
    ]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    key.chmod(0o600)
    give_to_server(key, certificate)
    set_tls(server, on=True)
    yield server
    set_tls(server, on=False)


def set_tls(server: Postgres, *, on: bool) -> None:
    with talk(server.address) as db:
        db.run(f"ALTER SYSTEM SET ssl = {'on' if on else 'off'}")
        db.run("SELECT pg_reload_conf()")
    components.wait_until(lambda: encrypts(server.address) is on, "the server's change of TLS")


def encrypts(url: str) -> bool:
    """Whether a connection that leaves it to the server is encrypted."""
    with talk(url) as db:
        ((encrypted,),) = db.run("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    return encrypted


def connections(url: str) -> list[bool]:
    """Whether each connection of the index is encrypted."""
    with talk(url) as db:
        found = db.run(
            "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)"
            " WHERE application_name = 'prognode' AND datname = current_database()"
        )
    return [encrypted for (encrypted,) in found]


@pytest.mark.parametrize(
    ("mode", "encrypted_then"), [("disable", False), ("prefer", True), ("require", True)]
)
def test_the_url_says_whether_the_connection_is_encrypted(encrypted, tmp_path, mode, encrypted_then):
    """``sslmode`` as PostgreSQL's own clients know it."""
    url = index_url(tmp_path, encrypted.address)
    index = SqlIndex(f"{url}?sslmode={mode}")
    assert index.register(samples.instance(1), "patient") is Registered.NEW
    assert set(connections(url)) == {encrypted_then}
    index.close()


def test_a_certificate_that_nobody_vouches_for_is_refused(encrypted, tmp_path):
    """``verify-full`` does not talk to a server that might be another one; the sentence says what is wrong."""
    with pytest.raises(BadRequest, match="certificate is not trusted"):
        SqlIndex(f"{index_url(tmp_path, encrypted.address)}?sslmode=verify-full")


def test_encryption_that_is_required_is_not_given_up(server, tmp_path):
    """A server without TLS is refused where the URL asks for it."""
    with pytest.raises(BadRequest, match=r"offers no TLS.*sslmode=disable"):
        SqlIndex(f"{index_url(tmp_path, server.address)}?sslmode=require")
