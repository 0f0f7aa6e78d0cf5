"""Where a consumer group stands in one partition: what it has in hand, and what it has finished out of order.

Kafka remembers one offset a partition: everything before it is finished. Messages here are finished out of order (one
waits for a PACS, the next does not), so the commit is the lowest unfinished offset, and its metadata name the offsets
beyond it that are finished, and how often each unfinished one was taken by somebody who then fell silent. Whoever gets
the partition next goes on from exactly there.

Pure: no broker, no clock of its own.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from prognode.ports import Event

REMEMBERED = 200
"""So many ids before an offset are known, so that what was published twice is taken once."""

_METADATA = re.compile(r"1;([0-9,-]*);([0-9,:]*)")


@dataclass
class Open:
    """One message that is not finished."""

    offset: int
    event: Event
    fault: str
    timestamp_ms: int
    visible_at: float = 0.0
    """When it may be taken, or when its lease ends."""
    leased: bool = False
    deliveries: int = 0
    abandoned: int = 0


@dataclass
class Standing:
    """One partition. ``committed`` is the offset that a restart begins at."""

    committed: int
    end: int = field(init=False)
    """The offset after the last one received."""
    _open: dict[int, Open] = field(default_factory=dict)
    _finished: set[int] = field(default_factory=set)
    _abandoned: dict[int, int] = field(default_factory=dict)
    _seen: OrderedDict[str, None] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        self.end = self.committed

    @classmethod
    def restore(cls, offset: int, metadata: str) -> Standing:
        """The standing that a former owner of the partition committed."""
        standing = cls(offset)
        match = _METADATA.fullmatch(metadata)
        if match:
            standing._finished = {offset + each for each in _numbers(match[1])}
            pairs = (pair.split(":") for pair in match[2].split(",") if pair)
            standing._abandoned = {offset + int(where): int(times) for where, times in pairs}
        return standing

    # ------------------------------------------------------------ receiving

    @property
    def first_wanted(self) -> int:
        """Where to begin to read: before the commit, for the ids of what is finished."""
        return max(0, self.committed - REMEMBERED)

    @property
    def in_hand(self) -> int:
        """How many messages are received and not finished."""
        return len(self._open)

    @property
    def finished_beyond(self) -> int:
        """How many are finished beyond the commit."""
        return len(self._finished)

    def add(self, offset: int, event: Event, fault: str, timestamp_ms: int) -> bool:
        """Take note of a message that the broker gave, unless it is finished, or came before under the same id.

        True if it is finished by that alone, so that only the commit has to say so.
        """
        known = event.id in self._seen
        self._remember(event.id)
        if offset < self.committed or offset in self._open:
            return False
        self.end = max(self.end, offset + 1)
        if known:
            self._finished.add(offset)
        if offset in self._finished:
            return True
        abandoned = self._abandoned.pop(offset, 0)
        self._open[offset] = Open(
            offset, event, fault, timestamp_ms, deliveries=abandoned, abandoned=abandoned
        )
        return False

    def _remember(self, event_id: str) -> None:
        self._seen[event_id] = None
        self._seen.move_to_end(event_id)
        while len(self._seen) > 2 * REMEMBERED:
            self._seen.popitem(last=False)

    # ------------------------------------------------------------ taking and finishing

    def oldest(self, now: float) -> Open | None:
        """The oldest message that may be taken at ``now``."""
        return next((one for one in self._open.values() if one.visible_at <= now), None)

    def take(self, one: Open, until: float) -> None:
        """Lease it; a lease that had ended counts as abandoned."""
        one.abandoned += one.leased
        one.leased = True
        one.deliveries += 1
        one.visible_at = until

    def hand_back(self, offset: int, deliveries: int, visible_at: float) -> bool:
        """It comes again from ``visible_at``; False if somebody else has it by now."""
        one = self._held(offset, deliveries)
        if one is None:
            return False
        one.leased = False
        one.visible_at = visible_at
        return True

    def holds(self, offset: int, deliveries: int) -> bool:
        """Whether the lease of this delivery still holds."""
        return self._held(offset, deliveries) is not None

    def _held(self, offset: int, deliveries: int) -> Open | None:
        one = self._open.get(offset)
        return one if one is not None and one.leased and one.deliveries == deliveries else None

    def finish(self, offset: int) -> None:
        """It is done or set aside; :meth:`commit` says so to the broker."""
        if self._open.pop(offset, None) is not None:
            self._finished.add(offset)

    def commit(self) -> tuple[int, str]:
        """The lowest unfinished offset, and what else must be known: at most some hundred characters."""
        self.committed = max(self.committed, min(self._open, default=self.end))
        self._finished = {offset for offset in self._finished if offset >= self.committed}
        finished = ",".join(_ranges(offset - self.committed for offset in sorted(self._finished)))
        taken = {one.offset: one.abandoned + one.leased for one in self._open.values()} | self._abandoned
        counts = ",".join(f"{offset - self.committed}:{times}" for offset, times in taken.items() if times)
        return self.committed, f"1;{finished};{counts}"


def _ranges(numbers: Iterable[int]) -> Iterator[str]:
    """Ascending numbers as ``3-7`` or ``9``."""
    first = last = None
    for number in numbers:
        if last is not None and number == last + 1:
            last = number
            continue
        if first is not None:
            yield _range(first, last)
        first = last = number
    if first is not None:
        yield _range(first, last)


def _range(first: int, last: int | None) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _numbers(ranges: str) -> Iterator[int]:
    for part in ranges.split(","):
        first, _, last = part.partition("-")
        if first:
            yield from range(int(first), int(last or first) + 1)
