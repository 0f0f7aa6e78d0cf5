"""From one phase's contour and images to its crop: the one way that the node and the laboratory both go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prognode.domain.crop import CropWindow, crop
from prognode.domain.geometry import ImagePlane, Stack, build_stack
from prognode.domain.need_set import NeedSet
from prognode.domain.roi import Match, Roi, match_roi

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
    match = match_roi(roi, stack)
    hu = read(stack.planes)
    return PhaseCrop(need, roi, stack, match, hu, crop(hu, stack, need.window))
