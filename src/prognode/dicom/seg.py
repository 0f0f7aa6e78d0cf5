"""DICOM Segmentations (PS3.3 A.51 binary and fractional, A.104 label map) as ROIs, one per segment.

The rules, each learnt from files that break simpler readers: a frame lies where its plane position says, never where it
stands in the file; empty frames are left out by writers and mean nothing; segments may overlap and stay apart; what a
frame shows may be said in the shared groups or in its own; a label map's background is what the object marks as such.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels import iter_pixels
from pydicom.uid import ExplicitVRBigEndian

from prognode.dicom.pixels import DECODER_ERRORS, NATIVE, decoder_of, transfer_syntax
from prognode.dicom.references import choose_sources, instance_uids
from prognode.dicom.values import (
    first_item,
    functional_group,
    integer,
    items,
    number,
    numbers,
    text,
    value_of,
)
from prognode.domain.geometry import (
    ImagePlane,
    Vector,
    lps_from_pixel,
    most_frequent_gap,
    tolerance_mm,
    unit_normal,
)
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

Values = NDArray[np.unsignedinteger[Any]]

LABEL_MAP_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.7"
FRACTION_INSIDE = 0.5
"""A fractional pixel belongs to the segment when value / Maximum Fractional Value is at least this."""
SAME_PLANE_MM = 0.01
BACKGROUND_CODE = ("DCM", "125040")
"""Segmented property type "Background" (CID 7150)."""


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where one frame lies and what it says about itself."""

    plane: ImagePlane
    offset_mm: float
    segment: int | None
    sources: tuple[tuple[str, int], ...]
    """Images that the frame was derived from: (SOP Instance UID, frame number)."""


@dataclass(frozen=True, slots=True)
class _Part:
    """The pixels of one segment in one frame, cut to the box around them so that large objects stay small."""

    frame: _Frame
    row: int
    column: int
    mask: Mask

    @property
    def plane(self) -> ImagePlane:
        """The plane of the box."""
        corner = lps_from_pixel(self.frame.plane, np.array([[self.column, self.row]], dtype=np.float64))[0]
        rows, columns = self.mask.shape
        return replace(self.frame.plane, position_lps_mm=_vector(corner.tolist()), rows=rows, columns=columns)


def _part(frame: _Frame, mask: Mask) -> _Part:
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
        frames = _frames(dataset)
        parts = _parts(dataset, frames)
    except InvalidInput as problem:
        return tuple(
            _unusable(dataset, segment, described[segment], problem) for segment in sorted(described)
        )
    spacing = _plane_spacing_mm(dataset, [frame.offset_mm for frame in frames])
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


# ---------------------------------------------------------------- frames


def _frames(dataset: Dataset) -> list[_Frame]:
    """Place every frame; raises :class:`InvalidInput` where the object has no coordinate system or positions."""
    shared = first_item(dataset, "SharedFunctionalGroupsSequence")
    own = items(dataset, "PerFrameFunctionalGroupsSequence")
    count = integer(dataset, "NumberOfFrames") or len(own)
    if len(own) < count:
        raise InvalidInput(
            Reason.ROI_UNREADABLE, f"{count} frames, but only {len(own)} of them are described"
        )
    if not text(dataset, "FrameOfReferenceUID"):
        raise InvalidInput(Reason.ROI_NO_POSITION, "the segmentation has no frame of reference")
    rows, columns = integer(dataset, "Rows") or 0, integer(dataset, "Columns") or 0
    frames = [_frame(own[index], shared, index + 1, rows, columns) for index in range(count)]
    normals = {unit_normal(f.plane.row_cosines, f.plane.column_cosines) for f in frames}
    if normals and np.ptp(np.array(list(normals)), axis=0).max() > 1e-3:
        raise InvalidInput(Reason.ROI_UNREADABLE, "the frames are not parallel to each other")
    return frames


def _frame(own: Dataset, shared: Dataset | None, index: int, rows: int, columns: int) -> _Frame:
    position = _group_numbers(own, shared, "PlanePositionSequence", "ImagePositionPatient", 3)
    cosines = _group_numbers(own, shared, "PlaneOrientationSequence", "ImageOrientationPatient", 6)
    spacing = _group_numbers(own, shared, "PixelMeasuresSequence", "PixelSpacing", 2)
    if (
        position is None
        or cosines is None
        or spacing is None
        or min(spacing) <= 0
        or not np.any(np.cross(cosines[:3], cosines[3:]))
    ):
        detail = f"frame {index} has no position, orientation or pixel spacing in the patient"
        raise InvalidInput(Reason.ROI_NO_POSITION, detail)
    plane = ImagePlane(
        sop_instance_uid="",
        position_lps_mm=_vector(position),
        row_cosines=_vector(cosines[:3]),
        column_cosines=_vector(cosines[3:]),
        row_spacing_mm=spacing[0],
        column_spacing_mm=spacing[1],
        rows=rows,
        columns=columns,
        frame=index,
    )
    normal = unit_normal(plane.row_cosines, plane.column_cosines)
    identification = functional_group(own, shared, "SegmentIdentificationSequence")
    return _Frame(
        plane=plane,
        offset_mm=float(np.dot(position, normal)),
        segment=None if identification is None else integer(identification, "ReferencedSegmentNumber"),
        sources=tuple(_source_images(own, shared)),
    )


def _group_numbers(
    own: Dataset, shared: Dataset | None, group: str, keyword: str, count: int
) -> tuple[float, ...] | None:
    found = functional_group(own, shared, group)
    return None if found is None else numbers(found, keyword, count)


def _vector(values: Sequence[float]) -> Vector:
    x, y, z = values
    return (x, y, z)


def _source_images(own: Dataset, shared: Dataset | None) -> Iterator[tuple[str, int]]:
    derivations = items(own, "DerivationImageSequence") or items(shared, "DerivationImageSequence")
    for derivation in derivations:
        for source in items(derivation, "SourceImageSequence"):
            uid = text(source, "ReferencedSOPInstanceUID")
            if uid:
                yield uid, integer(source, "ReferencedFrameNumber") or 1


def _plane_spacing_mm(dataset: Dataset, offsets_mm: Iterable[float]) -> float | None:
    """Distance of planes, from positions.

    Empty frames are left out by writers, so positions may show a multiple of it: Spacing Between Slices is believed
    where every gap is a whole multiple of it. With one position only, it or the slice thickness is all there is.
    """
    stated, thickness = (
        _stated_spacing(dataset, "SpacingBetweenSlices"),
        _stated_spacing(dataset, "SliceThickness"),
    )
    ordered = np.unique(np.round(np.array(list(offsets_mm)), 3))
    gaps = np.diff(ordered)
    gaps = gaps[gaps > SAME_PLANE_MM]
    if not gaps.size:
        return stated or thickness
    if stated:
        multiples = np.round(gaps / stated)
        if (multiples >= 1).all() and (
            np.abs(gaps - multiples * stated) <= tolerance_mm(stated) * multiples
        ).all():
            return stated
    return most_frequent_gap(tuple(ordered.tolist()))


def _stated_spacing(dataset: Dataset, keyword: str) -> float | None:
    shared = first_item(dataset, "SharedFunctionalGroupsSequence")
    own = first_item(dataset, "PerFrameFunctionalGroupsSequence")
    measures = functional_group(own, shared, "PixelMeasuresSequence")
    stated = None if measures is None else number(measures, keyword)
    return abs(stated) if stated else None


# ---------------------------------------------------------------- pixels


def _parts(dataset: Dataset, frames: Sequence[_Frame]) -> dict[int, list[_Part]]:
    """Pixels by segment number; a segment has parts only where it has pixels."""
    decoded = _decoded(dataset, frames)
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
    dataset: Dataset, frames: Sequence[_Frame], decoded: Iterable[Values]
) -> dict[int, list[_Part]]:
    described = {integer(item, "SegmentNumber") or 0: item for item in items(dataset, "SegmentSequence")}
    background = _background(dataset, described)
    parts: dict[int, list[_Part]] = {}
    for frame, values in zip(frames, decoded, strict=True):
        for label in _labels(values):
            if label not in background:
                parts.setdefault(int(label), []).append(_part(frame, values == label))
    return parts


def _decoded(dataset: Dataset, frames: Sequence[_Frame]) -> Iterator[Values]:
    """Stored values (rows, columns) frame by frame."""
    if not frames:
        return iter(())
    syntax = transfer_syntax(dataset)
    if syntax in NATIVE:
        return _native(dataset, len(frames), big_endian=syntax == ExplicitVRBigEndian)
    return _decompressed(dataset, syntax)


def _decompressed(dataset: Dataset, syntax: str) -> Iterator[Values]:
    try:
        yield from iter_pixels(dataset, raw=True, decoding_plugin=decoder_of(syntax))
    except DECODER_ERRORS as error:
        detail = f"the frames (transfer syntax {syntax}, {integer(dataset, 'BitsAllocated')} bits) cannot be decoded"
        raise InvalidInput(Reason.ROI_UNREADABLE, detail) from error


def _native(dataset: Dataset, count: int, *, big_endian: bool) -> Iterator[Values]:
    """Uncompressed frames. One-bit frames follow each other without padding, the first pixel in the lowest bit."""
    rows, columns, bits = (integer(dataset, keyword) or 0 for keyword in ("Rows", "Columns", "BitsAllocated"))
    data = value_of(dataset, "PixelData")
    size = rows * columns
    if (
        bits not in (1, 8, 16, 32)
        or not size
        or not isinstance(data, bytes)
        or 8 * len(data) < bits * size * count
    ):
        raise InvalidInput(Reason.ROI_UNREADABLE, "the pixel data are missing or shorter than the frames")
    if bits > 8:
        values = np.frombuffer(data, np.dtype(f"{'>' if big_endian else '<'}u{bits // 8}"), size * count)
    else:
        swapped = big_endian and dataset["PixelData"].VR == "OW"
        values = np.frombuffer(data, np.dtype("u1"))
        values = values[: values.size // 2 * 2].reshape(-1, 2)[:, ::-1].ravel() if swapped else values
    for index in range(count):
        yield _one_native(values, index, size, bits).reshape(rows, columns)


def _one_native(values: Values, index: int, size: int, bits: int) -> Values:
    first = index * size
    if bits > 1:
        return values[first : first + size]
    skipped = first % 8
    octets = values[first // 8 : (first + size + 7) // 8]
    return np.unpackbits(octets.view(np.uint8), bitorder="little")[skipped : skipped + size]
