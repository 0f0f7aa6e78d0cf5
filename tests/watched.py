"""The dashboard and the alert rules as data: every query of them, and which metrics and labels a query names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from repository import ROOT

DASHBOARD = ROOT / "helm" / "prognode" / "files" / "dashboard.json"
ALERTS = ROOT / "helm" / "prognode" / "files" / "alerts.yaml"

TRITON = {
    "nv_inference_count": {"model", "version"},
    "nv_inference_exec_count": {"model", "version"},
    "nv_inference_request_success": {"model", "version"},
    "nv_inference_request_failure": {"model", "version", "reason"},
    "nv_inference_queue_duration_us": {"model", "version"},
    "nv_inference_compute_infer_duration_us": {"model", "version"},
    "nv_inference_pending_request_count": {"model", "version"},
}
"""Metrics of Triton that are looked at, and their labels; a test asks a real server whether it has them."""
PROMETHEUS = {"ALERTS": {"alertname", "alertstate", "severity"}}
"""What Prometheus says of its own rules."""
TARGET = {"namespace", "job", "instance"}
"""Labels that come from how a process is found."""

_WORDS = {"by", "on", "without", "ignoring", "and", "or", "unless", "offset", "bool"}
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_GROUPING = re.compile(r"\b(by|on|without|ignoring)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r"\b([a-zA-Z_:][\w:]*)\s*\{([^}]*)\}")
_RANGE = re.compile(r"\[[^\]]*\]|\boffset\s+\w+")
_NAME = re.compile(r"(?<![\w$.])([a-zA-Z_:][\w:]*)\b(?!\s*\()")


@dataclass(frozen=True)
class Panel:
    """One panel of the dashboard."""

    title: str
    kind: str
    queries: tuple[str, ...]
    document: dict[str, Any]


def dashboard() -> dict[str, Any]:
    """The dashboard as it is."""
    document: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return document


def panels() -> list[Panel]:
    """Every panel that shows something, in order."""
    return [
        Panel(one["title"], one["type"], tuple(target["expr"] for target in one["targets"]), one)
        for one in dashboard()["panels"]
        if one["type"] != "row"
    ]


def alerts() -> list[dict[str, Any]]:
    """Every alert, in order."""
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries() -> Iterator[tuple[str, str]]:
    """(where it stands, query) of every panel, every alert and the variables."""
    for panel in panels():
        yield from ((panel.title, query) for query in panel.queries)
    for alert in alerts():
        yield alert["alert"], alert["expr"]
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], label_values(variable["query"]["query"])[0]


def label_values(query: str) -> tuple[str, str]:
    """(selector, label) of Grafana's ``label_values(selector, label)``."""
    found = re.fullmatch(r"label_values\((.*), (\w+)\)", query)
    assert found, query
    return found[1], found[2]


def plain(query: str) -> str:
    """The query as Grafana sends it when everything is chosen."""
    query = query.replace("$__rate_interval", "5m")
    return re.sub(r"\$(namespace|job)\b", ".*", query)


def named(query: str) -> tuple[dict[str, set[str]], set[str]]:
    """({metric: labels in its selectors}, labels that the query groups by)."""
    text = _STRING.sub('""', query)
    selected: dict[str, set[str]] = {}
    for name, inside in _SELECTOR.findall(text):
        labels = {part.split("=")[0].strip(" !~") for part in inside.split(",") if part.strip()}
        selected.setdefault(name, set()).update(labels)
    rest = _SELECTOR.sub(" ", text)
    grouped = {label.strip() for _, inside in _GROUPING.findall(rest) for label in inside.split(",")}
    rest = _RANGE.sub(" ", _STRING.sub(" ", _GROUPING.sub(" ", rest)))
    for name in _NAME.findall(rest):
        if name not in _WORDS:
            selected.setdefault(name, set())
    return selected, grouped - {""}
