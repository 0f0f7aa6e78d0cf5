"""DICOM Segmentations (binary, fractional, label map; PS3.3 C.8.20.2) as ROIs, one per segment.

The rules, each learnt from files that break simpler readers: a frame lies where its plane position says, never where it
stands in the file; empty frames are left out by writers and mean nothing; segments may overlap and stay apart; what a
frame shows may be said in the shared groups or in its own; a label map's background is what the object marks as such.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydicom.dataset import Dataset

from prognode.dicom.references import choose_sources, instance_uids
from prognode.dicom.seg_frames import (
    SAME_PLANE_MM,
    Frame,
    Values,
    place_frames,
    plane_spacing_mm,
    stored_values,
    vector,
)
from prognode.dicom.values import first_item, integer, items, number, text
from prognode.domain.geometry import ImagePlane, lps_from_pixel, unit_normal
from prognode.domain.rasterise import Mask
from prognode.domain.roi import (
    CrossSection,
    Roi,
    SegmentCode,
    box_of,
    missing_planes,
    pixel_centres_lps,
    section_from_mask,
)
from prognode.errors import InvalidInput, Reason

LABEL_MAP_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.7"
FRACTION_INSIDE = 0.5
"""A fractional pixel belongs to the segment when value / Maximum Fractional Value is at least this."""
BACKGROUND_CODE = ("DCM", "125040")
"""Segmented property type "Background"."""


@dataclass(frozen=True, slots=True)
class _Part:
    """The pixels of one segment in one frame, cut to the box around them so that large objects stay small."""

    frame: Frame
    row: int
    column: int
    mask: Mask

    @property
    def plane(self) -> ImagePlane:
        """The plane of the box."""
        corner = lps_from_pixel(self.frame.plane, np.array([[self.column, self.row]], dtype=np.float64))[0]
        rows, columns = self.mask.shape
        return replace(self.frame.plane, position_lps_mm=vector(corner.tolist()), rows=rows, columns=columns)


def _part(frame: Frame, mask: Mask) -> _Part:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return _Part(frame, int(rows[0]), int(columns[0]), np.ascontiguousarray(box))


def _joined(first: _Part, second: _Part) -> _Part:
    """Two frames of one segment at one position as one."""
    whole = np.zeros((first.frame.plane.rows, first.frame.plane.columns), dtype=bool)
    for part in (first, second):
        rows, columns = part.mask.shape
        whole[part.row : part.row + rows, part.column : part.column + columns] |= part.mask
    return _part(first.frame, whole)


def read_seg(dataset: Dataset) -> tuple[Roi, ...]:
    """Return one ROI per segment, by ascending number; unusable ones say why in ``reasons``.

    Outlines run along pixel edges, so that area is pixels times pixel area; volume is that times the distance of
    planes; the bounding box is of voxel centres. Fractional values count from 0.5 of the maximum on.
    """
    described = _described(dataset)
    try:
        frames = place_frames(dataset)
        parts = _parts(dataset, frames)
    except InvalidInput as problem:
        return tuple(
            _unusable(dataset, segment, described[segment], problem) for segment in sorted(described)
        )
    spacing = plane_spacing_mm(dataset, [frame.offset_mm for frame in frames])
    return tuple(
        _roi(dataset, segment, described.get(segment), parts.get(segment, []), spacing)
        for segment in sorted({*described, *parts})
    )


# ---------------------------------------------------------------- segments


def _is_label_map(dataset: Dataset) -> bool:
    return (
        text(dataset, "SOPClassUID") == LABEL_MAP_SEGMENTATION
        or text(dataset, "SegmentationType").upper() == "LABELMAP"
    )


def _described(dataset: Dataset) -> dict[int, Dataset]:
    """Described segments by number, without a label map's background."""
    found = {}
    for item in items(dataset, "SegmentSequence"):
        segment = integer(item, "SegmentNumber")
        if segment is not None:
            found[segment] = item
    return {key: item for key, item in found.items() if key not in _background(dataset, found)}


def _background(dataset: Dataset, described: dict[int, Dataset]) -> set[int]:
    """Values of a label map that are no segment: padding, segments typed Background, and 0 unless it is described."""
    if not _is_label_map(dataset):
        return set()
    background = {segment for segment, item in described.items() if _is_typed_background(item)}
    if 0 not in described:
        background.add(0)
    padding = integer(dataset, "PixelPaddingValue")
    return background if padding is None else background | {padding}


def _is_typed_background(item: Dataset) -> bool:
    code = first_item(item, "SegmentedPropertyTypeCodeSequence")
    return (
        code is not None
        and (text(code, "CodingSchemeDesignator"), text(code, "CodeValue")) == BACKGROUND_CODE
    )


def _codes(item: Dataset | None) -> tuple[SegmentCode, ...]:
    """Type, category, and the anatomic region, as far as the segment has them."""
    keywords = (
        "SegmentedPropertyTypeCodeSequence",
        "SegmentedPropertyCategoryCodeSequence",
        "AnatomicRegionSequence",
    )
    codes = (first_item(item, keyword) for keyword in keywords)
    return tuple(
        SegmentCode(
            text(code, "CodeValue") or text(code, "LongCodeValue") or text(code, "URNCodeValue"),
            text(code, "CodingSchemeDesignator"),
            text(code, "CodeMeaning"),
        )
        for code in codes
        if code is not None
    )


def _empty(dataset: Dataset, segment: int, item: Dataset | None) -> Roi:
    name = text(item, "SegmentLabel") if item is not None else ""
    sources = choose_sources(_referenced_series(dataset), ())
    return Roi(
        kind="SEG",
        object_uid=text(dataset, "SOPInstanceUID"),
        number=segment,
        name=name or f"Segment {segment}",
        normal=(0.0, 0.0, 1.0),
        sections=(),
        frame_of_reference_uid=text(dataset, "FrameOfReferenceUID") or None,
        referenced_series_uids=sources.series_uids,
        referenced_image_uids=sources.image_uids,
        volume_mm3=0.0,
        bounding_box_lps_mm=None,
        codes=_codes(item),
    )


def _unusable(dataset: Dataset, segment: int, item: Dataset, problem: InvalidInput) -> Roi:
    return replace(_empty(dataset, segment, item), reasons=(problem.reason,), warnings=(problem.detail,))


def _roi(
    dataset: Dataset, segment: int, item: Dataset | None, parts: Sequence[_Part], spacing: float | None
) -> Roi:
    remarks = [] if item is not None else ["the segment is not described in the object"]
    remarks += _fraction_remarks(dataset)
    empty = _empty(dataset, segment, item)
    if not parts:
        return replace(
            empty, reasons=(Reason.ROI_EMPTY,), warnings=(*remarks, "no frame has a pixel of the segment")
        )
    merged = _merge(parts)
    sections = tuple(_section(part) for part in merged)
    if missing_planes([section.offset_mm for section in sections]):
        remarks.append("planes are missing between frames; nothing was interpolated")
    if spacing is None:
        remarks.append("one plane of unknown thickness: the volume is not known")
    sources = choose_sources(
        _referenced_series(dataset), [uid for part in merged for uid, _ in part.frame.sources]
    )
    first = merged[0].frame.plane
    return replace(
        empty,
        normal=unit_normal(first.row_cosines, first.column_cosines),
        sections=sections,
        referenced_series_uids=sources.series_uids,
        referenced_image_uids=sources.image_uids,
        volume_mm3=sum(section.area_mm2 for section in sections) * (spacing or 0.0),
        bounding_box_lps_mm=box_of(
            np.concatenate([pixel_centres_lps(part.mask, part.plane) for part in merged])
        ),
        warnings=tuple(remarks),
    )


def _fraction_remarks(dataset: Dataset) -> list[str]:
    if text(dataset, "SegmentationType").upper() != "FRACTIONAL":
        return []
    kind = text(dataset, "SegmentationFractionalType").lower() or "unspecified kind"
    return [f"fractional segmentation ({kind}): pixels of at least half the maximum value count"]


def _merge(parts: Sequence[_Part]) -> list[_Part]:
    """One part per position, ascending; frames of one segment at one position are joined."""
    merged: list[_Part] = []
    for part in sorted(parts, key=lambda one: one.frame.offset_mm):
        last = merged[-1] if merged else None
        if last is not None and part.frame.offset_mm - last.frame.offset_mm <= SAME_PLANE_MM:
            merged[-1] = _joined(last, part)
        else:
            merged.append(part)
    return merged


def _section(part: _Part) -> CrossSection:
    section = section_from_mask(part.mask, part.plane, part.frame.offset_mm)
    uid, frame = part.frame.sources[0] if part.frame.sources else ("", 1)
    return replace(section, sop_instance_uid=uid or None, frame=frame)


def _referenced_series(dataset: Dataset) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    others = items(dataset, "StudiesContainingOtherReferencedInstancesSequence")
    for owner in (dataset, *others):
        for series in items(owner, "ReferencedSeriesSequence"):
            uids = instance_uids(series, "ReferencedInstanceSequence")
            found.setdefault(text(series, "SeriesInstanceUID"), []).extend(uids)
    found.pop("", None)
    return found


# ---------------------------------------------------------------- pixels


def _parts(dataset: Dataset, frames: Sequence[Frame]) -> dict[int, list[_Part]]:
    """Pixels by segment number; a segment has parts only where it has pixels."""
    decoded = stored_values(dataset, frames)
    if _is_label_map(dataset):
        return _label_parts(dataset, frames, decoded)
    threshold = _threshold(dataset)
    described = _described(dataset)
    only = next(iter(described)) if len(described) == 1 else None
    parts: dict[int, list[_Part]] = {}
    for frame, values in zip(frames, decoded, strict=True):
        segment = only if frame.segment is None else frame.segment
        if segment is None:
            detail = f"frame {frame.plane.frame} does not say which segment it shows"
            raise InvalidInput(Reason.ROI_UNREADABLE, detail)
        mask = values >= threshold
        if mask.any():
            parts.setdefault(segment, []).append(_part(frame, mask))
    return parts


def _threshold(dataset: Dataset) -> float:
    if text(dataset, "SegmentationType").upper() != "FRACTIONAL":
        return 1.0
    maximum = number(dataset, "MaximumFractionalValue")
    if not maximum:
        raise InvalidInput(
            Reason.ROI_UNREADABLE, "a fractional segmentation without Maximum Fractional Value"
        )
    return FRACTION_INSIDE * maximum


def _labels(values: Values) -> list[int]:
    """The different values of a frame; counting is ten times as fast as sorting."""
    largest = int(values.max())
    found = np.flatnonzero(np.bincount(values.ravel())) if largest < 1 << 16 else np.unique(values)
    return [int(label) for label in found]


def _label_parts(
    dataset: Dataset, frames: Sequence[Frame], decoded: Iterable[Values]
) -> dict[int, list[_Part]]:
    described = {integer(item, "SegmentNumber") or 0: item for item in items(dataset, "SegmentSequence")}
    background = _background(dataset, described)
    parts: dict[int, list[_Part]] = {}
    for frame, values in zip(frames, decoded, strict=True):
        for label in _labels(values):
            if label not in background:
                parts.setdefault(int(label), []).append(_part(frame, values == label))
    return parts
