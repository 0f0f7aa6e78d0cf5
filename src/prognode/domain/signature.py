"""A radiomics signature: one number per phase from the 2048 features (paper, Methods: LASSO-Cox score)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prognode.errors import InvalidInput, Reason

FEATURE_COUNT = 2048


@dataclass(frozen=True, slots=True)
class Signature:
    """``(sum(coefficient * feature) - center) / scale``.

    A LASSO-Cox score as glmnet gives it has center 0 and scale 1: coefficients on the features' own scale, no intercept.
    """

    indices: tuple[int, ...]
    """Feature numbers, 0-based, in the order of the network's output."""
    coefficients: tuple[float, ...]
    center: float = 0.0
    scale: float = 1.0


def score(signature: Signature, features: NDArray[np.floating]) -> float:
    """Signature of one phase from its (2048,) features, reckoned in float64.

    Raises :class:`~prognode.errors.InvalidInput` when a feature that it uses is not finite.
    """
    if features.shape != (FEATURE_COUNT,):
        raise ValueError(f"features must be ({FEATURE_COUNT},), not {features.shape}")
    used = features[list(signature.indices)].astype(np.float64)
    if not np.isfinite(used).all():
        raise InvalidInput(Reason.FEATURES_NOT_FINITE, "a feature that the signature uses is not finite")
    raw = float(used @ np.asarray(signature.coefficients, np.float64))
    return (raw - signature.center) / signature.scale
