"""The chart on a real API server: what it installs is taken, stored and admitted, upgraded and removed.

No machine belongs to the server: no pod runs here, so hooks are not waited for. What they would make is asked of the server.
"""

from __future__ import annotations

import base64
import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_server import ApiServer
from chart_rendering import CHART, MAIN_VALUES, PRODUCTION, QUICKSTART, SERVICES, VALUES, pods, rendered

GROUPS = {
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "StatefulSet": "/apis/apps/v1/namespaces/{}/statefulsets",
    "Job": "/apis/batch/v1/namespaces/{}/jobs",
    "Service": "/api/v1/namespaces/{}/services",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Secret": "/api/v1/namespaces/{}/secrets",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    "Ingress": "/apis/networking.k8s.io/v1/namespaces/{}/ingresses",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers",
    "ScaledObject": "/apis/keda.sh/v1alpha1/namespaces/{}/scaledobjects",
    "TriggerAuthentication": "/apis/keda.sh/v1alpha1/namespaces/{}/triggerauthentications",
    "ServiceMonitor": "/apis/monitoring.coreos.com/v1/namespaces/{}/servicemonitors",
    "PrometheusRule": "/apis/monitoring.coreos.com/v1/namespaces/{}/prometheusrules",
    "KafkaTopic": "/apis/kafka.strimzi.io/v1/namespaces/{}/kafkatopics",
}
"""Where the server lists each kind that the chart makes."""
DRY = "?dryRun=All&fieldValidation=Strict"


@pytest.fixture
def space(server: ApiServer, request: pytest.FixtureRequest) -> Iterator[str]:
    """A name space of the test's own, and the one of Strimzi's Kafka."""
    name = server.make_namespace(f"space-{abs(hash(request.node.name)) % 10**8}")
    if server.ask("GET", "/api/v1/namespaces/kafka")[0] == 404:
        server.make_namespace("kafka")
    yield name
    for release in ("prognode", "second"):
        server.helm("uninstall", release, "-n", name, "--no-hooks", "--ignore-not-found")
    for topic in server.items(GROUPS["KafkaTopic"].format("kafka")):
        server.ask("DELETE", f"{GROUPS['KafkaTopic'].format('kafka')}/{topic['metadata']['name']}")


def install(server: ApiServer, space: str, values: Path, *arguments: str) -> None:
    result = server.helm(
        "upgrade", "--install", "prognode", CHART, "-n", space, "-f", values, "--no-hooks", *arguments
    )
    assert result.returncode == 0, result.stderr
    assert "warning" not in result.stderr.lower(), result.stderr


def stored(server: ApiServer, space: str, kind: str) -> dict[str, dict[str, Any]]:
    """The release's objects of a kind that the server holds, by name."""
    where = "kafka" if kind == "KafkaTopic" else space
    found = server.items(GROUPS[kind].format(where))
    ours = [one for one in found if one["metadata"].get("labels", {}).get("app.kubernetes.io/part-of")]
    return {one["metadata"]["name"].removeprefix("prognode-"): one for one in ours}


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_the_server_takes_the_whole_release(server, space, values):
    """`helm install` with server-side apply: every object that was rendered is stored, and nothing else.

    The migration's hook is asked of the server and not stored, because nobody would run it.
    """
    install(server, space, values)
    for kind in GROUPS:
        wanted = {
            one["metadata"]["name"].removeprefix("prognode-")
            for one in rendered(values)
            if one["kind"] == kind and "helm.sh/hook" not in one["metadata"].get("annotations", {})
        }
        assert set(stored(server, space, kind)) == wanted, kind
    for one in rendered(values):
        if one["kind"] == "Job" and "annotations" in one["metadata"]:
            job = {**one, "metadata": {**one["metadata"], "namespace": space}}
            assert server.ask("POST", GROUPS["Job"].format(space) + DRY, job)[0] == 201
    # nothing is rendered of which this test does not know where it is
    assert {one["kind"] for one in rendered(values)} <= {*GROUPS, "Pod"}


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_every_pod_is_admitted_where_only_restricted_pods_are(server, space, values):
    """A pod of each template, hooks and test included, passes the server's admission, with unknown fields refused."""
    install(server, space, values)
    for component, pod in pods(rendered(values)):
        made = _pod(pod, space)
        if made["spec"].get("priorityClassName"):
            _make_priority_class(server, made["spec"]["priorityClassName"])
        if made["spec"].get("runtimeClassName"):
            _make_runtime_class(server, made["spec"]["runtimeClassName"])
        status, answer = server.ask("POST", f"/api/v1/namespaces/{space}/pods{DRY}", made)
        assert status == 201, (component, answer.get("message"))


def _pod(pod: dict[str, Any], space: str) -> dict[str, Any]:
    """The pod that a controller would make of a template; of a StatefulSet's claims it would make volumes too."""
    made = copy.deepcopy(pod)
    spec = made["spec"]
    known = {one["name"] for one in spec["volumes"]}
    mounted = {mount["name"] for one in spec["containers"] for mount in one.get("volumeMounts", [])}
    spec["volumes"] += [
        {"name": name, "persistentVolumeClaim": {"claimName": name}} for name in sorted(mounted - known)
    ]
    spec.setdefault("restartPolicy", "Always")
    metadata = {**made["metadata"], "name": "one", "namespace": space}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _make_priority_class(server: ApiServer, name: str) -> None:
    body = {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": name},
        "value": 1,
    }
    assert server.ask("POST", "/apis/scheduling.k8s.io/v1/priorityclasses", body)[0] in (201, 409)


def _make_runtime_class(server: ApiServer, name: str) -> None:
    body = {
        "apiVersion": "node.k8s.io/v1",
        "kind": "RuntimeClass",
        "metadata": {"name": name},
        "handler": name,
    }
    assert server.ask("POST", "/apis/node.k8s.io/v1/runtimeclasses", body)[0] in (201, 409)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda pod: pod["spec"].pop("securityContext"), "violates PodSecurity"),
        (lambda pod: pod["spec"]["containers"][0].pop("securityContext"), "violates PodSecurity"),
        (lambda pod: pod["spec"].update(unknownField=1), "unknown field"),
        (lambda pod: pod["spec"]["containers"][0].update(image=""), "image"),
    ],
)
def test_the_server_would_refuse_what_is_wrong(server, space, change, said):
    """Admission and validation are at work: the same pod without its security, or with a wrong field, is not taken."""
    (pod,) = (pod for name, pod in pods(rendered(QUICKSTART)) if name == "preprocess")
    made = _pod(pod, space)
    made["spec"].pop("serviceAccountName")
    path = f"/api/v1/namespaces/{space}/pods{DRY}"
    assert server.ask("POST", path, made)[0] == 201
    change(made)
    status, answer = server.ask("POST", path, made)
    assert status in (400, 403, 422)
    assert said in answer["message"]


@pytest.mark.parametrize("values", MAIN_VALUES, ids=lambda path: path.stem)
def test_an_upgrade_changes_what_was_asked_for(server, space, values):
    """A setting moves the ConfigMap and every service's pods; the trial's passwords stay, Triton's pods stay."""
    install(server, space, values)
    before = {kind: stored(server, space, kind) for kind in ("Deployment", "StatefulSet", "Secret")}
    install(server, space, values, "--set", "config.assembly.grace_s=20")
    after = {kind: stored(server, space, kind) for kind in before}
    settings = stored(server, space, "ConfigMap")["settings"]["data"]
    assert settings["PROGNODE_ASSEMBLY__GRACE_S"] == "20"
    for kind in ("Deployment", "StatefulSet"):
        for name, one in after[kind].items():
            same = one["metadata"]["generation"] == before[kind][name]["metadata"]["generation"]
            assert same == (name not in SERVICES), name
    data = {name: one["data"] for name, one in before["Secret"].items()}
    assert {name: one["data"] for name, one in after["Secret"].items()} == data
    if values == QUICKSTART:
        secret = data["quickstart"]
        password = base64.b64decode(secret["postgres_password"]).decode()
        assert len(password) == 24
        assert f":{password}@" in base64.b64decode(secret["url"]).decode()
        assert set(stored(server, space, "Job")) == {"migration-2"}


@pytest.mark.parametrize("values", MAIN_VALUES, ids=lambda path: path.stem)
def test_the_way_back(server, space, values):
    """`helm rollback` brings the settings of the revision before."""
    install(server, space, values)
    first = stored(server, space, "ConfigMap")["settings"]["data"]
    install(server, space, values, "--set", "config.assembly.grace_s=20")
    result = server.helm("rollback", "prognode", "1", "-n", space, "--no-hooks")
    assert result.returncode == 0, result.stderr
    assert stored(server, space, "ConfigMap")["settings"]["data"] == first


@pytest.mark.parametrize("values", MAIN_VALUES, ids=lambda path: path.stem)
def test_removal_leaves_topics_alone(server, space, values):
    """`helm uninstall` takes every object of the release but Kafka's topics, which hold messages."""
    install(server, space, values)
    result = server.helm("uninstall", "prognode", "-n", space, "--no-hooks")
    assert result.returncode == 0, result.stderr
    left = {kind for kind in GROUPS if stored(server, space, kind)}
    assert left == ({"KafkaTopic"} if values == PRODUCTION else set())


def test_two_releases_live_side_by_side(server, space):
    """Their objects have other names, and no selector of one chooses a pod of the other."""
    install(server, space, QUICKSTART)
    result = server.helm(
        "install",
        "second",
        CHART,
        "-n",
        space,
        "-f",
        QUICKSTART,
        "--no-hooks",
        "--set",
        "receiver.service.nodePort=31113",
    )
    assert result.returncode == 0, result.stderr
    selectors = [
        tuple(sorted(one["spec"]["selector"]["matchLabels"].items()))
        for one in server.items(GROUPS["Deployment"].format(space))
    ]
    assert len(set(selectors)) == len(selectors) == 10
