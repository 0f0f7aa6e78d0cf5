"""The part of the index that requests for storage commitment need, in memory."""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

from prognode.adapters.storage_commitment import Commitments
from prognode.ports import Index


class VerdictLedger:
    """Transactions by their UID: (destination, instance, verdict)."""

    def __init__(self) -> None:
        self.asked: dict[str, tuple[str, str, bool | None]] = {}

    def open_commitment(self, transaction_uid: str, destination: str, sop_instance_uid: str) -> None:
        self.asked[transaction_uid] = destination, sop_instance_uid, None

    def record_commitment(self, transaction_uid: str, committed: Collection[str]) -> None:
        destination, uid, verdict = self.asked.get(transaction_uid, ("", "", True))
        if verdict is None:
            self.asked[transaction_uid] = destination, uid, uid in committed

    def take_commitment(self, destination: str, sop_instance_uid: str) -> bool | None:
        subject = destination, sop_instance_uid
        verdicts = [verdict for *about, verdict in self.asked.values() if tuple(about) == subject]
        given = [verdict for verdict in verdicts if verdict is not None]
        if not given:
            return None
        self.asked = {uid: row for uid, row in self.asked.items() if row[:2] != subject}
        return given[-1]


def commitments() -> Commitments:
    """Verdicts of one test."""
    return Commitments(cast("Index", VerdictLedger()))
