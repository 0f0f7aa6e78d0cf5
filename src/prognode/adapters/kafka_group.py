"""Membership of a process in one consumer group.

The client is not for several threads, and a member that does not poll is put out of its group. So one thread owns the
client: it polls without end, also while a long case runs, pauses a partition of which enough is in hand, and commits.
Workers take from what it has received, and wait for its commit when they have finished.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.errors import FencedInstanceIdError, KafkaError, RebalanceInProgressError, RetriableError
from kafka.structs import MemberState, OffsetAndMetadata

from prognode.adapters.kafka_client import group_consumer, kafka_errors
from prognode.adapters.kafka_settings import KafkaSettings
from prognode.adapters.kafka_standing import Standing
from prognode.errors import Unavailable
from prognode.events.envelope import NotAnEvent, decode
from prognode.ports import Event, Message

log = structlog.get_logger()

POLL_MS = 10
"""How late a finished message may be committed."""
IDLE_POLL_MS = 100
"""Length of a poll while nothing is in hand, so that nothing can be finished; what arrives ends it at once."""
ENOUGH_IN_HAND = 100
"""Unfinished messages of one partition from which no more of it are asked for."""
REBALANCE_POLL_MS = 500
"""Length of a poll in which the group gathers anew: a join that is cut off begins again."""
PAUSE_S = 1.0


@dataclass
class _Commit:
    """Somebody waits until a finished message is committed."""

    partition: TopicPartition
    said: threading.Event = field(default_factory=threading.Event)
    failure: Exception | None = None


class GroupMember:
    """Receives for one group. Safe for many threads."""

    def __init__(self, settings: KafkaSettings, client_id: str, group: str, topics: Iterable[str]) -> None:
        self._settings = settings
        self._client_id = client_id
        self._group = f"{settings.topic_prefix}.{group}"
        self._topics = set(topics)
        self._subscribed: set[str] = set()
        self._standings: dict[TopicPartition, Standing] = {}
        self._dirty: set[TopicPartition] = set()
        # commits that the broker did not take: only the owning thread's
        self._unsaid: set[TopicPartition] = set()
        self._say_again_at = 0.0
        self._commits: list[_Commit] = []
        self._lags: dict[str, int] = {}
        self._changed = threading.Condition(threading.Lock())
        self._closing = threading.Event()
        self._fatal: Exception | None = None
        self._last_poll = self._settled_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"kafka-{group}", daemon=True)
        self._thread.start()

    # ------------------------------------------------------------ for workers

    def add_topics(self, topics: Iterable[str]) -> None:
        """Receive these topics as well."""
        with self._changed:
            self._topics |= set(topics)

    def receive(self, topics: Sequence[str], timeout_s: float) -> Message | None:
        """The oldest message of these topics, leased; None when there is none within the time."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while True:
                if self._fatal is not None:
                    raise RuntimeError("the membership in the consumer group is lost") from self._fatal
                message = self._take(set(topics))
                left = deadline - time.monotonic()
                if message is not None or left <= 0:
                    return message
                # a pause may end, or a lease, without anybody's notice
                self._changed.wait(min(left, 0.05))

    def finish(self, message: Message) -> None:
        """Commit that the message is finished; durable on return. Raises Unavailable."""
        partition, offset = _place(message)
        with self._changed:
            standing = self._standings.get(partition)
            if standing is None:
                raise Unavailable("bus: the partition is another member's by now, who does the work again")
            standing.finish(offset)
            commit = _Commit(partition)
            self._commits.append(commit)
        if not commit.said.wait(3 * self._settings.request_timeout_s):
            raise Unavailable("bus: the commit was not answered")
        if commit.failure is not None:
            raise Unavailable(f"bus: {type(commit.failure).__name__}") from commit.failure

    def hand_back(self, message: Message, delay_s: float) -> None:
        """It comes again after a pause, unless somebody else has it by now."""
        partition, offset = _place(message)
        with self._changed:
            standing = self._standings.get(partition)
            if standing is not None and standing.hand_back(
                offset, message.attempts + 1, time.monotonic() + delay_s
            ):
                self._dirty.add(partition)
                self._changed.notify_all()

    def holds(self, message: Message) -> bool:
        """Whether the lease still holds."""
        partition, offset = _place(message)
        with self._changed:
            standing = self._standings.get(partition)
            return standing is not None and standing.holds(offset, message.attempts + 1)

    def lag(self) -> dict[str, int]:
        """Messages by topic that are not finished, in the partitions of this member."""
        with self._changed:
            return dict(self._lags)

    def age_s(self) -> float:
        """Seconds since the broker was last polled."""
        return time.monotonic() - self._last_poll

    def close(self) -> None:
        """Leave the group; what is in hand comes to another member at once."""
        self._closing.set()
        self._thread.join(self._settings.request_timeout_s)

    def _take(self, topics: set[str]) -> Message | None:
        now = time.monotonic()
        found = [
            (one.timestamp_ms, partition, one)
            for partition, standing in self._standings.items()
            if partition.topic in topics and (one := standing.oldest(now)) is not None
        ]
        if not found:
            return None
        _, partition, one = min(found, key=lambda each: each[:2])
        self._standings[partition].take(one, now + self._settings.lease_s)
        self._dirty.add(partition)
        message_id = f"{partition.topic}/{partition.partition}/{one.offset}"
        return Message(message_id, one.event, one.deliveries - 1, one.abandoned, one.fault)

    # ------------------------------------------------------------ the thread that owns the client

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._be_a_member()
            except FencedInstanceIdError as fault:
                # two processes of one name: this one must not go on
                with self._changed:
                    self._fatal = fault
                    self._changed.notify_all()
                return
            except (Unavailable, KafkaError) as fault:
                log.warning("bus-waits", group=self._group, why=type(fault).__name__)
                self.forget()
                self._closing.wait(PAUSE_S)

    def _be_a_member(self) -> None:
        """Join, and serve until the bus is closed or other topics are wanted."""
        client = group_consumer(self._settings, self._client_id, self._group)
        self._settled_at = time.monotonic()
        try:
            self._subscribe(client)
            while not self._closing.is_set() and self._subscribed == self._topics:
                records = client.poll(timeout_ms=self._poll_ms(client))
                self._last_poll = time.monotonic()
                self._begin_new_partitions(client, records)
                self._receive(records)
                self._commit(client)
                self._pause_or_resume(client)
        finally:
            self.forget()
            with kafka_errors():
                client.close(autocommit=False, timeout_ms=int(self._settings.request_timeout_s * 500))

    def _poll_ms(self, client: KafkaConsumer) -> int:
        """Short where the group is settled. Raises Unavailable where it does not settle: then the member begins anew."""
        now = time.monotonic()
        if client.group_metadata().state == MemberState.STABLE:
            self._settled_at = now
            return POLL_MS if self._has_work() else IDLE_POLL_MS
        if now - self._settled_at > 2 * self._settings.session_timeout_s:
            raise Unavailable("the consumer group does not settle")
        return REBALANCE_POLL_MS

    def _has_work(self) -> bool:
        """Whether a worker may have something to commit before anything new arrives."""
        with self._changed:
            unfinished = any(standing.in_hand for standing in self._standings.values())
            return unfinished or bool(self._commits or self._dirty or self._unsaid)

    def _subscribe(self, client: KafkaConsumer) -> None:
        with self._changed:
            wanted = set(self._topics)
        # a member that joins before it knows the partitions would be given none
        missing = [topic for topic in sorted(wanted) if not client.partitions_for_topic(topic)]
        if missing:
            raise Unavailable(f"the topic {missing[0]} is not there")
        client.subscribe(sorted(wanted), listener=_Listener(self))
        # fresh knowledge of the topics before the first join, or a second one would follow at once
        client.topics()
        self._subscribed = wanted

    def _begin_new_partitions(self, client: KafkaConsumer, records: dict[TopicPartition, Any]) -> None:
        """Take up newly assigned partitions where their last owner committed them."""
        for partition in client.assignment():
            if partition in self._standings:
                continue
            records.pop(partition, None)
            known = client.committed(
                partition, metadata=True, timeout_ms=int(self._settings.request_timeout_s * 1000)
            )
            standing = Standing.restore(known.offset, known.metadata or "") if known else Standing(0)
            client.seek(partition, standing.first_wanted)
            with self._changed:
                self._standings[partition] = standing

    def _receive(self, records: dict[TopicPartition, Any]) -> None:
        with self._changed:
            for partition, batch in records.items():
                standing = self._standings.get(partition)
                if standing is None:
                    continue
                for record in batch:
                    event, fault = _read(record, self._settings.topic_prefix)
                    if standing.add(record.offset, event, fault, record.timestamp):
                        self._dirty.add(partition)
            if records:
                self._changed.notify_all()

    def _commit(self, client: KafkaConsumer) -> None:
        """Commit what was finished, taken or handed back since the last round, and what the broker did not take."""
        again = set()
        if time.monotonic() >= self._say_again_at:
            again, self._unsaid = self._unsaid, set()
        with self._changed:
            waiting, self._commits = self._commits, []
            partitions = {one.partition for one in waiting} | self._dirty | again
            self._dirty = set()
            offsets = {p: self._standings[p].commit() for p in partitions if p in self._standings}
        moved = Unavailable("the partition is another member's by now, who does the work again")
        _answer([one for one in waiting if one.partition not in offsets], moved)
        waiting = [one for one in waiting if one.partition in offsets]
        said = {p: OffsetAndMetadata(offset, metadata, -1) for p, (offset, metadata) in offsets.items()}
        if waiting:
            self._commit_now(client, said, waiting)
        elif said:
            client.commit_async(said, callback=self._on_commit)

    def _on_commit(self, said: dict[TopicPartition, OffsetAndMetadata], answer: Any) -> None:
        """The owning thread's: what was not taken is said again."""
        if isinstance(answer, Exception):
            self._unsaid |= set(said)
            self._say_again_at = time.monotonic() + PAUSE_S

    def _commit_now(
        self,
        client: KafkaConsumer,
        said: dict[TopicPartition, OffsetAndMetadata],
        waiting: list[_Commit],
    ) -> None:
        try:
            client.commit(said, timeout_ms=int(self._settings.request_timeout_s * 1000))
        except (RebalanceInProgressError, RetriableError):
            # the next round commits it, or finds that the partition is another member's
            with self._changed:
                self._commits = waiting + self._commits
        except KafkaError as fault:
            # also where this member was put out of the group: the work is done again
            self._on_commit(said, fault)
            _answer(waiting, fault)
        else:
            _answer(waiting, None)

    def _pause_or_resume(self, client: KafkaConsumer) -> None:
        paused = client.paused()
        lags: dict[str, int] = dict.fromkeys(self._subscribed, 0)
        with self._changed:
            for partition, standing in self._standings.items():
                if standing.in_hand >= ENOUGH_IN_HAND and partition not in paused:
                    client.pause(partition)
                elif standing.in_hand <= ENOUGH_IN_HAND // 2 and partition in paused:
                    client.resume(partition)
                end = client.highwater(partition) or standing.end
                lags[partition.topic] += max(0, end - standing.end) + standing.in_hand
            prefix = len(self._settings.topic_prefix) + 1
            self._lags = {topic[prefix:]: lag for topic, lag in lags.items()}

    def forget(self, partitions: Iterable[TopicPartition] | None = None) -> None:
        """These partitions are somebody else's; None: all."""
        with self._changed:
            for partition in list(self._standings if partitions is None else partitions):
                self._standings.pop(partition, None)


class _Listener(ConsumerRebalanceListener):
    """Called on the client's own thread; forgets, and blocks nowhere."""

    def __init__(self, member: GroupMember) -> None:
        self._member = member

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """What was in hand of them is done again by their next owner."""
        self._member.forget(revoked)

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """The owning thread takes them up after its next poll."""


def _answer(waiting: Sequence[_Commit], failure: Exception | None) -> None:
    for one in waiting:
        one.failure = failure
        one.said.set()


def _place(message: Message) -> tuple[TopicPartition, int]:
    topic, partition, offset = message.id.rsplit("/", 2)
    return TopicPartition(topic, int(partition)), int(offset)


def _read(record: Any, prefix: str) -> tuple[Event, str]:
    """The event, or what could be read of it and why it is none."""
    topic = str(record.topic).removeprefix(f"{prefix}.")
    try:
        return decode(record.value or b"", topic), ""
    except NotAnEvent as fault:
        return fault.event, fault.reason
