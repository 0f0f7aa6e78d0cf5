"""The facts, one constructor each, so that no service spells a topic or a field by hand; the type checker holds each
constructor to the model that its schema gives.

Events carry references only: case id, digests, object keys, SOP Instance UIDs of our own reports.
Never pixels, never anything of the patient's.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from prognode.events import models

CASE_READY = "case-ready"
CASE_REFUSED = "case-refused"
CROP_READY = "crop-ready"
CLINICAL_UPDATED = "clinical-updated"
REPORT_READY = "report-ready"
DELIVERY_REQUESTED = "delivery-requested"
REPORT_DELIVERED = "report-delivered"

TOPICS = (
    CASE_READY,
    CASE_REFUSED,
    CROP_READY,
    CLINICAL_UPDATED,
    REPORT_READY,
    DELIVERY_REQUESTED,
    REPORT_DELIVERED,
)

ReportKind = Literal["sr", "figure"]


@dataclass(frozen=True, slots=True)
class Event:
    """A past-tense fact with a version: references only, never pixels, never patient names."""

    topic: str
    key: str
    """Partition key: the case id."""
    payload: dict[str, Any]
    traceparent: str = field(default="", compare=False)
    """W3C trace context of the work that the fact came of; empty where nothing is traced."""
    id: str = field(default_factory=lambda: uuid.uuid4().hex, compare=False)
    """Names this statement of the fact: a consumer drops what comes again under the same id."""


def _fact(topic: str, payload: models.Payload) -> Event:
    data = dict(payload)
    return Event(topic, str(data["case_id"]), data)


def case_ready(case_id: str, input_digest: str) -> Event:
    """Every slice that the crops need is durable."""
    return _fact(CASE_READY, models.CaseReadyV1(version=1, case_id=case_id, input_digest=input_digest))


def case_refused(
    case_id: str, input_digest: str, reason: str, detail: str, candidates: Sequence[str] = ()
) -> Event:
    """The inputs cannot be evaluated; ``reason`` is a value of :class:`prognode.errors.Reason`."""
    return _fact(
        CASE_REFUSED,
        models.CaseRefusedV1(
            version=1,
            case_id=case_id,
            input_digest=input_digest,
            reason=reason,
            detail=detail,
            candidates=list(candidates),
        ),
    )


def crop_ready(case_id: str, input_digest: str, crop_key: str) -> Event:
    """Both crops lie in the object store under ``crop_key``."""
    return _fact(
        CROP_READY,
        models.CropReadyV1(version=1, case_id=case_id, input_digest=input_digest, crop_key=crop_key),
    )


def clinical_updated(case_id: str) -> Event:
    """A person or a file changed the covariates of the case."""
    return _fact(CLINICAL_UPDATED, models.ClinicalUpdatedV1(version=1, case_id=case_id))


def report_ready(
    case_id: str, input_digest: str, kind: ReportKind, sop_instance_uid: str, object_keys: Sequence[str]
) -> Event:
    """A DICOM object is ready to go out; ``object_keys`` are its encodings, best first."""
    return _fact(
        REPORT_READY,
        models.ReportReadyV1(
            version=1,
            case_id=case_id,
            input_digest=input_digest,
            kind=kind,
            sop_instance_uid=sop_instance_uid,
            object_keys=list(object_keys),
        ),
    )


def delivery_requested(
    ready: Event, destination: str, *, sent: models.Sent | None = None, resends: int = 0
) -> Event:
    """The object of ``ready`` (a ``report-ready`` or an earlier ``delivery-requested``) is to go to ``destination``.

    ``sent`` asks for the storage commitment step; ``resends`` counts how often it was refused.
    """
    said = ready.payload
    payload = models.DeliveryRequestedV1(
        version=1,
        case_id=said["case_id"],
        input_digest=said["input_digest"],
        kind=said["kind"],
        sop_instance_uid=said["sop_instance_uid"],
        object_keys=said["object_keys"],
        destination=destination,
    )
    if sent is not None:
        payload["sent"] = sent
    if resends:
        payload["resends"] = resends
    return _fact(DELIVERY_REQUESTED, payload)


def report_delivered(ready: Event) -> Event:
    """The structured report of ``ready`` (a ``report-ready`` or a ``delivery-requested``) is in a PACS, or has none to go to."""
    said = ready.payload
    return _fact(
        REPORT_DELIVERED,
        models.ReportDeliveredV1(
            version=1,
            case_id=said["case_id"],
            input_digest=said["input_digest"],
            kind=said["kind"],
            sop_instance_uid=said["sop_instance_uid"],
        ),
    )
