"""Decides what becomes of one C-STORE request, over ports alone: no network, no disk of its own.

The order makes success mean durable: structure and header are checked, the object is put (synced), the index row is
committed, and only then the answer is 0x0000. A crash in between leaves at most an object without a row, which nobody
sees; the peer has no answer, sends again, and the same bytes take the same key.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from pydicom import DataElement, Dataset, dcmread
from pydicom.filewriter import correct_ambiguous_vr

from prognode import metrics
from prognode.dicom.cards import card
from prognode.dicom.part10 import file_head
from prognode.dicom.structure import MalformedDataSet, PixelElement, check_structure
from prognode.errors import Unavailable
from prognode.ports import Clock, Index, Instance, ObjectStore, Registered
from services.receiver.header import (
    LABEL_MAP_SEGMENTATION,
    SEGMENTATION,
    Identity,
    Refusal,
    Status,
    check_pixels,
    check_uid,
    identity,
    parse_header,
)
from services.receiver.settings import ReceiverSettings

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class StoreRequest:
    """One C-STORE request as it came."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data_set: bytes | Sequence[memoryview]
    """As encoded by the peer: whole, or in pieces."""
    calling_ae: str = ""
    called_ae: str = ""


@dataclass(frozen=True, slots=True)
class StoreAnswer:
    """DIMSE status and, unless it is success, an Error Comment of at most 64 characters."""

    status: int
    comment: str = ""


class StoreHandler:
    """Stores instances. Safe for many threads: one call per association at a time, any number of associations."""

    def __init__(
        self,
        objects: ObjectStore,
        index: Index,
        clock: Clock,
        settings: ReceiverSettings,
        on_stored: Callable[[Instance], None] = lambda _instance: None,
    ) -> None:
        self._objects = objects
        self._index = index
        self._clock = clock
        self._settings = settings
        self._on_stored = on_stored
        self._full = False
        for status in Status:
            metrics.instances_received.labels(
                f"{status:#06x}"
            )  # from zero, so that the first one is an increase

    def store(self, request: StoreRequest) -> StoreAnswer:
        """Store the instance or say why not. ``on_stored(instance)`` is called for every new one."""
        try:
            with metrics.store_seconds.time():
                answer, stored = self._store(request)
        except Refusal as refusal:
            answer, stored = StoreAnswer(refusal.status, refusal.comment), None
        except Unavailable as error:
            log.warning("store-unavailable", why=str(error))
            answer, stored = (
                StoreAnswer(Status.OUT_OF_RESOURCES, "storage does not answer now, send again later"),
                None,
            )
        if answer.status != Status.SUCCESS:
            log.warning(
                "store-refused", status=f"{answer.status:#06x}", why=answer.comment, peer=request.calling_ae
            )
        metrics.instances_received.labels(f"{answer.status:#06x}").inc()
        metrics.received_bytes.inc(_size(request.data_set))
        if stored is not None:
            self._on_stored(stored)
        return answer

    def _store(self, request: StoreRequest) -> tuple[StoreAnswer, Instance | None]:
        self._refuse_when_full()
        check_uid(request.sop_instance_uid, "SOP Instance UID of the command")
        check_uid(request.sop_class_uid, "SOP Class UID of the command")
        head = file_head(request.sop_class_uid, request.sop_instance_uid, request.transfer_syntax_uid)
        pieces = [request.data_set] if isinstance(request.data_set, bytes) else request.data_set
        file = b"".join((head, *pieces))
        data_set = memoryview(file)[len(head) :]
        pixels = _check_structure(data_set, request.transfer_syntax_uid)
        header = parse_header(file, len(head), request.sop_class_uid, request.transfer_syntax_uid)
        who = identity(header, request.sop_class_uid, request.sop_instance_uid)
        check_pixels(header, pixels)
        return self._keep(self._instance(request, data_set, header, who), who.patient_key, file)

    def _refuse_when_full(self) -> None:
        limit = self._settings.watermark_recovery if self._full else self._settings.watermark
        full = self._objects.used_fraction() >= limit
        metrics.disk_full.set(full)
        if full != self._full:
            self._full = full
            log.warning("disk-watermark", full=full)
        if full:
            raise Refusal(Status.OUT_OF_RESOURCES, "disk above its watermark, send again later")

    def _instance(
        self, request: StoreRequest, data_set: memoryview, header: Dataset, who: Identity
    ) -> Instance:
        digest = hashlib.sha256(request.transfer_syntax_uid.encode() + b"\0")
        digest.update(data_set)
        return Instance(
            sop_instance_uid=who.sop_instance_uid,
            sop_class_uid=who.sop_class_uid,
            transfer_syntax_uid=request.transfer_syntax_uid,
            study_instance_uid=who.study_instance_uid,
            series_instance_uid=who.series_instance_uid,
            modality=who.modality,
            object_key=object_key(who.study_instance_uid, who.sop_instance_uid, digest.hexdigest()),
            sha256=digest.hexdigest(),
            size_bytes=len(data_set),
            received_at=self._clock.now(),
            card=card(header),
        )

    def _keep(self, instance: Instance, patient_key: str, file: bytes) -> tuple[StoreAnswer, Instance | None]:
        """Make object and row durable, or leave neither. A known instance is put again: that heals a lost file."""
        self._objects.put(instance.object_key, file)
        registered = self._index.register(instance, patient_key)
        if registered is Registered.NEW:
            return StoreAnswer(Status.SUCCESS), instance
        if registered is Registered.DUPLICATE:
            return StoreAnswer(Status.SUCCESS), None
        # the key holds this content alone, and no row names it
        self._objects.delete(instance.object_key)
        if registered is Registered.FOREIGN_PATIENT:
            return self._foreign_patient(instance), None
        return self._other_bytes(instance, file), None

    def _foreign_patient(self, instance: Instance) -> StoreAnswer:
        self._index.report_problem(
            instance.study_instance_uid,
            "foreign-patient",
            f"{instance.modality} {instance.sop_instance_uid} names another patient than the study",
        )
        return StoreAnswer(Status.FOREIGN_PATIENT, "study belongs to another Patient ID")

    def _other_bytes(self, instance: Instance, file: bytes) -> StoreAnswer:
        """Keep the first bytes.

        Another transfer syntax with an equal header is the same instance (PS3.4 section B.4.1: a lossy change would
        need a new UID): success, so that a peer that transcodes does not retry for ever. Anything else is a failure.
        Both are reported.
        """
        known = self._index.instance(instance.sop_instance_uid)
        if known is None:
            raise Unavailable("the index reports a conflict with an instance that it does not hold")
        same = instance.transfer_syntax_uid != known.transfer_syntax_uid and self._equal_headers(known, file)
        kind = "other-encoding" if same else "other-bytes"
        self._index.report_problem(
            known.study_instance_uid,
            kind,
            f"{instance.modality} {instance.sop_instance_uid} came again as sha256 {instance.sha256[:16]}: kept out",
        )
        if same:
            return StoreAnswer(Status.SUCCESS)
        return StoreAnswer(Status.DUPLICATE_INSTANCE, "instance is here with other bytes, which are kept")

    def _equal_headers(self, known: Instance, file: bytes) -> bool:
        """Whether both say the same up to the pixel data. Masks are pixel data, and nobody decodes them here."""
        if known.sop_class_uid in (SEGMENTATION, LABEL_MAP_SEGMENTATION):
            return False
        return _content(self._objects.get(known.object_key)) == _content(file)


def object_key(study_instance_uid: str, sop_instance_uid: str, sha256: str) -> str:
    """Where an instance lies: digests only, so that no peer's string becomes a path; other bytes, another key."""
    study, sop = (
        hashlib.sha256(uid.encode()).hexdigest()[:32] for uid in (study_instance_uid, sop_instance_uid)
    )
    return f"instances/{study}/{sop}-{sha256[:32]}.dcm"


def _size(data_set: bytes | Sequence[memoryview]) -> int:
    return len(data_set) if isinstance(data_set, bytes) else sum(len(piece) for piece in data_set)


def _check_structure(data_set: memoryview, transfer_syntax_uid: str) -> PixelElement | None:
    try:
        return check_structure(data_set, transfer_syntax_uid)
    except MalformedDataSet as fault:
        raise Refusal(Status.CANNOT_UNDERSTAND, str(fault)) from fault


def _content(file: bytes) -> list[DataElement]:
    """Every standard element up to the pixel data. Private ones and group lengths do not survive transcoding."""
    data_set = dcmread(io.BytesIO(file), stop_before_pixels=True)
    data_set.remove_private_tags()
    correct_ambiguous_vr(data_set, is_little_endian=True)
    return [element for element in data_set if element.tag.element != 0]
