"""Events as they travel on Kafka: CloudEvents 1.0 in structured JSON (content type ``application/cloudevents+json``).

The type names topic and version (``prognode.case-ready.v1``), the subject is the case id, and ``traceparent`` is the
W3C trace context of the distributed tracing extension. Attributes that are not known here are passed over.
``schemas/envelope.v1.schema.json`` is the same in the language of schemas.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from prognode.events.facts import Event
from prognode.events.schemas import schema_id, stated_version

SPEC_VERSION = "1.0"
CONTENT_TYPE = "application/cloudevents+json"
LARGEST_BYTES = 256 * 1024
"""An event carries references: a larger one is none."""
MOST_BRACKETS = 500
"""So many objects and lists at most, so that no nesting is too deep for whoever writes it again."""
KEPT_BYTES = 48 * 1024
"""Of bytes that are no JSON object, so many are kept for a person to look at."""

_TYPE = re.compile(r"prognode\.([a-z0-9-]{1,64})\.v([0-9]{1,4})")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_REQUIRED = ("id", "source", "type", "subject")


class NotAnEvent(Exception):
    """Bytes that are no event; ``reason`` is a sentence without their content, ``event`` holds what could be read."""

    def __init__(self, reason: str, event: Event) -> None:
        super().__init__(reason)
        self.reason = reason
        self.event = event


def encode(event: Event, source: str, now: datetime) -> bytes:
    """The event as JSON. ``source`` names the service that speaks, ``now`` has a time zone."""
    version = stated_version(event.payload) or 1
    document: dict[str, Any] = {
        "specversion": SPEC_VERSION,
        "id": event.id,
        "source": f"/prognode/{source}",
        "type": f"prognode.{event.topic}.v{version}",
        "subject": event.key,
        "time": now.isoformat(),
        "datacontenttype": "application/json",
        "dataschema": schema_id(event.topic, version),
        "data": event.payload,
    }
    if event.traceparent:
        document["traceparent"] = event.traceparent
    return json.dumps(document, sort_keys=True).encode()


def decode(data: bytes, topic: str) -> Event:
    """The event that came on ``topic``. Raises NotAnEvent for everything else, and nothing else."""
    document = json_object(data, topic, "CloudEvents envelope", LARGEST_BYTES)
    known = _readable(document, topic)
    if document.get("specversion") != SPEC_VERSION:
        raise NotAnEvent(
            f"no CloudEvents envelope of version {SPEC_VERSION}, the one that is known here", known
        )
    for name in _REQUIRED:
        if not _is_text(document.get(name)):
            raise NotAnEvent(f"a CloudEvents envelope whose {name} is no text", known)
    if not isinstance(document.get("data"), dict):
        raise NotAnEvent("a CloudEvents envelope whose data are no JSON object", known)
    _check_type(document["type"], known)
    return Event(topic, known.key, known.payload, known.traceparent, document["id"])


def _check_type(stated: str, known: Event) -> None:
    """The type must be of this topic, and of the version that its data state, if they state one."""
    match = _TYPE.fullmatch(stated)
    if match is None or match[1] != known.topic:
        raise NotAnEvent(f"a CloudEvents envelope of another type than {known.topic}", known)
    version = stated_version(known.payload)
    if version not in (None, int(match[2])):
        raise NotAnEvent(
            f"a CloudEvents envelope of version {match[2]} around data of version {version}", known
        )


def json_object(data: bytes, topic: str, kind: str, largest_bytes: int) -> dict[str, Any]:
    """The JSON object in ``data``, which should be a ``kind``. Raises NotAnEvent, which then holds the bytes."""
    fault, document = _parsed(data, largest_bytes)
    if not isinstance(document, dict):
        kept = base64.b64encode(data[:KEPT_BYTES]).decode()
        raise NotAnEvent(f"no {kind}: {fault}", Event(topic, "", {"base64": kept}))
    return document


def _parsed(data: bytes, largest_bytes: int) -> tuple[str, object]:
    """What is in ``data``, and why it is no JSON object, if it is none."""
    if len(data) > largest_bytes:
        return f"larger than {largest_bytes // 1024} KiB", None
    if data.count(b"{") + data.count(b"[") > MOST_BRACKETS:
        return f"more than {MOST_BRACKETS} objects and lists", None
    try:
        return "not a JSON object", json.loads(data)
    except ValueError:
        return "not JSON", None


def _readable(document: Mapping[str, Any], topic: str) -> Event:
    """What can be read of an envelope, whole or not."""
    data, key, traceparent = (document.get(name) for name in ("data", "subject", "traceparent"))
    return Event(
        topic,
        str(key) if _is_text(key) else "",
        data if isinstance(data, dict) else {"data": data},
        traceparent if isinstance(traceparent, str) and _TRACEPARENT.fullmatch(traceparent) else "",
    )


def _is_text(value: object) -> bool:
    """Whether it is a text of some length, and can be written as UTF-8: JSON can spell halves of a character."""
    try:
        return isinstance(value, str) and bool(value.encode())
    except UnicodeEncodeError:
        return False
