"""The schemas of the events, as they are installed with the package or lie beside its sources."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

LAST_VERSION = 9999
"""A larger number is none of ours, and is not repeated: it may be anything."""


@cache
def event_schemas() -> Mapping[str, Mapping[int, dict[str, Any]]]:
    """Topic -> version -> JSON schema of what the topic carries in that version."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for path in sorted((_folder() / "events").glob("*.schema.json")):
        topic, version, *_ = path.name.split(".")
        found.setdefault(topic, {})[int(version.removeprefix("v"))] = json.loads(
            path.read_text(encoding="utf-8")
        )
    return found


def schema_id(topic: str, version: int) -> str:
    """The name by which an event's schema is known (its ``$id``)."""
    return f"urn:prognode:event:{topic}:v{version}"


def stated_version(payload: Mapping[str, Any]) -> int | None:
    """The version that the data of an event state; None where it is no number that a version can be."""
    stated = payload.get("version")
    if not isinstance(stated, int) or isinstance(stated, bool):
        return None
    return stated if 0 < stated <= LAST_VERSION else None


def _folder() -> Path:
    installed = Path(str(resources.files("prognode"))) / "schemas"
    return installed if installed.is_dir() else Path(__file__).resolve().parents[3] / "schemas"
