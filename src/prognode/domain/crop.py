"""From a tumour to the 3 x 224 x 224 mm that the network sees, computed on the few planes that matter.

Paper, Methods: images are resampled to 1 x 1 x 1 mm by cubic splines; three consecutive axial slices with the largest
tumour area are cropped to 224 x 224 around the tumour's bounding box. What the paper leaves open is fixed here:

* The 1 mm grid lies on whole millimetres of the patient coordinate system, so it does not depend on where a series
  starts: the same tumour gives the same samples from a cropped or a longer series.
* In plane, the bounding box's centre is rounded to the grid (halves up) and becomes sample 112 of 0..223. The window
  therefore reaches 112 mm towards lower and 111 mm towards higher x and y: 224 is even and has no middle sample.
* Along z, the area at a 1 mm slice is the area of the cross-section nearest in z, if it is no farther than half the
  source gap. Planes that were skipped while drawing count nothing; nothing is interpolated between contours.
  Equal sums (1e-6 relative) go to the window whose middle is nearest to the largest cross-section, then to the lowest;
  so does the case in which no 1 mm slice inside the series is near enough to a contour (one contour on the outermost
  image, or between two whole millimetres of a series finer than that).
* Cross-sections that are oblique to z are prisms one gap thick; each counts at a slice with the share of its volume
  that lies there, its outline taken as evenly spread over its z range.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, floor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from prognode.domain.geometry import ImagePlane, Stack, Vector
from prognode.domain.roi import CrossSection, Roi, largest_section
from prognode.errors import InvalidInput, Reason

AIR_HU = -1000.0
WINDOW_SIZE = 224
WINDOW_SLICES = 3
MARGIN_SLICES = 9
"""Source slices beyond the window on each side: a cubic spline's answer to a plane fades by 0.268 per plane, so what
lies farther changes no sample by more than 0.01 HU."""
MARGIN_PIXELS = 12

STEEP = 0.7071
"""z component of the normal of planes at 45 degrees; steeper planes have a smaller one."""

_TIE = 1e-6
_ON_GRID = 1e-6
_CONTOUR_DRIFT_MM = 0.1
"""Contour files round z to this."""

Floats = NDArray[np.float64]
Volume = NDArray[np.float32]
ZExtent = tuple[float | None, float | None]


@dataclass(frozen=True, slots=True)
class CropWindow:
    """Sample positions of one crop: whole millimetres in LPS, 1 mm apart."""

    x0_mm: int
    """x of the first column's sample."""
    y0_mm: int
    """y of the first row's sample."""
    z_mm: tuple[int, int, int]
    """z of the three slices, ascending."""
    size: int = WINDOW_SIZE
    spacing_mm: int = 1

    @property
    def x_mm(self) -> Floats:
        """Position of every column, ascending."""
        return np.arange(self.x0_mm, self.x0_mm + self.size, dtype=np.float64)

    @property
    def y_mm(self) -> Floats:
        """Position of every row, ascending."""
        return np.arange(self.y0_mm, self.y0_mm + self.size, dtype=np.float64)

    @property
    def centre_mm(self) -> tuple[int, int, int]:
        """The sample that carries the bounding box's rounded centre, in the middle slice."""
        return self.x0_mm + self.size // 2, self.y0_mm + self.size // 2, self.z_mm[1]

    def corners_mm(self) -> Floats:
        """(8, 3) LPS corners of the sampled box."""
        last = self.size - 1
        xs, ys = (self.x0_mm, self.x0_mm + last), (self.y0_mm, self.y0_mm + last)
        return np.array([(x, y, z) for x in xs for y in ys for z in self.z_mm[::2]], dtype=np.float64)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for storage."""
        return {"x0_mm": self.x0_mm, "y0_mm": self.y0_mm, "z_mm": list(self.z_mm), "size": self.size}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> CropWindow:
        """Inverse of :meth:`to_json`."""
        low, middle, high = (int(z) for z in value["z_mm"])
        return cls(int(value["x0_mm"]), int(value["y0_mm"]), (low, middle, high), int(value["size"]))


# ---------------------------------------------------------------- where the window lies


def choose_window(roi: Roi, stack: Stack) -> CropWindow:
    """The window of ``roi`` in a series that is all there.

    Raises InvalidInput: TOO_FEW_SLICES, OUTSIDE_IMAGES, ROI_EMPTY.
    """
    gap_mm = (stack.offsets_mm[-1] - stack.offsets_mm[0]) / max(1, len(stack.planes) - 1)
    return choose_window_between(roi, stack.normal, gap_mm, z_extent_mm(roi, stack))


def z_extent_mm(roi: Roi, stack: Stack) -> tuple[float, float]:
    """LPS z of the first and the last plane, met on the line along z through the middle of the ROI.

    For planes steeper than 45 degrees that line may meet none: then the z range of the image corners.
    """
    if abs(stack.normal[2]) >= STEEP:
        ends = [
            z_of_offset_mm(roi, stack.normal, offset)
            for offset in (stack.offsets_mm[0], stack.offsets_mm[-1])
        ]
    else:
        ends = [z for plane in (stack.planes[0], stack.planes[-1]) for z in corners_z_mm(plane)]
    return min(ends), max(ends)


def z_of_offset_mm(roi: Roi, normal: Vector, offset_mm: float) -> float:
    """LPS z at which the plane with this offset is met on the line along z through the middle of the ROI."""
    x, y = _centre_xy(roi)
    return (offset_mm - normal[0] * x - normal[1] * y) / normal[2]


def choose_window_between(roi: Roi, normal: Vector, gap_mm: float, z_extent: ZExtent) -> CropWindow:
    """The window of ``roi``, with as much as is known of the series.

    ``normal`` and ``gap_mm`` are those of the source planes; ``z_extent`` is (lowest, highest) LPS z of the series, None
    where that end is not known yet: the window is then not held back there.
    Raises InvalidInput: TOO_FEW_SLICES, OUTSIDE_IMAGES, ROI_EMPTY.
    """
    sections = [_Slab.of(section) for section in roi.sections if section.area_mm2 > 0]
    if not sections:
        raise InvalidInput(Reason.ROI_EMPTY, f"ROI {roi.number} encloses no area")
    middles = _possible_middles(sections, gap_mm, z_extent)
    slices = np.arange(middles[0] - 1, middles[-1] + 2)
    areas = _areas_at(slices.astype(np.float64), sections, abs(normal[2]), gap_mm)
    sums = areas[:-2] + areas[1:-1] + areas[2:]
    largest = _Slab.of(largest_section(roi))
    if not sums.max() > 0 and not middles[0] - 1 - gap_mm <= largest.z_mm <= middles[-1] + 1 + gap_mm:
        raise InvalidInput(Reason.OUTSIDE_IMAGES, f"no contour of ROI {roi.number} lies on the images")
    middle = _nearest_of_the_best(middles, sums, largest.z_mm)
    x, y = _centre_xy(roi)
    half = WINDOW_SIZE // 2
    return CropWindow(_rounded(x) - half, _rounded(y) - half, (middle - 1, middle, middle + 1))


@dataclass(frozen=True, slots=True)
class _Slab:
    """A cross-section as z sees it."""

    z_mm: float
    z_range_mm: float
    area_mm2: float

    @classmethod
    def of(cls, section: CrossSection) -> _Slab:
        z = np.concatenate([outline[:, 2] for outline in section.outlines])
        return cls(float(z.min() + z.max()) / 2, float(z.max() - z.min()), section.area_mm2)


def _rounded(value: float) -> int:
    return floor(value + 0.5)


def corners_z_mm(plane: ImagePlane) -> list[float]:
    """LPS z of the four corner pixels."""
    along_row = plane.row_cosines[2] * plane.column_spacing_mm * (plane.columns - 1)
    along_column = plane.column_cosines[2] * plane.row_spacing_mm * (plane.rows - 1)
    z = plane.position_lps_mm[2]
    return [z, z + along_row, z + along_column, z + along_row + along_column]


def _centre_xy(roi: Roi) -> tuple[float, float]:
    outlines = [outline for section in roi.sections for outline in section.outlines]
    if not outlines:
        raise InvalidInput(Reason.ROI_EMPTY, f"ROI {roi.number} has no outline")
    points = np.concatenate(outlines)
    low, high = points.min(axis=0), points.max(axis=0)
    return float(low[0] + high[0]) / 2, float(low[1] + high[1]) / 2


def _possible_middles(sections: Sequence[_Slab], gap_mm: float, z_extent: ZExtent) -> NDArray[np.int64]:
    """Whole z at which a window may be centred: about the ROI, and with all three slices inside the series."""
    reach = gap_mm + 2.0
    low = floor(min(s.z_mm - s.z_range_mm / 2 for s in sections) - reach)
    high = ceil(max(s.z_mm + s.z_range_mm / 2 for s in sections) + reach)
    if (
        z_extent[0] is not None
        and z_extent[1] is not None
        and _slices_between(z_extent[0], z_extent[1]) < WINDOW_SLICES
    ):
        raise InvalidInput(Reason.TOO_FEW_SLICES, "the series spans fewer than three 1 mm slices")
    if z_extent[0] is not None:
        low = max(low, ceil(z_extent[0] - _ON_GRID) + 1)
    if z_extent[1] is not None:
        high = min(high, floor(z_extent[1] + _ON_GRID) - 1)
    if high < low:
        raise InvalidInput(Reason.OUTSIDE_IMAGES, "the contours lie beyond the first or last image")
    return np.arange(low, high + 1)


def _slices_between(low_mm: float, high_mm: float) -> int:
    return floor(high_mm + _ON_GRID) - ceil(low_mm - _ON_GRID) + 1


def _areas_at(z_mm: Floats, sections: Sequence[_Slab], tilt_cosine: float, gap_mm: float) -> Floats:
    """Tumour area at each axial slice."""
    if max(section.z_range_mm for section in sections) <= 2 * _CONTOUR_DRIFT_MM:
        return _areas_of_axial(z_mm, sections, gap_mm)
    return _areas_of_oblique(z_mm, sections, max(tilt_cosine, 1e-3), gap_mm)


def _areas_of_axial(z_mm: Floats, sections: Sequence[_Slab], gap_mm: float) -> Floats:
    ascending = sorted(sections, key=lambda section: section.z_mm)
    distance = np.abs(z_mm[:, None] - np.array([section.z_mm for section in ascending]))
    # of two that are equally near the higher one counts, whatever the last digit says
    nearest = distance.shape[1] - 1 - np.argmin(np.round(distance[:, ::-1], 3), axis=1)
    reached = distance[np.arange(len(z_mm)), nearest] <= gap_mm / 2 + min(_CONTOUR_DRIFT_MM, gap_mm / 10)
    return np.where(reached, np.array([section.area_mm2 for section in ascending])[nearest], 0.0)


def _areas_of_oblique(z_mm: Floats, sections: Sequence[_Slab], tilt_cosine: float, gap_mm: float) -> Floats:
    total = np.zeros_like(z_mm)
    half_slab = gap_mm * tilt_cosine / 2
    for section in sections:
        half_range = max(section.z_range_mm / 2, 1e-3)
        top = np.minimum(z_mm + half_range, section.z_mm + half_slab)
        bottom = np.maximum(z_mm - half_range, section.z_mm - half_slab)
        total += section.area_mm2 / tilt_cosine * np.clip(top - bottom, 0, None) / (2 * half_range)
    return total


def _nearest_of_the_best(middles: NDArray[np.int64], sums: Floats, z_mm: float) -> int:
    best = middles[sums >= sums.max() * (1 - _TIE)]
    distance = np.round(np.abs(best - z_mm), 6)
    return int(best[np.argmin(distance)])  # argmin takes the first, which is the lowest z


# ---------------------------------------------------------------- which planes a window needs


def index_range(window: CropWindow, stack: Stack) -> tuple[int, int]:
    """First and last plane index (inclusive) that :func:`crop` reads from a whole series."""
    low, high = offset_range_mm(window, stack.normal)
    k = (np.array([low, high]) - stack.offsets_mm[0]) / _gap_mm(stack)
    first = max(0, floor(k[0] + _ON_GRID) - MARGIN_SLICES)
    last = min(len(stack.planes) - 1, ceil(k[1] - _ON_GRID) + MARGIN_SLICES)
    return first, last


def offset_range_mm(window: CropWindow, normal: Vector) -> tuple[float, float]:
    """Lowest and highest projection of the window's samples on the planes' normal."""
    offsets = window.corners_mm() @ np.array(normal)
    return float(offsets.min()), float(offsets.max())


def _gap_mm(stack: Stack) -> float:
    return (stack.offsets_mm[-1] - stack.offsets_mm[0]) / (len(stack.planes) - 1)


# ---------------------------------------------------------------- the pixels of a window


def crop(hu: Volume, stack: Stack, window: CropWindow) -> Volume:
    """Hounsfield units at the window's samples: (3, 224, 224), slices by ascending z, rows by y, columns by x.

    ``hu`` is (planes, rows, columns) of ``stack.planes`` in their order; planes must be evenly spaced. Interpolation
    is the cubic B-spline with exact prefilter and mirrored border (Unser 1999; what ITK's BSplineInterpolateImageFunction
    computes), evaluated in index space. Samples more than half a pixel outside the images are air (-1000 HU).
    The spline's overshoot is kept. The result is the same whether ``stack`` is the whole series or its need-set.
    """
    axes = _index_from_lps(stack)
    signed_permutation = np.abs(axes.directions)
    if np.all((signed_permutation < 1e-9) | (signed_permutation > 1 - 1e-9)):
        return _crop_aligned(hu, axes, window)
    return _crop_oblique(hu, axes, window)


@dataclass(frozen=True, slots=True)
class _Axes:
    """Index space of a stack: axis 0 counts planes, 1 rows, 2 columns."""

    origin_mm: Floats
    directions: Floats
    """(3, 3): unit vector of each index axis."""
    spacing_mm: Floats

    def index(self, points_mm: Floats) -> Floats:
        """(..., 3) continuous index of (..., 3) LPS points."""
        return np.asarray((points_mm - self.origin_mm) @ self.directions.T / self.spacing_mm)


def _index_from_lps(stack: Stack) -> _Axes:
    plane = stack.planes[0]
    return _Axes(
        np.array(plane.position_lps_mm, dtype=np.float64),
        np.array([stack.normal, plane.column_cosines, plane.row_cosines], dtype=np.float64),
        np.array([_gap_mm(stack), plane.row_spacing_mm, plane.column_spacing_mm], dtype=np.float64),
    )


def _inside(index: Floats, length: int) -> NDArray[np.bool_]:
    """Half a pixel beyond the outer pixel centres is still inside, as in ITK's IsInsideBuffer."""
    return np.asarray((index >= -0.5) & (index < length - 0.5))


def _region(index: Floats, length: int, margin: int) -> slice:
    """Indices that the spline needs for samples at ``index``, all of which lie inside."""
    first = floor(float(index.min()) + _ON_GRID) - margin
    last = ceil(float(index.max()) - _ON_GRID) + margin
    return slice(max(0, first), min(length, last + 1))


_MARGINS = (MARGIN_SLICES, MARGIN_PIXELS, MARGIN_PIXELS)


def _crop_aligned(hu: Volume, axes: _Axes, window: CropWindow) -> Volume:
    """Each index axis runs along one patient axis: three small matrix products."""
    samples = (window.x_mm, window.y_mm, np.array(window.z_mm, dtype=np.float64))
    along = [int(np.argmax(np.abs(direction))) for direction in axes.directions]
    index = [
        (samples[lps] - axes.origin_mm[lps]) * axes.directions[axis, lps] / axes.spacing_mm[axis]
        for axis, lps in enumerate(along)
    ]
    inside = [_inside(values, hu.shape[axis]) for axis, values in enumerate(index)]
    out = np.full([len(values) for values in index], AIR_HU)
    if all(kept.any() for kept in inside):
        region = [
            _region(v[kept], hu.shape[a], _MARGINS[a])
            for a, (v, kept) in enumerate(zip(index, inside, strict=True))
        ]
        weights = [
            _spline_weights(values[kept] - part.start, part.stop - part.start)
            for values, kept, part in zip(index, inside, region, strict=True)
        ]
        out[np.ix_(*inside)] = _contract(hu[tuple(region)], weights)
    order = [along.index(lps) for lps in (2, 1, 0)]
    return np.ascontiguousarray(out.transpose(order), dtype=np.float32)


def _contract(values: Volume, weights: Sequence[Floats]) -> Floats:
    """Apply the three weight matrices, planes first: that leaves the least to do for the others."""
    planes = np.tensordot(weights[0].astype(np.float32), values, axes=(1, 0)).astype(np.float64)
    rows = np.matmul(weights[1], planes)
    return np.asarray(np.matmul(rows, weights[2].T))


def _spline_weights(index: Floats, length: int) -> Floats:
    """(samples, length) matrix from values to the cubic spline at ``index``: basis functions times prefilter."""
    return np.asarray(_basis(index, length) @ _prefilter(length))


@lru_cache(maxsize=16)
def _prefilter(length: int) -> Floats:
    """(length, length) matrix from values to spline coefficients, mirrored border."""
    if length == 1:
        return np.ones((1, 1))
    matrix = ndimage.spline_filter1d(np.eye(length), order=3, axis=0, mode="mirror")
    matrix.setflags(write=False)
    return np.asarray(matrix)


def _basis(index: Floats, length: int) -> Floats:
    """(samples, length) cubic B-spline basis, coefficients mirrored about the outer pixel centres."""
    base = np.floor(index).astype(np.int64)
    t = index - base
    values = ((1 - t) ** 3 / 6, 2 / 3 - t**2 + t**3 / 2, 2 / 3 - (1 - t) ** 2 + (1 - t) ** 3 / 2, t**3 / 6)
    matrix = np.zeros((len(index), length))
    rows = np.arange(len(index))
    for shift, value in zip((-1, 0, 1, 2), values, strict=True):
        np.add.at(matrix, (rows, _mirrored(base + shift, length)), value)
    return matrix


def _mirrored(index: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    if length == 1:
        return np.zeros_like(index)
    period = 2 * (length - 1)
    folded = np.abs(index) % period
    return np.asarray(np.minimum(folded, period - folded))


def _crop_oblique(hu: Volume, axes: _Axes, window: CropWindow) -> Volume:
    """Any orientation: prefilter the part of the volume that the window meets, evaluate point by point."""
    z, y, x = np.meshgrid(np.array(window.z_mm, dtype=np.float64), window.y_mm, window.x_mm, indexing="ij")
    index = axes.index(np.stack([x, y, z], axis=-1))
    inside = np.logical_and.reduce([_inside(index[..., axis], hu.shape[axis]) for axis in range(3)])
    out = np.full(inside.shape, AIR_HU)
    if inside.any():
        points = index[inside]
        region = [_region(points[:, axis], hu.shape[axis], _MARGINS[axis]) for axis in range(3)]
        coefficients = ndimage.spline_filter(hu[tuple(region)], order=3, output=np.float64, mode="mirror")
        start = np.array([part.start for part in region])
        out[inside] = ndimage.map_coordinates(
            coefficients, (points - start).T, order=3, mode="mirror", prefilter=False
        )
    return out.astype(np.float32)
