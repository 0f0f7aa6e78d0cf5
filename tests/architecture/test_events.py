"""What the schemas say of the events, and what the code does with them, is one thing."""

from __future__ import annotations

import ast
import json
import threading
from collections.abc import Collection
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace

import pytest
from repository import PRODUCT, ROOT, name_of, python_files, tool, tree

from apps.compose import SERVICES
from apps.config import NodeConfig
from prognode.adapters.storage_commitment import CommitmentResults
from prognode.events import facts
from prognode.events.schemas import event_schemas
from prognode.events.topics import DEAD_LETTER, topic_plan

CONSTRUCTORS = {f"facts.{topic.replace('-', '_')}": topic for topic in facts.TOPICS}
SERVICE_OF_FOLDER = {"console": "console-api"}
"""Where the two are not called the same."""
AT_HOME_ALONE = {"apps/offline.py"}
"""Hands facts from function to function, and publishes none."""
REBUILT = ("src/prognode/events/", "src/prognode/adapters/")
"""Where events are made from what was stored or received."""
FOR_WHOM_THEY_ACT = ("src/prognode/runtime/",)
"""Modules that speak for whoever calls them."""


def groups() -> dict[str, set[str]]:
    """Consumer group -> topics, by the table of services."""
    ports = dict.fromkeys(("index", "objects", "bus", "reader", "clock", "clinical"))
    config = NodeConfig(data=Path("data"), recipe=Path("recipe.json"), extractor=Path("net.onnx"))
    outside = SimpleNamespace(
        **ports, config=config, model=(None, None), commitments=CommitmentResults(), woken=threading.Event()
    )
    services = [service(outside) for service in SERVICES.values()]
    return {worker.group: set(worker.handlers) for service in services for worker in service.workers}


def calls(node: ast.AST) -> set[str]:
    """What is called below a node: ``facts.case_ready``, ``Event``."""
    return {ast.unparse(each.func) for each in ast.walk(node) if isinstance(each, ast.Call)}


def speakers(path: Path) -> set[str]:
    """Who speaks in a file of the product: a service, the command line, or those for whom it acts."""
    name = name_of(path)
    if name.startswith("services/"):
        folder = name.split("/")[1]
        return {SERVICE_OF_FOLDER.get(folder, folder)}
    if name.startswith("apps/cli/"):
        return {"command line"}
    assert name.startswith(FOR_WHOM_THEY_ACT), f"{name} makes facts: say in this test who it speaks for"
    return set().union(*(_speakers_with(other, path.stem) for other in python_files("apps", "services")))


def _speakers_with(path: Path, module: str) -> set[str]:
    """Those in one file who call the public functions of a module of the runtime."""
    imported = {
        alias.name if node.module == f"prognode.runtime.{module}" else f"{module}.*"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if node.module == f"prognode.runtime.{module}"
        or (node.module == "prognode.runtime" and alias.name == module)
    }

    def uses(node: ast.AST) -> bool:
        return any(fnmatch(called, name) for called in calls(node) for name in imported)

    if name_of(path) == "apps/compose.py":
        functions = [node for node in tree(path).body if isinstance(node, ast.FunctionDef)]
        return {
            name
            for name, service in SERVICES.items()
            for node in functions
            if node.name == service.__name__ and uses(node)
        }
    return speakers(path) if uses(tree(path)) else set()


def speaking(of: Collection[str]) -> set[str]:
    """Everybody in whose files one of these functions is called."""
    found = [
        speakers(path)
        for path in python_files(*PRODUCT)
        if name_of(path) not in AT_HOME_ALONE and calls(tree(path)) & set(of)
    ]
    return set().union(*found)


@pytest.mark.parametrize("topic", facts.TOPICS)
def test_a_schema_names_exactly_its_consumers(topic):
    """A group that the table of services gives the topic to is named, and no other."""
    consumers = {group for group, topics in groups().items() if topic in topics}
    assert set(event_schemas()[topic][1]["x-consumers"]) == consumers


@pytest.mark.parametrize("topic", facts.TOPICS)
def test_a_schema_names_exactly_its_producers(topic):
    """Whoever calls the fact's constructor is named, and no other."""
    constructors = {call for call, spoken in CONSTRUCTORS.items() if spoken == topic}
    assert set(event_schemas()[topic][1]["x-producers"]) == speaking(constructors)


def test_the_dead_letters_come_from_every_group_to_whoever_shows_them():
    """Each group may set a message aside; the schema names them all, and everybody who lists the letters."""
    schema = event_schemas()[DEAD_LETTER][1]
    assert set(schema["x-producers"]) == set(groups())
    assert set(schema["x-consumers"]) == speaking({"bus.dead_letters", "_bus(config).dead_letters"})


def test_every_topic_has_a_constructor_and_is_spelled_once():
    """Services make facts by their constructors; only what was stored or received is put together by hand."""
    assert all(callable(getattr(facts, name.removeprefix("facts."))) for name in CONSTRUCTORS)
    by_hand = [
        name_of(path)
        for path in python_files(*PRODUCT)
        if not name_of(path).startswith(REBUILT) and {"Event", "facts.Event"} & calls(tree(path))
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
    """schemas/README.md has a line for each key that is ours."""
    page = (ROOT / "schemas" / "README.md").read_text(encoding="utf-8")
    schemas = [schema for versions in event_schemas().values() for schema in versions.values()]
    keys = {key for schema in schemas for key in schema if key.startswith("x-")}
    assert [key for key in sorted(keys) if f"| `{key}` |" not in page] == []


def test_the_schemas_that_are_read_are_those_of_the_repository():
    """What the node checks events against are the files that the other tests look at."""
    files = sorted((ROOT / "schemas" / "events").glob("*.schema.json"))
    read = [schema for versions in event_schemas().values() for schema in versions.values()]
    assert read == [json.loads(path.read_text()) for path in files]
