"""Files and folders that a person points at: what is wrong with them in one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from prognode.errors import BadRequest


def dicom_files(places: Iterable[Path]) -> list[Path]:
    """Every regular file below ``places``, once, sorted by place. Raises BadRequest when one is missing or all are empty."""
    files: dict[Path, None] = {}
    places = list(places)
    for place in places:
        files.update(dict.fromkeys(_below(place)))
    if not files:
        raise BadRequest(
            f"{', '.join(map(str, places))}: there are no files in it; give a folder with DICOM files"
        )
    return list(files)


def _below(place: Path) -> list[Path]:
    try:
        if not place.exists():
            raise BadRequest(f"{place}: no such file or folder; give a folder with DICOM files")
        return [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.is_file())
    except OSError as fault:
        raise BadRequest(
            f"{place}: cannot be read ({fault.strerror}); give a folder with DICOM files"
        ) from None


def existing_file(path: Path, what: str, remedy: str) -> Path:
    """``path``, which is a file. Raises BadRequest that says what it should be and what to do."""
    if path.is_dir():
        raise BadRequest(f"{path}: a folder, not {what}; {remedy}")
    if not path.is_file():
        raise BadRequest(f"{path}: no such file, it should be {what}; {remedy}")
    return path


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What fails while ``path`` is written is the person's to mend. Raises BadRequest."""
    try:
        yield
    except OSError as fault:
        where = fault.filename or path
        raise BadRequest(f"{where}: cannot be written ({fault.strerror}); give another --out") from None


def writable_folder(path: Path) -> Path:
    """``path``, made if need be, proven to take a file before any work is done. Raises BadRequest."""
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
        probe = path / ".prognode-probe"
        probe.touch()
        probe.unlink()
    return path
