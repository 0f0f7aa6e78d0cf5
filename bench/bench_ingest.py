"""Ingest: DCMTK storescu sends CT instances to the receiver and, in turns, to DCMTK storescp, on this machine.

    python bench/bench_ingest.py [--instances 480] [--rounds 3] [--also CHECKOUT]

Both receivers are processes of their own, both sides send without delay, every file has 512 x 512 pixels of 16 bits. The
receiver checks, syncs object and index row, and then answers; storescp writes to the page cache, so it is a floor that
promises less. ``documented`` is the receiver with ``fast_receive`` off, ``also`` the one of another checkout. Ratios within
one run count; absolute times drift.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
sys.path.insert(0, str(TESTS))

import components  # noqa: E402 - the path is set above

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
PROMPT = {**os.environ, "TCP_NODELAY": "1"}


def write_instances(folder: Path, count: int) -> list[Path]:
    """Synthetic CT instances of one study; noise, so that nothing can compress them."""
    folder.mkdir()
    rng = np.random.default_rng(1)
    return [write_instance(folder / f"{number:04d}.dcm", number, rng) for number in range(count)]


def write_instance(path: Path, number: int, rng: np.random.Generator) -> Path:
    data_set = Dataset()
    data_set.SOPClassUID, data_set.SOPInstanceUID = CT, f"1.2.826.0.1.3680043.8.498.9.{number}"
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID = (
        "1.2.826.0.1.3680043.8.498.9",
        "1.2.826.0.1.3680043.8.498.9.0",
    )
    data_set.Modality, data_set.PatientID, data_set.PatientName = "CT", "SYNTHETIC", "Synthetic^Bench"
    data_set.ImagePositionPatient = [0.0, 0.0, float(number)]
    data_set.ImageOrientationPatient = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    data_set.PixelSpacing, data_set.SliceThickness = [0.75, 0.75], 1.0
    data_set.SamplesPerPixel, data_set.PhotometricInterpretation = 1, "MONOCHROME2"
    data_set.Rows = data_set.Columns = 512
    data_set.BitsAllocated, data_set.BitsStored, data_set.HighBit, data_set.PixelRepresentation = (
        16,
        12,
        11,
        0,
    )
    data_set.PixelData = rng.integers(0, 4096, (512, 512), np.uint16).tobytes()
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = EXPLICIT
    data_set.save_as(path, enforce_file_format=True)
    return path


@contextmanager
def receiver(folder: Path, checkout: Path, *how: str) -> Iterator[subprocess.Popen[str]]:
    """The receiver of a checkout alone; yields its process, whose first line of output is the port."""
    script = checkout / "tests" / "embedded" / "receiver_process.py"
    with subprocess.Popen(
        [sys.executable, str(script), str(folder), *how],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{checkout / 'src'}{os.pathsep}{checkout}"},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def storescp(folder: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """DCMTK storescp with a large PDU, writing what it receives bit for bit."""
    command = ["storescp", "-pdu", "131072", "+B", "-od", str(folder), str(port)]
    if "--fork" in subprocess.run(["storescp", "--help"], capture_output=True, text=True, check=False).stdout:
        command.insert(1, "--fork")
    with subprocess.Popen(command, env=PROMPT, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def cpu_s(process: subprocess.Popen[str]) -> float:
    """CPU time of a living process and of its children, ended or not."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    stats = [Path(f"/proc/{pid}/stat").read_text() for pid in (process.pid, *children)]
    ticks = sum(sum(map(int, stat.rpartition(")")[2].split()[11:15])) for stat in stats)
    return ticks / os.sysconf("SC_CLK_TCK")


def send(port: int, files: list[Path], senders: int) -> float:
    """Wall time in which ``senders`` storescu send all files."""
    commands = [
        ["storescu", "-xe", "-pdu", "131072", "127.0.0.1", str(port), *map(str, files[i::senders])]
        for i in range(senders)
    ]
    begin = time.perf_counter()
    running = [subprocess.Popen(command, env=PROMPT) for command in commands]
    assert all(sender.wait() == 0 for sender in running), "a sender failed"
    return time.perf_counter() - begin


def one_run(name: str, checkout: Path, scratch: Path, files: list[Path], senders: int) -> tuple[float, float]:
    """(wall s, CPU s) of one receiver taking all files into an empty folder."""
    folder = scratch / "received"
    folder.mkdir()
    try:
        if name == "storescp":
            port = components.free_port()
            with storescp(folder, port) as process:
                components.wait_until(lambda: components.listens(port), "storescp")
                return send(port, files, senders), cpu_s(process)
        with receiver(folder, checkout, name) as process:
            port = int(process.stdout.readline())
            before = cpu_s(process)
            return send(port, files, senders), cpu_s(process) - before
    finally:
        shutil.rmtree(folder)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--instances", type=int, default=480)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--also", type=Path, help="another checkout, whose receiver takes its turn as well")
    arguments = options.parse_args()
    receivers = {"storescp": ROOT, "prognode": ROOT, "documented": ROOT}
    if arguments.also:
        receivers["also"] = arguments.also.resolve()
    with tempfile.TemporaryDirectory(prefix="prognode-bench-") as scratch:
        files = write_instances(Path(scratch) / "files", arguments.instances)
        megabytes = sum(file.stat().st_size for file in files) / 1e6
        print(
            f"{len(files)} CT instances, {megabytes:.0f} MB, {arguments.rounds} rounds, load {os.getloadavg()[0]:.1f}"
        )
        print(
            f"{'receiver':10} {'senders':>7} {'MB/s':>6} {'ms/instance':>11} {'CPU s/GB':>8} {'wall ratio':>10}"
        )
        for senders in (1, 4):
            runs = [
                {
                    name: one_run(name, checkout, Path(scratch), files, senders)
                    for name, checkout in receivers.items()
                }
                for _ in range(arguments.rounds)
            ]
            report(runs, senders, len(files), megabytes)


def report(
    runs: list[dict[str, tuple[float, float]]], senders: int, instances: int, megabytes: float
) -> None:
    """Medians of each receiver, and its wall time as a multiple of storescp's."""
    floor = statistics.median(run["storescp"][0] for run in runs)
    for name in runs[0]:
        wall = statistics.median(run[name][0] for run in runs)
        cpu = statistics.median(run[name][1] for run in runs)
        print(
            f"{name:10} {senders:7} {megabytes / wall:6.0f} {wall / instances * 1e3:11.2f} "
            f"{cpu / megabytes * 1e3:8.2f} {wall / floor:10.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
