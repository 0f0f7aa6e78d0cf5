"""Who may speak to whom: what the policies permit is what the code needs, and nothing more."""

from __future__ import annotations

import ipaddress
import threading
from itertools import product
from unittest.mock import MagicMock

import pytest
from chart_rendering import CHART, PRODUCTION, QUICKSTART, SERVICES, matches, of_kind, pods, rendered

from apps.compose import SERVICES as COMPOSED
from apps.config import NodeConfig

pytestmark = pytest.mark.component

FETCHING = CHART / "ci" / "fetching.yaml"
SERVER_OF = {
    "index": "postgresql",
    "bus": "kafka",
    "objects": "s3",
    "reader": "s3",
    "model": "triton",
}
"""Which server is behind a port of apps/outside.py, where all of them are on servers."""
NAMESPACE_OF = {"prometheus": "monitoring", "kafka": "kafka", "dns": "kube-system"}


class Recording:
    """An Outside that notes which of its ports a service asks for."""

    def __init__(self) -> None:
        self.config = NodeConfig(data="/nowhere", recipe="recipe.json", extractor="network.onnx")
        self.asked: set[str] = set()

    def __getattr__(self, name: str) -> object:
        self.asked.add(name)
        return (MagicMock(), MagicMock()) if name == "model" else MagicMock()


def servers_of(service: str) -> set[str]:
    """The servers that the code of a service uses."""
    outside = Recording()
    made = COMPOSED[service](outside)
    stopped = threading.Event()
    stopped.set()
    if "outbox" in made.loops:
        made.loops["outbox"](stopped)
    return {SERVER_OF[name] for name in outside.asked if name in SERVER_OF}


def rules(documents, labels, direction: str):
    """All ingress or egress rules that hold for a pod; None where no policy chooses it."""
    chosen = [
        one["spec"]
        for one in of_kind(documents, "NetworkPolicy").values()
        if matches(one["spec"]["podSelector"], labels) and direction.title() in one["spec"]["policyTypes"]
    ]
    return [rule for spec in chosen for rule in spec.get(direction, [])] if chosen else None


def permits(found, peer: str, labels, port: int, protocol: str = "TCP") -> bool:
    """Whether one of the rules lets ``peer`` through: a pod by its labels, an address, or a name space."""
    for rule in found:
        peers = rule.get("from", rule.get("to"))
        assert peers, "a rule without peers permits everybody"
        ports = {(one["protocol"], one["port"]) for one in rule["ports"]}
        if (protocol, port) in ports and any(_is(one, peer, labels) for one in peers):
            return True
    return False


def _is(one, peer: str, labels) -> bool:
    if "ipBlock" in one:
        address = peer.replace(".", "").isdecimal()
        return address and ipaddress.ip_address(peer) in ipaddress.ip_network(one["ipBlock"]["cidr"])
    if "namespaceSelector" in one:
        return matches(one["namespaceSelector"], {"kubernetes.io/metadata.name": peer})
    return peer == "pod" and matches(one["podSelector"], labels)


def labels_of(documents) -> dict[str, dict[str, str]]:
    return {component: pod["metadata"]["labels"] for component, pod in pods(documents)}


def test_the_edges_of_a_trial_are_those_of_the_code():
    """Of all pairs of pods and ports, those and only those that the code of the services, or the check, opens."""
    documents = rendered(QUICKSTART)
    labels = labels_of(documents)
    ports = {
        "kafka": 9092,
        "postgresql": 5432,
        "s3": 7070,
        "triton": 8001,
        "receiver": 11112,
        "console-api": 8080,
    }
    needed = {(service, server) for service in SERVICES for server in servers_of(service)}
    needed |= {("migration", "postgresql"), ("test", "receiver"), ("test", "console-api")}
    permitted = {
        (source, target)
        for source, (target, port) in product(labels, ports.items())
        if permits(rules(documents, labels[source], "egress"), "pod", labels[target], port)
        and permits(rules(documents, labels[target], "ingress"), "pod", labels[source], port)
    }
    assert permitted == needed


@pytest.mark.parametrize("values", [QUICKSTART, PRODUCTION, FETCHING], ids=lambda path: path.stem)
def test_nothing_is_open_to_everybody(values):
    """Every pod is under the default denial in both directions, and no rule forgets its peers or ports."""
    documents = rendered(values)
    deny = of_kind(documents, "NetworkPolicy")["default-deny"]["spec"]
    assert deny["policyTypes"] == ["Ingress", "Egress"]
    assert not {"ingress", "egress"} & set(deny)
    for labels in labels_of(documents).values():
        assert matches(deny["podSelector"], labels)
        for direction in ("ingress", "egress"):
            for rule in rules(documents, labels, direction):
                assert rule.get("from", rule.get("to"))
                assert rule["ports"]


def test_production_reaches_its_servers_and_the_pacs():
    """PostgreSQL, S3 and Kafka by those that need them; the PACS by the dispatcher alone, because nothing is fetched."""
    documents = rendered(PRODUCTION)
    labels = labels_of(documents)
    outside = {"postgresql": ("192.0.2.20", 5432), "kafka": ("kafka", 9093), "s3": ("192.0.2.30", 443)}
    for service in SERVICES:
        found = rules(documents, labels[service], "egress")
        reached = {server for server, (peer, port) in outside.items() if permits(found, peer, {}, port)}
        assert reached == servers_of(service) - {"triton"}, service
        assert permits(found, "kube-system", {}, 53, "UDP")
        assert permits(found, "192.0.2.10", {}, 104) == (service == "dispatcher")


def test_a_receiver_that_fetches_reaches_the_pacs():
    """C-GET and C-MOVE go out from the receiver, to the PACS that is asked and no other's port; reports go to both."""
    documents = rendered(FETCHING)
    labels = labels_of(documents)
    receiver, dispatcher = (rules(documents, labels[name], "egress") for name in ("receiver", "dispatcher"))
    assert permits(receiver, "192.0.2.10", {}, 104)
    assert not permits(receiver, "192.0.2.10", {}, 11112)
    assert permits(dispatcher, "192.0.2.10", {}, 104)


def test_only_the_pacs_may_send():
    """DICOM comes in from the named addresses, and keeps them: the service does not hide the sender."""
    documents = rendered(PRODUCTION)
    found = rules(documents, labels_of(documents)["receiver"], "ingress")
    assert permits(found, "192.0.2.10", {}, 11112)
    assert not permits(found, "192.0.2.11", {}, 11112)
    for values, kind in ((PRODUCTION, "LoadBalancer"), (QUICKSTART, "NodePort")):
        service = of_kind(rendered(values), "Service")["dicom"]["spec"]
        assert (service["type"], service["externalTrafficPolicy"]) == (kind, "Local")


def test_metrics_are_for_prometheus_and_the_console_for_whom_it_is_given():
    """Each from its own name space, on its own port."""
    documents = rendered(FETCHING)
    labels = labels_of(documents)
    for service in SERVICES:
        found = rules(documents, labels[service], "ingress")
        assert permits(found, "monitoring", {}, 9464)
        assert not permits(found, "ingress-nginx", {}, 9464)
        assert permits(found, "ingress-nginx", {}, 8080) == (service == "console-api")
    triton = labels_of(rendered(PRODUCTION))["triton"]
    found = rules(rendered(PRODUCTION), triton, "ingress")
    assert permits(found, "monitoring", {}, 8002)
    assert not permits(found, "monitoring", {}, 8001)
    assert rules(rendered(PRODUCTION), triton, "egress") == []


def test_traces_go_to_the_collector():
    """Where an endpoint is set, every service of the node reaches it."""
    documents = rendered(FETCHING)
    for service in SERVICES:
        assert permits(rules(documents, labels_of(documents)[service], "egress"), "tracing", {}, 4318)
