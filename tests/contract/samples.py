"""Values that the contract suites write: the same number gives the same value, in every process."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from prognode.ports import Case, CaseState, Event, Instance

STUDY = "1.2.826.0.1.3680043.8.498.1"


def key(number: int) -> str:
    return f"things/{number % 7}/{number}.bin"


def content(number: int) -> bytes:
    """Large enough that a kill can fall into the middle of a write."""
    return hashlib.sha256(str(number).encode()).digest() * 4096


def instance(number: int, *, study: str = STUDY, sha256: str = "") -> Instance:
    return Instance(
        sop_instance_uid=f"{STUDY}.2.{number}",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        study_instance_uid=study,
        series_instance_uid=f"{STUDY}.3",
        modality="CT",
        object_key=f"instances/{number}",
        sha256=sha256 or hashlib.sha256(str(number).encode()).hexdigest(),
        size_bytes=525_000 + number,
        received_at=datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC),
        card={"modality": "CT", "planes": [{"z_mm": 1.25 * number, "frame": None}], "text": "Bäuche"},
    )


def case(case_id: str = "case-1", **changes) -> Case:
    values = {
        "case_id": case_id,
        "study_instance_uid": STUDY,
        "state": CaseState.WAITING,
        "updated_at": datetime(2026, 1, 2, tzinfo=UTC),
        "input_digest": None,
        "assessment": {"waiting_for": ["1.2.3"]},
    }
    return Case(**values | changes)


def event(number: int = 0, topic: str = "thing-happened", traceparent: str = "") -> Event:
    return Event(topic, f"case-{number % 3}", {"version": 1, "number": number}, traceparent)


def link(number: int) -> Event:
    return event(number, "chain")


def acknowledged_before_kill(
    port: str, adapter: str, address: Path, first: int, rng: random.Random
) -> list[int]:
    """Start a writer, kill -9 it at a random moment after its first acknowledgement; what it acknowledged."""
    with _doomed(port, adapter, address, first) as writer:
        lines = [writer.stdout.readline()]
        time.sleep(rng.uniform(0.0, 0.08))
        os.kill(writer.pid, signal.SIGKILL)
        lines += writer.stdout.readlines()
    assert writer.returncode == -signal.SIGKILL
    return [int(line) for line in lines if line.endswith("\n")]


def taken_and_died(adapter: str, address: Path) -> None:
    """A process takes the next message of the chain and is killed with it in its hands."""
    with _doomed("bus-taker", adapter, address, 0) as taker:
        assert taker.stdout.readline() == "taken\n"
        os.kill(taker.pid, signal.SIGKILL)


def _doomed(port: str, adapter: str, address: Path, first: int) -> subprocess.Popen[str]:
    program = str(Path(__file__).with_name("doomed_writer.py"))
    command = [sys.executable, program, port, adapter, str(address), str(first)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)
