"""What each fact carries, as types. Made from schemas/events by ``python tools/generate_events.py``."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypeAlias, TypedDict


class CaseReadyV1(TypedDict):
    """Every slice that the crops need is durable."""

    version: Literal[1]
    case_id: str
    """Digest of the Study Instance UID; names no patient."""
    input_digest: str
    """SHA-256 over ROI objects, ROI numbers and need-set bytes."""


class CaseRefusedV1(TypedDict):
    """The inputs cannot be evaluated."""

    version: Literal[1]
    case_id: str
    """Digest of the Study Instance UID; names no patient."""
    input_digest: str
    """SHA-256 over ROI objects, ROI numbers and need-set bytes."""
    reason: str
    """Value of the enumeration of reasons; a DICOM code value."""
    detail: str
    """A sentence for a person; names no patient."""
    candidates: NotRequired[list[str]]
    """ROIs that a person may choose from."""


class ClinicalUpdatedV1(TypedDict):
    """A person or a file changed the covariates of the case."""

    version: Literal[1]
    case_id: str
    """Digest of the Study Instance UID; names no patient."""


class CropReadyV1(TypedDict):
    """Both crops lie in the object store."""

    version: Literal[1]
    case_id: str
    """Digest of the Study Instance UID; names no patient."""
    input_digest: str
    """SHA-256 over ROI objects, ROI numbers and need-set bytes."""
    crop_key: str
    """Key of both crops in the object store."""


class DeadLetterV1(TypedDict):
    """A message that a group set aside, with the reason; it stays until a person replays or drops it."""

    version: Literal[1]
    group: str
    """The consumer group that set it aside."""
    origin: str
    """Topic, partition and offset of the message, joined by slashes."""
    topic: str
    """The fact that the message stated."""
    key: str
    """Its partition key: the case id."""
    payload: dict[str, Any]
    """Its data, or what could be read of them; of bytes that are no JSON object, `base64` holds the first 48 KiB."""
    traceparent: NotRequired[str]
    """W3C trace context of the message; empty where nothing is traced."""
    deliveries: int
    """How often the message was taken."""
    why: str
    """The reason, for a person; holds no patient data."""
    failed_at: str
    """When it was set aside (ISO 8601)."""


class Sent(TypedDict):
    """Present for the storage commitment step: what the PACS answered 0x0000 for, which by negotiation may be a fall-back class, and after how many tries."""

    sop_class_uid: str
    sop_instance_uid: str
    attempts: int


class DeliveryRequestedV1(TypedDict):
    """One object is to go to one destination."""

    version: Literal[1]
    case_id: str
    """Digest of the Study Instance UID; names no patient."""
    input_digest: str
    """SHA-256 over ROI objects, ROI numbers and need-set bytes."""
    kind: Literal["sr", "figure"]
    """Which document of the report."""
    sop_instance_uid: str
    """SOP Instance UID of our own document."""
    object_keys: list[str]
    """Object keys of the encodings, best first."""
    destination: str
    """Name of a configured PACS."""
    sent: NotRequired[Sent]
    """Present for the storage commitment step: what the PACS answered 0x0000 for, which by negotiation may be a fall-back class, and after how many tries."""
    resends: NotRequired[int]
    """How often the PACS refused storage commitment, so that the object is sent again."""


class ReportDeliveredV1(TypedDict):
    """A structured report is in a PACS (or there is none to send it to)."""

    version: Literal[1]
    case_id: str
    """Digest of the Study Instance UID; names no patient."""
    input_digest: str
    """SHA-256 over ROI objects, ROI numbers and need-set bytes."""
    kind: Literal["sr", "figure"]
    """Which document of the report."""
    sop_instance_uid: str
    """SOP Instance UID of our own document."""


class ReportReadyV1(TypedDict):
    """A DICOM object is ready to go out."""

    version: Literal[1]
    case_id: str
    """Digest of the Study Instance UID; names no patient."""
    input_digest: str
    """SHA-256 over ROI objects, ROI numbers and need-set bytes."""
    kind: Literal["sr", "figure"]
    """Which document of the report."""
    sop_instance_uid: str
    """SOP Instance UID of our own document."""
    object_keys: list[str]
    """Object keys of the encodings, best first."""


Payload: TypeAlias = (
    CaseReadyV1
    | CaseRefusedV1
    | ClinicalUpdatedV1
    | CropReadyV1
    | DeadLetterV1
    | DeliveryRequestedV1
    | ReportDeliveredV1
    | ReportReadyV1
)
