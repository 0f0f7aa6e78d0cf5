"""Fifty studies come in while everything that can fail fails: services killed, servers stopped, a clock that jumps.

The faults are real: SIGKILL, servers that are stopped and started, an S3 service that answers 503, a PACS that refuses,
aborts and is gone, and a service whose clock jumps. At the end everything that was acknowledged is there, every case has
one report of each identity, no consumer is stuck, and no message was set aside.
"""

from __future__ import annotations

import logging
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from components import wait_until
from distributed_node import DistributedNode, Servers, ServiceProcess, distributed_node
from node import ROOT, ReceivingPacs, prognode
from senders import Senders, assert_acknowledged_is_there, assert_one_report_of_each_identity
from servers.faulty_proxy import FaultyProxy
from servers.jumping_clock import JumpingClock
from servers.kafka import Kafka, start_kafka
from servers.postgres import Postgres, index_url, start_postgres
from servers.s3 import S3, start_s3
from servers.triton import Triton, start_triton
from studies import small_study

from prognode.domain.identity import case_id
from prognode.errors import Unavailable
from training.synthetic_study import SyntheticStudy

pytestmark = pytest.mark.component

STUDIES = 50
SEED = 12
KILLS_OF_EACH = 2
BROKER_AWAY_S = 60.0
LIMIT_S = 900


# ---------------------------------------------------------------- what can fail


@dataclass
class World:
    """A node of processes and everything around it."""

    folder: Path
    kafka: Kafka
    postgres: Postgres
    s3: S3
    to_s3: FaultyProxy
    triton: Triton
    pacs: ReceivingPacs
    node: DistributedNode
    clock: JumpingClock
    """The receiver's."""
    injected: Counter[str] = field(default_factory=Counter)

    def kill(self, service: ServiceProcess) -> None:
        """SIGKILL, and a new life at once, as an orchestrator gives it."""
        service.kill9()
        service.start()
        service.wait_up()

    def stop_broker(self) -> None:
        """Away for a minute."""
        self.kafka.kill9()
        time.sleep(BROKER_AWAY_S)
        self.kafka.start()

    def restart_postgres(self) -> None:
        """Every connection is cut; back after a few seconds."""
        self.postgres.stop()
        time.sleep(3.0)
        self.postgres.start()

    def kill_triton(self) -> None:
        """Away for some seconds."""
        self.triton.kill9()
        time.sleep(3.0)
        self.triton.start()

    def slow_down_s3(self) -> None:
        """503 to everything for some seconds."""
        self.to_s3.mode = "503"
        time.sleep(6.0)
        self.to_s3.mode = "pass"

    def refuse(self) -> None:
        """The PACS refuses, aborts, and is gone for a while."""
        self.pacs.faults[:] = [0xA700, "abort", 0xA701, 0xC001, "abort", 0xA700]
        time.sleep(4.0)
        self.pacs.faults.clear()
        self.pacs.close()
        time.sleep(4.0)
        self.pacs.open()

    def jump_the_clock(self) -> None:
        """Ten minutes ahead, ten minutes back, and right again."""
        for seconds in (600, -600, 0):
            self.clock.jump(seconds)
            time.sleep(4.0)

    def plan(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """Every fault by name, in random order, the minute without a broker among them."""
        rng = random.Random(SEED)
        faults: list[tuple[str, Callable[[], None]]] = [
            (f"kill -9 {service.name}", lambda service=service: self.kill(service))  # type: ignore[misc]
            for service in self.node.services
            for _ in range(KILLS_OF_EACH)
        ]
        faults += [
            ("Triton killed", self.kill_triton),
            ("PostgreSQL restarted", self.restart_postgres),
            ("S3 answers 503", self.slow_down_s3),
            ("PACS refuses and is gone", self.refuse),
        ]
        faults += [
            ("clock jumps", self.jump_the_clock),
            ("broker stopped for a minute", self.stop_broker),
        ]
        rng.shuffle(faults)
        return iter(faults)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Servers of its own, since all of them are stopped."""
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    folders = {name: tmp_path / name for name in ("kafka", "s3", "triton")}
    for folder in folders.values():
        folder.mkdir()
    # pytest's own folder is closed to the user that PostgreSQL runs as
    folders["postgres"] = Path(tempfile.mkdtemp(prefix="prognode-faults-"))
    kafka = start_kafka(folders["kafka"])
    postgres = start_postgres(folders["postgres"])
    s3 = start_s3(folders["s3"])
    to_s3 = FaultyProxy(s3.address)
    triton = start_triton(folders["triton"])
    servers = Servers(kafka.address, index_url(tmp_path, postgres.address), to_s3.address, triton.address)
    clock = JumpingClock(tmp_path)
    with ReceivingPacs() as pacs:
        node = distributed_node(
            tmp_path,
            [pacs],
            servers=servers,
            replicas={"preprocess": 2},
            changes={"receiver": clock.environment},
        )
        made = World(tmp_path, kafka, postgres, s3, to_s3, triton, pacs, node, clock)
        yield made
        for service in node.services:
            service.stop()
    for server in (triton, s3, postgres, kafka):
        server.stop()
    to_s3.close()
    shutil.rmtree(folders["postgres"], ignore_errors=True)


# ---------------------------------------------------------------- the test


@pytest.mark.timeout(LIMIT_S)
def test_whatever_fails_nothing_is_lost_and_nothing_is_done_twice(world: World):
    """Every fault is injected while studies come in; the table at the end says how often each was."""
    studies = [
        small_study(seed=8000 + n, slices=28, rows=96, columns=96, row_spacing_mm=3.6, column_spacing_mm=3.6)
        for n in range(STUDIES)
    ]
    senders = Senders(world.node.port, studies)
    begin = time.monotonic()
    senders.start()
    try:
        plan = list(world.plan())
        for number, (name, inject) in enumerate(plan):
            # the studies come in over all faults
            senders.released = 1 + number * STUDIES // len(plan)
            inject()
            world.injected[name] += 1
            complete_some(world.node, studies[: senders.released])
        senders.finish()
        come_to_an_end(world.node, studies)
    finally:
        senders.stop()
    seconds = time.monotonic() - begin
    assert_acknowledged_is_there(world.node, senders)
    assert_one_report_of_each_identity(world.node, world.pacs, studies)
    assert world.node.in_queue() == []
    assert world.node.dead_letters() == []
    assert world.node.index.problems() == []
    assert {fault[:6] for fault in senders.faults} <= {"0xa700"}
    assert {one.name: one.process.poll() for one in world.node.services} == dict.fromkeys(
        ("receiver", "preprocess", "scoring", "dispatcher"), None
    )
    write_summary(world, senders, studies, seconds)


def complete_some(node: DistributedNode, studies: list[SyntheticStudy]) -> None:
    """A person gives the covariates of every third study that has a preliminary report, when the data base is there."""
    for study in studies[::3]:
        try:
            case = node.case(study.study_uid)
            if case is None or case.state != "preliminary" or node.index.clinical(case.case_id):
                continue
        except Unavailable:
            return
        prognode(
            "case", "set-clinical", case_id(study.study_uid), "--ki67", "35", "--m-stage", "M0",
            "--config", node.config_path,
        )  # fmt: skip


def come_to_an_end(node: DistributedNode, studies: list[SyntheticStudy]) -> None:
    """Everything is there again: every case gets its report, every third a final one, and the topics run empty."""

    def all_have(*states: str) -> Callable[[], bool]:
        return lambda: all(
            (case := node.case(s.study_uid)) is not None and case.state in states for s in studies
        )

    wait_until(all_have("preliminary", "reported"), "a report of every case", 180)
    complete_some(node, studies)
    for study in studies[::3]:
        node.wait_state(study.study_uid, "reported")
    node.settle(120)


def write_summary(world: World, senders: Senders, studies: list[SyntheticStudy], seconds: float) -> None:
    """A table of what was injected and what came of it, beside the other results."""
    reports = sum(len(world.pacs.reports(study.study_uid)) for study in studies)
    figures = sum(len(world.pacs.figures(study.study_uid)) for study in studies)
    rows = [*sorted(world.injected.items())]
    lines = ["| fault | times |", "|---|---|", *(f"| {name} | {times} |" for name, times in rows), ""]
    lines += [
        (
            f"{len(studies)} studies, {len(senders.acknowledged)} objects acknowledged and all of them there, "
            f"{len(senders.faults)} answered 0xA700 and {senders.cut_off} cut off and sent again, "
            f"{reports} reports and {figures} figures in the PACS, {len(world.pacs.order)} arrivals, "
            f"no dead letter, in {seconds:.0f} s."
        ),
        "",
    ]
    folder = ROOT / "out" / "tests"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "faults.md").write_text("\n".join(lines), encoding="utf-8")
    print("\n" + "\n".join(lines))
