"""What cannot be evaluated ends as a report in the PACS whose coded reason says why, or waits and says for what."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from itertools import count

import numpy as np
import pytest
from node import NodeHere, ReceivingPacs, comments_of, node_and_pacs, predecessors_of, said_of, start_node
from pydicom import Dataset
from pydicom.sequence import Sequence
from studies import small_study

from prognode.dicom.sr_check import viewer_problems
from training.synthetic_study import (
    SyntheticStudy,
    changed,
    with_repeated_slice,
    with_tilt,
    with_uneven_gaps,
    without_slices,
)

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
PET_IMAGE = "1.2.840.10008.5.1.4.1.1.128"
_seeds = count(500)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[NodeHere, ReceivingPacs]]:
    """One node that waits for little, and one PACS."""
    folder = tmp_path_factory.mktemp("node")
    with node_and_pacs(
        folder, assembly={"grace_s": 0.5, "give_up_s": 1.0}, scoring={"figure": False}
    ) as running:
        yield running


# ---------------------------------------------------------------- studies with a fault


def made(**spec: object) -> SyntheticStudy:
    return small_study(seed=next(_seeds), **spec)


def middle(study: SyntheticStudy) -> int:
    """Plane number of the largest cross-section in the arterial phase."""
    return study.arterial_uids.index(study.truth["arterial"].largest_slice_uid)


def with_contours(study: SyntheticStudy, change: Callable[[Dataset], None]) -> list[Dataset]:
    """The study's objects with ``change`` made to a copy of each contour object."""
    copies = [deepcopy(item) for item in study.contours]
    for copy in copies:
        change(copy)
    return [item for item in study.instances if item not in study.contours] + copies


def no_match() -> list[Dataset]:
    return list(
        made(arterial_roi_name="Liver", venous_roi_name="Spleen", venous_contour="RTSTRUCT").instances
    )


def several() -> list[Dataset]:
    return list(made(further_rois=("Tumour 2",)).instances)


def emptied() -> list[Dataset]:
    """Both structure sets name the tumour and hold no contour."""

    def empty(contours: Dataset) -> None:
        for item in contours.ROIContourSequence:
            item.ContourSequence = Sequence()

    return with_contours(made(venous_contour="RTSTRUCT"), empty)


def points_only() -> list[Dataset]:
    def to_points(contours: Dataset) -> None:
        for item in contours.ROIContourSequence:
            for contour in item.ContourSequence:
                contour.ContourGeometricType = "OPEN_PLANAR"

    return with_contours(made(venous_contour="RTSTRUCT"), to_points)


def tilted() -> list[Dataset]:
    return list(with_tilt(made(), "arterial").instances)


def uneven() -> list[Dataset]:
    study = made()
    return list(with_uneven_gaps(study, "venous", middle(study) + 2, 1.1).instances)


def with_a_hole() -> list[Dataset]:
    study = made()
    return list(without_slices(study, "arterial", {middle(study) + 1}).instances)


def with_a_twin() -> list[Dataset]:
    study = made()
    return list(with_repeated_slice(study, "arterial", middle(study)).instances)


def of_another_study() -> list[Dataset]:
    """Contours that name nothing of this study, in a frame of reference that its images do not have."""
    images, stranger = made(), made()
    contours = [deepcopy(item) for item in stranger.contours]
    for item in contours:
        for keyword in ("StudyInstanceUID", "PatientID", "PatientName", "AccessionNumber"):
            setattr(item, keyword, getattr(images.instances[0], keyword))
    return [*images.images("arterial"), *images.images("venous"), *contours]


def beside_the_images() -> list[Dataset]:
    """Contours that name the images and lie half a metre away."""

    def move(contours: Dataset) -> None:
        for item in contours.ROIContourSequence:
            for contour in item.ContourSequence:
                points = np.array(contour.ContourData, dtype=float).reshape(-1, 3) + np.array(
                    [500.0, 0.0, 0.0]
                )
                contour.ContourData = [f"{value:.3f}" for value in points.ravel()]

    return with_contours(made(venous_contour="RTSTRUCT"), move)


def above_the_images() -> list[Dataset]:
    """Contours that name nothing, in the frame of the images, above the last one."""

    def move(contours: Dataset) -> None:
        del contours.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence
        for item in contours.ROIContourSequence:
            for contour in item.ContourSequence:
                del contour.ContourImageSequence
                points = np.array(contour.ContourData, dtype=float).reshape(-1, 3) + np.array(
                    [0.0, 0.0, 500.0]
                )
                contour.ContourData = [f"{value:.3f}" for value in points.ravel()]

    return with_contours(made(venous_contour="RTSTRUCT"), move)


def of_modality(modality: str, sop_class: str) -> list[Dataset]:
    def change(_plane: int, image: Dataset) -> None:
        image.Modality = modality
        image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = sop_class

    study = made()
    return list(changed(changed(study, "arterial", change), "venous", change).instances)


def on_mr() -> list[Dataset]:
    return of_modality("MR", MR_IMAGE)


def on_pet() -> list[Dataset]:
    return of_modality("PT", PET_IMAGE)


def small_tumour() -> list[Dataset]:
    return list(made(tumour_semi_axes_mm=(2.0, 2.0, 4.0)).instances)


def large_tumour() -> list[Dataset]:
    return list(made(tumour_semi_axes_mm=(116.0, 17.0, 16.0), tumour_centre_mm=(0.0, -12.0, 11.3)).instances)


def contradictory() -> list[Dataset]:
    return list(made(contrast_timing="contradictory").instances)


def untimed() -> list[Dataset]:
    """Neither headers nor pixels tell the phases apart."""

    def forget(_plane: int, image: Dataset) -> None:
        del image.AcquisitionTime

    study = made(
        contrast_timing="absent",
        enhancement="same",
        arterial_description="SYNTHETIC abdomen 1",
        venous_description="SYNTHETIC abdomen 2",
    )
    return list(changed(changed(study, "arterial", forget), "venous", forget).instances)


@pytest.mark.parametrize(
    ("objects", "reason"),
    [
        (no_match, "roi-none"),
        (several, "roi-several"),
        (emptied, "roi-empty"),
        (points_only, "roi-type"),
        (tilted, "gantry-tilt"),
        (uneven, "uneven-gaps"),
        (with_a_hole, "slices-missing"),
        (with_a_twin, "same-position"),
        (of_another_study, "frame-mismatch"),
        (beside_the_images, "outside-images"),
        (above_the_images, "outside-images"),
        (on_mr, "wrong-modality"),
        (on_pet, "wrong-modality"),
        (small_tumour, "tumour-small"),
        (large_tumour, "tumour-large"),
        (contradictory, "phase-conflict"),
        (untimed, "phase-unknown"),
    ],
)
def test_a_case_that_cannot_be_evaluated_says_why_in_the_pacs(
    node: NodeHere, pacs: ReceivingPacs, objects: Callable[[], list[Dataset]], reason: str
):
    """The report that arrives has the status not evaluable and the coded reason; the case shows the same."""
    items = objects()
    study_uid = str(items[0].StudyInstanceUID)
    node.send(items)
    *_, report = pacs.wait_reports(1, study_uid)
    assert said_of(report) == {"status": "not-evaluable", "reason": reason}
    assert viewer_problems(report) == []
    case = node.wait_state(study_uid, "not-evaluable")
    assert case.outcome["reason"] == reason
    assert node.dead_letters() == []


def test_candidates_are_listed(node: NodeHere, pacs: ReceivingPacs):
    """Where no ROI or several match, report and case list what a person may choose from."""
    items = several()
    study_uid = str(items[0].StudyInstanceUID)
    node.send(items)
    *_, report = pacs.wait_reports(1, study_uid)
    candidates = node.wait_state(study_uid, "not-evaluable").outcome["candidates"]
    assert len(candidates) == 2
    assert any("Tumour 2" in candidate for candidate in candidates)
    assert {f"Candidate: {candidate}" for candidate in candidates} <= set(comments_of(report))


def test_an_unreadable_contour_object_stops_no_other_study(node: NodeHere, pacs: ReceivingPacs):
    """A SEG whose frames say nothing is answered with a report; the next study is scored as ever."""

    def spoil(contours: Dataset) -> None:
        if contours.Modality == "SEG":
            del contours.PerFrameFunctionalGroupsSequence

    items = with_contours(made(arterial_contour="SEG"), spoil)
    node.send(items)
    *_, report = pacs.wait_reports(1, str(items[0].StudyInstanceUID))
    assert said_of(report)["reason"] == "roi-unreadable"
    healthy = made()
    node.send(healthy.instances)
    pacs.wait_reports(1, healthy.study_uid)


def test_one_phase_alone_waits_and_says_so(node: NodeHere, pacs: ReceivingPacs):
    """With contours on one phase only, the case waits for contours on the other, and is scored when they come."""
    study = made()
    arterial, venous = study.contours
    node.send([*study.images("arterial"), *study.images("venous"), arterial])
    case = node.wait_state(study.study_uid, "waiting")
    node.settle()
    (wait,) = node.show(study.study_uid)["assessment"]["waiting_for"]
    assert wait["kind"] == "contours"
    assert "other phase" in wait["text"]
    assert case.outcome == {}
    node.send([venous])
    (report,) = pacs.wait_reports(1, study.study_uid)
    assert said_of(report)["status"] == "preliminary"


def test_a_structure_set_without_any_roi_waits_and_says_so(node: NodeHere, pacs: ReceivingPacs):
    """Contours may come in another object: the case waits for contours of the tumour."""

    def strip(contours: Dataset) -> None:
        contours.StructureSetROISequence = Sequence()
        contours.ROIContourSequence = Sequence()
        contours.RTROIObservationsSequence = Sequence()

    items = with_contours(made(venous_contour="RTSTRUCT"), strip)
    study_uid = str(items[0].StudyInstanceUID)
    node.send(items)
    node.wait_state(study_uid, "waiting")
    node.settle()
    (wait,) = node.show(study_uid)["assessment"]["waiting_for"]
    assert (wait["kind"], wait["text"]) == ("contours", "contours of the tumour")
    assert pacs.reports(study_uid) == []


def test_missing_slices_that_come_after_all_heal_the_case(node: NodeHere, pacs: ReceivingPacs):
    """After ``slices-missing`` has gone out, the late slice gives a scored report that supersedes the refusal."""
    study = made()
    late = study.images("arterial")[middle(study) + 1]
    node.send([item for item in study.instances if item is not late])
    *_, refusal = pacs.wait_reports(1, study.study_uid)
    assert said_of(refusal)["reason"] == "slices-missing"
    node.wait_state(study.study_uid, "not-evaluable")
    node.settle()
    node.send([late])
    *_, report = pacs.wait_reports(2, study.study_uid)
    assert said_of(report)["status"] == "preliminary"
    assert predecessors_of(report) == [refusal.SOPInstanceUID]


def test_a_refusal_without_an_image_goes_out_when_one_comes(tmp_path):
    """Contours that no rule matches and no image to pin a report to: state and log say so; the first image frees it."""
    study = made(arterial_roi_name="Liver", venous_roi_name="Liver")
    with ReceivingPacs() as pacs:
        node = start_node(
            tmp_path, [pacs], assembly={"grace_s": 0.5, "give_up_s": 1.0}, scoring={"figure": False}
        )
        try:
            node.send(study.contours)
            case = node.wait_state(study.study_uid, "not-evaluable")
            node.settle()
            assert node.case(study.study_uid).outcome["reason"] == "roi-none"
            assert pacs.order == []
            said = [event for event in node.events() if event["event"] == "refused-without-image"]
            assert [(one["case_id"], one["reason"]) for one in said] == [(case.case_id, "roi-none")]
            node.send(study.images("arterial")[:3])
            (report,) = pacs.wait_reports()
            assert said_of(report)["reason"] == "roi-none"
        finally:
            node.stop()
