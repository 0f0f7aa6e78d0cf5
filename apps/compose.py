"""The composition root: the table of services, and how a process is made of one of them or of all.

Nothing below this file knows which technology it runs on, or whether its neighbours run in the same process. The way of
a study through the table: the receiver stores it and says when it is complete, preprocess cuts the crops, scoring writes
the report, the dispatcher sends it, and the illustration follows the report into the PACS.
"""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import structlog
from pynetdicom import evt

from apps.config import NodeConfig
from apps.outside import Outside, data_folder, figure_drawer
from prognode.adapters.dicom_pacs import DicomPacs, PacsSettings
from prognode.errors import BadRequest, Unavailable
from prognode.runtime import gauges, outbox, tracing
from prognode.runtime.clinical import watch_clinical
from prognode.runtime.probes import Beating, Probes
from prognode.runtime.worker import Worker, frames_of
from services.dispatcher.handler import Dispatcher
from services.preprocess.handler import Preprocess
from services.receiver.assembly import Assembler, rules_of
from services.receiver.fetching import Fetcher
from services.receiver.handler import StoreHandler, StoreRequest
from services.receiver.service import Receiver
from services.scoring.handler import Illustration, Scoring

log = structlog.get_logger()

LOOP_PAUSE_S = 1.0
"""Pause of a loop whose disk or data base does not answer."""
STOP_LIMIT_S = 30.0
"""Time that a loop has to finish what is in hand."""

LOOP_LIMIT_S = 120.0
"""A loop that has not come round for so long is not alive."""
CASE_LIMIT_S = 900.0
"""As long may one message take its handler."""

Loop = Callable[[threading.Event], None]
"""Runs until the event is set."""


class Server(Protocol):
    """Listens on a port."""

    @property
    def port(self) -> int:
        """The port that it listens on."""

    def start(self) -> None:
        """Listen; returns at once."""

    def stop(self) -> None:
        """Take nothing new, and finish what is in hand."""


@dataclass
class Service:
    """One service as its process runs it: loops, workers on the bus, and at most one server."""

    name: str
    loops: dict[str, Loop] = field(default_factory=dict)
    workers: list[Worker] = field(default_factory=list)
    server: Server | None = None


# ---------------------------------------------------------------- the table of services


def receiver(outside: Outside) -> Service:
    """The DICOM SCP, the assembler that says when a study is complete, and the relay of what it says."""
    config = outside.config
    sources: list[DicomPacs] = []
    assembler = Assembler(
        outside.index,
        outside.reader,
        outside.clock,
        rules_of(config.assembly),
        config.assembly,
        Fetcher(sources),
        outside.woken,
    )
    handler = StoreHandler(
        outside.objects, outside.index, outside.clock, config.receiver, assembler.on_stored
    )
    sources += [_pacs(one, outside, handler) for one in config.pacs if one.fetch]
    verdicts = [(evt.EVT_N_EVENT_REPORT, outside.commitments.handle_n_event_report)]
    return Service(
        "receiver",
        loops={
            "outbox": lambda stop: outbox.run(outside.index, outside.bus, outside.woken, stop),
            "assembler": assembler.run,
        },
        server=Receiver(config.receiver, handler, verdicts),
    )


def preprocess(outside: Outside) -> Service:
    """Cuts the crops."""
    handler = Preprocess(outside.index, outside.objects, outside.reader, outside.config.preprocess)
    return Service("preprocess", workers=[Worker(handler.group, outside.bus, handler.handlers)])


def scoring(outside: Outside) -> Service:
    """Writes reports, and their figures once they are delivered; looks for changed covariates."""
    recipe, extractor = outside.model
    draw = figure_drawer(recipe) if outside.config.scoring.figure else None
    handler = Scoring(outside.index, outside.objects, extractor, recipe, outside.clinical, draw)
    illustration = Illustration(handler)
    return Service(
        "scoring",
        loops={"clinical": lambda stop: watch_clinical(outside.index, outside.clinical, outside.woken, stop)},
        workers=[
            Worker(handler.group, outside.bus, handler.handlers),
            Worker(illustration.group, outside.bus, illustration.handlers),
        ],
    )


def dispatcher(outside: Outside) -> Service:
    """Delivers to every PACS; each of them holds up one worker at the most."""
    config = outside.config
    stores = {one.name: _pacs(one, outside, None) for one in config.pacs if one.store}
    committing = [one.name for one in config.pacs if one.storage_commitment]
    handler = Dispatcher(outside.index, outside.objects, stores, outside.clock, config.dispatcher, committing)
    workers = [Worker(handler.group, outside.bus, handler.handlers) for _ in range(max(1, len(stores)) + 1)]
    return Service("dispatcher", workers=workers)


def console_api(outside: Outside) -> Service:
    """What people look at and decide; relays what they decide."""
    from services.console.service import Console

    return Service(
        "console-api",
        loops={"outbox": lambda stop: outbox.run(outside.index, outside.bus, outside.woken, stop)},
        server=Console(outside.config.console, outside.index, outside.bus, outside.woken.set),
    )


SERVICES: Mapping[str, Callable[[Outside], Service]] = {
    "receiver": receiver,
    "preprocess": preprocess,
    "scoring": scoring,
    "dispatcher": dispatcher,
    "console-api": console_api,
}
EMBEDDED = ("dispatcher", "scoring", "preprocess", "receiver")
"""What one process runs that is the whole node; the receiver last, so that nothing is taken before all can work on it."""


def _pacs(settings: PacsSettings, outside: Outside, handler: StoreHandler | None) -> DicomPacs:
    """The peer; only the receiver, which stores, can fetch."""
    own = settings.model_copy(
        update={
            "calling_ae_title": outside.config.receiver.ae_title,
            "fetch": settings.fetch if handler else None,
            "move_destination": settings.move_destination if handler else None,
        }
    )
    if handler is None:
        return DicomPacs(own, None, outside.commitments)

    def store(sop_class: str, sop_instance: str, transfer_syntax: str, dataset: bytes) -> int:
        request = StoreRequest(
            sop_class, sop_instance, transfer_syntax, dataset, own.ae_title, own.calling_ae_title
        )
        return int(handler.store(request).status)

    return DicomPacs(own, store, outside.commitments)


# ---------------------------------------------------------------- a process


@dataclass
class Node:
    """Services that run in this process."""

    config: NodeConfig
    outside: Outside
    services: Sequence[Service]
    failed: threading.Event = field(default_factory=threading.Event)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _loops: dict[str, Beating] = field(default_factory=dict)
    _lock_file: Any = None
    probes: Probes = field(init=False)

    def __post_init__(self) -> None:
        checks = self.outside.checks()
        readings = self._readings(checks)
        self.probes = Probes(
            self.config.probes,
            self._loops,
            self.failed,
            checks,
            lambda silent: gauges.refresh(readings, silent),
        )

    @property
    def port(self) -> int:
        """The port of the last service that listens: the receiver's, in the embedded node."""
        return next(one.server.port for one in reversed(self.services) if one.server is not None)

    def start(self) -> None:
        """Start every loop, then what listens: nothing is acknowledged before all can work on it."""
        self.probes.start()
        for service in self.services:
            for worker in service.workers:
                worker.subscribe()
        for service in self.services:
            for name, loop in service.loops.items():
                self._run(name, loop, LOOP_LIMIT_S)
            for worker in service.workers:
                self._run(worker.group, worker.run, CASE_LIMIT_S)
        for service in self.services:
            if service.server is not None:
                service.server.start()
        log.info("up", services=[service.name for service in self.services])

    def stop(self) -> None:
        """Take nothing new; finish what is in hand; leave the rest durable, for others at once."""
        for service in self.services:
            if service.server is not None:
                service.server.stop()
        self._stop.set()
        end = time.monotonic() + STOP_LIMIT_S
        for thread in self._threads:
            thread.join(timeout=max(0.0, end - time.monotonic()))
        self.outside.close()
        self.probes.stop()
        tracing.flush()
        log.info("down")

    def _readings(self, opened: Collection[str]) -> list[gauges.Reading]:
        """Who publishes from the index speaks of it, who works on the bus speaks of that."""
        groups = {
            worker.group: tuple(worker.handlers) for service in self.services for worker in service.workers
        }
        publishes = any("outbox" in service.loops for service in self.services)
        return gauges.readings(
            self.outside.index if publishes else None,
            self.outside.bus if groups else None,
            self.outside.objects if "objects" in opened else None,
            groups,
        )

    def _run(self, name: str, loop: Loop, limit_s: float) -> None:
        number = sum(known.partition("-")[0] == name for known in self._loops)
        stop = Beating(self._stop, limit_s)
        self._loops[f"{name}-{number}" if number else name] = stop
        thread = threading.Thread(target=self._guarded, args=(name, loop, stop), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _guarded(self, name: str, loop: Loop, stop: Beating) -> None:
        """Run the loop to its end; what does not answer now is waited for, a bug ends the process loudly."""
        try:
            while not stop.is_set():
                try:
                    loop(stop)
                except Unavailable as fault:
                    log.warning("loop-waits", loop=name, why=str(fault))
                    stop.wait(LOOP_PAUSE_S)
        except BaseException as error:
            # the type and the place: an exception's text may quote a data set
            log.error("stopped-by-a-bug", loop=name, why=type(error).__name__, trace=frames_of(error))
            self.failed.set()
            raise


def compose(config: NodeConfig) -> Node:
    """The whole node in one process. Raises BadRequest for what an installer can mend, RecipeMismatch for a wrong recipe."""
    lock = _claim(data_folder(config))
    outside = Outside(config)
    return Node(config, outside, [SERVICES[name](outside) for name in EMBEDDED], _lock_file=lock)


def compose_service(config: NodeConfig, name: str) -> Node:
    """One service in a process of its own. Raises as :func:`compose`, and Unavailable while a server does not answer."""
    if name not in SERVICES:
        raise BadRequest(f"'{name}' is no service; give one of {', '.join(SERVICES)}")
    outside = Outside(config, speaker=name, alone=False)
    return Node(config, outside, [SERVICES[name](outside)])


def _claim(folder: Path) -> Any:
    """One node per data folder. Raises BadRequest when another one runs."""
    lock = (folder / "node.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BadRequest(
            f"{folder}: another node runs on this folder; stop it, or give another `data`"
        ) from None
    return lock
