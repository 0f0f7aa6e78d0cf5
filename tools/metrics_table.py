"""Writes docs/metrics.md from the metrics themselves, so that the two cannot differ (``--print`` prints it)."""

from __future__ import annotations

import sys
from pathlib import Path

from prometheus_client.metrics import MetricWrapperBase

from prognode import metrics

PAGE = Path(__file__).parent.parent / "docs" / "metrics.md"

HEAD = """# Metrics

Every process answers `/metrics`, `/healthz` and `/readyz` on the port of its `[probes]` settings. `/healthz` is 503 when a
loop has not come round in time or has ended by a bug; `/readyz` is 503 and says why when something that the process runs
on does not answer. No metric names a patient, a study or a case. Python's own process metrics are there as well. This
page is made from the metrics by `python tools/metrics_table.py`.

| metric | type | labels | meaning |
|---|---|---|---|
"""


def declared() -> dict[str, MetricWrapperBase]:
    """Every metric of the product, by the name of its variable."""
    return {name: value for name, value in vars(metrics).items() if isinstance(value, MetricWrapperBase)}


def page() -> str:
    """The whole page as Markdown."""
    return HEAD + "".join(sorted(_row(metric) for metric in declared().values()))


def name_of(metric: MetricWrapperBase) -> str:
    """As Prometheus stores it."""
    return metric._name + ("_total" if metric._type == "counter" else "")


def _row(metric: MetricWrapperBase) -> str:
    labels = ", ".join(f"`{label}`" for label in metric._labelnames) or "none"
    return f"| `{name_of(metric)}` | {metric._type} | {labels} | {metric._documentation.rstrip('.')} |\n"


if __name__ == "__main__":
    if "--print" in sys.argv:
        print(page())
    else:
        PAGE.write_text(page(), encoding="utf-8")
