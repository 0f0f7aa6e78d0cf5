"""The nomogram: a Cox model drawn as axes of points that a person can add up (paper, Figure 3).

As R's ``rms::nomogram(fit, maxscale = 100, nint = 10)``: each axis runs over ``pretty()`` of its variable's range,
0 points lie at its low-risk end, and 100 points belong to the axis that is widest in linear predictor units. A value
beyond its axis gets points on the same straight line, below 0 or above 100 if need be; survival never comes from
rounded points but from the model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from prognode.domain.cox_model import CoxModel, Term, baseline_hazard

FULL_POINTS = 100.0
SURVIVAL_TICKS = (0.99, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.01)
EDGE = 1e-10
"""A range's end this near to a tick, in units of the step, counts as on it."""


def pretty(low: float, high: float, n: int = 10) -> tuple[float, ...]:
    """About ``n`` + 1 equally spaced round numbers that cover ``low`` to ``high``: R's ``pretty(c(low, high), n)``.

    The step is 1, 2, 5 or 10 times a power of ten; R's defaults favour the larger step by 1.5, and 5 over 2 by 2.75.
    """
    step = _round_step(_cell(low, high, n))
    first, last = math.floor(low / step + EDGE), math.ceil(high / step - EDGE)
    first, last = _widened(first, last, n // 3, low, high)
    return tuple(_tidy(index * step, step) for index in range(first, last + 1))


def _cell(low: float, high: float, n: int) -> float:
    """Ideal step; a range too narrow to tell apart gets a step from its magnitude."""
    width, size = high - low, max(abs(low), abs(high))
    if width > size * _RELATIVE_NOISE * n:
        return width / n
    if size == 0.0:
        size = 1.0
    return 0.75 * (9 + size / 10 if size > 10 else size) / max(n // 3, 1)


# three times the rounding error of a few operations, as R reckons it for its default biases
_RELATIVE_NOISE = 3 * 1.4 * 2.0**-52


def _round_step(cell: float) -> float:
    base = 10.0 ** math.floor(math.log10(cell))
    step = base
    for multiple, bias in ((2, 1.5), (5, 2.75), (10, 1.5)):
        if multiple * base - cell >= bias * (cell - step):
            break
        step = multiple * base
    return step


def _widened(first: int, last: int, least: int, low: float, high: float) -> tuple[int, int]:
    """At least ``least`` intervals; a range that starts or ends at zero keeps its zero."""
    short = least - (last - first)
    if short <= 0:
        return first, last
    if low == 0 == first and high != 0:
        return first, last + short
    if high == 0 == last and low != 0:
        return first - short, last
    half, rest = short // 2, short - short // 2
    return (first - rest, last + half) if first >= 0 else (first - half, last + rest)


def _tidy(value: float, step: float) -> float:
    """Without the last bits of ``index * step``, so that a recipe says 0.3 and not 0.30000000000000004."""
    return round(value, max(0, 3 - math.floor(math.log10(step)))) + 0.0


@dataclass(frozen=True, slots=True)
class Nomogram:
    """Scale of a model's nomogram."""

    terms: tuple[Term, ...]
    points_per_unit: float
    """Points per unit of the linear predictor."""
    zero_points_lp: float
    """Linear predictor of a patient with 0 points on every axis."""


def nomogram_of(model: CoxModel) -> Nomogram:
    """Scale the model's axes; raises ``ValueError`` when no axis has any width."""
    widest = max(_width(term) for term in model.terms)
    if widest == 0:
        raise ValueError("no axis of the nomogram has a width: all coefficients are zero")
    zero = math.fsum(_low_end(term) for term in model.terms)
    return Nomogram(model.terms, FULL_POINTS / widest, zero)


def _low_end(term: Term) -> float:
    return min(term.coefficient * term.axis[0], term.coefficient * term.axis[-1])


def _width(term: Term) -> float:
    return abs(term.coefficient * (term.axis[-1] - term.axis[0]))


def axis_points(nomogram: Nomogram, term: Term, value: float) -> float:
    """Points of ``value`` on its axis; on the same line beyond the axis's ends."""
    return (term.coefficient * value - _low_end(term)) * nomogram.points_per_unit


def lp_of_points(nomogram: Nomogram, total_points: float) -> float:
    """Linear predictor (uncentred) of a total."""
    return nomogram.zero_points_lp + total_points / nomogram.points_per_unit


def points_of_lp(nomogram: Nomogram, lp: float) -> float:
    """Total points of a linear predictor (uncentred)."""
    return (lp - nomogram.zero_points_lp) * nomogram.points_per_unit


def total_points_ticks(nomogram: Nomogram) -> tuple[float, ...]:
    """Ticks of the "Total points" axis: round numbers from 0 to the largest sum of the axes."""
    largest = math.fsum(_width(term) for term in nomogram.terms) * nomogram.points_per_unit
    return tuple(tick for tick in pretty(0.0, largest) if tick <= largest)


def points_of_survival(nomogram: Nomogram, model: CoxModel, months: float, probability: float) -> float:
    """Total points at which the model gives ``probability`` at ``months``: the exact inverse, not rms's interpolation.

    Raises ``ValueError`` when the baseline hazard is still zero at ``months``.
    """
    hazard = baseline_hazard(model, months)
    if hazard == 0:
        raise ValueError(f"no event before {months} months: survival is 1 for everybody")
    return points_of_lp(nomogram, math.log(-math.log(probability) / hazard))
