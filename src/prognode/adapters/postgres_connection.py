"""Connections to PostgreSQL by pg8000: bounded in time, encrypted as the URL says, and never a raw socket error.

pg8000 lets some errors of the socket through as they are, where SQLAlchemy would not know that the connection is lost;
the subclass here names them. Every wait has an end: opening, each answer, each statement, an idle transaction.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pg8000.converters import TIMESTAMPTZ  # type: ignore[import-untyped]
from pg8000.core import (  # type: ignore[import-untyped]
    DESCRIBE,
    NULL_BYTE,
    PORTAL,
    SYNC,
    Context,
    _flush,
    make_params,
)
from pg8000.dbapi import Connection, InterfaceError  # type: ignore[import-untyped]
from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from prognode.errors import BadRequest

CONNECT_TIMEOUT_S = 5.0
STATEMENT_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 15.0
"""Longer than a statement may take: what ends first is the statement, and the connection stays whole."""
IDLE_TRANSACTION_S = 60.0
"""After this the server ends a transaction whose owner has gone silent, and with it the locks that it holds."""

POOL = {"pool_size": 8, "max_overflow": 32, "pool_timeout": 10.0}
"""Each of 32 associations has a connection, with some left for the loops beside them."""

EXAMPLE = "postgresql://user:password@host:5432/name"
SSL_MODES: dict[str, Any] = {"disable": False, "prefer": None, "require": True, "verify-full": "verify"}
"""``sslmode`` of the URL -> what pg8000 is told. ``prefer``, the default, and ``require`` check no certificate."""


class BoundedConnection(Connection):
    """A pg8000 connection whose socket errors are all ``InterfaceError("network error")``.

    A statement takes one round trip (PostgreSQL's manual, 55.2.3, "Extended Query"), where pg8000 takes three: the row of
    a study is locked from its first statement to the commit, and all associations that bring the study wait for it.
    """

    def execute_unnamed(
        self, statement: str, vals: Sequence[Any] = (), oids: Sequence[int] = (), stream: Any = None
    ) -> Context:
        """Send statement and values together and read the answer; ``stream`` (COPY) is not used here."""
        assert stream is None
        context = Context(statement)
        self.send_PARSE(NULL_BYTE, statement, oids)
        self.send_BIND(NULL_BYTE, make_params(self.py_types, vals))
        self._send_message(DESCRIBE, PORTAL + NULL_BYTE)
        self.send_EXECUTE()
        self._send_message(SYNC, b"")
        _flush(self._sock)
        self.handle_messages(context)
        return context

    def handle_messages(self, context: Context) -> None:
        """Read answers until the server is ready for the next query."""
        try:
            super().handle_messages(context)
        except OSError as error:
            raise InterfaceError("network error") from error


def open_postgres(address: str, *, bounded: bool = True) -> Engine:
    """An engine for ``address``; nothing is connected yet. Raises BadRequest for a URL that cannot be used.

    :param bounded: whether statements and answers have a limit; changes of the schema may take as long as they need.
    """
    url = postgres_url(address)
    mode = url.query.get("sslmode", "prefer")
    assert isinstance(mode, str)
    engine = create_engine(
        url.set(query={}), pool_pre_ping=True, pool_use_lifo=True, hide_parameters=True, **POOL
    )

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, _args: Any, parameters: dict[str, Any]) -> Connection:
        return _connection(parameters, SSL_MODES[mode], bounded=bounded)

    return engine


def postgres_url(address: str) -> URL:
    """The URL with pg8000 as its driver. Raises BadRequest; the sentence never holds the password."""
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        raise BadRequest(f"the index's address is no URL; write {EXAMPLE}") from None
    if url.drivername not in ("postgresql", "postgres", "postgresql+pg8000"):
        raise BadRequest(f"the index's URL begins with '{url.drivername}'; write {EXAMPLE}")
    if not (url.username and url.host and url.database):
        raise BadRequest(f"the index's URL lacks user, host or name of the data base; write {EXAMPLE}")
    for name, value in url.query.items():
        if name != "sslmode" or value not in SSL_MODES:
            known = " | ".join(SSL_MODES)
            raise BadRequest(f"the index's URL says {name}={value}; known is sslmode={known}")
    return url.set(drivername="postgresql+pg8000")


def _connection(parameters: dict[str, Any], mode: Any, *, bounded: bool) -> Connection:
    """Connect; the socket is opened here, so that opening and answering can have limits of their own."""
    host, port = parameters["host"], parameters.get("port", 5432)
    try:
        opened = socket.create_connection((host, port), CONNECT_TIMEOUT_S)
        # a large statement goes out in pieces, and none is to wait for the acknowledgement of another
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        opened.settimeout(ANSWER_TIMEOUT_S if bounded else None)
        return _log_in(opened, parameters, mode, bounded=bounded)
    except ssl.SSLCertVerificationError as error:
        raise BadRequest(
            f"{host}:{port}: the data base's certificate is not trusted for this name; install its authority's"
        ) from error
    except OSError as error:
        raise InterfaceError("network error") from error


def _log_in(opened: socket.socket, parameters: dict[str, Any], mode: Any, *, bounded: bool) -> Connection:
    try:
        connection = BoundedConnection(
            **{"password": "", **parameters},
            sock=opened,
            ssl_context=ssl.create_default_context() if mode == "verify" else mode,
            application_name="prognode",
            startup_params=_limits() if bounded else None,
        )
    except BaseException as error:
        opened.close()
        if isinstance(error, InterfaceError) and "refuses SSL" in str(error):
            raise BadRequest(
                f"{parameters['host']}: the data base offers no TLS; have it do so, or write ?sslmode=disable"
            ) from error
        raise
    # a study has hundreds of rows, each with a time, and pg8000's own reader is slow
    connection.register_in_adapter(TIMESTAMPTZ, datetime.fromisoformat)
    return connection


def _limits() -> dict[str, str]:
    """The server's own limits, in ms."""
    limits = {
        "statement_timeout": STATEMENT_TIMEOUT_S,
        "idle_in_transaction_session_timeout": IDLE_TRANSACTION_S,
    }
    return {name: f"{1000 * seconds:.0f}" for name, seconds in limits.items()}
