"""What may change inside a version of an event, and what may not."""

from __future__ import annotations

import copy
import json

import pytest
from repository import ROOT, tool

compatibility = tool("schema_compatibility")

OLD = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "thing-happened",
    "description": "A thing happened.",
    "x-consumers": ["somebody"],
    "type": "object",
    "properties": {
        "version": {"const": 1},
        "name": {"type": "string", "pattern": "^[a-z]+$", "minLength": 2, "maxLength": 9},
        "kind": {"enum": ["sr", "figure"]},
        "count": {"type": "integer", "minimum": 1, "maximum": 9},
        "keys": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        "sent": {
            "type": "object",
            "properties": {"attempts": {"type": "integer"}},
            "required": ["attempts"],
            "additionalProperties": True,
        },
    },
    "required": ["version", "name"],
    "additionalProperties": True,
}


def field(schema, name):
    return schema["properties"][name]


def changed(change):
    """The schema after a change made in place."""
    new = copy.deepcopy(OLD)
    change(new)
    return new


NARROWER, WIDER, LOST = compatibility.NARROWER, compatibility.WIDER, compatibility.LOST

BREAKING = {
    "a property removed": (lambda s: s["properties"].pop("kind"), "the event: kind is gone", LOST),
    "a nested property removed": (
        lambda s: field(s, "sent")["properties"].clear(),
        "sent: attempts is gone",
        LOST,
    ),
    "a new required field": (
        lambda s: (s["properties"].update(new={"type": "string"}), s["required"].append("new")),
        "the event: new is now required",
        NARROWER,
    ),
    "an optional field required": (
        lambda s: s["required"].append("kind"),
        "the event: kind is now required",
        NARROWER,
    ),
    "a required field optional": (
        lambda s: s["required"].remove("name"),
        "the event: name is no longer required",
        LOST,
    ),
    "another type": (lambda s: field(s, "name").update(type="integer"), "name: type was", NARROWER),
    "a narrower type": (
        lambda s: field(s, "keys")["items"].update(type="null"),
        "keys[]: type was",
        NARROWER,
    ),
    "a wider type": (
        lambda s: field(s, "name").update(type=["string", "null"]),
        'name: type was "string", is ["string", "null"]',
        WIDER,
    ),
    "integers become numbers": (lambda s: field(s, "count").update(type="number"), "count: type", WIDER),
    "a value of an enumeration removed": (
        lambda s: field(s, "kind")["enum"].remove("figure"),
        "kind: enum was",
        NARROWER,
    ),
    "a value of an enumeration added": (
        lambda s: field(s, "kind")["enum"].append("pdf"),
        "kind: enum was",
        WIDER,
    ),
    "another pattern": (
        lambda s: field(s, "name").update(pattern="^[a-f]+$"),
        'name: pattern was "^[a-z]+$", is "^[a-f]+$"',
        NARROWER,
    ),
    "a new pattern": (
        lambda s: field(s, "keys")["items"].update(pattern="^a"),
        'keys[]: pattern was absent, is "^a"',
        NARROWER,
    ),
    "a pattern removed": (lambda s: field(s, "name").pop("pattern"), "name: pattern was", WIDER),
    "a higher minimum": (lambda s: field(s, "count").update(minimum=2), "count: minimum was 1", NARROWER),
    "a lower minimum": (lambda s: field(s, "count").update(minimum=0), "count: minimum was 1", WIDER),
    "a lower maximum": (lambda s: field(s, "count").update(maximum=8), "count: maximum was 9", NARROWER),
    "a higher maximum": (lambda s: field(s, "count").update(maximum=10), "count: maximum was 9", WIDER),
    "shorter texts": (lambda s: field(s, "name").update(maxLength=8), "name: maxLength was 9", NARROWER),
    "longer texts only": (lambda s: field(s, "name").update(minLength=3), "name: minLength was 2", NARROWER),
    "more items": (lambda s: field(s, "keys").update(minItems=2), "keys: minItems was 1", NARROWER),
    "items that are no longer described": (lambda s: field(s, "keys").pop("items"), "keys: items was", WIDER),
    "closed to new fields": (
        lambda s: s.update(additionalProperties=False),
        "the event: additionalProperties was true, is false",
        NARROWER,
    ),
    "a nested object closed": (
        lambda s: field(s, "sent").update(additionalProperties=False),
        "sent: additionalProperties was true, is false",
        NARROWER,
    ),
    "another version": (
        lambda s: field(s, "version").update(const=2),
        "version: const was 1, is 2",
        NARROWER,
    ),
    "a rule of another kind": (
        lambda s: s.update(dependentRequired={"kind": ["count"]}),
        "the event: dependentRequired was absent",
        NARROWER,
    ),
}

HARMLESS = {
    "a new optional field": lambda s: s["properties"].update(new={"type": "string", "pattern": "^a$"}),
    "a new optional field of a nested object": lambda s: field(s, "sent")["properties"].update(new={}),
    "another description": lambda s: (
        s.update(description="It did."),
        field(s, "name").update(description="x"),
    ),
    "other consumers": lambda s: s.update({"x-consumers": ["others"], "x-partitions": 3}),
    "the same enumeration in another order": lambda s: field(s, "kind")["enum"].reverse(),
    "open, not said": lambda s: s.pop("additionalProperties"),
}


@pytest.mark.parametrize(("change", "place", "consequence"), BREAKING.values(), ids=BREAKING)
def test_a_breaking_change_is_named(change, place, consequence):
    """One sentence says where, what it was, what it is, and whom it trips up."""
    found = compatibility.breaking_changes(OLD, changed(change))
    assert [sentence for sentence in found if sentence.startswith(place) and consequence in sentence], found


@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS)
def test_a_compatible_change_passes(change):
    """New optional fields, and what is said to people, may change inside a version."""
    assert compatibility.breaking_changes(OLD, changed(change)) == []


def test_an_event_that_is_gone_is_named(tmp_path):
    """A released event whose schema was deleted breaks whoever hears it; a new one breaks nobody."""
    events, released = tmp_path / "events", tmp_path / "released"
    for folder, name in ((events, "new"), (events, "kept"), (released, "kept"), (released, "lost")):
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.v1.schema.json").write_text(json.dumps(OLD))
    (sentence,) = compatibility.since_release(events, released)
    assert sentence.startswith("lost.v1.schema.json: the event is gone")


def test_the_events_fit_those_that_were_released():
    """Whoever speaks or hears an event as it was released understands those of today."""
    released = ROOT / "schemas" / "released"
    assert list(released.glob("*.schema.json"))
    assert compatibility.since_release(ROOT / "schemas" / "events", released) == []
