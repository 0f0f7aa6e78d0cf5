"""A small PACS made of pynetdicom, whose faults a test chooses; the real ones are in ``components``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification

from prognode.adapters.dicom_pacs import send_at_once

Fault = int | str
"""A DIMSE status to answer, ``"abort"``, or ``"silence"`` (no answer)."""

SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)


@dataclass
class Received:
    """One instance as it came over the wire."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    dataset: bytes


@dataclass
class PeerScp:
    """A running SCP and what it has taken."""

    port: int
    ae_title: str
    received: list[Received] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)

    def uids(self) -> list[str]:
        """SOP Instance UIDs in the order of arrival."""
        return [item.sop_instance_uid for item in self.received]

    def on_store(self, event: Any) -> int:
        """Answer as the next fault says, or take the instance."""
        fault = self.faults.pop(0) if self.faults else 0x0000
        if fault == "abort":
            event.assoc.abort()
            return 0x0110
        if fault == "silence":
            self.hold.wait(30)
            return 0x0110
        if fault == 0x0000:
            self.received.append(_received(event))
        return int(fault)


def _received(event: Any) -> Received:
    request = event.request
    return Received(
        str(request.AffectedSOPClassUID),
        str(request.AffectedSOPInstanceUID),
        str(event.context.transfer_syntax),
        request.DataSet.getvalue(),
    )


@contextmanager
def peer_scp(
    sop_classes: Sequence[str],
    *,
    ae_title: str = "PEER",
    port: int = 0,
    faults: Sequence[Fault] = (),
    syntaxes: Sequence[str] = SYNTAXES,
    reject_other_titles: bool = False,
    handlers: Sequence[tuple[Any, Callable[..., Any]]] = (),
    configure: Callable[[AE], None] | None = None,
) -> Iterator[PeerScp]:
    """Run an SCP for ``sop_classes`` on 127.0.0.1 until the block ends."""
    ae = AE(ae_title)
    ae.require_called_aet = reject_other_titles
    ae.add_supported_context(Verification)
    for sop_class in sop_classes:
        ae.add_supported_context(sop_class, list(syntaxes))
    if configure is not None:
        configure(ae)
    peer = PeerScp(port, ae_title, faults=list(faults))
    server = ae.start_server(
        ("127.0.0.1", port),
        block=False,
        evt_handlers=[(evt.EVT_CONN_OPEN, send_at_once), (evt.EVT_C_STORE, peer.on_store), *handlers],
    )
    peer.port = server.server_address[1]
    try:
        yield peer
    finally:
        peer.hold.set()
        server.shutdown()


def verdict_on_same_association(*, committed: bool) -> Callable[[Any], tuple[int, Dataset | None]]:
    """A handler of N-ACTION that reports its verdict on the association of the request (PS3.4 J.3.3)."""

    def on_action(event: Any) -> tuple[int, Dataset | None]:
        asked = event.action_information
        report = Dataset()
        report.TransactionUID = asked.TransactionUID
        items = list(asked.ReferencedSOPSequence)
        if committed:
            report.ReferencedSOPSequence = items
        else:
            for item in items:
                item.FailureReason = 0x0112
            report.FailedSOPSequence = items
        # the report may only follow once the answer to N-ACTION is out
        threading.Timer(0.2, _report, (event.assoc, report, 1 if committed else 2)).start()
        return 0x0000, None

    return on_action


def _report(association: Any, report: Dataset, event_type: int) -> None:
    association.send_n_event_report(report, event_type, StorageCommitmentPushModel, "1.2.840.10008.1.20.1.1")
