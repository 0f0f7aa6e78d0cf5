"""What the node would decide about a pile of files, as one JSON object; the same functions, without storing anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from apps.config import NodeConfig
from apps.dicom_files import read_pile
from apps.inspect_rois import describe_roi
from apps.judged_study import JudgedStudy, judge_studies
from prognode.domain.geometry import build_stack, check_even, gaps_mm
from prognode.domain.need_set import NeedSet
from prognode.domain.readiness import SeriesView, Wait
from prognode.errors import BadRequest, InvalidInput, Reason


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
    judged = judge_studies(pile, config)
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


# ---------------------------------------------------------------- series


def _series(view: SeriesView, judged: JudgedStudy) -> dict[str, Any]:
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


def _case(judged: JudgedStudy) -> dict[str, Any]:
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


def _short(judged: JudgedStudy) -> dict[str, Any]:
    return {"study_uid": judged.study_uid, "state": judged.state.value, "reasons": _reasons(judged)}


def _need(need: NeedSet) -> dict[str, Any]:
    """A need-set with its images by name; their geometry is told per series."""
    document = need.to_json()
    del document["planes"]
    return document


def _reasons(judged: JudgedStudy) -> list[dict[str, str]]:
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
