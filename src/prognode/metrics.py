"""Every metric of the product, by Prometheus' conventions: one name, one type, one sentence each.

Labels are few and known beforehand: services, topics, destinations, outcomes. No UID, no case id, nothing of a patient.
docs/metrics.md is made from this file.
"""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Buckets of what takes a moment."""
LONG_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 14400.0)
"""Buckets of what may have to wait for somebody."""

registry: CollectorRegistry = REGISTRY

# ---------------------------------------------------------------- receiver

associations_open = Gauge("prognode_associations_open", "DICOM associations that are open now.")
associations = Counter("prognode_associations_total", "DICOM associations that peers have opened.")
instances_received = Counter(
    "prognode_instances_received_total", "C-STORE requests, by the DIMSE status of their answer.", ["status"]
)
received_bytes = Counter("prognode_received_bytes_total", "Bytes of data sets that were received by C-STORE.")
store_seconds = Histogram(
    "prognode_store_seconds", "Time to make one instance durable and registered.", buckets=SECONDS
)
disk_used_fraction = Gauge(
    "prognode_disk_used_fraction", "Used part of the object store's medium, 0 to 1; 0 in a bucket."
)
disk_full = Gauge(
    "prognode_disk_full", "1 while C-STORE is refused because the disk is above its watermark, else 0."
)

# ---------------------------------------------------------------- cases

cases = Gauge(
    "prognode_cases",
    "Cases in the index, by state; those that wait also by what for: contours, or images of contours that are here. "
    "The same from every process that says it.",
    ["state", "waiting_for"],
)
oldest_case_seconds = Gauge(
    "prognode_oldest_case_seconds",
    "The longest time that nothing has happened to a case in a state: since its study's last arrival where it waits, "
    "else since its last change; 0 for none.",
    ["state", "waiting_for"],
)
case_seconds = Histogram(
    "prognode_case_seconds",
    "From the arrival of a study's last instance to a state of its case.",
    ["state"],
    buckets=LONG_SECONDS,
)
need_set_wait_seconds = Histogram(
    "prognode_need_set_wait_seconds",
    "From the arrival of a study's first contour object to the moment when every slice that its crops need is durable.",
    buckets=LONG_SECONDS,
)
report_seconds = Histogram(
    "prognode_report_seconds",
    "From the arrival of a study's last instance to its structured report in the first PACS.",
    buckets=LONG_SECONDS,
)

# ---------------------------------------------------------------- work

handling_seconds = Histogram(
    "prognode_handling_seconds",
    "Time of one message in its handler: crops in preprocess, a whole report in scoring, a delivery in the dispatcher.",
    ["group", "topic"],
    buckets=SECONDS,
)
inference_seconds = Histogram(
    "prognode_inference_seconds", "Time of both crops of a case in the network.", buckets=SECONDS
)
retries = Counter("prognode_retries_total", "Messages handed back, to come again later.", ["group", "topic"])
dead_letters = Counter(
    "prognode_dead_letters_total",
    "Messages set aside: malformed, gave-up (trying again cannot help), bug, or died (took its process down).",
    ["group", "topic", "kind"],
)
dead_letters_open = Gauge(
    "prognode_dead_letters_open",
    "Messages that were set aside and that nobody has replayed or dropped, as seen within the last minute.",
)
deliveries = Counter(
    "prognode_deliveries_total",
    "Attempts to deliver an object to a PACS, by what came of them: stored, committed, retry or failed.",
    ["destination", "outcome"],
)

# ---------------------------------------------------------------- the bus

consumer_lag = Gauge(
    "prognode_consumer_lag",
    "Messages that a group has not finished, in the partitions of this process.",
    ["group", "topic"],
)
outbox_age_seconds = Gauge(
    "prognode_outbox_age_seconds", "How long the oldest fact that is not published has waited; 0 for none."
)

# ---------------------------------------------------------------- what a process runs on

dependency_ready = Gauge(
    "prognode_dependency_ready",
    "1 while it answers, else 0: the index, the bus, the object store, the extractor, as /readyz asks them.",
    ["dependency"],
)
