"""DICOM objects around the mathematical abdomen: CT images (PS3.3 A.3), RT Structure Set (A.19), Segmentation (A.51).

Every identifier follows from the seed alone, so that two runs write the same bytes, and every object says in its
patient, its descriptions and its comments that it is synthetic.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLossless,
    JPEGLosslessSV1,
    RTStructureSetStorage,
)

from training.synthetic_anatomy import Floats, Grid, Phase

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MANUFACTURER = "Prognode synthetic"
COMMENT = "synthetic data, no patient"
IMPLEMENTATION_UID = UID("2.25.207194863152746190237841365081735208431")
STUDY_DATE = "20240115"
STUDY_TIME = "080000"
INJECTION_TIME = "081500"
NATIVE = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
)
WRITTEN_BY_GDCM = {JPEGLossless: "JPEGLosslessProcess14", JPEGLosslessSV1: "JPEGLosslessProcess14_1"}
SegType = Literal["BINARY", "FRACTIONAL", "LABELMAP"]
RoiNames = tuple[str, ...]


def seeded_uid(seed: int, *words: object) -> UID:
    """``2.25.`` UID (PS3.5 B.2) from the first 128 bits of SHA-256 over the seed and the words."""
    text = "/".join(["prognode-synthetic", str(seed), *map(str, words)])
    return UID(f"2.25.{int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], 'big')}")


@dataclass(frozen=True, slots=True)
class StudyIdentity:
    """What all objects of one study share."""

    seed: int
    patient_id: str
    accession_number: str
    study_uid: UID
    frame_of_reference_uid: UID


@dataclass(frozen=True, slots=True)
class SeriesPlan:
    """One CT series before its pixels."""

    phase: Phase
    series_uid: UID
    number: int
    description: str
    acquisition_time: str
    contrast_start_time: str | None
    """None leaves the whole contrast timing out."""
    grid: Grid
    slice_spacing_mm: float
    transfer_syntax: UID
    descending: bool = False
    """Instance numbers run from head to feet."""
    protocol: str = "Abdomen biphasic, SYNTHETIC"


@dataclass(frozen=True, slots=True)
class DrawnRoi:
    """One ROI to write: name and outlines by image."""

    name: str
    outlines_mm: Mapping[str, Sequence[Floats]] = field(default_factory=dict)
    """SOP Instance UID -> closed outlines, each (n, 3) in LPS mm."""


def decimal(value: float) -> str:
    """A Decimal String (PS3.5 6.2: at most 16 characters) in steps of 0.1 micrometre, without negative zero."""
    return f"{round(float(value), 4) + 0.0:.4f}".rstrip("0").rstrip(".")


def clock_time(start: str, plus_s: float) -> str:
    """HHMMSS ``plus_s`` seconds after ``start``."""
    total = int(start[:2]) * 3600 + int(start[2:4]) * 60 + int(start[4:6]) + round(plus_s)
    return f"{total // 3600:02d}{total // 60 % 60:02d}{total % 60:02d}"


def coded(value: str, scheme: str, meaning: str) -> Dataset:
    """A code sequence item (PS3.3 8.8)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _file(sop_class: UID, sop_instance: UID, transfer_syntax: UID) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = sop_instance
    meta.TransferSyntaxUID = transfer_syntax
    meta.ImplementationClassUID = IMPLEMENTATION_UID
    meta.ImplementationVersionName = "PROGNODE_SYNTH"
    dataset = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, sop_instance
    return dataset


def add_study_modules(dataset: Dataset, identity: StudyIdentity) -> None:
    """Patient, General Study and Patient Study (PS3.3 C.7.1.1, C.7.2.1, C.7.2.2), saying that nobody is meant."""
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = STUDY_DATE, STUDY_TIME
    dataset.PatientName, dataset.PatientID = "SYNTHETIC^STUDY", identity.patient_id
    dataset.PatientBirthDate, dataset.PatientSex, dataset.PatientAge = "", "O", "060Y"
    dataset.PatientComments = COMMENT
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = "No patient: computed from formulas"
    dataset.StudyInstanceUID, dataset.StudyID = identity.study_uid, str(identity.seed)
    dataset.StudyDate, dataset.StudyTime = STUDY_DATE, STUDY_TIME
    dataset.AccessionNumber, dataset.ReferringPhysicianName = identity.accession_number, ""
    dataset.StudyDescription = "SYNTHETIC CT abdomen biphasic"
    dataset.FrameOfReferenceUID = identity.frame_of_reference_uid
    dataset.PositionReferenceIndicator = ""
    dataset.Manufacturer, dataset.ManufacturerModelName = MANUFACTURER, "Mathematical abdomen"
    dataset.DeviceSerialNumber, dataset.SoftwareVersions = "SYNTHETIC", "1"
    dataset.InstitutionName = "SYNTHETIC"


def ct_template(identity: StudyIdentity, plan: SeriesPlan) -> Dataset:
    """All attributes that the images of one series share."""
    shared = Dataset()
    add_study_modules(shared, identity)
    shared.Modality, shared.SeriesInstanceUID, shared.SeriesNumber = "CT", plan.series_uid, plan.number
    shared.SeriesDescription, shared.ProtocolName = plan.description, plan.protocol
    shared.SeriesDate = shared.AcquisitionDate = shared.ContentDate = STUDY_DATE
    shared.SeriesTime = shared.AcquisitionTime = shared.ContentTime = plan.acquisition_time
    shared.BodyPartExamined, shared.PatientPosition = "ABDOMEN", "HFS"
    shared.AcquisitionNumber, shared.ImageComments = plan.number, COMMENT
    shared.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    _add_contrast(shared, plan)
    shared.KVP, shared.XRayTubeCurrent, shared.ExposureTime = "120", "250", "500"
    shared.ConvolutionKernel, shared.GantryDetectorTilt = "STANDARD", "0"
    shared.SliceThickness = decimal(plan.slice_spacing_mm)
    shared.PixelSpacing = [decimal(plan.grid.spacing_mm[1]), decimal(plan.grid.spacing_mm[2])]
    shared.ImageOrientationPatient = [f"{v + 0.0:.10g}" for v in (*plan.grid.axes[2], *plan.grid.axes[1])]
    shared.Rows, shared.Columns = plan.grid.shape[1], plan.grid.shape[2]
    shared.SamplesPerPixel, shared.PhotometricInterpretation = 1, "MONOCHROME2"
    shared.BitsAllocated, shared.BitsStored, shared.HighBit, shared.PixelRepresentation = 16, 12, 11, 0
    shared.RescaleIntercept, shared.RescaleSlope, shared.RescaleType = "-1024", "1", "HU"
    shared.WindowCenter, shared.WindowWidth = "40", "400"
    shared.BurnedInAnnotation = "NO"
    return shared


def _add_contrast(shared: Dataset, plan: SeriesPlan) -> None:
    shared.ContrastBolusAgent = "Iodinated contrast, SYNTHETIC"
    if plan.contrast_start_time is None:
        return
    shared.ContrastBolusRoute, shared.ContrastBolusVolume = "IV", "100"
    shared.ContrastBolusStartTime = plan.contrast_start_time
    shared.ContrastBolusStopTime = clock_time(plan.contrast_start_time, 30)


def ct_image(shared: Dataset, plan: SeriesPlan, uid: UID, plane: int, hu: NDArray[np.int16]) -> FileDataset:
    """One CT image of the series: ``hu`` is (rows, columns), -1024 to 3071; ``plane`` ascends from 0."""
    image = _file(CTImageStorage, uid, ExplicitVRLittleEndian)
    image.update(shared)
    image.InstanceNumber = plan.grid.shape[0] - plane if plan.descending else plane + 1
    image.ImagePositionPatient = [decimal(v) for v in plan.grid.position(plane)]
    image.SliceLocation = decimal(float(plan.grid.position(plane) @ plan.grid.axes[0]))
    image.PixelData = (hu + np.int16(1024)).astype("<u2").tobytes()
    image["PixelData"].VR = "OW"
    return in_transfer_syntax(image, plan.transfer_syntax)


def in_transfer_syntax(image: FileDataset, transfer_syntax: UID) -> FileDataset:
    """The image as it would be stored in a lossless transfer syntax that pydicom or GDCM can write."""
    if transfer_syntax in NATIVE:
        image.file_meta.TransferSyntaxUID = transfer_syntax
        return _big_endian(image) if transfer_syntax == ExplicitVRBigEndian else image
    if transfer_syntax in WRITTEN_BY_GDCM:
        return _by_gdcm(image, WRITTEN_BY_GDCM[transfer_syntax])
    image.compress(transfer_syntax, generate_instance_uid=False)
    return image


def _by_gdcm(image: FileDataset, syntax: str) -> FileDataset:
    """JPEG Lossless, which most archives use and pydicom cannot write. GDCM reads and writes files only."""
    import gdcm

    with TemporaryDirectory() as folder:
        path = Path(folder, "image.dcm")
        path.write_bytes(file_bytes(image))
        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(str(path))
        if not reader.Read():
            raise OSError("GDCM cannot read the synthetic image")
        change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
        change.SetInput(reader.GetImage())
        if not change.Change():
            raise OSError(f"GDCM cannot write {syntax}")
        writer.SetFileName(str(path))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        if not writer.Write():
            raise OSError("GDCM cannot write the synthetic image")
        return dcmread(BytesIO(path.read_bytes()))


def _big_endian(image: FileDataset) -> FileDataset:
    swapped = FileDataset(
        None,
        dict(image),
        file_meta=image.file_meta,
        preamble=image.preamble,
        is_implicit_VR=False,
        is_little_endian=False,
    )
    swapped.PixelData = np.frombuffer(image.PixelData, "<u2").astype(">u2").tobytes()
    return swapped


def file_bytes(dataset: Dataset) -> bytes:
    """The dataset as a DICOM file (PS3.10)."""
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def structure_set(
    identity: StudyIdentity,
    source: Sequence[Dataset],
    rois: Sequence[DrawnRoi],
    *,
    label: str,
    whole_series: bool,
) -> FileDataset:
    """An RT Structure Set drawn on ``source``; the referenced images are all of them, or the contoured ones only."""
    phase_words = str(source[0].SeriesInstanceUID)
    structures = _file(
        RTStructureSetStorage, seeded_uid(identity.seed, "rtstruct", phase_words), ExplicitVRLittleEndian
    )
    add_study_modules(structures, identity)
    structures.Modality, structures.SeriesNumber = "RTSTRUCT", int(source[0].SeriesNumber) + 100
    structures.SeriesInstanceUID = seeded_uid(identity.seed, "rtstruct-series", phase_words)
    structures.SeriesDescription = f"SYNTHETIC contours {label}"
    structures.SeriesDate, structures.SeriesTime, structures.OperatorsName = STUDY_DATE, "090000", ""
    structures.InstanceNumber = 1
    structures.StructureSetLabel, structures.StructureSetName = label[:16], f"SYNTHETIC {label}"
    structures.StructureSetDescription = COMMENT
    structures.StructureSetDate, structures.StructureSetTime = STUDY_DATE, "090000"
    structures.ApprovalStatus = "UNAPPROVED"
    drawn = {uid for roi in rois for uid in roi.outlines_mm}
    listed = [image for image in source if whole_series or image.SOPInstanceUID in drawn]
    structures.ReferencedFrameOfReferenceSequence = Items([_referenced_frame(identity, source[0], listed)])
    structures.StructureSetROISequence = Items(_roi(identity, n, roi) for n, roi in enumerate(rois, 1))
    structures.ROIContourSequence = Items(_roi_contour(n, roi) for n, roi in enumerate(rois, 1))
    structures.RTROIObservationsSequence = Items(_observation(n, roi) for n, roi in enumerate(rois, 1))
    return structures


def _image_reference(uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CTImageStorage, uid
    return item


def _referenced_frame(identity: StudyIdentity, first: Dataset, listed: Sequence[Dataset]) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = first.SeriesInstanceUID
    series.ContourImageSequence = Items(_image_reference(image.SOPInstanceUID) for image in listed)
    study = Dataset()
    study.ReferencedSOPClassUID = "1.2.840.10008.3.1.2.3.1"
    study.ReferencedSOPInstanceUID = identity.study_uid
    study.RTReferencedSeriesSequence = Items([series])
    frame = Dataset()
    frame.FrameOfReferenceUID = identity.frame_of_reference_uid
    frame.RTReferencedStudySequence = Items([study])
    return frame


def _roi(identity: StudyIdentity, number: int, roi: DrawnRoi) -> Dataset:
    item = Dataset()
    item.ROINumber, item.ROIName, item.ROIGenerationAlgorithm = number, roi.name, "MANUAL"
    item.ReferencedFrameOfReferenceUID = identity.frame_of_reference_uid
    item.ROIDescription = COMMENT
    return item


def _roi_contour(number: int, roi: DrawnRoi) -> Dataset:
    item = Dataset()
    item.ReferencedROINumber, item.ROIDisplayColor = number, [255, 64, 64]
    contours = []
    for uid, outlines in roi.outlines_mm.items():
        for outline in outlines:
            contour = Dataset()
            contour.ContourImageSequence = Items([_image_reference(uid)])
            contour.ContourGeometricType = "CLOSED_PLANAR"
            contour.NumberOfContourPoints = len(outline)
            contour.ContourData = [decimal(v) for v in outline.ravel()]
            contours.append(contour)
    if contours:
        item.ContourSequence = Items(contours)
    return item


def _observation(number: int, roi: DrawnRoi) -> Dataset:
    item = Dataset()
    item.ObservationNumber = item.ReferencedROINumber = number
    item.ROIObservationLabel, item.RTROIInterpretedType, item.ROIInterpreter = roi.name[:16], "GTV", ""
    return item


def segmentation(
    identity: StudyIdentity,
    source: Sequence[Dataset],
    masks: Mapping[str, NDArray[np.bool_]],
    *,
    seg_type: SegType,
    whole_series: bool,
) -> FileDataset:
    """A Segmentation of ``source``; ``masks`` are (plane, row, column) by segment label, planes in source order.

    Frames without any voxel are left out, as most writers do; FRACTIONAL holds 0 and 255 as occupancy.
    """
    import highdicom

    labels = np.stack(list(masks.values()), axis=-1)
    used = np.flatnonzero(labels.any(axis=(1, 2, 3)))
    chosen = list(range(len(source))) if whole_series else [int(i) for i in used]
    pixels = labels[chosen]
    words = str(source[0].SeriesInstanceUID)
    segments = highdicom.seg.Segmentation(
        source_images=[source[i] for i in chosen],
        pixel_array=pixels.astype(np.float32) if seg_type == "FRACTIONAL" else pixels.astype(np.uint8),
        segmentation_type=seg_type,
        segment_descriptions=[_segment(n, name) for n, name in enumerate(masks, 1)],
        series_instance_uid=seeded_uid(identity.seed, "seg-series", words),
        series_number=int(source[0].SeriesNumber) + 100,
        sop_instance_uid=seeded_uid(identity.seed, "seg", words),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name="Mathematical abdomen",
        software_versions="1",
        device_serial_number="SYNTHETIC",
        content_label="SYNTHETIC",
        content_description=COMMENT,
        series_description="SYNTHETIC segmentation",
        fractional_type="OCCUPANCY",
        omit_empty_frames=True,
    )
    _fix_moments(segments, identity)
    return _as_file(segments)


def _segment(number: int, name: str) -> object:
    import highdicom
    from pydicom.sr.coding import Code

    tumour = "tumo" in name.lower() or "gtv" in name.lower() or "lesion" in name.lower()
    abnormal = Code("49755003", "SCT", "Morphologically Abnormal Structure")
    organ = Code("123037004", "SCT", "Anatomical Structure")
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=abnormal if tumour else organ,
        segmented_property_type=Code("108369006", "SCT", "Neoplasm")
        if tumour
        else Code("10200004", "SCT", "Liver"),
        algorithm_type="MANUAL",
        tracking_id=name,
        tracking_uid=seeded_uid(0, "tracking", number, name),
    )


def _fix_moments(dataset: Dataset, identity: StudyIdentity) -> None:
    # highdicom writes the present moment and its own study attributes; the same seed must give the same bytes
    dataset.ContentDate, dataset.ContentTime = STUDY_DATE, "090000"
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = STUDY_DATE, "090000"
    dataset.SeriesDate, dataset.SeriesTime = STUDY_DATE, "090000"
    for sequence in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in dataset.get(sequence, []):
            item.DimensionOrganizationUID = seeded_uid(identity.seed, "dimensions", dataset.SeriesInstanceUID)
    for item in dataset.get("ContributingEquipmentSequence", []):
        item.ContributionDateTime = f"{STUDY_DATE}090000"
    dataset.PatientIdentityRemoved, dataset.PatientComments = "YES", COMMENT
    dataset.DeidentificationMethod = "No patient: computed from formulas"


def _as_file(dataset: Dataset) -> FileDataset:
    meta = dataset.file_meta
    plain = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    for element in dataset:
        plain.add(element)
    return plain
