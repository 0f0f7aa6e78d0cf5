"""kill -9 at any moment loses nothing and doubles nothing: the node is killed again and again while studies come in.

A sender repeats what was not acknowledged, as a PACS does. Kills fall at random times and right behind chosen moments
(an acknowledgement, a line of the log, an object in the PACS's hands), so that every stage is hit; which stage it was is
read from what the dead process left on disk.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from components import wait_until
from node import NodeFolder, ReceivingPacs, write_config
from senders import Senders, assert_acknowledged_is_there, assert_one_report_of_each_identity
from studies import small_study

from apps.config import load_config
from training.synthetic_study import SyntheticStudy

KILLS = 56
STUDIES = 20
SEED = 11
LONGEST_LIFE_S = 4.0
STAGES = ("receiving", "assembling", "preprocess", "scoring", "dispatcher", "illustration")


# ---------------------------------------------------------------- lives


@dataclass
class MortalNode(NodeFolder):
    """A node that is forked for each life."""

    nursery: subprocess.Popen[str] | None = None
    pid: int = 0

    @property
    def log(self) -> Path:
        """Log of all lives."""
        return self.folder / "node.log"

    def open(self) -> None:
        """Start the parent of all lives."""
        self.log.touch()
        self.nursery = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("forked_node.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )

    def close(self) -> None:
        """End the parent."""
        assert self.nursery is not None
        self.nursery.stdin.close()
        self.nursery.wait(30)

    def ask(self, *words: object) -> int:
        """One command to the parent."""
        assert self.nursery is not None
        self.nursery.stdin.write(" ".join(map(str, words)) + "\n")
        self.nursery.stdin.flush()
        return int(self.nursery.stdout.readline())

    def start(self) -> int:
        """Begin a life, and wait until it listens; where its log begins."""
        begin = self.log.stat().st_size
        self.pid = self.ask("start", self.config_path, self.log)
        wait_until(lambda: b"listening as" in self.log.read_bytes()[begin:], "the node's start")
        return begin

    def kill(self) -> None:
        """SIGKILL, from any thread; harmless to a node that is dead."""
        os.kill(self.pid, signal.SIGKILL)

    def bury(self) -> int:
        """Wait for the end of the life; its wait status."""
        return self.ask("wait", self.pid)

    def stage(self, senders: Senders) -> list[str]:
        """What the dead node was doing, by what it left: a store without an answer, unassessed studies, leases."""
        senders.notice()
        left = ["receiving"] if senders.cut_off else []
        left += ["assembling"] if self.index.unassessed() or self.index.outbox() else []
        return left + sorted({group for group, _topic, state in self.in_queue() if state == "leased"})


# ---------------------------------------------------------------- when to kill


@dataclass
class Reaper:
    """Waits for a moment of a life and kills."""

    node: MortalNode
    pacs: ReceivingPacs
    senders: Senders
    rng: random.Random
    _prey: str = ""

    def __post_init__(self) -> None:
        self.pacs.on_store = self._on_store

    def at_some_time(self, _begin: int) -> None:
        """Up to a second after it listens."""
        time.sleep(self.rng.uniform(0.0, 1.0))
        self.node.kill()

    def behind_an_acknowledgement(self, _begin: int) -> None:
        """Behind one of the next few stores."""
        goal = len(self.senders.acknowledged) + self.rng.randint(1, 40)
        self._when(lambda: len(self.senders.acknowledged) >= goal)

    def behind_a_line(self, *words: str) -> Callable[[int], None]:
        """Behind the first line of this life that holds all ``words``."""

        def wait(begin: int) -> None:
            self._when(lambda: any(all(w in line for w in words) for line in self._lines(begin)))

        return wait

    def in_the_pacs(self, modality: str) -> Callable[[int], None]:
        """While the PACS has an object in its hands that it has not answered."""

        def wait(_begin: int) -> None:
            self._prey = modality
            self._when(lambda: not self._prey)
            self._prey = ""

        return wait

    def _on_store(self, event: Any) -> None:
        if self._prey and event.dataset.Modality == self._prey:
            self._prey = ""
            self.node.kill()

    def _lines(self, begin: int) -> list[str]:
        return self.node.log.read_bytes()[begin:].decode().splitlines()

    def _when(self, happened: Callable[[], bool]) -> None:
        end = time.monotonic() + LONGEST_LIFE_S
        while not happened() and time.monotonic() < end:
            time.sleep(0.002)
        time.sleep(self.rng.choice((0.0, 0.0, 0.005, 0.02, 0.05)))
        self.node.kill()

    def plan(self, kills: int) -> Iterator[Callable[[int], None]]:
        """The moments, each kind equally often, in random order."""
        kinds = [
            self.at_some_time,
            self.behind_an_acknowledgement,
            self.behind_a_line('"assessed"', "case-ready"),
            self.behind_a_line('"group": "preprocess"'),
            self.behind_a_line('"group": "scoring"'),
            self.behind_a_line('"group": "dispatcher"', '"report-delivered"'),
            self.in_the_pacs("SR"),
            self.in_the_pacs("OT"),
        ]
        moments = (kinds * (kills // len(kinds) + 1))[:kills]
        self.rng.shuffle(moments)
        return iter(moments)


# ---------------------------------------------------------------- the test


@pytest.fixture
def studies() -> list[SyntheticStudy]:
    return [
        small_study(seed=2000 + n, slices=28, rows=96, columns=96, row_spacing_mm=3.6, column_spacing_mm=3.6)
        for n in range(STUDIES)
    ]


@pytest.mark.timeout(900)
def test_kill_9_at_every_stage_loses_nothing_and_doubles_nothing(tmp_path: Path, studies):
    """After 56 kills at every stage: each acknowledged instance is there untouched, and each case has exactly one
    report of each identity in the PACS, always sent as the same bytes; no dead letter, nothing left in the queue.
    """
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    with ReceivingPacs() as pacs:
        path = write_config(tmp_path, [pacs])
        node = MortalNode(tmp_path, path, load_config(path))
        senders = Senders(node.port, studies)
        node.open()
        try:
            hit = reap(node, pacs, senders, studies)
            finish(node, pacs, senders, studies)
        finally:
            senders.stop()
            node.close()
        print_table(hit)
        assert_one_report_of_each_identity(node, pacs, studies)
        assert node.dead_letters() == []
        assert node.is_settled()
        assert node.index.problems() == []
        assert senders.faults == []
        assert set(hit) >= set(STAGES)


def reap(
    node: MortalNode, pacs: ReceivingPacs, senders: Senders, studies: list[SyntheticStudy]
) -> Counter[str]:
    """Live and die; how often each stage was hit."""
    reaper = Reaper(node, pacs, senders, random.Random(SEED))
    hit: Counter[str] = Counter()
    senders.start()
    for number, moment in enumerate(reaper.plan(KILLS)):
        senders.cut_off = 0
        begin = node.start()
        senders.released = 1 + number * STUDIES // KILLS
        moment(begin)
        assert os.WTERMSIG(node.bury()) == signal.SIGKILL, node.log.read_text()[-2000:]
        hit.update(node.stage(senders) or ["idle"])
        complete_some(node, studies[: senders.released])
    return hit


def complete_some(node: MortalNode, studies: list[SyntheticStudy]) -> None:
    """A person gives the covariates of every third study that has a preliminary report."""
    for study in studies[::3]:
        case = node.case(study.study_uid)
        if case is not None and case.state == "preliminary" and not node.index.clinical(case.case_id):
            result = node.case_command("set-clinical", study.study_uid, "--ki67", "35", "--m-stage", "M0")
            assert result.status == 0, result.errors


def finish(node: MortalNode, pacs: ReceivingPacs, senders: Senders, studies: list[SyntheticStudy]) -> None:
    """The last life: everything comes to its end, and the node stops in good order."""
    node.start()
    senders.finish()
    assert_acknowledged_is_there(node, senders)
    for study in studies:
        node.wait_state(study.study_uid, "preliminary", "reported")
    complete_some(node, studies)
    for study in studies[::3]:
        node.wait_state(study.study_uid, "reported")
    node.settle()
    os.kill(node.pid, signal.SIGTERM)
    assert node.bury() == 0


def print_table(hit: Counter[str]) -> None:
    print(f"\n{KILLS} kills; work that was cut off by them:")
    for stage, times in hit.most_common():
        print(f"  {stage:<14}{times:>4}")
