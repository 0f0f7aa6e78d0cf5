"""What the node would decide about a pile of files, as one JSON object; the same functions, without storing anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.config import NodeConfig
from apps.dicom_files import Pile, read_dicom, read_pile
from apps.inspect_rois import describe_roi
from prognode.dicom.pixels import hounsfield
from prognode.domain.aorta import aorta_hounsfield
from prognode.domain.geometry import Stack, build_stack, check_even, gaps_mm
from prognode.domain.need_set import NeedSet
from prognode.domain.phase import (
    DEFAULT_DESCRIPTIONS,
    PhaseEvidence,
    decide_phases,
    header_evidence,
    hounsfield_evidence,
)
from prognode.domain.readiness import Assessment, Choices, Rules, SeriesView, State, Wait, assess
from prognode.errors import BadRequest, InvalidInput, Reason
from prognode.ports import Instance
from prognode.runtime.phases import series_headers
from prognode.runtime.studies import is_roi_object, series_views
from services.preprocess.handler import description_rules
from services.receiver.assembly import rules_of

BEST_FIRST = (State.READY, State.WAITING, State.NOT_EVALUABLE)


@dataclass(frozen=True)
class _Judged:
    """A study as the node would see it, down to the phases."""

    study_uid: str
    instances: tuple[Instance, ...]
    views: tuple[SeriesView, ...]
    found: Assessment
    evidence: tuple[PhaseEvidence, ...]
    phases: Mapping[str, str] = field(default_factory=dict)
    conflict: InvalidInput | None = None

    @cached_property
    def images(self) -> Counter[str]:
        """Objects by series."""
        return Counter(instance.series_instance_uid for instance in self.instances)

    @cached_property
    def has_contours(self) -> bool:
        """Whether the node would open a case for the study."""
        return any(is_roi_object(instance) for instance in self.instances)

    @cached_property
    def state(self) -> State:
        """After the phases were asked for, too."""
        return State.NOT_EVALUABLE if self.conflict else self.found.state


def inspect_files(
    files: Sequence[Path], config: NodeConfig | None = None, on_read: Callable[[], object] = lambda: None
) -> dict[str, Any]:
    """``{"series": [...], "case": {...}, "rois": [...], "problems": [...]}``; see docs/inspect.md.

    Raises BadRequest when no file is a DICOM object.
    """
    pile = read_pile(files, on_read)
    if not pile.instances:
        raise BadRequest(
            f"none of the {len(files)} files is a DICOM object that can be used; {pile.problems[0]}"
        )
    judged = _judge_studies(pile, config)
    case, *others = judged
    if others:
        pile.problems.append(
            f"{len(judged)} studies among the files; the case is about study {case.study_uid}"
        )
    views = [view for one in judged for view in one.views]
    return {
        "series": [_series(view, one) for one in judged for view in one.views],
        "case": _case(case),
        "other_cases": [_short(one) for one in others if one.has_contours],
        "rois": [describe_roi(roi, pile, views) for roi in pile.rois],
        "problems": pile.problems,
    }


# ---------------------------------------------------------------- studies


def _judge_studies(pile: Pile, config: NodeConfig | None) -> list[_Judged]:
    """Every study, the one that the case is about first: with contours before without, the readiest before others."""
    by_study: dict[str, list[Instance]] = {}
    for instance in pile.instances:
        by_study.setdefault(instance.study_instance_uid, []).append(instance)
    judged = [_judge(uid, members, pile, config) for uid, members in sorted(by_study.items())]
    return sorted(judged, key=lambda one: (not one.has_contours, BEST_FIRST.index(one.state)))


def _judge(study_uid: str, instances: Sequence[Instance], pile: Pile, config: NodeConfig | None) -> _Judged:
    views = tuple(series_views(instances))
    rois = [roi for roi in pile.rois if pile.study_of(roi) == study_uid]
    rules = rules_of(config.assembly) if config else Rules()
    found = assess(views, rois, rules, Choices(), quiet=True, fetch_exhausted=True)
    ready = found.state is State.READY
    uids = (
        [need.series_instance_uid for need in found.needs]
        if ready
        else [v.series_instance_uid for v in views]
    )
    descriptions = description_rules(config.preprocess) if config else DEFAULT_DESCRIPTIONS
    evidence = header_evidence(series_headers(instances, uids), None, descriptions)
    judged = _Judged(study_uid, tuple(instances), views, found, evidence)
    if ready:
        return _with_phases(judged, uids, pile)
    return replace(judged, phases={uid: phase for uid in uids if (phase := _agreed(evidence, uid))})


def _with_phases(judged: _Judged, pair: Sequence[str], pile: Pile) -> _Judged:
    """Decide the phases of a study that is ready, as preprocess would; the refusal if it would refuse."""
    evidence = judged.evidence
    try:
        first, second = (_aorta(pile, need) for need in judged.found.needs)
        evidence += hounsfield_evidence(first, second)
        arterial, venous = decide_phases(pair, evidence)
    except InvalidInput as fault:
        return replace(judged, evidence=evidence, conflict=fault)
    return replace(judged, evidence=evidence, phases={arterial: "arterial", venous: "venous"})


def _agreed(evidence: Sequence[PhaseEvidence], series_uid: str) -> str | None:
    said = {item.phase for item in evidence if item.series_instance_uid == series_uid and item.phase}
    return said.pop() if len(said) == 1 else None


def _aorta(pile: Pile, need: NeedSet) -> tuple[str, float | None]:
    stack = build_stack("", None, need.planes)
    return need.series_instance_uid, aorta_hounsfield(_pixels(pile, stack), stack)


def _pixels(pile: Pile, stack: Stack) -> NDArray[np.float32]:
    planes = stack.planes
    return np.stack(
        [hounsfield(read_dicom(pile.paths[p.sop_instance_uid], pixels=True), p.frame) for p in planes]
    )


# ---------------------------------------------------------------- series


def _series(view: SeriesView, judged: _Judged) -> dict[str, Any]:
    uid = view.series_instance_uid
    spacing, orientation, problems = _geometry(view)
    said = [item for item in judged.evidence if item.series_instance_uid == uid]
    return {
        "uid": uid,
        "study_uid": view.study_instance_uid,
        "modality": view.modality,
        "description": view.description,
        "images": judged.images[uid],
        "phase": {
            "phase": judged.phases.get(uid),
            "evidence": [{"kind": item.kind, "phase": item.phase, "detail": item.detail} for item in said],
        },
        "spacing": spacing,
        "orientation": orientation,
        "problems": [*view.problems, *problems],
    }


def _geometry(view: SeriesView) -> tuple[list[float | None] | None, list[float] | None, list[str]]:
    """[between columns, between rows, between slices] mm, the six cosines, and what is wrong with the stack."""
    if not view.planes:
        return None, None, []
    first = view.planes[0]
    orientation = [*first.row_cosines, *first.column_cosines]
    between: float | None = None
    problems = []
    try:
        stack = build_stack(view.series_instance_uid, view.frame_of_reference_uid, view.planes)
        gaps = gaps_mm(stack)
        between = round(float(np.median(gaps)), 4) if len(gaps) else None
        check_even(stack, 0, len(stack.planes) - 1)
    except InvalidInput as fault:
        problems.append(f"{fault.reason.value}: {fault.detail}")
    return [first.column_spacing_mm, first.row_spacing_mm, between], orientation, problems


# ---------------------------------------------------------------- case


def _case(judged: _Judged) -> dict[str, Any]:
    found, conflict = judged.found, judged.conflict
    return {
        "study_uid": judged.study_uid,
        "state": judged.state.value,
        "need_set": [_need(need) for need in found.needs],
        "reasons": _reasons(judged),
        "candidates": [*found.candidates, *(conflict.candidates if conflict else ())],
        "waiting_for": found.to_json()["waiting_for"],
        "remarks": list(found.remarks),
    }


def _short(judged: _Judged) -> dict[str, Any]:
    return {"study_uid": judged.study_uid, "state": judged.state.value, "reasons": _reasons(judged)}


def _need(need: NeedSet) -> dict[str, Any]:
    """A need-set with its images by name; their geometry is told per series."""
    document = need.to_json()
    del document["planes"]
    return document


def _reasons(judged: _Judged) -> list[dict[str, str]]:
    """Why the case does not end in a report: what it is refused for, or what it still waits for."""
    found, conflict = judged.found, judged.conflict
    if conflict:
        return [{"code": conflict.reason.value, "detail": conflict.detail}]
    if found.reason:
        return [{"code": found.reason.value, "detail": found.detail}]
    drawn = bool(found.needs)
    waits = {_code(wait, drawn=drawn): wait.text for wait in reversed(found.waiting_for)}
    return [{"code": code.value, "detail": f"the node would wait for {text}"} for code, text in waits.items()]


def _code(wait: Wait, *, drawn: bool) -> Reason:
    if wait.kind == "contours":
        return Reason.PHASE_SINGLE if drawn else Reason.ROI_NONE
    return Reason.SLICES_MISSING
