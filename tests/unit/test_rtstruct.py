"""Structure sets are read by their rules, and broken ones end in a reason instead of a wrong mask."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian
from roi_objects import FRAME, SQUARE, at, contour, image_uid, stack, structure_set

from prognode.dicom.rtstruct import read_rtstruct
from prognode.domain.roi import Roi, largest_section, rasterise_all
from prognode.errors import Reason

INNER = ((3, 3), (7, 3), (7, 7), (3, 7))


def only(*contours: Dataset) -> Roi:
    """The ROI of a structure set with these contours."""
    (roi,) = read_rtstruct(structure_set([(1, "Tumour", contours)]))
    return roi


def squares(*heights: float) -> list[Dataset]:
    return [contour(at(SQUARE, z)) for z in heights]


def written(dataset: Dataset, syntax: str) -> Dataset:
    """The data set as it comes from a file of this transfer syntax."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = syntax
    out = BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return dcmread(BytesIO(out.getvalue()))


def test_planes_ascend_and_measure() -> None:
    """Contours in any order become ascending planes with area, volume and box."""
    roi = only(*squares(6, 0, 3))
    assert [section.offset_mm for section in roi.sections] == [0, 3, 6]
    assert [section.area_mm2 for section in roi.sections] == pytest.approx([100] * 3)
    assert roi.volume_mm3 == pytest.approx(900)
    assert roi.bounding_box_lps_mm == ((0, 0, 0), (10, 10, 6))
    assert (roi.kind, roi.object_uid, roi.number, roi.name) == ("RTSTRUCT", "2.25.200", 1, "Tumour")
    assert roi.frame_of_reference_uid == FRAME
    assert roi.reasons == () == roi.warnings


def test_rois_and_contours_join_by_number() -> None:
    """The two sequences come in different orders, and one ROI has no contours at all."""
    made = structure_set([(7, "A", squares(0)), (3, "Empty", None), (5, "B", squares(9)), (4, "Bare", [])])
    rois = read_rtstruct(made)
    assert [(roi.number, roi.name) for roi in rois] == [(7, "A"), (3, "Empty"), (5, "B"), (4, "Bare")]
    assert [roi.sections[0].offset_mm for roi in (rois[0], rois[2])] == [0, 9]
    assert rois[1].reasons == rois[3].reasons == (Reason.ROI_EMPTY,)
    assert rois[1].bounding_box_lps_mm is None


def test_nested_contours_are_holes_and_are_told() -> None:
    """Two closed contours on one plane combine by even-odd; the report can say so."""
    roi = only(contour(at(SQUARE, 0)), contour(at(INNER, 0)), *squares(3))
    assert [section.area_mm2 for section in roi.sections] == pytest.approx([84, 100])
    assert roi.warnings == ("1 planes have nested contours (holes)",)


def test_contours_beside_each_other_are_no_holes() -> None:
    """Two islands on one plane add up."""
    roi = only(contour(at(SQUARE, 0)), contour(at(np.array(SQUARE) + 20, 0)))
    assert roi.sections[0].area_mm2 == pytest.approx(200)
    assert not any("nested" in warning for warning in roi.warnings)


def test_a_keyhole_contour_keeps_its_hole() -> None:
    """A self-touching contour is filled by even-odd and never repaired."""
    keyhole = [*SQUARE, SQUARE[0], INNER[0], *reversed(INNER)]
    assert only(contour(at(keyhole, 0))).sections[0].area_mm2 == pytest.approx(84)


def test_contours_of_fewer_than_three_points_are_skipped() -> None:
    """Slice caps of one or two points do not void their plane or the ROI."""
    roi = only(contour(at([(1, 1)], 0)), contour(at([(1, 1), (2, 2)], 3)), *squares(3, 6))
    assert [section.offset_mm for section in roi.sections] == [3, 6]
    assert "2 contours skipped: fewer than three points" in roi.warnings


def test_a_tiny_contour_does_not_void_its_plane() -> None:
    """A sub-pixel contour beside a large one changes the area by its own size only."""
    tiny = np.array(SQUARE) * 0.01 + 20
    assert only(contour(at(SQUARE, 0)), contour(at(tiny, 0))).sections[0].area_mm2 == pytest.approx(100.01)


@pytest.mark.parametrize("kind", ["POINT", "OPEN_PLANAR", "OPEN_NONPLANAR", "INTERPOLATED_PLANAR", None])
def test_types_that_enclose_nothing_are_never_filled(kind: str | None) -> None:
    """Such contours are ignored beside closed ones; alone they are the reason."""
    assert only(contour(at(SQUARE, 0), kind)).reasons == (Reason.ROI_TYPE,)
    mixed = only(contour(at(SQUARE, 0), kind), *squares(3))
    assert [section.offset_mm for section in mixed.sections] == [3]
    assert "encloses nothing" in mixed.warnings[0]


def test_the_exclusive_or_type_is_closed() -> None:
    """CLOSEDPLANAR_XOR says what is done with CLOSED_PLANAR anyway."""
    assert only(contour(at(SQUARE, 0), "CLOSEDPLANAR_XOR")).sections[0].area_mm2 == pytest.approx(100)


@pytest.mark.parametrize("data", [["1", "2"], ["1", "2", "x"], ["1", "2", "NaN"] * 3])
def test_coordinates_that_cannot_be_read_are_a_reason(data: list[str]) -> None:
    """Counts that are no triples, words and NaN never reach a mask."""
    broken = contour(at(SQUARE, 0))
    raw = "\\".join(data).encode()
    made = structure_set([(1, "Tumour", [broken])])
    whole = written(made, ImplicitVRLittleEndian)
    item = whole.ROIContourSequence[0].ContourSequence[0]
    element = item.get_item("ContourData")
    item._dict[element.tag] = element._replace(value=raw)
    (roi,) = read_rtstruct(whole)
    assert roi.reasons == (Reason.ROI_UNREADABLE,)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_a_file_reads_as_the_data_set_it_was_written_from(syntax: str) -> None:
    """Raw bytes and parsed values give the same ROI."""
    made = structure_set([(1, "Tumour", squares(0, 3))])
    direct = read_rtstruct(made)[0]
    (read,) = read_rtstruct(written(made, syntax))
    assert read.volume_mm3 == direct.volume_mm3
    np.testing.assert_array_equal(read.sections[0].outlines[0], direct.sections[0].outlines[0])


def test_drift_of_positions_does_not_split_a_plane() -> None:
    """A hole written 0.05 mm off its outline is still its hole."""
    roi = only(contour(at(SQUARE, 0)), contour(at(INNER, 0.05)), *squares(2.5))
    assert [round(section.area_mm2) for section in roi.sections] == [84, 100]


def test_oblique_contours_lie_on_their_own_planes() -> None:
    """Planes at 30 degrees: offsets run along their normal, areas are not foreshortened."""
    turn = np.array([[1, 0, 0], [0, np.sqrt(0.75), -0.5], [0, 0.5, np.sqrt(0.75)]])
    outlines = [np.array(at(SQUARE, z)) @ turn.T for z in (0, 2, 4)]
    roi = only(*(contour(outline) for outline in outlines))
    np.testing.assert_allclose(roi.normal, turn[:, 2], atol=1e-5)
    np.testing.assert_allclose([section.offset_mm for section in roi.sections], [0, 2, 4], atol=1e-5)
    assert roi.volume_mm3 == pytest.approx(600, rel=1e-5)


def test_rounding_does_not_tilt_small_contours() -> None:
    """A small contour whose z was rounded lies on an axial plane, at its own height far from the origin."""
    wobbly = [
        (300 + x * 0.4, 200 + y * 0.4, -500 + 0.05 * (index % 2)) for index, (x, y) in enumerate(SQUARE)
    ]
    roi = only(contour(wobbly))
    assert roi.normal == (0, 0, 1)
    assert roi.sections[0].offset_mm == pytest.approx(-499.975)


def test_a_contour_across_the_others_is_skipped() -> None:
    """A sagittal outline among axial ones is no cross-section of theirs."""
    sagittal = [(0, y, z) for y, z in SQUARE]
    roi = only(*(contour(at(np.array(SQUARE) * 2, z)) for z in (0, 3)), contour(sagittal))
    assert len(roi.sections) == 2
    assert "not parallel" in roi.warnings[0]


def test_planes_missing_between_contours_are_told_and_not_filled() -> None:
    """A gap twice the usual one is not bridged in the volume."""
    roi = only(*squares(0, 3, 6, 12, 15))
    assert roi.volume_mm3 == pytest.approx(5 * 300)
    assert "planes are missing between contours in 1 places" in roi.warnings[0]


def test_a_single_plane_has_no_volume_of_its_own() -> None:
    """Its thickness is not known: volume 0, said so; a slab thickness is believed."""
    assert only(*squares(0)).volume_mm3 == 0
    assert "one plane only" in only(*squares(0)).warnings[0]
    slab = squares(0)[0]
    slab.ContourSlabThickness = "2.5"
    assert only(slab).volume_mm3 == pytest.approx(250)


def test_names_may_be_anything() -> None:
    """Empty, duplicate, non-ASCII and padded names stay apart by number."""
    names = ["", "Tumour", "Tumour ", "Geschwür 胃"]
    rois = read_rtstruct(structure_set([(i, name, squares(i)) for i, name in enumerate(names, 1)]))
    assert [(roi.number, roi.name) for roi in rois] == [
        (1, ""),
        (2, "Tumour"),
        (3, "Tumour"),
        (4, "Geschwür 胃"),
    ]


def test_a_repeated_number_is_told() -> None:
    """Two ROIs of one number cannot be told apart."""
    rois = read_rtstruct(structure_set([(1, "A", squares(0)), (1, "B", None)]))
    assert all("share the number 1" in " ".join(roi.warnings) for roi in rois)


def test_the_whole_series_is_named_in_the_objects_order() -> None:
    """The series' list comes first; a contour's image that it lacks follows."""
    series = {"2.25.7": [image_uid(2), image_uid(0), image_uid(1)]}
    drawn = [contour(at(SQUARE, 0), image=image_uid(1)), contour(at(SQUARE, 3), image=image_uid(9))]
    (roi,) = read_rtstruct(structure_set([(1, "Tumour", drawn)], series))
    assert roi.referenced_series_uids == ("2.25.7",)
    assert roi.referenced_image_uids == (image_uid(2), image_uid(0), image_uid(1), image_uid(9))
    assert [section.sop_instance_uid for section in roi.sections] == [image_uid(1), image_uid(9)]


def test_of_several_series_the_contours_images_choose() -> None:
    """One structure set for two phases: each ROI belongs to the series that its contours name."""
    series = {"2.25.7": [image_uid(0)], "2.25.8": [image_uid(5), image_uid(6)]}
    drawn = [contour(at(SQUARE, 0), image=image_uid(6))]
    rois = read_rtstruct(structure_set([(1, "Venous", drawn), (2, "Unknown", squares(0))], series))
    assert rois[0].referenced_series_uids == ("2.25.8",)
    assert rois[0].referenced_image_uids == (image_uid(5), image_uid(6))
    assert rois[1].referenced_series_uids == ("2.25.7", "2.25.8")


def test_without_any_reference_geometry_is_enough() -> None:
    """No referenced study, no contour images: the ROI still lands on the images."""
    roi = only(*(contour(at(np.array(SQUARE) + 4.5, z)) for z in (0, 2.5)))
    assert roi.referenced_image_uids == () == roi.referenced_series_uids
    assert rasterise_all(roi, stack([0, 2.5, 5])).sum(axis=(1, 2)).tolist() == [100, 100, 0]
    assert largest_section(roi).offset_mm == 0


def test_a_bare_object_has_no_rois() -> None:
    """Without its sequences a structure set is empty, not an exception."""
    assert read_rtstruct(Dataset()) == ()
