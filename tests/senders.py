"""Peers that send studies and repeat what was not acknowledged, as a PACS does."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from components import wait_until
from node import NodeFolder, ReceivingPacs, said_of, send_each, sent
from raw_sender import Sent

from prognode.dicom.part10 import data_set_of
from training.synthetic_study import SyntheticStudy


@dataclass
class Senders:
    """Two peers that send every study and repeat what was not acknowledged."""

    port: int
    studies: list[SyntheticStudy]
    acknowledged: dict[str, Sent] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    released: int = 0
    """How many studies may be sent so far: they come in over all lives."""
    cut_off: int = 0
    """Stores of this life that were never answered."""
    _sending: Counter[int] = field(default_factory=Counter)
    _threads: list[threading.Thread] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Start both."""
        for number in range(2):
            thread = threading.Thread(target=self._run, args=(number,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def finish(self) -> None:
        """Wait until everything is acknowledged."""
        self.released = len(self.studies)
        for thread in self._threads:
            thread.join(120)
            assert not thread.is_alive(), "a sender never got all of its objects acknowledged"

    def notice(self) -> None:
        """Wait until both have noticed that the node is dead."""
        wait_until(lambda: not self._sending.total(), "the end of all associations with the dead node")

    def stop(self) -> None:
        """End them, done or not."""
        self._stop.set()

    def _run(self, number: int) -> None:
        for place, study in enumerate(self.studies):
            while self.released <= place and not self._stop.is_set():
                time.sleep(0.01)
            items = shuffled(study, place)[number::2]
            while items and not self._stop.is_set():
                self._sending[number] = 1
                self._send([sent(item) for item in items])
                self._sending[number] = 0
                items = [item for item in items if item.SOPInstanceUID not in self.acknowledged]
                if items:
                    time.sleep(0.02)

    def _send(self, objects: list[Sent]) -> None:
        for item, answer in send_each(self.port, objects):
            if answer is None:
                self.cut_off += 1
            elif answer.status == 0:
                self.acknowledged[item.sop_instance] = item
            else:
                self.faults.append(f"{answer.status:#06x} {answer.comment}")


def shuffled(study: SyntheticStudy, place: int) -> list[Any]:
    """The study's objects: contours last, first, or anywhere."""
    images, contours = [i for i in study.instances if i not in study.contours], study.contours
    if place % 3 == 0:
        return [*images, *contours]
    if place % 3 == 1:
        return [*contours, *images]
    return random.Random(place).sample(study.instances, len(study.instances))


def assert_acknowledged_is_there(node: NodeFolder, senders: Senders) -> None:
    """Index row and bytes of every object that was answered 0x0000."""
    index, objects = node.index, node.objects
    assert len(senders.acknowledged) == sum(len(study.instances) for study in senders.studies)
    for uid, item in senders.acknowledged.items():
        row = index.instance(uid)
        assert row is not None, f"{uid} was acknowledged and is not known"
        assert bytes(data_set_of(objects.get(row.object_key))) == item.data


def assert_one_report_of_each_identity(
    node: NodeFolder, pacs: ReceivingPacs, studies: list[SyntheticStudy]
) -> None:
    """By study: at most one preliminary and one final report, the last of them the case's own, a figure for each."""
    assert {uid: len(set(data)) for uid, data in pacs.received.items() if len(set(data)) > 1} == {}
    for place, study in enumerate(studies):
        reports = pacs.reports(study.study_uid)
        by_status = Counter(said_of(report)["status"] for report in reports)
        last = "reported" if place % 3 == 0 else "preliminary"
        case = node.case(study.study_uid)
        assert case.state == last
        assert by_status["final" if place % 3 == 0 else "preliminary"] == 1
        assert by_status.total() <= 2
        assert max(by_status.values()) == 1
        assert case.outcome["sr"]["sop_instance_uid"] in {report.SOPInstanceUID for report in reports}
        assert len(pacs.figures(study.study_uid)) == len(reports)
