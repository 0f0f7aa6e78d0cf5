"""Watches what is durable of each study and says when its case can be worked on.

An assessment follows each arrival that can matter: an image that the case waits for, a contour object, an operator's
choice. A case that is ready starts at once; a refusal waits until the study has been quiet for a while, because what
is missing may still be on its way. What stays missing is fetched from a PACS, exactly those instances.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog

from prognode import metrics
from prognode.domain.identity import case_id as case_id_of
from prognode.domain.identity import digest
from prognode.domain.readiness import Assessment, Choices, Rules, assess
from prognode.errors import Unavailable
from prognode.events import facts
from prognode.ports import Case, CaseState, Clock, Event, Index, Instance
from prognode.runtime import tracing
from prognode.runtime.studies import StudyReader, is_roi_object, series_views
from prognode.runtime.worker import frames_of
from services.receiver.assembly_settings import AssemblySettings
from services.receiver.fetching import Fetcher

log = structlog.get_logger()

STORED_BUT_IDLE_S = 0.5
"""Arrivals that no case waits for are looked at this often, not one by one."""

LOOK_AGAIN = "look_again_at"
"""In the assessment of a case that waits: when time alone may change the answer (ISO 8601, UTC)."""


@dataclass
class Assembler:
    """Turns durable instances into ``case-ready`` and ``case-refused``."""

    index: Index
    reader: StudyReader
    clock: Clock
    rules: Rules
    settings: AssemblySettings
    fetcher: Fetcher
    on_facts: threading.Event = field(default_factory=threading.Event)
    """Set after facts were written to the outbox."""
    _wake: threading.Event = field(default_factory=threading.Event, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _urgent: bool = field(default=False, init=False)
    _awaited: dict[str, set[str]] = field(default_factory=dict, init=False)
    _traces: dict[str, str] = field(default_factory=dict, init=False)
    """Context of the store that came last, by study."""
    _due: dict[str, float] = field(default_factory=dict, init=False)
    _next_adoption: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.fetcher.on_failed = self._look_again

    # ------------------------------------------------------------ waking

    def on_stored(self, instance: Instance) -> None:
        """An instance became durable: assess at once if a case may be waiting for it."""
        with self._lock:
            self._traces[instance.study_instance_uid] = tracing.traceparent()
            awaited = self._awaited.get(instance.study_instance_uid)
            if awaited is not None:
                awaited.discard(instance.sop_instance_uid)
            if is_roi_object(instance) or awaited is None or not awaited:
                self._urgent = True
        if self._urgent:
            self._wake.set()

    def run(self, stop: threading.Event) -> None:
        """Assess studies as they change, and again when their quiet time is over."""
        self._adopt(self.index.cases(CaseState.WAITING))
        while not stop.is_set():
            self._wake.wait(timeout=STORED_BUT_IDLE_S)
            self._wake.clear()
            self._urgent = False
            self.step()
            self._adopt_overdue()

    def _adopt_overdue(self) -> None:
        """Watch over the cases of assemblers that died: those that nobody looked at again when it was time."""
        now = time.monotonic()
        if now < self._next_adoption:
            return
        self._next_adoption = now + max(self.settings.grace_s, STORED_BUT_IDLE_S)
        self._adopt(case for case in self.index.cases(CaseState.WAITING) if self._is_overdue(case))

    def _adopt(self, cases: Iterable[Case]) -> None:
        for case in cases:
            self._look_within(case.study_instance_uid, self.settings.grace_s)

    def _is_overdue(self, case: Case) -> bool:
        """Whether the case's next look is longer ago than a living assembler would let it be."""
        look_again = case.assessment.get(LOOK_AGAIN)
        late = timedelta(seconds=max(self.settings.grace_s, STORED_BUT_IDLE_S))
        return look_again is None or datetime.fromisoformat(look_again) + late < self.clock.now()

    def step(self) -> int:
        """Assess every study that changed or whose time has come; how many."""
        done = 0
        for study_uid, revision in self.index.unassessed():
            self._assess_or_report(study_uid, revision)
            done += 1
        now = time.monotonic()
        for study_uid in [uid for uid, due in list(self._due.items()) if due <= now]:
            del self._due[study_uid]
            self.index.touch(study_uid)
            done += 1
            self._wake.set()
        return done

    # ------------------------------------------------------------ assessing

    def _assess_or_report(self, study_uid: str, revision: int) -> None:
        """Assess; a bug that one study meets is reported with that study and stops no other."""
        try:
            self.assess_study(study_uid, revision)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - the next arrival, or a repaired release, assesses it again
            # the type alone: an exception's text may quote a data set
            why = f"{type(error).__name__} while the study was assessed"
            self.index.report_problem(study_uid, "assessment-failed", why)
            self.index.save_assessment(None, study_uid, revision, [])
            log.error("assessment-failed", case_id=case_id_of(study_uid), why=why, trace=frames_of(error))

    def assess_study(self, study_uid: str, revision: int) -> None:
        """Assess one study as it is at ``revision`` and record what follows, state and facts together."""
        instances = self.index.instances(study_uid)
        if not any(is_roi_object(instance) for instance in instances):
            self._forget(study_uid)
            self.index.save_assessment(None, study_uid, revision, [])
            return
        case_id = case_id_of(study_uid)
        known = self.index.case(case_id)
        with tracing.span("assess", self._traces.get(study_uid, ""), case_id=case_id):
            found = self._assess(study_uid, instances, self._choices(case_id))
            case, events = self._decide(study_uid, known, found, instances)
            context = tracing.traceparent()
            events = [replace(event, traceparent=context) for event in events]
            self.index.save_assessment(case, study_uid, revision, events)
        if events:
            self._measure(case.state, instances)
            self.on_facts.set()
            log.info("assessed", case_id=case_id, state=case.state.value, facts=[e.topic for e in events])
        self._remember(study_uid, found, instances)

    def _assess(self, study_uid: str, instances: Sequence[Instance], choices: Choices) -> Assessment:
        quiet_s = self._quiet_s(instances)
        quiet = quiet_s >= self.settings.grace_s
        series = series_views(instances)

        def look(*, fetch_exhausted: bool) -> Assessment:
            return assess(
                series,
                self.reader.rois(instances),
                self.rules,
                choices,
                quiet=quiet,
                fetch_exhausted=fetch_exhausted,
            )

        found = look(fetch_exhausted=quiet_s >= self.settings.give_up_s)
        if found.state == "waiting" and quiet and self.fetcher.fetch(study_uid, found):
            found = look(fetch_exhausted=True)
        return found

    def _quiet_s(self, instances: Iterable[Instance]) -> float:
        latest = max(instance.received_at for instance in instances)
        return (self.clock.now() - latest) / timedelta(seconds=1)

    def _choices(self, case_id: str) -> Choices:
        return Choices.from_json(self.index.choices(case_id))

    def _measure(self, state: CaseState, instances: Sequence[Instance]) -> None:
        """How long the case took to come so far, and how long its contours waited for images."""
        now = self.clock.now()
        last = max(instance.received_at for instance in instances)
        first = min(instance.received_at for instance in instances if is_roi_object(instance))
        metrics.case_seconds.labels(state.value).observe(max(0.0, (now - last).total_seconds()))
        if state is CaseState.READY:
            metrics.need_set_wait_seconds.observe(max(0.0, (now - first).total_seconds()))

    def _decide(
        self, study_uid: str, known: Case | None, found: Assessment, instances: Sequence[Instance]
    ) -> tuple[Case, list[Event]]:
        """The case's new row, and the facts that its change publishes."""
        case_id = case_id_of(study_uid)
        too_early = found.state == "not-evaluable" and not self._is_quiet(instances)
        if too_early or found.state == "waiting":
            case = self._case(case_id, study_uid, known, CaseState.WAITING, found, None)
            look_again = self.clock.now() + timedelta(seconds=self._next_look_s(instances))
            return replace(case, assessment=case.assessment | {LOOK_AGAIN: look_again.isoformat()}), []
        inputs = self._input_digest(found, instances)
        if known is not None and known.input_digest == inputs and known.state is not CaseState.WAITING:
            return self._case(case_id, study_uid, known, known.state, found, inputs), []
        if found.state == "ready":
            case = self._case(case_id, study_uid, known, CaseState.READY, found, inputs)
            return case, [facts.case_ready(case_id, inputs)]
        assert found.reason is not None
        case = self._case(case_id, study_uid, known, CaseState.NOT_EVALUABLE, found, inputs)
        refused = facts.case_refused(case_id, inputs, found.reason.value, found.detail, found.candidates)
        return case, [refused]

    def _is_quiet(self, instances: Sequence[Instance]) -> bool:
        return self._quiet_s(instances) >= self.settings.grace_s

    def _case(
        self,
        case_id: str,
        study_uid: str,
        known: Case | None,
        state: CaseState,
        found: Assessment,
        inputs: str | None,
    ) -> Case:
        return Case(
            case_id=case_id,
            study_instance_uid=study_uid,
            state=state,
            updated_at=self.clock.now(),
            input_digest=inputs,
            assessment=found.to_json(),
            outcome=known.outcome if known else {},
        )

    def _input_digest(self, found: Assessment, instances: Sequence[Instance]) -> str:
        """SHA-256 over what the decision rests on: ROI objects, ROI numbers and the bytes of the need-set."""
        sha256 = {i.sop_instance_uid: i.sha256 for i in instances}
        if found.state == "not-evaluable":
            rois = sorted(i.sha256 for i in instances if is_roi_object(i))
            pinned = any(i.card.get("planes") for i in instances if not is_roi_object(i))
            return digest("refused", str(found.reason), found.detail, str(pinned), *found.candidates, *rois)
        parts = ["ready"]
        for need in found.needs:
            parts += [need.series_instance_uid, sha256[need.roi.object_uid], str(need.roi.number)]
            parts += [sha256[plane.sop_instance_uid] for plane in need.planes]
        return digest(*parts, *(f"{uid}={phase}" for uid, phase in sorted(found.phases.items())))

    # ------------------------------------------------------------ waiting

    def _remember(self, study_uid: str, found: Assessment, instances: Sequence[Instance]) -> None:
        """What would change the answer: the images waited for, or time."""
        with self._lock:
            uids = {wait.sop_instance_uid for wait in found.waiting_for}
            if found.state == "waiting" and uids and None not in uids:
                self._awaited[study_uid] = {uid for uid in uids if uid}
            elif found.state == "waiting":
                self._awaited.pop(study_uid, None)
            else:
                self._awaited[study_uid] = {"settled"}
        if found.state == "ready":
            self._due.pop(study_uid, None)
        else:
            self._look_within(study_uid, self._next_look_s(instances))

    def _look_again(self, study_uid: str) -> None:
        """No peer could be asked: the next quiet time ends a grace period from now."""
        self._look_within(study_uid, max(self.settings.grace_s, STORED_BUT_IDLE_S))

    def _look_within(self, study_uid: str, seconds: float) -> None:
        """Look at the study again in so many seconds, or before, where that is settled already."""
        due = time.monotonic() + seconds
        self._due[study_uid] = min(due, self._due.get(study_uid, due))

    def _next_look_s(self, instances: Iterable[Instance]) -> float:
        quiet_s = self._quiet_s(instances)
        for limit in (self.settings.grace_s, self.settings.give_up_s):
            if quiet_s < limit:
                return limit - quiet_s + 0.05
        return self.settings.give_up_s

    def _forget(self, study_uid: str) -> None:
        """A study without contours waits for nothing but contours, and those always wake."""
        with self._lock:
            self._awaited[study_uid] = {"contours"}


def rules_of(settings: AssemblySettings) -> Rules:
    """Which ROI is the tumour: the installer's rules where there are any, else the built-in ones."""
    given = {
        name: value for name in ("roi_name_patterns", "segment_codes") if (value := getattr(settings, name))
    }
    return Rules(**given)
