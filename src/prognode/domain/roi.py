"""A region of interest as cross-sections in planes, whatever object it came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from prognode.domain.geometry import Points, Vector
from prognode.errors import Reason

RoiKind = Literal["RTSTRUCT", "SEG", "NIFTI"]


@dataclass(frozen=True, slots=True)
class SegmentCode:
    """A coded concept (PS3.3 8.8): value, scheme designator, meaning."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True, slots=True)
class CrossSection:
    """The ROI in one plane.

    ``outlines`` are closed polygons, each (n, 3) in LPS mm, combined by the even-odd rule (nested contours are holes).
    A cross-section that came from pixels has the exact pixel-edge outline, so that its area is pixels times pixel area.
    """

    offset_mm: float
    """Position along the normal of the planes it was drawn on."""
    outlines: tuple[Points, ...]
    area_mm2: float
    sop_instance_uid: str | None = None
    """The image that the ROI object names for this plane, if it names one."""
    frame: int = 1


@dataclass(frozen=True, slots=True)
class Roi:
    """One ROI of one RTSTRUCT, or one segment of one SEG, with all that could be read of it."""

    kind: RoiKind
    object_uid: str
    """SOP Instance UID of the RTSTRUCT or SEG."""
    number: int
    """ROI Number or Segment Number."""
    name: str
    normal: Vector
    sections: tuple[CrossSection, ...]
    """Ascending along ``normal``."""
    frame_of_reference_uid: str | None
    referenced_series_uids: tuple[str, ...]
    """Series that the object says this ROI was drawn on; empty if it says nothing."""
    referenced_image_uids: tuple[str, ...]
    """Every image that the object names for that series (whole series or contour slices), in its own order."""
    volume_mm3: float
    bounding_box_lps_mm: tuple[Vector, Vector] | None
    """(min, max): contour vertices of an RTSTRUCT, voxel centres of a SEG; None when empty."""
    codes: tuple[SegmentCode, ...] = ()
    reasons: tuple[Reason, ...] = ()
    """Why this ROI can never be evaluated, found while reading it; empty if readable."""
    warnings: tuple[str, ...] = field(default=())
