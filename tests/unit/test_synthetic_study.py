"""The synthetic study is what every other test rests on: it must be true to its own formulas and to the standard."""

from __future__ import annotations

import subprocess
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pydicom
import pytest
from components import require
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    RTStructureSetStorage,
    SegmentationStorage,
)
from studies import SMALL, small_spec, small_study

from prognode.errors import BadRequest
from training.synthetic_study import (
    DELAY_S,
    PHASES,
    generate_study,
    with_other_frame_of_reference,
    with_repeated_slice,
    with_tilt,
    with_uneven_gaps,
    without_slices,
    write_study,
)

OBLIQUE = (0.9961947, 0.0871557, 0.0, -0.0858317, 0.9810602, 0.1736482)
ORIENTATIONS = {
    "axial": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "rows run right": (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "columns run forward": (1.0, 0.0, 0.0, 0.0, -1.0, 0.0),
    "rotated in plane": (0.0, 1.0, 0.0, -1.0, 0.0, 0.0),
    "oblique": OBLIQUE,
}


def hounsfield(image):
    return image.pixel_array.astype(np.float64) * float(image.RescaleSlope) + float(image.RescaleIntercept)


def pixel_at(image, point_mm):
    """Value of the pixel nearest to a point in LPS mm, by the matrix of PS3.3 C.7.6.2.1.1."""
    cosines = np.array(image.ImageOrientationPatient, dtype=float)
    offset = np.asarray(point_mm) - np.array(image.ImagePositionPatient, dtype=float)
    column = offset @ cosines[:3] / float(image.PixelSpacing[1])
    row = offset @ cosines[3:] / float(image.PixelSpacing[0])
    return hounsfield(image)[round(row), round(column)]


def contour_points(structures, roi_number=1):
    (roi,) = (r for r in structures.ROIContourSequence if r.ReferencedROINumber == roi_number)
    return {
        c.ContourImageSequence[0].ReferencedSOPInstanceUID: np.array(c.ContourData, dtype=float).reshape(
            -1, 3
        )
        for c in roi.ContourSequence
    }


def shoelace_mm2(points, image):
    cosines = np.array(image.ImageOrientationPatient, dtype=float)
    x, y = points @ cosines[:3], points @ cosines[3:]
    return abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2


def test_two_series_and_two_contour_objects_share_study_patient_and_frame_of_reference():
    """A study is 2 x N images, one RTSTRUCT and one SEG of one patient in one Frame of Reference."""
    study = small_study()
    classes = [item.SOPClassUID for item in study.instances]
    assert classes.count(CTImageStorage) == 2 * SMALL.slices
    assert [c.SOPClassUID for c in study.contours] == [RTStructureSetStorage, SegmentationStorage]
    for keyword in ("StudyInstanceUID", "PatientID", "FrameOfReferenceUID", "AccessionNumber"):
        assert len({item[keyword].value for item in study.instances}) == 1
    assert len({item.SeriesInstanceUID for item in study.instances}) == 4
    assert len({item.SOPInstanceUID for item in study.instances}) == len(study.instances)


def test_every_object_says_that_it_is_synthetic():
    """No object can be mistaken for a patient's: name, id, study and series description say SYNTHETIC."""
    for item in small_study().instances:
        assert item.PatientName == "SYNTHETIC^STUDY"
        assert item.PatientID.startswith("SYNTHETIC-")
        assert item.PatientIdentityRemoved == "YES"
        assert "SYNTHETIC" in item.StudyDescription
        assert "SYNTHETIC" in item.SeriesDescription
        assert item.Manufacturer == "Prognode synthetic"


def test_same_spec_gives_the_same_bytes():
    """A second run writes every object byte for byte again, SEG included."""
    first, second = (list(generate_study(SMALL).files()) for _ in range(2))
    assert first == second


def test_another_seed_gives_other_uids_and_other_noise():
    """Studies of two seeds share no UID and no pixels, so that they may live in one archive."""
    one, two = small_study(), small_study(seed=2)
    assert not {i.SOPInstanceUID for i in one.instances} & {i.SOPInstanceUID for i in two.instances}
    assert one.study_uid != two.study_uid
    assert one.instances[0].PixelData != two.instances[0].PixelData


def test_uids_follow_from_the_seed_alone():
    """The same seed with another tumour is a conflicting re-send: same UIDs, other bytes."""
    one, two = small_study(), small_study(tumour_size_factor=1.2)
    assert [i.SOPInstanceUID for i in one.instances] == [i.SOPInstanceUID for i in two.instances]
    assert one.contours[0] != two.contours[0]


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_contours_lie_in_their_planes_and_match_the_formula(name):
    """In every orientation each contour lies in its image's plane and encloses the formula's area within 0.2 %."""
    study = small_study(orientation=ORIENTATIONS[name])
    images = {i.SOPInstanceUID: i for i in study.images("arterial")}
    points = contour_points(study.contours[0])
    truth = study.truth["arterial"]
    assert list(points) == list(truth.areas_mm2)
    for uid, outline in points.items():
        cosines = np.array(images[uid].ImageOrientationPatient, dtype=float)
        normal = np.cross(cosines[:3], cosines[3:])
        position = np.array(images[uid].ImagePositionPatient, dtype=float)
        assert np.abs((outline - position) @ normal).max() < 1e-3
        assert shoelace_mm2(outline, images[uid]) == pytest.approx(truth.areas_mm2[uid], rel=2e-3)


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_organs_are_where_they_should_be_in_every_orientation(name):
    """The aorta is bright in the arterial phase and dimmer in the venous one; the tumour and the air are in place."""
    study = small_study(orientation=ORIENTATIONS[name], noise_hu=0.0)
    for phase, aorta_hu in (("arterial", 320), ("venous", 150)):
        middle = study.images(phase)[SMALL.slices // 2]
        z = float(middle.ImagePositionPatient[2]) if name != "oblique" else 0.0
        assert pixel_at(middle, (15, 21, z)) == pytest.approx(aorta_hu, abs=5)
        corner = hounsfield(middle)[0, 0]
        assert corner == pytest.approx(-1000, abs=1)


def test_phases_differ_as_contrast_medium_does():
    """Arterial: aorta over portal vein over liver; venous: the portal vein and the liver have caught up."""
    study = small_study(noise_hu=0.0)
    value = {}
    for phase in PHASES:
        shift = np.array(study.spec.breath_shift_mm if phase == "venous" else (0, 0, 0))
        image = min(study.images(phase), key=lambda i: abs(float(i.ImagePositionPatient[2]) - 5))
        for organ, place in {"aorta": (15, 21, 0), "portal": (-12, 4, 0), "liver": (-90, -15, 0)}.items():
            value[phase, organ] = pixel_at(image, np.array(place) + shift)
    assert value["arterial", "aorta"] > value["arterial", "portal"] > value["arterial", "liver"]
    assert value["venous", "portal"] > value["venous", "aorta"]
    assert value["venous", "liver"] > value["arterial", "liver"] + 30


def test_enhancement_can_be_the_same_in_both_phases():
    """With ``enhancement='same'`` the aorta tells nothing about the phase."""
    study = small_study(noise_hu=0.0, enhancement="same", breath_shift_mm=(0.0, 0.0, 0.0))
    arterial, venous = (hounsfield(study.images(p)[20]) for p in PHASES)
    assert np.array_equal(arterial, venous)


def test_noise_has_the_asked_strength_and_is_independent_between_phases_and_slices():
    """Noise in air-free muscle and liver: the asked standard deviation, no correlation from slice to slice."""
    study = small_study()
    box = np.s_[55:68, 28:42]  # inside the liver
    patches = [hounsfield(i)[box] for p in PHASES for i in study.images(p)[16:20]]
    assert np.mean([patch.std() for patch in patches]) == pytest.approx(12.0, rel=0.25)
    for other in patches[1:]:
        assert abs(np.corrcoef(patches[0].ravel(), other.ravel())[0, 1]) < 0.3


def test_volume_truth_agrees_with_areas_times_spacing():
    """Formula volume and the sum of the slices' areas agree within 2 %."""
    study = small_study(slice_spacing_mm=1.0, slices=60)
    for phase in PHASES:
        truth = study.truth[phase]
        assert sum(truth.areas_mm2.values()) * 1.0 == pytest.approx(truth.volume_mm3, rel=0.02)


def test_largest_slice_is_the_one_with_the_largest_area():
    """The truth names the image with the largest area, and it is the plane nearest to the tumour's centre."""
    study = small_study()
    for phase in PHASES:
        truth = study.truth[phase]
        assert truth.largest_slice_uid == max(truth.areas_mm2, key=truth.areas_mm2.get)
        z = {i.SOPInstanceUID: float(i.ImagePositionPatient[2]) for i in study.images(phase)}
        nearest = min(z, key=lambda uid: abs(z[uid] - truth.centre_lps_mm[2]))
        assert truth.largest_slice_uid == nearest


@pytest.mark.parametrize("seg_type", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_segmentation_covers_the_formula(seg_type):
    """Voxels times voxel size agree with the formula's area per slice; each frame names its image."""
    study = small_study(seg_type=seg_type)
    seg, truth = study.contours[1], study.truth["venous"]
    voxel_mm2 = study.spec.row_spacing_mm * study.spec.column_spacing_mm
    area = defaultdict(float)
    for frame, item in zip(seg.pixel_array, seg.PerFrameFunctionalGroupsSequence, strict=True):
        uid = item.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        area[uid] += np.count_nonzero(frame) * voxel_mm2
    assert seg.SegmentationType == seg_type
    assert sum(area.values()) == pytest.approx(sum(truth.areas_mm2.values()), rel=0.02)
    assert area[truth.largest_slice_uid] == pytest.approx(truth.areas_mm2[truth.largest_slice_uid], rel=0.06)


def test_whole_series_or_contoured_images_only_are_referenced():
    """Both habits of real writers can be made, in RTSTRUCT and SEG."""
    for whole in (True, False):
        study = small_study(whole_series_references=whole)
        structures, seg = study.contours
        frame = structures.ReferencedFrameOfReferenceSequence[0]
        listed = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0].ContourImageSequence
        expected = SMALL.slices if whole else len(study.truth["arterial"].areas_mm2)
        assert len(listed) == expected
        expected = SMALL.slices if whole else len(study.truth["venous"].areas_mm2)
        assert len(seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == expected


def test_one_slice_contour_is_the_papers_way():
    """One contour per phase, on the largest slice."""
    study = small_study(one_slice_contour=True)
    assert list(contour_points(study.contours[0])) == [study.truth["arterial"].largest_slice_uid]
    assert study.contours[1].NumberOfFrames == 1


def test_further_rois_and_names():
    """Other structures stand beside the tumour, and the tumour may have any name."""
    study = small_study(
        further_rois=("Liver", "Isocentre"), arterial_roi_name="GTV 1", venous_roi_name="GTV 2"
    )
    structures, seg = study.contours
    assert [r.ROIName for r in structures.StructureSetROISequence] == ["GTV 1", "Liver", "Isocentre"]
    assert [s.SegmentLabel for s in seg.SegmentSequence] == ["GTV 2", "Liver", "Isocentre"]


@pytest.mark.parametrize("kinds", [("SEG", "RTSTRUCT"), ("NONE", "SEG"), ("NONE", "NONE")])
def test_contour_kinds_are_free_per_phase(kinds):
    """Either phase may be drawn as RTSTRUCT, SEG or not at all."""
    study = small_study(arterial_contour=kinds[0], venous_contour=kinds[1])
    expected = ["RTSTRUCT" if k == "RTSTRUCT" else "SEG" for k in kinds if k != "NONE"]
    assert [c.Modality for c in study.contours] == expected


def test_contrast_timing_can_be_right_absent_or_contradictory():
    """Right: 35 s and 70 s after the injection; contradictory: swapped; absent: no start time at all."""

    def delay_s(image):
        seconds = [
            int(t[:2]) * 3600 + int(t[2:4]) * 60 + int(t[4:6])
            for t in (image.ContrastBolusStartTime, image.AcquisitionTime)
        ]
        return seconds[1] - seconds[0]

    for timing, expected in (("right", (35, 70)), ("contradictory", (70, 35))):
        study = small_study(contrast_timing=timing)
        assert tuple(delay_s(study.images(p)[0]) for p in PHASES) == expected
    assert "ContrastBolusStartTime" not in small_study(contrast_timing="absent").images("arterial")[0]
    assert DELAY_S == {"arterial": 35.0, "venous": 70.0}


def test_descending_order_keeps_positions_and_turns_numbers():
    """Descending studies send and number from head to feet; the UID lists stay ascending."""
    study = small_study(descending=True)
    first, last = study.images("arterial")[0], study.images("arterial")[-1]
    assert float(first.ImagePositionPatient[2]) < float(last.ImagePositionPatient[2])
    assert (first.InstanceNumber, last.InstanceNumber) == (SMALL.slices, 1)
    assert study.instances[0].SOPInstanceUID == last.SOPInstanceUID


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        DeflatedExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        RLELossless,
        JPEGLossless,
        JPEGLosslessSV1,
        JPEGLSLossless,
        JPEG2000Lossless,
    ],
)
def test_every_transfer_syntax_holds_the_same_pixels(syntax, tmp_path):
    """Written to disk and read back, each syntax gives the pixels of the native study."""
    study = small_study(slices=20, transfer_syntax=syntax)
    path = write_study(study, tmp_path)[9]
    image = pydicom.dcmread(path)
    assert image.file_meta.TransferSyntaxUID == syntax
    native = small_study(slices=20).instances[9]
    assert native.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert np.array_equal(image.pixel_array, native.pixel_array)


def test_progress_counts_every_object():
    """The callback is told 1..N of N."""
    seen = []
    generate_study(replace(SMALL, slices=20), lambda done, total: seen.append((done, total)))
    assert seen == [(n, 42) for n in range(1, 43)]


def test_file_names_hold_no_patient_data(tmp_path):
    """Names are modality, series number and count."""
    study = small_study()
    names = [p.name for p in write_study(study, tmp_path)]
    assert len(names) == len(study.instances)
    assert names[0] == "ct-002-0001.dcm"
    assert not any(study.patient_id in n for n in names)


def test_tumour_between_the_slices_is_refused():
    """A tumour that no plane cuts has no truth: one sentence says so."""
    with pytest.raises(BadRequest, match="between or outside the slices"):
        generate_study(small_spec(tumour_centre_mm=(72.0, -12.0, 500.0)))


def test_changes_leave_the_shared_study_alone():
    """Each fault is planted in copies: the study it was made from stays whole."""
    study = small_study()
    before = [i.ImagePositionPatient[2] for i in study.images("arterial")]
    with_uneven_gaps(study, "arterial", 10, 4.0)
    with_tilt(study, "arterial")
    with_other_frame_of_reference(study, "arterial")
    assert [i.ImagePositionPatient[2] for i in study.images("arterial")] == before
    assert len(without_slices(study, "arterial", {3, 4}).images("arterial")) == SMALL.slices - 2


def test_planted_faults_are_what_they_say():
    """Uneven gap, tilt, foreign frame of reference and a repeated slice are really there."""
    study = small_study()
    z = [
        float(i.ImagePositionPatient[2]) for i in with_uneven_gaps(study, "venous", 10, 4.0).images("venous")
    ]
    assert z[10] - z[9] == pytest.approx(SMALL.slice_spacing_mm + 4.0)
    tilted = with_tilt(study, "venous", 10).images("venous")
    normal = np.cross(*np.array(tilted[0].ImageOrientationPatient, dtype=float).reshape(2, 3))
    step = np.subtract(*(np.array(tilted[i].ImagePositionPatient, dtype=float) for i in (1, 0)))
    assert np.degrees(np.arccos(normal @ step / np.linalg.norm(step))) == pytest.approx(10, abs=0.01)
    foreign = with_other_frame_of_reference(study, "arterial")
    assert foreign.images("arterial")[0].FrameOfReferenceUID != foreign.contours[0].FrameOfReferenceUID
    repeated = with_repeated_slice(study, "arterial", 5).instances
    assert len({i.SOPInstanceUID for i in repeated}) == len(study.instances) + 1


@pytest.mark.component
@pytest.mark.parametrize("changes", [{}, {"orientation": OBLIQUE}, {"seg_type": "FRACTIONAL"}], ids=str)
def test_dciodvfy_finds_no_errors(changes, tmp_path):
    """CT, RTSTRUCT and SEG are valid by dicom3tools: not an error, not a warning."""
    dciodvfy = require("dciodvfy", apt="dicom3tools")
    paths = write_study(small_study(**changes), tmp_path)
    for path in (paths[0], paths[SMALL.slices], *paths[-2:]):
        answer = subprocess.run([dciodvfy, "-new", path], capture_output=True, text=True, check=False)
        assert answer.returncode == 0, answer.stderr
        assert "Error" not in answer.stderr
        assert "Warning" not in answer.stderr
