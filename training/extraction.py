"""From images to features, each patient once: results are kept by content, so that a run that ended goes on.

The key of a result is the digest of every byte it was made of (images, contours, the network), of what each file was
there for, of the rules that chose among them, and of the code that made it. A changed contour is computed again, an
unchanged one never, wherever the files lie.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from prognode.errors import BadRequest, InvalidInput
from prognode.ports import Extractor
from training.cohort import Images, Patient

CODE = "crop-and-features.v2"
"""Must change whenever the same images would give other crops or features."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Reading:
    """One reader's contours of one patient, cut."""

    crops_hu: Floats
    """(2, 3, 224, 224): arterial, venous."""
    longest_diameter_mm: float
    """Over both phases, in the plane of the slices."""
    remarks: tuple[str, ...] = ()


class CropSource(Protocol):
    """Where crops come from."""

    @property
    def rules(self) -> str:
        """What decides beside the files which crops come of them; equal rules are equal text."""

    def files(self, images: Images, *, second: bool) -> list[tuple[str, Path]]:
        """(role, path) of every file that a reading is made of, in a fixed order."""

    def read(self, images: Images, *, second: bool) -> Reading:
        """Cut both phases. Raises InvalidInput."""


@dataclass(frozen=True)
class Extracted:
    """What came of one reading of one patient."""

    features: Floats | None
    """(2, 2048): arterial, venous; None where the images could not be evaluated."""
    longest_diameter_mm: float | None = None
    remarks: tuple[str, ...] = ()
    reason: str = ""
    """Why there are no features: reason code and sentence."""


@dataclass
class FeatureCache:
    """Results by content, in a folder. Content digests of files are remembered by size and time of change."""

    folder: Path
    _known: dict[str, list[object]] = field(default_factory=dict)
    _dirty: bool = False

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._known = json.loads(self._index.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self._known = {}

    @property
    def _index(self) -> Path:
        return self.folder / "digests.json"

    def key(self, files: Iterable[tuple[str, Path]], *more: str) -> str:
        """Digest of the files' roles and contents in order, and of ``more``. Raises BadRequest for a file that is gone."""
        made_of = [CODE, *more, *([role, self._digest(path)] for role, path in files)]
        return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()

    def _digest(self, path: Path) -> str:
        try:
            return self._remembered(path)
        except OSError as fault:
            raise BadRequest(
                f"{path}: cannot be read ({fault.strerror}); put it back or mend it, and run again"
            ) from None

    def _remembered(self, path: Path) -> str:
        stat = path.stat()
        seen: list[object] = [stat.st_size, stat.st_mtime_ns]
        known = self._known.get(str(path))
        if known is None or known[:2] != seen:
            known = [*seen, _sha256(path)]
            self._known[str(path)] = known
            self._dirty = True
        return str(known[2])

    def save_digests(self) -> None:
        """Remember the digests for the next run."""
        if self._dirty:
            _replace(self._index, json.dumps(self._known).encode())
            self._dirty = False

    def get(self, key: str) -> Extracted | None:
        """The result, if it is there and whole."""
        try:
            data = io.BytesIO((self.folder / f"{key}.npz").read_bytes())
            with np.load(data, allow_pickle=False) as kept:
                features = kept.get("features")
                head = json.loads(kept["head"].tobytes())
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return None
        return Extracted(features, head["longest_diameter_mm"], tuple(head["remarks"]), head["reason"])

    def put(self, key: str, result: Extracted) -> None:
        """Keep a result, whole or not at all."""
        head = {
            "longest_diameter_mm": result.longest_diameter_mm,
            "remarks": list(result.remarks),
            "reason": result.reason,
        }
        arrays: dict[str, NDArray[Any]] = {"head": np.frombuffer(json.dumps(head).encode(), np.uint8)}
        if result.features is not None:
            arrays["features"] = result.features
        part = self.folder / f"{key}.{os.getpid()}.part"
        with part.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        part.replace(self.folder / f"{key}.npz")


def _replace(path: Path, data: bytes) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_bytes(data)
    part.replace(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Readings:
    """All features of a cohort."""

    first: Mapping[str, Extracted]
    """By patient_id."""
    second: Mapping[str, Extracted]
    """Those who were read twice."""


def extract(
    patients: Sequence[Patient],
    source: CropSource,
    extractor: Extractor,
    cache: FeatureCache,
    on_done: Callable[[], object] = lambda: None,
) -> Readings:
    """Features of every patient, and of every second reading; ``on_done`` once per reading."""
    found: tuple[dict[str, Extracted], dict[str, Extracted]] = ({}, {})
    try:
        for patient in patients:
            assert patient.images is not None
            for second in (False, True) if patient.images.second else (False,):
                found[second][patient.patient_id] = _one(patient.images, second, source, extractor, cache)
                on_done()
    finally:
        cache.save_digests()
    return Readings(*found)


def count_readings(patients: Sequence[Patient]) -> int:
    """How often :func:`extract` will call ``on_done``."""
    return sum(2 if patient.images and patient.images.second else 1 for patient in patients)


def _one(
    images: Images, second: bool, source: CropSource, extractor: Extractor, cache: FeatureCache
) -> Extracted:
    key = cache.key(source.files(images, second=second), extractor.sha256, source.rules)
    known = cache.get(key)
    if known is None:
        known = _evaluate(images, second, source, extractor)
        cache.put(key, known)
    return known


def _evaluate(images: Images, second: bool, source: CropSource, extractor: Extractor) -> Extracted:
    try:
        reading = source.read(images, second=second)
        # both phases in one batch, as the node gives them to the network
        features = extractor.features(reading.crops_hu)
    except InvalidInput as fault:
        return Extracted(None, reason=str(fault))
    return Extracted(features, reading.longest_diameter_mm, reading.remarks)
