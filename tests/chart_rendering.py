"""The Helm chart as Kubernetes would be given it: rendered by Helm itself, read as data."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from components import missing

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "helm" / "prognode"
HELM = ROOT / ".cache" / "helm" / "helm"
RELEASE = "prognode"
NAMESPACE = "imaging"

VALUES = (
    CHART / "values-quickstart.yaml",
    CHART / "values-production.yaml",
    *sorted((CHART / "ci").glob("*.yaml")),
)
"""Every values file that comes with the chart; each is a whole release."""
MAIN_VALUES = VALUES[:2]
QUICKSTART, PRODUCTION = MAIN_VALUES

SERVICES = ("receiver", "preprocess", "scoring", "dispatcher", "console-api")

Document = dict[str, Any]


class OnceOnly(yaml.SafeLoader):
    """Refuses a key that comes twice: of two objects that ran into one, the second would hide the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Document:
        keys = [key.value for key, _ in node.value]
        assert len(set(keys)) == len(keys), f"{node.start_mark}: {keys}"
        return super().construct_mapping(node, deep)


def helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Helm; the caller looks at the exit status."""
    if not HELM.is_file():
        missing("Helm is not there; tools/fetch_helm.sh builds it (apt install golang-go)")
    command = [str(HELM), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@cache
def rendered(values: Path, *settings: str, chart: Path = CHART) -> tuple[Document, ...]:
    """Everything that the release holds with these values; ``settings`` as for ``--set``."""
    sets = [word for one in settings for word in ("--set", one)]
    result = helm("template", RELEASE, chart, "--namespace", NAMESPACE, "--values", values, *sets)
    assert result.returncode == 0, result.stderr
    return tuple(one for one in yaml.load_all(result.stdout, OnceOnly) if one)


def refusal(*arguments: str | Path) -> str:
    """What Helm says instead of rendering the chart with these arguments."""
    result = helm("template", RELEASE, CHART, *arguments)
    assert result.returncode != 0, "rendered"
    return result.stderr


def of_kind(documents: tuple[Document, ...], kind: str) -> dict[str, Document]:
    """Documents of a kind, by name without the release's."""
    found = [one for one in documents if one["kind"] == kind]
    return {one["metadata"]["name"].removeprefix(f"{RELEASE}-").removeprefix("node-"): one for one in found}


WORKLOADS = ("Deployment", "StatefulSet", "Job")


def pods(documents: tuple[Document, ...]) -> Iterator[tuple[str, Document]]:
    """(component, pod with metadata and spec) of everything that becomes a pod."""
    for one in documents:
        pod = one if one["kind"] == "Pod" else one["spec"]["template"] if one["kind"] in WORKLOADS else None
        if pod is not None:
            yield pod["metadata"]["labels"]["app.kubernetes.io/component"], pod


def containers(pod: Document) -> list[Document]:
    """All containers of a pod, the initial ones too."""
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def environment(
    documents: tuple[Document, ...], component: str, secrets: Mapping[str, str]
) -> dict[str, str]:
    """The variables of a service's container; ``secrets`` stand for what comes from Secrets."""
    (pod,) = (pod for name, pod in pods(documents) if name == component)
    (container,) = pod["spec"]["containers"]
    settings = {one["metadata"]["name"]: one["data"] for one in documents if one["kind"] == "ConfigMap"}
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        found |= settings[source["configMapRef"]["name"]]
    for one in container.get("env") or []:
        found[one["name"]] = one["value"] if "value" in one else secrets[one["name"]]
    return found


def matches(selector: Document, labels: Document) -> bool:
    """Whether a label selector, or a plain map of labels, chooses what carries ``labels``."""
    wanted = selector.get("matchLabels", selector)
    return all(labels.get(name) == value for name, value in wanted.items())
