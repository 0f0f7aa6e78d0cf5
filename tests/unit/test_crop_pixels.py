"""The crop computed on a few planes is what ITK computes on the whole series."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK
from drawn_series import planes, roi, square, view
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prognode.domain.crop import AIR_HU, CropWindow, crop, index_range
from prognode.domain.geometry import build_stack
from prognode.domain.need_set import find_needs

TOLERANCE_HU = 0.01


def itk_crop(hu, stack, window):
    """Whole-volume resampling by ITK's cubic B-spline, outside is air."""
    plane = stack.planes[0]
    image = SimpleITK.GetImageFromArray(hu.astype(np.float32))
    gap = (stack.offsets_mm[-1] - stack.offsets_mm[0]) / (len(stack.planes) - 1)
    image.SetSpacing((plane.column_spacing_mm, plane.row_spacing_mm, gap))
    image.SetOrigin(plane.position_lps_mm)
    image.SetDirection(
        np.stack([plane.row_cosines, plane.column_cosines, stack.normal], axis=1).ravel().tolist()
    )
    grid = SimpleITK.Image(window.size, window.size, 3, SimpleITK.sitkFloat32)
    grid.SetOrigin((float(window.x0_mm), float(window.y0_mm), float(window.z_mm[0])))
    return SimpleITK.GetArrayFromImage(
        SimpleITK.Resample(image, grid, SimpleITK.Transform(), SimpleITK.sitkBSpline, AIR_HU)
    )


def noise(shape, seed=0, amplitude=1000.0):
    """White noise, the worst that a spline can be given."""
    return np.random.default_rng(seed).uniform(-amplitude, amplitude, shape).astype(np.float32)


def need_set_crop(hu, members, window):
    """The crop from the need-set alone."""
    whole = build_stack("1", "2", members)
    first, last = index_range(window, whole)
    order = [members.index(plane) for plane in whole.planes]
    part = build_stack("1", "2", [whole.planes[k] for k in range(first, last + 1)])
    return crop(hu[order][first : last + 1], part, window), itk_crop(hu[order], whole, window)


@pytest.mark.parametrize("gap_mm", [1.0, 1.25, 2.5, 5.0])
def test_need_set_crop_equals_whole_volume_itk(gap_mm):
    """White noise, anisotropic pixels: the need-set's crop is ITK's of the whole series within 0.01 HU."""
    members = planes(50, gap_mm, origin=(-130.3, -121.7, -0.4), spacing=(0.9, 0.7), matrix=(270, 350))
    window = CropWindow(-118, -105, tuple(int(23 * gap_mm) + d for d in (0, 1, 2)))
    ours, itk = need_set_crop(noise((50, 270, 350)), members, window)
    assert ours.shape == (3, 224, 224)
    assert ours.dtype == np.float32
    assert np.abs(ours - itk).max() < TOLERANCE_HU


@pytest.mark.parametrize("z_mm", [(0, 1, 2), (58, 59, 60)])
def test_window_at_the_end_of_the_volume_is_mirrored_as_in_itk(z_mm):
    """Where the series ends, the border is mirrored and not padded."""
    members = planes(25, 2.5, origin=(-60, -50, 0), spacing=(0.9, 0.7), matrix=(110, 150))
    ours, itk = need_set_crop(noise((25, 110, 150)), members, CropWindow(-112, -112, z_mm))
    assert np.abs(ours - itk).max() < TOLERANCE_HU


def test_outside_the_images_is_air_from_half_a_pixel_on():
    """Samples within half a pixel of the outer pixel centres are interpolated, farther ones are -1000 HU."""
    members = planes(5, 1.0, origin=(0.0, 0.0, 0.0), spacing=(4.0, 4.0), matrix=(30, 30))
    out = crop(
        np.full((5, 30, 30), 40.0, np.float32),
        build_stack("1", "2", members),
        CropWindow(-10, -10, (1, 2, 3)),
    )
    assert out[0, 8, 50] == pytest.approx(40.0, abs=1e-3)  # y = -2: exactly half a pixel outside
    assert out[0, 7, 50] == AIR_HU
    assert out[0, 50, 127] == pytest.approx(40.0, abs=1e-3)  # x = 117: a quarter pixel beyond the last centre
    assert out[0, 50, 128] == AIR_HU  # x = 118: half a pixel beyond it


def test_rows_run_along_y_columns_along_x_slices_along_z():
    """A linear field in x, y and z comes back at the samples' own positions."""
    members = planes(40, 1.5, origin=(-150.0, -140.0, -30.0), spacing=(1.0, 1.0), matrix=(290, 300))
    z, y, x = np.meshgrid(
        np.arange(40) * 1.5 - 30, np.arange(290) - 140.0, np.arange(300) - 150.0, indexing="ij"
    )
    field = (x + 2 * y + 3 * z).astype(np.float32)
    window = CropWindow(-112, -105, (-2, -1, 0))
    out = crop(field, build_stack("1", "2", members), window)
    expected = (
        window.x_mm[None, None, :] + 2 * window.y_mm[None, :, None] + 3 * np.array(window.z_mm)[:, None, None]
    )
    assert np.abs(out - expected)[:, 20:-20, 20:-20].max() < 0.05


def test_overshoot_is_kept():
    """The spline undershoots air beside dense matter; clipping it would change the features."""
    members = planes(20, 1.0, origin=(-100, -100, 0), spacing=(1.7, 1.7), matrix=(118, 118))
    hu = np.full((20, 118, 118), -1000.0, np.float32)
    hu[:, 50:60, 50:60] = 1500.0
    assert crop(hu, build_stack("1", "2", members), CropWindow(-112, -112, (9, 10, 11))).min() < -1100


def test_same_samples_from_longer_and_shorter_series():
    """The 1 mm grid is the patient's, so a need-set gives bit for bit what the series gives."""
    members = planes(60, 2.0, origin=(-60, -60, -60), spacing=(1.0, 1.0), matrix=(120, 120))
    hu, window = noise((60, 120, 120)), CropWindow(-112, -112, (-1, 0, 1))
    whole = build_stack("1", "2", members)
    first, last = index_range(window, whole)
    part = build_stack("1", "2", members[first : last + 1])
    assert np.array_equal(crop(hu, whole, window), crop(hu[first : last + 1], part, window))


FLIPS = [
    ((1, 0, 0), (0, 1, 0)),
    ((1, 0, 0), (0, -1, 0)),
    ((-1, 0, 0), (0, 1, 0)),
    ((-1, 0, 0), (0, -1, 0)),
    ((0, 1, 0), (1, 0, 0)),
]


def rotated(degrees, axis):
    """Row and column cosines turned about an axis."""
    a = np.deg2rad(degrees)
    k = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    turn = np.eye(3) + np.sin(a) * k + (1 - np.cos(a)) * k @ k
    return tuple(turn[:, 0]), tuple(turn[:, 1])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    gap_mm=st.sampled_from([1.0, 1.25, 2.0, 2.5, 5.0]),
    spacing=st.tuples(st.floats(0.6, 3.0), st.floats(0.6, 3.0)),
    flip=st.sampled_from(FLIPS),
    descending=st.booleans(),
    place=st.tuples(st.integers(-60, 60), st.integers(-60, 60), st.floats(0.0, 1.0)),
    shift=st.floats(-0.5, 0.5),
    seed=st.integers(0, 99),
)
def test_any_axial_series_gives_itk_s_crop(gap_mm, spacing, flip, descending, place, shift, seed):
    """Whatever spacing, flips, file order and place of the ROI: within 0.01 HU of ITK on the whole series."""
    shape = (30, 50, 70)
    normal_z = shift  # the grid need not meet the planes
    row, column = np.array(flip[0]), np.array(flip[1])
    middle = row * spacing[1] * shape[2] / 2 + column * spacing[0] * shape[1] / 2
    members = planes(
        shape[0],
        gap_mm,
        origin=(-middle[0] + shift, -middle[1], normal_z),
        spacing=spacing,
        matrix=shape[1:],
        cosines=flip,
    )
    members = members[::-1] if descending else members
    lowest, highest = int(np.ceil(normal_z)), int(np.floor(normal_z + 29 * gap_mm))
    z = lowest + round(place[2] * (highest - lowest - 2))
    window = CropWindow(place[0] - 112, place[1] - 112, (z, z + 1, z + 2))
    ours, itk = need_set_crop(noise(shape, seed), members, window)
    assert np.abs(ours - itk).max() < TOLERANCE_HU


@pytest.mark.parametrize(
    "cosines", [((1, 0, 0), (0, 0, -1)), ((0, 1, 0), (0, 0, -1)), ((0, 1, 0), (0, 0, 1))]
)
def test_coronal_and_sagittal_series_give_itk_s_crop(cosines):
    """Planes along another axis of the patient: still three axial slices on the same grid."""
    row, column = np.array(cosines[0]), np.array(cosines[1])
    normal = np.abs(np.cross(row, column))
    origin = -(row * 70 * 1.3 + column * 60 * 1.7 + normal * 50 * 2.5) / 2 + 0.137
    members = planes(50, 2.5, origin=origin, spacing=(1.7, 1.3), matrix=(60, 70), cosines=cosines)
    ours, itk = need_set_crop(noise((50, 60, 70)), members, CropWindow(-112, -112, (-1, 0, 1)))
    assert (ours != AIR_HU).mean() > 0.1
    assert np.abs(ours - itk).max() < TOLERANCE_HU


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    degrees=st.integers(-400, 400).map(lambda tenths: tenths / 10),
    axis=st.sampled_from([(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.6, 0.0, 0.8)]),
    gap_mm=st.sampled_from([1.0, 2.5, 5.0]),
    spacing=st.tuples(st.floats(0.8, 3.0), st.floats(0.8, 3.0)),
    seed=st.integers(0, 99),
)
def test_any_oblique_series_gives_itk_s_crop(degrees, axis, gap_mm, spacing, seed):
    """Turned planes: the grid stays along the patient's axes, and the samples are ITK's."""
    shape = (40, 45, 55)
    cosines = rotated(degrees, axis)
    normal = np.cross(*cosines)
    row, column = np.array(cosines[0]), np.array(cosines[1])
    half = (row * spacing[1] * 55 + column * spacing[0] * 45 + normal * gap_mm * 40) / 2 + 0.137
    members = planes(shape[0], gap_mm, origin=-half, spacing=spacing, matrix=shape[1:], cosines=cosines)
    ours, itk = need_set_crop(noise(shape, seed), members, CropWindow(-112, -112, (-1, 0, 1)))
    differs = np.abs(ours - itk) > TOLERANCE_HU
    on_the_rim = (ours == AIR_HU) != (
        itk == AIR_HU
    )  # the last digit decides which side of the rim a sample lies on
    assert not (differs & ~on_the_rim).any()
    assert on_the_rim.sum() <= 3


@settings(max_examples=15, deadline=None)
@given(key=st.integers(0, 39), gap_mm=st.sampled_from([1.0, 1.5, 2.5, 5.0]), seed=st.integers(0, 99))
def test_the_need_set_that_readiness_waits_for_is_enough(key, gap_mm, seed):
    """Crop of exactly the images that the need-set names, against ITK on the series, wherever the tumour lies."""
    members = planes(40, gap_mm, origin=(-60, -60, 0.3), spacing=(2.0, 2.0), matrix=(60, 60))
    hu = noise((40, 60, 60), seed)
    section = square(members[key].position_lps_mm[2], 30, uid=members[key].sop_instance_uid)
    need = find_needs(view(members), roi([section], images=[plane.sop_instance_uid for plane in members]))
    kept = [k for k, plane in enumerate(members) if plane.sop_instance_uid in need.sop_instance_uids]
    ours = crop(hu[kept], build_stack("1", "2", need.planes), need.window)
    assert np.abs(ours - itk_crop(hu, build_stack("1", "2", members), need.window)).max() < TOLERANCE_HU


def test_header_noise_in_the_cosines_changes_nothing():
    """Cosines like -1.2e-16 are axial."""
    members = planes(20, 2.0, origin=(-60, -60, -20), spacing=(1.0, 1.0), matrix=(120, 120))
    noisy = [
        replace(plane, row_cosines=(1.0, -1.2e-16, 0.0), column_cosines=(1.2e-16, 1.0, 0.0))
        for plane in members
    ]
    hu, window = noise((20, 120, 120)), CropWindow(-112, -112, (-1, 0, 1))
    straight = crop(hu, build_stack("1", "2", members), window)
    assert np.abs(straight - crop(hu, build_stack("1", "2", noisy), window)).max() < 1e-3
