"""Whether a case can start: which ROI, drawn on which series, needing which images, and what is still on its way.

The rules, in the order in which they are asked:

1. ROI. A ROI takes part when the operator chose it, or its name or code matches the configured rules. RTSTRUCT and SEG
   are candidates alike. One series must have exactly one.
2. Series. A ROI was drawn on the series that holds an image which its references name; else on the series that its
   references name. If they name only what has not arrived, the case waits for it: contours often come before images.
   Geometry (same frame of reference, and the largest cross-section lies among the planes) speaks only when nothing
   arrives any more (``quiet``) and not one reference of the study's contours has found its image or series, or the ROI
   names none: a frame of reference spans both phases, and the wrong one would give a plausible wrong result.
3. Images. :mod:`prognode.domain.need_set` says what each crop needs. The case is ready when both need-sets are here.

What more objects can heal is waited for; what they cannot is not evaluable at once. The same inputs give the same
answer, so it can be asked again after every arrival.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal

import numpy as np

from prognode.domain.geometry import build_stack, facing, modal_gap_mm
from prognode.domain.need_set import (
    MissingImage,
    NeedSet,
    RoiKey,
    SeriesView,
    check_geometry,
    find_needs,
    with_holes,
)
from prognode.domain.phase import (
    DEFAULT_DESCRIPTIONS,
    DescriptionRules,
    SeriesHeader,
    decide_phases,
    header_evidence,
)
from prognode.domain.prognosis import Phase
from prognode.domain.roi import Roi, check_size, largest_section, match_roi
from prognode.errors import BadRequest, InvalidInput, Reason

WaitKind = Literal["contours", "image", "neighbour", "end", "series"]

GASTRIC_NEN_NAMES = (
    r"gtv|lesion",
    r"tumou?r",
    r"(?<![a-z])(nen|net|nec)(?![a-z])",
    r"läsion|lesión|lésion|opuchol|опухоль|肿瘤|腫瘍",
)
GASTRIC_NEN_CODES = (
    ("SCT", "108369006"),  # neoplasm
    ("SCT", "4147007"),  # mass
    ("SCT", "52988006"),  # lesion
    ("SCT", "86049000"),  # malignant neoplasm, primary
    ("SCT", "255046005"),  # neuroendocrine tumour
    ("SCT", "126824007"),  # neoplasm of stomach
    ("NCIt", "C3262"),  # neoplasm
    ("NCIt", "C3809"),  # neuroendocrine neoplasm
    ("NCIt", "C95871"),  # gastric neuroendocrine neoplasm
)


@dataclass(frozen=True, slots=True)
class Rules:
    """Which ROI is the tumour, and how series descriptions name phases."""

    roi_name_patterns: tuple[str, ...] = GASTRIC_NEN_NAMES
    """Regular expressions searched in the ROI's name, without regard to case."""
    segment_codes: tuple[tuple[str, str], ...] = GASTRIC_NEN_CODES
    """(scheme designator, value) of segment types or anatomy that mean the tumour."""
    descriptions: DescriptionRules = DEFAULT_DESCRIPTIONS

    def __post_init__(self) -> None:
        for pattern in self.roi_name_patterns:
            try:
                re.compile(pattern)
            except re.error as fault:
                raise BadRequest(f"ROI name rule '{pattern}' is not a regular expression: {fault}") from None

    def match(self, roi: Roi) -> bool:
        """Whether the ROI's name or one of its codes says tumour."""
        named = any(re.search(pattern, roi.name, re.IGNORECASE) for pattern in self.roi_name_patterns)
        return named or any((code.scheme, code.value) in self.segment_codes for code in roi.codes)


DEFAULT_RULES = Rules()


@dataclass(frozen=True, slots=True)
class Choices:
    """What the operator decided."""

    phases: Mapping[str, Phase] = field(default_factory=dict)
    """Phase by Series Instance UID."""
    rois: Mapping[Phase, str] = field(default_factory=dict)
    """``object_uid#number`` by phase."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Choices:
        """From what :meth:`prognode.ports.Index.choices` gives."""
        return cls(dict(value.get("phases") or {}), dict(value.get("rois") or {}))

    def chosen_phase(self, roi: Roi | RoiKey) -> Phase | None:
        """The phase that this ROI was chosen for."""
        name = f"{roi.object_uid}#{roi.number}"
        return next((phase for phase, chosen in self.rois.items() if chosen == name), None)


NO_CHOICES = Choices()


class State(StrEnum):
    """Where a study stands before any pixel is read."""

    WAITING = "waiting"
    READY = "ready"
    NOT_EVALUABLE = "not-evaluable"


@dataclass(frozen=True, slots=True)
class Wait:
    """One thing that the case waits for."""

    kind: WaitKind
    series_instance_uid: str | None
    sop_instance_uid: str | None
    offset_mm: float | None
    text: str


@dataclass(frozen=True, slots=True)
class Assessment:
    """The answer, and why."""

    state: State
    needs: tuple[NeedSet, ...] = ()
    """One per series that a tumour ROI was drawn on, in the order of their UIDs; two when ready."""
    waiting_for: tuple[Wait, ...] = ()
    reason: Reason | None = None
    detail: str = ""
    candidates: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    grace_helps: bool = False
    """A later call with ``quiet`` would give another state: time decides, not only arrivals."""
    phases: Mapping[str, Phase] = field(default_factory=dict)
    """Operator's phases of the series in ``needs``."""

    @property
    def missing_uids(self) -> tuple[str, ...]:
        """Images to fetch: named, needed, not here."""
        named = (wait.sop_instance_uid for wait in self.waiting_for if wait.sop_instance_uid)
        return tuple(dict.fromkeys(named))

    def to_json(self) -> dict[str, Any]:
        """Plain values, for storage and for people."""
        return {
            "state": self.state.value,
            "needs": [need.to_json() for need in self.needs],
            "waiting_for": [asdict(wait) for wait in self.waiting_for],
            "reason": self.reason.value if self.reason else None,
            "detail": self.detail,
            "candidates": list(self.candidates),
            "remarks": list(self.remarks),
            "grace_helps": self.grace_helps,
            "phases": dict(self.phases),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Assessment:
        """Inverse of :meth:`to_json`."""
        return cls(
            state=State(value["state"]),
            needs=needs_from_json(value),
            waiting_for=tuple(Wait(**wait) for wait in value["waiting_for"]),
            reason=Reason(value["reason"]) if value["reason"] else None,
            detail=value["detail"],
            candidates=tuple(value["candidates"]),
            remarks=tuple(value["remarks"]),
            grace_helps=value["grace_helps"],
            phases=dict(value["phases"]),
        )


def needs_from_json(value: Mapping[str, Any]) -> tuple[NeedSet, ...]:
    """The need-sets of a stored assessment."""
    return tuple(NeedSet.from_json(need) for need in value.get("needs", ()))


# ---------------------------------------------------------------- the question


def assess(
    series: Sequence[SeriesView],
    rois: Sequence[Roi],
    rules: Rules = DEFAULT_RULES,
    choices: Choices = NO_CHOICES,
    *,
    quiet: bool = False,
    fetch_exhausted: bool = False,
) -> Assessment:
    """Where the study stands, given every image series and every ROI that is durable.

    ``quiet``: nothing of the study arrived for the grace period. ``fetch_exhausted``: no peer can be asked for what is
    missing, or all have been; with ``quiet`` it turns missing images into SLICES_MISSING.
    """
    now = _assess(series, rois, rules, choices, _Now(quiet=quiet, fetch_exhausted=fetch_exhausted))
    if now.state is not State.WAITING or quiet:
        return now
    later = _assess(series, rois, rules, choices, _Now(quiet=True, fetch_exhausted=fetch_exhausted))
    return replace(now, grace_helps=later.state is not State.WAITING)


@dataclass(frozen=True, slots=True)
class _Now:
    quiet: bool
    fetch_exhausted: bool


def _assess(
    series: Sequence[SeriesView], rois: Sequence[Roi], rules: Rules, choices: Choices, now: _Now
) -> Assessment:
    try:
        return _assessed(series, rois, rules, choices, now)
    except InvalidInput as fault:
        return Assessment(
            State.NOT_EVALUABLE, reason=fault.reason, detail=fault.detail, candidates=fault.candidates
        )


def _assessed(
    series: Sequence[SeriesView], rois: Sequence[Roi], rules: Rules, choices: Choices, now: _Now
) -> Assessment:
    tumours = _tumours(rois, rules, choices)
    if not tumours:
        if rois and now.quiet:
            detail = "no ROI has a name or code that the rules take for the tumour"
            raise InvalidInput(Reason.ROI_NONE, detail, tuple(_candidate(roi) for roi in rois))
        return Assessment(
            State.WAITING, waiting_for=(Wait("contours", None, None, None, "contours of the tumour"),)
        )
    known = _Known.of(series, rois)
    drawn, pending, remarks = _sort_by_series(tumours, known, choices, now)
    waits = [wait for roi in pending for wait in _waits_for_references(roi, known)]
    if len(drawn) > 2:
        drawn = _both_phases(drawn, known, rules, choices)
    outcomes = [
        _Outcome.of(known.series[uid], known.of_series(roi, uid), now) for uid, roi in sorted(drawn.items())
    ]
    waits += [wait for outcome in outcomes for wait in outcome.waits]
    if len(drawn) == 1 and not pending:
        waits.append(Wait("contours", None, None, None, "contours of the tumour on the other phase"))
    remarks += [remark for outcome in outcomes for remark in outcome.need.remarks]
    return Assessment(
        State.WAITING if waits else State.READY,
        needs=tuple(outcome.need for outcome in outcomes),
        waiting_for=tuple(waits),
        remarks=tuple(dict.fromkeys(remarks)),
        phases=_operator_phases(drawn, choices),
    )


# ---------------------------------------------------------------- which ROI


def _tumours(rois: Sequence[Roi], rules: Rules, choices: Choices) -> list[Roi]:
    """ROIs that take part: both of the operator's, or else the operator's one and what the rules match."""
    chosen = [roi for roi in rois if choices.chosen_phase(roi)]
    if len(chosen) >= 2:
        return chosen
    return chosen + [roi for roi in rois if not choices.chosen_phase(roi) and rules.match(roi)]


def _unreadable(roi: Roi) -> bool:
    return bool(roi.reasons) or not roi.sections


def _refusal(roi: Roi) -> InvalidInput:
    because = f": {'; '.join(roi.warnings)}" if roi.warnings else ""
    reason = roi.reasons[0] if roi.reasons else Reason.ROI_EMPTY
    return InvalidInput(reason, f"{_label(roi)} cannot be evaluated{because}")


def _label(roi: Roi) -> str:
    return f"{roi.kind} #{roi.number} '{roi.name}'"


def _candidate(roi: Roi, series_uid: str | None = None) -> str:
    """A ROI that a person may choose, with the name to choose it by."""
    where = f" on series {series_uid}" if series_uid else ""
    return f"{_label(roi)}{where}, chosen as {roi.object_uid}#{roi.number}"


def _operator_phases(drawn: Mapping[str, Roi], choices: Choices) -> dict[str, Phase]:
    by_roi = {uid: phase for uid, roi in drawn.items() if (phase := choices.chosen_phase(roi))}
    return {**by_roi, **{uid: phase for uid, phase in choices.phases.items() if uid in drawn}}


# ---------------------------------------------------------------- which series


@dataclass(frozen=True, slots=True)
class _Known:
    """What is here, by identifier."""

    series: Mapping[str, SeriesView]
    series_of_image: Mapping[str, str]
    any_reference_resolves: bool

    @classmethod
    def of(cls, series: Sequence[SeriesView], rois: Sequence[Roi]) -> _Known:
        by_uid = {view.series_instance_uid: view for view in series}
        images = {
            plane.sop_instance_uid: view.series_instance_uid for view in series for plane in view.planes
        }
        resolves = any(uid in images for roi in rois for uid in _named_images(roi)) or any(
            uid in by_uid for roi in rois for uid in roi.referenced_series_uids
        )
        return cls(by_uid, images, resolves)

    def of_series(self, roi: Roi, series_uid: str) -> Roi:
        """The ROI without the images that it names in other series: one list may hold several series."""
        own = tuple(
            uid
            for uid in roi.referenced_image_uids
            if self.series_of_image.get(uid, series_uid) == series_uid
        )
        return replace(roi, referenced_image_uids=own)


def _named_images(roi: Roi) -> Iterable[str]:
    yield from roi.referenced_image_uids
    yield from (section.sop_instance_uid for section in roi.sections if section.sop_instance_uid)


def _sort_by_series(
    tumours: Sequence[Roi], known: _Known, choices: Choices, now: _Now
) -> tuple[dict[str, Roi], list[Roi], list[str]]:
    """(ROI by series, ROIs whose series is not here yet, remarks)."""
    by_series: dict[str, list[Roi]] = defaultdict(list)
    pending: list[Roi] = []
    remarks: list[str] = []
    for roi in tumours:
        uid, remark = _series_of(roi, known, now)
        if uid is not None:
            by_series[uid].append(roi)
        else:
            pending.append(roi)
        remarks += [remark] if remark else []
    drawn = {uid: _only_one(uid, candidates, choices) for uid, candidates in by_series.items()}
    pending, left_out = _given_up(drawn, pending, now)
    return drawn, pending, remarks + left_out


def _given_up(drawn: Mapping[str, Roi], pending: Sequence[Roi], now: _Now) -> tuple[list[Roi], list[str]]:
    """(ROIs that are still waited for, remarks about those that are not)."""
    if pending and not drawn and all(_unreadable(roi) for roi in pending):
        raise _refusal(pending[0])
    settled = now.quiet and len(drawn) >= 2
    dropped = [roi for roi in pending if settled or _unreadable(roi)]
    awaited = [] if settled else [roi for roi in pending if not _unreadable(roi)]
    why = "it encloses nothing, or what it was drawn on is not here"
    return awaited, [f"{_label(roi)} was left out: {why}" for roi in dropped]


def _only_one(series_uid: str, candidates: Sequence[Roi], choices: Choices) -> Roi:
    """The one tumour of a series; what cannot be read does not compete with what can."""
    readable = [roi for roi in candidates if not _unreadable(roi)] or list(candidates[:1])
    chosen = [roi for roi in readable if choices.chosen_phase(roi)] or readable
    if len(chosen) > 1:
        detail = f"{len(chosen)} ROIs of one series match the rules for the tumour"
        raise InvalidInput(Reason.ROI_SEVERAL, detail, tuple(_candidate(roi, series_uid) for roi in chosen))
    return chosen[0]


def _series_of(roi: Roi, known: _Known, now: _Now) -> tuple[str | None, str]:
    """(series UID or None while it may yet come, remark)."""
    uid = _series_by_image(roi, known) or _series_by_name(roi, known)
    if uid is not None:
        return uid, _frame_remark(roi, known.series[uid])
    names_something = bool(roi.referenced_series_uids) or any(True for _ in _named_images(roi))
    if _unreadable(roi) or not now.quiet or (names_something and known.any_reference_resolves):
        return None, ""
    uid = _series_by_geometry(roi, known)
    why = "its references name what is not here" if names_something else "it has no references"
    return uid, f"{_label(roi)} was matched to its series by position, since {why}" if uid else ""


def _series_by_image(roi: Roi, known: _Known) -> str | None:
    drawn_on = {known.series_of_image.get(section.sop_instance_uid or "") for section in roi.sections} - {
        None
    }
    listed = {known.series_of_image.get(uid) for uid in roi.referenced_image_uids} - {None}
    found = drawn_on or listed
    if len(found) > 1:
        found = found & set(roi.referenced_series_uids) or found
    return _single(roi, sorted(uid for uid in found if uid))


def _series_by_name(roi: Roi, known: _Known) -> str | None:
    return _single(roi, [uid for uid in dict.fromkeys(roi.referenced_series_uids) if uid in known.series])


def _single(roi: Roi, uids: Sequence[str]) -> str | None:
    if len(uids) > 1:
        detail = f"{_label(roi)} could have been drawn on {len(uids)} series"
        raise InvalidInput(Reason.ROI_SOURCE, detail, tuple(_candidate(roi, uid) for uid in uids))
    return uids[0] if uids else None


def _frame_remark(roi: Roi, view: SeriesView) -> str:
    if roi.frame_of_reference_uid in (None, "", view.frame_of_reference_uid):
        return ""
    return f"{_label(roi)} has another frame of reference than its images; its references name these images"


def _series_by_geometry(roi: Roi, known: _Known) -> str | None:
    if not roi.sections:
        raise InvalidInput(
            roi.reasons[0] if roi.reasons else Reason.ROI_EMPTY, f"{_label(roi)} encloses nothing"
        )
    images = [view for view in known.series.values() if view.modality == "CT" and view.planes]
    same_frame = [view for view in images if _same_frame(roi, view)]
    covering = [view.series_instance_uid for view in same_frame if _covers(view, roi)]
    if not covering and same_frame:
        raise InvalidInput(Reason.OUTSIDE_IMAGES, f"{_label(roi)} lies outside the images")
    if not same_frame and images:
        detail = f"{_label(roi)} has another frame of reference than the images, and names none of them"
        raise InvalidInput(Reason.FRAME_MISMATCH, detail)
    return _single(roi, sorted(covering))


def _same_frame(roi: Roi, view: SeriesView) -> bool:
    if roi.kind == "NIFTI":
        return True
    return (
        roi.frame_of_reference_uid is not None and roi.frame_of_reference_uid == view.frame_of_reference_uid
    )


def _covers(view: SeriesView, roi: Roi) -> bool:
    """Whether the largest cross-section lies between the first and last plane, give or take half a gap."""
    normal = np.array(facing(np.array(roi.normal)))
    offsets = np.sort([np.dot(plane.position_lps_mm, normal) for plane in view.planes])
    slack = float(np.median(np.diff(offsets))) / 2 if len(offsets) > 1 else 0.5
    middle = float(np.mean(np.concatenate(largest_section(roi).outlines) @ normal))
    return bool(offsets[0] - slack <= middle <= offsets[-1] + slack)


def _waits_for_references(roi: Roi, known: _Known) -> list[Wait]:
    """What a ROI names while nothing of it is here: the images it was drawn on, else its series."""
    drawn_on = [
        (section.sop_instance_uid, section.offset_mm) for section in roi.sections if section.sop_instance_uid
    ]
    series = next((uid for uid in roi.referenced_series_uids if uid not in known.series), None)
    if drawn_on:
        return [
            Wait("image", series, uid, offset, f"image that {_label(roi)} was drawn on")
            for uid, offset in drawn_on
        ]
    if roi.referenced_image_uids:
        return [
            Wait("image", series, uid, None, f"image that {_label(roi)} names")
            for uid in roi.referenced_image_uids
        ]
    return [Wait("series", series, None, None, f"the series that {_label(roi)} was drawn on")]


def _both_phases(drawn: Mapping[str, Roi], known: _Known, rules: Rules, choices: Choices) -> dict[str, Roi]:
    """Of more than two series with a tumour, the two that choice or headers tell to be arterial and venous."""
    views = [known.series[uid] for uid in sorted(drawn)]
    headers = [SeriesHeader(view.series_instance_uid, view.description, view.timing) for view in views]
    evidence = header_evidence(headers, _operator_phases(drawn, choices), rules.descriptions)
    try:
        pair = decide_phases([view.series_instance_uid for view in views], evidence)
    except InvalidInput as fault:
        detail = (
            f"{len(drawn)} series carry a tumour ROI, and which two are meant cannot be told: {fault.detail}"
        )
        labels = tuple(_candidate(roi, uid) for uid, roi in sorted(drawn.items()))
        raise InvalidInput(Reason.ROI_SOURCE, detail, labels) from fault
    return {uid: drawn[uid] for uid in pair}


# ---------------------------------------------------------------- which images


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The need-set of one series and what it waits for."""

    need: NeedSet
    waits: tuple[Wait, ...]

    @classmethod
    def of(cls, view: SeriesView, roi: Roi, now: _Now) -> _Outcome:
        _check_roi(view, roi)
        need = find_needs(view, roi, quiet=now.quiet, fetch_exhausted=now.fetch_exhausted)
        if need.complete:
            need = _checked(view, roi, need)
        if need.missing and now.quiet and now.fetch_exhausted:
            detail = f"{len(need.missing)} images that the crop needs are missing: {_where(need.missing)}"
            raise InvalidInput(Reason.SLICES_MISSING, detail)
        return cls(need, _waits(view, need))


def _check_roi(view: SeriesView, roi: Roi) -> None:
    if _unreadable(roi):
        raise _refusal(roi)
    if view.modality != "CT":
        raise InvalidInput(
            Reason.WRONG_MODALITY, f"{_label(roi)} was drawn on {view.modality} images, not on CT"
        )
    check_size(roi)


def _checked(view: SeriesView, roi: Roi, need: NeedSet) -> NeedSet:
    """The need-set if its geometry holds; holes between its images become missing images."""
    try:
        stack = check_geometry(view, need)
    except InvalidInput as fault:
        if fault.reason is not Reason.SLICES_MISSING:
            raise
        return _holes(view, need)
    match_roi(roi, stack)
    return need


def _holes(view: SeriesView, need: NeedSet) -> NeedSet:
    stack = build_stack(view.series_instance_uid, view.frame_of_reference_uid, need.planes)
    return with_holes(need, modal_gap_mm(stack) or 1.0, stack.offsets_mm)


def _where(missing: Sequence[MissingImage]) -> str:
    offsets = [image.offset_mm for image in missing if image.offset_mm is not None]
    return f"from {min(offsets):.1f} to {max(offsets):.1f} mm" if offsets else "their positions are not known"


def _waits(view: SeriesView, need: NeedSet) -> tuple[Wait, ...]:
    uid = view.series_instance_uid
    waits = [_wait(uid, image) for image in need.missing]
    if need.window is None and not waits:
        waits.append(Wait("neighbour", uid, None, None, "more images, to tell which are neighbours"))
    return tuple(waits)


def _wait(series_uid: str, image: MissingImage) -> Wait:
    where = "" if image.offset_mm is None else f" at {image.offset_mm:.1f} mm"
    if image.sop_instance_uid:
        return Wait("image", series_uid, image.sop_instance_uid, image.offset_mm, f"image{where}")
    if image.beyond:
        return Wait("end", series_uid, None, image.offset_mm, f"image{where}, unless the series ends before")
    return Wait("neighbour", series_uid, None, image.offset_mm, f"image{where}, between two that are here")


__all__ = [
    "Assessment",
    "Choices",
    "Rules",
    "SeriesView",
    "State",
    "Wait",
    "assess",
    "needs_from_json",
]


def drawn_on(roi: Roi, series: Sequence[SeriesView], rois: Sequence[Roi]) -> SeriesView | None:
    """The series that a ROI was drawn on, when nothing more is to come; None when it cannot be told."""
    known = _Known.of(series, rois)
    try:
        uid, _ = _series_of(roi, known, _Now(quiet=True, fetch_exhausted=True))
    except InvalidInput:
        return None
    return known.series[uid] if uid else None
