"""Carries committed facts from the index to the bus, so that a crash between the two loses nothing.

The index writes a fact in the same transaction as the state that it speaks of; this relay publishes it and only then
takes it out. A crash in between publishes it twice, under the same id.
"""

from __future__ import annotations

import threading

from prognode.ports import Bus, Index


def relay(index: Index, bus: Bus) -> int:
    """Publish what waits in the outbox; the number of facts published."""
    return index.publish_outbox(bus.publish)


def run(index: Index, bus: Bus, wake: threading.Event, stop: threading.Event) -> None:
    """Relay whenever ``wake`` is set, and every second in any case."""
    while not stop.is_set():
        wake.clear()
        if relay(index, bus) == 0:
            wake.wait(timeout=1.0)
