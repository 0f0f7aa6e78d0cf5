"""A process that writes through one adapter until it is killed, and says what was acknowledged.

``python doomed_writer.py PORT ADAPTER ADDRESS FIRST``: writes items FIRST, FIRST + 1, ... and prints each number once
the adapter has said that it is durable.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from contract import samples
from contract.adapters_under_test import BUSES, INDEXES, LEASE_S, OBJECT_STORES


def main(port: str, adapter: str, address: Path, first: int) -> None:
    if port == "bus-taker":
        take(adapter, address)
        return
    write = {"objects": write_object, "index": write_row, "bus": write_event}[port](adapter, address)
    number = first
    while True:
        write(number)
        print(number, flush=True)
        number += 1


def write_object(adapter, address):
    store = OBJECT_STORES[adapter](address)
    return lambda number: store.put(samples.key(number), samples.content(number))


def write_row(adapter, address):
    index = INDEXES[adapter](address)
    return lambda number: index.register(samples.instance(number), "patient")


def write_event(adapter, address):
    """Take message N - 1 and publish N in its place: a chain that a crash must neither break nor fork."""
    bus = BUSES[adapter].open(address, LEASE_S)

    def write(number):
        message = bus.receive("relay", ["chain"], 30.0)
        bus.done("relay", message, [samples.link(message.event.payload["number"] + 1)])

    return write


def take(adapter, address):
    """Take a message, say so, and wait for the end."""
    bus = BUSES[adapter].open(address, LEASE_S)
    assert bus.receive("relay", ["chain"], 30.0) is not None
    # long enough that whoever took it is known to the next, and shorter than the lease
    time.sleep(0.2)
    print("taken", flush=True)
    time.sleep(60)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
