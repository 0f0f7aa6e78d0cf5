"""Planes sort, stack and map as PS3.3 C.7.6.2 says, and series that cannot be a volume are named."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from roi_objects import FRAME, plane, stack

from prognode.domain.geometry import (
    ImagePlane,
    build_stack,
    check_even,
    local_thickness_mm,
    lps_from_pixel,
    modal_gap_mm,
    nearest_plane,
    pixel_from_lps,
    unit_normal,
)
from prognode.errors import InvalidInput, Reason

ANGLES = st.floats(-np.pi, np.pi)


def rotation(a: float, b: float, c: float) -> np.ndarray:
    """A rotation matrix from three Euler angles."""
    ca, sa, cb, sb, cc, sc = np.cos(a), np.sin(a), np.cos(b), np.sin(b), np.cos(c), np.sin(c)
    x = np.array([[1, 0, 0], [0, ca, -sa], [0, sa, ca]])
    y = np.array([[cb, 0, sb], [0, 1, 0], [-sb, 0, cb]])
    z = np.array([[cc, -sc, 0], [sc, cc, 0], [0, 0, 1]])
    return z @ y @ x


@st.composite
def planes(draw: st.DrawFn) -> ImagePlane:
    """A plane at any angle with pixels of any shape."""
    turned = rotation(draw(ANGLES), draw(ANGLES), draw(ANGLES))
    return plane(
        position_lps_mm=tuple(draw(st.floats(-500, 500)) for _ in range(3)),
        row_cosines=tuple(turned[:, 0].tolist()),
        column_cosines=tuple(turned[:, 1].tolist()),
        row_spacing_mm=draw(st.floats(0.3, 5)),
        column_spacing_mm=draw(st.floats(0.3, 5)),
    )


def refused(reason: Reason):
    return pytest.raises(InvalidInput, match=f"^{reason.value}:")


@given(planes(), st.lists(st.tuples(st.floats(-600, 600), st.floats(-600, 600)), min_size=1, max_size=5))
def test_pixel_to_patient_and_back_is_the_identity(at: ImagePlane, pixels: list[tuple[float, float]]) -> None:
    """A continuous pixel coordinate survives the way to the patient and back, at any angle and spacing."""
    there = lps_from_pixel(at, np.array(pixels))
    np.testing.assert_allclose(pixel_from_lps(at, there), pixels, atol=1e-6)


def test_pixel_spacing_is_between_rows_then_between_columns() -> None:
    """Moving one column to the right moves by the column spacing along the row direction."""
    oblong = plane(row_spacing_mm=3.5, column_spacing_mm=2.5)
    np.testing.assert_allclose(
        lps_from_pixel(oblong, np.array([[1.0, 0.0], [0.0, 1.0]])), [[2.5, 0, 0], [0, 3.5, 0]]
    )


def test_points_beside_the_plane_are_projected_along_its_normal() -> None:
    """The distance from the plane does not move a point inside it."""
    np.testing.assert_allclose(pixel_from_lps(plane(z=5.0), np.array([[3.0, 4.0, 17.0]])), [[3.0, 4.0]])


@given(st.permutations(range(7)), ANGLES, ANGLES, ANGLES)
def test_sorting_is_by_position_whatever_the_order(order: list[int], a: float, b: float, c: float) -> None:
    """Planes ascend along their normal in any order of arrival and at any angle."""
    turned = rotation(a, b, c)
    normal = np.array(unit_normal(turned[:, 0].tolist(), turned[:, 1].tolist()))
    made = [
        plane(
            index=index,
            position_lps_mm=tuple((normal * 2.5 * index).tolist()),
            row_cosines=tuple(turned[:, 0].tolist()),
            column_cosines=tuple(turned[:, 1].tolist()),
        )
        for index in range(7)
    ]
    built = build_stack("2.25.9", FRAME, [made[index] for index in order])
    assert built.planes == tuple(made)
    np.testing.assert_allclose(np.diff(built.offsets_mm), 2.5, atol=1e-6)


def test_flipped_columns_give_the_same_normal() -> None:
    """The normal points to the head, so that "lowest" means the same slice for every series."""
    flipped = stack([0, 1, 2], column_cosines=(0.0, -1.0, 0.0))
    assert flipped.normal == (0.0, 0.0, 1.0)
    assert flipped.offsets_mm == (0.0, 1.0, 2.0)


def test_noise_in_cosines_and_positions_is_no_difference() -> None:
    """Headers round: 1e-16 in a cosine and 0.001 mm in a position change nothing."""
    noisy = [plane(z=3.27 * index + 0.001 * (index % 2), index=index) for index in range(5)]
    noisy[2] = dataclasses.replace(noisy[2], row_cosines=(1.0, -1.2e-16, 0.0))
    built = build_stack("2.25.9", FRAME, noisy)
    check_even(built, 0, 4)


def test_an_empty_series_has_no_position() -> None:
    """Without a plane there is nothing to stack."""
    with refused(Reason.NO_POSITION):
        build_stack("2.25.9", FRAME, [])


@pytest.mark.parametrize(
    "change",
    [
        {"rows": 41},
        {"columns": 61},
        {"row_spacing_mm": 1.1},
        {"row_cosines": (0.0, 1.0, 0.0), "column_cosines": (-1.0, 0.0, 0.0)},
        {"position_lps_mm": (30.0, 0.0, 2.0)},
    ],
)
def test_a_change_inside_the_series_is_mixed_geometry(change: dict) -> None:
    """Matrix, spacing, orientation and in-plane origin must be one for the whole series."""
    made = [plane(z=float(index), index=index) for index in range(5)]
    made[2] = dataclasses.replace(made[2], **change)
    with refused(Reason.MIXED_GEOMETRY):
        build_stack("2.25.9", FRAME, made)


def test_two_images_at_one_position_are_refused() -> None:
    """Two phases or reconstructions in one series cannot be told apart by geometry."""
    with refused(Reason.SAME_POSITION):
        stack([0.0, 2.5, 2.505, 5.0])


@pytest.mark.parametrize("degrees", [18.5, 1.0, -12.0])
def test_gantry_tilt_is_seen_in_positions(degrees: float) -> None:
    """Planes stacked at an angle to their normal are refused, whatever any tag says."""
    shift = np.tan(np.radians(degrees))
    tilted = [plane(index=i, position_lps_mm=(0.0, 2.5 * i * shift, 2.5 * i)) for i in range(20)]
    with refused(Reason.GANTRY_TILT):
        build_stack("2.25.9", FRAME, tilted)


def test_even_gaps_pass_and_only_the_asked_range_counts() -> None:
    """A fault outside the range does not disturb."""
    gapped = stack([0, 2.5, 5, 7.5, 12.5, 15])
    check_even(gapped, 0, 3)
    check_even(gapped, 4, 5)
    with refused(Reason.SLICES_MISSING):
        check_even(gapped, 2, 4)


def test_gaps_of_no_multiple_are_uneven() -> None:
    """GE gaps of 1.08, 4.00 and 7.00 mm are no missing slices."""
    with refused(Reason.UNEVEN_GAPS):
        check_even(stack([0, 1.08, 2.16, 3.24, 7.24, 14.24]), 0, 5)


@pytest.mark.parametrize("gap", [2.499, 2.501, 2.52])
def test_a_gap_within_one_percent_is_even(gap: float) -> None:
    """Rounded positions are not uneven."""
    check_even(stack([0, 2.5, 5.0, 5.0 + gap, 7.5 + gap]), 0, 4)


def test_the_usual_gap_is_the_most_frequent() -> None:
    """One missing slice among many does not change what is usual."""
    assert modal_gap_mm(stack([0, 1, 2, 3, 7, 8])) == pytest.approx(1.0)
    assert modal_gap_mm(stack([4])) is None


@pytest.mark.parametrize(
    ("offset", "index"),
    [(0.0, 0), (0.04, 0), (1.24, 0), (1.26, 1), (5.0, 2), (6.2, 2), (6.3, None), (-1.3, None)],
)
def test_nearest_plane_within_half_a_gap(offset: float, index: int | None) -> None:
    """Float drift finds its plane; beyond half a gap past the ends there is none."""
    assert nearest_plane(stack([0, 2.5, 5.0]), offset) == index


def test_a_contour_on_a_missing_image_is_not_moved_to_its_neighbour() -> None:
    """In the middle of a double gap no plane is nearest."""
    gapped = stack([0, 2.5, 5.0, 10.0, 12.5])
    assert nearest_plane(gapped, 7.5) is None
    assert nearest_plane(gapped, 5.5) == 2


def test_a_lone_plane_takes_only_its_own_contours() -> None:
    """One image has no gap to measure by: half a millimetre is its reach."""
    assert nearest_plane(stack([4.0]), 4.3) == 0
    assert nearest_plane(stack([4.0]), 5.0) is None


def test_thickness_is_half_a_gap_to_each_side() -> None:
    """Missing images do not make their neighbours thick."""
    gapped = stack([0, 2, 4, 8, 10])
    assert [local_thickness_mm(gapped, index) for index in range(5)] == pytest.approx([2, 2, 2, 2, 2])
    assert local_thickness_mm(stack([3.0]), 0) is None
