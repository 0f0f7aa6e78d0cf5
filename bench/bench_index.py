"""Registrations a second: the index on SQLite and on PostgreSQL, by one association and by four, in one run.

    python bench/bench_index.py [--rows 400] [--rounds 3]

Every registration is durable before the next one of its thread begins. The floor is this disk: how often a second one
thread appends a row's bytes to a file and syncs it. ``one study`` is what a receiver sees while a study arrives: all rows
raise one revision; ``own studies`` gives each thread a study of its own. PostgreSQL runs on this machine, so that client,
server and disk share what there is; a network adds its round trips to each registration.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from contract import samples
from servers.postgres import index_url

from prognode.adapters.sql_index import SqlIndex
from prognode.ports import Instance, Registered

_numbers = itertools.count()


def instance(study: str) -> Instance:
    """A CT slice with a card of usual size."""
    number = next(_numbers)
    card = {"modality": "CT", "series_description": "ABD ART 1.25", "planes": [{"row": [0.75] * 16}] * 2}
    return dataclasses.replace(samples.instance(number, study=study), card=card)


def per_second(register: Callable[[Instance], Registered], rows: int, threads: int, studies: int) -> float:
    """Rate of ``rows`` registrations, dealt out to the threads, whose studies are ``studies`` different ones."""
    study = next(_numbers)
    dealt = [
        [instance(f"1.2.{study}.{thread % studies}") for _ in range(rows // threads)]
        for thread in range(threads)
    ]

    def run(some: list[Instance]) -> None:
        assert all(register(each) is Registered.NEW for each in some)

    begin = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(run, dealt))
    return rows / (time.perf_counter() - begin)


def syncs_per_second(folder: Path, rows: int) -> float:
    with (folder / "floor").open("ab") as file:
        begin = time.perf_counter()
        for _ in range(rows):
            file.write(b"x" * 1200)
            file.flush()
            os.fdatasync(file.fileno())
        return rows / (time.perf_counter() - begin)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rows", type=int, default=400)
    options.add_argument("--rounds", type=int, default=3)
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="prognode-bench-") as scratch:
        folder = Path(scratch)
        indexes = {"SQLite": SqlIndex(folder / "index.db"), "PostgreSQL": SqlIndex(index_url(folder))}
        ways = {"1 thread": (1, 1), "4 threads, one study": (4, 1), "4 threads, own studies": (4, 4)}
        runs = [(name, way) for name in indexes for way in ways]
        rates: dict[tuple[str, str], list[float]] = {run: [] for run in runs}
        floor = []
        for _ in range(arguments.rounds):
            floor.append(syncs_per_second(folder, arguments.rows))
            for name, way in runs:
                register = indexes[name].register
                rates[name, way].append(
                    per_second(lambda each, r=register: r(each, "patient"), arguments.rows, *ways[way])
                )
        report(rates, statistics.median(floor))


def report(rates: dict[tuple[str, str], list[float]], floor: float) -> None:
    print(f"{'floor: append and sync, 1 thread':36s}{floor:8.0f} /s")
    for (name, way), found in rates.items():
        print(f"{f'{name}, {way}':36s}{statistics.median(found):8.0f} /s")


if __name__ == "__main__":
    main()
