"""The dashboard and the alerts ask for what there is, and say what to do."""

from __future__ import annotations

import ast
import re
from itertools import pairwise

import pytest
from prometheus_client import REGISTRY, Histogram
from repository import ROOT, tool
from watched import PROMETHEUS, TARGET, TRITON, alerts, dashboard, named, panels, queries

TABLE = tool("metrics_table")
OPERATIONS = ROOT / "docs" / "operations.md"
RUNBOOKS = "https://github.com/prognode/prognode/blob/main/docs/operations.md#"
WANTED = {
    "Cases by state": {"prognode_cases"},
    "Last byte to report": {"prognode_report_seconds_bucket"},
    "Lag": {"prognode_consumer_lag"},
    "Dead letters": {"prognode_dead_letters_open", "prognode_dead_letters_total"},
    "Inference latency": {"prognode_inference_seconds_bucket"},
    "Batch size": {"nv_inference_count", "nv_inference_exec_count"},
    "Deliveries by PACS": {"prognode_deliveries_total"},
    "Disk": {"prognode_disk_used_fraction", "prognode_disk_full"},
}
"""What an operator must find, and the metrics that it must be made of."""
ALERTED = {
    "PrognodeNoStudy",
    "PrognodeNeedSetWaits",
    "PrognodeCaseStuck",
    "PrognodePacsUnreachable",
    "PrognodeDeadLetter",
    "PrognodeConsumerLag",
    "PrognodeDiskFilling",
    "PrognodeDiskFull",
    "PrognodeModelDown",
}


def series() -> dict[str, set[str]]:
    """Every time series that may be asked for, with its labels: the node's, Python's, Triton's and Prometheus' own."""
    known: dict[str, set[str]] = {}
    for metric in TABLE.declared().values():
        labels = set(metric._labelnames)
        if isinstance(metric, Histogram):
            name = TABLE.name_of(metric)
            known |= {f"{name}_bucket": labels | {"le"}, f"{name}_sum": labels, f"{name}_count": labels}
        else:
            known[TABLE.name_of(metric)] = labels
    process = {one.name for family in REGISTRY.collect() for one in family.samples if "process_" in one.name}
    assert process
    return known | {name: set() for name in process} | TRITON | PROMETHEUS


SERIES = series()


@pytest.mark.parametrize(
    ("where", "query"), [pytest.param(*one, id=f"{n} {one[0]}") for n, one in enumerate(queries())]
)
def test_a_query_names_metrics_and_labels_that_exist(where, query):
    """No panel stays empty, and no alert silent, because of a name that nobody says."""
    selected, grouped = named(query)
    assert selected, where
    assert set(selected) - set(SERIES) == set()
    for name, labels in selected.items():
        assert labels - SERIES[name] - TARGET == set(), name
    given = set().union(*(SERIES[name] for name in selected)) | TARGET
    assert grouped - given == set()


@pytest.mark.parametrize(
    ("query", "metrics", "grouped"),
    [
        ('max by (a, b) (m_one{x="by (c)", y=~"$job"}) > 3', {"m_one": {"x", "y"}}, {"a", "b"}),
        (
            "rate(m_one[$__rate_interval]) and on (job) m_two offset 5m",
            {"m_one": set(), "m_two": set()},
            {"job"},
        ),
        ('60 * sum(m_one{x!="1"}) / 1e6 or vector(0)', {"m_one": {"x"}}, set()),
    ],
)
def test_names_are_found_in_a_query(query, metrics, grouped):
    """The reader of queries overlooks none and invents none."""
    assert named(query) == (metrics, grouped)


def test_no_measurement_of_the_node_is_left_out_of_the_dashboard():
    """Every metric is shown."""
    shown = {name for panel in panels() for query in panel.queries for name in named(query)[0]}
    stems = {re.sub(r"_(bucket|count|sum)$", "", name) for name in shown}
    assert {TABLE.name_of(metric) for metric in TABLE.declared().values()} - stems == set()


def test_gauges_of_the_index_are_not_added_up():
    """Every replica says the same of the index: the largest counts, or each case would be there twice."""
    same = "cases|oldest_case_seconds|outbox_age_seconds|dead_letters_open|disk_used_fraction|disk_full"
    wrong = [
        (where, query)
        for where, query in queries()
        for before in re.findall(rf"(.{{0,60}})\bprognode_(?:{same})\b", query)
        if not re.search(r"max(?: by \([\w, ]*\))? ?\($", before)
    ]
    assert wrong == []


@pytest.mark.parametrize(("title", "metrics"), WANTED.items())
def test_an_operator_finds_what_matters(title, metrics):
    """Each has a panel, made of the metrics that measure it."""
    found = [panel for panel in panels() if panel.title == title and panel.kind != "stat"]
    assert len(found) == 1
    assert metrics <= {name for query in found[0].queries for name in named(query)[0]}


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: f"{panel.title} {panel.kind}")
def test_a_panel_is_explained_and_has_a_unit(panel):
    """A sentence, a unit, thresholds, and the data source that the reader has chosen."""
    document = panel.document
    assert len(document["description"]) > 20
    assert document["fieldConfig"]["defaults"]["unit"]
    assert document["fieldConfig"]["defaults"]["thresholds"]["steps"]
    sources = [document["datasource"], *(target["datasource"] for target in document["targets"])]
    assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)


def test_panels_lie_side_by_side():
    """No panel covers another, none goes over the edge, and ids are given once."""
    places = [one["gridPos"] for one in dashboard()["panels"]]
    cells = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert all(a["y"] <= b["y"] for a, b in pairwise(places))
    ids = [one["id"] for one in dashboard()["panels"]]
    assert len(ids) == len(set(ids))


def test_the_reader_chooses_source_namespace_and_job():
    """Every query of the node's own metrics keeps to the choice, and all is chosen where there is no namespace."""
    variables = {one["name"]: one for one in dashboard()["templating"]["list"]}
    assert list(variables) == ["datasource", "namespace", "job"]
    assert {variables[name]["allValue"] for name in ("namespace", "job")} == {".*"}
    for panel in panels():
        for query in panel.queries:
            assert 'namespace=~"$namespace"' in query, panel.title
            mine = any(name.startswith("prognode_") for name in named(query)[0])
            assert not mine or 'job=~"$job"' in query, panel.title


def test_the_alerts_that_matter_are_there():
    """Each once."""
    names = [alert["alert"] for alert in alerts()]
    assert len(names) == len(set(names))
    assert set(names) >= ALERTED


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_an_alert_says_what_to_do(alert):
    """How urgent it is, what is wrong, and the heading of the operations page that says what to do."""
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert alert["for"]
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
    headings = re.findall(r"^#+ (.+)$", OPERATIONS.read_text(encoding="utf-8"), re.MULTILINE)
    assert alert["alert"] in headings
    assert alert["annotations"]["runbook_url"] == RUNBOOKS + alert["alert"].lower()


def test_every_runbook_belongs_to_an_alert():
    """A heading of an alert that is gone would mislead."""
    headings = re.findall(r"^#+ (Prognode\w+)$", OPERATIONS.read_text(encoding="utf-8"), re.MULTILINE)
    assert headings == [alert["alert"] for alert in alerts()]


def test_limits_of_the_alerts_fit_the_settings():
    """An alert comes before the node gives up or refuses, and looks back over two tries at least."""
    from services.dispatcher.settings import DispatcherSettings
    from services.receiver.assembly_settings import AssemblySettings
    from services.receiver.settings import ReceiverSettings

    by_name = {alert["alert"]: alert for alert in alerts()}

    def limit(name: str) -> float:
        return float(ast.literal_eval(by_name[name]["expr"].rsplit("> ", 1)[1]))

    assert (
        limit("PrognodeNeedSetWaits") + minutes(by_name["PrognodeNeedSetWaits"]["for"]) * 60
        < AssemblySettings().give_up_s
    )
    assert limit("PrognodeDiskFilling") < ReceiverSettings().watermark_recovery
    (window,) = set(re.findall(r"\[(\w+)\]", by_name["PrognodePacsUnreachable"]["expr"]))
    assert minutes(window) * 60 >= 2 * DispatcherSettings().retry_cap_s


def test_the_dashboards_limits_are_those_of_the_alerts_and_settings():
    """The red line of a panel is where an alert or the node itself draws it."""
    from services.receiver.settings import ReceiverSettings

    by_name = {alert["alert"]: alert["expr"] for alert in alerts()}
    by_title = {(panel.title, panel.kind): panel.document for panel in panels()}

    def lines(title: str, kind: str = "timeseries") -> list[float]:
        steps = by_title[title, kind]["fieldConfig"]["defaults"]["thresholds"]["steps"]
        return [step["value"] for step in steps if step["value"] is not None]

    assert lines("Disk") == [0.85, ReceiverSettings().watermark]
    assert by_name["PrognodeDiskFilling"].endswith("> 0.85")
    assert by_name["PrognodeCaseStuck"].endswith(f"> {lines('Oldest of them', 'stat')[-1]}")
    assert by_name["PrognodeOutboxWaits"].endswith(f"> {lines('Oldest unpublished fact')[-1]}")


def minutes(duration: str) -> float:
    """Of Prometheus' ``10m`` or ``24h``."""
    return float(duration[:-1]) * {"m": 1, "h": 60}[duration[-1]]
