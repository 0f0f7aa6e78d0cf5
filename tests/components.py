"""Real DICOM peers for the tests: Orthanc and DCMTK programs, on free ports, in temporary folders.

Every process is ended by its own process id. A program that is missing skips the test with a sentence that says what to
install; where CI=true it fails instead, so that no check is lost in silence.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

START_LIMIT_S = 60.0
STOP_LIMIT_S = 20.0
DICOMWEB_PLUGIN_FOLDERS = ("/usr/share/orthanc/plugins", "/usr/lib/orthanc")

PORT_RANGE = (15_000, 32_000)
_given_ports: set[int] = set()

# without it each DIMSE message waits for a delayed acknowledgement
PROMPT = {"TCP_NODELAY": "1"}


def missing(sentence: str) -> None:
    """Skip the test with ``sentence``; fail it where CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(sentence, pytrace=False)
    pytest.skip(sentence)


def require(program: str, apt: str) -> str:
    """Path of a program, or a skip that names the Debian package."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if path is None:
        missing(f"{program} is not installed (apt install {apt})")
    return str(path)


def free_port() -> int:
    """A TCP port that nobody listens on now, and that this function has not given out before.

    It lies below the range from which the system takes ports for outgoing connections, so that none of those can take it
    before the program that it is meant for. Of several processes of tests that run at once, each has ports of its own.
    """
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    first, end = PORT_RANGE
    while True:
        port = random.randrange(first + process, end, processes)
        if port not in _given_ports and not listens(port):
            _given_ports.add(port)
            return port


def wait_until(
    happened: Callable[[], Any], what: str | Callable[[], str], limit_s: float = START_LIMIT_S
) -> Any:
    """Poll until ``happened()`` is true, and return that value; fail with ``what`` when it stays false."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        value = happened()
        if value:
            return value
        time.sleep(0.02)
    said = what if isinstance(what, str) else what()
    pytest.fail(f"{said} did not happen within {limit_s:.0f} s", pytrace=False)


def listens(port: int) -> bool:
    """Whether somebody accepts TCP connections on ``port``."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class Program:
    """A child process with its log file."""

    process: subprocess.Popen[bytes]
    log: Path

    @classmethod
    def start(cls, arguments: Sequence[str], folder: Path, env: Mapping[str, str] | None = None) -> Program:
        """Start ``arguments`` in ``folder``; output goes to a log file there."""
        log = folder / f"{Path(arguments[0]).name}.log"
        with log.open("ab") as out:
            process = subprocess.Popen(
                list(arguments),
                cwd=folder,
                env={**os.environ, **PROMPT, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        return cls(process, log)

    def require_alive(self) -> bool:
        """True while it runs; otherwise fail with the end of its log."""
        if self.process.poll() is not None:
            tail = self.log.read_text(errors="replace")[-2000:]
            pytest.fail(f"{self.process.args} ended with {self.process.returncode}:\n{tail}", pytrace=False)
        return True

    def discard(self) -> None:
        """End this one process at once; what it has in its folder is thrown away with the folder."""
        self.process.kill()
        self.process.wait(STOP_LIMIT_S)

    def stop(self) -> None:
        """Ask this one process to end, by its id, and wait until it has put its things in order."""
        if self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(STOP_LIMIT_S)


# ---------------------------------------------------------------- Orthanc


ROUTING_GUIDE = Path(__file__).resolve().parents[1] / "docs" / "routing.md"


def auto_routing_lua() -> str:
    """The Lua script of docs/routing.md, so that what is tested is what installers copy; its modality is ``node``."""
    _, _, rest = ROUTING_GUIDE.read_text(encoding="utf-8").partition("```lua\n")
    script, end, _ = rest.partition("```")
    assert end, "docs/routing.md holds no Lua script"
    return script


@dataclass
class Orthanc:
    """A running Orthanc: a PACS with a REST interface to look into."""

    program: Program
    folder: Path
    http_port: int
    dicom_port: int
    ae_title: str
    http_url: str = field(init=False)

    def __post_init__(self) -> None:
        self.http_url = f"http://127.0.0.1:{self.http_port}"

    def get(self, path: str) -> Any:
        """JSON of ``path``."""
        return json.loads(self._request("GET", path))

    def post(self, path: str, body: bytes | Mapping[str, Any] | Sequence[Any] | str) -> Any:
        """POST bytes as they are, and anything else as JSON; the answer's JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = self._request("POST", path, data)
        return json.loads(answer) if answer else None

    def upload(self, source: Path | bytes) -> str:
        """Store one DICOM file; its Orthanc id."""
        data = source if isinstance(source, bytes) else source.read_bytes()
        return str(self.post("/instances", data)["ID"])

    def instances(self, **tags: str) -> list[str]:
        """Orthanc ids of the instances whose tags match (``Modality="SR"``); all of them without tags."""
        if not tags:
            return [str(orthanc_id) for orthanc_id in self.get("/instances")]
        return [str(found) for found in self.post("/tools/find", {"Level": "Instance", "Query": tags})]

    def file(self, orthanc_id: str) -> bytes:
        """The stored DICOM file."""
        return self._request("GET", f"/instances/{orthanc_id}/file")

    def sop_instance_uids(self) -> set[str]:
        """SOP Instance UIDs of everything it holds."""
        expanded = self.get("/instances?expand")
        return {str(instance["MainDicomTags"]["SOPInstanceUID"]) for instance in expanded}

    def delete(self, sop_instance_uid: str) -> None:
        """Lose one instance, as a test of storage commitment needs it."""
        for orthanc_id in self.instances(SOPInstanceUID=sop_instance_uid):
            self._request("DELETE", f"/instances/{orthanc_id}")

    def stop(self) -> None:
        """Shut this Orthanc down in good order, as a restart on the same folder needs it (some 4 s)."""
        self.program.stop()

    def discard(self) -> None:
        """End this Orthanc at once; its folder is not used again."""
        self.program.discard()

    def _request(self, method: str, path: str, data: bytes | None = None) -> bytes:
        request = urllib.request.Request(self.http_url + path, data=data, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return bytes(answer.read())

    def _answers(self) -> bool:
        try:
            self.get("/system")
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False
        return listens(self.dicom_port)


def start_orthanc(
    tmp_path: Path,
    *,
    node_port: int | None = None,
    node_ae_title: str = "PROGNODE",
    lua: str | None = None,
    dicomweb: bool = False,
    ae_title: str = "ORTHANC",
    configuration: Mapping[str, Any] | None = None,
) -> Orthanc:
    """Start Orthanc in ``tmp_path`` and wait until it answers on both ports; the caller stops it.

    :param node_port: DICOM port of the node, which becomes the modality ``node`` (C-MOVE, routing, storage commitment).
    :param lua: Lua script, for example :func:`auto_routing_lua`.
    :param dicomweb: load the DICOMweb plugin (``{http_url}/dicom-web/``).
    :param configuration: Orthanc options that replace these here.
    """
    binary = require("Orthanc", apt="orthanc")
    folder = tmp_path / f"orthanc-{ae_title.lower()}"
    folder.mkdir(parents=True, exist_ok=True)
    overrides = dict(configuration or {})
    http_port = overrides.pop("HttpPort", None) or free_port()
    dicom_port = overrides.pop("DicomPort", None) or free_port()
    options: dict[str, Any] = {
        "Name": ae_title,
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": [_dicomweb_plugin()] if dicomweb else [],
        "HttpPort": http_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAet": ae_title,
        "DicomPort": dicom_port,
        "DicomCheckCalledAet": False,
        "DicomAlwaysAllowEcho": True,
        "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowMove": True,
        "DicomModalities": _modality_of_node(node_ae_title, node_port),
        "LuaScripts": _lua_scripts(folder, lua),
        "StableAge": 1,
        "JobsHistorySize": 1000,
        **overrides,
    }
    (folder / "orthanc.json").write_text(json.dumps(options, indent=2))
    program = Program.start([binary, str(folder / "orthanc.json")], folder)
    orthanc = Orthanc(program, folder, http_port, dicom_port, ae_title)
    try:
        wait_until(lambda: program.require_alive() and orthanc._answers(), "Orthanc's start")
    except BaseException:
        program.stop()
        raise
    return orthanc


def _modality_of_node(ae_title: str, port: int | None) -> dict[str, Any]:
    if port is None:
        return {}
    return {"node": {"AET": ae_title, "Host": "127.0.0.1", "Port": port, "AllowStorageCommitment": True}}


def _lua_scripts(folder: Path, lua: str | None) -> list[str]:
    if lua is None:
        return []
    script = folder / "routing.lua"
    script.write_text(lua)
    return [str(script)]


def _dicomweb_plugin() -> str:
    for folder in DICOMWEB_PLUGIN_FOLDERS:
        found = sorted(Path(folder).glob("libOrthancDicomWeb.so*"))
        if found:
            return str(found[0])
    missing("Orthanc's DICOMweb plugin is not installed (apt install orthanc-dicomweb)")
    raise AssertionError


# ---------------------------------------------------------------- DCMTK


@dataclass
class StoreScp:
    """DCMTK's storescp: a receiver that writes what it gets into a folder, bit by bit."""

    program: Program
    port: int
    ae_title: str
    folder: Path

    def files(self) -> list[Path]:
        """What has arrived."""
        return sorted(path for path in self.folder.iterdir() if path.is_file())

    def stop(self) -> None:
        """End it."""
        self.program.stop()


def start_storescp(
    tmp_path: Path, *, ae_title: str = "STORESCP", port: int | None = None, options: Sequence[str] = ()
) -> StoreScp:
    """Start DCMTK's storescp; the caller stops it."""
    binary = require("storescp", apt="dcmtk")
    port = port or free_port()
    folder = tmp_path / "storescp-received"
    folder.mkdir(parents=True, exist_ok=True)
    arguments = [
        binary,
        "--aetitle",
        ae_title,
        "--output-directory",
        str(folder),
        "--bit-preserving",
        *options,
        str(port),
    ]
    program = Program.start(arguments, tmp_path)
    wait_until(lambda: program.require_alive() and listens(port), "storescp's start")
    return StoreScp(program, port, ae_title, folder)


@dataclass
class QueryRetrieveScp:
    """DCMTK's dcmqrscp: a small archive with C-STORE, C-FIND, C-GET and C-MOVE."""

    program: Program
    port: int
    ae_title: str

    def stop(self) -> None:
        """End it."""
        self.program.stop()


def start_dcmqrscp(
    tmp_path: Path, *, node_port: int, node_ae_title: str = "PROGNODE", ae_title: str = "DCMQRSCP"
) -> QueryRetrieveScp:
    """Start DCMTK's dcmqrscp, which knows the node as a move destination; the caller stops it."""
    binary = require("dcmqrscp", apt="dcmtk")
    folder = tmp_path / "dcmqrscp"
    storage = folder / "storage"
    storage.mkdir(parents=True)
    port = free_port()
    configuration = folder / "dcmqrscp.cfg"
    configuration.write_text(
        f"NetworkTCPPort = {port}\n"
        "MaxPDUSize = 131072\n"
        "MaxAssociations = 16\n"
        "HostTable BEGIN\n"
        f"node = ({node_ae_title}, 127.0.0.1, {node_port})\n"
        "HostTable END\n"
        "VendorTable BEGIN\n"
        "VendorTable END\n"
        "AETable BEGIN\n"
        f"{ae_title} {storage} RW (200, 1024mb) ANY\n"
        "AETable END\n"
    )
    program = Program.start([binary, "--config", str(configuration)], folder)
    wait_until(lambda: program.require_alive() and listens(port), "dcmqrscp's start")
    return QueryRetrieveScp(program, port, ae_title)


def dcmtk(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a DCMTK command (``storescu``, ``echoscu``, ``dcmsend``, ...) to its end; the caller looks at the exit code."""
    return subprocess.run(
        [require(program, apt="dcmtk"), *map(str, arguments)],
        env={**os.environ, **PROMPT},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
        check=False,
    )
