"""What is set aside, as it lies on the dead-letter topic: ``schemas/events/dead-letter.v1.schema.json``."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from prognode.events.envelope import NotAnEvent, json_object
from prognode.events.facts import Event
from prognode.events.models import DeadLetterV1
from prognode.events.topics import DEAD_LETTER
from prognode.events.validation import fault_of

LARGEST_BYTES = 1024 * 1024
"""What an event says in one byte takes up to three where it is written again, as ASCII."""


def dead_letter(
    event: Event, *, group: str, origin: str, deliveries: int, why: str, failed_at: datetime
) -> bytes:
    """The letter as JSON. ``origin`` says where the event lies, ``why`` holds no patient data.

    Of what was no event, ``event`` is what could be read of it, as :class:`~prognode.events.envelope.NotAnEvent` has it.
    """
    letter = DeadLetterV1(
        version=1,
        group=group,
        origin=origin,
        topic=event.topic,
        key=event.key,
        payload=event.payload,
        traceparent=event.traceparent,
        deliveries=deliveries,
        why=why,
        failed_at=failed_at.isoformat(),
    )
    return json.dumps(letter, sort_keys=True).encode()


def read_dead_letter(data: bytes) -> dict[str, Any]:
    """The letter, with all that its schema asks for. Raises NotAnEvent for anything else, and nothing else."""
    letter = json_object(data, DEAD_LETTER, "dead letter", LARGEST_BYTES)
    said = Event(DEAD_LETTER, "", letter)
    fault = fault_of(said)
    if fault:
        raise NotAnEvent(fault, said)
    return {"traceparent": "", **letter}
