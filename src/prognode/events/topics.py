"""What each topic is on Kafka, as its schema says: partitions and retention."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from prognode.events.schemas import event_schemas

DEAD_LETTER = "dead-letter"
DEFAULT_PARTITIONS = 12
DEFAULT_RETENTION_HOURS = 720


@dataclass(frozen=True)
class TopicPlan:
    """How a topic is made."""

    partitions: int
    configs: dict[str, str]


@cache
def topic_plan(topic: str) -> TopicPlan:
    """Partitions and configuration of a topic, from ``x-partitions``, ``x-retention-hours`` and ``x-cleanup``."""
    schema = event_schemas().get(topic, {}).get(1, {})
    hours = int(schema.get("x-retention-hours", DEFAULT_RETENTION_HOURS))
    cleanup = str(schema.get("x-cleanup", "delete"))
    # the broker's time: a service whose clock is wrong could else write what the broker refuses or deletes at once
    configs = {"cleanup.policy": cleanup, "message.timestamp.type": "LogAppendTime"}
    if cleanup == "delete":
        configs["retention.ms"] = str(hours * 3600 * 1000)
    return TopicPlan(int(schema.get("x-partitions", DEFAULT_PARTITIONS)), configs)
