"""Series and ROIs made of numbers, for tests of what lies between contours and pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from prognode.domain.geometry import ImagePlane, unit_normal
from prognode.domain.need_set import SeriesView
from prognode.domain.roi import CrossSection, Roi

AXIAL = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))


def planes(
    count: int,
    gap_mm: float = 2.5,
    *,
    origin: Sequence[float] = (-180.0, -180.0, 0.0),
    spacing: tuple[float, float] = (0.8, 0.8),
    matrix: tuple[int, int] = (450, 450),
    cosines: tuple[Sequence[float], Sequence[float]] = AXIAL,
    series: str = "1.2.3",
    numbered: bool = True,
) -> list[ImagePlane]:
    """Ascending planes with Instance Numbers from 1, their UIDs ``<series>.<index>``."""
    normal = np.array(unit_normal(*cosines))
    return [
        ImagePlane(
            sop_instance_uid=f"{series}.{k}",
            position_lps_mm=tuple(np.array(origin) + k * gap_mm * normal),
            row_cosines=tuple(cosines[0]),
            column_cosines=tuple(cosines[1]),
            row_spacing_mm=spacing[0],
            column_spacing_mm=spacing[1],
            rows=matrix[0],
            columns=matrix[1],
            instance_number=k + 1 if numbered else None,
        )
        for k in range(count)
    ]


def square(
    z_mm: float, side_mm: float, centre: tuple[float, float] = (0.0, 0.0), uid: str | None = None
) -> CrossSection:
    """An axial square cross-section."""
    x, y, half = *centre, side_mm / 2
    corners = [(x - half, y - half), (x + half, y - half), (x + half, y + half), (x - half, y + half)]
    outline = np.array([(*corner, z_mm) for corner in corners])
    return CrossSection(z_mm, (outline,), side_mm**2, uid)


def roi(
    sections: Sequence[CrossSection],
    *,
    series: str = "1.2.3",
    images: Sequence[str] = (),
    name: str = "Tumour",
    object_uid: str = "9.1",
    number: int = 1,
    frame: str | None = "5.5",
    names_series: bool = True,
    kind: str = "RTSTRUCT",
    **more,
) -> Roi:
    """An ROI of ``sections`` that names ``images`` of ``series``."""
    return Roi(
        kind=kind,
        object_uid=object_uid,
        number=number,
        name=name,
        normal=(0.0, 0.0, 1.0),
        sections=tuple(sections),
        frame_of_reference_uid=frame,
        referenced_series_uids=(series,) if names_series else (),
        referenced_image_uids=tuple(images),
        volume_mm3=1000.0,
        bounding_box_lps_mm=None,
        **more,
    )


def view(
    members: Sequence[ImagePlane], series: str = "1.2.3", *, frame: str | None = "5.5", **more
) -> SeriesView:
    """What is durable of a CT series."""
    given = {"modality": "CT", "study_instance_uid": "1.2", **more}
    return SeriesView(
        series_instance_uid=series, frame_of_reference_uid=frame, planes=tuple(members), **given
    )
