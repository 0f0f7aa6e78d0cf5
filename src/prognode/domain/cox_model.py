"""A fitted Cox model as numbers: coefficients, baseline hazard at x = 0, locked cutoff."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

LARGEST_EXPONENT = 700.0
"""exp() of a double overflows above 709; survival is 0 long before."""


@dataclass(frozen=True, slots=True)
class Term:
    """One covariate of the model, which is also one axis of the nomogram."""

    name: str  # signature_arterial | signature_venous | ki67_percent | longest_diameter_mm | m_stage
    label: str
    unit: str
    coefficient: float
    """Log hazard ratio per unit; M stage is 0 for M0 and 1 for M1."""
    axis: tuple[float, ...]
    """Ticks of its nomogram axis, ascending; the outermost ones bound it."""
    axis_labels: tuple[str, ...] = ()
    """What is written at the ticks; empty for the numbers themselves."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """Cumulative hazard at x = 0 as a right-continuous step function: Efron type, as R's survfit.coxph."""

    months: tuple[float, ...]
    cumulative_hazard: tuple[float, ...]
    follow_up_months: float
    """Longest follow-up: nothing is said beyond it."""


@dataclass(frozen=True, slots=True)
class Cutoff:
    """Boundary of the risk groups, locked in the training cohort; ``high`` is above it."""

    value: float
    """On the scale of the linear predictor."""
    method: str


@dataclass(frozen=True, slots=True)
class CoxModel:
    """Proportional hazards: S(t | x) = exp(-H0(t) * exp(lp)), lp = sum(coefficient * x), not centred."""

    terms: tuple[Term, ...]
    baseline: Baseline
    cutoff: Cutoff


def linear_predictor(model: CoxModel, values: Mapping[str, float]) -> float:
    """Sum of coefficient times value, uncentred, as R's ``predict(fit, type = "lp", reference = "zero")``."""
    return math.fsum(term.coefficient * values[term.name] for term in model.terms)


def baseline_hazard(model: CoxModel, months: float) -> float:
    """Cumulative hazard at x = 0; the step at an event time belongs to that time."""
    step = bisect_right(model.baseline.months, months)
    return model.baseline.cumulative_hazard[step - 1] if step else 0.0


def survival(model: CoxModel, lp: float, months: float) -> float:
    """Probability, 0 to 1, of living longer than ``months``."""
    return math.exp(-baseline_hazard(model, months) * _hazard_ratio(lp))


def survival_curve(model: CoxModel, lp: float) -> tuple[tuple[float, float], ...]:
    """(months, probability) at every step from (0, 1), ended by the longest follow-up."""
    ratio = _hazard_ratio(lp)
    base = model.baseline
    steps = [(t, math.exp(-h * ratio)) for t, h in zip(base.months, base.cumulative_hazard, strict=True)]
    curve = [(0.0, 1.0), *steps]
    if base.follow_up_months > curve[-1][0]:
        curve.append((base.follow_up_months, curve[-1][1]))
    return tuple(curve)


def _hazard_ratio(lp: float) -> float:
    return math.exp(min(lp, LARGEST_EXPONENT))
