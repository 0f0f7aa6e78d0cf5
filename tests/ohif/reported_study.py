"""Reports about a synthetic study that really is in the PACS, so that the viewer finds every image that they name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from pydicom.dataset import Dataset
from sr_samples import sample_report

from prognode.domain.geometry import ImagePlane, Points, pixel_from_lps
from prognode.domain.prognosis import Phase
from prognode.domain.report import PhaseFinding, Report, ReportStatus, RoiReference
from training.synthetic_study import SyntheticStudy


def plane_of(image: Dataset) -> ImagePlane:
    """The plane of a single-frame image, as its header says."""
    cosines = [float(value) for value in image.ImageOrientationPatient]
    x, y, z = (float(value) for value in image.ImagePositionPatient)
    return ImagePlane(
        sop_instance_uid=str(image.SOPInstanceUID),
        position_lps_mm=(x, y, z),
        row_cosines=(cosines[0], cosines[1], cosines[2]),
        column_cosines=(cosines[3], cosines[4], cosines[5]),
        row_spacing_mm=float(image.PixelSpacing[0]),
        column_spacing_mm=float(image.PixelSpacing[1]),
        rows=int(image.Rows),
        columns=int(image.Columns),
    )


def _roi(contour: Dataset) -> RoiReference:
    return RoiReference(
        kind="SEG" if contour.Modality == "SEG" else "RTSTRUCT",
        sop_instance_uid=str(contour.SOPInstanceUID),
        sop_class_uid=str(contour.SOPClassUID),
        series_instance_uid=str(contour.SeriesInstanceUID),
        number=1,
        name="Gastric tumour",
    )


def _largest_slice(study: SyntheticStudy, phase: Phase) -> Dataset:
    wanted = study.truth[phase].largest_slice_uid
    return next(image for image in study.images(phase) if str(image.SOPInstanceUID) == wanted)


def _outline_px(study: SyntheticStudy, phase: Phase) -> Points:
    truth = study.truth[phase]
    centre_first = pixel_from_lps(
        plane_of(_largest_slice(study, phase)), truth.outlines_mm[truth.largest_slice_uid]
    )
    # SCOORD counts from the corner of the first pixel (PS3.3 C.18.6.1.2)
    return np.asarray(centre_first + 0.5)


def _placed(finding: PhaseFinding, study: SyntheticStudy, contour: Dataset) -> PhaseFinding:
    phase, uids = finding.phase, study.uids(finding.phase)
    image, truth = _largest_slice(study, phase), study.truth[phase]
    at = uids.index(truth.largest_slice_uid)
    return replace(
        finding,
        series_instance_uid=study.series_uid(phase),
        series_description=str(image.SeriesDescription),
        roi=_roi(contour),
        plane=plane_of(image),
        outlines_px=(_outline_px(study, phase),),
        slice_uids=uids[at - 1 : at + 2],
        largest_area_mm2=truth.areas_mm2[truth.largest_slice_uid],
        longest_diameter_mm=truth.longest_diameter_mm,
        volume_mm3=truth.volume_mm3,
    )


def report_on(study: SyntheticStudy, status: ReportStatus) -> Report:
    """A sample report of this status whose findings lie on the study's own images."""
    report = sample_report(status)
    image = _largest_slice(study, "venous")
    return replace(
        report,
        study_instance_uid=study.study_uid,
        findings=tuple(
            _placed(finding, study, contour)
            for finding, contour in zip(report.findings, study.contours, strict=bool(report.findings))
        ),
        anchor=plane_of(image) if status == "not-evaluable" else None,
        anchor_series_uid=study.series_uid("venous") if status == "not-evaluable" else "",
    )


def sources_of(study: SyntheticStudy) -> dict[str, Dataset]:
    """Image headers by SOP Instance UID, as the builder of the report takes them."""
    return {str(image.SOPInstanceUID): image for phase in study.truth for image in study.images(phase)}
