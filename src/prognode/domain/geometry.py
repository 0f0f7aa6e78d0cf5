"""Planes and stacks of a CT series in patient space.

All coordinates are DICOM patient coordinates (LPS+, millimetres), PS3.3 C.7.6.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = tuple[float, float, float]
Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ImagePlane:
    """One CT plane: a single-frame image, or one frame of a multi-frame image (PS3.3 C.7.6.2)."""

    sop_instance_uid: str
    position_lps_mm: Vector
    """Centre of the first transmitted pixel (ImagePositionPatient)."""
    row_cosines: Vector
    """Direction in which the column index grows (first three of ImageOrientationPatient)."""
    column_cosines: Vector
    """Direction in which the row index grows (last three of ImageOrientationPatient)."""
    row_spacing_mm: float
    """Distance between rows (PixelSpacing[0])."""
    column_spacing_mm: float
    """Distance between columns (PixelSpacing[1])."""
    rows: int
    columns: int
    frame: int = 1
    """1-based frame number; 1 in a single-frame image."""
    instance_number: int | None = None


@dataclass(frozen=True, slots=True)
class Stack:
    """Planes of one series, ascending along their common normal."""

    series_instance_uid: str
    frame_of_reference_uid: str | None
    planes: tuple[ImagePlane, ...]
    normal: Vector
    offsets_mm: tuple[float, ...]
    """Projection of each plane's position on ``normal``, ascending."""
