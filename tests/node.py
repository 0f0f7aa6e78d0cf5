"""A whole node for tests, in this process or as ``prognode up``, and a receiving PACS whose faults a test chooses.

One network with random weights and a made-up recipe for it are made once and shared by all tests.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Self

import pydicom
import raw_sender
import structlog
from components import free_port, wait_until
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import (
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EnhancedSRStorage,
    SecondaryCaptureImageStorage,
    Verification,
)
from raw_sender import Answer, Sent

from apps.compose import Node, compose
from apps.config import NodeConfig, load_config
from apps.outside import index_of
from prognode.adapters.dicom_pacs import send_at_once
from prognode.adapters.object_folder import FolderStore
from prognode.dicom import codes
from prognode.dicom.part10 import data_set_of
from prognode.domain.identity import case_id
from prognode.ports import Case, Index
from training.synthetic_dicom import file_bytes

ROOT = Path(__file__).resolve().parents[1]
SR_CLASSES = (Comprehensive3DSRStorage, ComprehensiveSRStorage, EnhancedSRStorage)
STORED_CLASSES = (*SR_CLASSES, SecondaryCaptureImageStorage)
PATIENCE_S = 60.0

# ---------------------------------------------------------------- the model


@dataclass(frozen=True)
class Model:
    """An extractor with random weights and a made-up recipe that belongs to it."""

    extractor: Path
    recipe: Path


MODEL_SOURCES = (
    "src/prognode/adapters/resnet50.py",
    "src/prognode/adapters/keras_weights.py",
    "src/prognode/adapters/onnx_extractor.py",
)
RECIPE_SOURCES = (
    "tests/made_up_recipe.py",
    "training/reference_cases.py",
    "src/prognode/domain/*.py",
)


@cache
def test_model() -> Model:
    """Made once per version of the code that makes it, and kept under ``.cache/test-model``."""
    from made_up_recipe import make_up_recipe

    from prognode.adapters.keras_weights import random_weights
    from prognode.adapters.onnx_extractor import OnnxExtractor
    from prognode.adapters.recipe_file import write_recipe
    from prognode.adapters.resnet50 import build_model

    folder = ROOT / ".cache" / "test-model"
    folder.mkdir(parents=True, exist_ok=True)
    extractor = folder / f"{_digest_of(MODEL_SOURCES)}.onnx"
    _make_once(extractor, lambda part: part.write_bytes(build_model(random_weights(1))))
    recipe = folder / f"{_digest_of((*MODEL_SOURCES, *RECIPE_SOURCES))}.json"
    _make_once(recipe, lambda part: write_recipe(make_up_recipe(OnnxExtractor(extractor)), part))
    return Model(extractor, recipe)


test_model.__test__ = False  # type: ignore[attr-defined]


def _digest_of(patterns: Iterable[str]) -> str:
    state = hashlib.sha256()
    for path in sorted(path for pattern in patterns for path in ROOT.glob(pattern)):
        state.update(path.read_bytes())
    return state.hexdigest()[:16]


def _make_once(path: Path, make: Callable[[Path], object]) -> None:
    if path.is_file():
        return
    part = path.with_name(f"{path.stem}.{os.getpid()}.part{path.suffix}")
    make(part)
    part.replace(path)


# ---------------------------------------------------------------- the receiving PACS


@dataclass
class ReceivingPacs:
    """A storage SCP that keeps every object as often as it is sent."""

    name: str = "main"
    faults: list[int | str] = field(default_factory=list)
    """Answers to the next C-STORE requests: a status, or ``"abort"``; then success again."""
    sop_classes: Sequence[str] = STORED_CLASSES
    on_store: Callable[[Any], None] = lambda _event: None
    """Called before the answer."""
    received: dict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    """SOP Instance UID -> each data set taken under it, as it came over the wire."""
    order: list[str] = field(default_factory=list)
    refused: int = 0
    port: int = field(default_factory=free_port)
    _datasets: dict[str, Dataset] = field(default_factory=dict)
    _server: Any = None

    @property
    def ae_title(self) -> str:
        """AE title: the name in capitals."""
        return self.name.upper()

    def open(self) -> ReceivingPacs:
        """Listen on its port; nothing that it has taken is lost by closing and opening."""
        ae = AE(self.ae_title)
        for sop_class in (Verification, *self.sop_classes):
            ae.add_supported_context(sop_class, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_CONN_OPEN, send_at_once)]
        self._server = ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)
        return self

    def close(self) -> None:
        """Go down."""
        if self._server is not None:
            self._server.shutdown()
            self._server = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _store(self, event: Any) -> int:
        self.on_store(event)
        fault = self.faults.pop(0) if self.faults else 0x0000
        if fault != 0x0000:
            self.refused += 1
            if fault == "abort":
                event.assoc.abort()
                return 0x0110
            return int(fault)
        request = event.request
        uid = str(request.AffectedSOPInstanceUID)
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        self._datasets[uid] = dataset
        data = request.DataSet.getvalue()
        known = self.received[uid]
        known.append(
            next((one for one in known if one == data), data)
        )  # figures are large: equal bytes are kept once
        self.order.append(uid)
        return 0x0000

    def reports(self, study_uid: str | None = None) -> list[Dataset]:
        """Structured reports in the order of their first arrival."""
        return self._of("SR", study_uid)

    def figures(self, study_uid: str | None = None) -> list[Dataset]:
        """Figures in the order of their first arrival."""
        return self._of("OT", study_uid)

    def _of(self, modality: str, study_uid: str | None) -> list[Dataset]:
        found = [self._datasets[uid] for uid in dict.fromkeys(self.order)]
        return [
            one
            for one in found
            if one.Modality == modality and study_uid in (None, str(one.StudyInstanceUID))
        ]

    def wait_reports(self, count: int = 1, study_uid: str | None = None) -> list[Dataset]:
        """The reports once there are ``count``."""
        wait_until(lambda: len(self.reports(study_uid)) >= count, f"arrival of {count} report(s)", PATIENCE_S)
        return self.reports(study_uid)

    def wait_figures(self, count: int = 1, study_uid: str | None = None) -> list[Dataset]:
        """The figures once there are ``count``."""
        wait_until(lambda: len(self.figures(study_uid)) >= count, f"arrival of {count} figure(s)", PATIENCE_S)
        return self.figures(study_uid)


# ---------------------------------------------------------------- sending


def sent(item: Dataset) -> Sent:
    """A data set as it goes over the wire."""
    syntax = str(item.file_meta.TransferSyntaxUID)
    data = bytes(data_set_of(file_bytes(item)))
    return Sent(str(item.SOPClassUID), str(item.SOPInstanceUID), syntax, data)


def send_over(port: int, items: Iterable[Dataset | Sent]) -> list[Answer | None]:
    """Send over one association; the answers."""
    objects = [item if isinstance(item, Sent) else sent(item) for item in items]
    answers = [answer for _, answer in send_each(port, objects)]
    assert len(answers) == len(objects), "the node rejected or ended the association"
    return answers


def send_each(port: int, objects: Sequence[Sent]) -> Iterator[tuple[Sent, Answer | None]]:
    """Send over one association until all are sent or it ends; each object with its answer, None if that never came."""
    contexts = list(dict.fromkeys((each.sop_class, each.syntax) for each in objects))
    if not objects:
        return
    with _association(port, contexts) as opened:
        for each in objects:
            if not opened.is_established:
                return
            yield each, raw_sender.send(opened, each)


@contextlib.contextmanager
def _association(port: int, contexts: Sequence[tuple[str, str]]) -> Iterator[Association]:
    """An association that proposes these contexts and sends each packet at once, as storescu does."""
    ae = AE("SENDER")
    for sop_class, syntax in contexts:
        ae.add_requested_context(sop_class, syntax)
    opened = ae.associate(
        "127.0.0.1",
        port,
        ae_title="PROGNODE",
        max_pdu=131072,
        evt_handlers=[(evt.EVT_CONN_OPEN, send_at_once)],
    )
    try:
        yield opened
    finally:
        if opened.is_established:
            opened.release()


# ---------------------------------------------------------------- the node


@dataclass
class NodeFolder:
    """A node's folder: configuration, index, objects and queue, whether it runs or not."""

    folder: Path
    config_path: Path
    config: NodeConfig

    @property
    def port(self) -> int:
        """DICOM port."""
        return self.config.receiver.port

    @property
    def index(self) -> Index:
        """The node's index, opened beside the node."""
        return _index_of(self.config_path)

    @property
    def objects(self) -> FolderStore:
        """The node's object store, opened beside the node."""
        return FolderStore(self.config.data / "objects")

    def send(self, items: Iterable[Dataset | Sent], associations: int = 1) -> None:
        """C-STORE all items, dealt out to some associations at once; every one must be answered 0x0000."""
        dealt = list(items)
        parts = [dealt[number::associations] for number in range(associations)]
        with ThreadPoolExecutor(associations) as pool:
            answers = [
                answer for some in pool.map(lambda part: send_over(self.port, part), parts) for answer in some
            ]
        failed = [answer for answer in answers if answer is None or answer.status != 0]
        assert not failed, f"{len(failed)} of {len(dealt)} objects were not taken: {failed[0]}"

    def case(self, study_uid: str) -> Case | None:
        """The case of a study."""
        return self.index.case(case_id(study_uid))

    def show(self, study_uid: str) -> dict[str, Any]:
        """What ``prognode case show --json`` prints."""
        result = prognode("case", "show", case_id(study_uid), "--json", "--config", self.config_path)
        assert result.status == 0, result.errors
        document: dict[str, Any] = json.loads(result.output)
        return document

    def case_command(self, command: str, study_uid: str, *arguments: str) -> CommandResult:
        """``prognode case COMMAND`` for the case of a study."""
        return prognode("case", command, case_id(study_uid), *arguments, "--config", self.config_path)

    def wait_state(self, study_uid: str, *states: str) -> Case:
        """The case once it is in one of ``states``."""

        def reached() -> Case | None:
            case = self.case(study_uid)
            return case if case is not None and case.state in states else None

        found: Case = wait_until(reached, f"the state {' or '.join(states)}", PATIENCE_S)
        return found

    def is_settled(self) -> bool:
        """Whether nothing is in hand: every study assessed, outbox and queue empty. Pauses of the clock are not seen."""
        return not self.index.unassessed() and not self.index.outbox() and not self.in_queue()

    def settle(self, limit_s: float = PATIENCE_S) -> None:
        """Wait until nothing is in hand; fail with what is."""
        wait_until(self.is_settled, lambda: f"the end of all work in hand ({self.in_hand()})", limit_s)

    def in_hand(self) -> str:
        """What is in hand, for a person."""
        return f"not assessed: {self.index.unassessed()}, outbox: {self.index.outbox()}, queue: {self.in_queue()}"

    def in_queue(self) -> list[tuple[str, str, str]]:
        """(group, topic, state) of each message that some group has not finished."""
        return self._standings("state IN ('waiting', 'leased')")

    def dead_letters(self) -> list[tuple[str, str, str]]:
        """(group, topic, why) of each dead letter."""
        return self._standings("state = 'dead'", "why")

    def _standings(self, condition: str, last: str = "state") -> list[tuple[str, str, str]]:
        with contextlib.closing(sqlite3.connect(self.config.data / "bus.sqlite", timeout=30)) as db:
            query = f"SELECT group_name, topic, {last} FROM standings WHERE {condition} ORDER BY message_id"
            return db.execute(query).fetchall()


@cache
def _index_of(config_path: Path) -> Index:
    return index_of(load_config(config_path))


@dataclass
class NodeHere(NodeFolder):
    """A node in this process: up within a second."""

    life: Node | None = None

    def start(self) -> NodeHere:
        """Start it."""
        self.life = compose(self.config)
        self.life.start()
        return self

    def stop(self) -> None:
        """Stop it in good order; it must not have met a bug."""
        if self.life is None:
            return
        life, self.life = self.life, None
        failed = life.failed.is_set()
        life.stop()
        life._lock_file.close()
        assert not failed, "a loop of the node ended with a bug"

    def restart(self) -> None:
        """Stop and start again on the same folder."""
        self.stop()
        self.start()


@dataclass
class NodeProcess(NodeFolder):
    """``prognode up`` as a process of its own."""

    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """Everything that it wrote to standard output and error, over all its lives."""
        return self.folder / "node.log"

    def events(self) -> list[dict[str, Any]]:
        """The log's JSON lines."""
        lines = self.log.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def start(self) -> NodeProcess:
        """Start it and wait until it listens."""
        before = self.log.stat().st_size if self.log.exists() else 0
        command = [sys.executable, "-m", "apps.cli.main", "up", "--config", str(self.config_path)]
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT)
        wait_until(lambda: self._listens(before), "the node's start", PATIENCE_S)
        return self

    def _listens(self, before: int) -> bool:
        text = self.log.read_bytes()[before:]
        assert self.process is not None
        assert self.process.poll() is None, text[-2000:].decode()
        return b"listening as" in text

    def stop(self) -> None:
        """SIGTERM, and wait for a good end."""
        if self.process is None:
            return
        process, self.process = self.process, None
        process.terminate()
        assert process.wait(60) == 0, self.log.read_text()[-2000:]

    def kill9(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(60)
        self.process = None

    def restart(self) -> None:
        """Stop in good order, unless it is dead already, and start again on the same folder."""
        self.stop()
        self.start()


def write_config(
    folder: Path, pacs: Sequence[ReceivingPacs | Mapping[str, Any]] = (), **overrides: Any
) -> Path:
    """``node.toml`` of a node in ``folder``: waits shortened for tests; a table in ``overrides`` replaces single keys."""
    model = test_model()
    document: dict[str, Any] = {
        "data": "data",
        "recipe": str(model.recipe),
        "extractor": str(model.extractor),
        "threads": 1,
        "receiver": {"host": "127.0.0.1", "port": free_port()},
        "assembly": {"grace_s": 1.0},
        "dispatcher": {"retry_first_s": 0.1, "retry_cap_s": 0.5},
        "pacs": [_pacs_table(one) for one in pacs],
    }
    for key, value in overrides.items():
        document[key] = {**document.get(key, {}), **value} if isinstance(value, Mapping) else value
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "node.toml"
    path.write_text(_toml(document), encoding="utf-8")
    return path


def _pacs_table(pacs: ReceivingPacs | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(pacs, Mapping):
        return pacs
    return {"name": pacs.name, "ae_title": pacs.ae_title, "host": "127.0.0.1", "port": pacs.port}


def _toml(document: Mapping[str, Any]) -> str:
    plain = {
        key: value for key, value in document.items() if not isinstance(value, Mapping) and key != "pacs"
    }
    parts = [_lines(plain)]
    parts += [f"[{key}]\n{_lines(value)}" for key, value in document.items() if isinstance(value, Mapping)]
    parts += [f"[[pacs]]\n{_lines(table)}" for table in document["pacs"]]
    return "\n".join(parts)


def _lines(table: Mapping[str, Any]) -> str:
    """Strings, numbers, booleans and lists are written alike in JSON and TOML."""
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())


def node_here(
    folder: Path, pacs: Sequence[ReceivingPacs | Mapping[str, Any]] = (), **overrides: Any
) -> NodeHere:
    """Start a node in this process; the caller stops it."""
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(sys.__stderr__)
    )  # commands print to stdout
    path = write_config(folder, pacs, **overrides)
    return NodeHere(folder, path, load_config(path)).start()


def start_node(
    folder: Path, pacs: Sequence[ReceivingPacs | Mapping[str, Any]] = (), **overrides: Any
) -> NodeProcess:
    """Start ``prognode up`` as a process of its own; the caller stops it."""
    path = write_config(folder, pacs, **overrides)
    return NodeProcess(folder, path, load_config(path)).start()


@contextlib.contextmanager
def node_and_pacs(folder: Path, **overrides: Any) -> Iterator[tuple[NodeHere, ReceivingPacs]]:
    """A node in this process with one receiving PACS, until the block ends."""
    with ReceivingPacs() as pacs:
        node = node_here(folder, [pacs], **overrides)
        try:
            yield node, pacs
        finally:
            node.stop()


# ---------------------------------------------------------------- the command line


@dataclass(frozen=True)
class CommandResult:
    """What a command ended with."""

    status: int
    output: str
    errors: str


_one_command = threading.Lock()


def prognode(*arguments: object) -> CommandResult:
    """Run a ``prognode`` command as the console script does, but in this process."""
    from apps.cli.main import main

    out, errors = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    status = 0
    with _one_command, contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        before, sys.argv = sys.argv, ["prognode", *map(str, arguments)]
        try:
            main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        finally:
            sys.argv = before
    return CommandResult(status, _written(out), _written(errors))


def _written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    stream.seek(0)
    return stream.read()


# ---------------------------------------------------------------- reading reports


def said_of(report: Dataset) -> dict[str, str]:
    """Status and, where there is one, reason of a structured report as it was received, read from its codes."""
    coded = {
        _concept(item): str(item.ConceptCodeSequence[0].CodeValue)
        for item in content_items(report)
        if item.get("ValueType") == "CODE"
    }
    words = {code.value: word for word, code in codes.STATUSES.items()}
    said = {"status": words[coded[codes.STATUS.value]]}
    return said | ({"reason": reason} if (reason := coded.get(codes.NOT_EVALUABLE.value)) else {})


def comments_of(report: Dataset) -> list[str]:
    """Every sentence of a structured report."""
    return [str(item.TextValue) for item in content_items(report) if item.get("ValueType") == "TEXT"]


def predecessors_of(report: Dataset) -> list[str]:
    """SOP Instance UIDs that the report supersedes (PS3.3 C.17.2.3)."""
    return [
        str(reference.ReferencedSOPInstanceUID)
        for study in report.get("PredecessorDocumentsSequence") or []
        for series in study.ReferencedSeriesSequence
        for reference in series.ReferencedSOPSequence
    ]


def content_items(item: Dataset) -> Iterator[Dataset]:
    """Every content item below ``item``."""
    for child in item.get("ContentSequence") or []:
        yield child
        yield from content_items(child)


def _concept(item: Dataset) -> str:
    names = item.get("ConceptNameCodeSequence")
    return str(names[0].CodeValue) if names else ""


def stored_report(node: NodeFolder, sop_instance_uid: str) -> dict[str, Any]:
    """The report beside the SR in the node's object store."""
    (path,) = (node.config.data / "objects" / "reports").rglob(f"{sop_instance_uid}.json")
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["report"]
    return report


def read(data: bytes) -> Dataset:
    """A DICOM file."""
    return pydicom.dcmread(io.BytesIO(data))
