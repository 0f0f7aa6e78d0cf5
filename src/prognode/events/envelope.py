"""Events as they travel on Kafka: CloudEvents 1.0 in structured JSON (content type ``application/cloudevents+json``).

The type names topic and version (``prognode.case-ready.v1``), the subject is the case id, and ``traceparent`` is the
W3C trace context as in the distributed tracing extension. Attributes that are not known here are passed over.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

from prognode.events.facts import Event

SPEC_VERSION = "1.0"
_TYPE = re.compile(r"prognode\.([a-z0-9-]{1,64})\.v([0-9]{1,4})")


class NotAnEvent(Exception):
    """Bytes that are no event; ``reason`` is a sentence, ``event`` holds what could be read."""

    def __init__(self, reason: str, event: Event) -> None:
        super().__init__(reason)
        self.reason = reason
        self.event = event


def encode(event: Event, source: str, now: datetime) -> bytes:
    """The event as UTF-8 JSON. ``source`` names the service that speaks."""
    version = event.payload.get("version", 1)
    document: dict[str, Any] = {
        "specversion": SPEC_VERSION,
        "id": event.id,
        "source": f"/prognode/{source}",
        "type": f"prognode.{event.topic}.v{version}",
        "subject": event.key,
        "time": now.isoformat(),
        "datacontenttype": "application/json",
        "dataschema": f"events/{event.topic}.v{version}.schema.json",
        "data": event.payload,
    }
    if event.traceparent:
        document["traceparent"] = event.traceparent
    return json.dumps(document, sort_keys=True, ensure_ascii=False).encode()


def decode(data: bytes, topic: str) -> Event:
    """The event that came on ``topic``. Raises NotAnEvent for everything else, and nothing else."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise NotAnEvent("not JSON", Event(topic, "", {})) from None
    if not isinstance(document, dict):
        raise NotAnEvent("no CloudEvents envelope", Event(topic, "", {}))
    payload, key, event_id = document.get("data"), document.get("subject"), document.get("id")
    known = Event(
        topic,
        key if isinstance(key, str) else "",
        payload if isinstance(payload, dict) else {"data": payload},
    )
    if document.get("specversion") != SPEC_VERSION:
        raise NotAnEvent(f"no CloudEvents envelope of version {SPEC_VERSION}", known)
    if not (isinstance(payload, dict) and isinstance(key, str) and isinstance(event_id, str) and event_id):
        raise NotAnEvent("an envelope without id, subject or data", known)
    kind = document.get("type")
    match = _TYPE.fullmatch(kind) if isinstance(kind, str) else None
    if match is None or match[1] != topic:
        raise NotAnEvent("an envelope of another type than its topic", known)
    trace = document.get("traceparent")
    return Event(topic, key, payload, trace if isinstance(trace, str) else "", event_id)
