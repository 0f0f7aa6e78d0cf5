"""What may be given as the address of an index, and what a wrong one is told."""

from __future__ import annotations

import pytest

from prognode.adapters.postgres_connection import SSL_MODES, postgres_url
from prognode.adapters.sql_index import SqlIndex
from prognode.errors import BadRequest


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+pg8000"])
def test_every_usual_way_to_write_the_scheme_is_taken(scheme):
    """The driver is ours to choose."""
    url = postgres_url(f"{scheme}://user:p%40ss@db.example:5433/index?sslmode=require")
    assert url.drivername == "postgresql+pg8000"
    assert (url.username, url.password, url.host, url.port, url.database) == (
        "user",
        "p@ss",
        "db.example",
        5433,
        "index",
    )


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("mysql://user:secret@host/name", "begins with 'mysql'"),
        ("postgresql+psycopg2://user:secret@host/name", r"begins with 'postgresql\+psycopg2'"),
        ("postgresql://user:secret@host:port/name", "is no URL"),
        ("://", "is no URL"),
        ("postgresql://host/name", "lacks user, host or name"),
        ("postgresql://user:secret@host", "lacks user, host or name"),
        ("postgresql://user:secret@/name", "lacks user, host or name"),
        ("postgresql://user:secret@host/name?sslmode=verify-ca", "says sslmode=verify-ca"),
        ("postgresql://user:secret@host/name?options=-c", "says options=-c"),
        ("postgresql://user:secret@host/name?sslmode=require&sslmode=disable", "says sslmode="),
    ],
)
def test_a_wrong_address_is_refused_by_name(address, sentence):
    """The sentence says what is wrong and how it is written, and never holds the password."""
    with pytest.raises(BadRequest, match=sentence) as refusal:
        SqlIndex(address)
    assert "secret" not in str(refusal.value)


def test_every_mode_of_encryption_is_listed_where_one_is_wrong():
    """An installer sees what there is to choose from."""
    with pytest.raises(BadRequest) as refusal:
        postgres_url("postgresql://user@host/name?sslmode=on")
    assert [mode for mode in SSL_MODES if mode not in str(refusal.value)] == []


@pytest.mark.parametrize("name", ["index ü.db", "a%20b?c#d.db"])
def test_a_path_is_a_path_whatever_it_looks_like(tmp_path, name):
    """Letters that mean something in a URL mean nothing in the path of a file."""
    SqlIndex(tmp_path / name).close()
    assert (tmp_path / name).is_file()
