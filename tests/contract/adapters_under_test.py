"""Which adapters the contract suites run on. A new adapter joins by one line here.

Each factory opens the adapter at an address (a folder that belongs to the test); opening the same address again is
what a restarted process does.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from prognode.adapters.object_folder import FolderStore
from prognode.adapters.sql_index import SqlIndex
from prognode.adapters.sqlite_bus import SqliteBus
from prognode.ports import Bus, Index, ObjectStore

LEASE_S = 0.3
"""Short, so that a suite sees leases end."""

OBJECT_STORES: dict[str, Callable[[Path], ObjectStore]] = {
    "folder": lambda address: FolderStore(address / "objects"),
}
INDEXES: dict[str, Callable[[Path], Index]] = {
    "sqlite": lambda address: SqlIndex(address / "index.db"),
}
BUSES: dict[str, Callable[[Path], Bus]] = {
    "sqlite": lambda address: SqliteBus(address / "bus.db", lease_s=LEASE_S),
}
