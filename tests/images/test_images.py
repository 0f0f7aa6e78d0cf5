"""The built images: what is in them, and one study through a node of containers, as compose.yaml puts it together."""

from __future__ import annotations

import contextlib
import json
import stat
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from components import Orthanc, free_port, listens, start_orthanc, wait_until
from compose_file import FOLDER, compose_file, orthanc_options
from images.containers import Container, buildah, file_system, image_config, volume
from node import read, said_of, send_over
from repository import ROOT
from servers.kafka import start_broker
from servers.postgres import empty_database
from servers.s3 import BINARY
from servers.triton import start_triton
from studies import small_study

from apps.compose import SERVICES
from prognode.domain.identity import case_id

pytestmark = pytest.mark.component

SERVICE_IMAGES = {name: one["image"] for name, one in compose_file()["services"].items() if "build" in one}
BUILD_TOOLS = {"pip", "pip3", "gcc", "cc", "g++", "make", "ld", "as", "git", "curl", "wget"}
LARGEST_MB = 680


# ---------------------------------------------------------------- what is in them


@pytest.mark.parametrize("service", SERVICES)
def test_the_image_says_what_it_is(service):
    """User, entry point, health check and labels."""
    config = image_config(SERVICE_IMAGES[service])
    labels = config["Labels"]
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["prognode", "serve", service]
    assert config["Healthcheck"]["Test"][0] == "CMD"
    assert labels["org.opencontainers.image.title"] == f"prognode-{service}"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert len(labels["org.opencontainers.image.revision"]) == 40


def test_the_images_share_their_layers():
    """A machine that holds one of them holds them all: they differ in labels, ports and entry points only."""
    layers = [
        json.loads(buildah("inspect", "--type", "image", image))["OCIv1"]["rootfs"]["diff_ids"]
        for image in SERVICE_IMAGES.values()
    ]
    common = set.intersection(*map(set, layers))
    assert all(set(one) == common for one in layers)


def test_nothing_in_them_builds_or_installs():
    """No compiler, no installer, no build backend, no tests; and no file that belongs to the service's user but its folder."""
    with file_system(SERVICE_IMAGES["receiver"]) as root:
        programs = {
            path.name
            for folder in ("usr/bin", "usr/local/bin", "opt/prognode/bin")
            for path in (root / folder).glob("*")
        }
        assert programs & BUILD_TOOLS == set()
        packages = root / "opt/prognode/lib/python3.11/site-packages"
        names = {path.name.partition("-")[0] for path in packages.glob("*.dist-info")}
        assert "prognode" in names
        assert (
            names & {"pip", "setuptools", "hatchling", "editables", "pathspec", "trove_classifiers"} == set()
        )
        assert not (packages / "tests").exists()
        assert [path for path in packages.rglob("tests") if path.is_dir()] == []
        owned = [path for path in root.rglob("*") if path.lstat().st_uid == 10001]
        assert owned == [root / "var/lib/prognode"]
        writable = [
            path
            for path in (root / "opt").rglob("*")
            if not path.is_symlink() and path.stat().st_mode & stat.S_IWOTH
        ]
        assert writable == []


def test_the_common_layer_is_not_larger_than_stated():
    """docker/README.md states its size; a dependency that makes it larger is noticed."""
    with file_system(SERVICE_IMAGES["receiver"]) as root:
        used = subprocess.run(["du", "-sm", root / "opt"], check=True, capture_output=True, text=True).stdout
    assert int(used.split()[0]) < LARGEST_MB


def test_docker_compose_reads_the_file(tmp_path):
    """Docker's own program finds no fault in compose.yaml, in either profile, and refuses it without passwords."""
    program = ROOT / ".cache" / "compose" / "docker-compose"
    for profile, engine in (("cpu", "triton-cpu"), ("gpu", "triton-gpu")):
        command = [program, "--file", FOLDER / "compose.yaml", "--env-file", FOLDER / ".env.example"]
        read_by_it = subprocess.run(
            [*command, "--profile", profile, "config", "--format", "json"],
            check=False,
            env={"COMPOSE_PROFILES": profile, "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        assert (read_by_it.returncode, read_by_it.stderr) == (0, "")
        assert {engine, *SERVICES} <= set(json.loads(read_by_it.stdout)["services"])
    refused = subprocess.run(
        [program, "--file", FOLDER / "compose.yaml", "--env-file", "/dev/null", "config"],
        check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert refused.returncode != 0
    assert "copy .env.example to .env" in refused.stderr


# ---------------------------------------------------------------- one study through all of them


@dataclass
class ComposedNode:
    """What compose.yaml starts, from the built images, on servers that run here under other addresses."""

    folder: Path
    services: Mapping[str, Any]
    closing: contextlib.ExitStack
    addresses: dict[str, str] = field(default_factory=dict)
    """What is written in compose.yaml, and what is in its place here."""
    volumes: dict[str, Path] = field(default_factory=dict)
    containers: dict[str, Container] = field(default_factory=dict)
    pacs_port: int = field(default_factory=free_port)

    def start(self, name: str, service: Mapping[str, Any] | None = None, **changes: str) -> Container:
        """Start the container of one entry, or of another one in its place; ``changes`` are to its environment."""
        service = service or self.services[name]
        written = {key: str(value) for key, value in service.get("environment", {}).items()}
        environment = {key: self._here(value) for key, value in written.items()} | changes
        root = self.closing.enter_context(file_system(service["image"]))
        container = Container(name, service, root, self.folder, environment, self.volumes)
        self.closing.callback(container.discard)
        self.containers[name] = container.start()
        return container

    def start_service(self, name: str) -> None:
        """Start a service on free ports: all containers are on one network here."""
        ports = ("PROGNODE_PROBES__PORT", "PROGNODE_RECEIVER__PORT", "PROGNODE_CONSOLE__PORT")
        self.start(name, **{variable: str(free_port()) for variable in ports})

    def start_kafka(self) -> None:
        """The broker of the tests with the properties that the Kafka image makes of its environment."""
        folder = self.folder / "kafka"
        folder.mkdir()
        port, controller = free_port(), free_port()
        here = {
            "//kafka:9092": f"//127.0.0.1:{port}",
            "://:9092": f"://127.0.0.1:{port}",
            ":9093": f":{controller}",
            "/var/lib/kafka/data": str(folder / "data"),
        }
        properties = {}
        for name, value in self.services["kafka"]["environment"].items():
            for written, real in here.items():
                value = str(value).replace(written, real)  # noqa: PLW2901 - one replacement after the other
            properties[name.removeprefix("KAFKA_").lower().replace("_", ".")] = value
        broker = start_broker(folder, port, properties)
        self.closing.callback(broker.kill9)
        self.addresses["kafka:9092"] = broker.address

    def start_s3(self) -> None:
        """The S3 server of the tests, run as compose runs its image: another user, read-only, its data in a volume."""
        port = free_port()
        entry = self.services["s3"]
        self.volumes["program"] = BINARY
        service = {
            **entry,
            "image": SERVICE_IMAGES["receiver"],
            "entrypoint": ["/versitygw"],
            "command": [word.replace(":7070", f"127.0.0.1:{port}") for word in entry["command"]],
            "volumes": [*entry["volumes"], "program:/versitygw:ro"],
        }
        self.start("s3", service)
        wait_until(lambda: listens(port), "the S3 server's start")
        self.addresses["http://s3:7070"] = f"http://127.0.0.1:{port}"

    def port(self, name: str, table: str) -> int:
        """A port of a service."""
        return int(self.containers[name].environment[f"PROGNODE_{table}__PORT"])

    def get(self, name: str, table: str, path: str) -> Any:
        """JSON that a service answers."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port(name, table)}{path}", timeout=30) as answer:
            return json.load(answer)

    def _here(self, text: str) -> str:
        for written, real in self.addresses.items():
            text = text.replace(written, real)
        return text


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposedNode]:
    """Steps and services in the order of compose.yaml."""
    folder = tmp_path_factory.mktemp("composed")
    with contextlib.ExitStack() as closing:
        node = ComposedNode(folder, compose_file()["services"], closing)
        owner = node.services["bucket"]["user"]
        node.volumes |= {"s3": volume(folder / "objects", owner), "model": volume(folder / "model", owner)}
        node.start("bucket").wait_done()
        # the Triton that is here has no other engine; the images under test are the same
        node.start("model-cpu", ENGINE="python").wait_done()
        triton = start_triton(node.volumes["model"])
        closing.callback(triton.stop)
        node.start_kafka()
        node.start_s3()
        node.addresses |= {
            "postgresql://prognode:demonstration@postgres:5432/prognode": empty_database("images"),
            "triton:8001": triton.address,
            '"host": "orthanc", "port": 4242': f'"host": "127.0.0.1", "port": {node.pacs_port}',
        }
        node.start("migrate").wait_done()
        for name in SERVICES:
            node.start_service(name)
        for name in SERVICES:
            node.containers[name].wait_up()
        yield node


@pytest.fixture(scope="module")
def pacs(node: ComposedNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """The demonstration PACS with its own configuration, but for ports, folders and the password."""
    options = {name: value for name, value in orthanc_options().items() if name != "StorageDirectory"}
    running = start_orthanc(
        tmp_path_factory.mktemp("pacs"),
        configuration={
            **options,
            "AuthenticationEnabled": False,
            "RemoteAccessAllowed": False,
            "HttpPort": free_port(),
            "DicomPort": node.pacs_port,
            "DicomModalities": {"node": ["PROGNODE", "127.0.0.1", node.port("receiver", "RECEIVER")]},
            "LuaScripts": [str(FOLDER / "orthanc" / "route.lua")],
        },
    )
    yield running
    running.discard()


def test_a_study_goes_in_and_its_report_comes_back(node, pacs):
    """The PACS routes a synthetic study to the node of containers, and gets report and figure."""
    study = small_study(seed=9001)
    answers = send_over(pacs.dicom_port, study.instances)
    assert {answer.status for answer in answers} == {0}
    wait_until(
        lambda: len(pacs.instances()) == len(study.instances) + 2, "report and figure in the PACS", 120
    )
    (report,) = (read(pacs.file(one)) for one in pacs.instances(Modality="SR"))
    assert report.StudyInstanceUID == study.study_uid
    assert said_of(report) == {"status": "preliminary"}
    shown = node.get("console-api", "CONSOLE", f"/api/cases/{case_id(study.study_uid)}")
    assert shown["state"] == "preliminary"
    listed = node.containers["scoring"].run("prognode", "case", "list")
    assert case_id(study.study_uid) in listed.stdout, listed.stderr


def test_every_container_is_healthy_by_its_own_check(node):
    """The image's health check says so from inside, and everything that each service runs on answers."""
    for name in SERVICES:
        container = node.containers[name]
        check = container.run(*image_config(container.service["image"])["Healthcheck"]["Test"][1:])
        assert check.returncode == 0, check.stderr
        assert node.get(name, "PROBES", "/readyz") == {"not ready": {}}


def test_the_health_check_can_fail(node):
    """Where nobody listens, it says so."""
    container = node.containers["receiver"]
    command = image_config(container.service["image"])["Healthcheck"]["Test"][1:]
    check = container.run("env", f"PROGNODE_PROBES__PORT={free_port()}", *command)
    assert check.returncode != 0


def test_the_containers_hold_no_rights(node):
    """What the kernel says of each first process: the user, no capability, none to be had; and no file can be made."""
    for name in SERVICES:
        container = node.containers[name]
        status = container.run("cat", "/proc/1/status").stdout
        said = dict(line.split(":\t", 1) for line in status.splitlines())
        assert said["Uid"].split() == ["10001"] * 4
        assert {int(said[kind], 16) for kind in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
        assert said["NoNewPrivs"] == "1"
        for place in ("/", "/opt/prognode", "/var/lib/prognode", "/etc"):
            assert container.run("touch", f"{place}/written").returncode != 0, (name, place)


def test_sigterm_ends_every_container_well(node):
    """Exit 0 within the time that compose allows. Last: nothing runs after it."""
    statuses = {name: node.containers[name].stop() for name in SERVICES}
    assert statuses == dict.fromkeys(SERVICES, 0)
