"""Agreement of repeated readings: shapes, constant features, and what each form must and must not notice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prognode.statistics.icc import FORMS, icc_values, intraclass_correlation, mean_squares, reproducible


def drawn(seed: int, patients: int = 12, readers: int = 3, features: int = 4) -> np.ndarray:
    random = np.random.default_rng(seed)
    truth = random.normal(size=(patients, 1, features))
    return truth + random.normal(size=(patients, readers, features)) * 0.4


seeds = st.integers(0, 10_000)


def test_shrout_and_fleiss_example():
    """Six targets and four judges as printed in the 1979 paper: .17, .29, .71 and .44, .62, .91."""
    judged = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    readings = np.array(judged, dtype=np.float64)[:, :, None]
    values = [round(float(icc_values(readings, form)[0]), 2) for form in FORMS]
    assert values == [0.17, 0.29, 0.71, 0.44, 0.62, 0.91]


@pytest.mark.parametrize("shape", [(5, 2), (1, 2, 3), (5, 1, 3)])
def test_other_shapes_are_refused(shape):
    """One patient, one reader or a plain table say nothing about agreement."""
    with pytest.raises(ValueError, match="must be"):
        intraclass_correlation(np.ones(shape))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_missing_readings_are_refused(value):
    """A gap is not filled silently."""
    readings = drawn(1)
    readings[2, 1, 0] = value
    with pytest.raises(ValueError, match="not finite"):
        icc_values(readings)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e9 + 0.3])
def test_constant_feature_is_nan_in_everything(constant):
    """Rounding never turns a constant into perfect agreement; its neighbour is untouched."""
    readings = drawn(2)
    readings[:, :, 1] = constant
    for agreement in intraclass_correlation(readings).values():
        for numbers in (agreement.value, agreement.f, agreement.p, agreement.low, agreement.high):
            assert np.isnan(numbers).tolist() == [False, True, False, False]
    assert not reproducible(readings, threshold=-9.0)[1]


def test_identical_readings_agree_perfectly():
    """Readers alike in every digit: value and both limits are 1, p is 0, nothing is NaN."""
    readings = np.repeat(np.arange(6.0)[:, None, None], 2, axis=1)
    for agreement in intraclass_correlation(readings).values():
        assert [float(x[0]) for x in (agreement.value, agreement.low, agreement.high)] == [1.0, 1.0, 1.0]
        assert agreement.p[0] == 0.0


def test_threshold_is_exceeded_not_reached():
    """A value equal to the threshold is not above it."""
    readings = np.repeat(np.arange(6.0)[:, None, None], 2, axis=1)
    assert not reproducible(readings, threshold=1.0)[0]
    assert reproducible(readings, threshold=0.999)[0]


def test_values_alone_equal_the_full_answer():
    """The fast path gives the same digits."""
    readings = drawn(3)
    for form, agreement in intraclass_correlation(readings).items():
        assert icc_values(readings, form).tolist() == agreement.value.tolist()


def test_readers_level_counts_only_as_absolute_disagreement():
    """A reader who reads 5 higher throughout leaves consistency as it was and lowers absolute agreement."""
    readings, shift = drawn(4), np.array([0.0, 0.0, 5.0])[:, None]
    before, after = intraclass_correlation(readings), intraclass_correlation(readings + shift)
    np.testing.assert_allclose(after["ICC3"].value, before["ICC3"].value, rtol=1e-12)
    assert (after["ICC2"].value < before["ICC2"].value - 0.3).all()
    assert (after["ICC1"].value < before["ICC1"].value - 0.3).all()


@given(seeds, st.integers(2, 9), st.integers(2, 5))
def test_mean_squares_share_out_the_total(seed, patients, readers):
    """Sums of squares between patients, between readers and residual add up to the total."""
    readings = drawn(seed, patients, readers)
    squares = mean_squares(readings)
    parts = (
        squares.between * (patients - 1)
        + squares.reader * (readers - 1)
        + squares.error * (patients - 1) * (readers - 1)
    )
    np.testing.assert_allclose(parts, patients * readers * readings.var((0, 1)), rtol=1e-10)


@given(seeds, st.floats(0.01, 1000), st.floats(-100, 100))
def test_unit_and_order_do_not_matter(seed, scale, offset):
    """Another unit, another order of patients and of readers: the same correlations."""
    readings = drawn(seed)
    order = np.random.default_rng(seed).permutation(len(readings))
    other = (readings * scale + offset)[order][:, ::-1]
    for form in FORMS:
        np.testing.assert_allclose(icc_values(other, form), icc_values(readings, form), rtol=1e-6, atol=1e-8)


@given(seeds)
def test_limits_enclose_the_value(seed):
    """At any confidence the value lies between its limits, and wider confidence is wider."""
    readings = drawn(seed)
    narrow, wide = intraclass_correlation(readings, 0.8), intraclass_correlation(readings, 0.99)
    for form in FORMS:
        assert (narrow[form].low < narrow[form].value).all()
        assert (narrow[form].value < narrow[form].high).all()
        assert (wide[form].low < narrow[form].low).all()
        assert (wide[form].high > narrow[form].high).all()
