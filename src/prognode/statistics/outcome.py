"""What happened to each patient: right-censored follow-up, the left side of every survival formula."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Index = NDArray[np.bool_] | NDArray[np.intp]


SAME_TIME = float(np.sqrt(np.finfo(float).eps))
"""Times closer than this, absolutely or against their mean, are one time, as R's ``timefix``."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Follow-up of n patients, as R's ``Surv(time, event)``. Make it with :func:`outcome`, which checks it."""

    time: Floats
    """(n,), not negative; one unit for the whole analysis (months in the laboratory)."""
    event: Bools
    """(n,), True where the patient died at ``time``, False where nothing more is known after it."""

    def __len__(self) -> int:
        return len(self.time)

    @property
    def events(self) -> int:
        """How many died."""
        return int(self.event.sum())

    def of(self, chosen: Index) -> Outcome:
        """The outcome of some patients, by mask or by index (which may repeat, as a bootstrap's does)."""
        return Outcome(self.time[chosen], self.event[chosen])

    def reversed(self) -> Outcome:
        """Censoring as the event: for follow-up by reverse Kaplan-Meier and for censoring weights."""
        return Outcome(self.time, ~self.event)


def outcome(time: ArrayLike, event: ArrayLike) -> Outcome:
    """Checked (n,) times and events (bool, or 0 and 1); times that differ only by rounding become one.

    Raises ValueError for shapes that differ, times that are negative or not finite, events other than 0 and 1.
    """
    times, events = np.asarray(time, np.float64), np.asarray(event)
    if times.ndim != 1 or times.shape != events.shape:
        raise ValueError(f"times {times.shape} and events {events.shape} must be (n,) both")
    if not (np.isfinite(times) & (times >= 0)).all():
        raise ValueError("a time is negative or not finite")
    if not np.isin(events, (0, 1)).all():
        raise ValueError("an event is neither 0 nor 1")
    return Outcome(distinguishable(times), events.astype(np.bool_))


def distinguishable(time: Floats) -> Floats:
    """(n,) times with those that differ only by rounding made equal to the earliest, as R's ``aeqSurv``."""
    if len(time) < 2:
        return time
    known = np.sort(time)
    gaps = known[1:] - known[:-1]
    if not ((gaps > 0) & (gaps <= SAME_TIME * max(1.0, known[-1]))).any():
        return time
    known = np.unique(known)
    gaps = np.diff(known)
    apart = (gaps > SAME_TIME) & (gaps / known.mean() > SAME_TIME)
    starts = known[np.concatenate(([True], apart))]
    return starts[np.searchsorted(starts, time, side="right") - 1]
