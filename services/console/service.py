"""The console on the network: its interface, served by uvicorn in a thread."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

import structlog
import uvicorn

from prognode.ports import Bus, Index
from services.console.api import console_api
from services.console.settings import ConsoleSettings

log = structlog.get_logger()

STOP_LIMIT_S = 10.0


class Console:
    """Listens between :meth:`start` and :meth:`stop`."""

    def __init__(
        self, settings: ConsoleSettings, index: Index, bus: Bus, on_facts: Callable[[], object] = lambda: None
    ) -> None:
        self._settings = settings
        # no log of its own: its access log would hold the UIDs of studies
        config = uvicorn.Config(console_api(index, bus, on_facts), log_config=None, access_log=False)
        self._server = uvicorn.Server(config)
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port that it listens on."""
        assert self._socket is not None
        return int(self._socket.getsockname()[1])

    def start(self) -> None:
        """Listen; returns at once. Raises OSError when the address is taken."""
        self._socket = socket.create_server((self._settings.host, self._settings.port))
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="console", daemon=True
        )
        self._thread.start()
        log.info("console-listening", port=self.port)

    def stop(self) -> None:
        """Finish the requests in hand, and stop listening."""
        if self._thread is None:
            return
        self._server.should_exit = True
        self._thread.join(STOP_LIMIT_S)
        self._thread = None
