"""The dispatcher's promises, with a PACS whose every answer is scripted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prognode.errors import GaveUp, Unavailable
from prognode.events import facts
from prognode.ports import Delivery, Event, SendResult
from services.dispatcher.handler import Dispatcher
from services.dispatcher.outcome import Delivered, GiveUp, RetryLater, backoff_s, judge
from services.dispatcher.settings import DispatcherSettings

UID = "2.25.42"
FALLBACK_UID = "2.25.43"
SR_3D = "1.2.840.10008.5.1.4.1.1.88.34"
SR_2D = "1.2.840.10008.5.1.4.1.1.88.33"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
DIGEST = "0" * 64
CASE = "0f3a9c5d7e1b2468"
SCHEMAS = Path(__file__).resolve().parents[2] / "schemas" / "events"


class Ledger:
    """The part of the index that the dispatcher uses."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Delivery] = {}

    def delivery(self, sop_instance_uid: str, destination: str) -> Delivery | None:
        return self.rows.get((sop_instance_uid, destination))

    def deliveries(self, sop_instance_uid: str | None = None) -> list[Delivery]:
        return [row for (uid, _), row in self.rows.items() if sop_instance_uid in (None, uid)]

    def save_delivery(self, delivery: Delivery) -> None:
        self.rows[delivery.sop_instance_uid, delivery.destination] = delivery

    def case(self, case_id: str) -> None:
        """No case: how long ago its images came cannot be measured."""


class Shelf(dict[str, bytes]):
    """Objects under keys."""

    def get(self, key: str) -> bytes:  # type: ignore[override]
        return self[key]


@dataclass
class ScriptedPacs:
    """Answers what the script says: a status, a verdict, or an error to raise."""

    name: str = "main"
    answers: list[Any] = field(default_factory=lambda: [0x0000])
    verdicts: list[Any] = field(default_factory=list)
    sent: list[Sequence[bytes]] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    sop_class_uid: str = SR_3D
    sop_instance_uid: str = UID

    def send(self, variants: Sequence[bytes]) -> SendResult:
        self.sent.append(list(variants))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return SendResult(answer, f"answered 0x{answer:04X}", self.sop_class_uid, self.sop_instance_uid)

    def commit(self, sop_class_uid: str, sop_instance_uid: str) -> bool | None:
        self.asked.append((sop_class_uid, sop_instance_uid))
        verdict = self.verdicts.pop(0)
        if isinstance(verdict, Exception):
            raise verdict
        return verdict


class StoppedClock:
    """It is always the first of January."""

    def now(self) -> datetime:
        return NOW


def dispatcher(*peers: ScriptedPacs, committing: Sequence[str] = (), **settings: Any) -> Dispatcher:
    return Dispatcher(
        index=Ledger(),
        objects=Shelf(best=b"88.34", second=b"88.33"),
        peers={peer.name: peer for peer in peers},
        clock=StoppedClock(),
        settings=DispatcherSettings(**settings),
        committing=committing,
    )


def ready(kind: str = "sr") -> Event:
    return facts.report_ready(CASE, DIGEST, kind, UID, ["best", "second"])


def handle(node: Dispatcher, event: Event) -> list[Event]:
    """What follows from an event; everything that is published keeps to its schema."""
    events = list(node.handlers[event.topic](event))
    for published in events:
        schema = json.loads((SCHEMAS / f"{published.topic}.v1.schema.json").read_text())
        jsonschema.validate(published.payload, schema)
    return events


def requested(node: Dispatcher, kind: str = "sr") -> Event:
    """The delivery that follows from a finished report."""
    (event,) = handle(node, ready(kind))
    return event


def state(node: Dispatcher, destination: str = "main") -> Delivery:
    return node.index.delivery(UID, destination)


def run_to_rest(node: Dispatcher, event: Event) -> list[Event]:
    """Handle an event and all deliveries that follow, at once where it says later; what is left for others."""
    waiting, left = [event], []
    while waiting:
        current = waiting.pop(0)
        try:
            follow = handle(node, current)
        except Unavailable:
            follow = [current]
        for item in follow:
            (waiting if item.topic == facts.DELIVERY_REQUESTED else left).append(item)
    return left


# ---------------------------------------------------------------- fan out


def test_a_finished_report_goes_to_every_destination_as_a_delivery_of_its_own():
    """A PACS that is down cannot hold up another, because each has its own message."""
    node = dispatcher(ScriptedPacs("a"), ScriptedPacs("b"))
    events = handle(node, ready())
    assert [event.payload["destination"] for event in events] == ["a", "b"]
    assert {event.topic for event in events} == {facts.DELIVERY_REQUESTED}
    assert {event.key for event in events} == {CASE}


def test_without_any_destination_the_report_counts_as_delivered_at_once():
    """An offline node draws its figures as well."""
    (event,) = handle(dispatcher(), ready())
    assert event.topic == facts.REPORT_DELIVERED
    assert event.payload["sop_instance_uid"] == UID


def test_without_any_destination_a_figure_ends_here():
    """A figure that followed from its own delivery would be drawn for ever."""
    assert handle(dispatcher(), ready("figure")) == []


# ---------------------------------------------------------------- delivery


def test_success_is_recorded_and_told():
    """0x0000 makes the delivery stored, and lets the figure be drawn."""
    pacs = ScriptedPacs()
    node = dispatcher(pacs)
    (event,) = handle(node, requested(node))
    assert state(node) == Delivery(UID, "main", "stored", 1, "answered 0x0000", NOW)
    assert event.topic == facts.REPORT_DELIVERED
    assert pacs.sent == [[b"88.34", b"88.33"]]


def test_a_report_in_two_pacs_is_told_once():
    """The figure is drawn once: the second destination that stores the report says nothing more."""
    node = dispatcher(ScriptedPacs("first"), ScriptedPacs("second"))
    told = [fact for delivery in handle(node, ready()) for fact in handle(node, delivery)]
    assert [fact.topic for fact in told] == ["report-delivered"]


def test_a_figure_that_arrives_starts_nothing():
    """The chain ends with the figure."""
    node = dispatcher(ScriptedPacs())
    assert handle(node, requested(node, "figure")) == []
    assert state(node).state == "stored"


def test_a_replay_of_a_stored_delivery_sends_nothing_and_tells_again():
    """A crash between the record and the acknowledgement costs neither a second transfer nor the figure."""
    pacs = ScriptedPacs()
    node = dispatcher(pacs)
    event = requested(node)
    first = handle(node, event)
    assert handle(node, event) == first
    assert len(pacs.sent) == 1


@pytest.mark.parametrize("status", [0xA700, 0xA701, 0xB000, 0xB006, 0xB007, 0x0110, 0xFE00, 0x0001])
def test_every_other_status_is_tried_again(status: int):
    """Only 0x0000 counts: a full PACS and a warning both mean that the report is not there as it was sent."""
    node = dispatcher(ScriptedPacs(answers=[status, 0x0000]), refusals=1)
    event = requested(node)
    with pytest.raises(Unavailable, match=f"0x{status:04X}") as caught:
        handle(node, event)
    assert caught.value.retry_after_s > 0
    assert state(node).state == "pending"
    handle(node, event)
    assert state(node) == Delivery(UID, "main", "stored", 2, "answered 0x0000", NOW)


def test_a_pacs_that_is_down_is_tried_for_as_long_as_it_takes():
    """No number of failures makes a report of a healthy node a dead letter."""
    down = [Unavailable("main does not answer") for _ in range(200)]
    node = dispatcher(ScriptedPacs(answers=[*down, 0x0000]), refusals=3)
    (event,) = run_to_rest(node, requested(node))
    assert event.topic == facts.REPORT_DELIVERED
    assert state(node).attempts == 201


@pytest.mark.parametrize("status", [0x0122, 0x0124, 0xA900, 0xA9FF, 0xC000, 0xCFFF])
def test_a_refusal_of_the_object_itself_becomes_a_dead_letter_with_its_reason(status: int):
    """What the PACS cannot understand, it will not understand tomorrow; a person sees why."""
    node = dispatcher(ScriptedPacs(answers=[status] * 3), refusals=3)
    event = requested(node)
    for _ in range(2):
        with pytest.raises(Unavailable):
            handle(node, event)
    with pytest.raises(GaveUp, match=f"3 times.*0x{status:04X}"):
        handle(node, event)
    assert state(node).state == "failed"
    assert f"0x{status:04X}" in state(node).last_status


def test_a_dead_letter_that_is_replayed_is_sent_again():
    """Once the PACS is configured to take the class, the operator's replay delivers."""
    node = dispatcher(ScriptedPacs(answers=[0x0122, 0x0000]), refusals=1)
    event = requested(node)
    with pytest.raises(GaveUp):
        handle(node, event)
    handle(node, event)
    assert state(node).state == "stored"


def test_a_destination_that_was_removed_from_the_configuration_is_a_dead_letter():
    """It is neither retried for ever nor dropped in silence."""
    event = requested(dispatcher(ScriptedPacs("gone")))
    with pytest.raises(GaveUp, match="gone"):
        handle(dispatcher(ScriptedPacs("main")), event)


# ---------------------------------------------------------------- storage commitment


def test_a_committed_delivery_says_so():
    """The verdict is asked for what was sent, which by negotiation may be the fall-back."""
    pacs = ScriptedPacs(verdicts=[True], sop_class_uid=SR_2D, sop_instance_uid=FALLBACK_UID)
    node = dispatcher(pacs, committing=["main"])
    (event,) = run_to_rest(node, requested(node))
    assert event.topic == facts.REPORT_DELIVERED
    assert state(node).state == "committed"
    assert pacs.asked == [(SR_2D, FALLBACK_UID)]


def test_the_figure_need_not_wait_for_the_commitment():
    """``report-delivered`` leaves with the answer to C-STORE; commitment is a step of its own."""
    node = dispatcher(ScriptedPacs(verdicts=[]), committing=["main"])
    topics = [event.topic for event in handle(node, requested(node))]
    assert topics == [facts.REPORT_DELIVERED, facts.DELIVERY_REQUESTED]


def test_a_verdict_that_does_not_come_leaves_the_delivery_stored():
    """After some requests the node stops asking; the report is in the PACS, and the record says what is not known."""
    pacs = ScriptedPacs(verdicts=[None, Unavailable("aborted"), None])
    node = dispatcher(pacs, committing=["main"], commitment_tries=3)
    run_to_rest(node, requested(node))
    assert state(node).state == "stored"
    assert "not committed" in state(node).last_status
    assert len(pacs.asked) == 3
    assert len(pacs.sent) == 1


def test_a_refused_commitment_sends_the_object_again():
    """A PACS that lost what it had acknowledged gets it once more."""
    pacs = ScriptedPacs(answers=[0x0000, 0x0000], verdicts=[False, True])
    node = dispatcher(pacs, committing=["main"])
    run_to_rest(node, requested(node))
    assert state(node).state == "committed"
    assert len(pacs.sent) == 2


def test_a_pacs_that_refuses_commitment_for_ever_ends_as_a_dead_letter():
    """Sending and losing cannot go round in circles."""
    pacs = ScriptedPacs(answers=[0x0000] * 3, verdicts=[False] * 3)
    node = dispatcher(pacs, committing=["main"], refusals=3)
    with pytest.raises(GaveUp, match="commitment refused 3 times"):
        run_to_rest(node, requested(node))
    assert state(node).state == "failed"
    assert len(pacs.sent) == 3


def test_a_crash_between_stored_and_the_commitment_step_loses_neither():
    """The replayed first step finds a stored object that is not committed, and goes on to commitment."""
    pacs = ScriptedPacs(answers=[0x0000, 0x0000], verdicts=[True])
    node = dispatcher(pacs, committing=["main"])
    event = requested(node)
    handle(node, event)  # what follows from it is lost in the crash
    (told,) = run_to_rest(node, event)
    assert told.topic == facts.REPORT_DELIVERED
    assert state(node).state == "committed"


# ---------------------------------------------------------------- pure rules


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_the_pause_grows_to_its_cap_and_never_beyond(attempts: int, jitter: float):
    """Whatever the number of tries: at least half the first pause, at most the cap, no overflow."""
    settings = DispatcherSettings(retry_first_s=1.0, retry_cap_s=300.0)
    pause = backoff_s(attempts, settings, jitter)
    assert 0.5 <= pause <= 300.0
    assert pause <= backoff_s(attempts + 1, settings, jitter)


def test_the_pause_doubles():
    """1, 2, 4, 8 ... seconds without jitter; jitter takes away up to half."""
    settings = DispatcherSettings(retry_first_s=1.0, retry_cap_s=60.0)
    assert [backoff_s(n, settings, 0.0) for n in (1, 2, 3, 4, 20)] == [1.0, 2.0, 4.0, 8.0, 60.0]
    assert backoff_s(3, settings, 0.5) == 3.0


@given(st.one_of(st.none(), st.integers(0, 0xFFFF)), st.integers(1, 100))
def test_nothing_but_0x0000_is_ever_delivered(status: int | None, attempts: int):
    """Over all statuses and numbers of tries; an absent answer never gives up."""
    result = SendResult(status, "said", SR_3D, UID)
    outcome = judge(result, attempts, DispatcherSettings(refusals=5), jitter=0.0)
    assert isinstance(outcome, Delivered) == (status == 0x0000)
    if status is None or attempts < 5:
        assert not isinstance(outcome, GiveUp)
    if isinstance(outcome, RetryLater):
        assert outcome.why == "said"
