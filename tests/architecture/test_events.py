"""What the schemas say of the events, and what the code does with them, is one thing."""

from __future__ import annotations

import ast
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from repository import PRODUCT, ROOT, name_of, python_files, tool, tree

from apps.compose import SERVICES
from apps.config import NodeConfig
from apps.outside import Outside
from prognode.events import facts
from prognode.events.schemas import event_schemas
from prognode.events.topics import DEAD_LETTER, topic_plan

CONSTRUCTORS = {topic.replace("-", "_"): topic for topic in facts.TOPICS}
SPEAKERS = {
    "src/prognode/runtime/case_actions.py": "operator",
    "src/prognode/runtime/clinical.py": "clinical watch",
}
READERS = {"apps/cli": "command line", "services/console": "console-api"}
AT_HOME_ALONE = {"apps/offline.py"}
"""Hands facts from function to function, and publishes none."""
REBUILT = ("src/prognode/events/", "src/prognode/adapters/")
"""Where events are made from what was stored or received."""


def groups() -> dict[str, set[str]]:
    """Consumer group -> topics, by the table of services."""
    config = NodeConfig(data=Path("data"), recipe=Path("recipe.json"), extractor=Path("net.onnx"))
    outside = Outside(config)
    # who consumes what does not depend on what there is to work on
    vars(outside).update(dict.fromkeys(("index", "objects", "bus", "reader", "clinical")), model=(None, None))
    workers = [worker for service in SERVICES.values() for worker in service(outside).workers]
    return {worker.group: set(worker.handlers) for worker in workers}


def calls(path: Path) -> Iterator[str]:
    """Names of what a file calls: ``facts.case_ready`` or ``Event``."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def speaker(path: Path) -> str:
    """Who speaks in a file of the product: its service, or the name that the schemas' page has for it."""
    parts = name_of(path).split("/")
    return parts[1].replace("_", "-") if parts[0] == "services" else SPEAKERS[name_of(path)]


def producers() -> dict[str, set[str]]:
    """Topic -> who calls its constructor."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in python_files(*PRODUCT):
        if name_of(path) in AT_HOME_ALONE:
            continue
        for called in calls(path):
            module, _, name = called.rpartition(".")
            if module == "facts" and name in CONSTRUCTORS:
                found[CONSTRUCTORS[name]].add(speaker(path))
    return found


@pytest.mark.parametrize("topic", facts.TOPICS)
def test_a_schema_names_exactly_its_consumers(topic):
    """A group that the table of services gives the topic to is named, and no other."""
    consumers = {group for group, topics in groups().items() if topic in topics}
    assert set(event_schemas()[topic][1]["x-consumers"]) == consumers


@pytest.mark.parametrize("topic", facts.TOPICS)
def test_a_schema_names_exactly_its_producers(topic):
    """Whoever calls the fact's constructor is named, and no other."""
    assert set(event_schemas()[topic][1]["x-producers"]) == producers()[topic]


def test_the_dead_letters_come_from_every_group_to_whoever_lists_them():
    """Each group may set a message aside; the schema names them all, and those whose code lists the letters."""
    schema = event_schemas()[DEAD_LETTER][1]
    assert set(schema["x-producers"]) == set(groups())
    callers = {
        name_of(path).rpartition("/")[0]
        for path in python_files("apps", "services")
        if any(called.endswith(".dead_letters") for called in calls(path))
    }
    assert set(schema["x-consumers"]) == {READERS[folder] for folder in callers}


def test_every_topic_has_a_constructor_and_is_spelled_once():
    """Services make facts by their constructors; only what was stored or received is put together by hand."""
    assert all(callable(getattr(facts, name)) for name in CONSTRUCTORS)
    by_hand = [
        name_of(path)
        for path in python_files(*PRODUCT)
        if not name_of(path).startswith(REBUILT) and {"Event", "facts.Event"} & set(calls(path))
    ]
    assert by_hand == []


def test_the_models_are_made_from_the_schemas():
    """src/prognode/events/models.py is what the generator writes from the schemas as they are."""
    written = (ROOT / "src" / "prognode" / "events" / "models.py").read_text(encoding="utf-8")
    assert tool("generate_events").module() == written, "run python tools/generate_events.py"


@pytest.mark.parametrize("topic", event_schemas())
def test_a_schema_says_how_its_topic_is_made(topic):
    """Partitions, and either how long an event stays or that the last word on each key does."""
    schema = event_schemas()[topic][1]
    assert schema["x-partitions"] >= 1
    assert ("x-retention-hours" in schema) != (schema.get("x-cleanup") == "compact")
    plan = topic_plan(topic)
    assert plan.partitions == schema["x-partitions"]
    hours = schema.get("x-retention-hours")
    assert plan.configs.get("retention.ms") == (None if hours is None else str(hours * 3_600_000))


def test_every_key_of_a_schema_is_explained():
    """schemas/README.md has a line for each key that is ours, and names everybody who speaks."""
    page = (ROOT / "schemas" / "README.md").read_text(encoding="utf-8")
    schemas = [schema for versions in event_schemas().values() for schema in versions.values()]
    keys = {key for schema in schemas for key in schema if key.startswith("x-")}
    assert [key for key in sorted(keys) if f"| `{key}` |" not in page] == []
    assert [name for name in SPEAKERS.values() if f"`{name}`" not in page] == []


def test_the_schemas_that_are_read_are_those_of_the_repository():
    """What the node checks events against are the files that the other tests look at."""
    files = sorted((ROOT / "schemas" / "events").glob("*.schema.json"))
    read = [schema for versions in event_schemas().values() for schema in versions.values()]
    assert read == [json.loads(path.read_text()) for path in files]
