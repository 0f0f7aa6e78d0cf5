"""What lies in the object store, or the reason why a message cannot be handled."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from prognode.domain.signature import FEATURE_COUNT
from prognode.errors import GaveUp
from prognode.ports import ObjectStore
from prognode.runtime.crop_archive import CropArchive

CROPS_SHAPE = (2, 3, 224, 224)


def stored(objects: ObjectStore, key: str) -> bytes:
    """The object. Raises GaveUp when it does not exist: a message may name what was never there, or is there no more."""
    try:
        return objects.get(key)
    except (KeyError, ValueError):
        raise GaveUp(f"the object {key} does not exist") from None


def stored_crops(objects: ObjectStore, key: str) -> CropArchive:
    """Both crops of a case. Raises GaveUp when the object is no such archive."""
    data = stored(objects, key)
    try:
        archive = CropArchive.from_bytes(data)
    except Exception:  # noqa: BLE001 - whatever a reader of archives meets in bytes that are none
        raise GaveUp(f"the object {key} is no archive of crops") from None
    if archive.crops_hu.shape != CROPS_SHAPE:
        raise GaveUp(f"the crops {key} have the shape {archive.crops_hu.shape}, not {CROPS_SHAPE}")
    return archive


def stored_features(objects: ObjectStore, key: str) -> NDArray[np.float32]:
    """(2, 2048) features of a case. Raises GaveUp when the object holds no such numbers."""
    data = stored(objects, key)
    try:
        features = np.load(io.BytesIO(data), allow_pickle=False)
    except Exception:  # noqa: BLE001 - as above
        raise GaveUp(f"the object {key} holds no features") from None
    if not isinstance(features, np.ndarray) or features.shape != (2, FEATURE_COUNT):
        raise GaveUp(f"the features {key} are not (2, {FEATURE_COUNT}), or not finite")
    if not np.isfinite(features).all():
        raise GaveUp(f"the features {key} are not finite")
    return np.asarray(features, np.float32)
