"""The schema in PostgreSQL: made, taken back and checked by commands that a person runs, on the real server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from contract import samples
from node import prognode
from servers.postgres import empty_database, index_url, talk
from sqlalchemy import make_url

from prognode.adapters import index_schema
from prognode.adapters.index_tables import METADATA
from prognode.adapters.postgres_connection import open_postgres
from prognode.adapters.sql_index import SqlIndex
from prognode.errors import BadRequest, Unavailable
from prognode.ports import Registered

TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"


@pytest.fixture
def empty(request):
    """URL of a data base without tables."""
    return empty_database(request.node.name[:40].lower().translate(str.maketrans("[]-", "___")))


def tables(url: str) -> set[str]:
    with talk(url) as db:
        return {name for (name,) in db.run(TABLES)}


def test_up_and_down_and_up_again(empty):
    """Upgrade makes every table, base leaves none, and a second upgrade makes them all again."""
    assert index_schema.upgrade(empty) == index_schema.head()
    assert tables(empty) == {*METADATA.tables, "alembic_version"}
    assert index_schema.downgrade(empty, "base") == "base"
    assert tables(empty) == set()
    assert index_schema.upgrade(empty) == index_schema.head()
    assert SqlIndex(empty).register(samples.instance(1), "patient") is Registered.NEW


def test_upgrading_what_is_up_to_date_changes_nothing(tmp_path):
    """What the index knows survives."""
    url = index_url(tmp_path)
    SqlIndex(url).register(samples.instance(1), "patient")
    assert index_schema.upgrade(url) == index_schema.head()
    assert SqlIndex(url).instances(samples.STUDY) == [samples.instance(1)]


def test_the_steps_lead_to_the_tables_of_the_code(tmp_path):
    """Tables, columns, types and indexes that the steps make are those that the statements are written for."""
    engine = open_postgres(index_url(tmp_path))
    with engine.connect() as db:
        context = MigrationContext.configure(
            db, opts={"compare_type": True, "compare_server_default": True, "target_metadata": METADATA}
        )
        assert compare_metadata(context, METADATA) == []
    engine.dispose()


def test_all_text_is_compared_byte_by_byte(tmp_path):
    """No locale of a server, and no update of its locales, changes an order or breaks an index."""
    with talk(index_url(tmp_path)) as db:
        found = db.run(
            "SELECT table_name, column_name, collation_name FROM information_schema.columns"
            " WHERE table_schema = 'public' AND data_type = 'character varying' AND table_name <> 'alembic_version'"
        )
    assert len(found) > 20
    assert [row for row in found if row[2] != "C"] == []


def test_several_may_upgrade_at_once(empty):
    """Containers that start together wait for one another; each finds the schema there in the end."""
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(index_schema.upgrade, [empty] * 4)) == {index_schema.head()}


# ---------------------------------------------------------------- refusing to start


def test_an_index_without_tables_says_how_to_make_them(empty):
    """The sentence names the command."""
    with pytest.raises(BadRequest, match=r"no tables yet; run `prognode db upgrade`"):
        SqlIndex(empty)
    assert tables(empty) == set()


def test_an_older_schema_is_refused(tmp_path, monkeypatch):
    """A service does not run on a schema that its code has gone beyond."""
    url = index_url(tmp_path)
    monkeypatch.setattr(index_schema, "head", lambda: "0099")
    with pytest.raises(BadRequest, match=r"schema 0002, this version needs 0099; run `prognode db upgrade`"):
        SqlIndex(url)


@pytest.mark.parametrize(
    "change",
    [SqlIndex, index_schema.upgrade, lambda url: index_schema.downgrade(url, "base")],
    ids=["open", "upgrade", "downgrade"],
)
def test_a_newer_schema_is_left_alone(tmp_path, change):
    """An older program neither runs on a data base of a newer one nor changes its schema."""
    url = index_url(tmp_path)
    with talk(url) as db:
        db.run("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(BadRequest, match=r"schema 9999.*newer version"):
        change(url)
    assert "instances" in tables(url)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"password": "not-this-one"}, "refuses user or password"),
        ({"password": None}, "refuses user or password"),
        ({"username": "nobody"}, "refuses user or password"),
        ({"database": "missing_one"}, "has no data base 'missing_one'"),
    ],
    ids=["wrong password", "no password", "unknown user", "unknown data base"],
)
def test_a_wrong_address_is_one_sentence(tmp_path, wrong, sentence):
    """What a person gave wrong is named, the password is not."""
    url = make_url(index_url(tmp_path))
    with pytest.raises(BadRequest, match=sentence) as refusal:
        SqlIndex(url._replace(**wrong).render_as_string(hide_password=False))
    assert "not-this-one" not in str(refusal.value)
    assert str(url.password) not in str(refusal.value)


def test_a_user_without_rights_is_told(tmp_path):
    """A user who may not read the tables gets a sentence, not a fault of the program."""
    url = index_url(tmp_path)
    with talk(url) as db:
        db.run("DROP ROLE IF EXISTS prognode_test_stranger")
        db.run("CREATE ROLE prognode_test_stranger LOGIN PASSWORD 'stranger'")
    stranger = make_url(url).set(username="prognode_test_stranger", password="stranger")
    with pytest.raises(BadRequest, match=r"no right to its tables"):
        SqlIndex(stranger.render_as_string(hide_password=False))


def test_a_server_that_is_not_there_may_come(free_port):
    """Nobody listens yet: that is no fault of the address."""
    with pytest.raises(Unavailable):
        SqlIndex(f"postgresql://prognode:secret@127.0.0.1:{free_port}/name")


# ---------------------------------------------------------------- the commands


def test_the_commands_do_what_they_say(empty, monkeypatch):
    """Current, upgrade and downgrade on one data base; removing everything must be meant."""
    monkeypatch.setenv("PROGNODE_INDEX_URL", empty)
    head = index_schema.head()
    before = prognode("db", "current")
    assert (before.status, before.output) == (1, f"the index has schema base, this version needs {head}\n")
    assert prognode("db", "upgrade").output == f"the index has schema {head}\n"
    assert prognode("db", "current").status == 0
    careless = prognode("db", "downgrade", "base")
    assert careless.status == 2
    assert "--yes" in careless.errors
    assert "instances" in tables(empty)
    unknown = prognode("db", "downgrade", "0042")
    assert (unknown.status, "'0042' is no schema" in unknown.errors) == (2, True)
    assert prognode("db", "downgrade", "base", "--yes").output == "the index has schema base\n"
    assert tables(empty) == set()


def test_an_address_may_be_given_as_an_option(empty, monkeypatch):
    """``--url`` wins over the environment; without either, the sentence names both."""
    monkeypatch.delenv("PROGNODE_INDEX_URL", raising=False)
    nameless = prognode("db", "upgrade")
    assert nameless.status == 2
    assert "--url" in nameless.errors
    assert "PROGNODE_INDEX_URL" in nameless.errors
    monkeypatch.setenv("PROGNODE_INDEX_URL", "postgresql://nobody@127.0.0.1:1/none")
    assert prognode("db", "upgrade", "--url", empty).status == 0
    assert "instances" in tables(empty)
