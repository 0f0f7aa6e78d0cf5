"""Whether the events still fit those who speak and hear them as they were released: prints what does not, and exits 1.

Two things may change inside a version: what a schema says to people, and that there are more optional fields. Everything
else breaks somebody. Narrower, and what an old producer sends is refused; wider, and an old consumer refuses what comes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SCHEMAS = Path(__file__).resolve().parents[1] / "schemas"

Schema = dict[str, Any]

FOR_PEOPLE = {"$schema", "$id", "$comment", "title", "description", "examples", "default", "deprecated"}
NARROWER = "an old producer's event would be refused"
WIDER = "an old consumer would refuse it"
LOST = "an old consumer would miss it"

LOWER_BOUNDS = {"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"}
UPPER_BOUNDS = {"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"}


def breaking_changes(old: Schema, new: Schema, where: str = "") -> list[str]:
    """One sentence for each change from ``old`` to ``new`` that an old producer or an old consumer would trip over."""
    return [
        *_of_fields(old, new, where),
        *_of_required(old, new, where),
        *_of_items(old, new, where),
        *_of_rules(old, new, where),
    ]


def since_release(events: Path, released: Path) -> list[str]:
    """The breaking changes of every event that was released; an event that is gone is one."""
    found = []
    for path in sorted(released.glob("*.schema.json")):
        now = events / path.name
        if now.is_file():
            changes = breaking_changes(_load(path), _load(now))
        else:
            changes = [f"the event is gone: {LOST}"]
        found += [f"{path.name}: {change}" for change in changes]
    return found


def _of_fields(old: Schema, new: Schema, where: str) -> Iterator[str]:
    now = new.get("properties", {})
    for name, field in old.get("properties", {}).items():
        if name in now:
            yield from breaking_changes(field, now[name], f"{where}.{name}".lstrip("."))
        else:
            yield f"{_place(where)}: {name} is gone: {LOST}"


def _of_required(old: Schema, new: Schema, where: str) -> Iterator[str]:
    before, now = set(old.get("required", ())), set(new.get("required", ()))
    for name in sorted(now - before):
        yield f"{_place(where)}: {name} is now required: {NARROWER}"
    for name in sorted(before - now):
        yield f"{_place(where)}: {name} is no longer required: {LOST}"


def _of_items(old: Schema, new: Schema, where: str) -> list[str]:
    if isinstance(old.get("items"), dict) and isinstance(new.get("items"), dict):
        return breaking_changes(old["items"], new["items"], f"{where}[]")
    return list(_of_rule("items", old, new, where))


def _of_rules(old: Schema, new: Schema, where: str) -> Iterator[str]:
    """Every other keyword that decides what is accepted."""
    apart = {"properties", "required", "items", *FOR_PEOPLE}
    for rule in sorted((old.keys() | new.keys()) - apart):
        if not rule.startswith("x-"):
            yield from _of_rule(rule, old, new, where)


def _of_rule(rule: str, old: Schema, new: Schema, where: str) -> Iterator[str]:
    before, now = _value(rule, old), _value(rule, new)
    if (before, type(before)) == (now, type(now)):
        return
    for consequence in _consequences(rule, before, now):
        yield f"{_place(where)}: {rule} was {_said(before)}, is {_said(now)}: {consequence}"


def _value(rule: str, schema: Schema) -> object:
    """What the schema says; where it says nothing, an object is open."""
    return schema.get(rule, True if rule == "additionalProperties" else None)


def _consequences(rule: str, before: Any, now: Any) -> list[str]:
    """Whom the change of one keyword trips up; both, where that cannot be told."""
    if before is None or now is None:
        return [NARROWER if before is None else WIDER]
    if rule in LOWER_BOUNDS or rule in UPPER_BOUNDS:
        narrower = now > before if rule in LOWER_BOUNDS else now < before
        return [NARROWER if narrower else WIDER]
    if rule in ("type", "enum"):
        old, new = _choices(before), _choices(now)
        return [NARROWER] * bool(old - new) + [WIDER] * bool(new - old)
    if rule == "additionalProperties" and True in (before, now):
        return [NARROWER if before is True else WIDER]
    return [f"{NARROWER}, or {WIDER}"]


def _choices(value: Any) -> set[str]:
    """The values of ``type`` or ``enum``, comparable whatever they are."""
    choices = {json.dumps(each, sort_keys=True) for each in (value if isinstance(value, list) else [value])}
    return choices | {'"integer"'} if '"number"' in choices else choices


def _place(where: str) -> str:
    return where or "the event"


def _said(value: object) -> str:
    return "absent" if value is None else json.dumps(value)


def _load(path: Path) -> Schema:
    return dict(json.loads(path.read_text(encoding="utf-8")))


if __name__ == "__main__":
    broken = since_release(SCHEMAS / "events", SCHEMAS / "released")
    print("\n".join(broken), end="\n" if broken else "")
    sys.exit(bool(broken))
