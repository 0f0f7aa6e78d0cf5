"""The bus on Kafka: at least once, in order for each case, finished out of order, committed by hand after the effect.

What follows from a message is published before the message is committed. A process that dies in between leaves a message
that comes again; what it then publishes has the same ids as the first time, and whoever receives it drops it.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from kafka import KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from prognode.adapters.kafka_client import close_producer, kafka_errors, make_topics, producer, reader
from prognode.adapters.kafka_group import GroupMember
from prognode.adapters.kafka_settings import KafkaSettings
from prognode.errors import Unavailable
from prognode.events.dead_letter import dead_letter, read_dead_letter
from prognode.events.envelope import CONTENT_TYPE, NotAnEvent, encode
from prognode.events.topics import DEAD_LETTER, topic_plan
from prognode.ports import JSON, Event, Message

_HEADERS = [("content-type", CONTENT_TYPE.encode())]
_FOLLOWS = uuid.UUID("6f2c8b1e-50a3-4c1d-9b55-1f3e0c7f2a94")
"""Name space of the ids of events that follow from a message."""


class KafkaBus:
    """A :class:`~prognode.ports.Bus` over Kafka. Safe for many threads; several processes share a group's partitions.

    ``source`` names the service that speaks.
    """

    def __init__(self, settings: KafkaSettings, source: str = "prognode") -> None:
        self._settings = settings
        self._source = source
        self._client_id = f"prognode-{source}" + (f"-{settings.instance}" if settings.instance else "")
        self._lock = threading.Lock()
        self._producer: KafkaProducer | None = None
        self._members: dict[str, GroupMember] = {}
        self._known_topics: set[str] = set()

    def close(self) -> None:
        """Leave the groups, and send what is on its way."""
        for member in self._members.values():
            member.close()
        with self._lock:
            client, self._producer = self._producer, None
        if client is not None:
            close_producer(client, self._settings.request_timeout_s)

    # ------------------------------------------------------------ the port

    def publish(self, events: Sequence[Event]) -> None:
        self._require_topics({event.topic for event in events})
        now = datetime.now(tz=UTC)
        self._send([(self._name(e.topic), e.key, encode(e, self._source, now)) for e in events])

    def subscribe(self, group: str, topics: Sequence[str]) -> None:
        self._require_topics(topics)
        names = [self._name(topic) for topic in topics]
        with self._lock:
            member = self._members.get(group)
            if member is None:
                self._members[group] = GroupMember(self._settings, self._client_id, group, names)
                return
        member.add_topics(names)

    def receive(self, group: str, topics: Sequence[str], timeout_s: float) -> Message | None:
        member = self._members.get(group)
        if member is None:
            self.subscribe(group, topics)
            member = self._members[group]
        return member.receive([self._name(topic) for topic in topics], timeout_s)

    def done(self, group: str, message: Message, then: Sequence[Event] = ()) -> None:
        """As the port says: first ``then``, under ids that follow from the message, then the commit."""
        member = self._members[group]
        try:
            if then:
                self.publish([_following(message, group, event) for event in then])
            member.finish(message)
        except Unavailable:
            member.hand_back(message, 1.0)
            raise

    def retry(self, group: str, message: Message, delay_s: float, why: str) -> None:  # noqa: ARG002 - the worker logs it
        self._members[group].hand_back(message, delay_s)

    def dead(self, group: str, message: Message, why: str) -> None:
        member = self._members[group]
        if not member.holds(message):
            return
        letter = dead_letter(
            message.event,
            group=group,
            origin=message.id,
            deliveries=message.attempts + 1,
            why=why,
            failed_at=datetime.now(tz=UTC),
        )
        letter_id = f"{group}/{message.id}"
        self._require_topics([DEAD_LETTER])
        try:
            self._send([(self._name(DEAD_LETTER), letter_id, letter)])
            member.finish(message)
        except Unavailable:
            member.hand_back(message, 1.0)
            raise

    def lag(self, group: str) -> dict[str, int]:
        member = self._members.get(group)
        return member.lag() if member else {}

    # ------------------------------------------------------------ dead letters

    def dead_letters(self) -> list[JSON]:
        """Read the dead-letter topic from its beginning; a letter that was replayed or dropped is gone."""
        self._require_topics([DEAD_LETTER])
        letters: dict[str, JSON | None] = {}
        client = reader(self._settings, self._client_id)
        try:
            with kafka_errors():
                for record in _all_records(client, self._name(DEAD_LETTER)):
                    letters[(record.key or b"").decode(errors="replace")] = (
                        _read(record.value) if record.value else None
                    )
        finally:
            client.close(autocommit=False)
        return [letter | {"id": letter_id} for letter_id, letter in letters.items() if letter is not None]

    def replay_dead_letter(self, letter_id: str) -> bool:
        letter = self._letter(letter_id)
        if letter is None:
            return False
        self.publish([Event(letter["topic"], letter["key"], letter["payload"], letter["traceparent"])])
        self._bury(letter_id)
        return True

    def drop_dead_letter(self, letter_id: str) -> bool:
        if self._letter(letter_id) is None:
            return False
        self._bury(letter_id)
        return True

    def _letter(self, letter_id: str) -> JSON | None:
        return next((letter for letter in self.dead_letters() if letter["id"] == letter_id), None)

    def _bury(self, letter_id: str) -> None:
        self._send([(self._name(DEAD_LETTER), letter_id, None)])

    # ------------------------------------------------------------ connections

    def check(self) -> None:
        """Whether the brokers answer. Raises Unavailable."""
        self._require_topics([DEAD_LETTER])
        with kafka_errors():
            self._connected().partitions_for(self._name(DEAD_LETTER))

    def _send(self, records: Sequence[tuple[str, str, bytes | None]]) -> None:
        """Durable on return: every in-sync replica has them."""
        with kafka_errors():
            client = self._connected()
            try:
                sent = [
                    client.send(topic, value=value, key=key.encode(), headers=_HEADERS)
                    for topic, key, value in records
                ]
                for future in sent:
                    future.get(timeout=3 * self._settings.request_timeout_s)
            except KafkaError:
                self._abandon(client)
                raise

    def _abandon(self, client: KafkaProducer) -> None:
        """The next message gets a new producer: an idempotent one whose request was cut off may never send again."""
        with self._lock:
            if self._producer is not client:
                return
            self._producer = None
        close_producer(client, 0.0)

    def _connected(self) -> KafkaProducer:
        with self._lock:
            if self._producer is None:
                self._producer = producer(self._settings, self._client_id)
            return self._producer

    def _require_topics(self, topics: Sequence[str] | set[str]) -> None:
        missing = {topic for topic in topics if topic not in self._known_topics}
        if missing and self._settings.create_topics:
            plans: dict[str, dict[str, Any]] = {}
            for topic in missing:
                plan = topic_plan(topic)
                plans[self._name(topic)] = {
                    "num_partitions": self._settings.partitions or plan.partitions,
                    "replication_factor": self._settings.replication,
                    "configs": plan.configs,
                }
            make_topics(self._settings, self._client_id, plans)
        self._known_topics |= missing

    def _name(self, topic: str) -> str:
        return f"{self._settings.topic_prefix}.{topic}"


def _following(message: Message, group: str, event: Event) -> Event:
    """The event under an id that is the same whenever the same message has the same consequence."""
    content = json.dumps(event.payload, sort_keys=True)
    name = f"{message.event.id}\n{group}\n{event.topic}\n{event.key}\n{content}"
    return replace(event, id=uuid.uuid5(_FOLLOWS, name).hex)


def _read(value: bytes) -> JSON:
    """The letter; what is none is listed all the same, so that a person can drop it."""
    try:
        return read_dead_letter(value)
    except NotAnEvent as fault:
        return {"group": "", "deliveries": 0, "why": fault.reason, "topic": "", "key": "", "payload": {}}


def _all_records(client: Any, topic: str) -> list[Any]:
    """Every record that the topic holds now."""
    partitions = [TopicPartition(topic, number) for number in client.partitions_for_topic(topic) or ()]
    client.assign(partitions)
    client.seek_to_beginning(*partitions)
    ends = client.end_offsets(partitions)
    found: list[Any] = []
    while any(client.position(partition) < ends[partition] for partition in partitions):
        for records in client.poll(timeout_ms=200).values():
            found += records
    return sorted(found, key=lambda record: (record.timestamp, record.offset))
