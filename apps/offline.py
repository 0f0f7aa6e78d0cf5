"""The services of the node, called one after the other on a folder: same handlers, same adapters, no loops, no network."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pydicom
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.dsutils import split_dataset

from apps.compose import NoClinicalFile, figure_drawer, model_of
from apps.config import NodeConfig
from apps.demo import png_of
from apps.inspect_files import read_dicom
from prognode.adapters.object_folder import FolderStore
from prognode.adapters.sql_index import SqlIndex
from prognode.adapters.system_clock import SystemClock
from prognode.errors import BadRequest
from prognode.events import facts
from prognode.ports import JSON, Case, Event, Index, ObjectStore
from prognode.runtime.studies import StudyReader
from prognode.runtime.worker import Handler
from services.preprocess.handler import Preprocess
from services.receiver.assembly import Assembler, rules_of
from services.receiver.fetching import Fetcher
from services.receiver.handler import StoreHandler, StoreRequest
from services.scoring.handler import Illustration, Scoring


def score_files(
    files: Sequence[Path], config: NodeConfig, clinical: JSON, out: Path, on_step: Callable[[], object]
) -> list[Path]:
    """Score the one study among ``files``; the paths of what was written into ``out``.

    Raises BadRequest when the files hold no study with contours, or more than one.
    """
    recipe, extractor = model_of(config)
    with tempfile.TemporaryDirectory(prefix="prognode-score-") as scratch:
        objects: ObjectStore = FolderStore(Path(scratch) / "objects")
        index: Index = SqlIndex(Path(scratch) / "index.sqlite")
        _store(files, objects, index, config, on_step)
        case = _assess(index, objects, config)
        index.save_clinical(case.case_id, clinical, [])
        scoring = Scoring(index, objects, extractor, recipe, NoClinicalFile(), figure_drawer(recipe))
        events = [event for _, event in index.outbox()]
        report, figure = _run(events, scoring, Preprocess(index, objects, StudyReader(objects), config.preprocess), on_step)
        return _write(report, figure, objects, index, out)


def _store(
    files: Sequence[Path], objects: ObjectStore, index: Index, config: NodeConfig, on_step: Callable[[], object]
) -> None:
    settings = config.receiver.model_copy(update={"watermark": 1.0, "watermark_recovery": 1.0})
    handler = StoreHandler(objects, index, SystemClock(), settings)
    for path in files:
        request = _request(path)
        if request is not None:
            handler.store(request)
        on_step()


def _request(path: Path) -> StoreRequest | None:
    """The file as a C-STORE would bring it: its data set's own bytes. None when it is no DICOM object."""
    header = read_dicom(path, pixels=False)
    if header is None or "SOPClassUID" not in header or "SOPInstanceUID" not in header:
        return None
    data = path.read_bytes()
    meta = getattr(header, "file_meta", None)
    syntax = str(meta.get("TransferSyntaxUID", "")) if meta else ""
    if syntax:
        _, start = split_dataset(path)
    else:
        start, syntax = 0, _syntax_of(header)
    return StoreRequest(str(header.SOPClassUID), str(header.SOPInstanceUID), syntax, data[start:])


def _syntax_of(header: pydicom.Dataset) -> str:
    """Transfer syntax of a file without meta information, as pydicom found it to be."""
    implicit, little = header.original_encoding
    if implicit:
        return str(ImplicitVRLittleEndian)
    return str(ExplicitVRLittleEndian if little else ExplicitVRBigEndian)


def _assess(index: Index, objects: ObjectStore, config: NodeConfig) -> Case:
    """The one case, assessed as if nothing more could come."""
    settings = config.assembly.model_copy(update={"grace_s": 0.0, "give_up_s": 0.0})
    Assembler(index, StudyReader(objects), SystemClock(), rules_of(config.assembly), settings, Fetcher(())).step()
    cases = index.cases()
    if len(cases) != 1:
        raise BadRequest(f"the files hold {len(cases)} studies with contours; give one study with its RTSTRUCT or SEG")
    if cases[0].state == "waiting":
        waits = "; ".join(wait["text"] for wait in cases[0].assessment["waiting_for"][:3])
        raise BadRequest(f"the study is not complete: {waits}")
    return cases[0]


def _run(
    events: Sequence[Event], scoring: Scoring, preprocess: Preprocess, on_step: Callable[[], object]
) -> tuple[Event, Event | None]:
    """Handle facts until the report is out, then draw its figure; both as ``report-ready``."""
    handlers: dict[str, Handler] = {**preprocess.handlers, **scoring.handlers}
    pending = list(events)
    while pending and pending[0].topic != facts.REPORT_READY:
        event = pending.pop(0)
        pending.extend(handlers[event.topic](event))
        on_step()
    if not pending:
        raise BadRequest("there is no image with a position that a report could be pinned to")
    report = pending[0]
    delivered = Event(facts.REPORT_DELIVERED, report.key, report.payload)
    figures = Illustration(scoring).on_report_delivered(delivered)
    on_step()
    return report, figures[0] if figures else None


def _write(report: Event, figure: Event | None, objects: ObjectStore, index: Index, out: Path) -> list[Path]:
    out.mkdir(parents=True, exist_ok=True)
    case = index.case(report.key)
    assert case is not None
    document = json.loads(objects.get(case.outcome["sr"]["json_key"]))["report"]
    contents = {
        "report.dcm": objects.get(report.payload["object_keys"][0]),
        "report.json": (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode(),
    }
    if figure is not None:
        contents["figure.dcm"] = objects.get(figure.payload["object_keys"][0])
        contents["figure.png"] = png_of(contents["figure.dcm"])
    for name, data in contents.items():
        (out / name).write_bytes(data)
    return [out / name for name in contents]
