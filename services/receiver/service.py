"""The receiver on the network: a DICOM SCP for verification and storage (PS3.4 annexes A and B), by pynetdicom.

It knows associations and status codes; what becomes of an object is the handler's. Every association has its own
thread, so stores of several associations run beside each other. Data sets are handed over as they were received.
"""

from __future__ import annotations

import socket
import struct
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from pydicom import Dataset
from pydicom.uid import UID, AllTransferSyntaxes
from pynetdicom import AE, AllStoragePresentationContexts, _config, evt
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.presentation import PresentationContext

from prognode import metrics
from prognode.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from prognode.runtime import tracing
from services.receiver import fast_receive
from services.receiver.handler import StoreAnswer, StoreHandler, StoreRequest
from services.receiver.header import Status
from services.receiver.settings import ReceiverSettings

log = structlog.get_logger()

VERIFICATION = "1.2.840.10008.1.1"
STORAGE_COMMITMENT_PUSH = "1.2.840.10008.1.20.1"
DEFLATED_IMAGE_FRAME = "1.2.840.10008.1.2.8.1"
UNCOMPRESSED = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2")
TRANSFER_SYNTAXES = tuple(
    dict.fromkeys((*UNCOMPRESSED, *map(str, AllTransferSyntaxes), DEFLATED_IMAGE_FRAME))
)

_WRONG_CONTEXT = StoreAnswer(Status.SOP_CLASS_NOT_SUPPORTED, "not the SOP class of the presentation context")

ExtraHandler = tuple[Any, Callable[[Event], Any]]


class Receiver:
    """C-ECHO and C-STORE on one port. ``extra_handlers`` are pynetdicom's, such as N-EVENT-REPORT for commitments."""

    def __init__(
        self, settings: ReceiverSettings, handler: StoreHandler, extra_handlers: Sequence[ExtraHandler] = ()
    ) -> None:
        self._settings = settings
        self._handler = handler
        self._extra_handlers = list(extra_handlers)
        self._ae = _application_entity(settings)
        self._server: Any = None
        self._stores_in_hand = _Count()
        self._spans: dict[Association, tracing.OpenSpan] = {}
        self._fast = settings.fast_receive and fast_receive.is_supported()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Listen; returns at once. Raises OSError when the address is taken."""
        # its log handlers format every message, and quote data sets
        _config.LOG_HANDLER_LEVEL = "none"
        handlers = [
            (evt.EVT_CONN_OPEN, self._on_connection),
            (evt.EVT_CONN_CLOSE, self._on_end),
            (evt.EVT_C_ECHO, lambda _event: 0x0000),
            (evt.EVT_C_STORE, self._on_store),
            *self._extra_handlers,
        ]
        self._server = self._ae.start_server(
            (self._settings.host, self._settings.port),
            block=False,
            evt_handlers=handlers,
            contexts=_supported_contexts(self._settings),
        )
        log.info(
            "receiver-listening",
            ae_title=self._settings.ae_title,
            port=self.port,
            fast_receive=self._fast,
        )

    def stop(self, grace_s: float = 5.0) -> None:
        """Take no new association, let the handler finish the stores in hand, for at most ``grace_s``, then end every association.

        A store whose answer is cut off is durable all the same; the peer sends it again and hears that it is here.
        """
        if self._server is None:
            return
        # whoever comes now is told to try again later
        self._ae.maximum_associations = 0
        self._stores_in_hand.wait_until_none(grace_s)
        self._ae.shutdown()
        self._server = None

    def _on_connection(self, event: Event) -> None:
        _prepare(event.assoc.dul.socket.socket, self._settings.network_timeout_s)
        metrics.associations.inc()
        metrics.associations_open.inc()
        self._spans[event.assoc] = tracing.OpenSpan("association")
        if self._fast:
            fast_receive.install(event.assoc, self._take)

    def _on_end(self, event: Event) -> None:
        span = self._spans.pop(event.assoc, None)
        if span is not None:
            metrics.associations_open.dec()
            span.end()

    def _take(self, association: Association, store: fast_receive.Store) -> tuple[int, str]:
        answer = self._store(association, store)
        return int(answer.status), answer.comment

    def _on_store(self, event: Event) -> Dataset:
        command = event.request
        store = fast_receive.Store(
            sop_class_uid=str(command.AffectedSOPClassUID),
            sop_instance_uid=str(command.AffectedSOPInstanceUID),
            negotiated_class_uid=str(event.context.abstract_syntax),
            transfer_syntax_uid=str(event.context.transfer_syntax),
            data_set=command.DataSet.getvalue(),
        )
        return _response(self._store(event.assoc, store))

    def _store(self, association: Association, store: fast_receive.Store) -> StoreAnswer:
        span = self._spans.get(association)
        with self._stores_in_hand, tracing.span("store", span.traceparent if span else ""):
            try:
                if store.sop_class_uid != store.negotiated_class_uid:
                    return _WRONG_CONTEXT
                return self._handler.store(_request(association, store))
            except Exception as error:  # noqa: BLE001 - the peer gets an answer even from a bug, and other peers go on
                return _failure(error)


class _Count:
    """Counts what is inside ``with``; someone may wait until nothing is."""

    def __init__(self) -> None:
        self._inside = 0
        self._changed = threading.Condition()

    def __enter__(self) -> None:
        with self._changed:
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()

    def wait_until_none(self, timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._inside == 0, timeout_s)


def _application_entity(settings: ReceiverSettings) -> AE:
    ae = AE(ae_title=settings.ae_title)
    ae.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
    ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    ae.maximum_pdu_size = settings.maximum_pdu_bytes
    ae.maximum_associations = settings.maximum_associations
    ae.network_timeout = settings.network_timeout_s
    ae.require_called_aet = settings.require_called_ae_title
    ae.require_calling_aet = list(settings.calling_ae_titles)
    return ae


class _SharedContext(PresentationContext):
    """A supported context that all associations share.

    pynetdicom copies every context for every association, which takes 50 ms with all storage classes and syntaxes, and
    only reads the copies.
    """

    def __deepcopy__(self, _memo: dict[int, Any]) -> _SharedContext:
        return self


def _context(sop_class: str, transfer_syntaxes: Sequence[str]) -> _SharedContext:
    context = _SharedContext()
    context.abstract_syntax = UID(sop_class)
    context.transfer_syntax = [UID(syntax) for syntax in transfer_syntaxes]
    return context


def _supported_contexts(settings: ReceiverSettings) -> list[_SharedContext]:
    commitment = _context(STORAGE_COMMITMENT_PUSH, UNCOMPRESSED)
    # a PACS reports on commitment in an association of its own, in which it is the SCP (PS3.4 section J.3.3)
    commitment.scu_role = commitment.scp_role = True
    storage = [_context(sop_class, TRANSFER_SYNTAXES) for sop_class in storage_classes(settings)]
    return [_context(VERIFICATION, UNCOMPRESSED), *storage, commitment]


def storage_classes(settings: ReceiverSettings) -> tuple[str, ...]:
    """SOP classes that are accepted: those of the settings, or every standard storage class."""
    return settings.sop_classes or tuple(str(each.abstract_syntax) for each in AllStoragePresentationContexts)


def _prepare(connection: socket.socket, timeout_s: float) -> None:
    """Send each answer at once, and let no peer hold an association by stopping in the middle of a PDU.

    With Nagle's algorithm on, DCMTK and Orthanc wait 40 ms for each answer. pynetdicom's own timeout does not end a read
    that has begun.
    """
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    seconds, rest = divmod(timeout_s, 1)
    limit = struct.pack("@ll", int(seconds), int(rest * 1e6))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)


def _request(association: Association, store: fast_receive.Store) -> StoreRequest:
    return StoreRequest(
        sop_class_uid=store.sop_class_uid,
        sop_instance_uid=store.sop_instance_uid,
        transfer_syntax_uid=store.transfer_syntax_uid,
        data_set=store.data_set,
        calling_ae=association.requestor.ae_title.strip(),
        called_ae=association.acceptor.ae_title.strip(),
    )


def _failure(error: Exception) -> StoreAnswer:
    # frames, not the text: an exception's text may quote a data set
    frames = [
        f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)
    ]
    log.error("store-failed", why=type(error).__name__, frames=frames)
    return StoreAnswer(Status.PROCESSING_FAILURE, f"processing failure: {type(error).__name__}"[:64])


def _response(answer: StoreAnswer) -> Dataset:
    response = Dataset()
    response.Status = int(answer.status)
    if answer.comment:
        response.ErrorComment = answer.comment
    return response
