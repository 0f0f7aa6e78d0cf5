"""What the chart gives to operators: scalers, topics, monitors, alerts, the dashboard; and the migration's and test's hooks."""

from __future__ import annotations

import json

import pytest
import yaml
from chart_rendering import CHART, PRODUCTION, QUICKSTART, ROOT, SERVICES, matches, of_kind, pods, rendered
from repository import tool

from prognode.events.topics import topic_plan

pytestmark = pytest.mark.component

CONSUMED = {
    "preprocess": {("preprocess", "case-ready")},
    "scoring": {
        ("scoring", "crop-ready"),
        ("scoring", "case-refused"),
        ("scoring", "clinical-updated"),
        ("illustration", "report-delivered"),
    },
    "dispatcher": {("dispatcher", "report-ready"), ("dispatcher", "delivery-requested")},
}
"""(group, topic) of each service that consumes."""


def test_services_scale_on_the_lag_of_what_they_consume():
    """One trigger for each group and topic, by the names that the groups have on Kafka; no fixed replicas beside it."""
    documents = rendered(PRODUCTION)
    scalers = of_kind(documents, "ScaledObject")
    assert set(scalers) == set(CONSUMED)
    for component, scaler in scalers.items():
        spec = scaler["spec"]
        target = of_kind(documents, "Deployment")[spec["scaleTargetRef"]["name"].removeprefix("prognode-")]
        assert "replicas" not in target["spec"]
        triggers = {(one["metadata"]["consumerGroup"], one["metadata"]["topic"]) for one in spec["triggers"]}
        assert triggers == {
            (f"prognode.{group}", f"prognode.{topic}") for group, topic in CONSUMED[component]
        }
        assert 1 <= spec["minReplicaCount"] <= spec["maxReplicaCount"] <= topic_plan("case-ready").partitions
        for one in spec["triggers"]:
            assert one["type"] == "kafka"
            # a lag of which nobody committed anything yet counts too
            assert one["metadata"]["offsetResetPolicy"] == "earliest"
            assert all(isinstance(value, str) for value in one["metadata"].values())


def test_scalers_show_themselves_to_the_brokers():
    """SASL and TLS as the services themselves, from the same Secrets."""
    documents = rendered(PRODUCTION)
    (trigger, *_) = of_kind(documents, "ScaledObject")["dispatcher"]["spec"]["triggers"]
    assert trigger["metadata"]["sasl"] == "scram_sha512"
    assert trigger["metadata"]["tls"] == "enable"
    named = trigger["authenticationRef"]["name"].removeprefix("prognode-")
    parts = of_kind(documents, "TriggerAuthentication")[named]["spec"]["secretTargetRef"]
    assert {(one["parameter"], one["name"]) for one in parts} == {
        ("username", "prognode-kafka"),
        ("password", "prognode-kafka"),
        ("ca", "prognode-kafka-ca"),
    }


def test_scalers_follow_the_prefix():
    """Another topic_prefix is another name for groups and topics."""
    documents = rendered(PRODUCTION, "config.kafka.topic_prefix=hospital")
    for scaler in of_kind(documents, "ScaledObject").values():
        for one in scaler["spec"]["triggers"]:
            assert one["metadata"]["topic"].startswith("hospital.")
            assert one["metadata"]["consumerGroup"].startswith("hospital.")
    topics = {one["spec"]["topicName"] for one in of_kind(documents, "KafkaTopic").values()}
    assert all(name.startswith("hospital.") for name in topics)


def test_consumers_are_those_of_the_code():
    """The groups and topics above are what the handlers say."""
    services = tool("chart_files")
    topics = yaml.safe_load(services.topics_text())
    found: dict[str, set[tuple[str, str]]] = {}
    for topic, plan in topics.items():
        for group in plan["groups"]:
            found.setdefault(group["service"], set()).add((group["name"], topic))
    assert found == CONSUMED


def test_triton_scales_by_one_scaler_alone():
    """The HPA is Triton's; no Deployment has two."""
    documents = rendered(PRODUCTION)
    (hpa,) = of_kind(documents, "HorizontalPodAutoscaler").values()
    target = hpa["spec"]["scaleTargetRef"]["name"]
    assert target == "prognode-triton"
    assert "replicas" not in of_kind(documents, "Deployment")["triton"]["spec"]
    scaled = [one["spec"]["scaleTargetRef"]["name"] for one in of_kind(documents, "ScaledObject").values()]
    assert target not in scaled
    (metric,) = hpa["spec"]["metrics"]
    guide = (CHART / "README.md").read_text(encoding="utf-8")
    assert metric["pods"]["metric"]["name"] in guide
    assert "nv_inference_queue_duration_us" in guide


def test_topics_are_as_the_code_would_make_them():
    """Every topic of the schemas, with its partitions and configuration; then the services make none."""
    documents = rendered(PRODUCTION)
    found = {one["spec"]["topicName"]: one for one in of_kind(documents, "KafkaTopic").values()}
    assert set(found) == {
        f"prognode.{path.name.split('.')[0]}" for path in (ROOT / "schemas" / "events").glob("*.json")
    }
    for name, topic in found.items():
        plan = topic_plan(name.removeprefix("prognode."))
        assert topic["spec"]["partitions"] == plan.partitions
        config = topic["spec"]["config"]
        assert config.pop("min.insync.replicas") == 2
        assert config == plan.configs
        assert topic["metadata"]["labels"]["strimzi.io/cluster"] == "prognode"
        assert topic["metadata"]["namespace"] == "kafka"
    assert of_kind(documents, "ConfigMap")["settings"]["data"]["PROGNODE_KAFKA__CREATE_TOPICS"] == "false"


def test_prometheus_finds_every_process():
    """The monitor chooses the services with metrics, names jobs as alerts and dashboard do, and needs no port but theirs."""
    documents = rendered(PRODUCTION)
    (monitor,) = of_kind(documents, "ServiceMonitor").values()
    chosen = {
        name: {port["name"] for port in one["spec"]["ports"]}
        for name, one in of_kind(documents, "Service").items()
        if matches(monitor["spec"]["selector"], one["metadata"]["labels"])
    }
    jobs = {one["port"]: one["relabelings"][0]["replacement"] for one in monitor["spec"]["endpoints"]}
    assert jobs == {"probes": "prognode", "metrics": "triton"}
    assert {name for name, ports in chosen.items() if "probes" in ports} == set(SERVICES)
    assert {name for name, ports in chosen.items() if "metrics" in ports} == {"triton"}


def test_alerts_and_dashboard_are_the_files():
    """The one source of both is in files/; nothing of it is changed on the way, braces included."""
    documents = rendered(PRODUCTION)
    (rule,) = of_kind(documents, "PrometheusRule").values()
    assert rule["spec"] == yaml.safe_load((CHART / "files" / "alerts.yaml").read_text(encoding="utf-8"))
    dashboard = of_kind(documents, "ConfigMap")["dashboard"]
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    written = json.loads((CHART / "files" / "dashboard.json").read_text(encoding="utf-8"))
    assert json.loads(dashboard["data"]["prognode.json"]) == written


def test_the_migration_needs_nothing_of_the_release():
    """Before an installation there is no account, ConfigMap or Secret of the release: the hook uses what was there."""
    job = of_kind(rendered(PRODUCTION), "Job")["migration"]
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    spec = job["spec"]["template"]["spec"]
    assert "serviceAccountName" not in spec
    (container,) = spec["containers"]
    assert container["command"] == ["prognode", "db", "upgrade"]
    assert "envFrom" not in container
    (address,) = container["env"]
    assert address["valueFrom"]["secretKeyRef"] == {"name": "prognode-postgresql", "key": "url"}
    assert [one for one in spec["volumes"] if "emptyDir" not in one] == []


def test_the_migration_of_a_trial_waits_for_its_data_base():
    """There it is a Job of the release, of another name in each revision, because a Job cannot be changed."""
    (job,) = of_kind(rendered(QUICKSTART), "Job").values()
    assert job["metadata"]["name"] == "prognode-migration-1"
    assert "annotations" not in job["metadata"]
    assert "until prognode db upgrade" in job["spec"]["template"]["spec"]["containers"][0]["command"][-1]


def test_helm_test_checks_the_node():
    """`helm test` runs `prognode check` against the address that a PACS uses, and says how many PACS get the report."""
    documents = rendered(PRODUCTION)
    (pod,) = (one for one in documents if one["kind"] == "Pod")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    command = pod["spec"]["containers"][0]["command"]
    assert command[:3] == ["prognode", "check", "PROGNODE@prognode-dicom:104"]
    assert "--deliveries=1" in command
    console = of_kind(documents, "Service")["console-api"]
    port = next(one["port"] for one in console["spec"]["ports"] if one["name"] == "http")
    assert f"--console=http://{console['metadata']['name']}:{port}" in command


def test_helm_test_speaks_the_command_line():
    """Every option of the pod is one that `prognode check` has."""
    from typer.main import get_command

    from apps.cli.main import app

    known = {name for one in get_command(app).commands["check"].params for name in one.opts}
    fetching = CHART / "ci" / "fetching.yaml"
    for values in (PRODUCTION, QUICKSTART, fetching):
        (pod,) = (one for one in rendered(values) if one["kind"] == "Pod")
        options = {
            word.partition("=")[0]
            for word in pod["spec"]["containers"][0]["command"]
            if word.startswith("--")
        }
        assert options <= known
    assert "--calling=ARCHIVE" in pod["spec"]["containers"][0]["command"]


def test_steps_speak_the_command_line():
    """Every command of an initial container or Job is one that the program has, with options that it has."""
    from typer.main import get_command

    from apps.cli.main import app

    commands = get_command(app).commands
    for values in (PRODUCTION, QUICKSTART):
        for component, pod in pods(rendered(values)):
            for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]:
                words = container.get("command", [])
                if words[:1] != ["prognode"]:
                    continue
                command = commands[words[1]]
                if hasattr(command, "commands"):
                    command = command.commands[words[2]]
                known = {name for one in command.params for name in one.opts}
                given = {word.partition("=")[0] for word in words if word.startswith("--")}
                assert given <= known, component
