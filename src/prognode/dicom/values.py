"""Header values as they come in real files: absent, empty, of the wrong length, not a number.

Readers of images and contours must never stop at a bad value that they could do without, so each function answers
``None`` or an empty value instead of raising.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

UNREADABLE = (
    ValueError,
    TypeError,
    OverflowError,
    ArithmeticError,
    AttributeError,
    KeyError,
    NotImplementedError,
)
"""What pydicom raises while it turns bytes into a value."""


def value_of(dataset: Dataset, keyword: str) -> Any:
    """Return the element's value, or None when it is absent, empty or cannot be read."""
    try:
        return dataset.get(keyword)
    except UNREADABLE:
        return None


def text(dataset: Dataset, keyword: str) -> str:
    """Return a text value without surrounding blanks; several values keep their backslashes; empty when absent."""
    value = value_of(dataset, keyword)
    if value is None:
        return ""
    parts = value if isinstance(value, MultiValue | list) else [value]
    return "\\".join(str(part) for part in parts).strip(" \0")


def texts(dataset: Dataset, keyword: str) -> list[str]:
    """Return all values as text; empty when absent."""
    whole = text(dataset, keyword)
    return [part.strip() for part in whole.split("\\")] if whole else []


def numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """Return exactly ``count`` finite numbers, or None."""
    value = value_of(dataset, keyword)
    if value is None:
        return None
    parts = list(value) if isinstance(value, MultiValue | list) else [value]
    try:
        found = tuple(float(part) for part in parts)
    except (ValueError, TypeError):
        return None
    return found if len(found) == count and all(map(math.isfinite, found)) else None


def number(dataset: Dataset, keyword: str) -> float | None:
    """Return one finite number, or None."""
    found = numbers(dataset, keyword, 1)
    return found[0] if found else None


def integer(dataset: Dataset, keyword: str) -> int | None:
    """Return one whole number, or None."""
    found = number(dataset, keyword)
    return int(found) if found is not None and found == int(found) else None


def items(dataset: Dataset | None, keyword: str) -> list[Dataset]:
    """Return the items of a sequence; empty when the sequence is absent or not a sequence."""
    if dataset is None:
        return []
    value = value_of(dataset, keyword)
    if value is None or isinstance(value, str | bytes):
        return []
    return [item for item in value if isinstance(item, Dataset)] if isinstance(value, Iterable) else []


def first_item(dataset: Dataset | None, keyword: str) -> Dataset | None:
    """Return the first item of a sequence, or None."""
    found = items(dataset, keyword)
    return found[0] if found else None


def functional_group(frame: Dataset | None, shared: Dataset | None, keyword: str) -> Dataset | None:
    """Return a functional group's item for one frame: its own, else the shared one (PS3.3 C.7.6.16)."""
    own = first_item(frame, keyword)
    return own if own is not None else first_item(shared, keyword)
