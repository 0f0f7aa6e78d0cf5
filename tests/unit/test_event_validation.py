"""Events are held to their schemas: what is less is refused by name, what is more is taken."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from repository import ROOT

from prognode.errors import GaveUp
from prognode.events import facts
from prognode.events.facts import Event
from prognode.events.schemas import event_schemas
from prognode.events.validation import check, fault_of
from services.scoring.handler import Scoring

CASE = "0f3a9c5d7e1b2468"
INPUTS = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
UID = "2.25.1234"
PATIENT = "Doe^Jane"

READY = facts.report_ready(CASE, INPUTS, "sr", UID, ["reports/a.dcm"])
SENT = {"sop_class_uid": "1.2", "sop_instance_uid": UID, "attempts": 2}
SAID = [
    facts.case_ready(CASE, INPUTS),
    facts.case_refused(CASE, INPUTS, "gantry-tilt", "the gantry is tilted", ("a#1", "b#2")),
    facts.crop_ready(CASE, INPUTS, "crops/a.npz"),
    facts.clinical_updated(CASE),
    READY,
    facts.delivery_requested(READY, "PACS"),
    facts.delivery_requested(READY, "PACS", sent=SENT, resends=1),
    facts.report_delivered(READY),
]


def example(topic):
    """The example message of a topic, as an event."""
    payload = json.loads((ROOT / "schemas" / "examples" / f"{topic}.v1.json").read_text())
    return Event(topic, payload.get("case_id", ""), payload)


def without(payload, name):
    return {key: value for key, value in payload.items() if key != name}


def test_each_fact_has_one_constructor_and_is_valid():
    """What the constructors make is what the schemas ask for, with and without the optional fields."""
    assert {event.topic for event in SAID} == set(facts.TOPICS)
    for event in SAID:
        check(event)


def test_a_later_step_of_a_delivery_keeps_what_it_is_about():
    """A delivery made from a delivery names the same object; what an earlier step left behind does not travel on."""
    committing = facts.delivery_requested(READY, "PACS", sent=SENT, resends=1)
    assert facts.delivery_requested(committing, "PACS") == facts.delivery_requested(READY, "PACS")
    assert facts.report_delivered(committing) == facts.report_delivered(READY)


@pytest.mark.parametrize("topic", event_schemas())
def test_every_example_is_accepted(topic):
    """The examples of the schemas are events."""
    check(example(topic))


def test_an_unknown_topic_is_refused():
    """No schema, no event."""
    with pytest.raises(GaveUp, match=r"^tea-ready is no fact that is known here$"):
        check(Event("tea-ready", CASE, {"version": 1, "case_id": CASE}))


def test_an_unknown_version_is_refused_with_those_that_are_known():
    """The sentence tells an operator which side to update."""
    event = Event("case-ready", CASE, {**SAID[0].payload, "version": 2})
    with pytest.raises(GaveUp, match=r"^case-ready version 2 is not known here; version 1 is$"):
        check(event)


@pytest.mark.parametrize("version", ["1", 1.0, True, None, [1], 0, -1, 19_450_508])
def test_a_version_is_a_whole_number(version):
    """Nothing is taken for a version that is none."""
    event = Event("case-ready", CASE, {**SAID[0].payload, "version": version})
    assert fault_of(event) == "case-ready: version is malformed"


def test_an_event_without_version_is_refused():
    """There is no version to guess."""
    assert fault_of(Event("case-ready", CASE, {"case_id": CASE})) == "case-ready: version is missing"


@pytest.mark.parametrize("event", SAID, ids=lambda event: event.topic)
def test_each_required_field_is_missed_by_name(event):
    """Whatever is taken out is named."""
    for name in set(event_schemas()[event.topic][1]["required"]) - {"version"}:
        fault = fault_of(Event(event.topic, event.key, without(event.payload, name)))
        assert fault == f"{event.topic} version 1: {name} is missing"


@pytest.mark.parametrize("event", SAID, ids=lambda event: event.topic)
def test_each_malformed_field_is_named_and_never_quoted(event):
    """A value that is wrong may be anything, so the reason does not repeat it."""
    for name in set(event.payload) - {"version"}:
        value = [PATIENT] if name == "sent" else {PATIENT: PATIENT}
        broken = Event(event.topic, event.key, {**event.payload, name: value})
        assert fault_of(broken) == f"{event.topic} version 1: {name} is malformed"


def test_faults_inside_a_field_are_named_by_their_path():
    """Several at once, each once."""
    delivery = copy.deepcopy(SAID[6])
    delivery.payload["sent"] = {"sop_class_uid": PATIENT}
    delivery.payload["object_keys"] = ["a", 2]
    assert set(fault_of(delivery).removeprefix("delivery-requested version 1: ").split(", ")) == {
        "sent.sop_class_uid is malformed",
        "sent.sop_instance_uid is missing",
        "sent.attempts is missing",
        "object_keys.1 is malformed",
    }


def test_an_event_of_one_case_under_the_key_of_another_is_refused():
    """Handlers go by the key, readers by the field: both must say the same."""
    event = Event("case-ready", "0" * 16, SAID[0].payload)
    assert fault_of(event) == "case-ready version 1: case_id is not the key of the message"


@pytest.mark.parametrize("event", SAID, ids=lambda event: event.topic)
def test_an_old_consumer_takes_new_optional_fields(event):
    """What a newer producer adds is passed over, at the top and inside."""
    newer = copy.deepcopy(event.payload) | {"added_later": {"any": ["thing"]}}
    if "sent" in newer:
        newer["sent"]["added_later"] = 1
    check(Event(event.topic, event.key, newer))


def test_a_handler_takes_new_optional_fields():
    """A handler does the same work for an event that has a field more."""
    asked = []

    class NoCases:
        def case(self, case_id):
            asked.append(case_id)

    scoring = Scoring(NoCases(), None, None, None, None, None)  # type: ignore[arg-type]
    for topic, handler in scoring.handlers.items():
        newer = example(topic)
        newer.payload["added_later"] = 1
        check(newer)
        assert list(handler(newer)) == []
    assert asked == [CASE] * 3


TEXTS = st.text(st.sampled_from('a0.\x00"{é😀\ud800\n'), max_size=9)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(facts.TOPICS), st.dictionaries(TEXTS, ANYTHING, max_size=4), ANYTHING)
def test_whatever_comes_is_judged(topic, more, value):
    """Any payload is accepted or refused with a sentence; nothing else is raised."""
    valid = example(topic)
    for name in [*valid.payload, None]:
        payload = {**valid.payload, **more, **({name: value} if name else {})}
        assert isinstance(fault_of(Event(topic, valid.key, payload)), str)
