"""The machine's clock."""

from __future__ import annotations

from datetime import UTC, datetime


class SystemClock:
    """A :class:`~prognode.ports.Clock` that reads the machine's clock."""

    def now(self) -> datetime:
        """Now, in UTC, with its time zone."""
        return datetime.now(tz=UTC)
