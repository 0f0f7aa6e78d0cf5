"""Polygons become areas and masks by one even-odd rule, and masks become outlines and back without loss."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from prognode.domain.rasterise import (
    clip,
    contains,
    convex_hull,
    diameter,
    even_odd_area,
    mask_of,
    narrowest_width,
    outlines_of,
)

SQUARE = np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 10.0], [0.0, 10.0]])
POINT = st.tuples(st.floats(0, 30, width=32), st.floats(0, 30, width=32))


@st.composite
def stars(draw: st.DrawFn) -> np.ndarray:
    """A simple outline around (20, 20), at most 17 wide to each side."""
    radii = np.array(draw(st.lists(st.floats(3, 17), min_size=5, max_size=40)))
    angles = 2 * np.pi * np.arange(len(radii)) / len(radii)
    return np.stack([20 + radii * np.cos(angles), 20 + radii * np.sin(angles)], axis=1)


def shoelace(outline: np.ndarray) -> float:
    """Area of a simple outline."""
    u, v = outline[:, 0], outline[:, 1]
    return abs(float(u @ np.roll(v, -1) - v @ np.roll(u, -1))) / 2


@given(stars())
def test_the_area_of_a_simple_outline_is_the_shoelace(outline: np.ndarray) -> None:
    """Without crossings even-odd is the textbook formula, whatever the direction."""
    assert even_odd_area([outline]) == pytest.approx(shoelace(outline), rel=1e-9)
    assert even_odd_area([outline[::-1]]) == pytest.approx(shoelace(outline), rel=1e-9)


def test_nested_outlines_are_holes_and_islands() -> None:
    """Each level of nesting switches between inside and outside."""
    inner, island = SQUARE * 0.6 + 2, SQUARE * 0.2 + 4
    assert even_odd_area([SQUARE, inner]) == pytest.approx(64)
    assert even_odd_area([SQUARE, inner, island]) == pytest.approx(68)


def test_a_keyhole_encloses_what_it_means() -> None:
    """Outer and inner outline joined by a cut, there and back: the hole stays a hole."""
    inner = (SQUARE * 0.6 + 2)[[0, 3, 2, 1, 0]]
    keyhole = np.concatenate([SQUARE, SQUARE[:1], inner])
    assert even_odd_area([keyhole]) == pytest.approx(64)
    assert mask_of([keyhole], 12, 12).sum() == 64


def test_crossing_outlines_count_overlaps_out() -> None:
    """Overlapping outlines combine by exclusive or, a figure of eight keeps both loops."""
    assert even_odd_area([SQUARE, SQUARE + 5]) == pytest.approx(150)
    eight = np.array([[0.0, 0.0], [10.0, 10.0], [10.0, 0.0], [0.0, 10.0]])
    assert even_odd_area([eight]) == pytest.approx(50)


def test_repeated_points_and_a_closing_point_change_nothing() -> None:
    """Writers close outlines explicitly or repeat points."""
    repeated = np.repeat(np.concatenate([SQUARE, SQUARE[:1]]), 2, axis=0)
    assert even_odd_area([repeated]) == pytest.approx(100)


@settings(max_examples=60)
@given(st.lists(st.lists(POINT, min_size=3, max_size=12), min_size=1, max_size=3))
def test_the_area_of_any_tangle_is_what_a_fine_raster_counts(tangle: list[list[tuple[float, float]]]) -> None:
    """Self-crossing, overlapping and touching outlines: exact area and raster agree."""
    outlines = [np.array(points, dtype=float) for points in tangle]
    fine = 8
    counted = mask_of([outline * fine for outline in outlines], 31 * fine, 31 * fine).sum() / fine**2
    length = sum(np.linalg.norm(np.diff(o, axis=0, append=o[:1]), axis=1).sum() for o in outlines)
    assert abs(counted - even_odd_area(outlines)) <= 2 * length / fine + 0.1


@given(stars())
def test_a_mask_has_the_area_of_its_outline(outline: np.ndarray) -> None:
    """The number of pixels differs from the area by less than the border's length."""
    length = float(np.linalg.norm(np.diff(outline, axis=0, append=outline[:1]), axis=1).sum())
    assert abs(int(mask_of([outline], 40, 40).sum()) - shoelace(outline)) <= length


def test_a_centre_on_the_border_is_inside_left_and_above_only() -> None:
    """The half-open rule: an outline through pixel centres takes its left and upper border."""
    mask = mask_of([np.array([[2.0, 3.0], [5.0, 3.0], [5.0, 6.0], [2.0, 6.0]])], 10, 10)
    expected = np.zeros((10, 10), dtype=bool)
    expected[3:6, 2:5] = True
    np.testing.assert_array_equal(mask, expected)


def test_regions_that_share_a_border_share_no_pixel() -> None:
    """Two halves of a square fill it exactly once."""
    left, right = mask_of([SQUARE * (0.5, 1)], 12, 12), mask_of([SQUARE * (0.5, 1) + (5, 0)], 12, 12)
    assert not (left & right).any()
    np.testing.assert_array_equal(left | right, mask_of([SQUARE], 12, 12))


def test_rounding_noise_does_not_move_a_border_off_the_centres() -> None:
    """A border that misses the centres by 1e-9 of a pixel is a border through them."""
    np.testing.assert_array_equal(mask_of([SQUARE + 1e-9], 12, 12), mask_of([SQUARE - 1e-9], 12, 12))


def test_outlines_beyond_the_matrix_are_cut_off() -> None:
    """What lies outside the image is not wrapped or moved into it."""
    mask = mask_of([SQUARE - 5.5], 6, 8)
    expected = np.zeros((6, 8), dtype=bool)
    expected[:5, :5] = True
    np.testing.assert_array_equal(mask, expected)
    assert not mask_of([SQUARE + 50], 6, 8).any()
    assert not mask_of([SQUARE - 50], 6, 8).any()


def test_rows_and_columns_are_not_swapped() -> None:
    """A wide region in a matrix of 5 rows and 20 columns is wide."""
    mask = mask_of([np.array([[1.5, 0.5], [15.5, 0.5], [15.5, 2.5], [1.5, 2.5]])], 5, 20)
    assert mask.shape == (5, 20)
    assert (mask.sum(axis=1) == [0, 14, 14, 0, 0]).all()


@given(arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_a_mask_survives_its_outlines(mask: np.ndarray) -> None:
    """Mask to pixel edges and back is the identity; the area is the number of pixels, corner contacts included."""
    outlines = outlines_of(mask)
    assert even_odd_area(outlines) == pytest.approx(float(mask.sum()))
    np.testing.assert_array_equal(mask_of(outlines, *mask.shape), mask)


def test_outlines_keep_corners_only() -> None:
    """A rectangle of pixels is four points, half a pixel outside the outer centres."""
    mask = np.zeros((20, 30), dtype=bool)
    mask[4:9, 10:25] = True
    (outline,) = outlines_of(mask)
    assert sorted(map(tuple, outline)) == [(9.5, 3.5), (9.5, 8.5), (24.5, 3.5), (24.5, 8.5)]


@given(stars(), st.floats(0, 2 * np.pi), st.floats(-20, 40))
def test_clipping_splits_the_area_in_two(outline: np.ndarray, angle: float, limit: float) -> None:
    """Both sides of a line together are the whole, concave outlines included."""
    normal = (float(np.cos(angle)), float(np.sin(angle)))
    near = even_odd_area(clip([outline], normal, limit))
    far = even_odd_area(clip([outline], (-normal[0], -normal[1]), -limit))
    assert near + far == pytest.approx(shoelace(outline), rel=1e-6, abs=1e-6)


@given(stars())
def test_point_by_point_and_raster_agree(outline: np.ndarray) -> None:
    """The two ways to fill follow the same rule."""
    outline = np.round(outline, 3)
    row, column = np.mgrid[:40, :40]
    aside = np.array([0.00017, 0.00013])
    points = np.stack([column.ravel(), row.ravel()], axis=1) + aside
    shifted = mask_of([outline - aside], 40, 40)
    np.testing.assert_array_equal(contains([outline], points).reshape(40, 40), shifted)


@given(st.lists(POINT, min_size=1, max_size=30))
def test_the_diameter_is_the_farthest_pair(points: list[tuple[float, float]]) -> None:
    """The hull loses no extreme point."""
    cloud = np.array(points, dtype=float)
    distances = np.linalg.norm(cloud[:, None] - cloud[None], axis=-1)
    assert diameter(cloud) == pytest.approx(distances.max(), abs=1e-9)
    assert len(convex_hull(cloud)) <= len(cloud)


def test_the_narrowest_width_of_a_turned_rectangle() -> None:
    """The minimum caliper ignores how the shape is turned."""
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    assert narrowest_width((SQUARE * (3, 1)) @ turn.T) == pytest.approx(10)
