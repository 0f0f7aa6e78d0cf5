"""Synthetic CT headers, structure sets and segmentations for tests, built item by item so that each can be broken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

from prognode.domain.geometry import ImagePlane, Stack, build_stack

FRAME = "2.25.1"
CT_SERIES = "2.25.100"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SQUARE = ((0, 0), (10, 0), (10, 10), (0, 10))


def item(**elements: Any) -> Dataset:
    """A data set of these elements."""
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def image_uid(index: int) -> str:
    return f"2.25.100.{index + 1}"


def plane(z: float = 0.0, index: int = 0, **changes: Any) -> ImagePlane:
    """An axial plane of 40 rows and 60 columns, 1 x 1 mm, unless changed."""
    values: dict[str, Any] = {
        "sop_instance_uid": image_uid(index),
        "position_lps_mm": (0.0, 0.0, z),
        "row_cosines": (1.0, 0.0, 0.0),
        "column_cosines": (0.0, 1.0, 0.0),
        "row_spacing_mm": 1.0,
        "column_spacing_mm": 1.0,
        "rows": 40,
        "columns": 60,
    }
    return ImagePlane(**(values | changes))


def stack(zs: Sequence[float], **changes: Any) -> Stack:
    """A series of axial planes at these heights."""
    return build_stack(CT_SERIES, FRAME, [plane(z, index, **changes) for index, z in enumerate(zs)])


def at(outline: Sequence[Sequence[float]], z: float) -> list[tuple[float, float, float]]:
    return [(float(x), float(y), float(z)) for x, y in outline]


def contour(
    points: Sequence[Sequence[float]], kind: str | None = "CLOSED_PLANAR", image: str | None = None
) -> Dataset:
    """One item of a Contour Sequence."""
    made = Dataset()
    if kind is not None:
        made.ContourGeometricType = kind
    made.NumberOfContourPoints = len(points)
    made.ContourData = [f"{value:.6f}" for point in points for value in point]
    if image is not None:
        made.ContourImageSequence = [item(ReferencedSOPInstanceUID=image)]
    return made


def structure_set(
    rois: Sequence[tuple[int, str, Sequence[Dataset] | None]], series: dict[str, list[str]] | None = None
) -> Dataset:
    """An RTSTRUCT of (number, name, contours); None leaves the ROI out of the ROI Contour Sequence."""
    made = item(
        SpecificCharacterSet="ISO_IR 192",
        SOPClassUID="1.2.840.10008.5.1.4.1.1.481.3",
        SOPInstanceUID="2.25.200",
        Modality="RTSTRUCT",
    )
    referenced = [
        item(
            SeriesInstanceUID=uid, ContourImageSequence=[item(ReferencedSOPInstanceUID=one) for one in images]
        )
        for uid, images in (series or {}).items()
    ]
    frame = item(FrameOfReferenceUID=FRAME)
    if referenced:
        frame.RTReferencedStudySequence = [item(RTReferencedSeriesSequence=referenced)]
    made.ReferencedFrameOfReferenceSequence = [frame]
    made.StructureSetROISequence = [
        item(ROINumber=number, ROIName=name, ReferencedFrameOfReferenceUID=FRAME) for number, name, _ in rois
    ]
    made.ROIContourSequence = [
        item(ReferencedROINumber=number, ContourSequence=list(contours))
        if contours
        else item(ReferencedROINumber=number)
        for number, _, contours in reversed(rois)
        if contours is not None
    ]
    return made


def segmentation(
    masks: Sequence[NDArray[Any]],
    positions: Sequence[tuple[float, float, float]],
    segments: Sequence[int] | None,
    *,
    described: Sequence[int] = (1,),
    kind: str = "BINARY",
    bits: int = 1,
    orientation: Sequence[float] = AXIAL,
    spacing: tuple[float, float] = (1.0, 1.0),
    big_endian: bool = False,
    vr: str = "OB",
    **more: Any,
) -> Dataset:
    """A SEG of one frame per mask (rows, columns); ``segments`` None leaves Segment Identification out."""
    made = item(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.66.7" if kind == "LABELMAP" else "1.2.840.10008.5.1.4.1.1.66.4",
        SOPInstanceUID="2.25.300",
        Modality="SEG",
        FrameOfReferenceUID=FRAME,
        SegmentationType=kind,
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
        NumberOfFrames=len(masks),
        Rows=masks[0].shape[0],
        Columns=masks[0].shape[1],
        BitsAllocated=bits,
        BitsStored=bits,
        HighBit=bits - 1,
        PixelRepresentation=0,
    )
    made.SegmentSequence = [item(SegmentNumber=number, SegmentLabel=f"S{number}") for number in described]
    made.SharedFunctionalGroupsSequence = [
        item(
            PlaneOrientationSequence=[item(ImageOrientationPatient=list(orientation))],
            PixelMeasuresSequence=[item(PixelSpacing=list(spacing), SliceThickness=2.0)],
        )
    ]
    made.PerFrameFunctionalGroupsSequence = [
        item(PlanePositionSequence=[item(ImagePositionPatient=list(position))]) for position in positions
    ]
    for frame, segment in zip(made.PerFrameFunctionalGroupsSequence, segments or (), strict=False):
        frame.SegmentIdentificationSequence = [item(ReferencedSegmentNumber=segment)]
    made.PixelData = packed(masks, bits, big_endian=big_endian, vr=vr)
    made["PixelData"].VR = vr
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRBigEndian if big_endian else ExplicitVRLittleEndian
    for keyword, value in more.items():
        setattr(made, keyword, value)
    return made


def packed(masks: Sequence[NDArray[Any]], bits: int, *, big_endian: bool, vr: str) -> bytes:
    """Frames as DICOM stores them: one-bit pixels without padding between frames, even length."""
    flat = np.concatenate([np.asarray(mask).ravel() for mask in masks])
    if bits == 1:
        data = np.packbits(flat.astype(bool), bitorder="little").tobytes()
    else:
        data = flat.astype(f"{'>' if big_endian else '<'}u{bits // 8}").tobytes()
    data += b"\0" * (len(data) % 2)
    if big_endian and vr == "OW" and bits <= 8:
        data = np.frombuffer(data, "<u2").byteswap().tobytes()
    return data


def ct_header(z: float = 0.0, **changes: Any) -> Dataset:
    """A CT slice without pixels."""
    made = item(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.2",
        SOPInstanceUID="2.25.400",
        StudyInstanceUID="2.25.401",
        SeriesInstanceUID=CT_SERIES,
        FrameOfReferenceUID=FRAME,
        Modality="CT",
        ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
        PatientName="Synthetic^Name",
        ImagePositionPatient=[-10.0, -20.0, z],
        ImageOrientationPatient=list(AXIAL),
        PixelSpacing=[0.5, 0.75],
        Rows=4,
        Columns=6,
    )
    for keyword, value in changes.items():
        if value is None:
            delattr(made, keyword)
        else:
            setattr(made, keyword, value)
    return made


def ct_image(values: NDArray[Any], **changes: Any) -> Dataset:
    """A CT slice with native pixels of the array's type."""
    little = values.astype(values.dtype.newbyteorder("<"))
    made = ct_header(
        Rows=values.shape[-2],
        Columns=values.shape[-1],
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
        BitsAllocated=8 * values.dtype.itemsize,
        BitsStored=8 * values.dtype.itemsize,
        HighBit=8 * values.dtype.itemsize - 1,
        PixelRepresentation=int(values.dtype.kind == "i"),
        PixelData=little.tobytes(),
        RescaleSlope=1,
        RescaleIntercept=0,
    )
    made["PixelData"].VR = "OW"
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for keyword, value in changes.items():
        setattr(made, keyword, value)
    return made
