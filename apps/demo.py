"""The demonstration: a synthetic study goes to a running node over TCP, and its report comes back to a PACS.

The node is a process of its own, started with ``prognode up`` and a configuration file like any other. The receiving
PACS is a plain storage SCP in this process. What is checked at the end is what arrived there.
"""

from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom
from pynetdicom import AE, evt
from pynetdicom.sop_class import (
    Comprehensive3DSRStorage,
    SecondaryCaptureImageStorage,
    Verification,
)
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from apps.config import home
from prognode.adapters.dicom_pacs import PacsSettings, send_at_once
from prognode.adapters.dicom_sender import send_files
from prognode.errors import BadRequest, Unavailable

console = Console()

MARKS = "Synthetic data · demonstration recipe · research use only"
NODE_START_LIMIT_S = 60.0
REPORT_LIMIT_S = 120.0


@dataclass
class ReceivingPacs:
    """A storage SCP that keeps what it is sent."""

    folder: Path
    arrived: dict[str, bytes] = field(default_factory=dict)
    changed: threading.Event = field(default_factory=threading.Event)
    _server: Any = None

    def start(self) -> int:
        """Listen on a free port; returns it."""
        ae = AE("DEMO-PACS")
        for sop_class in (Verification, Comprehensive3DSRStorage, SecondaryCaptureImageStorage):
            ae.add_supported_context(sop_class)
        handlers = [(evt.EVT_C_STORE, self._keep), (evt.EVT_CONN_OPEN, send_at_once)]
        self._server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        return int(self._server.socket.getsockname()[1])

    def stop(self) -> None:
        """End the server."""
        self._server.shutdown()

    def wait_for(self, modality: str, limit_s: float) -> bytes | None:
        """The first object of ``modality``; None when none came in time."""
        until = time.monotonic() + limit_s
        while time.monotonic() < until:
            if modality in self.arrived:
                return self.arrived[modality]
            self.changed.wait(timeout=0.1)
            self.changed.clear()
        return None

    def _keep(self, event: Any) -> int:
        buffer = io.BytesIO()
        pydicom.dcmwrite(buffer, _with_meta(event), enforce_file_format=True)
        self.arrived[str(event.dataset.Modality)] = buffer.getvalue()
        self.changed.set()
        return 0x0000


def _with_meta(event: Any) -> pydicom.Dataset:
    dataset: pydicom.Dataset = event.dataset
    dataset.file_meta = event.file_meta
    return dataset


def run_demo(out: Path, seed: int) -> int:
    """Run the demonstration into ``out``; the exit status, 0 only if the SR arrived and says what report.json says."""
    console.rule("[bold]Prognode demonstration")
    console.print(f"[yellow]{MARKS}[/]")
    pacs = ReceivingPacs(out)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        extractor, recipe = ready_model(progress)
        files, patient_id = _study(progress, out / "study", seed)
        config = configuration(out, extractor, recipe, pacs.start())
        (out / "clinical.csv").write_text(f"patient_id,ki67,m_stage\n{patient_id},35,M0\n")
        with running_node(progress, config, out) as port:
            sr, figure = _exchange(progress, pacs, port, files)
    pacs.stop()
    if sr is None:
        console.print("[red]no report arrived[/]; the node's log is in " + str(out / "node.log"))
        return 1
    return _conclude(out, sr, figure)


def ready_model(progress: Progress) -> tuple[Path, Path]:
    """The demonstration's network and the recipe that the laboratory made for it."""
    from prognode.adapters.recipe_file import write_recipe
    from training.demonstration import demonstration_document, write_demonstration_network

    task = progress.add_task("network and demonstration recipe", total=2)
    extractor, recipe = home() / "resnet50-random.onnx", home() / "demonstration-recipe.json"
    write_demonstration_network(extractor)
    progress.advance(task)
    write_recipe(demonstration_document(), recipe)
    progress.advance(task)
    return extractor, recipe


def _study(progress: Progress, folder: Path, seed: int) -> tuple[list[Path], str]:
    """Files of the study, and the invented Patient ID that the covariates are listed under."""
    from training.synthetic_study import StudySpec, generate_study, write_study

    task = progress.add_task("synthetic biphasic CT", total=242)
    study = generate_study(
        StudySpec(seed=seed), lambda done, total: progress.update(task, completed=done, total=total)
    )
    return write_study(study, folder), study.patient_id


def configuration(out: Path, extractor: Path, recipe: Path, pacs_port: int) -> Path:
    """Write the node's configuration file into ``out``; returns its path."""
    path = out / "node.toml"
    lines = [
        'data = "node-data"',
        f"recipe = {json.dumps(str(recipe))}",
        f"extractor = {json.dumps(str(extractor))}",
        'clinical_csv = "clinical.csv"',
        "[receiver]",
        'ae_title = "PROGNODE"',
        'host = "127.0.0.1"',
        f"port = {_free_port()}",
        "[[pacs]]",
        'name = "demo-pacs"',
        'ae_title = "DEMO-PACS"',
        'host = "127.0.0.1"',
        f"port = {pacs_port}",
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_node(progress: Progress, config: Path, out: Path) -> Iterator[int]:
    """``prognode up`` as a process of its own; yields its port."""
    from apps.config import load_config

    task = progress.add_task("node starts, replays reference cases", total=1)
    port = load_config(config).receiver.port
    with (out / "node.log").open("wb") as log:
        command = [sys.executable, "-m", "apps.cli.main", "up", "--config", str(config)]
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            _await_echo(process, port, out)
            progress.advance(task)
            yield port
        finally:
            process.terminate()
            process.wait(timeout=60)


def _await_echo(process: subprocess.Popen[bytes], port: int, out: Path) -> None:
    from prognode.adapters.dicom_pacs import DicomPacs

    node = DicomPacs(PacsSettings(name="node", ae_title="PROGNODE", host="127.0.0.1", port=port))
    until = time.monotonic() + NODE_START_LIMIT_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise BadRequest(f"the node did not start; see {out / 'node.log'}")
        try:
            node.echo()
        except Unavailable:
            time.sleep(0.1)
        else:
            return
    raise BadRequest(f"the node did not answer within {NODE_START_LIMIT_S:.0f} s; see {out / 'node.log'}")


def _exchange(
    progress: Progress, pacs: ReceivingPacs, port: int, files: list[Path]
) -> tuple[bytes | None, bytes | None]:
    task = progress.add_task("C-STORE to the node", total=len(files))
    node = PacsSettings(
        name="node", ae_title="PROGNODE", host="127.0.0.1", port=port, calling_ae_title="DEMO-PACS"
    )
    faults = send_files(node, files, lambda: progress.advance(task))
    if faults:
        raise BadRequest(f"the node refused {len(faults)} objects; first: {faults[0]}")
    task = progress.add_task("report and figure arrive in the PACS", total=2)
    sr = pacs.wait_for("SR", REPORT_LIMIT_S)
    progress.advance(task)
    figure = pacs.wait_for("OT", REPORT_LIMIT_S) if sr else None
    progress.advance(task)
    return sr, figure


def _conclude(out: Path, sr: bytes, figure: bytes | None) -> int:
    """Write the four results and compare the SR that arrived with the JSON that the node keeps."""
    from prognode.dicom.sr_check import says_same

    (out / "report.dcm").write_bytes(sr)
    dataset = pydicom.dcmread(io.BytesIO(sr))
    document = _node_json(out, str(dataset.SOPInstanceUID))
    (out / "report.json").write_text(
        json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    if figure is not None:
        (out / "figure.dcm").write_bytes(figure)
        (out / "figure.png").write_bytes(png_of(figure))
    differences = says_same(dataset, document)
    show_report(document)
    for difference in differences:
        console.print(f"[red]the SR and report.json differ: {difference}[/]")
    if figure is None:
        console.print("[red]the figure did not arrive[/]")
    if document["status"] != "final":
        console.print(f"[red]the report is {document['status']}, not final[/]")
    if differences or figure is None or document["status"] != "final":
        return 1
    console.print(f"[green]the SR arrived by C-STORE and says what report.json says[/]; results in {out}")
    return 0


def _node_json(out: Path, sop_instance_uid: str) -> dict[str, Any]:
    """The report as the node keeps it."""
    found = list((out / "node-data" / "objects" / "reports").rglob(f"{sop_instance_uid}.json"))
    if len(found) != 1:
        raise BadRequest(f"the node keeps {len(found)} reports named like the SR that arrived")
    report: dict[str, Any] = json.loads(found[0].read_text(encoding="utf-8"))["report"]
    return report


def png_of(figure: bytes) -> bytes:
    """The page of a Secondary Capture as PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pydicom.dcmread(io.BytesIO(figure)).pixel_array).save(buffer, "PNG")
    return buffer.getvalue()


def show_report(document: dict[str, Any]) -> None:
    """Print a report (as ``report.json`` holds it) as a table."""
    prognosis = document["prognosis"]
    if prognosis is None:
        console.print(f"not evaluable: {document['reason']} {document['reason_detail']}", markup=False)
        return
    table = Table("", "result", title="Gastric neuroendocrine neoplasm: overall survival")
    for months, probability in prognosis["survival"]:
        table.add_row(f"{months // 12}-year overall survival", f"{100 * probability:.1f} %")
    table.add_row("risk group", str(prognosis["risk_group"]))
    table.add_row("total points", f"{prognosis['total_points']:.1f}")
    for axis in prognosis["axes"]:
        table.add_row(str(axis["label"]), f"{axis['shown']}  ({axis['points']:.1f} points)")
    table.add_row("report", str(document["status"]))
    table.add_row("recipe", f"{document['recipe']['name']} {document['recipe']['version']}")
    console.print(table)
    for notice in document["notices"]:
        console.print(f"[yellow]{notice}[/]")
