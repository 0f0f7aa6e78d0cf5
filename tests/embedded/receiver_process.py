"""The receiver alone, as a process that a test can kill; prints its port.

``python receiver_process.py FOLDER [documented]``: with ``documented`` it receives by pynetdicom's documented interface.
"""

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


def main(folder: Path, *how: str) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    settings = ReceiverSettings(host="127.0.0.1", port=0, fast_receive="documented" not in how)
    objects, index = FolderStore(folder / "objects"), SqlIndex(folder / "index.db")
    receiver = Receiver(settings, StoreHandler(objects, index, SystemClock(), settings))
    receiver.start()
    print(receiver.port, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
