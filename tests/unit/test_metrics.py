"""Metrics: documented, named as Prometheus asks, used, and free of labels that could name somebody."""

from __future__ import annotations

import re

import pytest
from repository import PRODUCT, ROOT, name_of, python_files, tool

TABLE = tool("metrics_table")
LABELS = {"status", "state", "group", "topic", "kind", "destination", "outcome", "waiting_for", "dependency"}
UNITS = ("_seconds", "_bytes", "_fraction", "_total", "_open", "_full", "_lag", "_cases", "_ready")


def test_the_page_is_made_from_the_metrics():
    """docs/metrics.md lists exactly the metrics that the code has."""
    assert (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8") == TABLE.page()


@pytest.mark.parametrize(("variable", "metric"), TABLE.declared().items())
def test_a_metric_is_named_and_labelled_well(variable, metric):
    """Prefix, base unit, a sentence, and labels that are known beforehand."""
    name = TABLE.name_of(metric)
    assert name.startswith("prognode_")
    assert name.endswith(UNITS)
    assert variable in name
    assert len(metric._documentation) > 20
    assert set(metric._labelnames) <= LABELS


@pytest.mark.parametrize("variable", TABLE.declared())
def test_a_metric_is_used(variable):
    """Somebody counts it."""
    users = [path for path in python_files(*PRODUCT) if f"metrics.{variable}" in path.read_text()]
    assert users


def test_every_metric_is_declared_in_one_file():
    """No other file makes one."""
    makers = re.compile(r"\b(Counter|Gauge|Histogram|Summary)\(\s*\"")
    makes = [name_of(path) for path in python_files(*PRODUCT) if makers.search(path.read_text())]
    assert makes == ["src/prognode/metrics.py"]
