"""Small synthetic DICOM files for tests of the network: a structured report in each class, and CT slices."""

from __future__ import annotations

import hashlib
from io import BytesIO

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom.sop_class import (
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    CTImageStorage,
    EnhancedSRStorage,
)

SR_CLASSES = (Comprehensive3DSRStorage, ComprehensiveSRStorage, EnhancedSRStorage)


def uid(*words: object) -> str:
    """A UID that is always the same for the same words."""
    digest = hashlib.sha256("/".join(map(str, words)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def encoded(dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """The data set as a DICOM file."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    dataset.file_meta = meta
    out = BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def _base(sop_class: str, sop_instance: str, study: str, series: str, modality: str) -> Dataset:
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = sop_instance
    dataset.StudyDate = "20260101"
    dataset.ContentDate = "20260101"
    dataset.StudyTime = "120000"
    dataset.ContentTime = "120000"
    dataset.AccessionNumber = ""
    dataset.Modality = modality
    dataset.Manufacturer = "synthetic"
    dataset.ReferringPhysicianName = ""
    dataset.PatientName = "Synthetic^Données"
    dataset.PatientID = "SYNTHETIC"
    dataset.PatientBirthDate = ""
    dataset.PatientSex = "O"
    dataset.StudyInstanceUID = study
    dataset.SeriesInstanceUID = series
    dataset.StudyID = "1"
    dataset.SeriesNumber = 1
    dataset.InstanceNumber = 1
    return dataset


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


def structured_report(
    sop_class: str = Comprehensive3DSRStorage, study: str = "study", items: int = 3
) -> bytes:
    """A report with ``items`` text items (some 110 bytes each); its UID follows from class, study and size."""
    dataset = _base(sop_class, uid(study, sop_class, items), uid(study), uid(study, "sr"), "SR")
    dataset.ReferencedPerformedProcedureStepSequence = []
    dataset.PerformedProcedureCodeSequence = []
    dataset.CompletionFlag = "COMPLETE"
    dataset.VerificationFlag = "UNVERIFIED"
    dataset.ValueType = "CONTAINER"
    dataset.ConceptNameCodeSequence = [_code("126000", "DCM", "Imaging Measurement Report")]
    dataset.ContinuityOfContent = "SEPARATE"
    dataset.ContentSequence = [_comment(f"synthetic sentence {number}") for number in range(items)]
    return encoded(dataset)


def _comment(text: str) -> Dataset:
    item = Dataset()
    item.RelationshipType = "CONTAINS"
    item.ValueType = "TEXT"
    item.ConceptNameCodeSequence = [_code("121106", "DCM", "Comment")]
    item.TextValue = text
    return item


def report_variants(study: str = "study", items: int = 3) -> list[bytes]:
    """The same report in the three classes, best first."""
    return [structured_report(sop_class, study, items) for sop_class in SR_CLASSES]


def ct_slice(number: int, study: str = "study", series: str = "series") -> bytes:
    """A CT slice of 16 x 16 pixels at z = ``number`` mm."""
    dataset = _base(CTImageStorage, ct_uid(number, study, series), uid(study), uid(study, series), "CT")
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.FrameOfReferenceUID = uid(study, "frame")
    dataset.InstanceNumber = number
    dataset.ImagePositionPatient = [0.0, 0.0, float(number)]
    dataset.ImageOrientationPatient = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    dataset.PixelSpacing = [1.0, 1.0]
    dataset.SliceThickness = 1.0
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows = dataset.Columns = 16
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 1
    dataset.RescaleIntercept, dataset.RescaleSlope = 0, 1
    dataset.PixelData = bytes([number % 256, 0]) * 256
    return encoded(dataset)


def ct_uid(number: int, study: str = "study", series: str = "series") -> str:
    """SOP Instance UID of :func:`ct_slice`."""
    return uid(study, series, number)
