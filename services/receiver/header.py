"""Checks what the header of an incoming object must say before it is stored.

Only what the node cannot do without is asked for: identity (UIDs that agree with the C-STORE command), modality, the
patient's id (it may be empty), and pixel data of the size that the header promises. An object that is merely unusable
is stored, so that the case can say why.
"""

from __future__ import annotations

import hashlib
import io
import re
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from pydicom import Dataset
from pydicom.filereader import read_dataset

from prognode.dicom.structure import DEFLATED, EXPLICIT_BIG, IMPLICIT_LITTLE, PixelElement, inflate

RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
LABEL_MAP_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.7"
CT_IMAGES = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")
PIXEL_CLASSES = (*CT_IMAGES, SEGMENTATION, LABEL_MAP_SEGMENTATION)

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_PIXEL_DATA = 0x7FE00008
# the card of an RTSTRUCT or SEG needs no contour, segment or frame, and there may be many
_HEADER_ENDS = {RTSTRUCT: 0x30060010, SEGMENTATION: 0x52009229, LABEL_MAP_SEGMENTATION: 0x52009229}
_COMMENT_LENGTH = 64  # VR LO


class Status(IntEnum):
    """What a C-STORE is answered with (PS3.4 table B.2-1, PS3.7 annex C)."""

    SUCCESS = 0x0000
    PROCESSING_FAILURE = 0x0110
    SOP_CLASS_NOT_SUPPORTED = 0x0122  # not the class that the presentation context was negotiated for
    DUPLICATE_INSTANCE = 0x0111  # the instance is here with other content
    OUT_OF_RESOURCES = 0xA700
    DATA_SET_MISMATCH = 0xA900  # data set and SOP class or command do not agree
    CANNOT_UNDERSTAND = 0xC000  # truncated or malformed
    ATTRIBUTE_MISSING = 0xC100
    UID_INVALID = 0xC101
    FOREIGN_PATIENT = 0xC102


class Refusal(Exception):
    """The object is not stored. ``comment`` becomes the Error Comment: at most 64 characters, no patient data."""

    def __init__(self, status: Status, comment: str) -> None:
        super().__init__(comment)
        self.status = status
        self.comment = comment[:_COMMENT_LENGTH]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who an object is, checked."""

    sop_instance_uid: str
    sop_class_uid: str
    study_instance_uid: str
    series_instance_uid: str
    modality: str
    patient_key: str
    """Digest of the Patient ID; see :func:`patient_key`."""


def parse_header(file: bytes, begin: int, sop_class_uid: str, transfer_syntax_uid: str) -> Dataset:
    """The header of the data set that begins at ``begin`` of a file, up to pixels, contours or frames.

    Raises Refusal when it cannot be read.
    """
    end = _HEADER_ENDS.get(sop_class_uid, _PIXEL_DATA)
    encoded = io.BytesIO(file)
    encoded.seek(begin)
    try:
        if transfer_syntax_uid == DEFLATED:
            encoded = io.BytesIO(inflate(memoryview(file)[begin:]))
        return read_dataset(
            encoded,
            is_implicit_VR=transfer_syntax_uid == IMPLICIT_LITTLE,
            is_little_endian=transfer_syntax_uid != EXPLICIT_BIG,
            stop_when=lambda tag, _vr, _length: tag >= end,
        )
    except (ValueError, TypeError, KeyError, EOFError, OSError, struct.error, NotImplementedError) as error:
        raise Refusal(Status.CANNOT_UNDERSTAND, "the data set cannot be parsed") from error


def check_uid(uid: Any, name: str) -> str:
    """``uid`` as a plain string if it is a UID: digits and dots, at most 64 characters (PS3.5 section 9.1)."""
    if not isinstance(uid, str) or len(uid) > 64 or not _UID.fullmatch(uid):
        raise Refusal(Status.UID_INVALID, f"{name} is not a UID")
    return str(uid)


def identity(header: Dataset, sop_class_uid: str, sop_instance_uid: str) -> Identity:
    """Identity of the object, equal to what the command said. Raises Refusal."""
    found_class = check_uid(_required(header, "SOPClassUID"), "SOP Class UID")
    found_instance = check_uid(_required(header, "SOPInstanceUID"), "SOP Instance UID")
    if found_class != sop_class_uid:
        raise Refusal(Status.DATA_SET_MISMATCH, "SOP Class UID of command and data set differ")
    if found_instance != sop_instance_uid:
        raise Refusal(Status.DATA_SET_MISMATCH, "SOP Instance UID of command and data set differ")
    if "PatientID" not in header:
        raise Refusal(Status.ATTRIBUTE_MISSING, "Patient ID is missing (it may be empty)")
    return Identity(
        sop_instance_uid=found_instance,
        sop_class_uid=found_class,
        study_instance_uid=check_uid(_required(header, "StudyInstanceUID"), "Study Instance UID"),
        series_instance_uid=check_uid(_required(header, "SeriesInstanceUID"), "Series Instance UID"),
        modality=str(_required(header, "Modality")).replace("\0", "")[
            :16
        ],  # PostgreSQL's text holds no zero byte
        patient_key=patient_key(header),
    )


def patient_key(header: Dataset) -> str:
    """Digest that tells patients of one study apart.

    The Patient ID alone: workstations that write contours often drop the issuer, complete the name or lose the birth
    date, and the Study Instance UID already says where the study comes from.
    """
    return hashlib.sha256(str(_value(header, "PatientID") or "").strip(" \0").encode()).hexdigest()


def check_pixels(header: Dataset, pixels: PixelElement | None) -> None:
    """Refuse an image whose pixel data are absent or shorter than the header promises."""
    if header.SOPClassUID not in PIXEL_CLASSES:
        return
    rows, columns, bits = (_integer(header, name) for name in ("Rows", "Columns", "BitsAllocated"))
    frames = _integer(header, "NumberOfFrames", 1)
    samples = _integer(header, "SamplesPerPixel", 1)
    if pixels is None:
        raise Refusal(Status.CANNOT_UNDERSTAND, "Pixel Data is missing: the data set is truncated")
    if pixels.fragments is None:
        enough = pixels.length * 8 >= rows * columns * bits * samples * frames
    else:
        enough = pixels.fragments >= frames and pixels.length > 0
    if not enough:
        raise Refusal(Status.CANNOT_UNDERSTAND, "Pixel Data is shorter than Rows, Columns, frames say")


def _required(header: Dataset, keyword: str) -> Any:
    value = _value(header, keyword)
    if value is None or value == "":
        raise Refusal(Status.ATTRIBUTE_MISSING, f"{keyword} is missing")
    return value


def _integer(header: Dataset, keyword: str, default: int | None = None) -> int:
    value = _value(header, keyword)
    if value in (None, "") and default is not None:
        return default
    try:
        return int(_required(header, keyword))
    except (ValueError, TypeError):
        raise Refusal(Status.CANNOT_UNDERSTAND, f"{keyword} is not a number") from None


def _value(header: Dataset, keyword: str) -> Any:
    """Value of an element; pydicom decodes it only now."""
    try:
        return header.get(keyword)
    except (ValueError, TypeError, KeyError, LookupError, struct.error, NotImplementedError) as error:
        raise Refusal(Status.CANNOT_UNDERSTAND, f"{keyword} cannot be decoded") from error
