"""Finding DICOM files that a person points at."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from prognode.errors import BadRequest


def dicom_files(places: Iterable[Path]) -> list[Path]:
    """Every regular file below ``places``, sorted. Raises BadRequest when a place is missing or all are empty."""
    files: list[Path] = []
    for place in places:
        if not place.exists():
            raise BadRequest(f"{place}: no such file or folder")
        files.extend([place] if place.is_file() else sorted(p for p in place.rglob("*") if p.is_file()))
    if not files:
        raise BadRequest(f"{', '.join(map(str, places))}: there are no files in it")
    return files
