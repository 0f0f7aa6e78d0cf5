"""What every extractor asks of crops and of features."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from prognode.adapters.resnet50 import CROP_SHAPE
from prognode.errors import GaveUp, InvalidInput, Reason


def checked_crops(crops_hu: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, 3, 224, 224) in one piece. Raises ValueError for another shape, InvalidInput for values that are not finite."""
    if crops_hu.ndim != 4 or crops_hu.shape[1:] != CROP_SHAPE:
        raise ValueError(f"crops must be (n, 3, 224, 224), not {crops_hu.shape}")
    crops = np.ascontiguousarray(crops_hu, dtype=np.float32)
    if not np.isfinite(crops).all():
        raise InvalidInput(Reason.FEATURES_NOT_FINITE, "the crop holds values that are not finite")
    return crops


def checked_features(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """The features. Raises GaveUp where they are not finite: the engine is at fault, and no patient's images."""
    if not np.isfinite(features).all():
        raise GaveUp(
            "the network's features are not finite, though the crop is: the inference engine is at fault"
        )
    return np.asarray(features, np.float32)
