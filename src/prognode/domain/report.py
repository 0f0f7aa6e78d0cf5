"""What is said about a case, before anyone decides how to encode it. SR, figure and JSON all speak from this value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from prognode.domain.geometry import ImagePlane, Points
from prognode.domain.prognosis import Phase, Prognosis
from prognode.domain.recipe import RecipeIdentity as RecipeIdentity
from prognode.errors import Reason

ReportStatus = Literal["final", "preliminary", "not-evaluable"]

RESEARCH_NOTICE = "Research use only. Not for clinical decisions."


@dataclass(frozen=True, slots=True)
class RoiReference:
    """The ROI that a finding was measured in."""

    kind: Literal["RTSTRUCT", "SEG", "NIFTI"]
    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    number: int
    name: str


@dataclass(frozen=True, slots=True)
class PhaseFinding:
    """What was seen in one phase."""

    phase: Phase
    series_instance_uid: str
    series_description: str
    evidence: str
    """Why this series is this phase, as a sentence."""
    roi: RoiReference
    plane: ImagePlane
    """The image with the largest cross-section."""
    outlines_px: tuple[Points, ...]
    """Contour on ``plane``: each (n, 2) as (column, row), DICOM image-relative coordinates (PS3.3 C.18.6.1.2)."""
    slice_uids: tuple[str, ...]
    """SOP Instance UIDs of the source images nearest to the three 1 mm slices, ascending, without repeats."""
    largest_area_mm2: float
    longest_diameter_mm: float
    volume_mm3: float
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """All that is said about one case with one set of inputs."""

    case_id: str
    status: ReportStatus
    notices: tuple[str, ...]
    """Research only; and, where they apply: demonstration recipe, synthetic data."""
    study_instance_uid: str
    findings: tuple[PhaseFinding, ...]
    prognosis: Prognosis | None
    recipe: RecipeIdentity
    input_digest: str
    """SHA-256 over ROI objects, ROI numbers and need-set bytes."""
    covariates_digest: str
    content_datetime: str
    """YYYYMMDDHHMMSS of the case's first acceptance, so that a replay writes the same bytes."""
    reason: Reason | None = None
    reason_detail: str = ""
    candidates: tuple[str, ...] = ()
    anchor: ImagePlane | None = None
    """For ``not-evaluable``: a source image that the statement is pinned to."""
    anchor_series_uid: str = ""
    predecessor_uid: str | None = None
    """SOP Instance UID of the report that this one supersedes."""
    roi_objects: tuple[RoiReference, ...] = ()
    remarks: tuple[str, ...] = ()


COVARIATE_WORDS = {"ki67_percent": "Ki-67", "longest_diameter_mm": "longest diameter", "m_stage": "M stage"}


def missing_words(prognosis: Prognosis) -> str:
    """The covariates that a preliminary result lacks, in words: ``Ki-67, M stage``."""
    return ", ".join(COVARIATE_WORDS.get(name, name) for name in prognosis.missing)
