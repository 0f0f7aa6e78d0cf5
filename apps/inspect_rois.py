"""One entry per ROI: its geometry, and whether the node could evaluate it alone, whatever its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from apps.dicom_files import Pile
from prognode.domain.geometry import Stack, build_stack, nearest_plane
from prognode.domain.readiness import Assessment, Choices, Rules, SeriesView, assess, drawn_on
from prognode.domain.roi import CrossSection, Roi, largest_of, match_roi
from prognode.errors import InvalidInput, Reason

NAMELESS = Rules(roi_name_patterns=(r"(?!)",), segment_codes=())
"""Rules that take no ROI for the tumour: only what is chosen takes part."""
PARALLEL_COSINE = 0.999
AXIAL_ENOUGH = 0.5
"""Planes whose normal has at least this z component are told apart by their z."""


def describe_roi(roi: Roi, pile: Pile, views: Sequence[SeriesView]) -> dict[str, Any]:
    """The ROI's entry; see docs/inspect.md."""
    holder = pile.object_of[roi.object_uid]
    view = drawn_on(roi, views, pile.rois)
    stack = _stack(view)
    sections = _named(roi, stack)
    reasons, remarks = _verdict(roi, pile, views, view)
    box = roi.bounding_box_lps_mm
    return {
        "kind": roi.kind,
        "number": roi.number,
        "name": roi.name,
        "series_instance_uid": view.series_instance_uid if view else _only(roi.referenced_series_uids),
        "object_uid": roi.object_uid,
        "object_series_instance_uid": holder.series_instance_uid,
        "status": "not evaluable" if reasons else "evaluable",
        "reasons": [reason.value for reason in reasons],
        "volume_mm3": roi.volume_mm3 or _volume_on(roi, stack),
        "largest_slice": _largest(sections, roi),
        "bounding_box_lps_mm": {"min": list(box[0]), "max": list(box[1])} if box else None,
        "areas_mm2": {str(z_of(section, roi)): section.area_mm2 for section in sections},
        "remarks": list(dict.fromkeys((*roi.warnings, *remarks))),
    }


def _only(uids: Sequence[str]) -> str:
    """The series that the object names, when the images are not here to tell; empty when it names none or several."""
    return uids[0] if len(uids) == 1 else ""


# ---------------------------------------------------------------- verdict


def _verdict(
    roi: Roi, pile: Pile, views: Sequence[SeriesView], view: SeriesView | None
) -> tuple[list[Reason], list[str]]:
    """What the node would say of a case in which this ROI was chosen: reasons, and remarks that explain."""
    study = pile.study_of(roi)
    if view is not None and view.study_instance_uid != study:
        said = f"its images are in study {view.study_instance_uid}, its contours in study {study}: the node needs one study"
        return [*roi.reasons, Reason.SLICES_MISSING], [said]
    found = _assess_alone(roi, pile, [one for one in views if one.study_instance_uid == study])
    if found.reason is not None:
        return list(dict.fromkeys((*roi.reasons, found.reason))), [found.detail, *found.candidates]
    if not found.needs:
        return [_why_pending(roi, views)], [wait.text for wait in found.waiting_for[:1]]
    return [], list(found.remarks)


def _assess_alone(roi: Roi, pile: Pile, views: Sequence[SeriesView]) -> Assessment:
    """As if the operator had chosen this ROI. The others stay: they tell whether references can be trusted."""
    name = (roi.object_uid, roi.number)
    others = [
        one
        for one in pile.rois
        if (one.object_uid, one.number) != name and pile.study_of(one) == pile.study_of(roi)
    ]
    chosen = Choices(rois={"arterial": f"{roi.object_uid}#{roi.number}"})
    return assess(views, [roi, *others], NAMELESS, chosen, quiet=True, fetch_exhausted=True)


def _why_pending(roi: Roi, views: Sequence[SeriesView]) -> Reason:
    """Images that are named or of which there are none are missing; else nothing says which of those here are meant."""
    names = roi.referenced_series_uids or roi.referenced_image_uids
    return Reason.SLICES_MISSING if names or not any(view.planes for view in views) else Reason.ROI_SOURCE


# ---------------------------------------------------------------- geometry


def _stack(view: SeriesView | None) -> Stack | None:
    if view is None:
        return None
    try:
        return build_stack(view.series_instance_uid, view.frame_of_reference_uid, view.planes)
    except InvalidInput:
        return None


def _named(roi: Roi, stack: Stack | None) -> tuple[CrossSection, ...]:
    """Cross-sections with the image nearest to each; what the object names for it where none is near enough."""
    if stack is None or abs(float(np.dot(roi.normal, stack.normal))) < PARALLEL_COSINE:
        return roi.sections
    return tuple(_with_image(section, stack) for section in roi.sections)


def _with_image(section: CrossSection, stack: Stack) -> CrossSection:
    middle = np.concatenate(section.outlines).mean(axis=0)
    index = nearest_plane(stack, float(np.dot(stack.normal, middle)))
    return (
        section if index is None else replace(section, sop_instance_uid=stack.planes[index].sop_instance_uid)
    )


def _volume_on(roi: Roi, stack: Stack | None) -> float:
    """One cross-section alone has no thickness of its own: the images' gap gives it one. 0 when there are none."""
    if stack is None or not roi.sections:
        return 0.0
    try:
        return match_roi(roi, stack).volume_mm3
    except InvalidInput:
        return 0.0


def _largest(sections: Sequence[CrossSection], roi: Roi) -> dict[str, Any] | None:
    if not sections:
        return None
    largest = largest_of(sections)
    return {
        "sop_instance_uid": largest.sop_instance_uid,
        "z_mm": z_of(largest, roi),
        "area_mm2": largest.area_mm2,
    }


def z_of(section: CrossSection, roi: Roi) -> float:
    """LPS z of a cross-section's plane, of its middle where the plane is tilted; mm, three decimals.

    Planes that stand upright share their z: they are told apart by their position along the normal.
    """
    if not section.outlines or abs(roi.normal[2]) < AXIAL_ENOUGH:
        return round(section.offset_mm, 3)
    return round(float(np.concatenate(section.outlines)[:, 2].mean()), 3)
