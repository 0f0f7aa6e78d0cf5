"""Whatever values come with the chart, what is rendered is what Kubernetes takes, and holds the chart's promises."""

from __future__ import annotations

import kubernetes_validate
import pytest
from chart_rendering import (
    CHART,
    PRODUCTION,
    QUICKSTART,
    SERVICES,
    VALUES,
    containers,
    helm,
    matches,
    of_kind,
    pods,
    rendered,
)

from apps.compose import STOP_LIMIT_S

pytestmark = [
    pytest.mark.component,
    pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem),
]

KUBERNETES = ("1.32", "1.37")
"""The oldest version that Chart.yaml admits, and the newest that the validator knows."""
NOT_READ_ONLY = ("kafka",)
"""Its image writes its configuration into its own folders when it starts."""


def test_lint_finds_nothing(values):
    """`helm lint --strict`."""
    result = helm("lint", "--strict", "--quiet", CHART, "--values", values)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_takes_every_object(values, version):
    """Every object of Kubernetes' own kinds is valid, unknown fields refused; the kinds of operators are few and known."""
    strangers = set()
    for document in rendered(values):
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            strangers.add(document["kind"])
    operators = {"KafkaTopic", "ScaledObject", "TriggerAuthentication", "ServiceMonitor", "PrometheusRule"}
    assert strangers == (operators if values == PRODUCTION else set())


def test_no_object_comes_twice(values):
    """Kind, name space and name are one object's."""
    names = [
        (one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in rendered(values)
    ]
    assert len(set(names)) == len(names)


def test_pods_keep_to_the_restricted_standard(values):
    """Pod security "restricted", a read-only root, no account token, and no variables that services would bring."""
    for component, pod in pods(rendered(values)):
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False, component
        assert spec["enableServiceLinks"] is False, component
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec), component
        assert spec["securityContext"]["runAsNonRoot"] is True, component
        assert spec["securityContext"]["runAsUser"] > 0, component
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, component
        assert {kind for one in spec["volumes"] for kind in one if kind != "name"} <= {
            "emptyDir",
            "configMap",
            "secret",
            "persistentVolumeClaim",
        }
        for container in containers(pod):
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False, component
            assert security["capabilities"] == {"drop": ["ALL"]}, component
            assert security["readOnlyRootFilesystem"] is (component not in NOT_READ_ONLY), component


def test_own_images_run_as_their_own_user(values):
    """The services' images are made for 10001; /tmp is theirs to write."""
    for component, pod in pods(rendered(values)):
        for container in containers(pod):
            if "/prognode-" in container["image"]:
                user = pod["spec"]["securityContext"]["runAsUser"]
                assert user == 10001 or component == "triton", component
            mounts = {one["mountPath"] for one in container["volumeMounts"]}
            assert "/tmp" in mounts or container["command"][0] == "mkdir", component


def test_containers_say_what_they_need(values):
    """Requests for CPU and memory, a limit of memory, and an image of one version."""
    for component, pod in pods(rendered(values)):
        for container in containers(pod):
            resources = container["resources"]
            assert {"cpu", "memory"} <= set(resources["requests"]), component
            assert "memory" in resources["limits"], component
            name, _, tag = container["image"].rpartition(":")
            assert name, component
            assert tag not in ("", "latest"), component


def test_selectors_choose_their_pods_for_ever(values):
    """A selector has name, instance and component, never a version, and chooses the pods of its own object alone."""
    documents = rendered(values)
    for one in documents:
        if one["kind"] not in ("Deployment", "StatefulSet"):
            continue
        wanted = one["spec"]["selector"]["matchLabels"]
        assert set(wanted) == {f"app.kubernetes.io/{part}" for part in ("name", "instance", "component")}
        chosen = [name for name, pod in pods(documents) if matches(wanted, pod["metadata"]["labels"])]
        assert chosen == [wanted["app.kubernetes.io/component"]]


def test_pods_carry_no_version(values):
    """A new version of the chart alone starts no pod again; the test's pod is made anew in any case."""
    for component, pod in pods(rendered(values)):
        labels = {} if component == "test" else pod["metadata"]["labels"]
        assert not {"helm.sh/chart", "app.kubernetes.io/version"} & set(labels), component


def test_ports_of_services_are_there(values):
    """Each port of a service is one that its pods name."""
    documents = rendered(values)
    for name, service in of_kind(documents, "Service").items():
        behind = [
            pod
            for _, pod in pods(documents)
            if matches(service["spec"]["selector"], pod["metadata"]["labels"])
        ]
        assert len(behind) == 1, name
        named = {port["name"] for one in containers(behind[0]) for port in one.get("ports", [])}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= named, name


def test_every_service_of_the_node_is_watched(values):
    """Liveness from /healthz, readiness from /readyz, and patience at the start; time to finish what is in hand."""
    found = {component: pod for component, pod in pods(rendered(values)) if component in SERVICES}
    assert set(found) == set(SERVICES)
    for component, pod in found.items():
        (container,) = pod["spec"]["containers"]
        assert container["command"] == ["prognode", "serve", component]
        paths = {
            probe: container[f"{probe}Probe"]["httpGet"]["path"]
            for probe in ("startup", "liveness", "readiness")
        }
        assert paths == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}
        start = container["startupProbe"]
        assert start["periodSeconds"] * start["failureThreshold"] >= 600
        assert pod["spec"]["terminationGracePeriodSeconds"] >= STOP_LIMIT_S + 10


def test_replicas_keep_apart_and_go_one_by_one(values):
    """A disruption budget and topology spread for each service and for Triton, by their own labels."""
    documents = rendered(values)
    budgets = of_kind(documents, "PodDisruptionBudget")
    for component, pod in pods(documents):
        if component not in (*SERVICES, "triton"):
            continue
        labels = pod["metadata"]["labels"]
        assert matches(budgets[component]["spec"]["selector"], labels)
        assert budgets[component]["spec"]["maxUnavailable"] == 1
        # a pod that waits for a server is not ready: emptying a machine does not wait for it
        assert budgets[component]["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
        spread = pod["spec"]["topologySpreadConstraints"]
        assert {one["topologyKey"] for one in spread} == {
            "kubernetes.io/hostname",
            "topology.kubernetes.io/zone",
        }
        assert all(matches(one["labelSelector"], labels) for one in spread)


def test_no_secret_is_in_plain_sight(values):
    """Secrets come from Secrets; only the quickstart, which is for trying, brings one of its own."""
    documents = rendered(values)
    quickstart = bool(of_kind(documents, "StatefulSet").keys() & {"postgresql"})
    assert set(of_kind(documents, "Secret")) == ({"quickstart"} if quickstart else set())
    hidden = ("PASSWORD", "SECRET", "URL", "ACCESS_KEY", "USERNAME")
    for settings in of_kind(documents, "ConfigMap").values():
        assert [name for name in settings["data"] if name.endswith(hidden) and "TRITON" not in name] == []
    for component, pod in pods(documents):
        for container in containers(pod):
            for one in container.get("env", []):
                assert "valueFrom" in one or not one["name"].endswith(hidden), component


def test_quickstart_and_production_differ_in_what_they_bring(values):
    """The servers are in the release for trying, outside of it for more."""
    servers = set(of_kind(rendered(values), "StatefulSet")) - {"receiver"}
    assert servers <= {"kafka", "postgresql", "s3"}
    if values == QUICKSTART:
        assert servers == {"kafka", "postgresql", "s3"}
    if values == PRODUCTION:
        assert servers == set()
