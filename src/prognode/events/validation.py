"""Whether an event is what its schema says, before any handler sees it.

A consumer takes what has more than it knows, and sets aside what has less, or other things. The reason names the topic,
the version and the fields; never a value, which may be anything, a patient's name as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, cast

from prognode.errors import GaveUp
from prognode.events.facts import Event
from prognode.events.schemas import event_schemas, stated_version

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError


def check(event: Event) -> None:
    """Raises GaveUp with the sentence of :func:`fault_of`, if there is one."""
    fault = fault_of(event)
    if fault:
        raise GaveUp(fault)


def fault_of(event: Event) -> str:
    """Why the event is not what its schema says, as a sentence; empty where it is."""
    versions = _validators().get(event.topic)
    if versions is None:
        return f"{event.topic} is no fact that is known here"
    version = stated_version(event.payload)
    if version is None:
        return f"{event.topic}: version is {'malformed' if 'version' in event.payload else 'missing'}"
    validator = versions.get(version)
    if validator is None:
        return f"{event.topic} version {version} is not known here; {_listed(versions)}"
    faults = dict.fromkeys(each for error in validator.iter_errors(event.payload) for each in _phrases(error))
    if not faults and event.key != event.payload.get("case_id", event.key):
        faults = {"case_id is not the key of the message": None}
    return f"{event.topic} version {version}: {', '.join(faults)}" if faults else ""


@cache
def _validators() -> Mapping[str, Mapping[int, Draft202012Validator]]:
    """One compiled validator for each version of each topic; the library is loaded with the first event."""
    from jsonschema import Draft202012Validator

    return {
        topic: {version: Draft202012Validator(schema) for version, schema in versions.items()}
        for topic, versions in event_schemas().items()
    }


def _listed(versions: Iterable[int]) -> str:
    numbers = [str(version) for version in versions]
    return f"version {numbers[0]} is" if len(numbers) == 1 else f"versions {' and '.join(numbers)} are"


def _phrases(error: ValidationError) -> Iterator[str]:
    """One phrase a field: ``sent.attempts is missing``."""
    path = [str(part) for part in error.absolute_path]
    if error.validator == "required":
        required, instance = (
            cast("list[str]", error.validator_value),
            cast("dict[str, object]", error.instance),
        )
        yield from (f"{'.'.join([*path, name])} is missing" for name in required if name not in instance)
    else:
        yield f"{'.'.join(path)} is malformed"
