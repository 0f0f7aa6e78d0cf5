"""Cutting one phase: what lies beyond the crop's need-set is neither lost nor complained of."""

from __future__ import annotations

import numpy as np
import pytest

from prognode.dicom.cards import card
from prognode.dicom.ct import usable_planes
from prognode.dicom.pixels import hounsfield
from prognode.dicom.rtstruct import read_rtstruct
from prognode.domain.need_set import SeriesView, find_needs
from prognode.domain.phase_crop import cut_phase
from training.synthetic_study import StudySpec, generate_study

TALL = StudySpec(
    seed=2,
    slices=60,
    rows=96,
    columns=96,
    row_spacing_mm=3.6,
    column_spacing_mm=3.6,
    slice_spacing_mm=2.5,
    tumour_semi_axes_mm=(14.0, 12.0, 60.0),
    tumour_centre_mm=(40.0, -12.0, 0.0),
)


@pytest.fixture(scope="module")
def cut():
    """The arterial phase of a tumour that is 120 mm long; its crop needs 50 mm of images."""
    study = generate_study(TALL)
    images = {str(image.SOPInstanceUID): image for image in study.images("arterial")}
    planes, _ = usable_planes([card(image) for image in images.values()])
    frame = str(next(iter(images.values())).FrameOfReferenceUID)
    (roi,) = read_rtstruct(study.contours[0])
    view = SeriesView(study.series_uid("arterial"), study.study_uid, "CT", frame, tuple(planes))
    need = find_needs(view, roi, quiet=True, fetch_exhausted=True)

    def read(wanted):
        return np.stack([hounsfield(images[plane.sop_instance_uid]) for plane in wanted])

    return cut_phase(need, roi, frame, read), study.truth["arterial"]


def test_the_volume_is_that_of_the_whole_tumour(cut):
    """The need-set holds less than half of it; the volume in the report is of all of it."""
    phase, truth = cut
    assert len(phase.stack.planes) < 25
    assert phase.volume_mm3 == pytest.approx(truth.volume_mm3, rel=0.02)


def test_cross_sections_beyond_the_need_set_are_not_called_outside_the_images(cut):
    """There are images there; the crop just does not need them."""
    phase, _ = cut
    assert not any("outside the images" in remark for remark in phase.remarks)
