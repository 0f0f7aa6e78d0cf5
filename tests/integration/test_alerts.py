"""The alerts by Prometheus' own tool, and every query of the dashboard by a Prometheus that watches a node."""

from __future__ import annotations

import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from components import free_port, require, wait_until
from node import NodeProcess, ReceivingPacs, start_node
from repository import ROOT
from servers.prometheus import Prometheus, start_prometheus
from servers.triton import Triton, start_triton
from studies import small_study
from watched import ALERTS, TRITON, alerts, label_values, named, panels, plain, queries
from watched import dashboard as dashboard_document

pytestmark = pytest.mark.component

TESTS = sorted((ROOT / "tests" / "alerts").glob("*_test.yaml"))


def promtool(*arguments: str | Path, given: str | None = None) -> str:
    """Output of promtool, which must be content."""
    result = subprocess.run(
        [require("promtool", apt="prometheus"), *map(str, arguments)],
        input=given,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


# ---------------------------------------------------------------- promtool


def test_the_rules_are_well_formed():
    """Promtool reads every alert."""
    assert f"{len(alerts())} rules found" in promtool("check", "rules", ALERTS)


def test_alerts_come_when_they_should_and_only_then():
    """Promtool plays the scenarios of tests/alerts."""
    assert "SUCCESS" in promtool("test", "rules", *TESTS)


def test_a_rule_that_never_fires_is_found(tmp_path):
    """The scenarios notice: with every comparison made impossible, promtool is not content."""
    rules = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))
    document = yaml.safe_load(TESTS[0].read_text(encoding="utf-8"))
    for group in rules["groups"]:
        for rule in group["rules"]:
            rule["expr"] = f"({rule['expr']}) < -1"
    (tmp_path / "alerts.yaml").write_text(yaml.safe_dump(rules), encoding="utf-8")
    document["rule_files"] = ["alerts.yaml"]
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    with pytest.raises(AssertionError, match="FAILED"):
        promtool("test", "rules", tmp_path / "test.yaml")


def expectations() -> list[tuple[str, bool]]:
    """(alert, whether it is expected to fire) of every statement of the scenarios."""
    found = []
    for path in TESTS:
        for scenario in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]:
            found += [
                (one["alertname"], bool(one["exp_alerts"])) for one in scenario.get("alert_rule_test", [])
            ]
            for one in scenario.get("promql_expr_test", []):
                name = one["expr"].partition('alertname="')[2].partition('"')[0]
                found.append((name, bool(one["exp_samples"])))
    return found


@pytest.mark.parametrize("alert", [alert["alert"] for alert in alerts()])
def test_every_alert_is_tried_both_ways(alert):
    """There is a scenario in which it fires, and a moment at which it does not."""
    assert {fires for name, fires in expectations() if name == alert} == {True, False}


# ---------------------------------------------------------------- a Prometheus that watches a node


@dataclass
class Watched:
    """A node that has reported two studies, its Triton, and a Prometheus that asks both."""

    node: NodeProcess
    triton: Triton
    prometheus: Prometheus

    def wait_values(self, query: str, expected: list[float]) -> None:
        """Until a query gives these numbers: Prometheus hears of what has happened a moment later."""
        wait_until(
            lambda: self.prometheus.values(plain(query)) == expected,
            lambda: f"{query} = {expected}: {self.prometheus.values(plain(query))}",
        )

    def page(self, job: str) -> str:
        """``/metrics`` of a job, as Prometheus gets it."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port(job)}/metrics", timeout=30) as answer:
            return answer.read().decode()

    def port(self, job: str) -> int:
        """Where its metrics are."""
        return self.triton.metrics_port if job == "triton" else self.node.config.probes.port


@pytest.fixture(scope="module")
def watched(tmp_path_factory) -> Iterator[Watched]:
    """Two studies, one after the other; each series of both has been asked before, between and after."""
    folder = tmp_path_factory.mktemp("watched")
    started: list[Any] = []
    try:
        triton = start_triton(_made(folder / "triton"))
        started.append(triton)
        with ReceivingPacs() as pacs:
            node = start_node(
                folder / "node", [pacs], probes={"port": free_port()}, triton={"url": triton.address}
            )
            started.append(node)
            targets = {"prognode": node.config.probes.port, "triton": triton.metrics_port}
            prometheus = start_prometheus(_made(folder / "prometheus"), targets, ALERTS)
            started.append(prometheus)
            before = wait_until(lambda: len(found := _counts(prometheus)) == 2 and found, "both jobs")
            for number in (1, 2):
                study = small_study(seed=7500 + number)
                node.send(study.instances)
                pacs.wait_reports(1, study.study_uid)
                pacs.wait_figures(1, study.study_uid)
                after = [count + number for count in before]
                wait_until(lambda after=after: _counts(prometheus) == after, f"study {number} in Prometheus")
            wait_until(
                lambda: prometheus.values("max(prognode_cases{state='preliminary'})") == [2.0], "both cases"
            )
            yield Watched(node, triton, prometheus)
    finally:
        for one in reversed(started):
            one.stop()


def _counts(prometheus: Prometheus) -> list[float]:
    """[reports, executions of the network] that Prometheus, which asks each job at its own moment, has heard of."""
    metrics = ("prognode_report_seconds_count", "nv_inference_exec_count")
    return [number for metric in metrics for number in prometheus.values(f"sum({metric})")]


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_every_panel_shows_something(watched):
    """Each query of the dashboard is understood, and gives a number for a node that works."""
    empty = [
        (panel.title, query)
        for panel in panels()
        for query in panel.queries
        if not watched.prometheus.values(plain(query))
    ]
    assert empty == []


def test_every_other_query_is_understood(watched):
    """Those of alerts and variables too."""
    for _, query in queries():
        watched.prometheus.values(plain(query))


def test_the_dashboard_offers_what_is_there(watched):
    """The choice of jobs is that of the node's own."""
    for variable in dashboard_document()["templating"]["list"]:
        if variable["name"] == "job":
            selector, label = label_values(variable["query"]["query"])
            found = watched.prometheus.ask(f"label/{label}/values", **{"match[]": plain(selector)})
            assert found == ["prognode"]


def test_numbers_of_the_dashboard_are_those_of_the_node(watched):
    """Two studies: two cases, two deliveries of a report, crops two by two in the network, nothing left."""
    by_title = {panel.title: panel.queries for panel in panels() if panel.kind == "timeseries"}
    watched.wait_values(f"sum({by_title['Cases by state'][0]})", [2.0])
    watched.wait_values(by_title["Batch size"][0], [2.0])
    watched.wait_values(f"sum({by_title['Lag'][0]})", [0.0])
    watched.wait_values('prognode_deliveries_total{destination="main", outcome="stored"}', [4.0])


def test_no_alert_in_a_node_that_works(watched):
    """Every rule has been evaluated without a fault, and none is pending or firing."""
    (group,) = watched.prometheus.ask("rules")["groups"]
    said = {rule["name"]: (rule["health"], rule["state"]) for rule in group["rules"]}
    assert said == dict.fromkeys([alert["alert"] for alert in alerts()], ("ok", "inactive"))


def test_the_metrics_are_good_ones(watched):
    """Promtool has nothing to say against names, units and help of the node's metrics."""
    page = watched.page("prognode")
    own = ("prognode_", "# HELP prognode_", "# TYPE prognode_")
    text = "\n".join(line for line in page.splitlines() if line.startswith(own))
    assert promtool("check", "metrics", given=text + "\n") == ""


def test_triton_has_the_metrics_that_are_looked_at(watched):
    """Names and labels are those of a real server."""
    page = watched.page("triton")
    for name, labels in TRITON.items():
        (line, *_) = [line for line in page.splitlines() if line.startswith(f"{name}{{")]
        assert set(named(line.rpartition(" ")[0])[0][name]) == labels


def test_a_model_that_is_gone_is_noticed(watched):
    """Triton is ended, and the alert begins to wait for its two minutes; Triton is back, and it is over."""

    def state() -> str:
        (group,) = watched.prometheus.ask("rules")["groups"]
        return {rule["name"]: rule["state"] for rule in group["rules"]}["PrognodeModelDown"]

    watched.triton.stop()
    try:
        wait_until(lambda: state() == "pending", "PrognodeModelDown")
    finally:
        watched.triton.start()
    wait_until(lambda: state() == "inactive", "the end of PrognodeModelDown")
