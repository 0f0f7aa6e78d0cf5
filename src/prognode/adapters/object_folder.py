"""Objects as files of one folder, for the node on one machine.

``put`` writes to a temporary file on the same file system, syncs it, renames it and syncs the folder: after a crash a
key holds all of its bytes or does not exist. Temporary files lie in ``.incoming/TOKEN``, locked by the process that
writes them, so that whoever opens the folder next removes those of the dead and leaves those of the living.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from prognode.adapters.object_keys import checked_key
from prognode.errors import Unavailable


def disk_used_fraction(folder: Path) -> float:
    """How full the file system of ``folder`` is for an ordinary user, 0 to 1, as ``df`` counts it."""
    status = os.statvfs(folder)
    used = status.f_blocks - status.f_bfree
    return used / max(1, used + status.f_bavail)


class FolderStore:
    """An :class:`~prognode.ports.ObjectStore` over a folder. Safe for many threads and several processes.

    Keys are lower-case words joined by ``/``; no part begins with a dot. ``used_fraction`` can be replaced by a test.
    """

    def __init__(self, root: Path, used_fraction: Callable[[Path], float] = disk_used_fraction) -> None:
        self._root = root
        self._used_fraction = used_fraction
        self._numbers = itertools.count()
        self._folders_lock = threading.Lock()
        root.mkdir(parents=True, exist_ok=True)
        self._incoming, self._incoming_lock = _claim_incoming(root / ".incoming")

    def put(self, key: str, data: bytes) -> None:
        path = self._path(key)
        with _disk_errors(key):
            self._make_folder(path.parent)
            temporary = self._incoming / str(next(self._numbers))
            try:
                _write_synced(temporary, data)
                temporary.replace(path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            _sync_folder(path.parent)

    def get(self, key: str) -> bytes:
        path = self._path(key)
        with _disk_errors(key):
            try:
                return path.read_bytes()
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
                raise KeyError(key) from None

    def exists(self, key: str) -> bool:
        with _disk_errors(key):
            return self._path(key).is_file()

    def delete(self, key: str) -> None:
        path = self._path(key)
        with _disk_errors(key):
            path.unlink(missing_ok=True)

    def used_fraction(self) -> float:
        with _disk_errors("."):
            return self._used_fraction(self._root)

    def check(self) -> None:
        with _disk_errors("."):
            self._root.stat()

    def close(self) -> None:
        """Give up the folder for temporary files; the store is not used afterwards."""
        shutil.rmtree(self._incoming, ignore_errors=True)
        os.close(self._incoming_lock)

    def _path(self, key: str) -> Path:
        return self._root / checked_key(key)

    def _make_folder(self, folder: Path) -> None:
        """Make ``folder`` and those above it, each durable in the one that holds it."""
        with self._folders_lock:
            if folder.is_dir():
                return
            missing = [folder]
            while not missing[-1].parent.is_dir():
                missing.append(missing[-1].parent)
            for each in reversed(missing):
                each.mkdir(exist_ok=True)
                _sync_folder(each.parent)


def _claim_incoming(parent: Path) -> tuple[Path, int]:
    """Remove the temporary files of dead processes and lock a folder of one's own; (folder, lock)."""
    parent.mkdir(exist_ok=True)
    with _locked(parent):
        for other in parent.iterdir():
            _remove_if_dead(other)
        mine = parent / uuid.uuid4().hex
        mine.mkdir()
        lock = os.open(mine, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
    return mine, lock


def _remove_if_dead(folder: Path) -> None:
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    else:
        shutil.rmtree(folder)
    finally:
        os.close(lock)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


@contextmanager
def _disk_errors(key: str) -> Iterator[None]:
    """A full or failing disk is a peer that does not answer now."""
    try:
        yield
    except OSError as error:
        raise Unavailable(f"object {key}: {os.strerror(error.errno or 0)}") from error


def _write_synced(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
