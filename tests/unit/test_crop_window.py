"""Where the window lies: the rules that the paper leaves open are fixed and tested here."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from drawn_series import planes, roi, square
from hypothesis import given, settings
from hypothesis import strategies as st

from prognode.domain.crop import CropWindow, choose_window, choose_window_between
from prognode.domain.geometry import build_stack, unit_normal
from prognode.errors import InvalidInput, Reason


def stack(count, gap_mm, start=0.0):
    return build_stack("1.2.3", "5.5", planes(count, gap_mm, origin=(-180, -180, start)))


def test_window_is_centred_on_the_bounding_box_of_all_sections():
    """The box's centre, rounded to the grid with halves up, becomes sample 112 of 0..223."""
    drawn = roi([square(10, 20, (10, -30)), square(11, 40, (20.5, -30)), square(12, 20, (10, -30))])
    window = choose_window(drawn, stack(40, 1.0))
    assert window.centre_mm[:2] == (20, -30)  # box x from 0 to 40.5, centre 20.25
    assert (window.x0_mm, window.y0_mm) == (20 - 112, -30 - 112)
    halves = choose_window(roi([square(10, 21, (0.5, -0.5))]), stack(40, 1.0))
    assert halves.centre_mm[:2] == (1, 0)


def test_three_slices_with_the_largest_summed_area():
    """Not the largest slice and its neighbours, but the largest sum of three."""
    sides = {10: 30, 11: 5, 12: 5, 20: 24, 21: 24, 22: 24}
    window = choose_window(roi([square(z, side) for z, side in sides.items()]), stack(40, 1.0))
    assert window.z_mm == (20, 21, 22)


def test_a_one_slice_roi_takes_its_neighbours():
    """A single contour lies in the middle slice."""
    assert choose_window(roi([square(17, 30)]), stack(40, 1.0)).z_mm == (16, 17, 18)


@pytest.mark.parametrize(("z", "expected"), [(0, (0, 1, 2)), (39, (37, 38, 39))])
def test_window_is_clamped_at_the_volume_s_end(z, expected):
    """A contour on the first or last image still has three slices inside the series."""
    assert choose_window(roi([square(z, 30)]), stack(40, 1.0)).z_mm == expected


def test_thick_slices_tie_and_the_middle_nearest_to_the_largest_section_wins():
    """With 5 mm slices, the windows about z = 19, 20 and 21 have the same sum; 20 is the contour's own."""
    drawn = roi([square(z, side) for z, side in [(15, 20), (20, 30), (25, 20)]])
    assert choose_window(drawn, stack(20, 5.0)).z_mm == (19, 20, 21)


def test_remaining_ties_go_to_the_lowest():
    """The largest contour lies midway between two whole millimetres: the lower window is taken."""
    drawn = roi([square(20.5, 30)])
    assert choose_window(drawn, stack(20, 5.0, start=0.5)).z_mm == (19, 20, 21)


def test_equal_largest_sections_follow_the_rule_of_the_largest_section():
    """Two equal cross-sections far apart tie exactly: the lower one counts as the largest, in any order of drawing."""
    assert choose_window(roi([square(10, 30), square(30, 30)]), stack(50, 1.0)).z_mm == (9, 10, 11)


def test_skipped_planes_count_nothing():
    """Contours on every third plane: a plane without a contour has no area, and nothing is interpolated into it."""
    sparse = roi(
        [square(10, 30), square(13, 30), square(16, 30), square(20, 22), square(21, 22), square(22, 22)]
    )
    assert choose_window(sparse, stack(40, 1.0)).z_mm == (20, 21, 22)


def test_contours_rounded_to_a_tenth_of_a_millimetre_are_found():
    """Slice positions drift by rounding; a slice in the crack between two contours still belongs to one."""
    gap = 2.0
    drawn = roi([square(10.1, 30), square(12.0, 40), square(13.9, 30)])
    assert choose_window(drawn, stack(40, gap)).z_mm == (11, 12, 13)


def test_a_contour_that_no_whole_millimetre_is_near_to_takes_the_nearest_slices():
    """A lone contour on the outermost image, or between whole millimetres of a finer series, is not lost."""
    assert choose_window(roi([square(0.3, 30)]), stack(40, 1.0, start=0.3)).z_mm == (1, 2, 3)
    assert choose_window(roi([square(10.5, 30)]), stack(80, 0.5)).z_mm == (9, 10, 11)


def test_fewer_than_three_slices_are_refused():
    """A series thinner than three whole millimetres holds no window."""
    with pytest.raises(InvalidInput) as refused:
        choose_window(roi([square(1, 30)]), stack(3, 0.6, start=0.2))
    assert refused.value.reason is Reason.TOO_FEW_SLICES


def test_contours_beyond_the_series_are_refused():
    """A contour far above the last image is outside, not clamped."""
    with pytest.raises(InvalidInput) as refused:
        choose_window(roi([square(80, 30)]), stack(40, 1.0))
    assert refused.value.reason is Reason.OUTSIDE_IMAGES


def test_an_empty_roi_is_refused():
    """No area, no window."""
    with pytest.raises(InvalidInput) as refused:
        choose_window(roi([]), stack(40, 1.0))
    assert refused.value.reason is Reason.ROI_EMPTY


def test_unknown_ends_do_not_hold_the_window_back():
    """While the end of the series is not known, the window is the unclamped one."""
    drawn = roi([square(0, 30)])
    assert choose_window_between(drawn, (0, 0, 1), 1.0, (None, None)).z_mm == (-1, 0, 1)
    assert choose_window_between(drawn, (0, 0, 1), 1.0, (0.0, None)).z_mm == (0, 1, 2)


@settings(max_examples=60, deadline=None)
@given(
    gap_mm=st.sampled_from([0.8, 1.0, 1.25, 2.5, 3.0, 5.0]),
    start=st.floats(-3, 3),
    first=st.integers(0, 30),
    sides=st.lists(st.floats(6, 90), min_size=1, max_size=8),
    centre=st.tuples(st.floats(-50, 50), st.floats(-50, 50)),
)
def test_window_lies_inside_and_holds_the_best_sum(gap_mm, start, first, sides, centre):
    """Against a plain search over every window: none inside the series has a larger sum."""
    series = stack(40, gap_mm, start)
    drawn = roi([square(series.offsets_mm[first + i], side, centre) for i, side in enumerate(sides)])
    window = choose_window(drawn, series)
    z_of = np.array([section.offset_mm for section in drawn.sections])
    areas = np.array([section.area_mm2 for section in drawn.sections])

    def total(lowest):
        distance = np.abs(np.arange(lowest, lowest + 3)[:, None] - z_of)
        near = distance.min(axis=1) <= gap_mm / 2 + min(0.1, gap_mm / 10)
        ascending_last = distance.shape[1] - 1 - np.round(distance, 3)[:, ::-1].argmin(axis=1)
        return areas[ascending_last][near].sum()

    low, high = int(np.ceil(series.offsets_mm[0] - 1e-6)), int(np.floor(series.offsets_mm[-1] + 1e-6))
    assert low <= window.z_mm[0]
    assert window.z_mm[2] <= high
    best = max(total(lowest) for lowest in range(low, high - 1))
    assert total(window.z_mm[0]) == pytest.approx(best, rel=1e-5)


def ball_on(series, centre, radius):
    """A ball drawn on the planes of a series."""
    normal = np.array(series.normal)
    across, down = np.array(series.planes[0].row_cosines), np.array(series.planes[0].column_cosines)
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    sections = []
    for offset in series.offsets_mm:
        height = offset - np.array(centre) @ normal
        if abs(height) < radius:
            r = np.sqrt(radius**2 - height**2)
            outline = (
                centre
                + height * normal
                + r * (np.cos(angle)[:, None] * across + np.sin(angle)[:, None] * down)
            )
            sections.append(
                replace(square(0, 1), offset_mm=offset, outlines=(outline,), area_mm2=np.pi * r**2)
            )
    return replace(roi(sections), normal=series.normal)


@pytest.mark.parametrize("degrees", [1.0, 10.0, 25.0, 40.0, 60.0, 90.0])
def test_oblique_sections_count_where_their_volume_lies(degrees):
    """A ball cut by planes at any angle, up to coronal: the window is about its centre, as if cut by axial ones."""
    a = np.deg2rad(degrees)
    cosines = ((1.0, 0.0, 0.0), (0.0, np.cos(a), np.sin(a)))
    normal = np.array(unit_normal(*cosines))
    origin = -100 * np.array(cosines[0]) - 100 * np.array(cosines[1]) - 80 * normal
    members = planes(80, 2.0, origin=origin, spacing=(1, 1), matrix=(200, 200), cosines=cosines)
    series = build_stack("1.2.3", "5.5", members)
    window = choose_window(ball_on(series, (5.0, -8.0, 12.0), 20.0), series)
    assert abs(window.z_mm[1] - 12) <= 1
    assert abs(window.centre_mm[0] - 5) <= 1
    assert abs(window.centre_mm[1] + 8) <= 1


def test_window_survives_storage():
    """What is stored with a case is what was chosen."""
    window = CropWindow(-100, -90, (3, 4, 5))
    assert CropWindow.from_json(window.to_json()) == window
