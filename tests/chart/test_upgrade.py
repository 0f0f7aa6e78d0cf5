"""An upgrade from every released version goes through: what Kubernetes lets nobody change is as it was."""

from __future__ import annotations

import copy
import re
import shutil

import pytest
import yaml
from chart_rendering import CHART, MAIN_VALUES, ROOT, Document, pods, rendered

pytestmark = pytest.mark.component

RELEASED = ROOT / "tests" / "chart" / "released"
KEPT = sorted(RELEASED.glob("*/*.yaml"))
NOW = {path.stem.removeprefix("values-"): path for path in MAIN_VALUES}

FIXED = {
    "Deployment": [("selector",)],
    "StatefulSet": [("selector",), ("serviceName",), ("podManagementPolicy",), ("volumeClaimTemplates",)],
    "Service": [("clusterIP",)],
    "KafkaTopic": [("topicName",), ("replicas",)],
}
"""Fields of `spec` that cannot be changed, by kind."""
HOLD_DATA = ("StatefulSet", "KafkaTopic")
"""Kinds that hold what would be lost if they went."""


def name_of(document: Document) -> tuple[str, str]:
    return document["kind"], document["metadata"]["name"]


def fixed(document: Document) -> Document:
    """What must stay of an object."""
    spec = document.get("spec", {})
    return {path[0]: spec.get(path[0]) for path in FIXED.get(document["kind"], [])}


def obstacles(before: tuple[Document, ...], after: tuple[Document, ...]) -> list[str]:
    """Why an upgrade from one rendering to the other would be refused, or would lose data."""
    now = {name_of(one): one for one in after}
    found = []
    for one in before:
        kind, name = name_of(one)
        other = now.get((kind, name))
        if other is None:
            found += [f"{kind} {name} is gone, with its data"] if kind in HOLD_DATA else []
            continue
        then, today = fixed(one), fixed(other)
        found += [f"{kind} {name}: {key} has changed" for key in then if then[key] != today[key]]
        if kind == "KafkaTopic" and other["spec"]["partitions"] < one["spec"]["partitions"]:
            found.append(f"{kind} {name}: a topic cannot lose partitions")
        # a Job cannot be changed at all: it is a hook, which is made anew, or its name has the revision
        if kind == "Job" and "helm.sh/hook" not in other["metadata"].get("annotations", {}):
            assert re.fullmatch(r".*-\d+", name), name
    return found


@pytest.mark.parametrize("kept", KEPT, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_an_upgrade_from_what_was_released_goes_through(kept):
    """Selectors, claims, names of services and topics are those that are out there."""
    before = tuple(yaml.safe_load_all(kept.read_text(encoding="utf-8")))
    assert obstacles(before, rendered(NOW[kept.stem])) == []


def test_this_version_or_one_before_is_kept():
    """There is something to compare with, for both ways to install."""
    assert {path.stem for path in KEPT} == set(NOW)


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("Deployment", lambda one: one["spec"]["selector"]["matchLabels"].update(version="2"), "selector"),
        ("StatefulSet", lambda one: one["spec"].update(serviceName="other"), "serviceName"),
        ("StatefulSet", lambda one: one["metadata"].update(name="other"), "gone"),
        ("Service", lambda one: one["spec"].update(clusterIP="None"), "clusterIP"),
        ("KafkaTopic", lambda one: one["spec"].update(partitions=1), "partitions"),
    ],
)
def test_a_change_that_cannot_be_is_found(kind, change, said):
    """The comparison sees what it is there for."""
    before = rendered(NOW["production"])
    after = copy.deepcopy(before)
    # the console's service has an address; dead letters have one partition already
    for one in after:
        if one["kind"] == kind and "dead-letter" not in one["metadata"]["name"]:
            change(one)
    assert any(said in sentence for sentence in obstacles(before, after))
    assert obstacles(before, before) == []


@pytest.mark.parametrize("values", MAIN_VALUES, ids=lambda path: path.stem)
def test_a_new_version_of_the_chart_alone_starts_no_pod_again(tmp_path, values):
    """The same program under another version of the chart has the same pods."""
    other = tmp_path / "prognode"
    shutil.copytree(CHART, other)
    chart = (other / "Chart.yaml").read_text(encoding="utf-8")
    (other / "Chart.yaml").write_text(re.sub(r"(?m)^version: .*$", "version: 9.9.9", chart), encoding="utf-8")
    now = {name: pod["spec"] for name, pod in pods(rendered(values))}
    later = dict(pods(rendered(values, chart=other)))
    assert {name: pod["spec"] for name, pod in later.items()} == now
    for name, pod in pods(rendered(values)):
        assert later[name]["metadata"].get("annotations") == pod["metadata"].get("annotations")
