"""``prognode inspect --json`` says of other people's files what independent tools measured on them.

Polygon areas by shapely, SEG decoded by dcmqi (reference/dicom/reference.json): areas and volumes within 1 %, the same
largest slice, the bounding box within a pixel; whether a whole folder is given, or one object and its images.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from apps.inspect_files import inspect_files

pytestmark = pytest.mark.reference

STS = "ibsi_STS_001"
SEGMENTATIONS = "QIICR_dcmqi/segmentations"
IMAGES_OF = {
    f"{SEGMENTATIONS}/liver.dcm": f"{SEGMENTATIONS}/ct-3slice",
    f"{SEGMENTATIONS}/partial_overlaps.dcm": f"{SEGMENTATIONS}/ct-3slice",
    f"{SEGMENTATIONS}/sparse-labelmap-ppv5.dcm": f"{SEGMENTATIONS}/24x38x3/image",
    f"{SEGMENTATIONS}/sparse-labelmap-noppv.dcm": f"{SEGMENTATIONS}/24x38x3/image",
    f"{SEGMENTATIONS}/23x38x3/seg/label.seg": f"{SEGMENTATIONS}/23x38x3/image",
    f"{SEGMENTATIONS}/24x38x3/seg/label.seg": f"{SEGMENTATIONS}/24x38x3/image",
    "QIICR_dcmqi/sr-example/seg.dcm": None,
}
PADDING = {(f"{SEGMENTATIONS}/sparse-labelmap-ppv5.dcm", 5)}
"""5 is that file's Pixel Padding Value: background, although dcmqi lists it (PS3.3 C.7.5.1.1.2)."""


@pytest.fixture(scope="module")
def folder(reference_dir: Path) -> Path:
    return reference_dir / "dicom"


@pytest.fixture(scope="module")
def reference(folder: Path) -> dict:
    return json.loads((folder / "reference.json").read_text())


def inspect(*places: Path) -> dict:
    """The JSON of these files and of those below these folders."""
    files = [path for place in places for path in ([place] if place.is_file() else sorted(place.rglob("*")))]
    found = inspect_files([path for path in files if path.is_file()])
    return json.loads(json.dumps(found, allow_nan=False))


def rois(found: dict, **wanted) -> list[dict]:
    return [roi for roi in found["rois"] if all(roi[key] == value for key, value in wanted.items())]


def agree_by_z(areas: dict, expected: dict) -> None:
    """Same planes (to 0.05 mm), areas within 1 %."""
    ours, theirs = ({round(float(z), 1): area for z, area in one.items()} for one in (areas, expected))
    assert ours == pytest.approx(theirs, rel=0.01)


def agree_in_box(box: dict, expected: dict, within_mm: float) -> None:
    for corner in ("min", "max"):
        assert box[corner] == pytest.approx(expected[corner], abs=within_mm)


# ---------------------------------------------------------------- RTSTRUCT


def check_mass(mass: dict, measured: dict) -> None:
    contours = measured["contours_shapely"]
    agree_by_z(mass["areas_mm2"], contours["area_mm2_by_z"])
    agree_in_box(mass["bounding_box_lps_mm"], contours["vertex_bbox_mm"], 0.98)
    assert mass["volume_mm3"] == pytest.approx(contours["planimetric_volume_mm3"], rel=0.01)
    assert mass["largest_slice"]["z_mm"] == pytest.approx(contours["largest_plane"]["z_mm"], abs=0.01)
    assert mass["largest_slice"]["area_mm2"] == pytest.approx(contours["largest_plane"]["area_mm2"], rel=0.01)


def test_a_structure_set_whose_references_name_nothing_is_measured_on_its_images(folder, reference):
    """References to images that do not exist do not hide the ROI: geometry tells the series and the largest slice."""
    case = reference["cases"]["STS_001"]
    measured = case["rois"]["GTV_Mass_CT"]
    found = inspect(folder / STS)
    (mass,) = found["rois"]
    (series,) = found["series"]
    check_mass(mass, measured)
    assert (mass["status"], mass["reasons"]) == ("evaluable", [])
    assert mass["series_instance_uid"] == series["uid"]
    nearest = measured["contours_shapely"]["largest_plane"]["nearest_ct_slice"]["sop_instance_uid"]
    assert mass["largest_slice"]["sop_instance_uid"] == nearest
    assert series["images"] == case["n_ct"]
    assert series["spacing"] == pytest.approx([*case["pixel_spacing"], 3.27], abs=0.01)


def test_a_structure_set_without_images_is_still_measured(folder, reference):
    """A lone RTSTRUCT gives volume, areas and box, and says that its images are not here."""
    case = reference["cases"]["STS_001"]
    (mass,) = inspect(folder / case["rtstruct"])["rois"]
    check_mass(mass, case["rois"]["GTV_Mass_CT"])
    assert (mass["status"], mass["reasons"]) == ("not evaluable", ["slices-missing"])


# ---------------------------------------------------------------- SEG


def check_segments(found: list[dict], expected: dict, name: str) -> None:
    """Every segment that dcmqi decoded, by its label."""
    for key, measured in expected["dcmqi_masks"].items():
        number = int(key.rsplit("label", 1)[1])
        if (name, number) in PADDING:
            continue
        (segment,) = [roi for roi in found if roi["number"] == number]
        agree_by_z(segment["areas_mm2"], measured["area_mm2_by_z"])
        agree_in_box(
            segment["bounding_box_lps_mm"], measured["bbox_voxel_centres_mm"], measured["spacing_mm"][0]
        )
        assert segment["volume_mm3"] == pytest.approx(measured["volume_mm3"], rel=0.01)
        assert segment["largest_slice"]["z_mm"] == pytest.approx(measured["largest_slice"]["z_mm"], abs=0.01)
        assert segment["largest_slice"]["area_mm2"] == pytest.approx(
            measured["largest_slice"]["area_mm2"], rel=0.01
        )


@pytest.mark.parametrize("name", IMAGES_OF)
def test_a_segmentation_alone_is_measured(name, folder, reference):
    """A SEG needs no images for its geometry."""
    check_segments(inspect(folder / name)["rois"], reference["seg_cases"][name], name)


@pytest.mark.parametrize("name", [name for name, images in IMAGES_OF.items() if images])
def test_a_segmentation_with_its_images_names_the_series_and_the_slice(name, folder, reference):
    """With its images the same numbers come out, and series and largest slice are those of the images."""
    found = inspect(folder / name, folder / IMAGES_OF[name])
    check_segments(found["rois"], reference["seg_cases"][name], name)
    (series,) = found["series"]
    here = {instance_uid(path) for path in (folder / IMAGES_OF[name]).iterdir()}
    for roi in found["rois"]:
        assert roi["series_instance_uid"] == series["uid"]
        assert roi["largest_slice"]["sop_instance_uid"] in here


def instance_uid(path: Path) -> str:
    from pydicom import dcmread

    return str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)


def test_the_whole_folder_at_once_gives_the_same_numbers(folder, reference):
    """Many studies in one call: every object that is not a second one under a used UID is measured as if alone."""
    found = inspect(folder)
    left_out = [name for name in IMAGES_OF if any(f"{name}: " in problem for problem in found["problems"])]
    assert left_out == [f"{SEGMENTATIONS}/sparse-labelmap-ppv5.dcm"]
    for name in set(IMAGES_OF) - set(left_out):
        uid = instance_uid(folder / name)
        check_segments(rois(found, object_uid=uid), reference["seg_cases"][name], name)
    (mass,) = rois(found, name="GTV_Mass_CT")
    check_mass(mass, reference["cases"]["STS_001"]["rois"]["GTV_Mass_CT"])
    assert mass["status"] == "evaluable"


def test_the_same_uid_with_other_bytes_is_kept_out_and_said(folder):
    """Two files under one SOP Instance UID: the first one counts, the other is named with the file it clashes with."""
    found = inspect(folder / "qurit_rt-utils" / "mock_data")
    (problem,) = found["problems"]
    assert "non_existent_reference_rt.dcm" in problem
    assert "invalid_reference_rt.dcm" in problem
    assert "other bytes" in problem


def test_every_reference_file_alone_gives_an_object_or_a_sentence(folder):
    """No file is odd enough for a traceback."""
    from prognode.errors import BadRequest

    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            found = inspect(path)
        except BadRequest as sentence:
            assert path.name in str(sentence)
        else:
            assert {"series", "case", "rois", "problems"} <= found.keys()
