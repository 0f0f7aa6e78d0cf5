"""A case that cannot be evaluated still gets an answer: a report that says why, pinned to one of its images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prognode.dicom.cards import planes_from_card
from prognode.domain.identity import digest
from prognode.domain.report import RecipeIdentity, Report, RoiReference
from prognode.errors import Reason
from prognode.ports import JSON, Case, Instance
from prognode.runtime.studies import is_roi_object


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why, as a code, a sentence, and what a person may choose from."""

    reason: Reason
    detail: str
    candidates: tuple[str, ...] = ()
    covariates_digest: str = digest("none")
    """Of the covariates that were refused; other values are another refusal, with a report of its own."""

    def to_json(self) -> JSON:
        """As the case's outcome keeps it."""
        return {"reason": self.reason.value, "detail": self.detail, "candidates": list(self.candidates)}


def refusal_report(
    case: Case,
    refusal: Refusal,
    instances: Sequence[Instance],
    recipe: RecipeIdentity,
    notices: tuple[str, ...],
) -> tuple[Report, Instance] | None:
    """The report and the image it is pinned to; None while no image of the study is here."""
    anchor = anchor_image(instances)
    if anchor is None:
        return None
    roi_objects = [instance for instance in instances if is_roi_object(instance)]
    report = Report(
        case_id=case.case_id,
        status="not-evaluable",
        notices=notices,
        study_instance_uid=case.study_instance_uid,
        findings=(),
        prognosis=None,
        recipe=recipe,
        input_digest=str(case.input_digest),
        covariates_digest=refusal.covariates_digest,
        content_datetime=max(i.received_at for i in (*roi_objects, anchor)).strftime("%Y%m%d%H%M%S"),
        reason=refusal.reason,
        reason_detail=refusal.detail,
        candidates=refusal.candidates,
        anchor=planes_from_card(anchor.card)[0],
        anchor_series_uid=anchor.series_instance_uid,
        roi_objects=tuple(_reference(instance) for instance in roi_objects),
    )
    return report, anchor


def anchor_image(instances: Sequence[Instance]) -> Instance | None:
    """The image that a refusal is pinned to: of those with a position, CT first, the lowest UID; None if there is none.

    The choice must not depend on the order of arrival: the same inputs give the same bytes.
    """
    placed = [i for i in instances if not is_roi_object(i) and i.card.get("planes")]
    return min(placed, key=lambda i: (i.modality != "CT", i.sop_instance_uid), default=None)


def _reference(instance: Instance) -> RoiReference:
    return RoiReference(
        kind="RTSTRUCT" if instance.modality == "RTSTRUCT" else "SEG",
        sop_instance_uid=instance.sop_instance_uid,
        sop_class_uid=instance.sop_class_uid,
        series_instance_uid=instance.series_instance_uid,
        number=0,
        name="",
    )
