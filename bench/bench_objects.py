"""Objects of one CT instance's size (525 kB): the folder store beside the S3 store over versitygw, in one run, in turns.

    python bench/bench_objects.py [--objects 100] [--rounds 3]

Both on this machine's disk, the service over loopback. They do not promise the same: the folder store syncs each object
before it answers, versitygw leaves it in the page cache. ``written`` and ``synced`` are a plain file without any store, so
the floors of the two; for S3 a network and the service's own disks come on top.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from servers.s3 import BINARY, S3, s3_settings, start_s3

from prognode.adapters.object_folder import FolderStore
from prognode.adapters.s3_store import S3Store
from prognode.ports import ObjectStore

SIZE_BYTES = 525_000
THREADS = (1, 4)


class PlainFiles:
    """Files written and read without any promise, or synced; the floor of a store."""

    def __init__(self, folder: Path, *, sync: bool) -> None:
        self._folder, self._sync = folder, sync
        folder.mkdir()

    def put(self, key: str, data: bytes) -> None:
        with (self._folder / key).open("wb") as file:
            file.write(data)
            if self._sync:
                file.flush()
                os.fsync(file.fileno())

    def get(self, key: str) -> bytes:
        return (self._folder / key).read_bytes()


def each_ms(work: Callable[[str], object], keys: list[str], threads: int) -> tuple[float, float]:
    """(median ms of one call, MB/s of all calls together)."""

    def timed(key: str) -> float:
        begin = time.perf_counter()
        work(key)
        return 1e3 * (time.perf_counter() - begin)

    begin = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        times = list(pool.map(timed, keys))
    wall = time.perf_counter() - begin
    return statistics.median(times), len(keys) * SIZE_BYTES / 1e6 / wall


def one_round(store: ObjectStore | PlainFiles, keys: list[str], threads: int) -> tuple[float, ...]:
    """Put every key, then get every key: (put ms, put MB/s, get ms, get MB/s)."""
    data = os.urandom(SIZE_BYTES)
    put = each_ms(lambda key: store.put(key, data), keys, threads)
    got = each_ms(store.get, keys, threads)
    assert store.get(keys[-1]) == data
    return *put, *got


def measure(stores: dict[str, ObjectStore | PlainFiles], objects: int, rounds: int) -> None:
    print(f"{objects} objects of {SIZE_BYTES / 1e3:.0f} kB, {rounds} rounds, load {os.getloadavg()[0]:.1f}")
    print(f"{'store':10}{'threads':>8}{'put ms':>9}{'put MB/s':>10}{'get ms':>9}{'get MB/s':>10}")
    for store in stores.values():
        one_round(store, ["warm"] * 3, 1)
    for threads in THREADS:
        rows: dict[str, list[tuple[float, ...]]] = {name: [] for name in stores}
        for number in range(rounds):
            keys = [f"{threads}-{number}-{each}" for each in range(objects)]
            for name, store in stores.items():
                rows[name].append(one_round(store, keys, threads))
        for name, runs in rows.items():
            put_ms, put_rate, get_ms, get_rate = map(statistics.median, zip(*runs, strict=True))
            print(
                f"{name:10}{threads:8}{put_ms:9.2f}{put_rate:10.0f}{get_ms:9.2f}{get_rate:10.0f}", flush=True
            )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--objects", type=int, default=100)
    options.add_argument("--rounds", type=int, default=3)
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="prognode-bench-") as scratch:
        folder = Path(scratch)
        stores: dict[str, ObjectStore | PlainFiles] = {
            "written": PlainFiles(folder / "written", sync=False),
            "synced": PlainFiles(folder / "synced", sync=True),
            "folder": FolderStore(folder / "folder"),
        }
        server: S3 | None = None
        if BINARY.is_file():
            server = start_s3(folder / "s3")
            stores["s3"] = S3Store(s3_settings(server.address))
        else:
            print("the S3 store is left out: tools/fetch_versitygw.sh builds its server")
        try:
            measure(stores, arguments.objects, arguments.rounds)
        finally:
            if server is not None:
                server.stop()


if __name__ == "__main__":
    main()
