"""What every bus promises."""

import random
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import pytest
from contract import samples
from contract.adapters_under_test import BUSES, LEASE_S, LONG_LEASE_S

TOPIC = "thing-happened"
PATIENCE_S = 30.0


class Opener:
    """Opens one bus again and again, as restarted processes do."""

    def __init__(self, adapter, address):
        self.adapter, self.address = adapter, address
        self.kind = BUSES[adapter]
        self._open = []

    def another(self, lease_s=LEASE_S):
        """A second process beside those that are there."""
        self._open.append(self.kind.open(self.address, lease_s))
        return self._open[-1]

    def restart(self):
        """The only process: those before have ended in good order."""
        self.close()
        return self.another()

    def close(self):
        for bus in self._open:
            bus.close()
        self._open.clear()


@pytest.fixture(params=BUSES)
def opener(request, tmp_path):
    opener = Opener(request.param, tmp_path)
    yield opener
    opener.close()


@pytest.fixture
def bus(opener):
    bus = opener.another()
    bus.subscribe("group", [TOPIC])
    return bus


@pytest.fixture
def quiet_s(opener):
    return opener.kind.quiet_s


def take(bus, group="group", topics=(TOPIC,)):
    """The next message, which must come."""
    message = bus.receive(group, topics, PATIENCE_S)
    assert message is not None
    return message


@pytest.fixture
def drain(quiet_s):
    """Takes and finishes messages, ``count`` that must come and whatever else does; their numbers."""

    def drain(bus, count, group="group", topics=(TOPIC,)):
        numbers = []
        while message := bus.receive(group, topics, PATIENCE_S if len(numbers) < count else quiet_s):
            numbers.append(message.event.payload["number"])
            bus.done(group, message)
        return numbers

    return drain


def test_events_come_as_published_oldest_first(bus, opener, quiet_s):
    """Topic, key and payload come back, in the order of publication (of each key, at the least), each once."""
    events = [samples.event(number) for number in range(9)]
    bus.publish(events[:4])
    bus.publish(events[4:])
    received = []
    while message := bus.receive("group", [TOPIC], PATIENCE_S if len(received) < 9 else quiet_s):
        received.append(message.event)
        assert message.attempts == 0
        bus.done("group", message)
    by_key = defaultdict(list)
    for event in received:
        by_key[event.key].append(event)
    assert by_key == {key: [e for e in events if e.key == key] for key in ("case-0", "case-1", "case-2")}
    assert not opener.kind.in_total_order or received == events


def test_every_group_gets_every_event(bus, drain):
    """Groups do not take from each other."""
    bus.subscribe("other", [TOPIC])
    bus.publish([samples.event(1), samples.event(2)])
    assert sorted(drain(bus, 2)) == [1, 2]
    assert sorted(drain(bus, 2, "other")) == [1, 2]


def test_a_group_gets_its_topics_only(bus, drain):
    """Receive gives messages of the topics asked for; others wait."""
    bus.subscribe("group", ["second-topic"])
    bus.publish([samples.event(1), samples.event(2, "second-topic"), samples.event(3, "unknown-topic")])
    assert drain(bus, 1, topics=["second-topic"]) == [2]
    assert drain(bus, 1, topics=[TOPIC, "second-topic", "unknown-topic"]) == [1]


def test_events_from_before_a_group_existed_are_kept_for_it(bus, drain):
    """A group that subscribes late gets what was published before, even if others have acknowledged it."""
    bus.publish([samples.event(1), samples.event(2)])
    assert sorted(drain(bus, 2)) == [1, 2]
    bus.subscribe("late", [TOPIC])
    assert sorted(drain(bus, 2, "late")) == [1, 2]
    bus.subscribe("late", [TOPIC])
    assert drain(bus, 0, "late") == []


def test_a_leased_message_is_not_given_twice(opener):
    """Two consumers of a group get different messages."""
    bus = opener.another(LONG_LEASE_S)
    bus.subscribe("group", [TOPIC])
    bus.publish([samples.event(1), samples.event(2)])
    numbers = [take(bus).event.payload["number"] for _ in range(2)]
    assert sorted(numbers) == [1, 2]
    assert not opener.kind.in_total_order or numbers == [1, 2]
    assert bus.receive("group", [TOPIC], 0.0) is None


def test_a_lease_that_ends_gives_the_message_again(bus):
    """A message whose consumer neither answered nor died visibly comes again, with one attempt more."""
    bus.publish([samples.event(1)])
    assert take(bus).attempts == 0
    again = bus.receive("group", [TOPIC], 6 * LEASE_S)
    assert again.event == samples.event(1)
    assert again.attempts == 1


def test_a_late_verdict_of_a_lost_lease_changes_nothing(bus, drain):
    """Who lost the lease cannot hand back or bury what another consumer now holds."""
    bus.publish([samples.event(1)])
    lost = take(bus)
    held = bus.receive("group", [TOPIC], 6 * LEASE_S)
    bus.dead("group", lost, "too late")
    bus.retry("group", lost, 0.0, "too late")
    assert bus.dead_letters() == []
    bus.done("group", held)
    assert drain(bus, 0) == []


def test_retry_comes_again_after_its_pause(bus, drain):
    """A message handed back comes after the pause with attempts + 1, and holds up no other, not even of its key."""
    bus.publish([samples.event(1)])
    first = take(bus)
    bus.publish([samples.event(2), samples.event(4)])
    bus.retry("group", first, 6.0, "PACS is down")
    handed_back = time.monotonic()
    assert sorted(drain(bus, 2)) == [2, 4]
    message = take(bus)
    assert (message.event, message.attempts) == (samples.event(1), 1)
    assert time.monotonic() - handed_back >= 5.0


def test_dead_letters_are_set_aside_and_seen(bus, opener, drain):
    """A dead message does not come again; it is listed with group, event and reason, after a restart as well."""
    bus.publish([samples.event(1), samples.event(2)])
    dead = take(bus)
    bus.dead("group", dead, "KeyError in group")
    assert drain(bus, 1) == [3 - dead.event.payload["number"]]
    (letter,) = opener.another().dead_letters()
    expected = {"group": "group", "topic": TOPIC, "key": dead.event.key, "why": "KeyError in group"}
    assert {name: letter[name] for name in expected} == expected
    assert letter["payload"] == dead.event.payload
    assert letter["deliveries"] == 1


def test_a_dead_letter_is_replayed_or_dropped(bus, opener, drain):
    """Replayed it comes again as if new, dropped it never does; either is listed no more, and is known no more."""
    bus.publish([samples.event(1), samples.event(2)])
    for _ in range(2):
        bus.dead("group", take(bus), "KeyError in group")
    letters = {letter["payload"]["number"]: letter["id"] for letter in bus.dead_letters()}
    assert bus.replay_dead_letter(letters[1])
    assert bus.drop_dead_letter(letters[2])
    assert opener.another().dead_letters() == []
    assert not bus.replay_dead_letter(letters[1])
    assert not bus.drop_dead_letter(letters[2])
    message = take(bus)
    assert (message.event, message.attempts) == (samples.event(1), 0)
    bus.done("group", message)
    assert drain(bus, 0) == []


def test_done_publishes_what_follows(bus, drain):
    """done(then=...) publishes, and the message is gone."""
    bus.publish([samples.event(1)])
    bus.done("group", take(bus), [samples.event(2)])
    assert drain(bus, 1) == [2]


def test_receive_waits_for_an_event(bus):
    """Receive returns when another thread publishes, long before its time is over."""
    threading.Timer(0.1, lambda: bus.publish([samples.event(7)])).start()
    before = time.monotonic()
    message = bus.receive("group", [TOPIC], 60.0)
    assert message.event == samples.event(7)
    assert time.monotonic() - before < 30.0


def test_receive_sees_what_another_process_publishes(bus, opener):
    """A second opening of the same bus, as another process has it, is heard."""
    other = opener.another()
    threading.Timer(0.1, lambda: other.publish([samples.event(7)])).start()
    assert bus.receive("group", [TOPIC], 60.0).event == samples.event(7)


def test_receive_gives_up_in_time(bus):
    """Without an event receive returns None."""
    assert bus.receive("group", [TOPIC], 0.05) is None


def test_the_trace_context_travels(bus):
    """An event comes with the trace context that it was published with."""
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    bus.publish([samples.event(1, traceparent=traceparent)])
    assert take(bus).event.traceparent == traceparent


def test_lag_counts_what_is_not_finished(bus, quiet_s):
    """Waiting, leased and handed back: all of it lags, by topic; nothing when all is finished."""
    bus.publish([samples.event(number) for number in range(3)])
    bus.done("group", take(bus))
    bus.retry("group", take(bus), 60.0, "PACS is down")
    take(bus)
    time.sleep(quiet_s)
    assert bus.lag("group") == {TOPIC: 2}
    bus.publish([])
    assert bus.lag("nobody") == {}


def test_many_publishers_and_consumers(opener):
    """Eight publishers and four consumers of one group: every event is handled, none twice."""
    bus = opener.another(LONG_LEASE_S)
    bus.subscribe("group", [TOPIC])
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


def test_events_survive_a_restart(bus, opener, drain):
    """Published events and acknowledgements are there when the bus is opened again."""
    bus.publish([samples.event(1), samples.event(2), samples.event(3)])
    done = take(bus)
    bus.done("group", done)
    assert sorted(drain(opener.restart(), 2)) == sorted({1, 2, 3} - {done.event.payload["number"]})


def test_what_is_finished_out_of_order_stays_finished(bus, opener, drain):
    """Of one key the first waits for its pause and the others are done: after a restart the first alone is left."""
    bus.publish([samples.event(number) for number in (0, 3, 6, 9)])
    first = take(bus)
    bus.retry("group", first, 60.0, "PACS is down")
    assert drain(bus, 3) == [3, 6, 9]
    bus = opener.restart()
    if opener.adapter == "sqlite":  # it remembers the pause as well
        assert drain(bus, 0) == []
    else:
        assert drain(bus, 1) == [0]


def test_kill_9_neither_breaks_nor_forks_a_chain(opener, tmp_path, quiet_s):
    """Killed between receive and done, the message comes again; killed after, its follower is there: exactly one.

    Where publishing and acknowledging are two steps, both may be there at once; the message done again then adds nothing.
    The test's own leases do not end while it waits to see that nothing else is there.
    """
    bus = opener.another(LONG_LEASE_S)
    bus.subscribe("relay", ["chain"])
    bus.publish([samples.link(0)])
    rng = random.Random(2)
    done = 0
    for _ in range(4):
        opener.close()
        done += len(samples.acknowledged_before_kill("bus", opener.adapter, tmp_path, 0, rng))
        bus = opener.another(LONG_LEASE_S)
        waiting = take(bus, "relay", ["chain"])
        # one step may have been made that the writer could not report any more
        assert waiting.event.payload["number"] in (done, done + 1)
        other = bus.receive("relay", ["chain"], quiet_s)
        if other is not None:
            assert not opener.kind.in_total_order
            waiting, follower = sorted((waiting, other), key=lambda message: message.event.payload["number"])
            assert (waiting.event, follower.event) == (samples.link(done), samples.link(done + 1))
            bus.done("relay", waiting, [samples.link(done + 1)])
            waiting = follower
        done = waiting.event.payload["number"]
        bus.retry("relay", waiting, 0.0, "the test only looked")
        only = take(bus, "relay", ["chain"])
        assert only.event == waiting.event
        assert bus.receive("relay", ["chain"], quiet_s / 8) is None
        bus.retry("relay", only, 0.0, "the test only looked")
    assert done >= 4


def test_whoever_takes_a_message_and_dies_is_counted(opener, tmp_path):
    """A message that takes its process down is known by the leases that ended without a word."""
    bus = opener.another()
    bus.subscribe("relay", ["chain"])
    bus.publish([samples.link(0)])
    for died in range(1, 3):
        opener.close()
        samples.taken_and_died(opener.adapter, tmp_path)
        bus = opener.another()
        waiting = take(bus, "relay", ["chain"])
        assert waiting.abandoned == died
        bus.retry("relay", waiting, 0.0, "the test only looked")
