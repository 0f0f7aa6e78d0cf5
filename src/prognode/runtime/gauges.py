"""Metrics that are read when somebody asks, not counted when something happens."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from prognode import metrics
from prognode.errors import Unavailable
from prognode.ports import Bus, CaseCount, CaseState, Index, ObjectStore

LETTERS_FRESH_S = 60.0
"""Dead letters are counted this often: on Kafka their whole topic is read."""

Reading = tuple[str, Callable[[], None]]
"""(the port that is read, as /readyz names it; what sets the gauges)."""


def refresh(readings: Sequence[Reading], silent: Collection[str]) -> None:
    """Set the gauges of every port that answers; those of the ports named in ``silent`` stay as they are."""
    for port, read in readings:
        if port not in silent:
            with contextlib.suppress(Unavailable):
                read()


def readings(
    index: Index | None, bus: Bus | None, objects: ObjectStore | None, groups: Mapping[str, Collection[str]]
) -> list[Reading]:
    """What is to be read from the ports of a process; None for a port that is not this process's to speak of.

    ``groups``: the topics of each consumer group.
    """
    found: list[Reading] = []
    if index is not None:
        found += [("index", lambda: read_outbox(index)), ("index", lambda: read_cases(index))]
    if bus is not None:
        found += [("bus", lambda: read_lag(bus, groups)), ("bus", DeadLetters(bus).read)]
    if objects is not None:
        found.append(("objects", lambda: metrics.disk_used_fraction.set(objects.used_fraction())))
    return found


def read_outbox(index: Index) -> None:
    """How long the oldest fact has waited."""
    metrics.outbox_age_seconds.set(index.outbox_age_s())


def read_cases(index: Index) -> None:
    """Cases by state; a group that has no case any more falls to zero."""
    number: Counter[tuple[str, str]] = Counter()
    oldest_s: dict[tuple[str, str], float] = {}
    for one in index.case_counts():
        labels = (one.state.value, awaited(one))
        number[labels] += one.count
        oldest_s[labels] = max(one.oldest_s, oldest_s.get(labels, 0.0))
    for labels in GROUPS:
        metrics.cases.labels(*labels).set(number[labels])
        metrics.oldest_case_seconds.labels(*labels).set(oldest_s.get(labels, 0.0))


def awaited(group: CaseCount) -> str:
    """``contours`` (no image can help), ``images``, or empty for what waits for time alone or for nothing."""
    if group.waiting_for in ("", "contours"):
        return group.waiting_for
    return "images"


GROUPS = tuple(
    (state.value, awaits)
    for state in CaseState
    for awaits in (("", "contours", "images") if state is CaseState.WAITING else ("",))
)
"""Every pair of labels that cases can have."""


def read_lag(bus: Bus, groups: Mapping[str, Collection[str]]) -> None:
    """What the groups of this process have not finished; zero of a topic of which the bus knows nothing."""
    for group, topics in groups.items():
        lag = bus.lag(group)
        for topic in topics:
            metrics.consumer_lag.labels(group, topic).set(lag.get(topic, 0))


@dataclass
class DeadLetters:
    """Counts the letters that wait for a person, not more often than once a minute."""

    bus: Bus
    _counted_at: float = field(default=-LETTERS_FRESH_S, init=False)

    def read(self) -> None:
        """Count them, if the last count is old."""
        if time.monotonic() - self._counted_at >= LETTERS_FRESH_S:
            metrics.dead_letters_open.set(len(self.bus.dead_letters()))
            self._counted_at = time.monotonic()
