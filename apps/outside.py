"""What the services run on, chosen by the configuration: each adapter is made when the first service asks for it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.exc import DatabaseError

from apps.config import NodeConfig
from prognode.adapters.clinical_csv import ClinicalCsv
from prognode.adapters.object_folder import FolderStore
from prognode.adapters.onnx_extractor import OnnxExtractor
from prognode.adapters.recipe_file import load_recipe
from prognode.adapters.sql_index import SqlIndex
from prognode.adapters.sqlite_bus import SqliteBus
from prognode.adapters.storage_commitment import Commitments
from prognode.adapters.system_clock import SystemClock
from prognode.domain.prognosis import Phase
from prognode.domain.recipe import Recipe
from prognode.domain.report import Report
from prognode.domain.verification import verify
from prognode.errors import BadRequest
from prognode.ports import JSON, Bus, ClinicalSource, Clock, Extractor, Index, ObjectStore
from prognode.runtime.probes import Check
from prognode.runtime.studies import StudyReader
from services.scoring.handler import DrawFigure


class NoClinicalFile:
    """A :class:`~prognode.ports.ClinicalSource` for a node that was given none."""

    def changed(self) -> bool:
        """Never."""
        return False

    def lookup(self, patient_id: str, accession_number: str) -> JSON:  # noqa: ARG002 - the port's signature
        """Nothing is known."""
        return {}


@dataclass
class Outside:
    """The ports of one process. Raises BadRequest, RecipeMismatch or Unavailable when a port is first asked for."""

    config: NodeConfig
    speaker: str = "node"
    """Which service this is, as events name their source."""
    alone: bool = True
    """Whether no other process works on the same data folder."""
    clock: Clock = field(default_factory=SystemClock)
    """The time at which objects are accepted."""
    woken: threading.Event = field(default_factory=threading.Event)
    """Set after facts were written to the outbox by this process."""

    @cached_property
    def index(self) -> Index:
        """Cases, instances, deliveries."""
        return index_of(self.config)

    @cached_property
    def commitments(self) -> Commitments:
        """What PACS answer to requests for storage commitment."""
        return Commitments(self.index)

    @cached_property
    def objects(self) -> ObjectStore:
        """Images, crops, reports."""
        return objects_of(self.config)

    @cached_property
    def bus(self) -> Bus:
        """Events."""
        return bus_of(self.config, self.speaker, alone=self.alone)

    @cached_property
    def model(self) -> tuple[Recipe, Extractor]:
        """Recipe and extractor, proven to belong together."""
        return model_of(self.config)

    @cached_property
    def clinical(self) -> ClinicalSource:
        """Where covariates are looked up."""
        return ClinicalCsv(self.config.clinical_csv) if self.config.clinical_csv else NoClinicalFile()

    @cached_property
    def reader(self) -> StudyReader:
        """Stored studies; contours that were parsed once are kept."""
        return StudyReader(self.objects)

    def checks(self) -> dict[str, Check]:
        """What asks each port that was opened whether it answers."""
        opened = vars(self)
        found: dict[str, Check] = {}
        if "index" in opened:
            found["index"] = self.index.outbox_age_s
        if "bus" in opened:
            found["bus"] = self.bus.check
        if "objects" in opened:
            found["objects"] = self.objects.check
        if "model" in opened:
            found["extractor"] = self.model[1].check
        return found

    def close(self) -> None:
        """Give up what was opened, the bus first: what it has in hand is another's at once."""
        for name in ("bus", "index"):
            opened = self.__dict__.get(name)
            if opened is not None:
                opened.close()


def index_of(config: NodeConfig) -> Index:
    """The node's index."""
    url = config.index_url.get_secret_value()
    if url:
        return SqlIndex(url)
    path = data_folder(config) / "index.sqlite"
    try:
        return SqlIndex(path)
    except DatabaseError as fault:
        raise BadRequest(f"{path}: not the index of a node ({fault.args[0]}); give another `data`") from fault


def objects_of(config: NodeConfig) -> ObjectStore:
    """The node's object store."""
    if config.s3 is not None:
        from prognode.adapters.s3_store import S3Store

        store = S3Store(config.s3)
        store.check()
        return store
    return FolderStore(data_folder(config) / "objects")


def bus_of(config: NodeConfig, speaker: str = "node", *, alone: bool = False) -> Bus:
    """The node's queue. Who is alone with a file has what a dead process had in hand come again at once."""
    if config.kafka is not None:
        from prognode.adapters.kafka_bus import KafkaBus

        return KafkaBus(config.kafka, speaker)
    bus = SqliteBus(data_folder(config) / "bus.sqlite")
    if alone:
        bus.release_leases()
    return bus


def model_of(config: NodeConfig) -> tuple[Recipe, Extractor]:
    """Recipe and extractor, proven to belong together."""
    recipe = load_recipe(required(config.recipe, "recipe"))
    extractor = extractor_of(config)
    verify(recipe, extractor)
    return recipe, extractor


def extractor_of(config: NodeConfig) -> Extractor:
    """The network, on Triton or in the process."""
    if config.triton is not None:
        from prognode.adapters.triton_extractor import TritonExtractor

        return TritonExtractor(config.triton)
    return OnnxExtractor(required(config.extractor, "extractor"), threads=config.threads)


def required(path: Path | None, key: str) -> Path:
    """The path, which this service needs. Raises BadRequest."""
    if path is None:
        raise BadRequest(f"configuration: {key}: this key is missing; add it")
    return path


def data_folder(config: NodeConfig) -> Path:
    """The node's folder, made if need be. Raises BadRequest where that fails."""
    folder = required(config.data, "data")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise BadRequest(
            f"{folder}: no folder can be made there ({fault.strerror}); give another `data`"
        ) from None
    return folder


def figure_drawer(recipe: Recipe) -> DrawFigure:
    """Draws reports with the recipe's nomogram; matplotlib is loaded at the first figure."""

    def draw(report: Report, images: dict[Phase, NDArray[np.float32]]) -> NDArray[np.uint8]:
        from prognode.adapters.figure import draw_figure

        assert report.prognosis is not None
        model = recipe.combined if report.prognosis.model == "combined" else recipe.signatures_only
        return draw_figure(report, images, model).rgb

    return draw  # type: ignore[return-value]
