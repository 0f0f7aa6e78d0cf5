"""The frames of a segmentation: where each lies in the patient, what it says about itself, and its stored values.

A frame's geometry is in its own functional groups or in the shared ones (PS3.3 C.7.6.16); its place in the file says
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels import iter_pixels
from pydicom.uid import ExplicitVRBigEndian

from prognode.dicom.pixels import DECODER_ERRORS, NATIVE, decoder_of, transfer_syntax
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
from prognode.domain.geometry import ImagePlane, Vector, most_frequent_gap, tolerance_mm, unit_normal
from prognode.errors import InvalidInput, Reason

Values = NDArray[np.unsignedinteger[Any]]

SAME_PLANE_MM = 0.01
"""Frames nearer than this along their normal lie on one plane."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Where one frame lies and what it says about itself."""

    plane: ImagePlane
    offset_mm: float
    segment: int | None
    sources: tuple[tuple[str, int], ...]
    """Images that the frame was derived from: (SOP Instance UID, frame number)."""


def place_frames(dataset: Dataset) -> list[Frame]:
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


def _frame(own: Dataset, shared: Dataset | None, index: int, rows: int, columns: int) -> Frame:
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
        position_lps_mm=vector(position),
        row_cosines=vector(cosines[:3]),
        column_cosines=vector(cosines[3:]),
        row_spacing_mm=spacing[0],
        column_spacing_mm=spacing[1],
        rows=rows,
        columns=columns,
        frame=index,
    )
    normal = unit_normal(plane.row_cosines, plane.column_cosines)
    identification = functional_group(own, shared, "SegmentIdentificationSequence")
    return Frame(
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


def vector(values: Sequence[float]) -> Vector:
    """Return three numbers as a vector."""
    x, y, z = values
    return (x, y, z)


def _source_images(own: Dataset, shared: Dataset | None) -> Iterator[tuple[str, int]]:
    derivations = items(own, "DerivationImageSequence") or items(shared, "DerivationImageSequence")
    for derivation in derivations:
        for source in items(derivation, "SourceImageSequence"):
            uid = text(source, "ReferencedSOPInstanceUID")
            if uid:
                yield uid, integer(source, "ReferencedFrameNumber") or 1


def plane_spacing_mm(dataset: Dataset, offsets_mm: Iterable[float]) -> float | None:
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


def stored_values(dataset: Dataset, frames: Sequence[Frame]) -> Iterator[Values]:
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
