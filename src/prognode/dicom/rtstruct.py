"""RT Structure Sets (PS3.3 C.8.8.5, C.8.8.6) as ROIs. No images are needed.

The rules, each learnt from files that break simpler readers: contours join their ROI by number, never by place; closed
contours on one plane combine by even-odd; types that enclose nothing are never filled; a contour of fewer than three
points is skipped, its plane is not; planes lie where the points are, at any angle; an ROI without contours is a result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from prognode.dicom.references import choose_sources, instance_uids
from prognode.dicom.values import UNREADABLE, integer, items, number, text
from prognode.domain.geometry import Points, Vector, facing
from prognode.domain.rasterise import even_odd_area
from prognode.domain.roi import (
    CrossSection,
    Roi,
    SegmentCode,
    box_of,
    in_plane_axes,
    missing_planes,
    planimetric_volume_mm3,
)
from prognode.errors import Reason

CLOSED = frozenset({"CLOSED_PLANAR", "CLOSEDPLANAR_XOR"})
SAME_PLANE_MM = 0.1
"""Contours nearer than this along the normal lie on one plane: writers round positions to 0.1 mm."""
FLAT_MM = 0.2
FLAT_FRACTION = 0.035
"""A contour belongs to planes along a normal when its points deviate by no more than 0.2 mm, or 2 degrees."""

CONTOUR_DATA = Tag(0x3006, 0x0050)


@dataclass(slots=True)
class _Contours:
    """The usable contours of one ROI, and what was wrong with the others."""

    points: list[Points] = field(default_factory=list)
    images: list[tuple[str, int]] = field(default_factory=list)
    thickness_mm: float | None = None
    skipped: Counter[str] = field(default_factory=Counter)
    faults: list[Reason] = field(default_factory=list)

    def skip(self, why: str, fault: Reason) -> None:
        self.skipped[why] += 1
        self.faults.append(fault)


def read_rtstruct(dataset: Dataset) -> tuple[Roi, ...]:
    """Return one ROI per item of the Structure Set ROI Sequence, in its order; unusable ones say why in ``reasons``.

    Volume is planimetric: the sum of area times local plane spacing. A ROI on a single plane has no thickness; its
    volume is 0 unless the contour gives a slab thickness.
    """
    contours: dict[int | None, list[Dataset]] = {}
    for item in items(dataset, "ROIContourSequence"):
        contours.setdefault(integer(item, "ReferencedROINumber"), []).extend(items(item, "ContourSequence"))
    described = items(dataset, "StructureSetROISequence")
    numbers = Counter(integer(item, "ROINumber") for item in described)
    return tuple(
        _roi(dataset, item, contours.get(integer(item, "ROINumber"), []), numbers) for item in described
    )


def _roi(dataset: Dataset, item: Dataset, sequence: Sequence[Dataset], numbers: Counter[int | None]) -> Roi:
    number_ = integer(item, "ROINumber")
    frame = text(item, "ReferencedFrameOfReferenceUID")
    usable = _usable(sequence if number_ is not None else [])
    normal = _normal(usable.points)
    sections, remarks = _sections(usable, normal)
    if numbers[number_] > 1:
        remarks.append(f"{numbers[number_]} ROIs share the number {number_}")
    sources = choose_sources(_referenced_series(dataset, frame), _named(sequence))
    return Roi(
        kind="RTSTRUCT",
        object_uid=text(dataset, "SOPInstanceUID"),
        number=0 if number_ is None else number_,
        name=text(item, "ROIName"),
        normal=normal,
        sections=sections,
        frame_of_reference_uid=frame or _only_frame(dataset),
        referenced_series_uids=sources.series_uids,
        referenced_image_uids=sources.image_uids,
        volume_mm3=_volume_mm3(sections, usable.thickness_mm),
        bounding_box_lps_mm=box_of(np.concatenate([p for s in sections for p in s.outlines]))
        if sections
        else None,
        codes=_codes(dataset, number_),
        reasons=() if sections else (_reason(usable),),
        warnings=(*(f"{count} contours skipped: {why}" for why, count in usable.skipped.items()), *remarks),
    )


def _reason(usable: _Contours) -> Reason:
    for fault in (Reason.ROI_UNREADABLE, Reason.ROI_TYPE):
        if fault in usable.faults:
            return fault
    return Reason.ROI_EMPTY


# ---------------------------------------------------------------- contours


def _usable(sequence: Iterable[Dataset]) -> _Contours:
    found = _Contours()
    for contour in sequence:
        kind = text(contour, "ContourGeometricType").upper()
        if kind not in CLOSED:
            found.skip(f"type {kind or 'not given'} encloses nothing", Reason.ROI_TYPE)
            continue
        points = _points(contour)
        if points is None:
            found.skip("coordinates cannot be read", Reason.ROI_UNREADABLE)
        elif len(points) < 3:
            found.skip("fewer than three points", Reason.ROI_EMPTY)
        elif _collinear(points):
            found.skip("all points on one line", Reason.ROI_EMPTY)
        else:
            found.points.append(points)
            found.images.append(_image_of(contour))
            found.thickness_mm = found.thickness_mm or number(contour, "ContourSlabThickness")
    return found


def _points(contour: Dataset) -> Points | None:
    """(n, 3) LPS mm; straight from the bytes, since a DS object per coordinate costs a hundred times as much."""
    if CONTOUR_DATA not in contour:
        return np.empty((0, 3))
    element = contour.get_item(CONTOUR_DATA)
    raw = element.value if element is not None else None
    try:
        if isinstance(element, RawDataElement) and isinstance(raw, bytes):
            flat = np.array(raw.rstrip(b" \0").split(b"\\") if raw.strip(b" \0") else [], dtype=np.float64)
        else:
            flat = np.array([] if raw is None else raw, dtype=np.float64).ravel()
    except UNREADABLE:
        return None
    if flat.size % 3 or not np.isfinite(flat).all():
        return None
    points: Points = flat.reshape(-1, 3)
    return points


def _image_of(contour: Dataset) -> tuple[str, int]:
    named = items(contour, "ContourImageSequence")
    if not named:
        return "", 1
    return text(named[0], "ReferencedSOPInstanceUID"), integer(named[0], "ReferencedFrameNumber") or 1


def _named(sequence: Iterable[Dataset]) -> list[str]:
    return [uid for contour in sequence for uid in instance_uids(contour, "ContourImageSequence")]


# ---------------------------------------------------------------- planes


def area_vector(points: Points) -> Points:
    """Return the vector along a closed outline's normal (n, 3) whose length is its signed area (Newell)."""
    relative = points - points[0]
    vector: Points = np.cross(relative, np.roll(relative, -1, axis=0)).sum(axis=0) / 2
    return vector


def _collinear(points: Points) -> bool:
    relative = points - points[0]
    farthest = relative[np.argmax((relative**2).sum(axis=1))]
    return not np.linalg.norm(np.cross(relative, farthest), axis=1).max() > 0


def _normal(contours: Sequence[Points]) -> Vector:
    """Normal of the planes that most of the enclosed area lies on; a patient axis where every contour is flat on it.

    Small contours with rounded coordinates tilt by degrees, which would shift planes that lie far from the origin.
    """
    if not contours:
        return (0.0, 0.0, 1.0)
    vectors = np.array([area_vector(points) for points in contours])
    sizes = np.linalg.norm(vectors, axis=1)
    largest = vectors[np.argmax(sizes)]
    if not sizes.max() > 0:  # figures of eight only: two loops that cancel
        largest = np.linalg.svd(contours[0] - contours[0].mean(axis=0))[2][2]
        return facing(largest)
    parallel = np.abs(vectors @ largest) > 0.9 * sizes * np.linalg.norm(largest)
    mean = facing((vectors * np.sign(vectors @ largest)[:, None])[parallel].sum(axis=0))
    axis = facing(np.eye(3)[np.argmax(np.abs(mean))])
    flat = all(_is_flat(points, points @ np.array(axis)) for points in contours)
    return axis if flat else mean


def _sections(usable: _Contours, normal: Vector) -> tuple[tuple[CrossSection, ...], list[str]]:
    offsets = [points @ np.array(normal) for points in usable.points]
    flat = [_is_flat(points, along) for points, along in zip(usable.points, offsets, strict=True)]
    order = sorted(
        (index for index, ok in enumerate(flat) if ok), key=lambda index: float(offsets[index].mean())
    )
    planes = _group(order, [float(along.mean()) for along in offsets])
    sections = tuple(_section(usable, members, offsets, normal) for members in planes)
    sections = tuple(section for section in sections if section.area_mm2 > 0)
    remarks = []
    if not all(flat):
        remarks.append(f"{flat.count(False)} contours skipped: not parallel to the others, or not flat")
    nested = sum(_overlapping(section, normal) for section in sections)
    if nested:
        remarks.append(f"{nested} planes have nested contours (holes)")
    gaps = missing_planes([section.offset_mm for section in sections])
    if gaps:
        remarks.append(f"planes are missing between contours in {gaps} places; nothing was interpolated")
    if len(sections) == 1 and not usable.thickness_mm:
        remarks.append("one plane only: the volume is not known")
    return sections, remarks


def _is_flat(points: Points, along: Points) -> bool:
    size = float(np.linalg.norm(np.ptp(points, axis=0)))
    return bool(np.ptp(along) <= max(FLAT_MM, FLAT_FRACTION * size))


def _group(order: Sequence[int], offsets: Sequence[float]) -> list[list[int]]:
    """Contours of one plane each; a plane starts at its lowest contour, so that drift does not chain planes."""
    planes: list[list[int]] = []
    for index in order:
        if planes and offsets[index] - offsets[planes[-1][0]] <= SAME_PLANE_MM:
            planes[-1].append(index)
        else:
            planes.append([index])
    return planes


def _section(
    usable: _Contours, members: Sequence[int], offsets: Sequence[Points], normal: Vector
) -> CrossSection:
    axes = in_plane_axes(normal)
    outlines = tuple(usable.points[index] for index in members)
    named = next((usable.images[index] for index in members if usable.images[index][0]), ("", 1))
    return CrossSection(
        offset_mm=float(np.concatenate([offsets[index] for index in members]).mean()),
        outlines=outlines,
        area_mm2=even_odd_area([outline @ axes.T for outline in outlines]),
        sop_instance_uid=named[0] or None,
        frame=named[1],
    )


def _overlapping(section: CrossSection, normal: Vector) -> bool:
    """Whether even-odd took something away: the outlines one by one enclose more than together."""
    if len(section.outlines) < 2:
        return False
    axes = in_plane_axes(normal)
    alone = sum(even_odd_area([outline @ axes.T]) for outline in section.outlines)
    return alone > section.area_mm2 * (1 + 1e-9)


def _volume_mm3(sections: Sequence[CrossSection], thickness_mm: float | None) -> float:
    areas = [section.area_mm2 for section in sections]
    if len(areas) == 1:
        return areas[0] * abs(thickness_mm or 0.0)
    return planimetric_volume_mm3([section.offset_mm for section in sections], areas)


# ---------------------------------------------------------------- references


def _referenced_series(dataset: Dataset, frame_uid: str) -> dict[str, list[str]]:
    """Series UID to image UIDs, of the ROI's frame of reference where the object tells frames apart."""
    frames = items(dataset, "ReferencedFrameOfReferenceSequence")
    own = [frame for frame in frames if frame_uid and text(frame, "FrameOfReferenceUID") == frame_uid]
    found: dict[str, list[str]] = {}
    for frame in own or frames:
        for study in items(frame, "RTReferencedStudySequence"):
            for series in items(study, "RTReferencedSeriesSequence"):
                images = found.setdefault(text(series, "SeriesInstanceUID"), [])
                images.extend(instance_uids(series, "ContourImageSequence"))
    found.pop("", None)
    return found


def _only_frame(dataset: Dataset) -> str | None:
    frames = {
        text(item, "FrameOfReferenceUID") for item in items(dataset, "ReferencedFrameOfReferenceSequence")
    }
    frames.add(text(dataset, "FrameOfReferenceUID"))
    frames.discard("")
    return frames.pop() if len(frames) == 1 else None


def _codes(dataset: Dataset, number_: int | None) -> tuple[SegmentCode, ...]:
    return tuple(
        SegmentCode(text(code, "CodeValue"), text(code, "CodingSchemeDesignator"), text(code, "CodeMeaning"))
        for item in items(dataset, "RTROIObservationsSequence")
        if integer(item, "ReferencedROINumber") == number_
        for code in items(item, "RTROIIdentificationCodeSequence")
    )
