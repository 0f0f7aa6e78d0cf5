"""Agreement of repeated readings: which features survive a second contouring (paper: ICC > 0.8 of 30 patients).

Six intraclass correlations differ in what counts as error. The paper does not say which it used, so all are here under
their usual names: 1 takes each reading as one of a random reader, 2 lets readers differ in level and counts that as
error (absolute agreement), 3 ignores a reader's level (consistency); a trailing k means the mean of all k readings.
Everything comes from three mean squares per feature, so that thousands of features cost one pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Form = Literal["ICC1", "ICC2", "ICC3", "ICC1k", "ICC2k", "ICC3k"]
FORMS: tuple[Form, ...] = get_args(Form)


@dataclass(frozen=True, slots=True)
class MeanSquares:
    """Two-way analysis of variance without replication, for p features at once; NaN for a constant feature."""

    patients: int
    readers: int
    between: Floats
    """(p,) between patients, n - 1 degrees of freedom."""
    reader: Floats
    """(p,) between readers, k - 1 degrees of freedom."""
    error: Floats
    """(p,) residual, (n - 1)(k - 1) degrees of freedom."""

    @property
    def within(self) -> Floats:
        """(p,) within patients, n(k - 1) degrees of freedom: readers and residual pooled."""
        n = self.patients
        return (self.reader + (n - 1) * self.error) / n


@dataclass(frozen=True, slots=True)
class Agreement:
    """One form of the intraclass correlation for p features; every array is NaN for a constant feature."""

    value: Floats
    f: Floats
    """(p,) test of no correlation, on ``df1`` and ``df2``."""
    df1: int
    df2: int
    p: Floats
    low: Floats
    """(p,) lower limit at the confidence asked for."""
    high: Floats


def mean_squares(readings: ArrayLike) -> MeanSquares:
    """Mean squares of (n patients, k readers, p features), n and k at least 2.

    Raises ValueError for another shape and for values that are not finite.
    """
    values = np.asarray(readings, np.float64)
    if values.ndim != 3 or min(values.shape[:2]) < 2:
        raise ValueError(
            f"readings {values.shape} must be (patients, readers, features), two or more of the first two"
        )
    if not np.isfinite(values).all():
        raise ValueError("a reading is missing or not finite")
    n, k, _ = values.shape
    centred = values - values.mean((0, 1))
    row, column = centred.mean(1), centred.mean(0)
    residual = centred - row[:, None]
    residual -= column
    # rounding leaves a constant feature with a variance of its own, so it is told by its range
    constant = values.max((0, 1)) == values.min((0, 1))
    squares = (_sum_of_squares(part, constant) for part in (row, column, residual))
    between, reader, error = squares
    return MeanSquares(n, k, k * between / (n - 1), n * reader / (k - 1), error / ((n - 1) * (k - 1)))


def _sum_of_squares(part: Floats, constant: Bools) -> Floats:
    flat = part.reshape(-1, part.shape[-1])
    return np.where(constant, np.nan, np.einsum("ip,ip->p", flat, flat))


def icc_values(readings: ArrayLike, form: Form = "ICC2") -> Floats:
    """(p,) values of one form alone, for where tests and limits are not needed; see :func:`intraclass_correlation`."""
    return _value(mean_squares(readings), form)


def intraclass_correlation(readings: ArrayLike, confidence: float = 0.95) -> dict[Form, Agreement]:
    """All six forms with F test and confidence limits, as R's ``psych::ICC(x, lmer = FALSE)`` column by column.

    ``readings`` is (n patients, k readers, p features). Values may be negative, and those of k readings may be minus
    infinite, where readings of one patient differ more than patients do. Formulas: Shrout and Fleiss 1979; limits of
    ICC2 by Satterthwaite's degrees of freedom, McGraw and Wong 1996, Table 7.

    Raises ValueError for another shape, fewer than two patients or readers, and values that are not finite.
    """
    squares = mean_squares(readings)
    return {form: _agreement(squares, form, confidence) for form in FORMS}


def reproducible(readings: ArrayLike, form: Form = "ICC2", threshold: float = 0.8) -> Bools:
    """(p,) True where the correlation exceeds ``threshold``; never for a constant feature.

    Raises ValueError as :func:`intraclass_correlation`.
    """
    return icc_values(readings, form) > threshold


def _value(squares: MeanSquares, form: Form) -> Floats:
    """Variance of patients over that of one reading, or of the mean of k readings (form ending in k)."""
    n, k = squares.patients, squares.readers
    noise = squares.within if form.startswith("ICC1") else squares.error
    total = squares.between + (k - 1) * noise * (not form.endswith("k"))
    if form.startswith("ICC2"):
        total = total + (1 if form.endswith("k") else k) * (squares.reader - squares.error) / n
    with np.errstate(divide="ignore", invalid="ignore"):
        return (squares.between - noise) / total


def _agreement(squares: MeanSquares, form: Form, confidence: float) -> Agreement:
    n, k = squares.patients, squares.readers
    within = form.startswith("ICC1")
    noise = squares.within if within else squares.error
    df1, df2 = n - 1, n * (k - 1) if within else (n - 1) * (k - 1)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        f = squares.between / noise
        limits = _absolute_limits if form.startswith("ICC2") else _ratio_limits
        low, high = limits(squares, noise, df2, (1 + confidence) / 2)
        if form.endswith("k"):
            low, high = _of_mean(low, k), _of_mean(high, k)
    return Agreement(_value(squares, form), f, df1, df2, special.fdtrc(df1, df2, f), low, high)


def _ratio_limits(squares: MeanSquares, noise: Floats, df2: int, quantile: float) -> tuple[Floats, Floats]:
    """Limits of forms 1 and 3, whose F ratio has an F distribution times the ratio of the true mean squares."""
    k, df1 = squares.readers, squares.patients - 1
    low_noise = noise * _f_quantile(quantile, df1, df2)
    high_noise = noise / _f_quantile(quantile, df2, df1)
    low = (squares.between - low_noise) / (squares.between + (k - 1) * low_noise)
    return low, (squares.between - high_noise) / (squares.between + (k - 1) * high_noise)


def _absolute_limits(squares: MeanSquares, noise: Floats, df2: int, quantile: float) -> tuple[Floats, Floats]:
    """Limits of form 2: the error is a sum of two mean squares, given the degrees of freedom that match its variance."""
    n, k, df1 = squares.patients, squares.readers, squares.patients - 1
    value = _value(squares, "ICC2")
    reader = k * value * squares.reader
    error = (n * (1 + (k - 1) * value) - k * value) * noise
    df = (reader + error) ** 2 / (reader**2 / (k - 1) + error**2 / df2)
    # readers who agree in every digit leave no error to share out: any degrees of freedom give a limit of 1
    df = np.where((reader == 0) & (error == 0), df2, df)
    spread = k * squares.reader + (k * n - k - n) * noise
    above, below = _f_quantile(quantile, df1, df), _f_quantile(quantile, df, df1)
    low = n * (squares.between - above * noise) / (above * spread + n * squares.between)
    return low, n * (below * squares.between - noise) / (spread + n * below * squares.between)


def _f_quantile(quantile: float, df1: ArrayLike, df2: ArrayLike) -> Floats:
    """Quantile of the F distribution through that of the beta distribution, exact to about 1e-14."""
    one, two = np.asarray(df1, np.float64), np.asarray(df2, np.float64)
    rest = special.betaincinv(two / 2, one / 2, 1 - quantile)
    ratio: Floats = two * (1 - rest) / (one * rest)
    return ratio


def _of_mean(single: Floats, k: int) -> Floats:
    """Spearman and Brown's step from one reading to the mean of k."""
    return k * single / (1 + (k - 1) * single)
