"""Measures of an ROI, and its place on the images of a series."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from roi_objects import CT_SERIES, FRAME, SQUARE, at, image_uid, stack

from prognode.domain.geometry import build_stack, lps_from_pixel
from prognode.domain.rasterise import mask_of
from prognode.domain.roi import (
    CrossSection,
    Roi,
    check_size,
    extent_mm,
    largest_section,
    longest_diameter_mm,
    match_roi,
    match_sections,
    planimetric_volume_mm3,
    rasterise,
    rasterise_all,
    section_area_mm2,
    section_from_mask,
)
from prognode.errors import InvalidInput, Reason

UP = (0.0, 0.0, 1.0)


def section(z: float, scale: float = 1.0, shift: float = 5.0, **changes: Any) -> CrossSection:
    """A square of 10 x 10 mm times ``scale``, its corner at (shift, shift)."""
    outline = np.array(at(SQUARE, z)) * (scale, scale, 1) + (shift, shift, 0)
    made = CrossSection(z, (outline,), section_area_mm2([outline], UP))
    return dataclasses.replace(made, **changes)


def roi(*sections: CrossSection, **changes: Any) -> Roi:
    """An ROI of these cross-sections, drawn in the frame of reference of the tests' series."""
    values: dict[str, Any] = {
        "kind": "RTSTRUCT",
        "object_uid": "2.25.200",
        "number": 1,
        "name": "Tumour",
        "normal": UP,
        "sections": sections,
        "frame_of_reference_uid": FRAME,
        "referenced_series_uids": (),
        "referenced_image_uids": (),
        "volume_mm3": 123.0,
        "bounding_box_lps_mm": None,
    }
    return Roi(**(values | changes))


def refused(reason: Reason):
    return pytest.raises(InvalidInput, match=f"^{reason.value}:")


def test_the_largest_of_equal_sections_is_the_lowest() -> None:
    """The tie rule: areas equal within 1e-6 go to the lowest offset along the normal."""
    tied = roi(section(0, 0.5), section(5), section(10, 1 + 4e-7), section(15, 0.9))
    assert largest_section(tied).offset_mm == 5


def test_a_truly_larger_section_wins_over_a_lower_one() -> None:
    """A difference above rounding is no tie."""
    assert largest_section(roi(section(0), section(5, 1.00001))).offset_mm == 5


def test_an_empty_roi_says_why() -> None:
    """The reason found while reading is the reason given."""
    with refused(Reason.ROI_EMPTY):
        largest_section(roi())
    with refused(Reason.ROI_TYPE):
        largest_section(roi(reasons=(Reason.ROI_TYPE,)))


def test_the_longest_diameter_is_in_one_plane() -> None:
    """The largest distance inside a section, over all sections; never across planes."""
    measured = roi(section(0), section(50, 2.0), section(100, 1.5))
    assert longest_diameter_mm(measured) == pytest.approx(20 * np.sqrt(2))
    assert extent_mm(measured) == pytest.approx((20, 20, 100))
    assert longest_diameter_mm(roi()) == 0.0


@pytest.mark.parametrize(("scale", "reason"), [(0.35, Reason.TUMOUR_SMALL), (22.5, Reason.TUMOUR_LARGE)])
def test_sizes_that_cannot_be_evaluated(scale: float, reason: Reason) -> None:
    """Under 5 mm longest diameter, over 224 mm wide."""
    with refused(reason):
        check_size(roi(section(0, scale)))


@pytest.mark.parametrize("scale", [0.36, 22.3])
def test_sizes_at_the_limits_pass(scale: float) -> None:
    """5.1 mm diagonal and 223 mm width can be evaluated."""
    check_size(roi(section(0, scale)))


def test_volume_is_area_times_local_spacing() -> None:
    """Half a gap to each side; missing planes are not bridged; one plane has no thickness."""
    assert planimetric_volume_mm3([0, 3, 6], [1, 1, 1]) == pytest.approx(9)
    assert planimetric_volume_mm3([0, 2, 6, 8], [1, 1, 1, 1]) == pytest.approx(8)
    assert planimetric_volume_mm3([0], [7]) == 0


def test_sections_meet_planes_in_spite_of_drift() -> None:
    """A contour 0.4 mm off its image lies on that image, which the result names."""
    matched = match_roi(roi(section(2.9), section(5.3)), stack([0, 2.5, 5.0, 7.5]))
    assert matched.plane_indices == (1, 2)
    assert [one.sop_instance_uid for one in matched.sections] == [image_uid(1), image_uid(2)]
    assert [one.offset_mm for one in matched.sections] == [2.5, 5.0]
    assert matched.volume_mm3 == pytest.approx(2 * 100 * 2.5)
    assert matched.warnings == ()


def test_lost_sections_are_told() -> None:
    """A smaller section beyond the images is left out with a warning."""
    matched = match_roi(roi(section(0), section(30, 0.5)), stack([0, 2.5, 5]))
    assert matched.plane_indices == (0,)
    assert "1 of 2" in matched.warnings[0]


def test_images_without_a_section_in_between_are_told() -> None:
    """Contours on every second image: nothing is interpolated, and the images' gap counts for the volume."""
    matched = match_roi(roi(section(0), section(5), section(10)), stack([0, 2.5, 5, 7.5, 10]))
    assert matched.plane_indices == (0, 2, 4)
    assert matched.volume_mm3 == pytest.approx(3 * 100 * 2.5)
    assert "2 images" in matched.warnings[0]


def test_sections_between_images_are_left_out() -> None:
    """Contours denser than the images: the nearest one counts, the others are told, nothing is merged."""
    matched = match_roi(roi(section(0), section(1.0, 0.5), section(2.5, 0.8)), stack([0, 2.5, 5]))
    assert [one.area_mm2 for one in matched.sections] == pytest.approx([100, 64])
    assert "between images" in matched.warnings[0]


@pytest.mark.parametrize("place", [{"z": 40.0}, {"z": 0.0, "shift": 35.0}, {"z": 0.0, "shift": -3.0}])
def test_a_largest_section_outside_the_images_is_refused(place: dict) -> None:
    """Above the series, beside the matrix, or cut by its border."""
    with refused(Reason.OUTSIDE_IMAGES):
        match_sections(roi(section(**place)), stack([0, 2.5, 5]))


def test_another_frame_of_reference_needs_proof() -> None:
    """A different frame is refused unless the ROI names the series or one of its images."""
    foreign = roi(section(0), frame_of_reference_uid="2.25.77")
    series = stack([0, 2.5])
    with refused(Reason.FRAME_MISMATCH):
        match_sections(foreign, series)
    for proof in ({"referenced_series_uids": (CT_SERIES,)}, {"referenced_image_uids": (image_uid(1),)}):
        matched = match_roi(dataclasses.replace(foreign, **proof), series)
        assert "frame of reference" in matched.warnings[0]


def test_two_missing_frames_of_reference_are_no_match() -> None:
    """Nothing said is no evidence."""
    series = build_stack(CT_SERIES, None, stack([0, 2.5]).planes)
    with refused(Reason.FRAME_MISMATCH):
        match_sections(roi(section(0), frame_of_reference_uid=None), series)


def test_rasterising_fills_each_plane_once() -> None:
    """(planes, rows, columns), True inside; not square, so that swapped axes would show."""
    filled = rasterise_all(roi(section(0, shift=4.5), section(5, 0.5, shift=4.5)), stack([0, 2.5, 5.0]))
    assert filled.shape == (3, 40, 60)
    assert filled.sum(axis=(1, 2)).tolist() == [100, 0, 25]
    assert filled[0, 5:15, 5:15].all()


@given(st.floats(-3, 3), st.floats(0.4, 2.0), st.floats(0.4, 2.0), st.floats(-8, 8), st.floats(-8, 8))
def test_pixels_on_another_grid_go_through_their_outlines(
    angle: float, rows_mm: float, columns_mm: float, x: float, y: float
) -> None:
    """A mask on a grid that is turned, shifted and scaled in its plane keeps its area on the images."""
    turned = (float(np.cos(angle)), float(np.sin(angle)), 0.0)
    grid = stack(
        [0.0],
        position_lps_mm=(30.0 + x, 20.0 + y, 0.0),
        row_cosines=turned,
        column_cosines=(-turned[1], turned[0], 0.0),
        row_spacing_mm=rows_mm,
        column_spacing_mm=columns_mm,
        rows=20,
        columns=20,
    ).planes[0]
    mask = np.zeros((20, 20), dtype=bool)
    mask[:8, :6] = True
    drawn = section_from_mask(mask, grid, 0.0)
    assert drawn.area_mm2 == pytest.approx(48 * rows_mm * columns_mm)
    fine = stack([0.0], row_spacing_mm=0.1, column_spacing_mm=0.1, rows=800, columns=800).planes[0]
    moved = dataclasses.replace(fine, position_lps_mm=(-10.0, -20.0, 0.0))
    counted = rasterise(drawn, moved).sum() * 0.01
    assert counted == pytest.approx(drawn.area_mm2, rel=0.05)


def ball(normal_axis: int) -> Roi:
    """A ball of 12 mm radius at (30, 20, 30), drawn on planes 1 mm apart across an axis of the patient."""
    axes = [axis for axis in range(3) if axis != normal_axis]
    centre = np.array([30.0, 20.0, 30.0])
    angles = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    sections = []
    for offset in np.arange(-11.0, 12.0):
        radius = np.sqrt(144 - offset**2)
        points = np.tile(centre, (90, 1))
        points[:, normal_axis] += offset
        points[:, axes[0]] += radius * np.cos(angles)
        points[:, axes[1]] += radius * np.sin(angles)
        normal = tuple(np.eye(3)[normal_axis].tolist())
        sections.append(
            CrossSection(float(points[0, normal_axis]), (points,), section_area_mm2([points], normal))
        )
    return roi(*sections, normal=tuple(np.eye(3)[normal_axis].tolist()))


@pytest.mark.parametrize("axis", [0, 1])
def test_sections_across_the_images_are_cut_along_them(axis: int) -> None:
    """A ball drawn on sagittal or coronal planes is the same ball on axial images."""
    series = stack(np.arange(10.0, 51.0, 2.0))
    z, y, x = np.meshgrid(series.offsets_mm, np.arange(40), np.arange(60), indexing="ij")
    true = (x - 30) ** 2 + (y - 20) ** 2 + (z - 30) ** 2 <= 144
    across = rasterise_all(ball(axis), series)
    assert 2 * (across & true).sum() / (across.sum() + true.sum()) > 0.97
    matched = match_roi(ball(axis), series)
    assert matched.volume_mm3 == pytest.approx(4 / 3 * np.pi * 12**3, rel=0.03)
    assert "at an angle" in matched.warnings[0]


def test_a_single_contour_across_the_images_is_refused() -> None:
    """Its thickness is not known, so it cuts the images in a line."""
    upright = np.array([[5.0, 5, 0], [5, 15, 0], [5, 15, 10], [5, 5, 10]])
    one = roi(CrossSection(5.0, (upright,), 100.0), normal=(1.0, 0.0, 0.0))
    with refused(Reason.OUTSIDE_IMAGES):
        match_sections(one, stack(np.arange(0.0, 12.0)))


def test_outlines_of_a_mask_lie_on_pixel_edges() -> None:
    """Patient coordinates of a single pixel's outline are half a pixel around its centre."""
    oblong = stack([7.0], row_spacing_mm=3.0, column_spacing_mm=2.0).planes[0]
    mask = np.zeros((40, 60), dtype=bool)
    mask[4, 9] = True
    drawn = section_from_mask(mask, oblong, 7.0)
    half = np.array([1, 1.5, 0])
    centre = lps_from_pixel(oblong, np.array([[9.0, 4.0]]))[0]
    np.testing.assert_allclose(drawn.outlines[0].min(axis=0), centre - half)
    np.testing.assert_allclose(drawn.outlines[0].max(axis=0), centre + half)
    np.testing.assert_array_equal(rasterise(drawn, oblong), mask)
    assert mask_of([], 2, 3).shape == (2, 3)
