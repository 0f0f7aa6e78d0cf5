"""What the services need from the outside, as nouns. Adapters say how; the composition root chooses.

Every method may raise :class:`~prognode.errors.Unavailable` when the outside does not answer now.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from prognode.events.facts import Event as Event

JSON = dict[str, Any]


# ---------------------------------------------------------------- objects


class ObjectStore(Protocol):
    """Bytes under keys. Keys are made by this code (digests, fixed words), never from a peer's strings."""

    def put(self, key: str, data: bytes) -> None:
        """Store ``data``; durable (fsync) on return; the same key with the same bytes is no error."""

    def get(self, key: str) -> bytes:
        """Return the bytes; ``KeyError`` when there are none."""

    def exists(self, key: str) -> bool: ...

    def delete(self, key: str) -> None:
        """Remove the key if it is there."""

    def used_fraction(self) -> float:
        """How full the medium is, 0 to 1."""

    def check(self) -> None:
        """Whether it answers; raises Unavailable."""


# ---------------------------------------------------------------- index


class Registered(StrEnum):
    """What became of an instance offered to the index."""

    NEW = "new"
    DUPLICATE = "duplicate"  # same UID, same bytes
    CONFLICT = "conflict"  # same UID, other bytes: kept out, reported
    FOREIGN_PATIENT = "foreign-patient"  # the study is known under another patient


@dataclass(frozen=True, slots=True)
class Instance:
    """Index row of one stored DICOM instance. ``card`` holds the header values that later decisions need."""

    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    study_instance_uid: str
    series_instance_uid: str
    modality: str
    object_key: str
    sha256: str
    size_bytes: int
    received_at: datetime
    card: JSON


class CaseState(StrEnum):
    """Where a case stands."""

    WAITING = "waiting"  # not all of the need-set is durable
    READY = "ready"  # published to preprocess
    PRELIMINARY = "preliminary"  # signature-only report is out, covariates are missing
    REPORTED = "reported"  # full report is out
    NOT_EVALUABLE = "not-evaluable"  # a report that says so is out


@dataclass(frozen=True, slots=True)
class Case:
    """One study with tumour contours. The id is a digest of the Study Instance UID, so that it names no patient."""

    case_id: str
    study_instance_uid: str
    state: CaseState
    updated_at: datetime
    input_digest: str | None = None
    """Identity of the inputs that the state speaks of."""
    assessment: JSON = field(default_factory=dict)
    """What readiness found: waiting_for, need_set, rois, reasons, phases; see domain.readiness. Of a case that waits also
    look_again_at: when time alone may change the answer."""
    outcome: JSON = field(default_factory=dict)
    """What scoring found: report keys, SOP Instance UIDs, numbers."""


@dataclass(frozen=True, slots=True)
class CaseCount:
    """How many cases stand alike."""

    state: CaseState
    waiting_for: str
    """Of cases that wait: the kind of what each waits for first; see domain.readiness. Empty otherwise."""
    count: int
    oldest_s: float
    """The longest time that nothing has happened to one of them: since the last arrival for a case that waits, since the
    last change of its row for any other."""


DELIVERED = ("stored", "committed")
"""States of a delivery in which the PACS has the object."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One object on its way to one PACS."""

    sop_instance_uid: str
    destination: str
    state: str  # pending | stored | committed | failed
    attempts: int
    last_status: str
    updated_at: datetime


class Index(Protocol):
    """Durable knowledge about instances, cases, covariates and deliveries."""

    def register(self, instance: Instance, patient_key: str) -> Registered:
        """Insert the instance and raise its study's revision, durable on return.

        ``patient_key`` is a digest of the patient's identity; the first one seen owns the study.
        """

    def instance(self, sop_instance_uid: str) -> Instance | None: ...

    def instances(self, study_instance_uid: str) -> list[Instance]: ...

    def studies(self) -> list[str]:
        """Study Instance UIDs of everything that was registered."""

    def report_problem(self, study_instance_uid: str, kind: str, detail: str) -> None:
        """Note something a person should see (conflicting re-send, foreign patient); no patient data."""

    def problems(self, study_instance_uid: str | None = None) -> list[JSON]: ...

    def unassessed(self) -> list[tuple[str, int]]:
        """Studies whose revision is newer than their last assessment: (study UID, revision)."""

    def touch(self, study_instance_uid: str) -> None:
        """Raise the study's revision, so that it is assessed again (operator's choice, replay)."""

    def save_assessment(
        self, case: Case | None, study_instance_uid: str, revision: int, events: Sequence[Event]
    ) -> None:
        """In ONE transaction: case row, assessed revision, and ``events`` into the outbox.

        Several may assess a study at once. An assessment of an older revision than one that is saved changes nothing;
        of one revision, waiting does not undo a decision. Where the stored case says the same already (the same
        ``input_digest``, not waiting), ``events`` are out and are not put there again.
        """

    def save_outcome(self, case_id: str, input_digest: str, state: CaseState, outcome: JSON) -> bool:
        """Set state and outcome if the case's input digest is still ``input_digest``; False if it moved on."""

    def outbox(self, limit: int = 100) -> list[tuple[int, Event]]:
        """What waits to be published, oldest first, to look at: (number, fact)."""

    def publish_outbox(self, publish: Callable[[Sequence[Event]], None], limit: int = 100) -> int:
        """Give the oldest facts to ``publish`` and take them out of the outbox; how many.

        What ``publish`` raises leaves them there. Of several who do this at once, one publishes at a time, so that the
        facts of a case keep their order; who would wait too long returns 0. Nobody who writes waits for ``publish``.
        """

    def outbox_age_s(self) -> float:
        """How long the oldest fact in the outbox has waited; 0 when it is empty."""

    def case(self, case_id: str) -> Case | None: ...

    def cases(self, state: CaseState | None = None) -> list[Case]:
        """All cases, or those in one state; newest last."""

    def case_counts(self) -> list[CaseCount]:
        """How many cases there are, by state and by what they wait for; only what there is at least one of."""

    def choices(self, case_id: str) -> JSON:
        """Operator's choices: {"phases": {series_uid: "arterial"|"venous"}, "rois": {phase: "object_uid#number"}}."""

    def save_choices(self, case_id: str, choices: JSON) -> None: ...

    def clinical(self, case_id: str) -> JSON:
        """Covariates set by hand: {"ki67_percent": 20.0, "m_stage": "M0", "longest_diameter_mm": 41.0}."""

    def save_clinical(self, case_id: str, values: JSON, events: Sequence[Event]) -> None: ...

    def delivery(self, sop_instance_uid: str, destination: str) -> Delivery | None: ...

    def deliveries(self, sop_instance_uid: str | None = None) -> list[Delivery]: ...

    def save_delivery(self, delivery: Delivery) -> None: ...

    def open_commitment(self, transaction_uid: str, destination: str, sop_instance_uid: str) -> None:
        """Note that a PACS is about to be asked to commit to an instance, under this transaction."""

    def record_commitment(self, transaction_uid: str, committed: Collection[str]) -> None:
        """Note a verdict, whichever process heard it: the transaction's instance is committed if it is among these.

        A transaction that is not open, or has its verdict, is left as it is.
        """

    def take_commitment(self, destination: str, sop_instance_uid: str) -> bool | None:
        """Take out the newest verdict about an instance, and with it what else was asked of it; None if there is none."""


# ---------------------------------------------------------------- bus


@dataclass(frozen=True, slots=True)
class Message:
    """An event as a consumer group sees it."""

    id: str
    event: Event
    attempts: int
    """How often it was taken before."""
    abandoned: int = 0
    """How often whoever had taken it died, or let the lease end, without a word."""
    fault: str = ""
    """Why it is no event at all (not JSON, no envelope): then ``event`` holds what could be read of it."""


class Bus(Protocol):
    """A durable queue with consumer groups, at-least-once."""

    def publish(self, events: Sequence[Event]) -> None:
        """Durable on return."""

    def receive(self, group: str, topics: Sequence[str], timeout_s: float) -> Message | None:
        """Next message for the group, oldest first; leased to the caller until done, retried or dead."""

    def done(self, group: str, message: Message, then: Sequence[Event] = ()) -> None:
        """Publish ``then`` and acknowledge the message; in that order, atomically where the technology can."""

    def retry(self, group: str, message: Message, delay_s: float, why: str) -> None:
        """Hand back; it comes again after ``delay_s``, with attempts + 1."""

    def dead(self, group: str, message: Message, why: str) -> None:
        """Set aside with a reason that a person can see."""

    def dead_letters(self) -> list[JSON]:
        """What was set aside, oldest first: id, group, topic, key, payload, deliveries, why."""

    def replay_dead_letter(self, letter_id: str) -> bool:
        """Have it handled again as if it were new; False if there is no such letter."""

    def drop_dead_letter(self, letter_id: str) -> bool:
        """Forget it; False if there is no such letter."""

    def lag(self, group: str) -> dict[str, int]:
        """Messages that the group has not finished, by topic; of a shared group those that this process must answer for."""

    def check(self) -> None:
        """Whether it answers; raises Unavailable."""

    def close(self) -> None:
        """Give everything up that is in hand; the bus is not used afterwards."""

    def subscribe(self, group: str, topics: Sequence[str]) -> None:
        """Declare a group; events published before a group exists are kept for it as well."""


# ---------------------------------------------------------------- inference


class Extractor(Protocol):
    """ResNet-50 without top, preprocessing inside, global max pooling."""

    sha256: str
    """Digest of the model file: the recipe names it."""

    def features(self, crops_hu: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, 3, 224, 224) Hounsfield units -> (n, 2048). Bitwise the same for the same input on one machine."""

    def check(self) -> None:
        """Whether it answers; raises Unavailable."""


# ---------------------------------------------------------------- peers


@dataclass(frozen=True, slots=True)
class SendResult:
    """What the peer answered for one object."""

    status: int | None
    """DIMSE status; None if no answer came."""
    detail: str
    sop_class_uid: str
    sop_instance_uid: str
    """What was sent: by negotiation, it may be a fall-back class with its own UID."""


class Pacs(Protocol):
    """One configured peer."""

    name: str

    def echo(self) -> None: ...

    def send(self, variants: Sequence[bytes]) -> SendResult:
        """C-STORE the first of ``variants`` (DICOM files, best first) whose SOP class the peer accepts."""

    def commit(self, sop_class_uid: str, sop_instance_uid: str) -> bool | None:
        """Storage commitment: True committed, False refused, None not offered or no answer yet."""

    def fetch(self, study_uid: str, series_uid: str, sop_instance_uids: Sequence[str]) -> int:
        """Ask for exactly these instances (C-GET or C-MOVE); returns how many the peer says it sent."""

    def find_images(self, study_uid: str, series_uid: str) -> list[JSON]:
        """IMAGE-level C-FIND: dicts with sop_instance_uid, instance_number, position_lps_mm (each may be None)."""


class ClinicalSource(Protocol):
    """Covariates that a hospital's own system exports, keyed by patient id or accession number."""

    def changed(self) -> bool:
        """Whether there is something that no lookup has seen yet."""

    def lookup(self, patient_id: str, accession_number: str) -> JSON:
        """Covariates as ``Index.clinical`` gives them; empty when the patient is not listed."""


class Clock(Protocol):
    """Time, so that tests own it."""

    def now(self) -> datetime: ...


# names a fetcher of missing instances may be absent: embedded nodes without a PACS pass an empty sequence
Peers = Sequence[Pacs]
