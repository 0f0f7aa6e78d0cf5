"""A region of interest as cross-sections in planes, whatever object it came from.

Rules that hold for contours and segmentations alike: outlines combine by even-odd, nothing is interpolated between
planes, the largest of equally large cross-sections is the lowest along the normal, and cross-sections meet images by
geometry alone (an object's image references may name images that do not exist).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from prognode.domain.geometry import (
    LONE_PLANE_REACH_MM,
    MISSING_GAP_FACTOR,
    ImagePlane,
    Points,
    Stack,
    Vector,
    local_thickness_mm,
    lps_from_pixel,
    modal_gap_mm,
    most_frequent_gap,
    nearest_plane,
    pixel_from_lps,
)
from prognode.domain.rasterise import (
    Mask,
    clip,
    contains,
    diameter,
    even_odd_area,
    mask_of,
    outlines_of,
)
from prognode.errors import InvalidInput, Reason

AREA_TIE = 1e-6
"""Two cross-sections whose areas differ by less than this fraction are equally large."""
SMALLEST_MM = 5.0
LARGEST_MM = 224.0
"""The crop is 224 mm wide: a tumour must fit into it."""
INSIDE_FRACTION = 0.99
"""A cross-section is outside the images when less of its area than this lies inside the matrix."""

RoiKind = Literal["RTSTRUCT", "SEG", "NIFTI"]


@dataclass(frozen=True, slots=True)
class SegmentCode:
    """A coded concept (PS3.3 8.8): value, scheme designator, meaning."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True, slots=True)
class CrossSection:
    """The ROI in one plane.

    ``outlines`` are closed polygons, each (n, 3) in LPS mm, combined by the even-odd rule (nested contours are holes).
    A cross-section that came from pixels has the exact pixel-edge outline, so that its area is pixels times pixel area.
    """

    offset_mm: float
    """Position along the normal of the planes it was drawn on."""
    outlines: tuple[Points, ...]
    area_mm2: float
    sop_instance_uid: str | None = None
    """The image that the ROI object names for this plane, if it names one."""
    frame: int = 1


@dataclass(frozen=True, slots=True)
class Roi:
    """One ROI of one RTSTRUCT, or one segment of one SEG, with all that could be read of it."""

    kind: RoiKind
    object_uid: str
    """SOP Instance UID of the RTSTRUCT or SEG."""
    number: int
    """ROI Number or Segment Number."""
    name: str
    normal: Vector
    sections: tuple[CrossSection, ...]
    """Ascending along ``normal``."""
    frame_of_reference_uid: str | None
    referenced_series_uids: tuple[str, ...]
    """Series that the object says this ROI was drawn on; empty if it says nothing."""
    referenced_image_uids: tuple[str, ...]
    """Every image that the object names for that series (whole series or contour slices), in its own order."""
    volume_mm3: float
    bounding_box_lps_mm: tuple[Vector, Vector] | None
    """(min, max): contour vertices of an RTSTRUCT, voxel centres of a SEG; None when empty."""
    codes: tuple[SegmentCode, ...] = ()
    reasons: tuple[Reason, ...] = ()
    """Why this ROI can never be evaluated, found while reading it; empty if readable."""
    warnings: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Match:
    """An ROI placed on the planes of one series."""

    sections: tuple[CrossSection, ...]
    """Ascending; each names the image (and frame) it lies on, and its offset along the stack's normal."""
    plane_indices: tuple[int, ...]
    """Index into the stack's planes for each of ``sections``."""
    volume_mm3: float
    """Sum of areas times the length that each plane of the series stands for."""
    warnings: tuple[str, ...]


# ---------------------------------------------------------------- measures


def in_plane_axes(normal: Vector) -> NDArray[np.float64]:
    """Return two unit vectors (2, 3) that span the plane; x and y of the patient for an axial plane."""
    n = np.array(normal)
    start = np.array([1.0, 0.0, 0.0]) if abs(n[0]) < 0.9 else np.array([0.0, 1.0, 0.0])
    u = start - (start @ n) * n
    u /= np.linalg.norm(u)
    return np.stack([u, np.cross(n, u)])


def section_area_mm2(outlines: Sequence[Points], normal: Vector) -> float:
    """Return the even-odd area of LPS outlines (n, 3) projected along ``normal``."""
    axes = in_plane_axes(normal)
    return even_odd_area([outline @ axes.T for outline in outlines])


def section_from_mask(mask: Mask, plane: ImagePlane, offset_mm: float) -> CrossSection:
    """Return the pixels of a mask (rows, columns) on ``plane`` as a cross-section with pixel-edge outlines."""
    return CrossSection(
        offset_mm=offset_mm,
        outlines=tuple(lps_from_pixel(plane, outline) for outline in outlines_of(mask)),
        area_mm2=float(mask.sum()) * plane.row_spacing_mm * plane.column_spacing_mm,
        sop_instance_uid=plane.sop_instance_uid or None,
        frame=plane.frame,
    )


def pixel_centres_lps(mask: Mask, plane: ImagePlane) -> Points:
    """Return the outermost pixel centres of every row of a mask: (n, 3) LPS mm; their box is the mask's box."""
    rows = np.flatnonzero(mask.any(axis=1))
    first = mask[rows].argmax(axis=1)
    last = mask.shape[1] - 1 - mask[rows, ::-1].argmax(axis=1)
    pixels = np.concatenate([np.stack([first, rows], axis=1), np.stack([last, rows], axis=1)])
    return lps_from_pixel(plane, pixels.astype(np.float64))


def box_of(points: Points) -> tuple[Vector, Vector]:
    """Return (min, max) of points (n, 3)."""
    low, high = points.min(axis=0), points.max(axis=0)
    return (float(low[0]), float(low[1]), float(low[2])), (float(high[0]), float(high[1]), float(high[2]))


def planimetric_volume_mm3(offsets_mm: Sequence[float], areas_mm2: Sequence[float]) -> float:
    """Return the sum of area times local spacing, for ascending planes; 0 for a single plane, which has no thickness.

    Each plane reaches half-way to its neighbours, outer planes as far outwards as inwards. Across a gap where planes
    are missing it reaches half the usual gap: what was not drawn is not counted.
    """
    usual = most_frequent_gap(tuple(offsets_mm))
    if usual is None:
        return 0.0
    gaps = np.diff(np.array(offsets_mm))
    reach = np.where(gaps > MISSING_GAP_FACTOR * usual, usual, gaps) / 2
    thickness = np.concatenate([reach[:1], reach]) + np.concatenate([reach, reach[-1:]])
    return float(np.array(areas_mm2) @ thickness)


def missing_planes(offsets_mm: Sequence[float]) -> int:
    """Return how many gaps between ascending planes are so wide that planes must be missing there."""
    usual = most_frequent_gap(tuple(offsets_mm))
    return 0 if usual is None else int((np.diff(np.array(offsets_mm)) > MISSING_GAP_FACTOR * usual).sum())


def largest_section(roi: Roi) -> CrossSection:
    """Return the cross-section with the largest area; of equals (within 1e-6) the lowest along the normal.

    Raises :class:`InvalidInput` (the reason found while reading, else ROI_EMPTY) when there is no cross-section.
    """
    if not roi.sections:
        reason = roi.reasons[0] if roi.reasons else Reason.ROI_EMPTY
        raise InvalidInput(
            reason, "The ROI has no cross-section: " + ("; ".join(roi.warnings) or "it is empty") + "."
        )
    return largest_of(roi.sections)


def largest_of(sections: Sequence[CrossSection]) -> CrossSection:
    """Return the largest of one or more ascending cross-sections, by the tie rule of :func:`largest_section`."""
    limit = max(section.area_mm2 for section in sections) * (1 - AREA_TIE)
    return next(section for section in sections if section.area_mm2 >= limit)


def longest_diameter_mm(roi: Roi) -> float:
    """Return the largest distance of two outline points of one cross-section, over all of them; 0 when empty.

    For a segmentation the points are pixel corners, so that one pixel measures its diagonal.
    """
    axes = in_plane_axes(roi.normal)
    flat = [np.concatenate(section.outlines) @ axes.T for section in roi.sections]
    longest = 0.0
    for points in sorted(flat, key=_box_diagonal, reverse=True):
        if _box_diagonal(points) <= longest:
            break
        longest = max(longest, diameter(points))
    return longest


def _box_diagonal(points: Points) -> float:
    return float(np.linalg.norm(np.ptp(points, axis=0)))


def extent_mm(roi: Roi) -> Vector:
    """Return the size of the box around all outlines along x, y and z of the patient; zeros when empty."""
    if not roi.sections:
        return (0.0, 0.0, 0.0)
    low, high = box_of(np.concatenate([outline for section in roi.sections for outline in section.outlines]))
    return (high[0] - low[0], high[1] - low[1], high[2] - low[2])


def check_size(roi: Roi) -> None:
    """Raise :class:`InvalidInput`: TUMOUR_SMALL under 5 mm longest diameter, TUMOUR_LARGE over 224 mm in x or y."""
    if not _spans(roi, SMALLEST_MM) and (longest := longest_diameter_mm(roi)) < SMALLEST_MM:
        raise InvalidInput(
            Reason.TUMOUR_SMALL, f"The longest diameter is {longest:.1f} mm; at least 5 mm is needed."
        )
    widest = max(extent_mm(roi)[:2])
    if widest > LARGEST_MM:
        raise InvalidInput(Reason.TUMOUR_LARGE, f"The ROI is {widest:.1f} mm wide; the crop holds 224 mm.")


def _spans(roi: Roi, length_mm: float) -> bool:
    """Tell at once whether one side of a cross-section's box is that long, and so its diameter."""
    return any(
        np.ptp(np.concatenate(section.outlines), axis=0).max() >= length_mm for section in roi.sections
    )


# ---------------------------------------------------------------- on images


def match_sections(roi: Roi, stack: Stack) -> tuple[CrossSection, ...]:
    """Return the cross-sections placed on the images of ``stack``; see :func:`match_roi`."""
    return match_roi(roi, stack).sections


def match_roi(roi: Roi, stack: Stack) -> Match:
    """Place every cross-section on the nearest plane within half the local gap.

    A ROI whose planes are not parallel to the images is cut along the images' planes instead: a pixel belongs to it
    when it is within half a gap of a cross-section and its projection lies inside that one.
    Raises :class:`InvalidInput`: FRAME_MISMATCH, OUTSIDE_IMAGES (the largest cross-section has no image or leaves the
    matrix), or the ROI's own reason when it is empty. Smaller cross-sections that are lost give a warning.
    """
    largest = largest_section(roi)
    warnings = _check_frame(roi, stack)
    if not _parallel(largest, stack):
        return _match_resliced(roi, stack, warnings)
    placed: dict[int, tuple[float, CrossSection]] = {}
    lost: list[float] = []
    crowded = 0
    for section in roi.sections:
        index = _place(section, stack, required=section is largest)
        if index is None:
            lost.append(section.offset_mm)
            continue
        distance = abs(_offset_on(section, stack) - stack.offsets_mm[index])
        crowded += index in placed
        if index not in placed or distance < placed[index][0]:
            placed[index] = (distance, section)
    if lost:
        warnings.append(f"{len(lost)} of {len(roi.sections)} cross-sections lie outside the images")
    if crowded:
        warnings.append(
            f"{crowded} cross-sections lie between images, beside one that is nearer; they are left out"
        )
    return _matched({index: section for index, (_, section) in placed.items()}, roi, stack, warnings)


def _matched(placed: dict[int, CrossSection], roi: Roi, stack: Stack, warnings: list[str]) -> Match:
    indices = tuple(sorted(placed))
    skipped = indices[-1] - indices[0] + 1 - len(indices)
    if skipped:
        warnings.append(
            f"{skipped} images between the first and the last have no cross-section; none was interpolated"
        )
    sections = tuple(_on_plane(placed[index], stack, index) for index in indices)
    thickness = [local_thickness_mm(stack, index) for index in indices]
    measured = sum(
        section.area_mm2 * (length or 0.0) for section, length in zip(sections, thickness, strict=True)
    )
    return Match(sections, indices, measured or roi.volume_mm3, tuple(warnings))


def _on_plane(section: CrossSection, stack: Stack, index: int) -> CrossSection:
    plane = stack.planes[index]
    return replace(
        section,
        offset_mm=stack.offsets_mm[index],
        sop_instance_uid=plane.sop_instance_uid,
        frame=plane.frame,
    )


def _check_frame(roi: Roi, stack: Stack) -> list[str]:
    """One patient coordinate system, by frame of reference or by the object's own references."""
    if roi.kind == "NIFTI" or (
        roi.frame_of_reference_uid and roi.frame_of_reference_uid == stack.frame_of_reference_uid
    ):
        return []
    images = {plane.sop_instance_uid for plane in stack.planes}
    named = {*roi.referenced_image_uids, *(section.sop_instance_uid for section in roi.sections)}
    if stack.series_instance_uid in roi.referenced_series_uids or images & named:
        return ["frame of reference of ROI and images differ; the ROI's references name these images"]
    detail = "ROI and images have different frames of reference, and the ROI names neither series nor images."
    raise InvalidInput(Reason.FRAME_MISMATCH, detail)


def _offset_on(section: CrossSection, stack: Stack) -> float:
    along = np.concatenate(section.outlines) @ np.array(stack.normal)
    return float(along.min() + along.max()) / 2


def _parallel(section: CrossSection, stack: Stack) -> bool:
    """Whether the cross-section stays within a quarter of a gap of one plane."""
    along = np.concatenate(section.outlines) @ np.array(stack.normal)
    return bool(np.ptp(along) / 2 <= (modal_gap_mm(stack) or 2 * LONE_PLANE_REACH_MM) / 4)


def _place(section: CrossSection, stack: Stack, *, required: bool) -> int | None:
    index = nearest_plane(stack, _offset_on(section, stack))
    if index is not None and inside_fraction(section, stack.planes[index]) >= INSIDE_FRACTION:
        return index
    if required:
        where = "beside the image matrix" if index is not None else "where the series has no image"
        raise InvalidInput(Reason.OUTSIDE_IMAGES, f"The largest cross-section lies {where}.")
    return None


def inside_fraction(section: CrossSection, plane: ImagePlane) -> float:
    """Return how much of the cross-section's area lies inside the image matrix, 0 to 1."""
    pixels = [pixel_from_lps(plane, outline) for outline in section.outlines]
    points = np.concatenate(pixels)
    right, bottom = plane.columns - 0.5, plane.rows - 0.5
    if (points >= -0.5).all() and (points <= (right, bottom)).all():
        return 1.0
    whole = even_odd_area(pixels)
    inside: Sequence[Points] = pixels
    for normal, limit in (((-1.0, 0.0), 0.5), ((1.0, 0.0), right), ((0.0, -1.0), 0.5), ((0.0, 1.0), bottom)):
        inside = clip(inside, normal, limit)
    return even_odd_area(inside) / whole if whole else 0.0


def rasterise(section: CrossSection, plane: ImagePlane) -> Mask:
    """Fill a cross-section on a plane, projecting along the plane's normal: (rows, columns).

    A pixel is inside when its centre is; for centres on the border see :func:`prognode.domain.rasterise.mask_of`.
    """
    outlines = [pixel_from_lps(plane, outline) for outline in section.outlines]
    return mask_of(outlines, plane.rows, plane.columns)


def rasterise_all(roi: Roi, stack: Stack) -> NDArray[np.bool_]:
    """Fill an ROI on all planes of a series: (planes, rows, columns). Raises as :func:`match_roi`."""
    first = stack.planes[0]
    volume = np.zeros((len(stack.planes), first.rows, first.columns), dtype=bool)
    match = match_roi(roi, stack)
    for index, section in zip(match.plane_indices, match.sections, strict=True):
        volume[index] = rasterise(section, stack.planes[index])
    return volume


# ---------------------------------------------------------------- planes at an angle


def _match_resliced(roi: Roi, stack: Stack, warnings: list[str]) -> Match:
    if len(roi.sections) < 2:
        detail = "The only contour is not parallel to the images, and its thickness is not known."
        raise InvalidInput(Reason.OUTSIDE_IMAGES, detail)
    placed: dict[int, CrossSection] = {}
    for index, plane in enumerate(stack.planes):
        mask = _cut(roi, plane)
        if mask.any():
            placed[index] = section_from_mask(mask, plane, stack.offsets_mm[index])
    if not placed:
        raise InvalidInput(Reason.OUTSIDE_IMAGES, "The ROI lies outside the images.")
    warnings.append("the ROI was drawn on planes at an angle to the images; it was cut along the images")
    return _matched(placed, roi, stack, warnings)


def _cut(roi: Roi, plane: ImagePlane) -> Mask:
    """Mask of the ROI's slabs (cross-section, half a gap to each side) on a plane at any angle."""
    row, column = _window(roi, plane)
    mask = np.zeros((plane.rows, plane.columns), dtype=bool)
    points = lps_from_pixel(plane, np.stack([column, row], axis=1).astype(np.float64))
    offsets = np.array([section.offset_mm for section in roi.sections])
    distance = points @ np.array(roi.normal)
    nearest = np.abs(distance[:, None] - offsets).argmin(axis=1)
    reach = (most_frequent_gap(tuple(offsets.tolist())) or 0.0) / 2
    nearest[np.abs(distance - offsets[nearest]) > reach] = -1
    axes = in_plane_axes(roi.normal)
    for index in np.unique(nearest[nearest >= 0]):
        chosen = np.flatnonzero(nearest == index)
        outlines = [outline @ axes.T for outline in roi.sections[index].outlines]
        inside = chosen[contains(outlines, points[chosen] @ axes.T)]
        mask[row[inside], column[inside]] = True
    return mask


def _window(roi: Roi, plane: ImagePlane) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the pixels of ``plane`` that can lie in the ROI's box, flat."""
    reach = (most_frequent_gap(tuple(section.offset_mm for section in roi.sections)) or 0.0) * np.array(
        roi.normal
    )
    outlines = np.concatenate([outline for section in roi.sections for outline in section.outlines])
    pixels = pixel_from_lps(plane, np.concatenate([outlines - reach, outlines + reach]))
    low = np.clip(np.floor(pixels.min(axis=0)), 0, (plane.columns, plane.rows)).astype(int)
    high = np.clip(np.ceil(pixels.max(axis=0)) + 1, 0, (plane.columns, plane.rows)).astype(int)
    row, column = np.mgrid[low[1] : high[1], low[0] : high[0]]
    return row.ravel(), column.ravel()
