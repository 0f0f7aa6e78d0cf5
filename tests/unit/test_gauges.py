"""Metrics that are read when somebody asks."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY

from prognode.errors import Unavailable
from prognode.ports import CaseCount, CaseState
from prognode.runtime import gauges
from prognode.runtime.gauges import DeadLetters, read_cases, readings, refresh


class Counted:
    """The part of the index that is read."""

    def __init__(self, *groups: CaseCount) -> None:
        self.groups = list(groups)

    def case_counts(self) -> list[CaseCount]:
        return self.groups

    def outbox_age_s(self) -> float:
        return 7.0


class Letters:
    """The part of the bus that is read."""

    def __init__(self, *letters: str) -> None:
        self.letters = list(letters)
        self.asked = 0

    def dead_letters(self) -> list[str]:
        self.asked += 1
        return self.letters

    def lag(self, group: str) -> dict[str, int]:
        return {"crop-ready": len(group)}


class Disk:
    """The part of the object store that is read."""

    def __init__(self, used: float | None) -> None:
        self.used = used

    def used_fraction(self) -> float:
        if self.used is None:
            raise Unavailable("disk: no answer")
        return self.used


def value(name: str, **labels: str) -> float | None:
    """As Prometheus would read it."""
    return REGISTRY.get_sample_value(name, labels)


def cases(state: str, waiting_for: str = "") -> tuple[float | None, float | None]:
    """(how many, oldest in seconds)."""
    return tuple(
        value(name, state=state, waiting_for=waiting_for)
        for name in ("prognode_cases", "prognode_oldest_case_seconds")
    )


def test_cases_that_wait_are_told_apart_by_whether_images_can_help():
    """Every kind of wait but that for contours ends by images; the oldest of all kinds counts."""
    waiting = [("image", 2, 30.0), ("end", 1, 90.0), ("contours", 4, 5000.0), ("", 1, 3.0)]
    read_cases(Counted(*(CaseCount(CaseState.WAITING, *each) for each in waiting)))
    assert cases("waiting", "images") == (3.0, 90.0)
    assert cases("waiting", "contours") == (4.0, 5000.0)
    assert cases("waiting") == (1.0, 3.0)


def test_a_state_without_cases_is_zero():
    """A gauge does not go on saying what was once true, and every state is there from the beginning."""
    read_cases(Counted(CaseCount(CaseState.READY, "", 1, 500.0)))
    assert cases("ready") == (1.0, 500.0)
    read_cases(Counted())
    assert [cases(state.value) for state in CaseState] == [(0.0, 0.0)] * len(CaseState)


def test_dead_letters_are_counted_once_a_minute(monkeypatch):
    """Not at each scrape: their whole topic is read."""
    bus = Letters("one", "two")
    letters = DeadLetters(bus)
    for _ in range(3):
        letters.read()
    assert (bus.asked, value("prognode_dead_letters_open")) == (1, 2.0)
    monkeypatch.setattr(gauges, "LETTERS_FRESH_S", 0.0)
    bus.letters.clear()
    letters.read()
    assert value("prognode_dead_letters_open") == 0.0


def test_what_does_not_answer_keeps_no_other_from_being_read():
    """A port that is known to be silent is not asked; one that fails now is passed over."""
    groups = {"scoring": ["crop-ready", "case-refused"]}
    found = readings(Counted(CaseCount(CaseState.READY, "", 3, 1.0)), Letters(), Disk(None), groups)
    refresh(found, [])
    assert cases("ready")[0] == 3.0
    assert value("prognode_outbox_age_seconds") == 7.0
    assert value("prognode_consumer_lag", group="scoring", topic="crop-ready") == 7.0
    assert value("prognode_consumer_lag", group="scoring", topic="case-refused") == 0.0
    refresh(readings(Counted(), None, Disk(0.25), {}), ["index"])
    assert cases("ready")[0] == 3.0
    assert value("prognode_disk_used_fraction") == 0.25


def test_a_bug_is_not_passed_over():
    """Only what does not answer is."""
    broken = Counted()
    broken.groups = None
    with pytest.raises(TypeError):
        refresh(readings(broken, None, None, {}), [])
