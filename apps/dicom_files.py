"""DICOM files that a person points at, read as the receiver would read them: what it would keep out is kept out here.

Headers only. An object that a C-STORE would not be answered 0x0000 for takes no part in any decision, so it takes no
part in ``inspect`` either; a sentence says which file and why.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from pydicom import Dataset, dcmread
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom.dsutils import split_dataset

from prognode.dicom.cards import card
from prognode.dicom.structure import PixelElement
from prognode.domain.roi import Roi
from prognode.errors import InvalidInput
from prognode.ports import Instance
from prognode.runtime.studies import RTSTRUCT_CLASS, is_roi_object, read_roi_object
from services.receiver.header import Identity, Refusal, check_pixels, identity

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
KNOWN_WITHOUT_PREAMBLE = frozenset({"CT", "RTSTRUCT", "SEG"})
DICOMDIR_CLASS = "1.2.840.10008.1.3.10"

UNREADABLE = (
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    EOFError,
    NotImplementedError,
    RecursionError,
    BytesLengthException,
    struct.error,
)
"""What pydicom raises while it reads a file that is damaged, or no DICOM file at all."""


class NotTaken(Exception):
    """The file takes no part; the text says why."""


@dataclass
class Pile:
    """What was found in the files."""

    instances: list[Instance] = field(default_factory=list)
    paths: dict[str, Path] = field(default_factory=dict)
    rois: list[Roi] = field(default_factory=list)
    object_of: dict[str, Instance] = field(default_factory=dict)
    """RTSTRUCT and SEG objects by SOP Instance UID."""
    problems: list[str] = field(default_factory=list)
    _patients: dict[str, str] = field(default_factory=dict)

    def study_of(self, roi: Roi) -> str:
        """Study Instance UID of the object that holds the ROI."""
        return self.object_of[roi.object_uid].study_instance_uid

    def add(self, path: Path) -> None:
        """Take the file in, or note why not."""
        try:
            self._add(path)
        except NotTaken as why:
            self.problems.append(f"{path}: {why}; left out")
        except Refusal as why:
            self.problems.append(f"{path}: {why}; the node would refuse it; left out")

    def _add(self, path: Path) -> None:
        header, left = _read(path, pixels=False)
        who = identity(header, str(header.get("SOPClassUID", "")), str(header.get("SOPInstanceUID", "")))
        known = self.paths.get(who.sop_instance_uid)
        if known is not None:
            _require_same_bytes(path, known)
            return
        if self._patients.setdefault(who.study_instance_uid, who.patient_key) != who.patient_key:
            raise NotTaken("another Patient ID than other objects of its study")
        _check_size(header, left)
        instance = _instance(who, header)
        self.paths[who.sop_instance_uid] = path
        self.instances.append(instance)
        if is_roi_object(instance):
            self.object_of[who.sop_instance_uid] = instance
            self._add_rois(path, header)

    def _add_rois(self, path: Path, header: Dataset) -> None:
        whole = header if header.SOPClassUID == RTSTRUCT_CLASS else read_dicom(path, pixels=True)
        try:
            self.rois.extend(read_roi_object(whole))
        except InvalidInput as fault:
            self.problems.append(f"{path}: {fault}")


def read_pile(files: Sequence[Path], on_read: Callable[[], object] = lambda: None) -> Pile:
    """Headers of every DICOM file, contours of every RTSTRUCT and SEG; ``on_read`` after each file."""
    pile = Pile()
    for path in files:
        pile.add(path)
        on_read()
    return pile


def read_dicom(path: Path, *, pixels: bool = False) -> Dataset:
    """The file's data set. Raises NotTaken when it is no DICOM object or cannot be read.

    A file without preamble is taken when it names a modality that the node works on.
    """
    return _read(path, pixels=pixels)[0]


def _read(path: Path, *, pixels: bool) -> tuple[Dataset, int]:
    """(data set, bytes of the file that were not read)."""
    try:
        with path.open("rb") as file:
            dataset = _parse(file, pixels=pixels)
            left = path.stat().st_size - file.tell()
    except OSError as fault:
        raise NotTaken(f"cannot be read ({fault.strerror})") from fault
    except UNREADABLE as fault:
        raise NotTaken("cannot be read as DICOM: truncated or damaged") from fault
    if _meta(dataset, "MediaStorageSOPClassUID") == DICOMDIR_CLASS:
        raise NotTaken("a DICOMDIR, which is an index of files")
    return dataset, left


def _parse(file: BinaryIO, *, pixels: bool) -> Dataset:
    try:
        return dcmread(file, stop_before_pixels=not pixels)
    except InvalidDicomError:
        file.seek(0)
    try:
        dataset = dcmread(file, stop_before_pixels=not pixels, force=True)
        known = str(dataset.get("Modality", "")) in KNOWN_WITHOUT_PREAMBLE
    except UNREADABLE:
        known = False
    if not known:
        raise NotTaken("not a DICOM file")
    return dataset


def _meta(dataset: Dataset, keyword: str) -> str:
    """A value of the file meta information; empty when there is none."""
    meta = getattr(dataset, "file_meta", None)
    return "" if meta is None else str(meta.get(keyword, ""))


def data_set_of(path: Path, header: Dataset) -> tuple[str, bytes]:
    """(transfer syntax UID, encoded data set) of a file, as a C-STORE would bring it."""
    data = path.read_bytes()
    syntax = _meta(header, "TransferSyntaxUID")
    if not syntax:
        return _syntax_of(header), data
    _, start = split_dataset(path)
    return syntax, data[start:]


def _syntax_of(header: Dataset) -> str:
    """Transfer syntax of a file without meta information, as it was found to be encoded."""
    implicit, little = header.original_encoding
    if implicit:
        return str(ImplicitVRLittleEndian)
    return str(ExplicitVRLittleEndian if little else ExplicitVRBigEndian)


def _require_same_bytes(path: Path, known: Path) -> None:
    """A second copy is no news; other bytes under the same UID are kept out."""
    if data_set_of(path, read_dicom(path)) != data_set_of(known, read_dicom(known)):
        raise NotTaken(f"the same SOP Instance UID as {known}, but other bytes")


def _check_size(header: Dataset, left: int) -> None:
    """Refuse an image whose file is too short for its pixels; ``left`` bytes follow its header."""
    syntax = UID(_meta(header, "TransferSyntaxUID"))
    if syntax == DeflatedExplicitVRLittleEndian:
        return
    packed = syntax.is_transfer_syntax and not syntax.is_private and syntax.is_encapsulated
    # how many fragments there are is not known without walking them
    check_pixels(header, PixelElement(left, fragments=1 << 31 if packed else None) if left > 0 else None)


def _instance(who: Identity, header: Dataset) -> Instance:
    return Instance(
        sop_instance_uid=who.sop_instance_uid,
        sop_class_uid=who.sop_class_uid,
        transfer_syntax_uid=_meta(header, "TransferSyntaxUID"),
        study_instance_uid=who.study_instance_uid,
        series_instance_uid=who.series_instance_uid,
        modality=who.modality,
        object_key="",
        sha256=hashlib.sha256(who.sop_instance_uid.encode()).hexdigest(),
        size_bytes=0,
        received_at=EPOCH,
        card=card(header),
    )
