"""How a process tells that it is alive, ready, and busy: /healthz, /readyz and /metrics.

* ``/healthz``: every loop has come round within its limit and none has ended by a bug. A process that does not is to be
  restarted.
* ``/readyz``: everything that the services run on answers. A process that is not ready is waited for.
* ``/metrics``: Prometheus' text form.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooSlow
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from prognode import metrics
from prognode.errors import PrognodeError
from prognode.runtime.probe_settings import ProbeSettings

log = structlog.get_logger()

Check = Callable[[], object]
"""Raises where something does not answer."""
Refresh = Callable[[Collection[str]], None]
"""Brings gauges up to date; it is told the names of what does not answer, and asks none of these."""

CHECK_LIMIT_S = 5.0
"""What has not answered by then does not answer."""
FRESH_S = 1.0
"""Answers so old are given again."""


class Beating(threading.Event):
    """A stop event that notes each time a loop looks at it: a loop that looks is alive."""

    def __init__(self, stop: threading.Event, limit_s: float) -> None:
        super().__init__()
        self._stop = stop
        self.limit_s = limit_s
        """A round may take so long: for a worker, the longest case."""
        self._seen = time.monotonic()

    def is_set(self) -> bool:
        """Whether the loop is to end."""
        self._seen = time.monotonic()
        return self._stop.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end of the loop."""
        self._seen = time.monotonic()
        return self._stop.wait(timeout)

    @property
    def age_s(self) -> float:
        """Since the loop last looked."""
        return time.monotonic() - self._seen


@dataclass
class Readiness:
    """Asks every port whether it answers, with a limit of time, and not more often than once a second."""

    checks: Mapping[str, Check]
    _pool: ThreadPoolExecutor = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _asked_at: float = field(default=-FRESH_S, init=False)
    _faults: dict[str, str] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(max(1, len(self.checks)), thread_name_prefix="ready")

    def faults(self) -> dict[str, str]:
        """Why each port that does not answer does not; empty when all do. Without data: exceptions may quote some."""
        with self._lock:
            if time.monotonic() - self._asked_at >= FRESH_S:
                self._faults = self._ask()
                self._asked_at = time.monotonic()
            return dict(self._faults)

    def _ask(self) -> dict[str, str]:
        asked = {name: self._pool.submit(check) for name, check in self.checks.items()}
        end = time.monotonic() + CHECK_LIMIT_S
        faults = {}
        for name, answer in asked.items():
            try:
                answer.result(max(0.0, end - time.monotonic()))
            except TooSlow:
                faults[name] = "no answer in time"
            except PrognodeError as fault:
                faults[name] = str(fault)
            except Exception as fault:  # noqa: BLE001 - whatever it is, the port does not answer
                faults[name] = type(fault).__name__
        return faults


class Probes:
    """The HTTP server of one process. ``refresh`` brings gauges up to date before they are read."""

    def __init__(
        self,
        settings: ProbeSettings,
        loops: Mapping[str, Beating],
        failed: threading.Event,
        checks: Mapping[str, Check],
        refresh: Refresh = lambda _silent: None,
    ) -> None:
        self._settings = settings
        self._loops = loops
        self._failed = failed
        self._ready = Readiness(checks)
        self._refresh = refresh
        self._server: ThreadingHTTPServer | None = None

    @property
    def port(self) -> int:
        """The port that it listens on."""
        assert self._server is not None
        return self._server.server_port

    def start(self) -> None:
        """Listen, if a port is set; returns at once. Raises OSError when the address is taken."""
        if self._settings.port is None:
            return
        self._server = ThreadingHTTPServer((self._settings.host, self._settings.port), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="probes", daemon=True).start()
        log.info("probes-listening", port=self.port)

    def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def health(self) -> tuple[bool, dict[str, object]]:
        """Whether the process is alive, and the age of each loop's last round in seconds."""
        late = [name for name, loop in self._loops.items() if loop.age_s > loop.limit_s]
        if self._failed.is_set():
            late.append("a loop has ended by a bug")
        ages = {name: round(loop.age_s, 1) for name, loop in self._loops.items()}
        return not late, {"late": late, "loops": ages}

    def readiness(self) -> tuple[bool, dict[str, object]]:
        """Whether everything answers, and what does not, and why."""
        faults = self._ready.faults()
        return not faults, {"not ready": faults}

    def metrics(self) -> bytes:
        """Every metric in Prometheus' text form, as things are now. In time, also while something does not answer."""
        silent = self._ready.faults()
        for name in self._ready.checks:
            metrics.dependency_ready.labels(name).set(name not in silent)
        self._refresh(silent)
        return generate_latest(metrics.registry)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        probes = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                """Probes come every few seconds: nobody reads of them."""

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path == "/metrics":
                    self._answer(200, CONTENT_TYPE_LATEST, probes.metrics())
                elif path in ("/healthz", "/readyz"):
                    good, said = probes.health() if path == "/healthz" else probes.readiness()
                    self._answer(200 if good else 503, "application/json", json.dumps(said).encode())
                else:
                    self._answer(404, "text/plain", b"/metrics, /healthz and /readyz\n")

            def _answer(self, status: int, content_type: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        return Handler
