"""Segmentations of every kind become the same ROIs, and unusable ones say why."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import RLELossless
from roi_objects import FRAME, item, segmentation, stack

from prognode.dicom.seg import read_seg
from prognode.domain.roi import Roi, largest_section, rasterise_all
from prognode.errors import Reason


def mask(rows: slice, columns: slice, shape: tuple[int, int] = (7, 9)) -> np.ndarray:
    """A filled rectangle; 7 x 9 pixels do not end on a byte."""
    filled = np.zeros(shape, dtype=np.uint8)
    filled[rows, columns] = 1
    return filled


BLOCK = mask(slice(1, 5), slice(2, 8))
BAR = mask(slice(6, 7), slice(0, 9))


def only(dataset: Dataset) -> Roi:
    (roi,) = read_seg(dataset)
    return roi


def test_frames_lie_where_their_positions_say() -> None:
    """File order means nothing; planes ascend, area is pixels, the box is of voxel centres."""
    roi = only(segmentation([BAR, BLOCK], [(1, 2, 5), (1, 2, 3)], [1, 1], spacing=(2.0, 0.5)))
    assert [(section.offset_mm, section.area_mm2) for section in roi.sections] == [(3, 24), (5, 9)]
    assert roi.volume_mm3 == pytest.approx(33 * 2)
    assert roi.bounding_box_lps_mm == ((1, 4, 3), (5, 14, 5))
    assert (roi.kind, roi.object_uid, roi.number, roi.name) == ("SEG", "2.25.300", 1, "S1")
    assert roi.frame_of_reference_uid == FRAME


@given(arrays(bool, (3, 5, 7)), st.booleans(), st.sampled_from(["OB", "OW"]))
def test_bits_are_unpacked_wherever_a_frame_begins(pixels: np.ndarray, big_endian: bool, vr: str) -> None:
    """Frames of 35 bits follow each other without padding, in either byte order."""
    positions = [(0.0, 0.0, float(z)) for z in range(3)]
    roi = only(segmentation(list(pixels), positions, [1, 1, 1], big_endian=big_endian, vr=vr))
    if not pixels.any():
        assert roi.reasons == (Reason.ROI_EMPTY,)
        return
    np.testing.assert_array_equal(rasterise_all(roi, stack([0, 1, 2], rows=5, columns=7)), pixels)


def test_overlapping_segments_stay_apart() -> None:
    """A pixel may belong to several segments."""
    made = segmentation([BLOCK, BLOCK, BAR], [(0, 0, 0), (0, 0, 0), (0, 0, 2)], [2, 1, 1], described=(1, 2))
    assert [(roi.number, roi.volume_mm3) for roi in read_seg(made)] == [(1, 66), (2, 48)]


def test_the_segment_may_be_named_in_the_shared_groups() -> None:
    """Single-segment objects often say it once for all frames."""
    made = segmentation([BLOCK], [(0, 0, 0)], None)
    made.SharedFunctionalGroupsSequence[0].SegmentIdentificationSequence = [item(ReferencedSegmentNumber=1)]
    assert only(made).sections[0].area_mm2 == 24


def test_geometry_may_be_given_per_frame() -> None:
    """Orientation and pixel measures in the frames' own groups are found."""
    made = segmentation([BLOCK], [(0, 0, 0)], [1])
    shared = made.SharedFunctionalGroupsSequence[0]
    frame = made.PerFrameFunctionalGroupsSequence[0]
    frame.PlaneOrientationSequence, frame.PixelMeasuresSequence = (
        shared.PlaneOrientationSequence,
        shared.PixelMeasuresSequence,
    )
    made.SharedFunctionalGroupsSequence = [Dataset()]
    assert only(made).sections[0].area_mm2 == 24


@pytest.mark.parametrize(("kind", "value", "inside"), [("PROBABILITY", 50, 24), ("OCCUPANCY", 49, 0)])
def test_fractions_count_from_half_the_maximum(kind: str, value: int, inside: int) -> None:
    """Value / Maximum Fractional Value >= 0.5, told with the kind of fraction."""
    frames = [BLOCK * value + BAR * 100]
    made = segmentation(frames, [(0, 0, 0)], [1], kind="FRACTIONAL", bits=8, MaximumFractionalValue=100)
    made.SegmentationFractionalType = kind
    roi = only(made)
    assert roi.sections[0].area_mm2 == inside + 9
    assert kind.lower() in roi.warnings[0]


@pytest.mark.parametrize(
    ("bits", "big_endian", "vr"), [(8, False, "OB"), (8, True, "OW"), (16, True, "OW"), (16, False, "OW")]
)
def test_label_maps_of_any_width_and_byte_order(bits: int, big_endian: bool, vr: str) -> None:
    """Numbers may have gaps; a value that is not described still becomes an ROI."""
    made = segmentation(
        [BLOCK * 3 + BAR * 200],
        [(0, 0, 0)],
        None,
        described=(0, 3, 9),
        kind="LABELMAP",
        bits=bits,
        big_endian=big_endian,
        vr=vr,
        PixelPaddingValue=0,
    )
    rois = {roi.number: roi for roi in read_seg(made)}
    assert rois[3].sections[0].area_mm2 == 24
    assert rois[200].sections[0].area_mm2 == 9
    assert rois[200].name == "Segment 200"
    assert "not described" in rois[200].warnings[0]
    assert rois[9].reasons == (Reason.ROI_EMPTY,)
    assert set(rois) == {3, 9, 200}


def test_background_is_what_the_object_marks() -> None:
    """Padding value, a segment typed Background, or an undescribed 0; a described 0 is a segment."""
    frames = [BLOCK * 5 + BAR]
    padded = segmentation(
        frames, [(0, 0, 0)], None, described=(0, 1), kind="LABELMAP", bits=8, PixelPaddingValue=5
    )
    assert [(roi.number, roi.sections[0].area_mm2) for roi in read_seg(padded)] == [(0, 30), (1, 9)]
    typed = segmentation(frames, [(0, 0, 0)], None, described=(5, 1), kind="LABELMAP", bits=8)
    typed.SegmentSequence[0].SegmentedPropertyTypeCodeSequence = [
        item(CodeValue="125040", CodingSchemeDesignator="DCM", CodeMeaning="Background")
    ]
    assert [(roi.number, roi.sections[0].area_mm2) for roi in read_seg(typed)] == [(1, 9)]


def test_a_described_segment_without_pixels_is_empty() -> None:
    """No frame, or frames without a pixel."""
    made = segmentation([BLOCK, BLOCK * 0], [(0, 0, 0), (0, 0, 1)], [1, 2], described=(1, 2, 3))
    assert [roi.reasons for roi in read_seg(made)] == [(), (Reason.ROI_EMPTY,), (Reason.ROI_EMPTY,)]


@pytest.mark.parametrize(
    "missing", ["FrameOfReferenceUID", "PlanePositionSequence", "PlaneOrientationSequence"]
)
def test_without_patient_coordinates_there_is_no_position(missing: str) -> None:
    """Projections and slides have no place in the patient."""
    made = segmentation([BLOCK], [(0, 0, 0)], [1])
    for owner in (made, made.SharedFunctionalGroupsSequence[0], made.PerFrameFunctionalGroupsSequence[0]):
        if missing in owner:
            delattr(owner, missing)
    assert only(made).reasons == (Reason.ROI_NO_POSITION,)


def run_length(frame: bytes) -> bytes:
    """One RLE segment of literal runs."""
    runs = b"".join(bytes([0, octet]) for octet in frame)
    return struct.pack("<16I", 1, 64, *([0] * 14)) + runs


@pytest.mark.parametrize("syntax", [RLELossless, "1.2.840.10008.1.2.8.1"])
def test_compressed_bits_that_cannot_be_decoded_are_refused(syntax: str) -> None:
    """One-bit RLE and deflated frames end as a reason with a sentence, not as a wrong mask."""
    made = segmentation([BLOCK], [(0, 0, 0)], [1])
    made.PixelData = encapsulate([run_length(np.packbits(BLOCK, bitorder="little").tobytes())])
    made["PixelData"].VR = "OB"
    made["PixelData"].is_undefined_length = True
    made.file_meta.TransferSyntaxUID = syntax
    roi = only(made)
    assert roi.reasons == (Reason.ROI_UNREADABLE,)
    assert syntax in roi.warnings[0]


def test_compressed_label_maps_are_decoded() -> None:
    """RLE of whole bytes is read like native pixels."""
    made = segmentation([BLOCK, BAR], [(0, 0, 0), (0, 0, 2)], None, kind="LABELMAP", bits=8)
    made.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    assert [section.area_mm2 for section in only(made).sections] == [24, 9]


@pytest.mark.parametrize("fault", ["short", "absent", "frames"])
def test_truncated_objects_are_unreadable(fault: str) -> None:
    """Fewer bytes or fewer frame descriptions than frames."""
    made = segmentation([BLOCK, BAR], [(0, 0, 0), (0, 0, 2)], [1, 1])
    if fault == "short":
        made.PixelData = made.PixelData[:8]
    elif fault == "absent":
        del made.PixelData
    else:
        made.PerFrameFunctionalGroupsSequence = made.PerFrameFunctionalGroupsSequence[:1]
    assert only(made).reasons == (Reason.ROI_UNREADABLE,)


@pytest.mark.parametrize(
    ("zs", "stated", "spacing"),
    [
        ((0, 5), 2.5, 2.5),  # an empty frame between was left out
        ((0, 5), None, 5),
        ((0, 1.25), 1.0, 1.25),  # the stated spacing contradicts the positions
        ((0, 2.5), -2.5, 2.5),
        ((0,), 3.0, 3.0),
        ((0,), None, 2.0),  # slice thickness
    ],
)
def test_the_distance_of_planes_comes_from_positions(zs: tuple, stated: float | None, spacing: float) -> None:
    """Spacing Between Slices is believed where every gap is a multiple of it; thickness only for a lone plane."""
    made = segmentation([BLOCK] * len(zs), [(0, 0, z) for z in zs], [1] * len(zs))
    if stated is not None:
        made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices = stated
    assert only(made).volume_mm3 == pytest.approx(24 * len(zs) * spacing)


def test_two_frames_of_one_segment_at_one_position_are_joined() -> None:
    """Pieces of one plane make one section."""
    roi = only(segmentation([BLOCK, BAR], [(0, 0, 0), (0, 0, 0)], [1, 1]))
    assert [section.area_mm2 for section in roi.sections] == [33]


def test_flipped_and_reversed_segmentations_land_on_the_same_pixels() -> None:
    """Rows that run the other way are placed by geometry."""
    plain = only(segmentation([BLOCK, BAR], [(0, 0, 0), (0, 0, 2)], [1, 1]))
    flipped = only(
        segmentation(
            [BAR[::-1, ::-1], BLOCK[::-1, ::-1]],
            [(8, 6, 2), (8, 6, 0)],
            [1, 1],
            orientation=(-1, 0, 0, 0, -1, 0),
        )
    )
    images = stack([0, 2])
    np.testing.assert_array_equal(rasterise_all(plain, images), rasterise_all(flipped, images))
    assert flipped.bounding_box_lps_mm == plain.bounding_box_lps_mm


def test_a_shifted_segmentation_is_not_copied_by_index() -> None:
    """The same matrix at another origin lands where it lies in the patient."""
    roi = only(segmentation([BLOCK], [(10, 5, 2)], [1]))
    filled = rasterise_all(roi, stack([0, 2]))[1]
    assert filled[6:10, 12:18].all()
    assert filled.sum() == 24


def test_source_images_are_named() -> None:
    """The referenced series' list in its order; each section names the image it was drawn on."""
    made = segmentation([BLOCK, BAR], [(0, 0, 0), (0, 0, 2)], [1, 1])
    made.ReferencedSeriesSequence = [
        item(
            SeriesInstanceUID="2.25.7", ReferencedInstanceSequence=[item(ReferencedSOPInstanceUID="2.25.71")]
        ),
        item(
            SeriesInstanceUID="2.25.8",
            ReferencedInstanceSequence=[item(ReferencedSOPInstanceUID=uid) for uid in ("2.25.83", "2.25.81")],
        ),
    ]
    source = item(ReferencedSOPInstanceUID="2.25.81", ReferencedFrameNumber=4)
    made.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence = [item(SourceImageSequence=[source])]
    roi = only(made)
    assert roi.referenced_series_uids == ("2.25.8",)
    assert roi.referenced_image_uids == ("2.25.83", "2.25.81")
    assert (roi.sections[0].sop_instance_uid, roi.sections[0].frame) == ("2.25.81", 4)
    assert roi.sections[1].sop_instance_uid is None


def test_codes_of_a_segment_are_kept() -> None:
    """Type before category."""
    made = segmentation([BLOCK], [(0, 0, 0)], [1])
    for keyword, value in (
        ("SegmentedPropertyCategoryCodeSequence", "49755003"),
        ("SegmentedPropertyTypeCodeSequence", "108369006"),
    ):
        setattr(
            made.SegmentSequence[0],
            keyword,
            [item(CodeValue=value, CodingSchemeDesignator="SCT", CodeMeaning="x")],
        )
    assert [code.value for code in only(made).codes] == ["108369006", "49755003"]


def test_equal_sections_go_to_the_lowest() -> None:
    """The tie rule holds for pixels too, where ties are common."""
    roi = only(segmentation([BLOCK] * 3, [(0, 0, 4), (0, 0, 2), (0, 0, 0)], [1] * 3))
    assert largest_section(roi).offset_mm == 0


def test_a_bare_object_has_no_rois() -> None:
    """Without its sequences a segmentation is empty, not an exception."""
    assert read_seg(item(SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4")) == ()
