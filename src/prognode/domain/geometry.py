"""Planes and stacks of a CT series in patient space.

All coordinates are DICOM patient coordinates (LPS+, millimetres), PS3.3 C.7.6.2.

Positions alone decide: slice thickness, "spacing between slices", instance numbers and the gantry tilt tag contradict
them in real series. Headers round, so two lengths are equal when they differ by no more than :func:`tolerance_mm`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from prognode.errors import InvalidInput, Reason

Vector = tuple[float, float, float]
Points = NDArray[np.float64]

ABSOLUTE_TOLERANCE_MM = 0.01
RELATIVE_TOLERANCE = 0.01
COSINE_TOLERANCE = 1e-3
"""Largest difference of a direction cosine inside one series: headers carry 3 to 6 digits."""
SPACING_TOLERANCE = 1e-3
"""Largest relative difference of the pixel spacing inside one series."""
SHIFT_TOLERANCE_MM = 0.1
"""In-plane jitter of positions that rounding explains."""
TILT_TOLERANCE = 0.00175
"""Tangent of 0.1 degree between stack direction and normal."""
MISSING_GAP_FACTOR = 1.5
"""A gap of more than this many usual gaps means that planes are missing, not that planes are thick."""
LONE_PLANE_REACH_MM = 0.5
"""How far a contour may lie from the only image of a series, which has no gap to measure by."""


@dataclass(frozen=True, slots=True)
class ImagePlane:
    """One CT plane: a single-frame image, or one frame of a multi-frame image (PS3.3 C.7.6.2)."""

    sop_instance_uid: str
    position_lps_mm: Vector
    """Centre of the first transmitted pixel (ImagePositionPatient)."""
    row_cosines: Vector
    """Direction in which the column index grows (first three of ImageOrientationPatient)."""
    column_cosines: Vector
    """Direction in which the row index grows (last three of ImageOrientationPatient)."""
    row_spacing_mm: float
    """Distance between rows (PixelSpacing[0])."""
    column_spacing_mm: float
    """Distance between columns (PixelSpacing[1])."""
    rows: int
    columns: int
    frame: int = 1
    """1-based frame number; 1 in a single-frame image."""
    instance_number: int | None = None


@dataclass(frozen=True, slots=True)
class Stack:
    """Planes of one series, ascending along their common normal."""

    series_instance_uid: str
    frame_of_reference_uid: str | None
    planes: tuple[ImagePlane, ...]
    normal: Vector
    offsets_mm: tuple[float, ...]
    """Projection of each plane's position on ``normal``, ascending."""


def tolerance_mm(gap_mm: float) -> float:
    """Return how far two positions in a series with this gap may differ and still be the same: 1 % or 0.01 mm."""
    return max(ABSOLUTE_TOLERANCE_MM, RELATIVE_TOLERANCE * abs(gap_mm))


def unit_normal(row_cosines: Sequence[float], column_cosines: Sequence[float]) -> Vector:
    """Return the unit normal of a plane, pointing towards head, else back, else left.

    The sense is a convention: series with flipped rows or columns then sort alike, and "lowest along the normal"
    means the same slice for a contour and for the images.
    """
    return facing(np.cross(np.asarray(row_cosines, float), np.asarray(column_cosines, float)))


def facing(direction: NDArray[np.float64]) -> Vector:
    """Return the unit vector along ``direction`` whose z (else y, else x) component is positive."""
    unit = direction / np.linalg.norm(direction)
    leading = next(
        axis for axis in (2, 1, 0) if abs(unit[axis]) >= 0.5
    )  # one component of a unit vector is > 0.57
    x, y, z = (float(value) + 0.0 for value in unit * np.sign(unit[leading]))
    return (x, y, z)


def build_stack(series_uid: str, frame_of_reference_uid: str | None, planes: Sequence[ImagePlane]) -> Stack:
    """Sort the planes of one series along their common normal.

    Raises :class:`InvalidInput` with NO_POSITION (no plane), MIXED_GEOMETRY (orientation, spacing, matrix or in-plane
    origin change), SAME_POSITION (two planes at one position), GANTRY_TILT (the planes are stacked at an angle to
    their normal; measured on positions, since the tag is often wrong or absent).
    """
    if not planes:
        raise InvalidInput(Reason.NO_POSITION, "No image of the series has a position and an orientation.")
    _check_same_geometry(planes)
    normal = unit_normal(planes[0].row_cosines, planes[0].column_cosines)
    offsets = np.array([plane.position_lps_mm for plane in planes]) @ np.array(normal)
    order = [int(index) for index in np.argsort(offsets, kind="stable")]
    stack = Stack(
        series_instance_uid=series_uid,
        frame_of_reference_uid=frame_of_reference_uid,
        planes=tuple(planes[index] for index in order),
        normal=normal,
        offsets_mm=tuple(float(offsets[index]) for index in order),
    )
    _check_positions_differ(stack)
    _check_straight(stack)
    return stack


def _check_same_geometry(planes: Sequence[ImagePlane]) -> None:
    matrices = {(plane.rows, plane.columns) for plane in planes}
    cosines = np.array([plane.row_cosines + plane.column_cosines for plane in planes])
    spacings = np.array([(plane.row_spacing_mm, plane.column_spacing_mm) for plane in planes])
    changing = []
    if len(matrices) > 1:
        changing.append("the matrix")
    if np.ptp(cosines, axis=0).max() > COSINE_TOLERANCE:
        changing.append("the orientation")
    if (np.ptp(spacings, axis=0) > SPACING_TOLERANCE * spacings[0]).any():
        changing.append("the pixel spacing")
    if changing:
        raise InvalidInput(Reason.MIXED_GEOMETRY, f"Inside the series {' and '.join(changing)} changes.")


def _check_positions_differ(stack: Stack) -> None:
    gaps = gaps_mm(stack)
    repeated = int((gaps < ABSOLUTE_TOLERANCE_MM).sum())
    if repeated:
        raise InvalidInput(Reason.SAME_POSITION, f"{repeated} images repeat the position of another image.")


def _check_straight(stack: Stack) -> None:
    """The in-plane drift of the origins must be zero; a steady drift is a tilt, any other a mixed series."""
    along = np.array(stack.offsets_mm) - stack.offsets_mm[0]
    origins = np.array([plane.position_lps_mm for plane in stack.planes])
    drift = origins - origins[0] - along[:, None] * np.array(stack.normal)
    if np.linalg.norm(drift, axis=1).max() <= SHIFT_TOLERANCE_MM:
        return
    slope = along @ drift / (along @ along)
    residual = float(np.linalg.norm(drift - along[:, None] * slope, axis=1).max())
    tangent = float(np.linalg.norm(slope))
    if residual > SHIFT_TOLERANCE_MM:
        detail = f"The images are shifted against each other by {residual:.1f} mm."
        raise InvalidInput(Reason.MIXED_GEOMETRY, detail)
    if tangent > TILT_TOLERANCE:
        degrees = np.degrees(np.arctan(tangent))
        detail = f"The images are stacked at {degrees:.1f} degrees to their normal (gantry tilt)."
        raise InvalidInput(Reason.GANTRY_TILT, detail)


def gaps_mm(stack: Stack) -> NDArray[np.float64]:
    """Return the n - 1 distances between neighbouring planes."""
    return np.diff(np.array(stack.offsets_mm))


def modal_gap_mm(stack: Stack) -> float | None:
    """Return the most frequent gap of the series (the smallest of equals); None with fewer than two planes."""
    return most_frequent_gap(stack.offsets_mm)


@lru_cache(maxsize=256)
def most_frequent_gap(offsets_mm: tuple[float, ...]) -> float | None:
    """Return the most frequent distance of neighbours in ascending ``offsets_mm``; None with fewer than two."""
    gaps = np.sort(np.diff(np.array(offsets_mm)))
    if not gaps.size:
        return None
    reach = np.maximum(ABSOLUTE_TOLERANCE_MM, RELATIVE_TOLERANCE * gaps)
    first = np.searchsorted(gaps, gaps - reach, side="left")
    past = np.searchsorted(gaps, gaps + reach, side="right")
    best = int(np.argmax(past - first))
    return float(np.median(gaps[first[best] : past[best]]))


def check_even(stack: Stack, first: int, last: int) -> None:
    """Check the gaps between planes ``first`` and ``last`` (both included) against the series' most frequent gap.

    Raises :class:`InvalidInput`: SLICES_MISSING where every odd gap is a multiple of the usual one, else UNEVEN_GAPS.
    """
    usual = modal_gap_mm(stack)
    gaps = gaps_mm(stack)[first:last]
    if usual is None or not gaps.size:
        return
    multiples = np.maximum(np.round(gaps / usual), 1.0)
    if (np.abs(gaps - multiples * usual) > tolerance_mm(usual) * multiples).any():
        detail = (
            f"Gaps between images run from {gaps.min():.2f} to {gaps.max():.2f} mm; usual is {usual:.2f} mm."
        )
        raise InvalidInput(Reason.UNEVEN_GAPS, detail)
    missing = int((multiples - 1).sum())
    if missing:
        detail = f"{missing} images are missing: a gap of {gaps.max():.2f} mm where {usual:.2f} mm is usual."
        raise InvalidInput(Reason.SLICES_MISSING, detail)


def nearest_plane(stack: Stack, offset_mm: float) -> int | None:
    """Return the index of the plane at ``offset_mm`` along the normal, or None when none is near enough.

    Near enough is half the gap on that side of the plane (at the ends: half the only gap). Where images are missing
    the usual gap counts, so that a contour on a missing image is not moved to its neighbour.
    """
    offsets = np.array(stack.offsets_mm)
    index = int(np.argmin(np.abs(offsets - offset_mm)))
    distance = offset_mm - offsets[index]
    return index if abs(distance) <= _reach_mm(stack, index, distance >= 0) else None


def _reach_mm(stack: Stack, index: int, upward: bool) -> float:
    usual = modal_gap_mm(stack)
    if usual is None:
        return LONE_PLANE_REACH_MM
    return min(_gap_beside(stack, index, upward), MISSING_GAP_FACTOR * usual) / 2 + ABSOLUTE_TOLERANCE_MM


def _gap_beside(stack: Stack, index: int, upward: bool) -> float:
    """Gap above or below a plane; at the ends, the only one."""
    side = min(max(index if upward else index - 1, 0), len(stack.planes) - 2)
    return stack.offsets_mm[side + 1] - stack.offsets_mm[side]


def local_thickness_mm(stack: Stack, index: int) -> float | None:
    """Return the length along the normal that a plane stands for, half a gap to each side; None if it is alone.

    Across a gap where images are missing it is half the usual gap.
    """
    usual = modal_gap_mm(stack)
    if usual is None:
        return None
    gaps = (_gap_beside(stack, index, upward) for upward in (False, True))
    return sum(usual if gap > MISSING_GAP_FACTOR * usual else gap for gap in gaps) / 2


def lps_from_pixel(plane: ImagePlane, column_row: Points) -> Points:
    """Map continuous (column, row), 0 at the centre of the first pixel, to LPS mm: (n, 2) -> (n, 3).

    Equation C.7.6.2.1-1 of PS3.3; PixelSpacing is [between rows, between columns].
    """
    pixels = np.asarray(column_row, dtype=np.float64)
    across = np.array(plane.row_cosines) * plane.column_spacing_mm
    down = np.array(plane.column_cosines) * plane.row_spacing_mm
    lps: Points = np.array(plane.position_lps_mm) + pixels[:, :1] * across + pixels[:, 1:] * down
    return lps


def pixel_from_lps(plane: ImagePlane, points: Points) -> Points:
    """Map LPS mm to continuous (column, row), projecting along the plane's normal: (n, 3) -> (n, 2)."""
    relative = np.asarray(points, dtype=np.float64) - np.array(plane.position_lps_mm)
    axes = np.stack([np.array(plane.row_cosines), np.array(plane.column_cosines)], axis=1)
    # the cosines of a header are orthogonal and of unit length to a few digits only: the pseudo-inverse is exact
    pixels: Points = relative @ np.linalg.pinv(axes).T / (plane.column_spacing_mm, plane.row_spacing_mm)
    return pixels
