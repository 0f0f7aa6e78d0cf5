"""Cards keep what later decisions need and nothing of the patient, whatever is wrong with the header."""

from __future__ import annotations

import json
from io import BytesIO

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from roi_objects import AXIAL, CT_SERIES, FRAME, ct_header, item, structure_set

from prognode.dicom.cards import ENHANCED_CT_IMAGE, card, planes_from_card
from prognode.dicom.ct import is_ct_image, usable_planes


def test_a_card_is_json_without_the_patient() -> None:
    """It travels through the index and logs are built from it."""
    header = ct_header(PatientID="secret", PatientBirthDate="19500101")
    written = json.dumps(card(header))
    assert "Synthetic" not in written
    assert "secret" not in written
    assert "19500101" not in written


def test_a_card_holds_the_evidence() -> None:
    """Times, contrast, description and numbers, under fixed names."""
    made = card(
        ct_header(
            SeriesDescription="Abdomen venous",
            SeriesNumber=4,
            InstanceNumber=17,
            AcquisitionNumber=2,
            AcquisitionTime="101112.5",
            ContrastBolusAgent="Iohexol",
            ContrastBolusStartTime="101010",
            SliceThickness=2.5,
        )
    )
    assert made["frame_of_reference_uid"] == FRAME
    assert made["series_instance_uid"] == CT_SERIES
    assert made["image_type"] == ["ORIGINAL", "PRIMARY", "AXIAL"]
    assert (made["series_description"], made["series_number"], made["instance_number"]) == (
        "Abdomen venous",
        4,
        17,
    )
    assert (made["acquisition_number"], made["acquisition_time"]) == (2, "101112.5")
    assert (made["contrast_bolus_agent"], made["contrast_bolus_start_time"]) == ("Iohexol", "101010")
    assert made["slice_thickness"] == 2.5
    assert made["problems"] == []


def test_a_classic_slice_has_one_plane() -> None:
    """Spacing is [between rows, between columns]."""
    (plane,) = planes_from_card(json.loads(json.dumps(card(ct_header(z=7.5, InstanceNumber=3)))))
    assert plane.position_lps_mm == (-10.0, -20.0, 7.5)
    assert (plane.row_cosines, plane.column_cosines) == ((1, 0, 0), (0, 1, 0))
    assert (plane.row_spacing_mm, plane.column_spacing_mm) == (0.5, 0.75)
    assert (plane.rows, plane.columns, plane.frame, plane.instance_number) == (4, 6, 1, 3)
    assert plane.sop_instance_uid == "2.25.400"


def enhanced() -> Dataset:
    """An enhanced CT of two frames, the second one below the first."""
    made = ct_header(SOPClassUID=ENHANCED_CT_IMAGE, NumberOfFrames=2)
    del made.ImagePositionPatient, made.ImageOrientationPatient, made.PixelSpacing
    made.SharedFunctionalGroupsSequence = [
        item(
            PlaneOrientationSequence=[item(ImageOrientationPatient=list(AXIAL))],
            PixelMeasuresSequence=[item(PixelSpacing=[0.5, 0.75], SliceThickness=2.0)],
        )
    ]
    made.PerFrameFunctionalGroupsSequence = [
        item(PlanePositionSequence=[item(ImagePositionPatient=[0, 0, z])]) for z in (4, 2)
    ]
    return made


def test_an_enhanced_image_has_a_plane_per_frame() -> None:
    """Geometry comes from the functional groups."""
    made = card(enhanced())
    assert [(plane.frame, plane.position_lps_mm[2]) for plane in planes_from_card(made)] == [(1, 4), (2, 2)]
    assert made["slice_thickness"] == 2.0


def test_a_frame_without_position_is_told() -> None:
    """The other frames stay."""
    broken = enhanced()
    del broken.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence
    made = card(broken)
    assert len(made["planes"]) == 1
    assert made["problems"] == ["frame 2: no usable position"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"ImagePositionPatient": None}, "position"),
        ({"ImagePositionPatient": [1, 2]}, "position"),
        ({"ImageOrientationPatient": None}, "orientation"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "orientation"),
        ({"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]}, "orientation"),
        ({"PixelSpacing": None}, "pixel spacing"),
        ({"PixelSpacing": [0, 0]}, "pixel spacing"),
        ({"Rows": None}, "matrix"),
    ],
)
def test_bad_geometry_gives_no_plane_and_a_problem(change: dict, problem: str) -> None:
    """Nothing raises; the card says what is wrong."""
    made = card(ct_header(**change))
    assert made["planes"] == []
    assert made["problems"] == [f"no usable {problem}"]


@pytest.mark.parametrize("raw", [b"1\\x\\3 ", b"NaN\\0\\0", b"", b"1\\2\\3\\4 "])
def test_values_that_are_no_numbers_do_not_raise(raw: bytes) -> None:
    """Header bytes as they come from files."""
    encoded = _written(ct_header())
    element = encoded.get_item("ImagePositionPatient")
    encoded._dict[element.tag] = element._replace(value=raw)
    made = card(encoded)
    assert made["planes"] == []
    assert made["problems"] == ["no usable position"]


def _written(header: Dataset) -> Dataset:
    out = BytesIO()
    header.save_as(out, implicit_vr=True, little_endian=True)
    return dcmread(BytesIO(out.getvalue()), force=True)


def test_other_objects_have_a_card_without_planes() -> None:
    """Structure sets and the rest carry their identity only."""
    made = card(structure_set([]))
    assert made["modality"] == "RTSTRUCT"
    assert made["planes"] == []
    assert not is_ct_image(made)
    assert card(Dataset())["sop_instance_uid"] == ""


def test_images_that_are_no_slices_are_left_out_with_a_note() -> None:
    """Localizers by type, dose sheets without position, sagittal reformats by orientation."""
    slices = [card(ct_header(z=float(z))) for z in range(5)]
    localizer = card(ct_header(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]))
    dose = card(ct_header(ImagePositionPatient=None))
    reformat = card(ct_header(ImageOrientationPatient=[0, 1, 0, 0, 0, -1]))
    planes, notes = usable_planes([localizer, *slices, dose, reformat, card(structure_set([]))])
    assert [plane.position_lps_mm[2] for plane in planes] == [0, 1, 2, 3, 4]
    assert len(notes) == 4
    assert any("LOCALIZER" in note for note in notes)
    assert any("position" in note for note in notes)
    assert any("orientation" in note for note in notes)


def test_a_slightly_turned_image_stays_to_be_refused() -> None:
    """Only gross differences are another kind of image; a small one is a fault of the series."""
    turned = card(ct_header(z=9.0, ImageOrientationPatient=[1, 0, 0, 0, 0.995004, 0.0998334]))
    planes, notes = usable_planes([card(ct_header(z=float(z))) for z in range(3)] + [turned])
    assert len(planes) == 4
    assert notes == ()


def test_a_series_of_reformats_is_a_volume() -> None:
    """Derived axial reformats are what contours are often drawn on."""
    derived = [
        card(ct_header(z=float(z), ImageType=["DERIVED", "SECONDARY", "REFORMATTED"])) for z in range(3)
    ]
    assert len(usable_planes(derived)[0]) == 3
    assert usable_planes([]) == ((), ())
