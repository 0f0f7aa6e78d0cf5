"""The bus on a real broker: long cases, members that come, go and die, and a broker that is away."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from dataclasses import replace

import pytest
from components import wait_until
from contract import samples
from contract.adapters_under_test import name_of
from kafka import KafkaConsumer
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaTimeoutError
from servers.kafka import shared_kafka, start_kafka

from prognode.adapters.kafka_bus import KafkaBus
from prognode.adapters.kafka_settings import KafkaSettings
from prognode.errors import Unavailable

pytestmark = pytest.mark.component

TOPIC = "thing-happened"
PATIENCE_S = 30.0


@pytest.fixture
def member(tmp_path):
    """Opens a member of the test's group; closes all at the end."""
    opened: list[KafkaBus] = []

    def member(instance: str = "", bootstrap: str = "", **changes: object) -> KafkaBus:
        values: dict[str, object] = {
            "bootstrap": bootstrap or shared_kafka(),
            "topic_prefix": name_of(tmp_path),
            "instance": instance,
            "partitions": 4,
            "session_timeout_s": 6.0,
            "request_timeout_s": 3.0,
        }
        bus = KafkaBus(KafkaSettings.model_validate(values | changes), "test")
        bus.subscribe("group", [TOPIC])
        opened.append(bus)
        return bus

    yield member
    for bus in opened:
        bus.close()


def events(count: int) -> list:
    """Events of as many cases."""
    return [
        samples.Event(TOPIC, f"case-{number}", {"version": 1, "number": number}) for number in range(count)
    ]


def take(bus: KafkaBus, timeout_s: float = PATIENCE_S):
    return bus.receive("group", [TOPIC], timeout_s)


def test_a_long_case_keeps_its_partitions(member):
    """Longer in hand than a silent member counts as alive: it is not given out again, and its end is committed."""
    bus = member()
    bus.publish(events(1))
    message = take(bus)
    assert take(bus, 9.0) is None
    bus.done("group", message)
    bus.close()
    assert take(member(), 5.0) is None


def test_a_partition_that_moves_is_worked_on_by_its_new_owner(member):
    """A replica joins while messages are in hand: who has lost one cannot acknowledge it, and is told so."""
    first = member()
    first.publish(events(8))
    held = [take(first) for _ in range(8)]
    second = member()
    moved = take(second)
    assert moved is not None
    with pytest.raises(Unavailable, match="another member"):
        first.done("group", next(one for one in held if one.id == moved.id))
    second.done("group", moved)


def test_what_came_twice_is_committed_without_work(tmp_path, member):
    """A relay that died before it took note says it again: nobody works on it, and no lag stays behind."""
    bus = member()
    (event,) = events(1)
    bus.publish([replace(event, id="said-twice")])
    bus.done("group", take(bus))
    bus.publish([replace(event, id="said-twice")])
    assert take(bus, 1.0) is None
    wait_until(lambda: committed(bus, f"{name_of(tmp_path)}.group") == 2, "the commit of both", PATIENCE_S)


def test_a_commit_that_was_not_taken_is_made_again(tmp_path, member, monkeypatch):
    """Of what came twice nobody waits for the commit: it is repeated until the broker takes it."""
    bus = member()
    (event,) = events(1)
    bus.publish([replace(event, id="said-twice")])
    bus.done("group", take(bus))
    refused: list[object] = []
    real = KafkaConsumer.commit_async

    def refuse_twice(client, offsets, callback):
        if len(refused) < 2:
            refused.append(offsets)
            return callback(offsets, KafkaTimeoutError())
        return real(client, offsets, callback)

    monkeypatch.setattr(KafkaConsumer, "commit_async", refuse_twice)
    bus.publish([replace(event, id="said-twice")])
    wait_until(lambda: committed(bus, f"{name_of(tmp_path)}.group") == 2, "the commit of both", PATIENCE_S)
    assert len(refused) == 2


def committed(bus: KafkaBus, group: str) -> int:
    """Messages before the group's commits, over all partitions."""
    admin = KafkaAdminClient(bootstrap_servers=bus._settings.bootstrap)
    try:
        return sum(max(0, one.offset) for one in admin.list_group_offsets([group])[group].values())
    finally:
        admin.close()


def test_members_share_the_partitions(member):
    """Each of two members is given some, and everything is handled."""
    first, second = member(), member()
    handled: dict[str, list[int]] = {"first": [], "second": []}
    stop = threading.Event()

    def work(name: str, bus: KafkaBus) -> None:
        while not stop.is_set():
            message = take(bus, 0.1)
            if message is None:
                continue
            handled[name].append(message.event.payload["number"])
            with contextlib.suppress(Unavailable):  # it moved meanwhile, and is handled again
                bus.done("group", message)

    threads = [threading.Thread(target=work, args=pair) for pair in (("first", first), ("second", second))]
    for thread in threads:
        thread.start()
    end = time.monotonic() + PATIENCE_S
    batch = 0
    while not all(handled.values()) and time.monotonic() < end:
        first.publish(events(12))
        batch += 1
        time.sleep(0.5)
    while sum(first.lag("group").values()) + sum(second.lag("group").values()) and time.monotonic() < 2 * end:
        time.sleep(0.1)
    stop.set()
    for thread in threads:
        thread.join()
    assert all(handled.values()), "one member was given everything"
    everything = Counter(handled["first"] + handled["second"])
    assert all(everything[number] >= batch for number in range(12))


def test_what_a_member_had_that_left_comes_to_another_at_once(member):
    """A member that closes in good order hands its work back."""
    first = member()
    first.publish(events(1))
    assert take(first) is not None
    first.close()
    again = take(member())
    assert again is not None


def test_a_member_with_a_name_of_its_own_is_back_at_once(member):
    """The name is kept: no silence has to pass before its partitions are served again."""
    first = member(instance="replica-0")
    first.publish(events(1))
    taken = take(first)
    # as if it were killed: it says nothing more to the broker
    first._members["group"]._closing.set()
    again = take(member(instance="replica-0"), 5.0)
    assert again is not None
    assert again.event == taken.event


def test_a_broker_that_is_away_is_unavailable_and_nothing_is_lost(tmp_path, member):
    """Publishing says Unavailable while it is gone; afterwards everything goes on by itself."""
    broker = start_kafka(tmp_path)
    try:
        bus = member(bootstrap=broker.address, instance="replica-0", request_timeout_s=2.0)
        bus.publish(events(2))
        held = take(bus)
        broker.kill9()
        with pytest.raises(Unavailable):
            bus.publish(events(1))
        with pytest.raises(Unavailable):
            bus.check()
        broker.start()
        numbers = [held.event.payload["number"]]
        deadline = time.monotonic() + 60.0
        finished = False
        while not finished and time.monotonic() < deadline:
            try:
                bus.done("group", held)
                finished = True
            except Unavailable:
                time.sleep(0.5)
        assert finished
        bus.check()
        bus.publish([samples.Event(TOPIC, "case-9", {"version": 1, "number": 9})])
        while 9 not in numbers or len(set(numbers)) < 3:
            message = take(bus, 60.0)
            assert message is not None, f"only {numbers} came"
            numbers.append(message.event.payload["number"])
            bus.done("group", message)
        assert set(numbers) == {0, 1, 9}
    finally:
        broker.stop()


def test_nobody_at_the_address_is_unavailable(tmp_path):
    """A wrong address and a broker that is down look alike: wait, and say so."""
    bus = KafkaBus(KafkaSettings(bootstrap="127.0.0.1:1", topic_prefix="none", request_timeout_s=1.0))
    with pytest.raises(Unavailable):
        bus.publish(events(1))
    with pytest.raises(Unavailable):
        bus.subscribe("group", [TOPIC])


def test_who_publishes_while_the_broker_dies_publishes_when_it_is_back(tmp_path, member):
    """A request that was cut off in the middle stops no later one, and no thread of a given-up producer is left."""
    broker = start_kafka(tmp_path)
    before = threading.enumerate()
    try:
        bus = member(bootstrap=broker.address, request_timeout_s=1.0)
        stop = threading.Event()
        published = Counter()

        def publish(name: str) -> None:
            while not stop.is_set():
                with contextlib.suppress(Unavailable):
                    bus.publish(events(1))
                    published[name] += 1

        names = [f"publisher-{number}" for number in range(4)]
        threads = [threading.Thread(target=publish, args=[name]) for name in names]
        for thread in threads:
            thread.start()
        wait_until(lambda: all(published[name] for name in names), "what everyone publishes", PATIENCE_S)
        broker.kill9()
        time.sleep(4.0)
        broker.start()
        published.clear()
        wait_until(lambda: all(published[name] for name in names), "what everyone publishes", PATIENCE_S)
        stop.set()
        for thread in threads:
            thread.join()
        bus.close()
        wait_until(lambda: not threads_of_clients(before), "the end of every thread of a client", 10.0)
    finally:
        stop.set()
        broker.stop()


def threads_of_clients(before: list[threading.Thread]) -> list[threading.Thread]:
    """Threads of Kafka's clients that were not there before."""
    return [
        one
        for one in threading.enumerate()
        if one not in before and ("kafka" in one.name or "network-thread" in one.name)
    ]
