"""Wraps a data set as it came over the network into a DICOM file (PS3.10 section 7), byte for byte."""

from __future__ import annotations

import struct
from functools import lru_cache

PREAMBLE = b"\x00" * 128 + b"DICM"

IMPLEMENTATION_CLASS_UID = "2.25.311069834098612408527130402498031158193"
IMPLEMENTATION_VERSION_NAME = "PROGNODE"


def part10(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, data_set: bytes) -> bytes:
    """A DICOM file: preamble, file meta information, ``data_set`` untouched.

    The file depends on its arguments alone: the same instance gives the same file. The UIDs are ASCII.
    """
    return b"".join((file_head(sop_class_uid, sop_instance_uid, transfer_syntax_uid), data_set))


def data_set_of(file: bytes) -> memoryview:
    """The data set inside a file that :func:`part10` made."""
    (length,) = struct.unpack_from("<L", file, len(PREAMBLE) + 8)
    return memoryview(file)[len(PREAMBLE) + 12 + length :]


def file_head(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """Preamble and file meta information (PS3.10 table 7.1-1), explicit VR little endian."""
    meta = b"".join(
        (
            struct.pack("<HH2sHL2s", 0x0002, 0x0001, b"OB", 0, 2, b"\x00\x01"),
            _uid_element(0x0002, sop_class_uid),
            _uid_element(0x0003, sop_instance_uid),
            _uid_element(0x0010, transfer_syntax_uid),
            _origin(),
        )
    )
    return PREAMBLE + struct.pack("<HH2sHL", 0x0002, 0x0000, b"UL", 4, len(meta)) + meta


@lru_cache(maxsize=1)
def _origin() -> bytes:
    return _uid_element(0x0012, IMPLEMENTATION_CLASS_UID) + _element(
        0x0013, b"SH", IMPLEMENTATION_VERSION_NAME.encode("ascii"), b" "
    )


def _uid_element(element: int, uid: str) -> bytes:
    return _element(element, b"UI", uid.encode("ascii"), b"\x00")


def _element(element: int, vr: bytes, value: bytes, padding: bytes) -> bytes:
    value += padding * (len(value) % 2)
    return struct.pack("<HH2sH", 0x0002, element, vr, len(value)) + value
