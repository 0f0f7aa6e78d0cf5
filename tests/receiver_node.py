"""A receiver over real adapters, for tests that send to it and look at what it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prognode.adapters.object_folder import FolderStore
from prognode.adapters.sql_index import SqlIndex
from prognode.adapters.system_clock import SystemClock
from prognode.dicom.part10 import data_set_of
from services.receiver.handler import StoreHandler
from services.receiver.service import Receiver
from services.receiver.settings import ReceiverSettings

WAYS_IN = ("fast", "documented")
"""``fast_receive`` on and off."""


@dataclass
class Node:
    """A receiver over real adapters, and what the test may look at."""

    folder: Path
    settings: ReceiverSettings
    extra_handlers: Sequence[Any] = ()
    used: float = 0.1
    heard: list = field(default_factory=list)

    def __enter__(self):
        self.objects = FolderStore(self.folder / "objects", used_fraction=lambda _folder: self.used)
        self.index = SqlIndex(self.folder / "index.db")
        self.handler = StoreHandler(self.objects, self.index, SystemClock(), self.settings, self.heard.append)
        self.receiver = Receiver(self.settings, self.handler, self.extra_handlers)
        self.receiver.start()
        self.port = self.receiver.port
        return self

    def __exit__(self, *_):
        self.receiver.stop()
        self.index.close()

    def files(self):
        return sorted(path for path in (self.folder / "objects").rglob("*") if path.is_file())

    def assert_holds(self, *sent):
        """Exactly these objects are stored, each byte for byte as sent."""
        assert len(self.files()) == len(sent)
        for each in sent:
            row = self.index.instance(each.sop_instance)
            assert bytes(data_set_of(self.objects.get(row.object_key))) == each.data
            assert (row.sop_class_uid, row.transfer_syntax_uid) == (each.sop_class, each.syntax)
            assert row.size_bytes == len(each.data)
