"""docker/compose.yaml: what is promised of it before anything runs."""

from __future__ import annotations

import json
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from components import auto_routing_lua, require
from compose_file import FOLDER, compose_file, example_values, orthanc_options, stages, variables
from repository import ROOT

from apps.compose import SERVICES
from apps.config import NodeConfig, config_from_environment
from prognode.adapters.triton_repository import ENGINES

COMPOSE = compose_file()
OURS = {name: one for name, one in COMPOSE["services"].items() if "ghcr.io/prognode/" in one["image"]}


def settings_of(service: str) -> NodeConfig:
    """What the service reads from its environment."""
    environment = COMPOSE["services"][service]["environment"]
    return config_from_environment({name: str(value) for name, value in environment.items()})


def sources(volumes: list[str]) -> list[str]:
    """What is mounted: a volume's name, or a path."""
    return [volume.split(":")[0] for volume in volumes]


def test_every_service_is_there():
    """Each service of the composition root runs from its own target and image."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    built = {name: one for name, one in OURS.items() if "build" in one}
    assert set(built) == set(SERVICES)
    for name, one in built.items():
        assert one["image"] == f"ghcr.io/prognode/prognode-{name}:{version}"
        assert one["build"]["target"] == name
        assert (FOLDER / one["build"]["context"] / one["build"]["dockerfile"]).is_file()
    targets = [f"ghcr.io/prognode/prognode-{name}:{version}" for name in stages()]
    assert {one["image"] for one in OURS.values()} <= set(targets)


@pytest.mark.parametrize("service", SERVICES)
def test_settings_are_settings(service):
    """Every variable is one that the service knows, and they lead to the servers of this file."""
    config = settings_of(service)
    address = config.index_url.get_secret_value().rpartition("@")[2]
    hosts = {address.split(":")[0], config.kafka.bootstrap.split(":")[0], config.triton.url.split(":")[0]}
    hosts |= {config.s3.endpoint.removeprefix("http://").split(":")[0]}
    hosts |= {pacs.host for pacs in config.pacs}
    assert hosts <= set(COMPOSE["services"]) | {"triton"}


def test_our_containers_hold_no_rights():
    """User 10001, nothing to write on but memory, no capability, none to be had."""
    for name, one in OURS.items():
        assert one["user"] == "10001:10001", name
        assert one["read_only"] is True, name
        assert one["cap_drop"] == ["ALL"], name
        assert one["security_opt"] == ["no-new-privileges:true"], name
        assert one["tmpfs"] == ["/tmp"], name
        assert "privileged" not in one, name


def test_no_container_gains_rights():
    """What is not ours may need a file system to write on, but nobody gets more rights than it starts with."""
    for name, one in COMPOSE["services"].items():
        assert one["security_opt"] == ["no-new-privileges:true"], name
        assert "cap_add" not in one, name


def test_images_are_pinned():
    """Each image names a version."""
    for name, one in COMPOSE["services"].items():
        tag = one["image"].rpartition(":")[2]
        assert any(letter.isdigit() for letter in tag), name
        assert "/" not in tag, name


def test_only_dicom_is_reached_from_outside():
    """Every port but the receiver's is bound to the machine itself."""
    for name, one in COMPOSE["services"].items():
        open_ports = [port for port in one.get("ports", []) if not port.startswith("127.0.0.1:")]
        assert open_ports == (["11112:11112"] if name == "receiver" else []), name


def test_servers_have_no_way_out():
    """What the node runs on is on the inner network alone, and that has no way out."""
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    for name in ("kafka", "postgres", "s3", "triton-cpu", "triton-gpu", "preprocess", "scoring", "migrate"):
        assert list(COMPOSE["services"][name]["networks"]) == ["inside"], name


def test_the_schema_comes_before_the_services():
    """No service starts before `prognode db upgrade` and the bucket are done."""
    for name in SERVICES:
        needed = COMPOSE["services"][name]["depends_on"]
        assert needed["migrate"] == needed["bucket"] == {"condition": "service_completed_successfully"}
    assert COMPOSE["services"]["migrate"]["entrypoint"] == ["prognode", "db", "upgrade"]


def test_triton_loads_what_the_model_step_writes():
    """For each profile one step that writes the engine of that name, and a Triton that serves it as `triton`."""
    for profile in ("cpu", "gpu"):
        step, triton = (COMPOSE["services"][f"{name}-{profile}"] for name in ("model", "triton"))
        assert step["environment"] == {"ENGINE": profile}
        assert profile in ENGINES
        assert step["profiles"] == triton["profiles"] == [profile]
        assert sources(step["volumes"]) == sources(triton["volumes"]) == ["model"]
        assert triton["networks"]["inside"]["aliases"] == [
            settings_of("scoring").triton.url.partition(":")[0]
        ]


def test_what_is_mounted_is_there():
    """Every file and folder exists, and every volume is declared."""
    for name, one in COMPOSE["services"].items():
        for source in sources(one.get("volumes", [])):
            if source.startswith("."):
                assert (FOLDER / source).exists(), f"{name}: {source}"
            else:
                assert source in COMPOSE["volumes"], f"{name}: {source}"


def test_the_example_names_every_variable():
    """`cp .env.example .env` is enough, and no value of it is kept in the repository under the real name."""
    assert variables() | {"COMPOSE_PROFILES"} == set(example_values())
    assert "docker/.env" in (ROOT / ".gitignore").read_text().split()


def test_the_pacs_routes_as_the_guide_says():
    """The demonstration PACS runs the script of docs/routing.md, and knows the node as the node calls itself."""
    assert (FOLDER / "orthanc" / "route.lua").read_text() == auto_routing_lua()
    receiver, (pacs,) = settings_of("receiver").receiver, settings_of("dispatcher").pacs
    options = orthanc_options()
    assert options["DicomModalities"] == {"node": [receiver.ae_title, "receiver", receiver.port]}
    assert (options["DicomAet"], options["DicomPort"]) == (pacs.ae_title, pacs.port)
    mounted = [volume.split(":")[1] for volume in COMPOSE["services"]["orthanc"]["volumes"]]
    assert set(options["LuaScripts"]) < set(mounted)


def test_prometheus_asks_every_service():
    """Each service of the node, on the port that its image listens on."""
    document = yaml.safe_load((FOLDER / "prometheus" / "prometheus.yml").read_text())
    (found,) = next(job for job in document["scrape_configs"] if job["job_name"] == "prognode")[
        "dns_sd_configs"
    ]
    assert found["names"] == list(SERVICES)
    assert f"PROGNODE_PROBES__PORT={found['port']}" in (FOLDER / "Dockerfile").read_text()


@pytest.mark.component
def test_promtool_takes_the_configuration():
    """Prometheus' own checker reads it."""
    promtool = require("promtool", apt="prometheus")
    path = FOLDER / "prometheus" / "prometheus.yml"
    checked = subprocess.run(
        [promtool, "check", "config", "--syntax-only", path], check=False, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def images_in(node: Any) -> Iterator[str]:
    """Every image that is named somewhere below, whole or as repository and tag."""
    if isinstance(node, dict):
        if isinstance(node.get("image"), str):
            yield node["image"]
        if node.get("repository") and node.get("tag"):
            yield f"{node['repository']}:{node['tag']}"
    for below in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from images_in(below)


def test_the_chart_runs_the_same_versions():
    """What the Helm chart and compose both start, they start in one version."""
    chart = yaml.safe_load((ROOT / "helm" / "prognode" / "values.yaml").read_text())
    here, there = (
        dict(image.rsplit(":", 1) for image in images_in(document)) for document in (COMPOSE, chart)
    )
    both = here.keys() & there.keys()
    assert len(both) >= 4
    assert {name: here[name] for name in both} == {name: there[name] for name in both}


def test_grafana_finds_dashboard_and_prometheus():
    """Where the dashboard is mounted is where Grafana looks, and its source is the Prometheus of this file."""
    provisioning = FOLDER / "grafana" / "provisioning"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "prognode.yaml").read_text())["providers"]
    mounted = [Path(volume.split(":")[1]) for volume in COMPOSE["services"]["grafana"]["volumes"]]
    assert Path(provider["options"]["path"]) in {path.parent for path in mounted}
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    dashboard = json.loads((ROOT / "helm" / "prognode" / "files" / "dashboard.json").read_text())
    asked = {uid for uid in datasource_uids(dashboard) if not uid.startswith("$")}
    assert asked <= {source["uid"], "-- Grafana --"}


def datasource_uids(node: Any) -> Iterator[str]:
    """Every data source that a dashboard asks, by its uid or by a variable."""
    if isinstance(node, dict):
        asked = node.get("datasource")
        if isinstance(asked, dict) and "uid" in asked:
            yield asked["uid"]
    for below in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from datasource_uids(below)
