"""A report as a DICOM Structured Report: TID 1500 with planar measurement groups (TID 1410).

Every group carries the tumour's outline on a source image, because viewers show a group at its image and some fail
on a group that has none. The venous group comes first and holds the prognosis, in the order in which a reader wants
the numbers; a viewer may show only the first five. The tree uses nothing that only Comprehensive 3D SR allows, so
the same tree is valid as Comprehensive SR and as Enhanced SR, the fall-backs for a PACS that refuses the first.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset

from prognode.dicom import codes
from prognode.dicom import sr_items as sr
from prognode.dicom.dataset_encoding import encode
from prognode.dicom.document import equipment, patient_and_study, set_character_set
from prognode.dicom.sr_tree import SECONDARY_CAPTURE, Sources, by_reading_order, result_words, root_container
from prognode.domain.identity import (
    COMPREHENSIVE_3D_SR,
    COMPREHENSIVE_SR,
    ENHANCED_SR,
    figure_uid,
    in_class,
    report_uid,
    series_uid,
)
from prognode.domain.report import Report, RoiReference

__all__ = ["SR_CLASSES", "build_sr", "encode", "series_description", "sr_variants"]

SR_CLASSES = (COMPREHENSIVE_3D_SR, COMPREHENSIVE_SR, ENHANCED_SR)
SERIES_NUMBER = 901


# ---------------------------------------------------------------- the document


def build_sr(report: Report, sources: Sources, sop_class_uid: str = COMPREHENSIVE_3D_SR) -> Dataset:
    """Build the SR of a report.

    ``sources`` holds, by SOP Instance UID, the headers of the images that the report names: the plane and slices of
    each finding and the anchor. Patient, study and image descriptors are copied from them. ``ValueError`` when one is
    missing, when a number is not finite, or when a report that is not evaluable has no anchor.
    """
    library = _image_library(report, sources)
    header = _first_source(report, sources)
    dataset = patient_and_study(header)
    _add(dataset, *equipment(report.recipe), *_document_header(report, header))
    _add(dataset, (0x0040A375, "SQ", _evidence(report, library, sources)))
    _add(dataset, *root_container(report, library, sources))
    _set_identity(dataset, report, sop_class_uid)
    set_character_set(dataset, header)
    return dataset


def sr_variants(report: Report, sources: Sources) -> list[bytes]:
    """The report as files in each SR class, best first; each class has its own SOP Instance UID."""
    dataset = build_sr(report, sources)
    files = []
    for sop_class_uid in SR_CLASSES:
        _set_identity(dataset, report, sop_class_uid)
        files.append(encode(dataset))
    return files


def series_description(report: Report) -> str:
    """What a worklist shows; at most 64 characters. Status and result come first: viewers cut the rest off."""
    result = result_words(report) if report.reason is None else report.reason.value
    if report.status == "final":
        words = [f"Prognosis: {result}", "research only"]
    else:
        words = [f"{report.status.capitalize().replace('-', ' ')}: {result}", "prognosis, research only"]
    if report.recipe.demonstration:
        words.append("DEMO")
    return " - ".join(words)


def _add(dataset: Dataset, *elements: tuple[int, str, object]) -> None:
    dataset.update(sr.attributes(*elements))


def _set_identity(dataset: Dataset, report: Report, sop_class_uid: str) -> None:
    """What differs between the classes of one report: class, UID, and the predecessor in that class."""
    _add(
        dataset,
        (0x00080016, "UI", sop_class_uid),
        (0x00080018, "UI", report_uid(report, sop_class_uid)),
    )
    if report.predecessor_uid is not None:
        before = sr.reference(sop_class_uid, in_class(report.predecessor_uid, sop_class_uid))
        series = [(series_uid("sr", report.predecessor_uid), [before])]
        _add(dataset, (0x0040A360, "SQ", [_study_reference(report.study_instance_uid, series)]))


def _document_header(report: Report, header: Dataset) -> list[tuple[int, str, object]]:
    """SR Document Series and SR Document General modules (PS3.3 C.17.1, C.17.2).

    A report with every covariate is FINAL and stays UNVERIFIED: no person has signed it. PRELIMINARY is kept for a
    report that another one will follow.
    """
    date, time = report.content_datetime[:8], report.content_datetime[8:14]
    flag = "PRELIMINARY" if report.status == "preliminary" else "FINAL"
    return [
        (0x00080012, "DA", date),
        (0x00080013, "TM", time),
        (0x00080021, "DA", date),
        (0x00080023, "DA", date),
        (0x00080031, "TM", time),
        (0x00080033, "TM", time),
        (0x00080060, "CS", "SR"),
        (0x0008103E, "LO", series_description(report)),
        (0x00080110, "SQ", [_coding_scheme()]),
        (0x00081111, "SQ", []),
        (0x00189004, "CS", "RESEARCH"),
        (0x0020000E, "UI", series_uid("sr", report_uid(report))),
        (0x00200011, "IS", str(SERIES_NUMBER)),
        (0x00200013, "IS", "1"),
        (0x0040A372, "SQ", []),
        (0x0040A491, "CS", "COMPLETE"),
        (0x0040A493, "CS", "UNVERIFIED"),
        (0x0040A496, "CS", flag),
        *_request(report, header),
    ]


def _coding_scheme() -> Dataset:
    return sr.attributes(
        (0x00080102, "SH", codes.SCHEME),
        (0x00080115, "ST", codes.SCHEME_NAME),
        (0x00080116, "ST", "Prognode"),
    )


def _request(report: Report, header: Dataset) -> list[tuple[int, str, object]]:
    """Referenced Request Sequence, where the images name an order by its accession number."""
    accession = str(header.get("AccessionNumber") or "")
    if not accession:
        return []
    request = sr.attributes(
        (0x0020000D, "UI", report.study_instance_uid),
        (0x00081110, "SQ", []),
        (0x00080050, "SH", accession),
        (0x00402016, "LO", ""),
        (0x00402017, "LO", ""),
        (0x00401001, "SH", ""),
        (0x00321060, "LO", ""),
        (0x00321064, "SQ", []),
    )
    return [(0x0040A370, "SQ", [request])]


# ---------------------------------------------------------------- what is referenced


def _image_library(report: Report, sources: Sources) -> list[list[str]]:
    """SOP Instance UIDs of the images used, one list per phase; the anchor alone when not evaluable."""
    if report.status == "not-evaluable":
        if report.anchor is None:
            raise ValueError("a report that is not evaluable needs an image as its anchor")
        groups = [[report.anchor.sop_instance_uid]]
    else:
        groups = [
            list(dict.fromkeys((*finding.slice_uids, finding.plane.sop_instance_uid)))
            for finding in by_reading_order(report)
        ]
    missing = sum(uid_ not in sources for group in groups for uid_ in group)
    if missing:
        raise ValueError(f"{missing} images of the report have no header among the sources")
    return groups


def _first_source(report: Report, sources: Sources) -> Dataset:
    return sources[_image_library(report, sources)[0][0]]


def roi_references(report: Report) -> list[RoiReference]:
    """ROI objects of the report that are DICOM objects, without repeats."""
    every = (*(finding.roi for finding in by_reading_order(report)), *report.roi_objects)
    return [roi for roi in dict.fromkeys(every) if roi.kind != "NIFTI"]


def _evidence(report: Report, library: Sequence[Sequence[str]], sources: Sources) -> list[Dataset]:
    """Current Requested Procedure Evidence: every object that the tree names, by series (PS3.3 C.17.2.3)."""
    series: dict[str, dict[str, str]] = {}
    for name in (name for group in library for name in group):
        source = sources[name]
        series.setdefault(str(source.SeriesInstanceUID), {})[name] = str(source.SOPClassUID)
    for roi in roi_references(report):
        series.setdefault(roi.series_instance_uid, {})[roi.sop_instance_uid] = roi.sop_class_uid
    if report.prognosis is not None:
        series[series_uid("figure", report_uid(report))] = {figure_uid(report): SECONDARY_CAPTURE}
    listed = [
        (name, [sr.reference(class_uid, instance_uid) for instance_uid, class_uid in members.items()])
        for name, members in series.items()
    ]
    return [_study_reference(report.study_instance_uid, listed)]


def _study_reference(study_uid: str, series: Sequence[tuple[str, list[Dataset]]]) -> Dataset:
    """Hierarchical SOP Instance Reference (PS3.3 table C.17-3)."""
    items = [
        sr.attributes((0x0020000E, "UI", name), (0x00081199, "SQ", references)) for name, references in series
    ]
    return sr.attributes((0x0020000D, "UI", study_uid), (0x00081115, "SQ", items))
