"""What is set aside can be read again, by a person and by a program."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prognode.events import facts
from prognode.events.dead_letter import dead_letter, read_dead_letter
from prognode.events.envelope import LARGEST_BYTES, NotAnEvent, decode
from prognode.events.facts import Event

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CASE = "0f3a9c5d7e1b2468"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def letter_of(event, why="the PACS refuses the class"):
    return dead_letter(
        event, group="scoring", origin="prognode.case-ready/4/17", deliveries=2, why=why, failed_at=NOW
    )


def test_a_letter_says_who_what_why_and_when():
    """Group, origin, the whole event, reason, tries and time are there again."""
    event = facts.clinical_updated(CASE)
    traced = Event(event.topic, event.key, event.payload, TRACE)
    assert read_dead_letter(letter_of(traced)) == {
        "version": 1,
        "group": "scoring",
        "origin": "prognode.case-ready/4/17",
        "topic": "clinical-updated",
        "key": CASE,
        "payload": event.payload,
        "traceparent": TRACE,
        "deliveries": 2,
        "why": "the PACS refuses the class",
        "failed_at": "2026-01-02T03:04:05+00:00",
    }


@given(st.binary(max_size=200))
def test_bytes_that_are_no_event_are_kept_in_a_letter(data):
    """Whatever lay on a topic can be set aside, and the letter be read."""
    with pytest.raises(NotAnEvent) as caught:
        decode(data, "case-ready")
    letter = read_dead_letter(letter_of(caught.value.event, caught.value.reason))
    assert letter["payload"] == caught.value.event.payload


def test_the_largest_event_fits_a_letter():
    """Also where every character takes more room when it is written again."""
    envelope = {"specversion": "2.0", "data": {"text": "\u00e4" * (LARGEST_BYTES // 2 - 60)}}
    with pytest.raises(NotAnEvent) as caught:
        decode(json.dumps(envelope, ensure_ascii=False).encode(), "case-ready")
    assert read_dead_letter(letter_of(caught.value.event))["payload"] == envelope["data"]


def test_a_letter_without_a_trace_context_is_one():
    """What the schema does not require is filled in."""
    letter = json.loads(letter_of(facts.clinical_updated(CASE)))
    del letter["traceparent"]
    assert read_dead_letter(json.dumps(letter).encode())["traceparent"] == ""


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_no_letter_and_nothing_else(data):
    """Somebody else's record on the topic is refused with a sentence."""
    with pytest.raises(NotAnEvent):
        read_dead_letter(data)


def test_a_letter_that_lacks_something_is_none():
    """The sentence names the field."""
    letter = json.loads(letter_of(facts.clinical_updated(CASE)))
    del letter["why"]
    with pytest.raises(NotAnEvent, match="why is missing"):
        read_dead_letter(json.dumps(letter).encode())
