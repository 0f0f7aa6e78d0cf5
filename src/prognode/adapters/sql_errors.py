"""What a data base says when it does not answer now, as the outcomes that services know.

SQLite says it by the type of the exception, PostgreSQL by SQLSTATE (its manual, appendix A). No text of the data base is
passed on: it may quote a row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from prognode.errors import Unavailable

P = ParamSpec("P")
T = TypeVar("T")

OVERLAP_TRIES = 5

_PASSES = {
    "08": "connection lost",
    "25006": "the server takes no writes",
    "28": "the server refuses this user",
    "3D": "the data base is gone",
    "40": "transactions overlapped",
    "53": "the server is short of memory",
    "53100": "the server's disk is full",
    "53300": "the server takes no more connections",
    "53400": "the server's limits are reached",
    "55P03": "a lock was not free in time",
    "57014": "no answer in time",
    "57P": "the server stops or starts",
    "58": "the server's disk does not answer",
}
"""SQLSTATE, or how it begins -> what it means. Everything else is a wrong statement: a bug."""


class Overlapped(Unavailable):
    """Two transactions waited for each other, or could not be put in a row: the same again at once will do."""


class Locked(Unavailable):
    """A lock was not free in the time that the transaction gives it."""


@contextmanager
def database_errors() -> Iterator[None]:
    """A locked, full or unreachable data base raises Unavailable; a wrong statement stays the bug that it is."""
    try:
        yield
    except NoConnectionFree as error:
        raise Unavailable("index: every connection is in use") from error
    except OperationalError as error:
        raise Unavailable(f"index: {type(error.orig).__name__}") from error
    except sqlite3.OperationalError as error:
        raise Unavailable(f"index: {type(error).__name__}") from error
    except DBAPIError as error:
        fault = _fault(error)
        if fault is None:
            raise
        raise fault from error


def sqlstate(error: DBAPIError) -> str:
    """Five characters that PostgreSQL names the fault by; empty where none came."""
    said = error.orig.args[0] if error.orig is not None and error.orig.args else None
    return str(said.get("C", "")) if isinstance(said, dict) else ""


def _fault(error: DBAPIError) -> Unavailable | None:
    if error.connection_invalidated:
        return Unavailable("index: connection lost")
    code = sqlstate(error)
    meanings = [_PASSES[code[:length]] for length in (5, 3, 2) if code[:length] in _PASSES]
    if not meanings:
        return None
    return _KINDS.get(code, Unavailable)(f"index: {meanings[0]}")


_KINDS: dict[str, type[Unavailable]] = {"40001": Overlapped, "40P01": Overlapped, "55P03": Locked}


def again_when_overlapped(method: Callable[P, T]) -> Callable[P, T]:
    """The method, tried again where its transaction met another one; nothing of the first try is left."""

    @wraps(method)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        for _ in range(OVERLAP_TRIES - 1):
            try:
                return method(*args, **kwargs)
            except Overlapped:
                continue
        return method(*args, **kwargs)

    return run
