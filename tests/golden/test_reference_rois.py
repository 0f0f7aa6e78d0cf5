"""ROIs agree with what independent tools measured on files that others wrote (reference/dicom/reference.json).

Polygon areas by shapely, masks by plastimatch 1.9.4, dcmrtstruct2nii 5 and the published NIfTI; SEG decoded by dcmqi.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from SimpleITK import GetArrayFromImage, ReadImage

from prognode.dicom.cards import card, planes_from_card
from prognode.dicom.ct import usable_planes
from prognode.dicom.pixels import hounsfield
from prognode.dicom.rtstruct import read_rtstruct
from prognode.dicom.seg import read_seg
from prognode.domain.geometry import Stack, build_stack, check_even
from prognode.domain.roi import Roi, largest_of, largest_section, match_roi, rasterise, rasterise_all
from prognode.errors import InvalidInput, Reason

pytestmark = pytest.mark.reference

RTSTRUCT_TOOLS = ("plastimatch_1.9.4", "dcmrtstruct2nii_5", "published_nifti")
DCMQI = "QIICR_dcmqi/segmentations"
SEG_FILES = (
    f"{DCMQI}/liver.dcm",
    f"{DCMQI}/partial_overlaps.dcm",
    f"{DCMQI}/sparse-labelmap-ppv5.dcm",
    f"{DCMQI}/sparse-labelmap-noppv.dcm",
    f"{DCMQI}/23x38x3/seg/label.seg",
    f"{DCMQI}/24x38x3/seg/label.seg",
    "QIICR_dcmqi/sr-example/seg.dcm",
)
NOT_A_SEGMENT = {(f"{DCMQI}/sparse-labelmap-ppv5.dcm", 5)}
"""5 is that file's Pixel Padding Value: background, although the other tool lists it (PS3.3 C.7.5.1.1.2)."""


@pytest.fixture(scope="module")
def folder(reference_dir: Path) -> Path:
    return reference_dir / "dicom"


@pytest.fixture(scope="module")
def reference(folder: Path) -> dict:
    return json.loads((folder / "reference.json").read_text())


@cache
def read(path: Path) -> Dataset:
    return dcmread(path, force=True)


def stack_of(paths: list[Path]) -> Stack:
    """The series that these files are."""
    cards = [card(read(path)) for path in paths]
    planes, problems = usable_planes(cards)
    assert problems == ()
    return build_stack(cards[0]["series_instance_uid"], cards[0]["frame_of_reference_uid"] or None, planes)


@pytest.fixture(scope="module")
def series(folder: Path, reference: dict) -> Stack:
    return stack_of(sorted((folder / reference["cases"]["STS_001"]["ct_dir"]).glob("*.dcm")))


@pytest.fixture(scope="module")
def mass(folder: Path, reference: dict) -> Roi:
    (roi,) = read_rtstruct(read(folder / reference["cases"]["STS_001"]["rtstruct"]))
    return roi


@pytest.fixture(scope="module")
def measured(reference: dict) -> dict:
    return reference["cases"]["STS_001"]["rois"]["GTV_Mass_CT"]


def assert_areas(roi: Roi, areas: dict[str, float], relative: float, absolute: float) -> None:
    """Planes lie at the reference's heights (rounded to 3 digits) and have its areas."""
    assert [section.offset_mm for section in roi.sections] == pytest.approx(
        sorted(map(float, areas)), abs=0.002
    )
    for section, z in zip(roi.sections, sorted(areas, key=float), strict=True):
        assert section.area_mm2 == pytest.approx(areas[z], rel=relative, abs=absolute), z


def test_the_series_stacks_evenly(series: Stack, reference: dict) -> None:
    """59 real slices, sorted by position."""
    case = reference["cases"]["STS_001"]
    assert len(series.planes) == case["n_ct"]
    assert (series.offsets_mm[0], series.offsets_mm[-1]) == pytest.approx(case["ct_z_range"])
    assert [series.planes[0].rows, series.planes[0].columns] == case["ct_shape"]
    check_even(series, 0, len(series.planes) - 1)


def test_contours_measure_as_shapely_says(mass: Roi, measured: dict) -> None:
    """Areas per plane, volume, largest plane and box of the polygons."""
    expected = measured["contours_shapely"]
    assert (mass.number, mass.name) == (expected["roi_number"], "GTV_Mass_CT")
    assert_areas(mass, expected["area_mm2_by_z"], 1e-4, 0.001)
    assert mass.volume_mm3 == pytest.approx(expected["planimetric_volume_mm3"], rel=1e-6)
    assert largest_section(mass).offset_mm == expected["largest_plane"]["z_mm"]
    assert mass.bounding_box_lps_mm is not None
    box = expected["vertex_bbox_mm"]
    np.testing.assert_allclose(mass.bounding_box_lps_mm, [box["min"], box["max"]], atol=0.001)


def test_the_largest_plane_is_the_references_image(mass: Roi, series: Stack, measured: dict) -> None:
    """None of the 267 images that the structure set names exist; geometry finds the right one."""
    assert not {plane.sop_instance_uid for plane in series.planes} & set(mass.referenced_image_uids)
    matched = match_roi(mass, series)
    expected = measured["contours_shapely"]["largest_plane"]["nearest_ct_slice"]["sop_instance_uid"]
    assert largest_of(matched.sections).sop_instance_uid == expected
    assert len(matched.sections) == measured["contours_shapely"]["planes"]
    assert matched.warnings == ()


@pytest.mark.parametrize("tool", RTSTRUCT_TOOLS)
def test_the_mask_measures_as_other_tools_say(mass: Roi, series: Stack, measured: dict, tool: str) -> None:
    """Voxels and area per slice within 1 %, volume of polygons within 1 % of voxels."""
    expected = measured[tool]
    filled = rasterise_all(mass, series)
    assert int(filled.sum()) == pytest.approx(expected["voxels"], rel=0.01)
    assert mass.volume_mm3 == pytest.approx(expected["volume_mm3"], rel=0.01)
    pixel = series.planes[0].row_spacing_mm * series.planes[0].column_spacing_mm
    for index, count in enumerate(filled.sum(axis=(1, 2))):
        z = min(expected["area_mm2_by_z"], key=lambda z: abs(float(z) - series.offsets_mm[index]))
        near = abs(float(z) - series.offsets_mm[index]) < 0.01
        assert count * pixel == pytest.approx(
            expected["area_mm2_by_z"][z] if near else 0, rel=0.01, abs=2 * pixel
        )


def test_the_mask_is_the_published_mask(mass: Roi, series: Stack, folder: Path, reference: dict) -> None:
    """Dice of at least 0.99 with the NIfTI that came with the data."""
    published = GetArrayFromImage(ReadImage(folder / reference["cases"]["STS_001"]["nifti_mask"])) > 0
    filled = rasterise_all(mass, series)
    assert 2 * (filled & published).sum() / (filled.sum() + published.sum()) >= 0.99


def test_every_reference_segmentation_is_checked(reference: dict) -> None:
    """No case of the reference is left out below."""
    assert set(SEG_FILES) == set(reference["seg_cases"])
    assert list(reference["cases"]) == ["STS_001"]


@pytest.mark.parametrize("name", SEG_FILES)
def test_segments_measure_as_dcmqi_says(folder: Path, reference: dict, name: str) -> None:
    """Volume, area per plane, largest plane with its ties, and box of voxel centres of every segment."""
    masks = reference["seg_cases"][name]["dcmqi_masks"]
    expected = {int(key.split("label")[1]): mask for key, mask in masks.items()}
    expected = {number: mask for number, mask in expected.items() if (name, number) not in NOT_A_SEGMENT}
    rois = {roi.number: roi for roi in read_seg(read(folder / name))}
    assert set(rois) == set(expected)
    for number, mask in expected.items():
        roi = rois[number]
        assert roi.reasons == ()
        assert roi.volume_mm3 == pytest.approx(mask["volume_mm3"], rel=1e-5)
        assert_areas(roi, mask["area_mm2_by_z"], 1e-6, 0.001)
        assert largest_section(roi).offset_mm == pytest.approx(mask["largest_slice"]["z_mm"], abs=0.002)
        assert roi.bounding_box_lps_mm is not None
        box = mask["bbox_voxel_centres_mm"]
        np.testing.assert_allclose(roi.bounding_box_lps_mm, [box["min"], box["max"]], atol=0.001)


@pytest.mark.parametrize(
    ("name", "number", "nrrd"),
    [
        ("liver.dcm", 1, "liver_seg.nrrd"),
        ("partial_overlaps.dcm", 1, "partial_overlaps-1.nrrd"),
        ("partial_overlaps.dcm", 2, "partial_overlaps-2.nrrd"),
        ("partial_overlaps.dcm", 3, "partial_overlaps-3.nrrd"),
        ("partial_overlaps.dcm", 4, "partial_overlaps-1.nrrd"),
        ("partial_overlaps.dcm", 5, "partial_overlaps-1.nrrd"),
    ],
)
def test_segments_are_the_masks_they_were_made_from(folder: Path, name: str, number: int, nrrd: str) -> None:
    """Voxel for voxel on the CT that they were drawn on, whatever the order of its files."""
    source = ReadImage(folder / DCMQI / nrrd)
    series = stack_of(sorted((folder / DCMQI / "ct-3slice").glob("*.dcm")))
    (roi,) = (roi for roi in read_seg(read(folder / DCMQI / name)) if roi.number == number)
    filled = rasterise_all(roi, series)
    values = GetArrayFromImage(source)
    truth = np.zeros_like(filled)
    for index, plane in enumerate(values):
        z = source.TransformIndexToPhysicalPoint((0, 0, index))[2]
        truth[int(np.argmin(np.abs(np.array(series.offsets_mm) - z)))] = plane == number
    assert truth.any()
    assert 2 * (filled & truth).sum() / (filled.sum() + truth.sum()) >= 0.99


@pytest.mark.parametrize("size", ["23x38x3", "24x38x3"])
def test_single_and_multi_frame_images_are_one_volume(folder: Path, size: str) -> None:
    """The legacy converted enhanced CT has the geometry, the values and the mask of the classic slices."""
    classic = sorted((folder / DCMQI / size / "image").glob("*.dcm"))
    multi = folder / DCMQI / size / "multiframe" / "mf.dcm"
    one, other = stack_of(classic), stack_of([multi])
    assert one.offsets_mm == other.offsets_mm
    by_uid = {read(path).SOPInstanceUID: read(path) for path in classic}
    for left, right in zip(one.planes, other.planes, strict=True):
        np.testing.assert_array_equal(
            hounsfield(by_uid[left.sop_instance_uid]), hounsfield(read(multi), right.frame)
        )
    (roi,) = read_seg(read(folder / DCMQI / size / "seg" / "label.seg"))
    np.testing.assert_array_equal(rasterise_all(roi, one), rasterise_all(roi, other))


def test_a_foreign_frame_of_reference_is_linked_by_references(folder: Path) -> None:
    """The structure set brings its own frame of reference but names series and images."""
    series = stack_of(sorted((folder / "qurit_rt-utils/mock_data").glob("ct_*.dcm")))
    (roi,) = read_rtstruct(read(folder / "qurit_rt-utils/mock_data/rt.dcm"))
    assert roi.frame_of_reference_uid != series.frame_of_reference_uid
    matched = match_roi(roi, series)
    assert [series.planes[index].position_lps_mm[2] for index in matched.plane_indices] == [60.0]
    assert any("frame of reference" in warning for warning in matched.warnings)
    other = stack_of(sorted((folder / DCMQI / "ct-3slice").glob("*.dcm")))
    with pytest.raises(InvalidInput, match=f"^{Reason.FRAME_MISMATCH.value}"):
        match_roi(roi, other)


@pytest.mark.parametrize(
    "name",
    ["mock_data/invalid_reference_rt.dcm", "mock_data/non_existent_reference_rt.dcm", "empty/dummy_rt.dcm"],
)
def test_wrong_or_missing_references_do_not_matter(folder: Path, name: str) -> None:
    """Four ROIs on three planes of which two images are there: the third is told, the others are placed."""
    series = stack_of(sorted((folder / "qurit_rt-utils/mock_data").glob("ct_*.dcm")))
    rois = read_rtstruct(read(folder / "qurit_rt-utils" / name))
    assert [roi.name for roi in rois] == ["ROI-1", "ROI-2", "ROI-3", "ROI-4"]
    for roi in rois:
        matched = match_roi(roi, series)
        assert matched.plane_indices == (0, 1)
        assert "1 of 3" in matched.warnings[0]
        for index, section in zip(matched.plane_indices, matched.sections, strict=True):
            plane = series.planes[index]
            counted = rasterise(section, plane).sum() * plane.row_spacing_mm * plane.column_spacing_mm
            assert counted == pytest.approx(section.area_mm2, rel=0.02)


def test_an_oblique_anisotropic_series_stacks(folder: Path) -> None:
    """50 x 100 pixels of 3.5 x 2.5 mm, turned in all axes; no frame of reference; slope 0.001."""
    paths = sorted((folder / "qurit_rt-utils/oriented_data").glob("*.dcm"))
    series = stack_of(paths)
    assert (series.planes[0].rows, series.planes[0].columns) == (50, 100)
    assert (series.planes[0].row_spacing_mm, series.planes[0].column_spacing_mm) == (3.5, 2.5)
    check_even(series, 0, 2)
    np.testing.assert_allclose(hounsfield(read(paths[0])), read(paths[0]).pixel_array * 0.001, rtol=1e-5)
    assert len(stack_of([folder / "qurit_rt-utils/one_slice_data/0.dcm"]).planes) == 1


def test_cards_of_reference_slices_name_their_image(folder: Path) -> None:
    """Each plane carries the UID of its file."""
    path = folder / DCMQI / "ct-3slice" / "01.dcm"
    (plane,) = planes_from_card(card(read(path)))
    assert plane.sop_instance_uid == read(path).SOPInstanceUID
