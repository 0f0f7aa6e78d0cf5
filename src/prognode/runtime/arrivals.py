"""How long ago the images of a case came in, for the metrics."""

from __future__ import annotations

from datetime import UTC, datetime

from prognode.ports import Case, Index


def since_last(index: Index, case: Case) -> float:
    """Seconds since the last instance of the case's study was accepted; 0 where a clock says otherwise."""
    arrived = [instance.received_at for instance in index.instances(case.study_instance_uid)]
    return max(0.0, (datetime.now(tz=UTC) - max(arrived)).total_seconds()) if arrived else 0.0
