"""From one phase's contour and images to its crop: the one way that the node and the laboratory both go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from prognode.domain.crop import CropWindow, crop
from prognode.domain.geometry import LONE_PLANE_REACH_MM, ImagePlane, Stack, build_stack, modal_gap_mm
from prognode.domain.need_set import NeedSet
from prognode.domain.roi import CrossSection, Match, Roi, match_roi

Volume = NDArray[np.float32]


@dataclass(frozen=True)
class PhaseCrop:
    """One phase of one case, cut."""

    need: NeedSet
    roi: Roi
    stack: Stack
    """The planes of the need-set."""
    match: Match
    hu: Volume
    """(planes, rows, columns) of ``stack``."""
    crop_hu: Volume
    """(3, 224, 224)."""

    @property
    def volume_mm3(self) -> float:
        """Of the whole ROI, which may reach beyond the need-set; of a single contour, its area times the image gap."""
        return self.roi.volume_mm3 or self.match.volume_mm3

    @property
    def window(self) -> CropWindow:
        """Where the crop lies."""
        assert self.need.window is not None
        return self.need.window

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader of the result must know about this phase."""
        return (*self.need.remarks, *self.match.warnings, *self.roi.warnings)


def cut_phase(
    need: NeedSet,
    roi: Roi,
    frame_of_reference_uid: str | None,
    read: Callable[[Sequence[ImagePlane]], Volume],
) -> PhaseCrop:
    """Cut the crop of a complete need-set; ``read`` gives the Hounsfield units (n, rows, columns) of planes.

    Raises InvalidInput as :func:`~prognode.domain.geometry.build_stack`, :func:`~prognode.domain.roi.match_roi` and
    ``read`` do.
    """
    assert need.window is not None, "a need-set that is complete has its window"
    stack = build_stack(need.series_instance_uid, frame_of_reference_uid, need.planes)
    match = match_roi(_near(roi, stack), stack)
    hu = read(stack.planes)
    return PhaseCrop(need, roi, stack, match, hu, crop(hu, stack, need.window))


def _near(roi: Roi, stack: Stack) -> Roi:
    """The ROI without the cross-sections beyond the need-set: a long tumour has images there that no crop needs."""
    reach = modal_gap_mm(stack) or LONE_PLANE_REACH_MM
    low, high = stack.offsets_mm[0] - reach / 2, stack.offsets_mm[-1] + reach / 2
    return replace(roi, sections=tuple(s for s in roi.sections if _overlaps(s, stack, low, high)))


def _overlaps(section: CrossSection, stack: Stack, low_mm: float, high_mm: float) -> bool:
    along = np.concatenate(section.outlines) @ np.array(stack.normal)
    return bool(along.max() >= low_mm and along.min() <= high_mm)
