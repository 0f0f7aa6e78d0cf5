"""Storage commitment as its user (PS3.4 annex J): which transactions are open, and what the PACS answered.

A PACS answers N-ACTION at once and sends the verdict later as N-EVENT-REPORT: on the same association, or on one that
it opens to our own SCP, minutes later perhaps. Every way ends in :class:`CommitmentResults`, so whoever asks finds the
verdict there, at once or at the next try.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

from pydicom.dataset import Dataset

PUSH_MODEL_INSTANCE = "1.2.840.10008.1.20.1.1"
"""Well-known SOP Instance UID of the push model (PS3.4 J.3.5)."""

SUCCESS = 0x0000
MISSING_ATTRIBUTE = 0x0120

OPEN_LIMIT = 10_000
"""Transactions remembered; the oldest is forgotten, and its instance is asked about anew."""

Subject = tuple[str, str]
"""(name of the peer, SOP Instance UID)"""


class CommitmentResults:
    """Open transactions and their verdicts, shared by the SCP that hears verdicts and the SCU that asks for them."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, Subject] = OrderedDict()
        self._verdicts: dict[Subject, bool] = {}
        self._changed = threading.Condition()

    def open(self, transaction_uid: str, subject: Subject) -> None:
        """Expect a verdict; call it before N-ACTION goes out, because the verdict may overtake its answer."""
        with self._changed:
            self._open[transaction_uid] = subject
            if len(self._open) > OPEN_LIMIT:
                self._open.popitem(last=False)

    def take(self, subject: Subject, timeout_s: float = 0.0) -> bool | None:
        """Take out the verdict about ``subject``: True committed, False refused, None if there is none in time."""
        with self._changed:
            self._changed.wait_for(lambda: subject in self._verdicts, timeout_s)
            return self._verdicts.pop(subject, None)

    def handle_n_event_report(self, event: Any) -> tuple[int, Dataset | None]:
        """Answer an N-EVENT-REPORT of the push model; a handler for ``pynetdicom.evt.EVT_N_EVENT_REPORT``.

        A report about a transaction that is not open (asked before a restart) is acknowledged and changes nothing.
        """
        information = event.event_information
        transaction_uid = str(information.get("TransactionUID", ""))
        if not transaction_uid:
            return MISSING_ATTRIBUTE, None
        self.record(transaction_uid, committed_instances(information))
        return SUCCESS, None

    def record(self, transaction_uid: str, committed: frozenset[str]) -> None:
        """Note the verdict: what is not committed is refused."""
        with self._changed:
            subject = self._open.pop(transaction_uid, None)
            if subject is None:
                return
            self._verdicts[subject] = subject[1] in committed
            self._changed.notify_all()


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
