"""Sample reports with the headers of their images; synthetic, and they say so."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
from pydicom.dataset import Dataset

from prognode.domain.cox_model import (
    Baseline,
    CoxModel,
    Cutoff,
    Term,
    linear_predictor,
    survival,
    survival_curve,
)
from prognode.domain.geometry import ImagePlane
from prognode.domain.identity import case_id, digest
from prognode.domain.nomogram import axis_points, nomogram_of
from prognode.domain.prognosis import AxisPoints, Covariates, Phase, Prognosis
from prognode.domain.report import (
    RESEARCH_NOTICE,
    PhaseFinding,
    RecipeIdentity,
    Report,
    ReportStatus,
    RoiReference,
)
from prognode.errors import Reason

STUDY_UID = "2.25.100"
SERIES_UIDS = {"arterial": "2.25.101", "venous": "2.25.102"}
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2.1"
RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
SIZE = 512
SPACING_MM = 0.75
SLICES = 5
NOTICES = (RESEARCH_NOTICE, "Demonstration recipe: the numbers mean nothing.", "Synthetic data: no patient.")


def image_uid(phase: str, index: int) -> str:
    return f"{SERIES_UIDS[phase]}.{index + 1}"


def sample_plane(phase: str = "venous", index: int = 2, *, enhanced: bool = False) -> ImagePlane:
    return ImagePlane(
        sop_instance_uid=image_uid(phase, 0 if enhanced else index),
        position_lps_mm=(-192.0, -192.0, 100.0 + index),
        row_cosines=(1.0, 0.0, 0.0),
        column_cosines=(0.0, 1.0, 0.0),
        row_spacing_mm=SPACING_MM,
        column_spacing_mm=SPACING_MM,
        rows=SIZE,
        columns=SIZE,
        frame=index + 1 if enhanced else 1,
    )


def sample_outline(radius_px: float = 28.0, vertices: int = 90) -> np.ndarray:
    """A lobed closed outline near the stomach, (n, 2) as (column, row)."""
    angle = np.linspace(0, 2 * np.pi, vertices, endpoint=False)
    radius = radius_px * (1 + 0.12 * np.cos(3 * angle) + 0.05 * np.sin(7 * angle))
    return np.stack([310 + radius * np.cos(angle), 215 + 0.8 * radius * np.sin(angle)], axis=1)


def sample_finding(
    phase: Phase, kind: Literal["RTSTRUCT", "SEG", "NIFTI"] = "RTSTRUCT", *, enhanced: bool = False
) -> PhaseFinding:
    slices = (image_uid(phase, 0),) if enhanced else tuple(image_uid(phase, i) for i in (1, 2, 3))
    return PhaseFinding(
        phase=phase,
        series_instance_uid=SERIES_UIDS[phase],
        series_description=f"Abdomen {phase}",
        evidence="the aorta is brighter than the portal vein"
        if phase == "arterial"
        else "the portal vein is as bright as the aorta",
        roi=RoiReference(
            kind=kind,
            sop_instance_uid=f"2.25.11{len(phase)}",
            sop_class_uid=SEGMENTATION if kind == "SEG" else RTSTRUCT,
            series_instance_uid=f"2.25.12{len(phase)}",
            number=1,
            name="Tumour",
        ),
        plane=sample_plane(phase, enhanced=enhanced),
        outlines_px=(sample_outline(28.0 if phase == "venous" else 26.5),),
        slice_uids=slices,
        largest_area_mm2=1128.4,
        longest_diameter_mm=46.25 if phase == "venous" else 44.1,
        volume_mm3=30123.456789,
    )


def sample_prognosis(*, missing: tuple[str, ...] = ()) -> Prognosis:
    """What :func:`sample_model` says of one patient; ``missing`` names covariates as the model's terms do."""
    model = sample_model(missing=bool(missing))
    values = {
        "signature_arterial": 0.4312345,
        "signature_venous": 0.5871,
        "ki67_percent": 20.0,
        "longest_diameter_mm": 46.25,
        "m_stage": 1.0,
    }
    shown = {"ki67_percent": "20 %", "longest_diameter_mm": "46.2 mm", "m_stage": "M1"}
    lp = linear_predictor(model, values)
    nomogram = nomogram_of(model)
    axes = tuple(
        AxisPoints(
            term.name,
            term.label,
            values[term.name],
            shown.get(term.name, f"{values[term.name]:.2f}"),
            axis_points(nomogram, term, values[term.name]),
        )
        for term in model.terms
    )
    return Prognosis(
        model="signatures" if missing else "combined",
        signature_arterial=values["signature_arterial"],
        signature_venous=values["signature_venous"],
        linear_predictor=lp,
        axes=axes,
        total_points=sum(axis.points for axis in axes),
        survival=tuple((months, survival(model, lp, months)) for months in (36, 60)),
        curve=survival_curve(model, lp),
        risk_group="high" if lp > model.cutoff.value else "low",
        cutoff=model.cutoff.value,
        covariates=Covariates(
            ki67_percent=None if "ki67_percent" in missing else 20.0,
            m_stage=None if "m_stage" in missing else "M1",
            longest_diameter_mm=46.25,
        ),
        missing=missing,
        remarks=("Longest diameter was taken from the venous phase.",),
    )


def sample_report(
    status: ReportStatus = "final",
    kind: Literal["RTSTRUCT", "SEG", "NIFTI"] = "RTSTRUCT",
    *,
    enhanced: bool = False,
    reason: Reason = Reason.ROI_SEVERAL,
    **changes: object,
) -> Report:
    """A report of each status; ``changes`` replace fields."""
    missing = ("ki67_percent", "m_stage") if status == "preliminary" else ()
    refused = status == "not-evaluable"
    report = Report(
        case_id=case_id(STUDY_UID),
        status=status,
        notices=NOTICES,
        study_instance_uid=STUDY_UID,
        findings=()
        if refused
        else (
            sample_finding("arterial", kind, enhanced=enhanced),
            sample_finding("venous", kind, enhanced=enhanced),
        ),
        prognosis=None if refused else sample_prognosis(missing=missing),
        recipe=RecipeIdentity("Demonstration nomogram", "0.1", digest("recipe"), digest("weights"), True),
        input_digest=digest("input"),
        covariates_digest=digest("covariates", *missing),
        content_datetime="20260102030405",
        reason=reason if refused else None,
        reason_detail="3 contours match 'tumou?r' on one series." if refused else "",
        candidates=("Tumour (1)", "Tumour old (2)", "TUMOR (3)") if refused else (),
        anchor=sample_plane(enhanced=enhanced) if refused else None,
        anchor_series_uid=SERIES_UIDS["venous"] if refused else "",
    )
    return dataclasses.replace(report, **changes)


def sample_header(phase: str, index: int) -> Dataset:
    """Header of one CT slice, without pixels."""
    header = Dataset()
    header.SOPClassUID = CT_IMAGE
    header.SOPInstanceUID = image_uid(phase, index)
    header.StudyInstanceUID = STUDY_UID
    header.SeriesInstanceUID = SERIES_UIDS[phase]
    header.FrameOfReferenceUID = "2.25.103"
    header.Modality = "CT"
    header.PatientName = "Synthetic^Phantom"
    header.PatientID = "SYN-1"
    header.PatientBirthDate = "19600101"
    header.PatientSex = "F"
    header.StudyDate = "20260101"
    header.StudyTime = "101500"
    header.StudyID = "1"
    header.StudyDescription = "CT abdomen biphasic (synthetic)"
    header.AccessionNumber = "ACC-1"
    header.ReferringPhysicianName = ""
    header.SeriesDescription = f"Abdomen {phase}"
    header.InstanceNumber = index + 1
    header.Rows = header.Columns = SIZE
    header.PixelSpacing = [SPACING_MM, SPACING_MM]
    header.SliceThickness = 1.0
    header.ImagePositionPatient = [-192.0, -192.0, 100.0 + index]
    header.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    return header


def sample_sources() -> dict[str, Dataset]:
    """Headers of five slices per phase, by SOP Instance UID."""
    headers = [sample_header(phase, index) for phase in SERIES_UIDS for index in range(SLICES)]
    return {header.SOPInstanceUID: header for header in headers}


def enhanced_sources() -> dict[str, Dataset]:
    """One multi-frame header per phase: geometry is in functional groups, not at the top."""
    sources = {}
    for phase in SERIES_UIDS:
        header = sample_header(phase, 0)
        header.SOPClassUID = ENHANCED_CT_IMAGE
        header.NumberOfFrames = SLICES
        for keyword in ("PixelSpacing", "SliceThickness", "ImagePositionPatient", "ImageOrientationPatient"):
            delattr(header, keyword)
        sources[header.SOPInstanceUID] = header
    return sources


def unicode_sources() -> dict[str, Dataset]:
    """A Chinese name in UTF-8."""
    sources = sample_sources()
    for header in sources.values():
        header.SpecificCharacterSet = "ISO_IR 192"
        header.PatientName = "Wang^XiaoDong=王^小东"
    return sources


def messy_sources() -> dict[str, Dataset]:
    """Headers as they come: absent, empty, over-long and malformed values."""
    sources = sample_sources()
    for header in sources.values():
        for keyword in (
            "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyTime", "SliceThickness",
            "ReferringPhysicianName",
        ):  # fmt: skip
            delattr(header, keyword)
        header.PatientName = ""
        header.StudyDate = ""
        header.add_new(0x00101010, "AS", "65")
        header.add_new(0x00081030, "LO", "CT of the abdomen, biphasic, " * 4)
    return sources


def sample_model(*, missing: bool = False) -> CoxModel:
    """A Cox model with round axes, for the figure; its numbers mean nothing."""
    terms = (
        Term("signature_arterial", "Arterial signature", "", 1.1, tuple(i / 10 for i in range(0, 11, 2))),
        Term("signature_venous", "Venous signature", "", 1.6, tuple(i / 10 for i in range(0, 11, 2))),
        Term("ki67_percent", "Ki-67", "%", 0.012, tuple(float(i) for i in range(0, 101, 20))),
        Term(
            "longest_diameter_mm", "Longest diameter", "mm", 0.004, tuple(float(i) for i in range(0, 161, 40))
        ),
        Term("m_stage", "M stage", "", 0.7, (0.0, 1.0), ("M0", "M1")),
    )
    months = tuple(float(m) for m in range(3, 85, 3))
    baseline = Baseline(months, tuple(0.0009 * m for m in months), 84.0)
    return CoxModel(terms[:2] if missing else terms, baseline, Cutoff(0.567, "max log-rank"))


def sample_images() -> dict[Phase, np.ndarray]:
    """HU of the largest slice per phase: an ellipse of a body with a stomach and a tumour, and noise."""
    rows, columns = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    noise = np.random.default_rng(7).normal(0, 12, (SIZE, SIZE)).astype(np.float32)
    images: dict[Phase, np.ndarray] = {}
    for phase, tumour_hu in (("arterial", 120.0), ("venous", 95.0)):
        hu = np.full((SIZE, SIZE), -1000, np.float32)
        for centre, axes, value in (
            ((256, 256), (210, 150), -90),
            ((256, 256), (195, 135), 50),
            ((330, 205), (75, 45), 15),
            ((310, 215), (27, 21), tumour_hu),
            ((256, 300), (16, 16), 200),
        ):
            hu[((columns - centre[0]) / axes[0]) ** 2 + ((rows - centre[1]) / axes[1]) ** 2 < 1] = value
        images[phase] = hu + noise
    return images
