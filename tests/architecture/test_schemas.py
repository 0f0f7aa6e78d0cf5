"""Schemas are the only source of what travels and of what a recipe is: they are valid, explained and exemplified."""

from __future__ import annotations

import json
import re

import pytest
from jsonschema import Draft202012Validator
from repository import ROOT, name_of

from prognode.events.facts import TOPICS
from prognode.events.topics import DEAD_LETTER

SCHEMAS = sorted((ROOT / "schemas").rglob("*.schema.json"))
EVENTS = sorted((ROOT / "schemas" / "events").glob("*.schema.json"))
EXAMPLES = sorted((ROOT / "schemas" / "examples").glob("*.json"))
SERVICES = {path.name for path in (ROOT / "services").iterdir() if (path / "__init__.py").exists()}
OF_A_PERSON = re.compile(
    r"patient|birth|accession|study_instance|series_instance|image_uid|pixel", re.IGNORECASE
)


def load(path):
    """The JSON of a file."""
    return json.loads(path.read_text())


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.name)
def test_schema_is_a_valid_json_schema(path):
    """Each schema follows JSON Schema 2020-12."""
    schema = load(path)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)


def test_every_event_has_a_schema_and_every_schema_an_event():
    """Code and schemas name the same facts."""
    assert {path.name.split(".")[0] for path in EVENTS} == {*TOPICS, DEAD_LETTER}


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.name)
def test_event_says_what_it_means_and_who_speaks_and_listens(path):
    """Each event has a description, producers and consumers, and a sentence for each field that is its own."""
    schema = load(path)
    assert schema["description"]
    assert schema["x-producers"]
    assert schema["x-consumers"]
    unexplained = [
        name for name, field in schema["properties"].items() if not field.keys() & {"description", "const"}
    ]
    assert unexplained == []


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.name)
def test_event_carries_references_only(path):
    """No field of an event is made for data of a patient or for pixels."""
    assert [name for name in load(path)["properties"] if OF_A_PERSON.search(name)] == []


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.name)
def test_event_stays_open_to_new_optional_fields(path):
    """An older consumer accepts an event of a newer producer."""
    assert load(path).get("additionalProperties", True) is True


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.name)
def test_event_has_an_example_that_is_valid(path):
    """Each event's example message passes its schema; without a required field it does not."""
    schema = load(path)
    example = load(ROOT / "schemas" / "examples" / path.name.replace(".schema.json", ".json"))
    validator = Draft202012Validator(schema)
    assert [error.message for error in validator.iter_errors(example)] == []
    for name in schema["required"]:
        assert not validator.is_valid({key: value for key, value in example.items() if key != name}), name


def test_no_example_is_without_a_schema():
    """An example that nothing checks would grow old unseen."""
    checked = {path.name.replace(".schema.json", ".json") for path in SCHEMAS}
    assert [name_of(path) for path in EXAMPLES if path.name not in checked] == []
