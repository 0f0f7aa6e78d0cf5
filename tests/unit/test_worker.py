"""The consumer loop over the real embedded queue."""

from __future__ import annotations

import pytest
import structlog

from prognode.adapters.sqlite_bus import SqliteBus
from prognode.errors import GaveUp, Unavailable
from prognode.events import facts
from prognode.ports import Event, Message
from prognode.runtime.worker import TooManyDeadLetters, Worker, backoff_s

TOPIC = facts.CLINICAL_UPDATED
CASE = "0f3a9c5d7e1b2468"


@pytest.fixture
def bus(tmp_path):
    bus = SqliteBus(tmp_path / "bus.sqlite")
    yield bus
    bus.close()


def worker_of(bus, handler, **options):
    worker = Worker("group", bus, {TOPIC: handler}, **options)
    worker.subscribe()
    return worker


def event(number=0):
    """A fact that is valid, with a field that its schema does not know."""
    fact = facts.clinical_updated(CASE)
    return Event(fact.topic, fact.key, {**fact.payload, "number": number})


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
    assert bus.receive("group", [TOPIC], 0.0) is not None


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
        assert bus.receive("group", [TOPIC], 0.0) is not None  # a process takes it, and dies
        bus.release_leases()
    worker.step()
    assert handled == []
    assert "died 2 times" in str(bus.dead_letters())


def never(_event):
    """A handler that must not be reached."""
    raise AssertionError


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        ({"version": 2, "case_id": CASE}, "clinical-updated version 2 is not known here; version 1 is"),
        ({"version": 1}, "clinical-updated version 1: case_id is missing"),
        ({"version": 1, "case_id": "Doe^Jane"}, "clinical-updated version 1: case_id is malformed"),
        ({}, "clinical-updated: version is missing"),
    ],
)
def test_what_its_schema_does_not_know_is_set_aside_unhandled(bus, payload, why):
    """No handler sees it; the dead letter names version and field; the next message is handled."""
    worker = worker_of(bus, never)
    bus.publish([Event(TOPIC, CASE, payload)])
    assert worker.step()
    (letter,) = bus.dead_letters()
    assert letter["why"] == why
    assert not worker.step()


def test_what_is_refused_stays_out_of_the_log(bus):
    """Nothing of such a message is known to be free of patient data, its key least of all."""
    worker = worker_of(bus, never)
    bus.publish([Event(TOPIC, "Doe^Jane", {"version": 1, "case_id": "Doe^Jane", "name": "Doe^Jane"})])
    with structlog.testing.capture_logs() as lines:
        worker.step()
    said = str(lines)
    assert "case_id is malformed" in said
    assert "Doe" not in said


def test_a_message_that_is_no_event_is_set_aside_with_its_fault():
    """What the bus could not read goes to the dead letters with the reason that the bus gives, even if it looks right."""

    class OneBadMessage:
        """Gives one message, and notes what becomes of it."""

        def __init__(self):
            self.dead_letters = []

        def receive(self, _group, _topics, _timeout_s):
            return Message("1", event(), attempts=0, fault="no JSON")

        def dead(self, group, message, why):
            self.dead_letters.append((group, message.id, why))

    bus = OneBadMessage()
    assert Worker("group", bus, {TOPIC: never}).step()
    assert bus.dead_letters == [("group", "1", "no JSON")]


def test_refused_messages_do_not_stop_the_loop(bus):
    """Only bugs do: what somebody else sends cannot take the service down."""
    handled = []
    worker = worker_of(bus, lambda taken: handled.append(taken.payload["number"]) or [], dead_letter_limit=2)
    bus.publish([Event(TOPIC, CASE, {"version": 2})] * 5 + [event(7)])
    for _ in range(6):
        assert worker.step()
    assert handled == [7]
    assert len(bus.dead_letters()) == 5
