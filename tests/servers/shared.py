"""One server of a kind for the whole test run, in a folder of its own, also for the processes that tests start."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol


class Running(Protocol):
    """A server that runs."""

    @property
    def address(self) -> str:
        """How clients reach it."""

    def stop(self) -> None:
        """End it, by its own process id."""


def shared(name: str, start: Callable[[Path], Running]) -> str:
    """Address of the server: of ``PROGNODE_TEST_{name}`` if that is set, else of one that is started now.

    The variable is set then, so that child processes find the same server.
    """
    variable = f"PROGNODE_TEST_{name}"
    given = os.environ.get(variable)
    if given:
        return given
    folder = Path(tempfile.mkdtemp(prefix=f"prognode-{name.lower()}-"))
    running = start(folder)

    def end() -> None:
        running.stop()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)
    os.environ[variable] = running.address
    return running.address
