"""A PACS as this node sees it: echo, store, storage commitment, find, get and move, by pynetdicom as the SCU.

One association per operation: it costs a few milliseconds on a local network, and none is left half-open when the
PACS restarts. Plain TCP only: put a TLS tunnel in front where the network is not trusted.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
    generate_uid,
)
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import (
    CTImageStorage,
    EnhancedCTImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from prognode.adapters.pacs_settings import PacsSettings as PacsSettings
from prognode.adapters.storage_commitment import PUSH_MODEL_INSTANCE, Commitments, request_of
from prognode.errors import Unavailable
from prognode.ports import JSON, SendResult

SUCCESS = 0x0000
SOP_CLASS_NOT_SUPPORTED = 0x0122
PENDING = (0xFF00, 0xFF01)
SOME_FAILED = (0xB000,)

REQUEST_COMMITMENT = 1
"""Action Type ID of the push model (PS3.4 table J.3-1)."""

MAXIMUM_PDU_BYTES = 131_072

UIDS_PER_REQUEST = 100
"""A list of UIDs must fit one explicit VR element (65 534 bytes); peers with short line buffers want far less."""

IMAGE_CLASSES = (CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)
NATIVE_SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
PACKED_SYNTAXES = (
    DeflatedExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    JPEG2000Lossless,
    JPEG2000,
    RLELossless,
)

Store = Callable[[str, str, str, bytes], int]
"""(SOP class, SOP instance, transfer syntax, data set as received) -> DIMSE status of the receiver."""

Handlers = list[tuple[Any, Callable[..., Any]]]


class Refused(Unavailable):
    """The peer answered, with a status that is no success."""


class DicomPacs:
    """:class:`prognode.ports.Pacs` over DIMSE.

    ``store`` takes what C-GET brings, on the same path as what arrives by C-STORE.
    ``commitments`` are what our SCP hears as well, when the PACS reports on an association of its own.
    """

    def __init__(
        self,
        settings: PacsSettings,
        store: Store | None = None,
        commitments: Commitments | None = None,
    ) -> None:
        if settings.fetch == "c-get" and store is None:
            raise ValueError(f"{settings.name}: fetch by c-get needs someone who stores what it brings")
        if settings.storage_commitment and commitments is None:
            raise ValueError(f"{settings.name}: storage commitment needs a place for its verdicts")
        self.name = settings.name
        self._settings = settings
        self._store = store
        self._commitments = commitments

    # ------------------------------------------------------------ port

    def echo(self) -> None:
        """C-ECHO; :class:`Unavailable` says why it did not work."""
        with self._association([build_context(Verification, list(NATIVE_SYNTAXES))]) as association:
            self._require(association.send_c_echo(), "C-ECHO")

    def send(self, variants: Sequence[bytes]) -> SendResult:
        """C-STORE the first variant whose SOP class the peer accepts; see :class:`prognode.ports.Pacs`."""
        files = [dcmread(BytesIO(variant)) for variant in variants]
        with self._negotiation(_store_contexts(files)) as association:
            accepted = {context.abstract_syntax for context in association.accepted_contexts}
            file = next((file for file in files if file.SOPClassUID in accepted), None)
            if file is None:
                return _nothing_accepted(files)
            stand_still(association)
            status = self._status(association.send_c_store(file), "C-STORE")
        return SendResult(status, _said(status), str(file.SOPClassUID), str(file.SOPInstanceUID))

    def commit(self, sop_class_uid: str, sop_instance_uid: str) -> bool | None:
        """Ask for storage commitment of one instance and wait for the verdict; see :class:`prognode.ports.Pacs`.

        A verdict that came after an earlier wait is taken without asking again.
        """
        if not self._settings.storage_commitment or self._commitments is None:
            return None
        earlier = self._commitments.take(self.name, sop_instance_uid)
        if earlier is not None:
            return earlier
        return self._ask_commitment(self._commitments, sop_class_uid, sop_instance_uid)

    def fetch(self, study_uid: str, series_uid: str, sop_instance_uids: Sequence[str]) -> int:
        """C-GET or C-MOVE exactly these instances; see :class:`prognode.ports.Pacs`."""
        ask = {"c-get": self._get, "c-move": self._move}.get(self._settings.fetch or "")
        if ask is None:
            return 0
        starts = range(0, len(sop_instance_uids), UIDS_PER_REQUEST)
        chunks = [sop_instance_uids[start : start + UIDS_PER_REQUEST] for start in starts]
        return sum(self._fetch(ask, study_uid, series_uid, chunk) for chunk in chunks)

    def find_images(self, study_uid: str, series_uid: str) -> list[JSON]:
        """IMAGE-level C-FIND; see :class:`prognode.ports.Pacs`."""
        query = _image_query(study_uid, series_uid, [])
        query.InstanceNumber = None
        query.ImagePositionPatient = None
        model = StudyRootQueryRetrieveInformationModelFind
        with self._association([build_context(model, list(NATIVE_SYNTAXES))]) as association:
            answers = list(association.send_c_find(query, model))
        for status, _ in answers:
            self._require(status, "C-FIND", also=PENDING)
        return [_described(match) for _, match in answers if match is not None]

    # ------------------------------------------------------------ operations

    def _fetch(
        self, ask: Callable[[Dataset], int], study_uid: str, series_uid: str, wanted: Sequence[str]
    ) -> int:
        """Ask for all; where one unknown UID spoils the whole request (Orthanc: 0xC000), ask again for those it holds."""
        try:
            return ask(_image_query(study_uid, series_uid, wanted))
        except Refused:
            known = {image["sop_instance_uid"] for image in self.find_images(study_uid, series_uid)}
            held = [uid for uid in wanted if uid in known]
            if len(held) == len(wanted):
                raise
        return ask(_image_query(study_uid, series_uid, held)) if held else 0

    def _ask_commitment(
        self, commitments: Commitments, sop_class_uid: str, sop_instance_uid: str
    ) -> bool | None:
        transaction_uid = str(generate_uid())
        commitments.open(transaction_uid, self.name, sop_instance_uid)
        request = request_of(transaction_uid, sop_class_uid, sop_instance_uid)
        model = StorageCommitmentPushModel
        handlers: Handlers = [(evt.EVT_N_EVENT_REPORT, commitments.handle_n_event_report)]
        with self._negotiation([build_context(model, list(NATIVE_SYNTAXES))], handlers) as association:
            if not association.accepted_contexts:
                return None
            status, _ = association.send_n_action(request, REQUEST_COMMITMENT, model, PUSH_MODEL_INSTANCE)
            self._require(status, "N-ACTION (storage commitment)")
            return commitments.take(self.name, sop_instance_uid, self._settings.commitment_timeout_s)

    def _get(self, query: Dataset) -> int:
        model = StudyRootQueryRetrieveInformationModelGet
        contexts = [build_context(model, list(NATIVE_SYNTAXES)), *_image_contexts()]
        roles = [build_role(image_class, scp_role=True) for image_class in IMAGE_CLASSES]
        with self._association(contexts, [(evt.EVT_C_STORE, self._take)], roles) as association:
            return self._completed(list(association.send_c_get(query, model)), "C-GET")

    def _move(self, query: Dataset) -> int:
        model = StudyRootQueryRetrieveInformationModelMove
        destination = self._settings.move_destination or self._settings.calling_ae_title
        with self._association([build_context(model, list(NATIVE_SYNTAXES))]) as association:
            return self._completed(list(association.send_c_move(query, destination, model)), "C-MOVE")

    def _take(self, event: Any) -> int:
        """Hand one instance of a C-GET to the receiver, byte for byte."""
        assert self._store is not None
        request = event.request
        return self._store(
            str(request.AffectedSOPClassUID),
            str(request.AffectedSOPInstanceUID),
            str(event.context.transfer_syntax),
            request.DataSet.getvalue(),
        )

    def _completed(self, answers: list[tuple[Dataset, Dataset | None]], what: str) -> int:
        """Completed sub-operations of the final answer; a warning (some failed) counts those that did not fail."""
        final = answers[-1][0] if answers else Dataset()
        self._require(final, what, also=SOME_FAILED)
        return int(final.get("NumberOfCompletedSuboperations") or 0)

    # ------------------------------------------------------------ association

    @contextmanager
    def _association(
        self, contexts: list[PresentationContext], handlers: Handlers | None = None, roles: Sequence[Any] = ()
    ) -> Iterator[Association]:
        """An association on which the peer accepted the first context."""
        with self._negotiation(contexts, handlers, roles) as association:
            accepted = {context.abstract_syntax for context in association.accepted_contexts}
            if contexts[0].abstract_syntax not in accepted:
                raise Unavailable(f"{self._peer} does not offer {contexts[0].abstract_syntax.name}")
            yield association

    @contextmanager
    def _negotiation(
        self, contexts: list[PresentationContext], handlers: Handlers | None = None, roles: Sequence[Any] = ()
    ) -> Iterator[Association]:
        """An association, or the closed remains of one if the peer took part but accepted no context."""
        association = self._associate(contexts, handlers or [], roles)
        try:
            yield association
        except RuntimeError as error:
            # pynetdicom's answer to sending on an association that the peer ended meanwhile
            if association.is_established:
                raise
            raise Unavailable(f"{self._peer} ended the association") from error
        finally:
            if association.is_established:
                association.release()

    def _associate(
        self, contexts: list[PresentationContext], handlers: Handlers, roles: Sequence[Any]
    ) -> Association:
        settings = self._settings
        ae = AE(settings.calling_ae_title)
        ae.connection_timeout = settings.connect_timeout_s
        ae.acse_timeout = ae.dimse_timeout = settings.response_timeout_s
        # an idle association must outlive the wait for a commitment verdict
        ae.network_timeout = settings.response_timeout_s + settings.commitment_timeout_s
        ae.maximum_pdu_size = MAXIMUM_PDU_BYTES
        try:
            association = ae.associate(
                settings.host,
                settings.port,
                contexts=contexts,
                ae_title=settings.ae_title,
                ext_neg=list(roles),
                evt_handlers=[(evt.EVT_CONN_OPEN, send_at_once), *handlers],
            )
        except OSError as error:
            raise Unavailable(f"{self._peer}: the host name is not known") from error
        if not association.is_established and not association.rejected_contexts:
            raise Unavailable(f"{self._peer} {_why_not(association)}")
        return association

    @property
    def _peer(self) -> str:
        address = f"{self._settings.ae_title}@{self._settings.host}:{self._settings.port}"
        return address if self.name == address else f"{self.name} ({address})"

    def _status(self, answer: Dataset, what: str) -> int:
        """Status of an answer; pynetdicom hands back an empty one when the peer aborted or took too long."""
        if "Status" not in answer:
            raise Unavailable(f"{self._peer}: no answer to {what}: the peer aborted or took too long")
        return int(answer.Status)

    def _require(self, answer: Dataset, what: str, also: Sequence[int] = ()) -> None:
        status = self._status(answer, what)
        if status != SUCCESS and status not in also:
            raise Refused(f"{self._peer}: {what} was answered with 0x{status:04X}")


def send_at_once(event: Any) -> None:
    """Set TCP_NODELAY; a handler for ``pynetdicom.evt.EVT_CONN_OPEN`` on either side of an association.

    A DIMSE message is at least two writes (command, data set): with Nagle's algorithm the second waits until the peer
    has acknowledged the first, which it may put off by 40 ms.
    """
    event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def stand_still(association: Association) -> None:
    """Stop the association's own loop just before a request, which lets it go again.

    The loop takes every message for a request of the peer's, also the answer that is waited for here. pynetdicom stops it
    itself, but goes by a flag that is raised a moment before the loop stands.
    """
    checkpoint = association._reactor_checkpoint  # noqa: SLF001 - there is no other way
    checkpoint.clear()
    while association.is_alive() and not checkpoint._cond._waiters:  # noqa: SLF001
        time.sleep(0.0001)


def _why_not(association: Association) -> str:
    if association.is_rejected:
        return f"rejected the association: {association.acceptor.primitive.reason_str}"
    return "does not answer: connection refused, aborted or timed out"


def _store_contexts(files: Sequence[Dataset]) -> list[PresentationContext]:
    """Contexts for all files: each class with the file's own transfer syntax alone, then with the one everybody takes.

    Proposed together in one context, the peer could choose the second and have a good encoding redone; Implicit VR
    Little Endian is the default that every peer must take (PS3.5 section 10.1).
    """
    wanted = [(file.SOPClassUID, file.file_meta.TransferSyntaxUID) for file in files]
    fallback = [
        (sop_class, ImplicitVRLittleEndian) for sop_class, syntax in wanted if not syntax.is_compressed
    ]
    return [build_context(sop_class, syntax) for sop_class, syntax in dict.fromkeys([*wanted, *fallback])]


def _image_contexts() -> list[PresentationContext]:
    """Contexts for images in C-GET: native syntaxes together, each compressed one alone, so that none has to be decoded."""
    choices = [list(NATIVE_SYNTAXES), *([syntax] for syntax in PACKED_SYNTAXES)]
    return [build_context(image_class, choice) for image_class in IMAGE_CLASSES for choice in choices]


def _nothing_accepted(files: Sequence[Dataset]) -> SendResult:
    first = files[0]
    names = ", ".join(file.SOPClassUID.name for file in files)
    detail = f"the peer accepts none of: {names}"
    return SendResult(SOP_CLASS_NOT_SUPPORTED, detail, str(first.SOPClassUID), str(first.SOPInstanceUID))


def _said(status: int) -> str:
    return f"C-STORE was answered with 0x{status:04X}"


def _image_query(study_uid: str, series_uid: str, sop_instance_uids: Sequence[str]) -> Dataset:
    """Identifier at IMAGE level (PS3.4 C.6.2): list of UID matching, or universal matching for no UIDs."""
    query = Dataset()
    query.QueryRetrieveLevel = "IMAGE"
    query.StudyInstanceUID = study_uid
    query.SeriesInstanceUID = series_uid
    query.SOPInstanceUID = list(sop_instance_uids)
    return query


def _described(match: Dataset) -> JSON:
    number = match.get("InstanceNumber")
    position = match.get("ImagePositionPatient")
    return {
        "sop_instance_uid": str(match.get("SOPInstanceUID") or "") or None,
        "instance_number": None if number in {None, ""} else int(number),
        "position_lps_mm": [float(value) for value in position] if position else None,
    }
