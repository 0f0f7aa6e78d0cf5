"""Several receivers on one index: their assemblers look at the same studies, and one of them may die."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from components import wait_until
from contract.adapters_under_test import INDEXES
from node import sent
from studies import small_study

from prognode.adapters.object_folder import FolderStore
from prognode.adapters.system_clock import SystemClock
from prognode.domain.identity import case_id
from prognode.domain.readiness import Rules
from prognode.ports import CaseState
from prognode.runtime.studies import StudyReader
from services.receiver.assembly import Assembler
from services.receiver.assembly_settings import AssemblySettings
from services.receiver.fetching import Fetcher
from services.receiver.handler import StoreHandler, StoreRequest
from services.receiver.settings import ReceiverSettings


class MovedClock:
    """The machine's clock, moved forward as a test wants it."""

    ahead = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(tz=UTC) + self.ahead


class Site:
    """One index and one object store, with as many assemblers as a test opens."""

    def __init__(self, folder, open_index) -> None:
        self.folder, self.open_index, self.clock = folder, open_index, MovedClock()
        self.objects = FolderStore(folder / "objects")
        self.index = open_index(folder)

    def store(self, datasets) -> None:
        """Store as a receiver does; nobody assesses."""
        settings = ReceiverSettings(watermark=1.0, watermark_recovery=1.0)
        handler = StoreHandler(self.objects, self.index, SystemClock(), settings)
        for each in map(sent, datasets):
            answer = handler.store(StoreRequest(each.sop_class, each.sop_instance, each.syntax, each.data))
            assert answer.status == 0

    def assembler(self, **settings) -> Assembler:
        """An assembler with its own handle on the index, as in a process of its own."""
        return Assembler(
            self.open_index(self.folder),
            StudyReader(self.objects),
            self.clock,
            Rules(),
            AssemblySettings(**{"grace_s": 0.0, "give_up_s": 3600.0} | settings),
            Fetcher(()),
        )

    def case(self, study):
        """The study's case."""
        return self.index.case(case_id(study.study_uid))

    def hours_later(self, study):
        """The study's case after some more hours: a look that began before them names its next one after them."""
        self.clock.ahead += timedelta(hours=2)
        return self.case(study)

    def topics(self) -> list[str]:
        """What waits to be published."""
        return [event.topic for _, event in self.index.outbox()]


@pytest.fixture(params=INDEXES)
def site(request, tmp_path):
    return Site(tmp_path, INDEXES[request.param])


@pytest.fixture
def gap():
    """A study from which one slice under the crop is missing."""
    study = small_study(seed=41)
    missing = study.truth["venous"].largest_slice_uid
    return study, [one for one in study.instances if one.SOPInstanceUID != missing]


def test_a_case_whose_assembler_died_is_looked_at_by_another(site, gap):
    """Long after the time to give up a missing slice, a living assembler says so in place of the dead one."""
    study, instances = gap
    living, stop = site.assembler(), threading.Event()
    thread = threading.Thread(target=living.run, args=[stop])
    thread.start()
    try:
        site.store(instances)
        site.assembler().step()  # this one assesses once and is never heard of again
        wait_until(lambda: not site.index.unassessed(), "the first assessment")
        assert site.case(study).state is CaseState.WAITING
        wait_until(lambda: site.hours_later(study).state is CaseState.NOT_EVALUABLE, "another's look")
        assert site.topics() == ["case-refused"]
    finally:
        stop.set()
        thread.join()


def test_a_case_that_somebody_watches_is_left_to_him(site, gap):
    """Before its next look is overdue, no other assembler touches the study."""
    study, instances = gap
    site.store(instances)
    site.assembler().step()
    assert site.case(study).state is CaseState.WAITING
    other = site.assembler()
    other._adopt_overdue()
    assert other.step() == 0
    assert site.index.unassessed() == []


def test_assemblers_that_agree_publish_once(site):
    """However many assess a complete study at once, preprocess hears of it once."""
    study = small_study(seed=42)
    site.store(study.instances)
    assemblers = [site.assembler() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(Assembler.step, assemblers))
    assert site.case(study).state is CaseState.READY
    assert site.topics() == ["case-ready"]
