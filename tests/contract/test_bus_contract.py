"""What every bus promises."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from contract import samples
from contract.adapters_under_test import BUSES, LEASE_S

TOPIC = "thing-happened"


@pytest.fixture(params=BUSES)
def reopen(request, tmp_path):
    return lambda: BUSES[request.param](tmp_path)


@pytest.fixture
def bus(reopen):
    bus = reopen()
    bus.subscribe("group", [TOPIC])
    return bus


def drain(bus, group="group", topics=(TOPIC,)):
    numbers = []
    while (message := bus.receive(group, topics, 0.0)) is not None:
        numbers.append(message.event.payload["number"])
        bus.done(group, message)
    return numbers


def test_events_come_as_published_oldest_first(bus):
    """Topic, key and payload come back, in the order of publication, each once."""
    events = [samples.event(number) for number in range(5)]
    bus.publish(events[:2])
    bus.publish(events[2:])
    received = []
    while (message := bus.receive("group", [TOPIC], 0.0)) is not None:
        received.append(message.event)
        assert message.attempts == 0
        bus.done("group", message)
    assert received == events


def test_every_group_gets_every_event(bus):
    """Groups do not take from each other."""
    bus.subscribe("other", [TOPIC])
    bus.publish([samples.event(1), samples.event(2)])
    assert drain(bus) == [1, 2]
    assert drain(bus, "other") == [1, 2]


def test_a_group_gets_its_topics_only(bus):
    """Receive gives messages of the topics asked for; others wait."""
    bus.subscribe("group", ["second-topic"])
    bus.publish([samples.event(1), samples.event(2, "second-topic"), samples.event(3, "unknown-topic")])
    assert drain(bus, topics=["second-topic"]) == [2]
    assert drain(bus, topics=[TOPIC, "second-topic", "unknown-topic"]) == [1]


def test_events_from_before_a_group_existed_are_kept_for_it(bus):
    """A group that subscribes late gets what was published before, even if others have acknowledged it."""
    bus.publish([samples.event(1), samples.event(2)])
    assert drain(bus) == [1, 2]
    bus.subscribe("late", [TOPIC])
    assert drain(bus, "late") == [1, 2]
    bus.subscribe("late", [TOPIC])
    assert drain(bus, "late") == []


def test_a_leased_message_is_not_given_twice(bus):
    """Two consumers of a group get different messages."""
    bus.publish([samples.event(1), samples.event(2)])
    numbers = [bus.receive("group", [TOPIC], 0.0).event.payload["number"] for _ in range(2)]
    assert numbers == [1, 2]
    assert bus.receive("group", [TOPIC], 0.0) is None


def test_a_lease_that_ends_gives_the_message_again(bus):
    """A message whose consumer neither answered nor died visibly comes again, with one attempt more."""
    bus.publish([samples.event(1)])
    assert bus.receive("group", [TOPIC], 0.0).attempts == 0
    again = bus.receive("group", [TOPIC], 20 * LEASE_S)
    assert again.event == samples.event(1)
    assert again.attempts == 1


def test_a_late_verdict_of_a_lost_lease_changes_nothing(bus):
    """Who lost the lease cannot hand back or bury what another consumer now holds."""
    bus.publish([samples.event(1)])
    lost = bus.receive("group", [TOPIC], 0.0)
    held = bus.receive("group", [TOPIC], 20 * LEASE_S)
    bus.dead("group", lost, "too late")
    bus.retry("group", lost, 0.0, "too late")
    assert bus.dead_letters() == []
    bus.done("group", held)
    assert drain(bus) == []


def test_retry_comes_again_after_its_pause(bus):
    """A message handed back comes after the pause with attempts + 1, and holds up no other."""
    bus.publish([samples.event(1), samples.event(2)])
    bus.retry("group", bus.receive("group", [TOPIC], 0.0), 0.4, "PACS is down")
    handed_back = time.monotonic()
    assert drain(bus) == [2]
    message = bus.receive("group", [TOPIC], 20.0)
    assert (message.event, message.attempts) == (samples.event(1), 1)
    assert time.monotonic() - handed_back >= 0.3


def test_dead_letters_are_set_aside_and_seen(bus, reopen):
    """A dead message does not come again; it is listed with group, event and reason, after a restart as well."""
    bus.publish([samples.event(1), samples.event(2)])
    bus.dead("group", bus.receive("group", [TOPIC], 0.0), "KeyError in group")
    assert drain(bus) == [2]
    (letter,) = reopen().dead_letters()
    expected = {"group": "group", "topic": TOPIC, "key": "case-1", "why": "KeyError in group"}
    assert {name: letter[name] for name in expected} == expected
    assert letter["payload"] == samples.event(1).payload


def test_done_publishes_what_follows(bus):
    """done(then=...) publishes, and the message is gone."""
    bus.publish([samples.event(1)])
    bus.done("group", bus.receive("group", [TOPIC], 0.0), [samples.event(2)])
    assert drain(bus) == [2]


def test_receive_waits_for_an_event(bus):
    """Receive returns when another thread publishes, long before its time is over."""
    threading.Timer(0.1, lambda: bus.publish([samples.event(7)])).start()
    before = time.monotonic()
    message = bus.receive("group", [TOPIC], 60.0)
    assert message.event == samples.event(7)
    assert time.monotonic() - before < 30.0


def test_receive_sees_what_another_process_publishes(bus, reopen):
    """A second opening of the same bus, as another process has it, is heard."""
    other = reopen()
    threading.Timer(0.1, lambda: other.publish([samples.event(7)])).start()
    assert bus.receive("group", [TOPIC], 60.0).event == samples.event(7)


def test_receive_gives_up_in_time(bus):
    """Without an event receive returns None."""
    assert bus.receive("group", [TOPIC], 0.05) is None


def test_many_publishers_and_consumers(bus):
    """Eight publishers and four consumers of one group: every event is handled, none twice."""
    handled: list[int] = []

    def publish(first):
        for number in range(first, first + 25):
            bus.publish([samples.event(number)])

    def consume(_):
        while len(handled) < 200:
            message = bus.receive("group", [TOPIC], 0.05)
            if message is not None:
                bus.done("group", message)
                handled.append(message.event.payload["number"])

    with ThreadPoolExecutor(12) as pool:
        publishers = pool.map(publish, range(0, 200, 25))
        consumers = pool.map(consume, range(4))
        list(publishers)
        list(consumers)
    assert sorted(handled) == list(range(200))


def test_events_survive_a_restart(bus, reopen):
    """Published events and acknowledgements are there when the bus is opened again."""
    bus.publish([samples.event(1), samples.event(2), samples.event(3)])
    bus.done("group", bus.receive("group", [TOPIC], 0.0))
    assert drain(reopen()) == [2, 3]


def test_kill_9_neither_breaks_nor_forks_a_chain(request, reopen, tmp_path):
    """Killed between receive and done, the message comes again; killed after, its follower is there: exactly one."""
    adapter = request.node.callspec.params["reopen"]
    bus = reopen()
    bus.subscribe("relay", ["chain"])
    bus.publish([samples.link(0)])
    rng = random.Random(2)
    done = 0
    for _ in range(3):
        done += len(samples.acknowledged_before_kill("bus", adapter, tmp_path, 0, rng))
        waiting = bus.receive("relay", ["chain"], 20 * LEASE_S)
        # one step may have been made that the writer could not report any more
        assert waiting.event.payload["number"] in (done, done + 1)
        done = waiting.event.payload["number"]
        assert bus.receive("relay", ["chain"], 0.0) is None
        bus.retry("relay", waiting, 0.0, "the test only looked")
    assert done >= 3
