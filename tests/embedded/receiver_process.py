"""The receiver alone, as a process that a test can kill: ``python receiver_process.py FOLDER``; prints its port."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import structlog

from prognode.adapters.object_folder import FolderStore
from prognode.adapters.sql_index import SqlIndex
from prognode.adapters.system_clock import SystemClock
from services.receiver.handler import StoreHandler
from services.receiver.service import Receiver
from services.receiver.settings import ReceiverSettings


def main(folder: Path) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    settings = ReceiverSettings(host="127.0.0.1", port=0)
    objects, index = FolderStore(folder / "objects"), SqlIndex(folder / "index.db")
    receiver = Receiver(settings, StoreHandler(objects, index, SystemClock(), settings))
    receiver.start()
    print(receiver.port, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
