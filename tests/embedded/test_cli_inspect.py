"""``prognode inspect``: what the node would decide, on one phase, on odd files, on hundreds of series; nothing is stored."""

from __future__ import annotations

import json
import shutil
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from node import prognode
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_files
from roi_objects import FRAME, SQUARE, at, contour, ct_image, segmentation, structure_set
from studies import small_study

from apps.inspect_files import inspect_files
from prognode.errors import BadRequest
from training.synthetic_dicom import file_bytes
from training.synthetic_study import (
    SyntheticStudy,
    with_other_frame_of_reference,
    with_repeated_slice,
    with_tilt,
    with_uneven_gaps,
    without_slices,
    write_study,
)

ROI_KEYS = {
    "kind",
    "number",
    "name",
    "series_instance_uid",
    "status",
    "reasons",
    "volume_mm3",
    "largest_slice",
    "bounding_box_lps_mm",
    "areas_mm2",
}


def json_of(*places: Path) -> dict:
    """What ``inspect --json`` prints."""
    result = prognode("inspect", *places, "--json")
    assert (result.status, result.errors) == (0, ""), result
    return json.loads(result.output)


def written(study: SyntheticStudy, folder: Path) -> Path:
    write_study(study, folder)
    return folder


def write(folder: Path, *datasets: Dataset) -> Path:
    """Objects as files, named by their place in the list."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, dataset in enumerate(datasets):
        (folder / f"{index:04d}.dcm").write_bytes(file_bytes(dataset))
    return folder


def middle(study: SyntheticStudy) -> int:
    return study.arterial_uids.index(study.truth["arterial"].largest_slice_uid)


def contours(found: dict, kind: str) -> dict:
    (roi,) = [roi for roi in found["rois"] if roi["kind"] == kind]
    return roi


# ---------------------------------------------------------------- a whole study


@pytest.fixture(scope="module")
def study() -> SyntheticStudy:
    return small_study(seed=700)


@pytest.fixture(scope="module")
def folder(study: SyntheticStudy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(study, tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def found(folder: Path) -> dict:
    return json_of(folder)


def test_a_whole_study_is_ready_with_both_phases(found, study):
    """State, phases with their evidence, spacing, orientation, and the need-set of each phase."""
    assert (found["case"]["state"], found["case"]["reasons"], found["problems"]) == ("ready", [], [])
    spec = study.spec
    for series in found["series"]:
        assert series["modality"] == "CT"
        assert series["phase"]["phase"] in {"arterial", "venous"}
        assert {item["kind"] for item in series["phase"]["evidence"]} == {
            "timing",
            "hounsfield",
            "description",
        }
        assert series["spacing"] == [spec.column_spacing_mm, spec.row_spacing_mm, spec.slice_spacing_mm]
        assert series["orientation"] == [1, 0, 0, 0, 1, 0]
    assert {one["series_instance_uid"] for one in found["case"]["need_set"]} == {
        one["uid"] for one in found["series"]
    }
    for need in found["case"]["need_set"]:
        assert set(need["sop_instance_uids"]) <= {*study.arterial_uids, *study.venous_uids}
        assert need["missing"] == []
        assert need["window"] is not None


def test_each_roi_says_what_it_is_and_where(found, study):
    """Every field of a ROI entry; the series and the largest slice are those of the images it was drawn on."""
    assert [roi["kind"] for roi in found["rois"]] == ["RTSTRUCT", "SEG"]
    for roi, phase in zip(found["rois"], ("arterial", "venous"), strict=True):
        assert roi.keys() >= ROI_KEYS
        assert (roi["status"], roi["reasons"]) == ("evaluable", [])
        series = next(one for one in found["series"] if one["uid"] == roi["series_instance_uid"])
        assert series["phase"]["phase"] == phase
        assert roi["largest_slice"]["sop_instance_uid"] == study.truth[phase].largest_slice_uid
        assert roi["areas_mm2"][str(roi["largest_slice"]["z_mm"])] == roi["largest_slice"]["area_mm2"]
        assert roi["object_series_instance_uid"] != roi["series_instance_uid"]


def test_what_people_read_fits_eighty_columns_and_says_the_same(folder, found):
    """The plain output: state, phases, both ROIs; only UIDs and paths may be longer than a line."""
    result = prognode("inspect", folder)
    assert result.status == 0
    assert "case: ready" in result.output
    for roi in found["rois"]:
        assert f"{roi['volume_mm3'] / 1000:.2f}" in result.output
    assert [line for line in result.output.splitlines() if len(line) > 80 and "2.25." not in line] == []


def test_nothing_is_stored(folder, tmp_path, monkeypatch):
    """Neither beside the files, nor at home, nor in the working folder."""
    home, here = tmp_path / "home", tmp_path / "here"
    here.mkdir()
    monkeypatch.setenv("PROGNODE_HOME", str(home))
    monkeypatch.chdir(here)
    before = sorted(folder.rglob("*"))
    json_of(folder)
    assert sorted(folder.rglob("*")) == before
    assert not home.exists()
    assert list(here.iterdir()) == []


# ---------------------------------------------------------------- less than a study


def test_one_phase_is_measured_and_waits_for_the_other(study, tmp_path):
    """The ROI of the phase that is here is evaluable; the case says that the other phase is missing."""
    kept = [
        i for i in study.instances if i.Modality == "RTSTRUCT" or str(i.SOPInstanceUID) in study.arterial_uids
    ]
    found = json_of(write(tmp_path, *kept))
    assert contours(found, "RTSTRUCT")["status"] == "evaluable"
    assert found["case"]["state"] == "waiting"
    assert [reason["code"] for reason in found["case"]["reasons"]] == ["phase-single"]
    assert len(found["case"]["need_set"]) == 1
    assert found["series"][0]["phase"]["phase"] == "arterial"


def test_images_alone_wait_for_contours(study, tmp_path):
    """A study without contours has no ROI, and says so."""
    found = json_of(write(tmp_path, *(i for i in study.instances if i.Modality == "CT")))
    assert found["rois"] == []
    assert [reason["code"] for reason in found["case"]["reasons"]] == ["roi-none"]


def test_contours_alone_are_measured(study, tmp_path, found):
    """Volume, areas, box and largest slice need no images; the slice is the one that the object names."""
    lone = json_of(write(tmp_path, *(i for i in study.instances if i.Modality != "CT")))
    for roi, whole in zip(lone["rois"], found["rois"], strict=True):
        assert (roi["status"], roi["reasons"]) == ("not evaluable", ["slices-missing"])
        for key in ("volume_mm3", "bounding_box_lps_mm", "areas_mm2", "largest_slice", "series_instance_uid"):
            assert roi[key] == whole[key]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (lambda s: with_tilt(s, "arterial"), "gantry-tilt"),
        (lambda s: with_uneven_gaps(s, "arterial", middle(s), 2.0), "uneven-gaps"),
        (lambda s: with_repeated_slice(s, "arterial", middle(s)), "same-position"),
        (lambda s: without_slices(s, "arterial", {middle(s)}), "slices-missing"),
    ],
)
def test_a_fault_of_one_phase_is_told_of_its_roi_alone(study, tmp_path, fault, reason):
    """The status of a ROI is what the node would decide about it; the other phase's stays evaluable."""
    found = json_of(written(fault(study), tmp_path))
    assert contours(found, "RTSTRUCT")["reasons"] == [reason]
    assert contours(found, "SEG")["status"] == "evaluable"
    assert found["case"]["state"] == "not-evaluable"
    assert [one["code"] for one in found["case"]["reasons"]] == [reason]


def test_a_name_that_no_rule_takes_does_not_make_a_roi_unevaluable(tmp_path):
    """Status is about geometry and images; which ROI is the tumour is the case's question."""
    study = small_study(seed=701, arterial_roi_name="Region 1", venous_roi_name="Region 2")
    found = json_of(written(study, tmp_path))
    assert {roi["status"] for roi in found["rois"]} == {"evaluable"}


# ---------------------------------------------------------------- several studies


def test_contours_of_another_study_than_their_images_are_measured_and_refused(study, tmp_path):
    """The node looks for images in the contours' own study: the entry says which studies are meant."""
    moved = [deepcopy(item) if item.Modality == "RTSTRUCT" else item for item in study.instances]
    for item in moved:
        if item.Modality == "RTSTRUCT":
            item.StudyInstanceUID = "2.25.999"
    found = json_of(write(tmp_path, *moved))
    roi = contours(found, "RTSTRUCT")
    assert (roi["status"], roi["reasons"]) == ("not evaluable", ["slices-missing"])
    assert "2.25.999" in roi["remarks"][-1]
    assert roi["largest_slice"]["sop_instance_uid"] in study.arterial_uids
    assert any("2 studies" in problem for problem in found["problems"])


def test_of_several_studies_the_readiest_is_the_case(study, folder, tmp_path):
    """One case, the others in short, and a problem that says so."""
    other = written(without_slices(small_study(seed=702), "venous", set(range(40))), tmp_path)
    found = json_of(other, folder)
    assert found["case"]["state"] == "ready"
    assert found["case"]["study_uid"] == str(study.instances[0].StudyInstanceUID)
    assert [one["state"] for one in found["other_cases"]] == ["waiting"]
    assert len(found["series"]) == 3


# ---------------------------------------------------------------- odd files


def test_a_second_copy_is_no_news_and_other_bytes_are_kept_out(folder, tmp_path):
    """The same object twice changes nothing; the same UID with other bytes is named as a problem."""
    copies = tmp_path / "copies"
    shutil.copytree(folder, copies)
    assert json_of(folder, copies) == json_of(folder)
    image = next(path for path in sorted(copies.iterdir()) if dcmread(path).Modality == "CT")
    changed = dcmread(image)
    changed.SeriesDescription = "other"
    changed.save_as(image)
    (problem,) = json_of(folder, copies)["problems"]
    assert problem.startswith(f"{image}: the same SOP Instance UID")


def test_another_patient_under_the_study_is_kept_out(study, tmp_path):
    """As the receiver would: the first Patient ID owns the study."""
    items = [deepcopy(item) for item in study.instances[:3]]
    items[2].PatientID = "somebody else"
    found = json_of(write(tmp_path, *items))
    assert [problem.split(": ")[1] for problem in found["problems"]] == [
        "another Patient ID than other objects of its study; left out"
    ]


def test_a_truncated_image_is_kept_out(study, tmp_path):
    """Half an image is no image: the node would refuse it."""
    folder = write(tmp_path, *study.instances[:4])
    path = folder / "0001.dcm"
    path.write_bytes(path.read_bytes()[:-1000])
    found = json_of(folder)
    assert "the node would refuse it" in found["problems"][0]
    assert sum(series["images"] for series in found["series"]) == len(study.instances[:4]) - 1


def whole(dataset: Dataset, **elements: object) -> Dataset:
    """An object with the identity that the receiver asks for."""
    identity = {
        "PatientID": "SYNTHETIC",
        "StudyInstanceUID": "2.25.1000",
        "SeriesInstanceUID": "2.25.1001",
        "SOPClassUID": dataset.get("SOPClassUID"),
    }
    for keyword, value in {**identity, **elements}.items():
        setattr(dataset, keyword, value)
    if not hasattr(dataset, "file_meta"):
        dataset.file_meta = Dataset()
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    return dataset


def test_a_roi_in_an_odd_state_does_not_void_the_others(tmp_path):
    """Empty, a point, an unknown type: each says why, and the good one beside them is measured."""
    good = [contour(at(SQUARE, z)) for z in (0.0, 2.0, 4.0)]
    odd = structure_set(
        [
            (1, "[/bold] :smile: Łęg", good),
            (2, "nothing", None),
            (3, "point", [contour([(0, 0, 0)], "POINT")]),
            (4, "open", [contour(at(SQUARE, 0.0), "OPEN_PLANAR")]),
        ]
    )
    folder = write(tmp_path, whole(odd))
    found = json_of(folder)
    assert [roi["reasons"] for roi in found["rois"]] == [
        ["slices-missing"],
        ["roi-empty"],
        ["roi-type"],
        ["roi-type"],
    ]
    first = found["rois"][0]
    assert first["volume_mm3"] == pytest.approx(600.0)
    assert first["areas_mm2"] == {"0.0": 100.0, "2.0": 100.0, "4.0": 100.0}
    assert first["largest_slice"] == {"sop_instance_uid": None, "z_mm": 0.0, "area_mm2": 100.0}
    assert first["bounding_box_lps_mm"] == {"min": [0.0, 0.0, 0.0], "max": [10.0, 10.0, 4.0]}
    assert [roi["largest_slice"] for roi in found["rois"][1:]] == [None, None, None]
    assert "[/bold]" in prognode("inspect", folder).output


def test_upright_planes_keep_their_areas_apart(tmp_path):
    """Sagittal frames share their z: areas are listed by the position along the normal, none is lost."""
    mask = np.ones((8, 8), bool)
    sagittal = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
    upright = segmentation(
        [mask] * 3, [(x, 0.0, 0.0) for x in (0.0, 2.0, 4.0)], [1] * 3, orientation=sagittal
    )
    (roi,) = json_of(write(tmp_path, whole(upright)))["rois"]
    assert sorted(roi["areas_mm2"].values()) == [64.0, 64.0, 64.0]


def test_pydicoms_own_test_files_never_end_in_a_traceback():
    """Every file alone: a JSON object, or one sentence."""
    for name in get_testdata_files():
        path = Path(name)
        if not path.is_file():
            continue
        try:
            assert json.dumps(inspect_files([path]), allow_nan=False)
        except BadRequest as sentence:
            assert path.name in str(sentence)


def test_a_wrong_frame_of_reference_without_references_is_told(study, tmp_path):
    """Contours that name nothing and lie in another frame cannot be placed."""
    changed = with_other_frame_of_reference(study, "arterial")
    items = [
        deepcopy(item)
        for item in changed.instances
        if item.Modality == "RTSTRUCT" or str(item.SOPInstanceUID) in study.arterial_uids
    ]
    for item in items:
        if item.Modality == "RTSTRUCT":
            del item.ReferencedFrameOfReferenceSequence
            for one in item.ROIContourSequence:
                for each in one.ContourSequence:
                    each.pop("ContourImageSequence", None)
    roi = contours(json_of(write(tmp_path, *items)), "RTSTRUCT")
    assert (roi["reasons"], roi["series_instance_uid"]) == (["frame-mismatch"], "")


# ---------------------------------------------------------------- hundreds of series


def test_hundreds_of_series_are_listed_without_a_word_of_progress(tmp_path):
    """300 series of three images and their contours: each is listed, and standard error stays empty."""
    values = np.zeros((4, 6), np.int16)
    items = []
    for series in range(300):
        uid = f"2.25.{5000 + series}"
        items += [
            whole(
                ct_image(
                    values,
                    SOPInstanceUID=f"{uid}.{image}",
                    InstanceNumber=image + 1,
                    ImagePositionPatient=[0.0, 0.0, 3.0 * image],
                    FrameOfReferenceUID=FRAME,
                ),
                SeriesInstanceUID=uid,
            )
            for image in range(3)
        ]
        items.append(
            whole(
                structure_set(
                    [(1, "tumour", [contour(at(SQUARE, 3.0), image=f"{uid}.1")])],
                    {uid: [f"{uid}.{i}" for i in range(3)]},
                ),
                SOPInstanceUID=f"{uid}.9",
                SeriesInstanceUID=f"{uid}.8",
            )
        )
    found = json_of(write(tmp_path, *items))
    assert len(found["series"]) == 300
    assert {tuple(roi["areas_mm2"].items()) for roi in found["rois"]} == {(("3.0", 100.0),)}
    assert {roi["series_instance_uid"] for roi in found["rois"]} == {one["uid"] for one in found["series"]}
    assert found["problems"] == []
