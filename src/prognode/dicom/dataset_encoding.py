"""Datasets of our own making as DICOM files, quickly.

pydicom writes any dataset from anywhere and takes 40 ms for a report of 1400 elements; what this code builds has a
dozen VRs, explicit lengths and no surprises, so a small writer does it in a tenth. It writes what pydicom writes,
byte for byte (a test says so).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

from pydicom.charset import python_encoding
from pydicom.dataset import Dataset

from prognode.dicom.part10 import part10

EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"

_LONG = {"OB", "OW", "SQ", "UC", "UN", "UR", "UT"}  # 32-bit length fields (PS3.5 7.1.2)
_NUMBERS = {"US": "H", "UL": "I", "FL": "f", "FD": "d"}
_TEXT = {"LO", "LT", "PN", "SH", "ST", "UC", "UT"}  # governed by the character set


def encode(dataset: Dataset) -> bytes:
    """Write a complete DICOM file (PS3.10 7.1), explicit VR little endian; the same dataset gives the same bytes.

    The dataset has SOPClassUID and SOPInstanceUID. ``AttributeError`` for a value of a VR that is not written here.
    """
    data = encode_elements(dataset, encoding_of(dataset))
    return part10(str(dataset.SOPClassUID), str(dataset.SOPInstanceUID), EXPLICIT_VR_LITTLE_ENDIAN, data)


def encoding_of(dataset: Dataset) -> str:
    """Python codec of the dataset's character set; ASCII where it names none."""
    return python_encoding[str(dataset.get("SpecificCharacterSet") or "ISO_IR 6")]


def encode_elements(dataset: Dataset, encoding: str) -> bytes:
    """Elements of a dataset in ascending order of their tags, nested sequences with explicit lengths."""
    elements = sorted(dataset.values(), key=_tag)
    return b"".join(_element(element.tag, element.VR, _value(element, encoding)) for element in elements)


def _tag(element: Any) -> int:
    return int(element.tag)


def _element(tag: int, vr: str, value: bytes) -> bytes:
    """Tag, VR, length and an even number of bytes (PS3.5 7.1.2)."""
    layout = "<HH2s2xI" if vr in _LONG else "<HH2sH"
    return struct.pack(layout, tag >> 16, tag & 0xFFFF, vr.encode(), len(value)) + value


def _value(element: Any, encoding: str) -> bytes:
    """Value field by VR."""
    vr, value = element.VR, element.value
    if vr == "SQ":
        return b"".join(_item(entry, encoding) for entry in value)
    if vr in _NUMBERS:
        numbers = _several(value)
        return struct.pack(f"<{len(numbers)}{_NUMBERS[vr]}", *numbers)
    if vr == "OB":
        return _even(value, b"\0")
    text = "" if value is None else "\\".join(str(entry) for entry in _several(value))
    if vr == "UI":
        return _even(text.encode("ascii"), b"\0")
    return _even(text.encode(encoding if vr in _TEXT else "ascii"), b" ")


def _several(value: Any) -> list[Any]:
    """Values of an element as a list, one or many."""
    return [value] if isinstance(value, str | bytes | int | float) or not _iterable(value) else list(value)


def _iterable(value: Any) -> bool:
    return isinstance(value, Iterable) and type(value).__name__ != "PersonName"


def _item(dataset: Dataset, encoding: str) -> bytes:
    """Item of a sequence with explicit length (PS3.5 7.5.1)."""
    data = encode_elements(dataset, encoding)
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(data)) + data


def _even(data: bytes, pad: bytes) -> bytes:
    return data + pad * (len(data) % 2)
