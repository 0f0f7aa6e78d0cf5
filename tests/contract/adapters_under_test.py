"""Which adapters the contract suites run on. A new adapter joins by one line here.

Each factory opens the adapter at an address (a folder that belongs to the test); opening the same address again is
what a restarted process does. What lies on a shared server lies under a name that follows from the address.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from servers.kafka import shared_kafka
from servers.postgres import index_url
from servers.s3 import s3_settings, shared_s3

from prognode.adapters.kafka_bus import KafkaBus
from prognode.adapters.kafka_settings import KafkaSettings
from prognode.adapters.object_folder import FolderStore
from prognode.adapters.s3_store import S3Store
from prognode.adapters.sql_index import SqlIndex
from prognode.adapters.sqlite_bus import SqliteBus
from prognode.ports import Bus, Index, ObjectStore

LEASE_S = 1.0
"""Short, so that a suite sees leases end."""
LONG_LEASE_S = 60.0
"""For what must not see one end, however much the machine has to do."""


@dataclass(frozen=True)
class BusUnderTest:
    """How one bus is opened, and how long nothing must come before nothing is there."""

    open: Callable[[Path, float], Bus]
    """At an address, with the length of a lease in seconds."""
    quiet_s: float
    in_total_order: bool
    """Whether the order of publication holds over all keys, and not for each key alone."""


def name_of(address: Path) -> str:
    """A name that belongs to the address alone."""
    return "t" + hashlib.sha256(str(address).encode()).hexdigest()[:16]


def _kafka(address: Path, lease_s: float) -> Bus:
    settings = KafkaSettings(
        bootstrap=shared_kafka(),
        topic_prefix=name_of(address),
        instance=name_of(address),
        partitions=3,
        session_timeout_s=6.0,
        lease_s=lease_s,
    )
    return KafkaBus(settings, "contract")


OBJECT_STORES: dict[str, Callable[[Path], ObjectStore]] = {
    "folder": lambda address: FolderStore(address / "objects"),
    "s3": lambda address: S3Store(s3_settings(shared_s3(), prefix=name_of(address))),
}
INDEXES: dict[str, Callable[[Path], Index]] = {
    "sqlite": lambda address: SqlIndex(address / "index.db"),
    "postgres": lambda address: SqlIndex(index_url(address)),
}
BUSES: dict[str, BusUnderTest] = {
    "sqlite": BusUnderTest(
        lambda address, lease_s: SqliteBus(address / "bus.db", lease_s=lease_s),
        quiet_s=0.0,
        in_total_order=True,
    ),
    "kafka": BusUnderTest(_kafka, quiet_s=1.5, in_total_order=False),
}
