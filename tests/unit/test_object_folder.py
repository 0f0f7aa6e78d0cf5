"""What the folder store does with its temporary files and a failing disk."""

import errno
import os
import stat
import subprocess
import sys

import pytest

from prognode.adapters.object_folder import FolderStore
from prognode.errors import Unavailable


def test_leftovers_of_dead_processes_are_removed(tmp_path):
    """Temporary files of a process that died are removed at the next start; those of a living one stay."""
    script = (
        "import os, sys, pathlib; from prognode.adapters.object_folder import FolderStore;"
        "store = FolderStore(pathlib.Path(sys.argv[1]));"
        "(store._incoming / 'half').write_bytes(b'x'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert len(list(tmp_path.glob(".incoming/*/half"))) == 1
    living = FolderStore(tmp_path)
    (living._incoming / "mine").write_bytes(b"x")
    FolderStore(tmp_path)
    assert [path.name for path in tmp_path.glob(".incoming/*/*")] == ["mine"]


def test_a_full_disk_is_unavailable_and_leaves_nothing(tmp_path, monkeypatch):
    """A write that fails raises Unavailable without naming the folder, and leaves neither object nor temporary file."""
    store = FolderStore(tmp_path)

    def full(*_args):
        raise OSError(errno.ENOSPC, "No space left on device", "/secret")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(Unavailable, match="No space left") as caught:
        store.put("a/b", b"data")
    assert "/secret" not in str(caught.value)
    assert not store.exists("a/b")
    assert list(tmp_path.glob(".incoming/*/*")) == []


def test_bytes_are_synced_before_they_are_renamed_and_the_folder_after(tmp_path, monkeypatch):
    """Fsync of the file, then rename, then fsync of the folder: the order that makes a key durable or absent."""
    store = FolderStore(tmp_path)
    store.put("a/first", b"x")
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(descriptor):
        calls.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def note_replace(source, target, **_):
        calls.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    store.put("a/second", b"x")
    assert calls == ["file", "rename", "folder"]


def test_used_fraction_can_be_measured_elsewhere(tmp_path):
    """The measure of the disk can be replaced, so that a watermark is tested without filling a disk."""
    assert FolderStore(tmp_path, used_fraction=lambda _folder: 0.97).used_fraction() == 0.97
