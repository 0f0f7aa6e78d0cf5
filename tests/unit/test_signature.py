"""What a signature promises."""

from __future__ import annotations

import numpy as np
import pytest

from prognode.domain.signature import Signature, score
from prognode.errors import InvalidInput, Reason


def test_score_is_the_weighted_sum_centred_and_scaled():
    """(0.5 * 4 - 2 * 1 - 1) / 2, worked by hand."""
    features = np.zeros(2048, np.float32)
    features[[3, 2047]] = 4.0, 1.0
    assert score(Signature((3, 2047), (0.5, -2.0), center=1.0, scale=2.0), features) == -0.5


def test_lasso_score_needs_neither_centre_nor_scale():
    """By default the score is the linear predictor that LASSO-Cox gives."""
    assert score(Signature((0,), (3.0,)), np.full(2048, 0.5)) == 1.5


def test_sum_is_reckoned_in_double_precision():
    """float32 features that cancel do not lose their difference to float32 arithmetic."""
    features = np.zeros(2048, np.float32)
    features[:3] = 2.0**24, 1.0, -(2.0**24)
    assert score(Signature((0, 1, 2), (1.0, 1.0, 1.0)), features) == 1.0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_used_feature_that_is_not_finite_is_refused(bad):
    """No number is made from a broken feature."""
    features = np.zeros(2048, np.float32)
    features[7] = bad
    with pytest.raises(InvalidInput) as refusal:
        score(Signature((7,), (1.0,)), features)
    assert refusal.value.reason is Reason.FEATURES_NOT_FINITE


def test_features_of_another_length_are_a_bug():
    """A batch or another network does not pass for one patient's features."""
    with pytest.raises(ValueError, match="2048"):
        score(Signature((0,), (1.0,)), np.zeros((2, 2048)))
