"""The services of the node, called one after the other on a folder: same handlers, same adapters, no loops, no network."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from apps.config import NodeConfig
from apps.demo import png_of
from apps.dicom_files import NotTaken, data_set_of, read_dicom
from apps.outside import NoClinicalFile, figure_drawer, model_of
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
from services.receiver.header import Status
from services.scoring.handler import Illustration, Scoring


def score_files(
    files: Sequence[Path], config: NodeConfig, clinical: JSON, on_step: Callable[[], object] = lambda: None
) -> dict[str, bytes]:
    """Score the one study among ``files``; what there is to keep, by file name.

    Raises BadRequest when the files hold no study with contours, more than one, or one that the node would wait for.
    """
    recipe, extractor = model_of(config)
    with tempfile.TemporaryDirectory(prefix="prognode-score-") as scratch:
        objects: ObjectStore = FolderStore(Path(scratch) / "objects")
        index: Index = SqlIndex(Path(scratch) / "index.sqlite")
        left_out = _store(files, objects, index, config, on_step)
        case = _assess(index, objects, config, left_out)
        index.save_clinical(case.case_id, clinical, [])
        scoring = Scoring(index, objects, extractor, recipe, NoClinicalFile(), figure_drawer(recipe))
        preprocess = Preprocess(index, objects, StudyReader(objects), config.preprocess)
        events = [event for _, event in index.outbox()]
        report, figure = _run(events, scoring, preprocess, on_step)
        return _results(report, figure, objects, index)


def _store(
    files: Sequence[Path],
    objects: ObjectStore,
    index: Index,
    config: NodeConfig,
    on_step: Callable[[], object],
) -> list[str]:
    """Store the files as the receiver would; a sentence for each that it would not take."""
    settings = config.receiver.model_copy(update={"watermark": 1.0, "watermark_recovery": 1.0})
    handler = StoreHandler(objects, index, SystemClock(), settings)
    left_out = []
    for path in files:
        try:
            answer = handler.store(_request(path))
        except NotTaken as why:
            left_out.append(f"{path}: {why}")
        else:
            left_out += [f"{path}: {answer.comment}"] if answer.status != Status.SUCCESS else []
        on_step()
    if len(left_out) == len(files):
        raise BadRequest(
            f"none of the {len(files)} files is a DICOM object that can be used; first: {left_out[0]}"
        )
    return left_out


def _request(path: Path) -> StoreRequest:
    """The file as a C-STORE would bring it: its data set's own bytes. Raises NotTaken when it is no DICOM object."""
    header = read_dicom(path)
    syntax, data = data_set_of(path, header)
    return StoreRequest(
        str(header.get("SOPClassUID", "")), str(header.get("SOPInstanceUID", "")), syntax, data
    )


def _assess(index: Index, objects: ObjectStore, config: NodeConfig, left_out: Sequence[str]) -> Case:
    """The one case, assessed as if nothing more could come."""
    settings = config.assembly.model_copy(update={"grace_s": 0.0, "give_up_s": 0.0})
    Assembler(
        index, StudyReader(objects), SystemClock(), rules_of(config.assembly), settings, Fetcher(())
    ).step()
    cases = index.cases()
    if len(cases) != 1:
        many = f"{len(cases)} studies with contours" if cases else "no study with contours"
        raise BadRequest(f"the files hold {many}; give one study with its RTSTRUCT or SEG{_among(left_out)}")
    if cases[0].state == "waiting":
        waits = list(dict.fromkeys(wait["text"] for wait in cases[0].assessment["waiting_for"]))
        more = f" and {len(waits) - 3} more" if len(waits) > 3 else ""
        raise BadRequest(
            f"the study is not complete, the node would wait for {'; '.join(waits[:3])}{more}: "
            f"add what is missing, `prognode inspect` shows what is there{_among(left_out)}"
        )
    return cases[0]


def _among(left_out: Sequence[str]) -> str:
    """What may explain that something is missing."""
    return f" ({len(left_out)} files were left out; first: {left_out[0]})" if left_out else ""


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
    delivered = facts.report_delivered(report)
    figures = Illustration(scoring).on_report_delivered(delivered)
    on_step()
    return report, figures[0] if figures else None


def _results(report: Event, figure: Event | None, objects: ObjectStore, index: Index) -> dict[str, bytes]:
    case = index.case(report.key)
    assert case is not None
    document = json.loads(objects.get(case.outcome["sr"]["json_key"]))["report"]
    results = {
        "report.dcm": objects.get(report.payload["object_keys"][0]),
        "report.json": (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode(),
    }
    if figure is not None:
        results["figure.dcm"] = objects.get(figure.payload["object_keys"][0])
        results["figure.png"] = png_of(results["figure.dcm"])
    return results
