"""The composition root of the embedded node: the table of services, and the adapters they run on.

Nothing below this file knows which technology it runs on. The way of a study through the table: the receiver stores
it, the assembler says when it is complete, preprocess cuts the crops, scoring writes the report, the dispatcher sends
it, and the illustration follows the report into the PACS.
"""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray
from pynetdicom import evt
from sqlalchemy.exc import DatabaseError

from apps.config import NodeConfig
from prognode.adapters.clinical_csv import ClinicalCsv
from prognode.adapters.dicom_pacs import DicomPacs, PacsSettings
from prognode.adapters.object_folder import FolderStore
from prognode.adapters.onnx_extractor import OnnxExtractor
from prognode.adapters.recipe_file import load_recipe
from prognode.adapters.sql_index import SqlIndex
from prognode.adapters.sqlite_bus import SqliteBus
from prognode.adapters.storage_commitment import CommitmentResults
from prognode.adapters.system_clock import SystemClock
from prognode.domain.prognosis import Phase
from prognode.domain.recipe import Recipe
from prognode.domain.report import Report
from prognode.domain.verification import verify
from prognode.errors import BadRequest, Unavailable
from prognode.ports import JSON, Bus, ClinicalSource, Extractor, Index, ObjectStore
from prognode.runtime import outbox
from prognode.runtime.clinical import watch_clinical
from prognode.runtime.studies import StudyReader
from prognode.runtime.worker import Worker, frames_of
from services.dispatcher.handler import Dispatcher
from services.preprocess.handler import Preprocess
from services.receiver.assembly import Assembler, rules_of
from services.receiver.fetching import Fetcher
from services.receiver.handler import StoreHandler, StoreRequest
from services.receiver.service import Receiver
from services.scoring.handler import DrawFigure, Illustration, Scoring

log = structlog.get_logger()

LOOP_PAUSE_S = 1.0
"""Pause of a loop whose disk or data base does not answer."""


class NoClinicalFile:
    """A :class:`~prognode.ports.ClinicalSource` for a node that was given none."""

    def changed(self) -> bool:
        """Never."""
        return False

    def lookup(self, patient_id: str, accession_number: str) -> JSON:  # noqa: ARG002 - the port's signature
        """Nothing is known."""
        return {}


@dataclass
class Node:
    """Every service of the embedded node in one process, over SQLite, a folder and ONNX Runtime."""

    config: NodeConfig
    index: Index
    bus: Bus
    objects: ObjectStore
    receiver: Receiver
    assembler: Assembler
    workers: list[Worker]
    clinical: ClinicalSource
    failed: threading.Event = field(default_factory=threading.Event)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _lock_file: Any = None

    @property
    def port(self) -> int:
        """The port that the receiver listens on."""
        return self.receiver.port

    def start(self) -> None:
        """Start every loop, the receiver last: nothing is acknowledged before all can work on it."""
        for worker in self.workers:
            worker.subscribe()
        self._run("outbox", lambda: outbox.run(self.index, self.bus, self.assembler.on_facts, self._stop))
        self._run("assembler", lambda: self.assembler.run(self._stop))
        self._run(
            "clinical", lambda: watch_clinical(self.index, self.clinical, self.assembler.on_facts, self._stop)
        )
        for worker in self.workers:
            self._run(worker.group, lambda worker=worker: worker.run(self._stop))  # type: ignore[misc]
        self.receiver.start()
        log.info("up", ae_title=self.config.receiver.ae_title, port=self.port)

    def stop(self) -> None:
        """No new associations; finish what is in hand; leave the rest durable."""
        self.receiver.stop()
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=30)
        log.info("down")

    def _run(self, name: str, loop: Callable[[], None]) -> None:
        thread = threading.Thread(target=self._guarded, args=(name, loop), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _guarded(self, name: str, loop: Callable[[], None]) -> None:
        """Run the loop to its end; what does not answer now is waited for, a bug ends the node loudly."""
        try:
            while not self._stop.is_set():
                try:
                    loop()
                except Unavailable as fault:
                    log.warning("loop-waits", loop=name, why=str(fault))
                    self._stop.wait(LOOP_PAUSE_S)
        except BaseException as error:
            # the type and the place: an exception's text may quote a data set
            log.error("stopped-by-a-bug", loop=name, why=type(error).__name__, trace=frames_of(error))
            self.failed.set()
            raise


def compose(config: NodeConfig) -> Node:
    """Build the embedded node. Raises BadRequest for what an installer can mend, RecipeMismatch for a wrong recipe."""
    lock = _claim(data_folder(config))
    index, objects, bus = index_of(config), objects_of(config), bus_of(config)
    recipe, extractor = model_of(config)
    clock, clinical = SystemClock(), clinical_of(config)
    sources: list[DicomPacs] = []
    reader = StudyReader(objects)
    assembler = Assembler(index, reader, clock, rules_of(config.assembly), config.assembly, Fetcher(sources))
    handler = StoreHandler(objects, index, clock, config.receiver, assembler.on_stored)
    commitments = CommitmentResults()
    peers = [_pacs(settings, config, handler, commitments) for settings in config.pacs]
    sources += [peer for peer, settings in zip(peers, config.pacs, strict=True) if settings.fetch]
    draw = figure_drawer(recipe) if config.scoring.figure else None
    scoring = Scoring(index, objects, extractor, recipe, clinical, draw)
    workers = table_of_services(
        config, bus, Preprocess(index, objects, reader, config.preprocess), scoring, peers
    )
    verdicts = [(evt.EVT_N_EVENT_REPORT, commitments.handle_n_event_report)]
    service = Receiver(config.receiver, handler, verdicts)
    return Node(config, index, bus, objects, service, assembler, workers, clinical, _lock_file=lock)


def table_of_services(
    config: NodeConfig, bus: Bus, preprocess: Preprocess, scoring: Scoring, peers: list[DicomPacs]
) -> list[Worker]:
    """The services that consume events: group and handlers of each."""
    illustration = Illustration(scoring)
    stores = {peer.name: peer for peer, settings in zip(peers, config.pacs, strict=True) if settings.store}
    committing = [settings.name for settings in config.pacs if settings.storage_commitment]
    dispatcher = Dispatcher(
        scoring.index, scoring.objects, stores, SystemClock(), config.dispatcher, committing
    )
    return [
        Worker(preprocess.group, bus, preprocess.handlers),
        Worker(scoring.group, bus, scoring.handlers),
        *(Worker(dispatcher.group, bus, dispatcher.handlers) for _ in range(max(1, len(stores)) + 1)),
        Worker(illustration.group, bus, illustration.handlers),
    ]


# ---------------------------------------------------------------- adapters


def index_of(config: NodeConfig) -> Index:
    """The node's index."""
    path = data_folder(config) / "index.sqlite"
    try:
        return SqlIndex(path)
    except DatabaseError as fault:
        raise BadRequest(f"{path}: not the index of a node ({fault.args[0]}); give another `data`") from fault


def data_folder(config: NodeConfig) -> Path:
    """The node's folder, made if need be. Raises BadRequest where that fails."""
    try:
        config.data.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise BadRequest(
            f"{config.data}: no folder can be made there ({fault.strerror}); give another `data`"
        ) from None
    return config.data


def objects_of(config: NodeConfig) -> ObjectStore:
    """The node's object store."""
    return FolderStore(config.data / "objects")


def bus_of(config: NodeConfig) -> Bus:
    """The node's queue; what a dead process had in hand comes again."""
    bus = SqliteBus(config.data / "bus.sqlite")
    bus.release_leases()
    return bus


def model_of(config: NodeConfig) -> tuple[Recipe, Extractor]:
    """Recipe and extractor, proven to belong together."""
    recipe = load_recipe(config.recipe)
    extractor = OnnxExtractor(config.extractor, threads=config.threads)
    verify(recipe, extractor)
    return recipe, extractor


def clinical_of(config: NodeConfig) -> ClinicalSource:
    """Where covariates are looked up."""
    return ClinicalCsv(config.clinical_csv) if config.clinical_csv else NoClinicalFile()


def figure_drawer(recipe: Recipe) -> DrawFigure:
    """Draws reports with the recipe's nomogram; matplotlib is loaded at the first figure."""

    def draw(report: Report, images: dict[Phase, NDArray[np.float32]]) -> NDArray[np.uint8]:
        from prognode.adapters.figure import draw_figure

        assert report.prognosis is not None
        model = recipe.combined if report.prognosis.model == "combined" else recipe.signatures_only
        return draw_figure(report, images, model).rgb

    return draw  # type: ignore[return-value]


def _pacs(
    settings: PacsSettings, config: NodeConfig, handler: StoreHandler, commitments: CommitmentResults
) -> DicomPacs:
    own = settings.model_copy(update={"calling_ae_title": config.receiver.ae_title})

    def store(sop_class: str, sop_instance: str, transfer_syntax: str, dataset: bytes) -> int:
        request = StoreRequest(
            sop_class, sop_instance, transfer_syntax, dataset, own.ae_title, own.calling_ae_title
        )
        return int(handler.store(request).status)

    return DicomPacs(own, store, commitments)


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
