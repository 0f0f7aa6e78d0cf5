"""How numbers are written: the same digits in every table, figure and sentence of a report.

What has no number is written in words; a NaN never reaches a reader.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

from prognode.statistics.kaplan_meier import Quantile
from prognode.statistics.outcome import Floats
from training.estimates import NotKnown

T = TypeVar("T")

NOT_ESTIMABLE = "not estimable"
NOT_REACHED = "not reached"
SMALLEST_P = 0.001
MOST_DECIMALS = 5
"""That an interval is given to keep its three numbers apart."""
LARGE = 100.0
"""From here on hazard ratios are written without decimals."""
HUGE = 100_000.0


def shown(estimate: T | NotKnown, write: Callable[[T], str]) -> str:
    """An estimate as ``write`` writes it, or why there is none."""
    return not_estimable(estimate.why) if isinstance(estimate, NotKnown) else write(estimate)


def not_estimable(why: str) -> str:
    """Words that stand where a number would."""
    return f"{NOT_ESTIMABLE}: {why}"


def p_value(p: float) -> str:
    """``0.023``, or ``<0.001``."""
    if math.isnan(p):
        return NOT_ESTIMABLE
    return f"<{SMALLEST_P}" if p < SMALLEST_P else f"{p:.3f}"


def p_equals(p: float) -> str:
    """``p = 0.023`` or ``p < 0.001``, for sentences and figures."""
    if math.isnan(p):
        return f"p {NOT_ESTIMABLE}"
    return f"p < {SMALLEST_P}" if p < SMALLEST_P else f"p = {p:.3f}"


def decimal(value: float, decimals: int = 2) -> str:
    """A number with a fixed number of decimals; never ``-0.00``."""
    if math.isnan(value):
        return NOT_ESTIMABLE
    if math.isinf(value):
        return "infinite" if value > 0 else "minus infinite"
    return f"{round(value, decimals) + 0.0:.{decimals}f}"


def significant(value: float, digits: int = 4) -> str:
    """A number with so many significant digits: coefficients, penalties."""
    return decimal(value) if not math.isfinite(value) else f"{value:.{digits}g}"


def interval(lower: float, upper: float, decimals: int = 2) -> str:
    """``0.81-0.92``; with a negative limit ``-0.03 to 0.05``."""
    if math.isnan(lower) or math.isnan(upper):
        return f"limits {NOT_ESTIMABLE}"
    return _joined(decimal(lower, decimals), decimal(upper, decimals))


def _joined(lower: str, upper: str) -> str:
    """A hyphen between plain numbers; beside signs, exponents and words it could be misread."""
    plain = all(text.replace(".", "", 1).isdecimal() for text in (lower, upper))
    return f"{lower}-{upper}" if plain else f"{lower} to {upper}"


def with_limits(value: float, limits: tuple[float, float], decimals: int = 2) -> str:
    """``0.86 (0.81-0.92)``."""
    if math.isnan(value):
        return NOT_ESTIMABLE
    return f"{decimal(value, decimals)} ({interval(*limits, decimals)})"


def hazard_ratio(value: float, lower: float, upper: float) -> str:
    """``3.12 (2.34-3.93)``: as many decimals, two at least, as keep the three apart, and each limit from 1."""
    decimals = max(_decimals_apart([value, lower, upper]), _decimals_apart([lower, 1.0, upper]))
    texts = [_ratio(ratio, decimals) for ratio in (value, lower, upper)]
    return f"{texts[0]} ({_joined(*texts[1:])})"


def one_ratio(value: float) -> str:
    """A hazard ratio by itself, as :func:`hazard_ratio` writes it."""
    return _ratio(value, _decimals_apart([1.0, value]))


def _decimals_apart(values: list[float]) -> int:
    for decimals in range(2, MOST_DECIMALS):
        if len({_ratio(value, decimals) for value in values}) == len(set(values)):
            return decimals
    return MOST_DECIMALS


def _ratio(value: float, decimals: int) -> str:
    if not math.isfinite(value):
        return decimal(value)
    if value >= HUGE:
        return f"{value:.2e}"
    if value >= LARGE:
        return decimal(value, 0)
    if 0 < value < 10.0**-decimals / 2:
        return f"{value:.1e}"
    return decimal(value, decimals)


def share(count: int, total: int) -> str:
    """``23 (30.3)``: patients, and percent of ``total``; of nobody there is no percentage."""
    return f"{count} ({decimal(100 * count / total, 1)})" if total else "0 (of nobody)"


def percent(probability: float, decimals: int = 1) -> str:
    """0..1 as ``62.5 %``."""
    return NOT_ESTIMABLE if math.isnan(probability) else f"{decimal(100 * probability, decimals)} %"


def mean_sd(values: Floats) -> str:
    """``61.70 ± 11.31``; the standard deviation is the sample's (n - 1)."""
    if not len(values):
        return "no value"
    if len(values) == 1:
        return f"{decimal(float(values[0]))} (one value)"
    return f"{decimal(float(values.mean()))} ± {decimal(float(values.std(ddof=1)))}"


def months(value: float | None) -> str:
    """A time to one decimal; None is a curve that does not come down so far."""
    return NOT_REACHED if value is None else decimal(value, 1)


def median_months(quantile: Quantile) -> str:
    """``32.0 (25.1-40.3)``; a limit that the curve does not reach says so."""
    lower, upper = months(quantile.lower), months(quantile.upper)
    if quantile.lower is None and quantile.upper is None:
        limits = f"limits {NOT_REACHED}"
    else:
        limits = _joined(lower, upper)
    return f"{months(quantile.value)} ({limits})"
