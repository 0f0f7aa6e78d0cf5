"""What the node would decide about a pile of files, as one JSON object; the same functions, without storing anything."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError

from apps.config import NodeConfig
from prognode.dicom.cards import card
from prognode.dicom.pixels import hounsfield
from prognode.domain.aorta import aorta_hounsfield
from prognode.domain.geometry import Stack, build_stack, gaps_mm, nearest_plane
from prognode.domain.phase import PhaseEvidence, decide_phases, header_evidence, hounsfield_evidence
from prognode.domain.readiness import Assessment, Choices, Rules, SeriesView, assess, drawn_on
from prognode.domain.roi import CrossSection, Roi, check_size, largest_of, match_roi
from prognode.errors import InvalidInput, Reason
from prognode.ports import JSON, Instance
from prognode.runtime.phases import series_headers
from prognode.runtime.studies import ROI_CLASSES, read_roi_object, series_views
from services.receiver.assembly import rules_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
KNOWN_WITHOUT_PREAMBLE = frozenset({"CT", "RTSTRUCT", "SEG"})


@dataclass
class Pile:
    """What was found in the files."""

    instances: list[Instance] = field(default_factory=list)
    paths: dict[str, Path] = field(default_factory=dict)
    rois: list[Roi] = field(default_factory=list)
    roi_series: dict[str, str] = field(default_factory=dict)
    study_of: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def inspect_files(
    files: Sequence[Path], config: NodeConfig | None = None, on_read: Callable[[], object] = lambda: None
) -> dict[str, Any]:
    """``{"series": [...], "case": {...}, "rois": [...], "problems": [...]}``; see docs/inspect.md."""
    pile = read_pile(files, on_read)
    views = series_views(pile.instances)
    study_uid = _study_of_case(pile)
    found = assess(
        [view for view in views if view.study_instance_uid == study_uid],
        [roi for roi in pile.rois if pile.study_of[roi.object_uid] == study_uid],
        rules_of(config.assembly) if config else Rules(),
        Choices(),
        quiet=True,
        fetch_exhausted=True,
    )
    phases, evidence, conflict = _phases(pile, views, found)
    return {
        "series": [_series(view, pile, phases, evidence) for view in views],
        "case": {"study_uid": study_uid, **_case(found, conflict)},
        "rois": [_roi(roi, pile, views) for roi in pile.rois],
        "problems": pile.problems,
    }


def _study_of_case(pile: Pile) -> str | None:
    """The study that the case is about: the one with contours. Several are a problem to tell a person."""
    drawn = sorted({pile.study_of[roi.object_uid] for roi in pile.rois})
    studies = drawn or sorted(set(pile.study_of.values()))
    if len(studies) > 1:
        pile.problems.append(f"{len(studies)} studies among the files; the case is about study {studies[0]}")
    return studies[0] if studies else None


# ---------------------------------------------------------------- reading


def read_pile(files: Sequence[Path], on_read: Callable[[], object] = lambda: None) -> Pile:
    """Headers of every DICOM file, contours of every RTSTRUCT and SEG. What cannot be read becomes a problem."""
    pile = Pile()
    for path in files:
        _read_file(path, pile)
        on_read()
    return pile


def _read_file(path: Path, pile: Pile) -> None:
    dataset = read_dicom(path, pixels=False)
    if dataset is None:
        pile.problems.append(f"{path.name}: not a DICOM file")
        return
    made = card(dataset)
    uid = made["sop_instance_uid"]
    if not (uid and made["series_instance_uid"] and made["study_instance_uid"]):
        pile.problems.append(f"{path.name}: study, series or SOP instance UID is missing")
        return
    if uid in pile.paths:
        pile.problems.append(f"{path.name}: the same SOP Instance UID as {pile.paths[uid].name}; left out")
        return
    pile.paths[uid] = path
    pile.study_of[uid] = made["study_instance_uid"]
    pile.instances.append(_instance(made, dataset))
    if made["sop_class_uid"] in ROI_CLASSES:
        _read_rois(path, made, pile)


def read_dicom(path: Path, *, pixels: bool) -> pydicom.Dataset | None:
    """The file's data set; None when it is no DICOM file. Files without preamble are taken when they name a modality."""
    try:
        return pydicom.dcmread(path, stop_before_pixels=not pixels)
    except InvalidDicomError:
        return _without_preamble(path, pixels=pixels)
    except (OSError, ValueError, EOFError, NotImplementedError, AttributeError, KeyError):
        return None


def _without_preamble(path: Path, *, pixels: bool) -> pydicom.Dataset | None:
    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=not pixels, force=True)
        return dataset if str(dataset.get("Modality", "")) in KNOWN_WITHOUT_PREAMBLE else None
    except (OSError, ValueError, EOFError, NotImplementedError, AttributeError, KeyError, TypeError):
        return None


def _instance(made: JSON, dataset: pydicom.Dataset) -> Instance:
    meta = getattr(dataset, "file_meta", None)
    return Instance(
        sop_instance_uid=made["sop_instance_uid"],
        sop_class_uid=made["sop_class_uid"],
        transfer_syntax_uid=str(meta.get("TransferSyntaxUID", "")) if meta else "",
        study_instance_uid=made["study_instance_uid"],
        series_instance_uid=made["series_instance_uid"],
        modality=made["modality"],
        object_key="",
        sha256=hashlib.sha256(made["sop_instance_uid"].encode()).hexdigest(),
        size_bytes=0,
        received_at=EPOCH,
        card=made,
    )


def _read_rois(path: Path, made: JSON, pile: Pile) -> None:
    dataset = read_dicom(path, pixels=True)
    pile.roi_series[made["sop_instance_uid"]] = made["series_instance_uid"]
    try:
        assert dataset is not None
        pile.rois.extend(read_roi_object(dataset))
    except InvalidInput as fault:
        pile.problems.append(f"{path.name}: {fault}")


# ---------------------------------------------------------------- series


def _phases(
    pile: Pile, views: Sequence[SeriesView], found: Assessment
) -> tuple[dict[str, str], tuple[PhaseEvidence, ...], InvalidInput | None]:
    """Phase of each series that has one, all evidence, and the refusal of the two drawn-on series if there is one."""
    drawn = [need.series_instance_uid for need in found.needs]
    uids = [view.series_instance_uid for view in views]
    evidence = header_evidence(series_headers(pile.instances, drawn if len(drawn) == 2 else uids))  # noqa: PLR2004
    if len(drawn) != 2:  # noqa: PLR2004 - a case has two phases
        return {uid: phase for uid in uids if (phase := _agreed(evidence, uid))}, evidence, None
    evidence += _aortas(pile, found)
    try:
        arterial, venous = decide_phases(drawn, evidence)
    except InvalidInput as fault:
        return {}, evidence, fault
    return {arterial: "arterial", venous: "venous"}, evidence, None


def _agreed(evidence: Sequence[PhaseEvidence], series_uid: str) -> str | None:
    said = {item.phase for item in evidence if item.series_instance_uid == series_uid and item.phase}
    return said.pop() if len(said) == 1 else None


def _aortas(pile: Pile, found: Assessment) -> tuple[PhaseEvidence, ...]:
    measured = []
    for need in found.needs:
        try:
            measured.append((need.series_instance_uid, _aorta(pile, need.planes)))
        except InvalidInput:
            return ()
    return hounsfield_evidence(measured[0], measured[1])


def _aorta(pile: Pile, planes: Sequence[Any]) -> float | None:
    stack = build_stack("", None, planes)
    images = []
    for plane in stack.planes:
        dataset = read_dicom(pile.paths[plane.sop_instance_uid], pixels=True)
        assert dataset is not None
        images.append(hounsfield(dataset, plane.frame))
    return aorta_hounsfield(np.stack(images), stack)


def _series(
    view: SeriesView, pile: Pile, phases: dict[str, str], evidence: Sequence[PhaseEvidence]
) -> dict[str, Any]:
    uid = view.series_instance_uid
    spacing, orientation, problems = _geometry(view)
    members = [i for i in pile.instances if i.series_instance_uid == uid]
    return {
        "uid": uid,
        "study_uid": view.study_instance_uid,
        "modality": view.modality,
        "description": view.description,
        "images": len(members),
        "phase": {
            "phase": phases.get(uid),
            "evidence": [
                {"kind": item.kind, "phase": item.phase, "detail": item.detail}
                for item in evidence
                if item.series_instance_uid == uid
            ],
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
        if len(gaps) and float(np.ptp(gaps)) > max(0.01, 0.01 * float(np.median(gaps))) * 2:
            problems.append(f"uneven gaps: {gaps.min():.3f} to {gaps.max():.3f} mm")
    except InvalidInput as fault:
        problems.append(f"{fault.reason.value}: {fault.detail}")
    return [first.column_spacing_mm, first.row_spacing_mm, between], orientation, problems


# ---------------------------------------------------------------- case and contours


def _case(found: Assessment, conflict: InvalidInput | None) -> dict[str, Any]:
    reasons = [{"code": found.reason.value, "detail": found.detail}] if found.reason else []
    candidates = list(found.candidates)
    if conflict:
        reasons.append({"code": conflict.reason.value, "detail": conflict.detail})
        candidates += conflict.candidates
    document = found.to_json()
    return {
        "state": "not-evaluable" if conflict else found.state,
        "need_set": [
            {**need, "sop_instance_uids": list(one.sop_instance_uids)}
            for need, one in zip(document["needs"], found.needs, strict=True)
        ],
        "waiting_for": document["waiting_for"],
        "reasons": reasons,
        "candidates": candidates,
        "remarks": document.get("remarks", []),
    }


def _roi(roi: Roi, pile: Pile, views: Sequence[SeriesView]) -> dict[str, Any]:
    sections, volume_mm3, reasons, remarks = _placed(roi, views, pile.rois)
    box = roi.bounding_box_lps_mm
    return {
        "kind": roi.kind,
        "number": roi.number,
        "name": roi.name,
        "object_uid": roi.object_uid,
        "series_instance_uid": pile.roi_series.get(roi.object_uid, ""),
        "status": "not evaluable" if reasons else "evaluable",
        "reasons": [reason.value for reason in reasons],
        "volume_mm3": volume_mm3,
        "largest_slice": _largest(sections),
        "bounding_box_lps_mm": {"min": list(box[0]), "max": list(box[1])} if box else None,
        "areas_mm2": {f"{z_of(section)}": section.area_mm2 for section in sections},
        "remarks": [*roi.warnings, *remarks],
    }


def _placed(
    roi: Roi, views: Sequence[SeriesView], rois: Sequence[Roi]
) -> tuple[tuple[CrossSection, ...], float, list[Reason], list[str]]:
    """Sections with the images that they lie on, if those are here; the volume; why it cannot be evaluated; remarks."""
    reasons = list(roi.reasons)
    if reasons or not roi.sections:
        return roi.sections, roi.volume_mm3, reasons or [Reason.ROI_EMPTY], []
    try:
        check_size(roi)
    except InvalidInput as fault:
        reasons.append(fault.reason)
    stack, why = _stack_of(roi, views, rois)
    if stack is None:
        return roi.sections, roi.volume_mm3, [*reasons, why], []
    named = _named(roi.sections, stack)
    try:
        match = match_roi(roi, stack)
    except InvalidInput as fault:
        return named, roi.volume_mm3, [*reasons, fault.reason], [fault.detail]
    # one cross-section alone has no thickness of its own: the images' gap gives it one
    return named, roi.volume_mm3 or match.volume_mm3, reasons, list(match.warnings)


def _named(sections: Sequence[CrossSection], stack: Stack) -> tuple[CrossSection, ...]:
    """Sections with the image nearest to each, where one is near enough."""
    from dataclasses import replace

    named = []
    for section in sections:
        offset = float(np.dot(stack.normal, section.outlines[0][0])) if section.outlines else section.offset_mm
        index = nearest_plane(stack, offset)
        plane = None if index is None else stack.planes[index]
        named.append(replace(section, sop_instance_uid=plane.sop_instance_uid if plane else section.sop_instance_uid))
    return tuple(named)


def _stack_of(roi: Roi, views: Sequence[SeriesView], rois: Sequence[Roi]) -> tuple[Stack | None, Reason]:
    """The series that the ROI was drawn on, as a stack; or why there is none."""
    view = drawn_on(roi, views, rois)
    if view is None:
        return None, Reason.ROI_SOURCE
    if view.modality != "CT":
        return None, Reason.WRONG_MODALITY
    try:
        return build_stack(view.series_instance_uid, view.frame_of_reference_uid, view.planes), Reason.ROI_SOURCE
    except InvalidInput as fault:
        return None, fault.reason


def _largest(sections: Sequence[CrossSection]) -> dict[str, Any] | None:
    if not sections:
        return None
    largest = largest_of(sections)
    return {
        "sop_instance_uid": largest.sop_instance_uid,
        "z_mm": z_of(largest),
        "area_mm2": largest.area_mm2,
    }


def z_of(section: CrossSection) -> float:
    """LPS z of a cross-section: of its plane where that is axial, else of its middle."""
    if not section.outlines:
        return round(section.offset_mm, 3)
    return round(float(np.concatenate(section.outlines)[:, 2].mean()), 3)
