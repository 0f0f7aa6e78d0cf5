"""A smooth curve through a cloud of points: natural cubic splines by least squares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prognode.errors import NotEstimable
from prognode.statistics.outcome import Floats

KNOTS = 4
"""At the ends and at the terciles of x: three degrees of freedom beside the level."""
LEAST_POINTS = 8
POINTS = 60
"""Of the curve that is drawn."""


@dataclass(frozen=True, slots=True)
class SmoothCurve:
    """The curve over (60,) x, with pointwise limits of 1.96 standard errors."""

    x: Floats
    y: Floats
    lower: Floats
    upper: Floats


def smooth(x: Floats, y: Floats) -> SmoothCurve:
    """Natural cubic spline through (n,) points, linear beyond its outer knots (Stone and Koo 1985).

    Raises NotEstimable for fewer than eight points or too few different x.
    """
    knots = np.unique(np.quantile(x, np.linspace(0, 1, KNOTS)))
    if len(x) < LEAST_POINTS or len(knots) < KNOTS:
        raise NotEstimable("too few deaths for a smooth curve")
    basis = spline_basis(x, knots)
    coefficients, *_ = np.linalg.lstsq(basis, y, rcond=None)
    left = y - basis @ coefficients
    variance = float(left @ left) / (len(x) - basis.shape[1])
    grid = np.linspace(knots[0], knots[-1], POINTS)
    at = spline_basis(grid, knots)
    error = np.sqrt(variance * np.einsum("ij,jk,ik->i", at, np.linalg.pinv(basis.T @ basis), at))
    curve = at @ coefficients
    return SmoothCurve(grid, curve, curve - 1.96 * error, curve + 1.96 * error)


def spline_basis(x: Floats, knots: Floats) -> Floats:
    """(n, k) basis of natural cubic splines with k ascending knots: 1, x, and k - 2 cubic parts."""
    z = (x - knots[0]) / (knots[-1] - knots[0])
    at = (knots - knots[0]) / (knots[-1] - knots[0])
    cubes = np.maximum(z[:, None] - at, 0) ** 3
    slopes = (cubes[:, :-1] - cubes[:, -1:]) / (1 - at[:-1])
    return np.column_stack((np.ones(len(z)), z, slopes[:, :-1] - slopes[:, -1:]))
