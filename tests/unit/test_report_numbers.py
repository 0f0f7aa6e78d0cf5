"""How a report writes numbers."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prognode.statistics.kaplan_meier import Quantile
from training.estimates import NotKnown
from training.report import numbers


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (0.0, "<0.001"),
        (0.00099, "<0.001"),
        (0.001, "0.001"),
        (0.0234, "0.023"),
        (0.05, "0.050"),
        (1.0, "1.000"),
    ],
)
def test_p_values(p, text):
    """Three decimals, and never a P value of zero."""
    assert numbers.p_value(p) == text


def test_p_value_in_a_sentence():
    """The relation is part of it."""
    assert numbers.p_equals(0.0234) == "p = 0.023"
    assert numbers.p_equals(1e-9) == "p < 0.001"


@pytest.mark.parametrize(
    "write",
    [
        numbers.p_value,
        numbers.p_equals,
        numbers.decimal,
        numbers.significant,
        numbers.percent,
        numbers.one_ratio,
        lambda x: numbers.with_limits(x, (x, x)),
        lambda x: numbers.with_limits(0.5, (x, 1.0)),
        lambda x: numbers.hazard_ratio(x, x, x),
    ],
)
def test_what_is_not_a_number_is_written_in_words(write):
    """A NaN never reaches a reader."""
    assert "not estimable" in write(math.nan)
    assert "nan" not in write(math.nan)


def test_no_negative_zero():
    """A small negative number that rounds to 0 is 0."""
    assert numbers.decimal(-0.001) == "0.00"


@pytest.mark.parametrize(
    ("value", "limits", "text"),
    [
        (0.864, (0.812, 0.916), "0.86 (0.81-0.92)"),
        (-0.024, (-0.122, 0.075), "-0.02 (-0.12 to 0.07)"),
        (0.0, (math.nan, math.nan), "0.00 (limits not estimable)"),
    ],
)
def test_estimates_with_limits(value, limits, text):
    """A hyphen between plain numbers; beside a minus sign it could be misread."""
    assert numbers.with_limits(value, limits) == text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        ((3.118, 2.341, 3.931), "3.12 (2.34-3.93)"),
        ((1.0151, 1.0062, 1.0249), "1.015 (1.006-1.025)"),
        ((1.0131, 1.0042, 1.0229), "1.013 (1.004-1.023)"),
        ((0.0004, 0.00001, 0.02), "4.0e-04 (1.0e-05 to 0.02)"),
        ((27.33, 11.31, 166.04), "27.33 (11.31-166)"),
        ((5e6, 2.0, math.inf), "5.00e+06 (2.00 to infinite)"),
    ],
)
def test_hazard_ratios(ratio, text):
    """As many decimals as tell the ratio, its limits and 1 apart."""
    assert numbers.hazard_ratio(*ratio) == text


@given(st.floats(0.001, 50.0), st.floats(1.02, 20.0))
def test_an_interval_without_1_never_reads_as_if_it_held_1(value, factor):
    """Rounding does not undo what the interval says."""
    lower, upper = value / factor, value * factor
    text = numbers.hazard_ratio(value, lower, upper)
    shown = [float(one) for one in re.findall(r"\d[\d.]*(?:e[+-]\d+)?", text.partition("(")[2])]
    if min(abs(lower - 1), abs(upper - 1)) > 1e-5:
        assert (shown[0] > 1) == (lower > 1)
        assert (shown[1] < 1) == (upper < 1)


def test_shares():
    """Percent of those counted; nobody has no percentage."""
    assert numbers.share(23, 76) == "23 (30.3)"
    assert numbers.share(0, 54) == "0 (0.0)"
    assert numbers.share(0, 0) == "0 (of nobody)"


def test_mean_and_standard_deviation():
    """The sample's standard deviation; one value has none, no value has no mean."""
    assert numbers.mean_sd(np.array([1.0, 2.0, 4.0])) == "2.33 ± 1.53"
    assert numbers.mean_sd(np.array([3.0])) == "3.00 (one value)"
    assert numbers.mean_sd(np.array([])) == "no value"


@pytest.mark.parametrize(
    ("quantile", "text"),
    [
        (Quantile(32.0, 25.14, 40.26), "32.0 (25.1-40.3)"),
        (Quantile(32.0, 25.14, None), "32.0 (25.1 to not reached)"),
        (Quantile(None, 25.14, None), "not reached (25.1 to not reached)"),
        (Quantile(None, None, None), "not reached (limits not reached)"),
    ],
)
def test_medians(quantile, text):
    """A median that the curve does not reach is said not to be reached."""
    assert numbers.median_months(quantile) == text


def test_reasons_stand_where_numbers_would():
    """An estimate or its reason, never nothing."""
    assert numbers.shown(NotKnown("nobody died"), str) == "not estimable: nobody died"
    assert numbers.shown(2.0, str) == "2.0"
