"""Storage commitment as its user (PS3.4 annex J): which transactions are open, and what the PACS answered.

A PACS answers N-ACTION at once and sends the verdict later as N-EVENT-REPORT: on the same association, or on one that
it opens to our own SCP, minutes later perhaps, and perhaps to another process than the one that asked. Every way ends in
the index, so whoever asks finds the verdict there, at once or at the next try.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from pydicom.dataset import Dataset

from prognode.errors import Unavailable
from prognode.ports import Index

PUSH_MODEL_INSTANCE = "1.2.840.10008.1.20.1.1"
"""Well-known SOP Instance UID of the push model (PS3.4 J.3.5)."""

SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110
MISSING_ATTRIBUTE = 0x0120

LOOK_S = 0.2
"""How often a verdict that another process may have heard is looked for."""


class Commitments:
    """Requests for storage commitment and their verdicts, over the index that all processes share."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._heard = threading.Condition()

    def open(self, transaction_uid: str, destination: str, sop_instance_uid: str) -> None:
        """Expect a verdict; call it before N-ACTION goes out, because the verdict may overtake its answer."""
        self._index.open_commitment(transaction_uid, destination, sop_instance_uid)

    def take(self, destination: str, sop_instance_uid: str, timeout_s: float = 0.0) -> bool | None:
        """Take out the verdict: True committed, False refused, None if there is none in time. Raises Unavailable."""
        deadline = time.monotonic() + timeout_s
        with self._heard:
            while True:
                verdict = self._index.take_commitment(destination, sop_instance_uid)
                left = deadline - time.monotonic()
                if verdict is not None or left <= 0:
                    return verdict
                self._heard.wait(min(LOOK_S, left))

    def handle_n_event_report(self, event: Any) -> tuple[int, Dataset | None]:
        """Answer an N-EVENT-REPORT of the push model; a handler for ``pynetdicom.evt.EVT_N_EVENT_REPORT``.

        What is not committed is refused. A report about a transaction that is not open is acknowledged and changes
        nothing; one that cannot be kept is answered 0x0110.
        """
        information = event.event_information
        transaction_uid = str(information.get("TransactionUID", ""))
        if not transaction_uid:
            return MISSING_ATTRIBUTE, None
        try:
            self._index.record_commitment(transaction_uid, committed_instances(information))
        except Unavailable:
            return PROCESSING_FAILURE, None
        with self._heard:
            self._heard.notify_all()
        return SUCCESS, None


def committed_instances(information: Dataset) -> frozenset[str]:
    """SOP Instance UIDs that an Event Information data set commits to (PS3.4 table J.3-3)."""
    return frozenset(
        str(item.ReferencedSOPInstanceUID) for item in information.get("ReferencedSOPSequence") or ()
    )


def request_of(transaction_uid: str, sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    """Action Information of a request for one instance (PS3.4 table J.3-2)."""
    reference = Dataset()
    reference.ReferencedSOPClassUID = sop_class_uid
    reference.ReferencedSOPInstanceUID = sop_instance_uid
    request = Dataset()
    request.TransactionUID = transaction_uid
    request.ReferencedSOPSequence = [reference]
    return request
