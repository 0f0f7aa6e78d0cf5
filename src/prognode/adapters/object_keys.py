"""Which keys an object store takes: those that this code makes, and nothing that a peer could have written."""

from __future__ import annotations

import re

_KEY = re.compile(r"[a-z0-9_-][a-z0-9._-]*(/[a-z0-9_-][a-z0-9._-]*)*")


def checked_key(key: str) -> str:
    """The key, if it is lower-case words joined by ``/`` of which none begins with a dot; else ValueError."""
    if not _KEY.fullmatch(key):
        raise ValueError(f"not an object key: {key!r}")
    return key
