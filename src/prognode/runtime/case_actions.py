"""What a person may see of a case and decide about it, whatever the way: command line or console."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from prognode.domain.covariates import parse_clinical
from prognode.domain.identity import figure_of
from prognode.errors import BadRequest
from prognode.events import facts
from prognode.ports import DELIVERED, JSON, Case, CaseState, Index

PHASES = {"arterial", "venous"}


def find_case(index: Index, name: str) -> Case:
    """The one case that ``name`` means: an id, a beginning of one, or a Study Instance UID. Raises BadRequest."""
    cases = index.cases()
    exact = [case for case in cases if name in (case.case_id, case.study_instance_uid)]
    found = exact or [case for case in cases if case.case_id.startswith(name)]
    if len(found) != 1:
        many = (
            f"{len(found)} cases match '{name}'; give more characters"
            if found
            else f"no case matches '{name}'"
        )
        raise BadRequest(f"{many}; `prognode case list` shows them all")
    return found[0]


def headline(case: Case) -> str:
    """One line about a case."""
    if case.outcome.get("reason"):
        return f"{case.outcome['reason']}: {case.outcome['detail']}"
    waits = case.assessment.get("waiting_for") or []
    if case.state == "waiting" and waits:
        more = f" (and {len(waits) - 1} more)" if len(waits) > 1 else ""
        return f"waits for {waits[0]['text']}{more}"
    if case.assessment.get("reason"):
        return f"{case.assessment['reason']}: {case.assessment.get('detail', '')}"
    return str(case.outcome.get("says", ""))


def describe(index: Index, case: Case) -> dict[str, Any]:
    """A case with everything the index knows about it."""
    return {
        "case_id": case.case_id,
        "study_instance_uid": case.study_instance_uid,
        "state": case.state.value,
        "updated_at": case.updated_at.isoformat(),
        "input_digest": case.input_digest,
        "assessment": case.assessment,
        "outcome": case.outcome,
        "clinical": index.clinical(case.case_id),
        "choices": index.choices(case.case_id),
        "problems": index.problems(case.study_instance_uid),
        "deliveries": [
            {
                "destination": each.destination,
                "state": each.state,
                "attempts": each.attempts,
                "last_status": each.last_status,
            }
            for each in index.deliveries(_sr_uid(case))
        ],
    }


def set_clinical(index: Index, case: Case, given: Mapping[str, Any]) -> JSON:
    """Keep covariates, have the case scored again, and answer what was given. Raises BadRequest."""
    values = parse_clinical(given)
    if not values:
        raise BadRequest("nothing given; name at least one of --ki67, --m-stage and --diameter-mm")
    merged = {**index.clinical(case.case_id), **values, "set_at": f"{datetime.now(UTC):%Y%m%d%H%M%S}"}
    index.save_clinical(case.case_id, merged, [facts.clinical_updated(case.case_id)])
    return values


def choose(index: Index, case: Case, phases: Mapping[str, str], rois: Mapping[str, str]) -> JSON:
    """Decide phases by series and ROIs by phase; the choices that hold now. Raises BadRequest."""
    if not (phases or rois):
        raise BadRequest("nothing chosen; name at least one of --phase and --roi")
    known = index.choices(case.case_id)
    chosen: JSON = {
        "phases": {**known.get("phases", {}), **phases},
        "rois": {**known.get("rois", {}), **rois},
    }
    if {*chosen["phases"].values(), *chosen["rois"]} - PHASES:
        raise BadRequest(
            "a phase is arterial or venous; write --phase SERIES_UID=arterial, --roi venous=OBJECT_UID#NUMBER"
        )
    _require_known(index, case, {*phases, *(name.rpartition("#")[0] for name in rois.values())})
    index.save_choices(case.case_id, chosen)
    index.touch(case.study_instance_uid)
    return chosen


def _require_known(index: Index, case: Case, uids: set[str]) -> None:
    """Series and ROI objects that are chosen must be of the study. Raises BadRequest."""
    instances = index.instances(case.study_instance_uid)
    known = {uid for one in instances for uid in (one.series_instance_uid, one.sop_instance_uid)}
    for uid in sorted(uids - known):
        raise BadRequest(
            f"'{uid}' is no series or ROI object of case {case.case_id}; `prognode case show` lists them"
        )


def replay(index: Index, case: Case) -> str:
    """Have the case done again from its stored images; the fact that says so. Raises BadRequest."""
    if case.input_digest is None or case.state == "waiting":
        raise BadRequest(
            f"case {case.case_id} is still waiting; `prognode case show {case.case_id}` says for what"
        )
    event = (
        facts.case_refused(
            case.case_id, case.input_digest, case.assessment["reason"], case.assessment["detail"]
        )
        if case.assessment.get("reason")
        else facts.case_ready(case.case_id, case.input_digest)
    )
    for delivery in index.deliveries(_sr_uid(case)):
        index.save_delivery(replace(delivery, state="pending"))
    index.save_clinical(case.case_id, index.clinical(case.case_id), [event])
    return event.topic


def unfinished(index: Index) -> list[Case]:
    """Cases whose next step was on the bus: ready and not scored, or with a report or figure that is not in every PACS.

    After the bus was lost, or the index restored, nobody else knows of them. A figure that was not drawn yet is not seen.
    """
    return [case for case in index.cases() if _is_unfinished(index, case)]


def _is_unfinished(index: Index, case: Case) -> bool:
    sr = case.outcome.get("sr")
    if case.state in {CaseState.READY, CaseState.WAITING} or sr is None:
        return case.state == CaseState.READY
    reports = index.deliveries(sr["sop_instance_uid"])
    figures = index.deliveries(figure_of(sr["sop_instance_uid"]))
    return not reports or any(each.state not in DELIVERED for each in (*reports, *figures))


def _sr_uid(case: Case) -> str:
    sr = case.outcome.get("sr")
    return str(sr["sop_instance_uid"]) if sr else "none"
