"""How much better a Cox model looks on the patients it was fitted to than on others (Harrell, Lee, Mark 1996).

Fitted again on patients drawn with replacement, a model is judged on the draw and on the original patients; the mean
difference is its optimism. As R's ``rms::validate``: the terms stay, their coefficients are fitted again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from prognode.errors import NotEstimable
from prognode.statistics.calibration import calibration_slope
from prognode.statistics.concordance import c_index
from prognode.statistics.cox import fit_cox
from prognode.statistics.outcome import Floats, Index, Outcome


@dataclass(frozen=True, slots=True)
class Judged:
    """A model of one draw, judged on the draw and on the original patients."""

    c_draw: float
    c_original: float
    slope_original: float
    """Calibration slope; NaN where the model has no spread."""


@dataclass(frozen=True, slots=True)
class Optimism:
    """The mean over all draws."""

    apparent: float
    """C of the model on its own patients."""
    optimism: float
    corrected: float
    """``apparent`` less ``optimism``."""
    slope: float
    """Mean calibration slope on the original patients: below 1 the predictions are too extreme."""
    draws: int
    """That gave a model."""
    failed: int
    """Draws without a model: no finite maximum, or nothing to fit."""


def draws(patients: int, repetitions: int, seed: int) -> Iterator[Index]:
    """``repetitions`` index arrays (n,) drawn with replacement; the same seed gives the same draws."""
    for child in np.random.SeedSequence(seed).spawn(repetitions):
        yield np.random.default_rng(child).integers(0, patients, patients)


def summarised(apparent: float, judged: Sequence[Judged | None]) -> Optimism:
    """Optimism over draws, ``None`` for a draw without a model. Raises NotEstimable when none gave one."""
    usable = [one for one in judged if one is not None]
    if not usable:
        raise NotEstimable("no bootstrap draw gave a model: its optimism cannot be told")
    optimism = float(np.mean([one.c_draw - one.c_original for one in usable]))
    slopes = np.array([one.slope_original for one in usable])
    slope = float(np.nanmean(slopes)) if np.isfinite(slopes).any() else float("nan")
    return Optimism(apparent, optimism, apparent - optimism, slope, len(usable), len(judged) - len(usable))


def judge(lp_draw: Floats, drawn: Outcome, lp_original: Floats, original: Outcome) -> Judged:
    """Judge a model by its linear predictors on the draw and on the original patients."""
    spread = float(np.ptp(lp_original))
    slope = calibration_slope(lp_original, original).value if spread > 0 else float("nan")
    return Judged(c_index(lp_draw, drawn), c_index(lp_original, original), slope)


def cox_optimism(covariates: Floats, outcome: Outcome, repetitions: int, seed: int) -> Optimism:
    """Optimism of the Cox model with ``covariates`` (n, p), as R's ``rms::validate(cph)``.

    Raises NotEstimable where the model itself, or every draw of it, has no finite maximum.
    """
    apparent = c_index(covariates @ fit_cox(covariates, outcome).coefficients, outcome)
    judged = [_judged(covariates, outcome, drawn) for drawn in draws(len(outcome), repetitions, seed)]
    return summarised(apparent, judged)


def _judged(covariates: Floats, outcome: Outcome, drawn: Index) -> Judged | None:
    try:
        fit = fit_cox(covariates[drawn], outcome.of(drawn))
        lp = covariates @ fit.coefficients
        return judge(lp[drawn], outcome.of(drawn), lp, outcome)
    except NotEstimable:
        return None
