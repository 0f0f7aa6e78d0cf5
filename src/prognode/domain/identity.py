"""Names that follow from what they name, so that doing the same work twice makes one object and not two.

Every identifier is SHA-256 over its inputs. DICOM identifiers take the first 128 bits under the 2.25 root
(PS3.5 B.2): the same inputs give the same UID on every machine, and nothing about the patient can be read from it.

``REPORT_FORMAT`` is part of a report's identity. It must change whenever the same report would be written as other
bytes, because two different objects under one SOP Instance UID are refused, ignored or overwritten, PACS by PACS.
"""

from __future__ import annotations

import hashlib

from prognode.domain.report import RecipeIdentity, Report

REPORT_FORMAT = "1"

COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"
COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.88.33"
ENHANCED_SR = "1.2.840.10008.5.1.4.1.1.88.22"


def _sha256(parts: tuple[str, ...]) -> bytes:
    """Hash the parts, each behind its length, so that ("ab", "c") and ("a", "bc") differ."""
    state = hashlib.sha256()
    for part in parts:
        data = part.encode()
        state.update(len(data).to_bytes(8, "big"))
        state.update(data)
    return state.digest()


def digest(*parts: str) -> str:
    """SHA-256 over length-prefixed UTF-8 parts, as 64 hexadecimal digits."""
    return _sha256(parts).hex()


def uid(*parts: str) -> str:
    """DICOM UID of the parts: 2.25 and the first 128 bits of their digest as an integer (PS3.5 B.2)."""
    return f"2.25.{int.from_bytes(_sha256(parts)[:16], 'big')}"


def case_id(study_uid: str) -> str:
    """Name of a case that names no patient: 16 hexadecimal digits of the Study Instance UID's digest."""
    return digest("case", study_uid)[:16]


def report_uid(report: Report, sop_class_uid: str = COMPREHENSIVE_3D_SR) -> str:
    """SOP Instance UID of a report in one SR storage class.

    The Comprehensive 3D UID follows from what the report was made of; the UID of a fall-back class follows from that
    UID. So a report can name its predecessor in the class that it is itself written in.
    """
    first = uid(
        "sr",
        REPORT_FORMAT,
        report.study_instance_uid,
        *_inputs(report),
        report.recipe.digest,
        report.covariates_digest,
        report.status,
        report.reason.value if report.reason else "",
    )
    return in_class(first, sop_class_uid)


def in_class(report_sop_instance_uid: str, sop_class_uid: str) -> str:
    """UID of a report's copy in another SR class; the report's own UID for Comprehensive 3D SR."""
    if sop_class_uid == COMPREHENSIVE_3D_SR:
        return report_sop_instance_uid
    return uid("sr-class", report_sop_instance_uid, sop_class_uid)


def _inputs(report: Report) -> tuple[str, ...]:
    """What was read: which ROI in which phase, the ROI objects, and the digest of their bytes and the images'."""
    rois = (
        f"{f.phase} {f.series_instance_uid} {f.roi.sop_instance_uid} {f.roi.number}" for f in report.findings
    )
    objects = (roi.sop_instance_uid for roi in report.roi_objects)
    return (*sorted(rois), *sorted(objects), report.input_digest)


def figure_uid(report: Report) -> str:
    """SOP Instance UID of the report's figure."""
    return figure_of(report_uid(report))


def figure_of(report_sop_instance_uid: str) -> str:
    """SOP Instance UID of the figure of the report with this one (of its Comprehensive 3D form)."""
    return uid("figure", report_sop_instance_uid)


def series_uid(kind: str, report_sop_instance_uid: str) -> str:
    """Series Instance UID of a report (kind ``sr``) or its figure (kind ``figure``).

    Each report has its own series: the Series Description names its result, and a description belongs to one series.
    """
    return uid("series", kind, report_sop_instance_uid)


def tracking_uid(study_uid: str, roi_object_uid: str, roi_number: int, phase: str = "") -> str:
    """Tracking Unique Identifier of a lesion: a re-run with another model keeps it.

    ``phase`` keeps the two groups of a report apart when one ROI serves both phases; viewers merge equal identifiers.
    """
    return uid("tracking", study_uid, roi_object_uid, str(roi_number), phase)


def device_uid(recipe: RecipeIdentity) -> str:
    """Device UID of the algorithm; another recipe is another device (IHE AIR, RAD TF-3 6.5.3.1)."""
    return uid("device", recipe.digest)
