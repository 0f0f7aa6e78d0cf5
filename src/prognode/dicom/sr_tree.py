"""The content of a report's SR: TID 1500 with planar measurement groups (TID 1410), image library, sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from prognode.dicom import codes
from prognode.dicom import sr_items as sr
from prognode.domain.geometry import ImagePlane
from prognode.domain.identity import device_uid, figure_uid, tracking_uid
from prognode.domain.prognosis import AxisPoints, Prognosis
from prognode.domain.report import PhaseFinding, Report, RoiReference, missing_words

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
MAX_OUTLINE_POINTS = 300
WHOLE_IMAGE = np.array([[0, 0], [1, 0], [2, 0], [2, 1], [2, 2], [1, 2], [0, 2], [0, 1], [0, 0]]) / 2
"""Border of an image as parts of its width and height, closed. Viewers take one of four corners for a measured box."""

Sources = Mapping[str, Dataset]
"""Headers of the source images by SOP Instance UID."""


def result_words(report: Report) -> str:
    """``high risk``, ``low risk`` or ``not evaluable``."""
    return f"{report.prognosis.risk_group} risk" if report.prognosis else "not evaluable"


def by_reading_order(report: Report) -> list[PhaseFinding]:
    """Findings, venous first: that group holds the prognosis."""
    return sorted(report.findings, key=lambda finding: finding.phase != "venous")


def root_container(
    report: Report, library: Sequence[Sequence[str]], sources: Sources
) -> list[tuple[int, str, object]]:
    """TID 1500 Measurement Report; the root is the data set itself."""
    groups = [_library_group(names, sources) for names in library]
    children = [
        sr.code(sr.HAS_CONCEPT_MOD, codes.LANGUAGE, codes.ENGLISH),
        *_observer(report),
        sr.code(sr.HAS_CONCEPT_MOD, codes.PROCEDURE_REPORTED, codes.CT_UNSPECIFIED),
        sr.container(codes.IMAGE_LIBRARY, groups),
        sr.container(codes.IMAGING_MEASUREMENTS, _measurement_groups(report, sources)),
    ]
    template = sr.attributes((0x00080105, "CS", "DCMR"), (0x0040DB00, "CS", "1500"))
    return [
        (0x0040A040, "CS", "CONTAINER"),
        (0x0040A043, "SQ", sr.coded(codes.REPORT)),
        (0x0040A050, "CS", "SEPARATE"),
        (0x0040A504, "SQ", [template]),
        (0x0040A730, "SQ", children),
    ]


def _observer(report: Report) -> list[Dataset]:
    """TID 1002 and 1004: the device that observed is the algorithm."""
    recipe = report.recipe
    return [
        sr.code(sr.HAS_OBS_CONTEXT, codes.OBSERVER_TYPE, codes.DEVICE),
        sr.uidref(sr.HAS_OBS_CONTEXT, codes.DEVICE_UID, device_uid(recipe)),
        sr.text(sr.HAS_OBS_CONTEXT, codes.DEVICE_NAME, "Prognode"),
        sr.text(sr.HAS_OBS_CONTEXT, codes.DEVICE_MANUFACTURER, "Prognode"),
        sr.text(sr.HAS_OBS_CONTEXT, codes.DEVICE_MODEL, recipe.name),
        sr.text(sr.HAS_OBS_CONTEXT, codes.DEVICE_SERIAL, recipe.digest[:16]),
    ]


def _measurement_groups(report: Report, sources: Sources) -> list[Dataset]:
    if report.prognosis is None:
        return [_not_evaluable_group(report, sources)]
    first, *others = by_reading_order(report)
    return [
        _phase_group(report, first, sources, report.prognosis, leads=True),
        *(_phase_group(report, finding, sources, report.prognosis, leads=False) for finding in others),
    ]


def _group(tracking: tuple[str, str], children: Sequence[Dataset]) -> Dataset:
    """TID 1410 Planar ROI Measurements; the Tracking Unique Identifier is the group's first UIDREF."""
    identifier, unique = tracking
    return sr.container(
        codes.MEASUREMENT_GROUP,
        [
            sr.text(sr.HAS_OBS_CONTEXT, codes.TRACKING_IDENTIFIER, identifier),
            sr.uidref(sr.HAS_OBS_CONTEXT, codes.TRACKING_UID, unique),
            *children,
        ],
        template="1410",
    )


def _phase_group(
    report: Report, finding: PhaseFinding, sources: Sources, prognosis: Prognosis, *, leads: bool
) -> Dataset:
    """One phase: outline, numbers, and in the leading group all that is said about the patient."""
    label = f"Tumour {finding.phase}" + (f" - {result_words(report).upper()}" if leads else "")
    unique = tracking_uid(
        report.study_instance_uid, finding.roi.sop_instance_uid, finding.roi.number, finding.phase
    )
    algorithm = _algorithm(report)
    numbers = [
        *(_prognosis_numbers(prognosis, finding.phase, algorithm) if leads else ()),
        *(() if leads else _phase_numbers(prognosis, finding.phase, algorithm)),
        *_size(finding, algorithm),
    ]
    statements = _statements(report, prognosis) if leads else []
    return _group(
        (label + _marks(report), unique),
        [
            sr.code(sr.CONTAINS, codes.FINDING, codes.NEUROENDOCRINE_TUMOR),
            sr.code(sr.HAS_CONCEPT_MOD, codes.FINDING_SITE, codes.STOMACH),
            _outline(finding, sources),
            *_roi_link(finding.roi),
            *numbers,
            *statements,
            sr.text(sr.CONTAINS, codes.COMMENT, f"{finding.phase.capitalize()} phase: {finding.evidence}"),
            *(sr.text(sr.CONTAINS, codes.COMMENT, remark) for remark in finding.remarks),
        ],
    )


def _marks(report: Report) -> str:
    preliminary = " - preliminary" if report.status == "preliminary" else ""
    return preliminary + (" - DEMO" if report.recipe.demonstration else "")


def _algorithm(report: Report) -> list[Dataset]:
    """TID 4019 Algorithm Identification."""
    recipe = report.recipe
    return [
        sr.text(sr.HAS_CONCEPT_MOD, codes.ALGORITHM_NAME, recipe.name),
        sr.text(sr.HAS_CONCEPT_MOD, codes.ALGORITHM_VERSION, recipe.version),
    ]


def _number(
    name: codes.Code,
    value: float,
    unit: codes.Code,
    derivation: codes.Code,
    algorithm: Sequence[Dataset] = (),
) -> Dataset:
    """TID 1419 row: NUM with its derivation and, where one computed it, the algorithm."""
    how = sr.code(sr.HAS_CONCEPT_MOD, codes.DERIVATION, derivation)
    return sr.num(sr.CONTAINS, name, value, unit, [how, *algorithm])


def _signature(prognosis: Prognosis, phase: str, algorithm: Sequence[Dataset]) -> Dataset:
    value = prognosis.signature_venous if phase == "venous" else prognosis.signature_arterial
    return _number(codes.SIGNATURE[phase], value, codes.SCORE, codes.CALCULATED, algorithm)


def _axis(axis: AxisPoints, algorithm: Sequence[Dataset]) -> Dataset:
    return _number(codes.AXIS_POINTS[axis.name], axis.points, codes.POINTS, codes.CALCULATED, algorithm)


def _phase_numbers(prognosis: Prognosis, phase: str, algorithm: Sequence[Dataset]) -> list[Dataset]:
    """The phase's signature and its points."""
    points = [_axis(axis, algorithm) for axis in prognosis.axes if axis.name == f"signature_{phase}"]
    return [_signature(prognosis, phase, algorithm), *points]


def _prognosis_numbers(prognosis: Prognosis, phase: str, algorithm: Sequence[Dataset]) -> list[Dataset]:
    """Survival in percent, points, signature, covariates, then what the nomogram adds up.

    The points of the other phase's signature stand with that signature.
    """
    elsewhere = {f"signature_{other}" for other in codes.SIGNATURE if other != phase}
    survival = [
        _number(codes.overall_survival(months), 100 * value, codes.PERCENT, codes.ESTIMATED, algorithm)
        for months, value in prognosis.survival
    ]
    axes = [_axis(axis, algorithm) for axis in prognosis.axes if axis.name not in elsewhere]
    return [
        *survival,
        _number(codes.TOTAL_POINTS, prognosis.total_points, codes.POINTS, codes.CALCULATED, algorithm),
        _signature(prognosis, phase, algorithm),
        *_covariates(prognosis, algorithm),
        _number(
            codes.LINEAR_PREDICTOR, prognosis.linear_predictor, codes.NO_UNIT, codes.CALCULATED, algorithm
        ),
        _number(codes.CUTOFF, prognosis.cutoff, codes.NO_UNIT, codes.CALCULATED, algorithm),
        *axes,
    ]


def _covariates(prognosis: Prognosis, algorithm: Sequence[Dataset]) -> list[Dataset]:
    """The diameter comes first: the long standard name of Ki-67 would leave a viewer's window."""
    known = prognosis.covariates
    numbers = []
    if known.longest_diameter_mm is not None:
        measured = known.longest_diameter_origin == "measured"
        numbers.append(
            _number(
                codes.MODEL_DIAMETER,
                known.longest_diameter_mm,
                codes.MM,
                codes.MEASURED if measured else codes.REPORTED,
                algorithm if measured else (),
            )
        )
    if known.ki67_percent is not None:
        numbers.append(_number(codes.KI67, known.ki67_percent, codes.PERCENT, codes.REPORTED))
    return numbers


def _size(finding: PhaseFinding, algorithm: Sequence[Dataset]) -> list[Dataset]:
    return [
        _number(codes.LONG_AXIS, finding.longest_diameter_mm, codes.MM, codes.MEASURED, algorithm),
        _number(codes.AREA, finding.largest_area_mm2, codes.MM2, codes.MEASURED, algorithm),
        _number(codes.VOLUME, finding.volume_mm3, codes.MM3, codes.MEASURED, algorithm),
    ]


def _statements(report: Report, prognosis: Prognosis) -> list[Dataset]:
    """Categories, the figure, and sentences: notices, what is missing, the model, remarks."""
    stage = prognosis.covariates.m_stage
    return [
        sr.code(sr.CONTAINS, codes.RISK_GROUP, codes.RISK[prognosis.risk_group]),
        *([sr.code(sr.CONTAINS, codes.M_STAGE, codes.M_STAGES[stage])] if stage else []),
        sr.code(sr.CONTAINS, codes.STATUS, codes.STATUSES[report.status]),
        sr.image(sr.CONTAINS, codes.VISUAL_EXPLANATION, sr.reference(SECONDARY_CAPTURE, figure_uid(report))),
        *_comments(report),
    ]


def _comments(report: Report) -> list[Dataset]:
    return [sr.text(sr.CONTAINS, codes.COMMENT, sentence) for sentence in sentences(report)]


def sentences(report: Report) -> list[str]:
    """What is said in words: notices first, then the status, candidates, remarks and the model."""
    recipe = report.recipe
    said = list(report.notices)
    if report.prognosis is not None and report.prognosis.missing:
        said.append(f"Preliminary: {missing_words(report.prognosis)} missing; imaging signatures only.")
    if report.reason is not None:
        said.append(f"Not evaluable: {report.reason_detail or codes.REASON_MEANING[report.reason]}")
    said.extend(f"Candidate: {candidate}" for candidate in report.candidates)
    said.extend(report.remarks)
    said.extend(report.prognosis.remarks if report.prognosis else ())
    said.append(
        f"Model {recipe.name} {recipe.version}; recipe {recipe.digest}; extractor {recipe.extractor_sha256}."
    )
    return said


def _not_evaluable_group(report: Report, sources: Sources) -> Dataset:
    """The border of an image, the coded reason, and the words that a person needs.

    It has no finding and no site: nothing was found, and a viewer prints the site where there are no numbers. The
    region is the whole image, because a mark at a place in the body would be read as a finding.
    """
    anchor = report.anchor
    if anchor is None or report.reason is None:
        raise ValueError("a report without prognosis needs a reason and an image as its anchor")
    border = WHOLE_IMAGE * (anchor.columns, anchor.rows)
    unique = tracking_uid(report.study_instance_uid, anchor.sop_instance_uid, 0)
    findings = [
        f"{finding.phase.capitalize()} phase: {finding.evidence}" for finding in by_reading_order(report)
    ]
    return _group(
        (f"NOT EVALUABLE: {report.reason.value}" + _marks(report), unique),
        [
            sr.scoord(codes.IMAGE_REGION, "POLYLINE", border, _plane_reference(anchor, sources)),
            sr.code(sr.CONTAINS, codes.STATUS, codes.STATUSES[report.status]),
            sr.code(sr.CONTAINS, codes.NOT_EVALUABLE, codes.reason_code(report.reason)),
            *_comments(report),
            *(sr.text(sr.CONTAINS, codes.COMMENT, sentence) for sentence in findings),
        ],
    )


# ---------------------------------------------------------------- images and regions


def _plane_reference(plane: ImagePlane, sources: Sources) -> Dataset:
    """Reference to the image of a plane; the frame number is given for multi-frame images only."""
    source = sources[plane.sop_instance_uid]
    frame = plane.frame if "NumberOfFrames" in source else None
    return sr.reference(str(source.SOPClassUID), plane.sop_instance_uid, frame=frame)


def _outline(finding: PhaseFinding, sources: Sources) -> Dataset:
    """The largest outline on the largest slice; SCOORD has no holes, and a group has one region (TID 1410)."""
    points = closed_polyline(max(finding.outlines_px, key=_area_px))
    return sr.scoord(codes.IMAGE_REGION, "POLYLINE", points, _plane_reference(finding.plane, sources))


def _area_px(outline: NDArray[np.float64]) -> float:
    x, y = outline.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def closed_polyline(outline: NDArray[np.float64], limit: int = MAX_OUTLINE_POINTS) -> NDArray[np.float64]:
    """Polygon (n, 2) -> at most ``limit`` points, the last equal to the first (PS3.3 C.18.6.1.2, POLYLINE).

    Points on a straight line between their neighbours go first; then vertices are kept at even steps.
    """
    points = outline[:-1] if len(outline) > 1 and np.array_equal(outline[0], outline[-1]) else outline
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    corner = np.abs(before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]) > 1e-9
    if corner.sum() >= 3:
        points = points[corner]
    if len(points) >= limit:
        points = points[np.linspace(0, len(points) - 1, limit - 1).round().astype(int)]
    return np.vstack([points, points[:1]])


def _roi_link(roi: RoiReference) -> list[Dataset]:
    """The ROI that the outline was taken from: a segment of a SEG, or an ROI of an RTSTRUCT by its number.

    TID 1410 knows one region, the outline; the link is an addition to that extensible template. A Referenced Segment
    (121191) would make the group a volumetric one (TID 1411). The ROI number is a concept modifier, because readers
    refuse a property below a COMPOSITE item.
    """
    uids = (roi.sop_class_uid, roi.sop_instance_uid)
    if roi.kind == "SEG":
        segment = sr.reference(*uids, segment=roi.number)
        return [sr.image(sr.CONTAINS, codes.SOURCE_OF_MEASUREMENT, segment)]
    if roi.kind == "RTSTRUCT":
        number = sr.text(sr.HAS_CONCEPT_MOD, codes.ROI_IDENTIFIER, str(roi.number))
        return [sr.composite(sr.CONTAINS, codes.REGION_IN_SPACE, sr.reference(*uids), [number])]
    return []


Descriptor = tuple[codes.Code, float, codes.Code]


def _library_group(names: Sequence[str], sources: Sources) -> Dataset:
    """TID 1600 group of images with their descriptors (TID 1602, 1604); what all share is said once."""
    described = {name: _descriptors(sources[name]) for name in names}
    first = described[names[0]]
    shared = [entry for entry in first if all(entry in other for other in described.values())]
    frames = {str(sources[name].get("FrameOfReferenceUID") or "") for name in names} - {""}
    common = [
        sr.code(sr.HAS_ACQ_CONTEXT, codes.MODALITY, codes.CT),
        *(sr.uidref(sr.HAS_ACQ_CONTEXT, codes.FRAME_OF_REFERENCE, frame) for frame in sorted(frames)[:1]),
        *_descriptor_items(shared),
    ]
    images = [
        sr.image(
            sr.CONTAINS,
            codes.SOURCE,
            sr.reference(str(sources[name].SOPClassUID), name),
            _descriptor_items([entry for entry in described[name] if entry not in shared]),
        )
        for name in names
    ]
    return sr.container(codes.IMAGE_LIBRARY_GROUP, [*common, *images])


def _descriptor_items(descriptors: Sequence[Descriptor]) -> list[Dataset]:
    return [sr.num(sr.HAS_ACQ_CONTEXT, name, value, unit) for name, value, unit in descriptors]


def _descriptors(source: Dataset) -> list[Descriptor]:
    """Cross-sectional image descriptors; an attribute that the header lacks is left out."""
    wanted = (
        ("Rows", (codes.ROWS,), codes.PIXELS),
        ("Columns", (codes.COLUMNS,), codes.PIXELS),
        ("PixelSpacing", (codes.VERTICAL_SPACING, codes.HORIZONTAL_SPACING), codes.MM),
        ("SliceThickness", (codes.SLICE_THICKNESS,), codes.MM),
        ("ImagePositionPatient", codes.POSITION, codes.MM),
        ("ImageOrientationPatient", codes.ORIENTATION, codes.COSINE),
    )
    found: list[Descriptor] = []
    for keyword, names, unit in wanted:
        values = np.atleast_1d(np.asarray(source.get(keyword) or [], dtype=float))
        if len(values) == len(names) and np.isfinite(values).all():
            found.extend((name, float(value), unit) for name, value in zip(names, values, strict=True))
    return found
