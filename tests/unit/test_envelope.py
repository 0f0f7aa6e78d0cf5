"""Events as CloudEvents: they come back as they went, and whatever else comes is refused with a sentence."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from repository import ROOT

from prognode.events import envelope, facts
from prognode.events.envelope import NotAnEvent, decode, encode
from prognode.events.facts import Event
from prognode.events.schemas import event_schemas, schema_id

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
CASE = "0f3a9c5d7e1b2468"
INPUTS = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SCHEMA = json.loads((ROOT / "schemas" / "envelope.v1.schema.json").read_text())
EXAMPLE = json.loads((ROOT / "schemas" / "examples" / "envelope.v1.json").read_text())

ALPHABET = 'a0 \x00\n"\\{[:,\u00e4\u20ac\U0001f600'
WRITABLE = st.text(st.sampled_from(ALPHABET), max_size=20)
ODD = st.text(st.sampled_from(ALPHABET + "\ud800\udc00"), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WRITABLE,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WRITABLE, inner, max_size=4),
    max_leaves=12,
)
TRACES = st.just("") | st.tuples(*(st.binary(min_size=n, max_size=n) for n in (1, 16, 8, 1))).map(
    lambda parts: "-".join(part.hex() for part in parts)
)
EVENTS = st.builds(
    Event,
    topic=st.sampled_from(facts.TOPICS),
    key=WRITABLE.filter(bool),
    payload=st.builds(
        lambda payload, version: payload | {"version": version},
        st.dictionaries(WRITABLE, VALUES, max_size=5),
        st.integers(1, 9999),
    ),
    traceparent=TRACES,
    id=st.uuids().map(str),
)


def parts(event):
    """Everything of an event, also what two equal events need not share."""
    return event.topic, event.key, event.payload, event.traceparent, event.id


def refused(document, topic="crop-ready"):
    """Why it is no event, and what could be read."""
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    with pytest.raises(NotAnEvent) as caught:
        decode(data, topic)
    return caught.value


@given(EVENTS)
def test_an_event_comes_back_as_it_went(event):
    """Topic, key, payload, trace context and id survive the way."""
    assert parts(decode(encode(event, "scoring", NOW), event.topic)) == parts(event)


@given(EVENTS)
def test_what_is_written_keeps_to_the_schema(event):
    """Every envelope is what schemas/envelope.v1.schema.json says, and names the schema of its data."""
    document = json.loads(encode(event, "scoring", NOW))
    assert [error.message for error in Draft202012Validator(SCHEMA).iter_errors(document)] == []
    assert ("traceparent" in document) == bool(event.traceparent)


def test_an_envelope_says_who_when_and_what():
    """The attributes of CloudEvents, for those who look at a topic."""
    event = facts.clinical_updated(CASE)
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=1)))
    assert json.loads(encode(event, "console", now)) == {
        "specversion": "1.0",
        "id": event.id,
        "source": "/prognode/console",
        "type": "prognode.clinical-updated.v1",
        "subject": CASE,
        "time": "2026-01-02T03:04:05+01:00",
        "datacontenttype": "application/json",
        "dataschema": "urn:prognode:event:clinical-updated:v1",
        "data": {"version": 1, "case_id": CASE},
    }


def test_every_schema_has_the_name_that_envelopes_give():
    """``dataschema`` finds the schema, and the title its topic."""
    for topic, versions in event_schemas().items():
        for version, schema in versions.items():
            assert (schema["$id"], schema["title"]) == (schema_id(topic, version), topic)


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_refused_and_nothing_else(data):
    """No bytes get further than a sentence, and they are kept for a person."""
    assert base64.b64decode(refused(data).event.payload["base64"]) == data


@given(st.dictionaries(st.sampled_from(sorted(SCHEMA["properties"])), VALUES | ODD), st.booleans())
def test_arbitrary_envelopes_are_refused_and_nothing_else(changes, drop):
    """Whatever its attributes are, an envelope is an event, or none with a sentence and what could be read of it."""
    document = (
        {name: value for name, value in EXAMPLE.items() if name not in changes} if drop else EXAMPLE | changes
    )
    try:
        event = decode(json.dumps(document).encode(), "crop-ready")
    except NotAnEvent as fault:
        event = fault.event
        assert fault.reason
    assert event.topic == "crop-ready"
    assert isinstance(event.payload, dict)
    event.key.encode()
    event.id.encode()


@pytest.mark.parametrize("name", SCHEMA["required"])
def test_no_required_attribute_may_be_missing(name):
    """What the schema requires, the reader does."""
    document = {key: value for key, value in EXAMPLE.items() if key != name}
    assert not Draft202012Validator(SCHEMA).is_valid(document)
    assert refused(document).event.topic == "crop-ready"


@pytest.mark.parametrize("name", sorted(SCHEMA["properties"].keys() - set(SCHEMA["required"])))
def test_optional_attributes_may_be_missing(name):
    """What the schema does not require, the reader does not."""
    document = {key: value for key, value in EXAMPLE.items() if key != name}
    assert decode(json.dumps(document).encode(), "crop-ready").payload == EXAMPLE["data"]


def test_unknown_attributes_are_passed_over():
    """An old consumer takes an envelope with extensions that it does not know, and data with new fields."""
    document = EXAMPLE | {"partitionkey": "7", "data": EXAMPLE["data"] | {"added_later": 1}}
    event = decode(json.dumps(document).encode(), "crop-ready")
    assert event.payload == EXAMPLE["data"] | {"added_later": 1}
    assert event.traceparent == TRACE


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"specversion": "2.0"}, "no CloudEvents envelope of version 1.0, the one that is known here"),
        ({"type": "prognode.crop-ready"}, "of another type than crop-ready"),
        ({"type": "prognode.crop-ready.v1.1"}, "of another type than crop-ready"),
        ({"type": "prognode.case-ready.v1"}, "of another type than crop-ready"),
        ({"type": "prognode.crop-ready.v2"}, "of version 2 around data of version 1"),
        ({"data": EXAMPLE["data"] | {"version": 2}}, "of version 1 around data of version 2"),
        ({"subject": ""}, "whose subject is no text"),
        ({"subject": "\ud800"}, "whose subject is no text"),
        ({"id": 7}, "whose id is no text"),
        ({"data": "text"}, "whose data are no JSON object"),
    ],
)
def test_what_is_of_another_kind_is_refused_with_a_sentence(changes, reason):
    """A future envelope, another fact, another version: the reason says which, and quotes nothing."""
    assert reason in refused(EXAMPLE | changes).reason


def test_a_future_version_of_a_fact_is_an_event():
    """The envelope carries it; that its data are not known here is for the schemas to say."""
    data = EXAMPLE["data"] | {"version": 2}
    document = EXAMPLE | {"type": "prognode.crop-ready.v2", "data": data}
    assert decode(json.dumps(document).encode(), "crop-ready").payload == data


def test_what_can_be_read_of_a_broken_envelope_is_kept():
    """A person sees which case it was about."""
    event = refused(EXAMPLE | {"specversion": "2.0"}).event
    assert (event.key, event.payload, event.traceparent) == (CASE, EXAMPLE["data"], TRACE)
    assert refused(EXAMPLE | {"data": [1]}).event.payload == {"data": [1]}


def test_a_malformed_trace_context_is_passed_over():
    """A trace that cannot be followed loses no event."""
    document = EXAMPLE | {"traceparent": "anything"}
    assert decode(json.dumps(document).encode(), "crop-ready").traceparent == ""


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b'{"data":' * 600 + b"1" + b"}" * 600,
        b" " * (envelope.LARGEST_BYTES + 1),
        b'{"id": ' + b"1" * 5000 + b"}",
        '{"id": "\u00e4"}'.encode("latin-1"),
        b"",
    ],
    ids=["lists", "objects", "large", "a long number", "Latin-1", "nothing"],
)
def test_what_would_burst_a_reader_is_refused(data):
    """Nesting, size and numbers are bounded, and what is kept of it as well."""
    kept = base64.b64decode(refused(data).event.payload["base64"])
    assert kept == data[: envelope.KEPT_BYTES]
