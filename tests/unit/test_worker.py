"""The consumer loop over the real embedded queue."""

from __future__ import annotations

import pytest

from prognode.adapters.sqlite_bus import SqliteBus
from prognode.errors import GaveUp, Unavailable
from prognode.ports import Event
from prognode.runtime.worker import TooManyDeadLetters, Worker, backoff_s


@pytest.fixture
def bus(tmp_path):
    bus = SqliteBus(tmp_path / "bus.sqlite")
    yield bus
    bus.close()


def worker_of(bus, handler, **options):
    worker = Worker("group", bus, {"topic": handler}, **options)
    worker.subscribe()
    return worker


def event(number=0):
    return Event("topic", "case", {"version": 1, "case_id": "case", "number": number})


def test_facts_that_follow_are_published(bus):
    """What a handler returns is on the bus when its message is acknowledged."""
    bus.subscribe("next", ["after"])
    worker = worker_of(bus, lambda taken: [Event("after", taken.key, taken.payload)])
    bus.publish([event(7)])
    assert worker.step()
    message = bus.receive("next", ["after"], 0.0)
    assert message is not None
    assert message.event.payload["number"] == 7
    assert not worker.step()


def test_unavailable_comes_again(bus):
    """Work that failed because something did not answer is handed back and done later."""
    answers = [Unavailable("down", retry_after_s=0.0)]

    def handler(_event):
        if answers:
            raise answers.pop()
        return []

    worker = worker_of(bus, handler)
    bus.publish([event()])
    assert worker.step()
    assert worker.step(timeout_s=2.0)
    assert bus.dead_letters() == []


def test_bug_becomes_a_dead_letter_and_the_rest_goes_on(bus):
    """A message that meets a bug is set aside with a reason; the next one is handled."""
    done = []

    def handler(taken):
        if taken.payload["number"] == 1:
            raise ValueError("the text of a data set")
        done.append(taken.payload["number"])
        return []

    worker = worker_of(bus, handler)
    bus.publish([event(1), event(2)])
    assert worker.step()
    assert worker.step()
    assert done == [2]
    (letter,) = bus.dead_letters()
    assert "ValueError" in str(letter)
    assert "the text of a data set" not in str(letter)


def test_giving_up_keeps_its_reason(bus):
    """A handler that says that trying again cannot help leaves a dead letter with its own sentence."""

    def handler(_event):
        raise GaveUp("the PACS refuses the class")

    worker = worker_of(bus, handler)
    bus.publish([event()])
    worker.step()
    assert "the PACS refuses the class" in str(bus.dead_letters())


def test_only_bugs_stop_the_loop(bus):
    """A release that dead-letters everything stops, so that the traffic is kept for a repaired one."""

    def handler(_event):
        raise ValueError

    worker = worker_of(bus, handler, dead_letter_limit=2)
    bus.publish([event(1), event(2), event(3)])
    worker.step()
    with pytest.raises(TooManyDeadLetters):
        worker.step()
    assert bus.receive("group", ["topic"], 0.0) is not None


@pytest.mark.parametrize(("attempts", "pause"), [(0, 0.5), (1, 1.0), (3, 4.0), (100, 60.0)])
def test_pauses_double_up_to_a_cap(attempts, pause):
    """The pause before the next try doubles and never exceeds a minute."""
    assert backoff_s(attempts) == pause


def test_message_that_kills_the_process_is_set_aside(bus):
    """What takes the process down again and again ends as a dead letter instead of stopping the node for ever."""
    handled = []
    worker = worker_of(bus, lambda taken: handled.append(taken) or [], abandon_limit=2)
    bus.publish([event()])
    for _ in range(2):
        assert bus.receive("group", ["topic"], 0.0) is not None  # a process takes it, and dies
        bus.release_leases()
    worker.step()
    assert handled == []
    assert "died 2 times" in str(bus.dead_letters())
