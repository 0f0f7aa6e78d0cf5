"""A study in by C-STORE, one report back in the PACS: in whatever order, and however often, its parts arrive.

The shared node's grace is ten minutes: whatever happens in these tests happens because an instance became durable, and
never because time went by.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from copy import deepcopy
from itertools import count

import pytest
from node import (
    NodeHere,
    ReceivingPacs,
    node_and_pacs,
    send_over,
    start_node,
    stored_report,
)
from pydicom import Dataset
from studies import small_study

from prognode.dicom.sr_check import says_same
from services.receiver.header import Status
from training.synthetic_dicom import seeded_uid
from training.synthetic_study import SyntheticStudy

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
_seeds = count(100)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[NodeHere, ReceivingPacs]]:
    """One node and one PACS for the whole module: each test brings its own patient."""
    folder = tmp_path_factory.mktemp("node")
    with node_and_pacs(folder, assembly={"grace_s": 600.0}, scoring={"figure": False}) as running:
        yield running


@pytest.fixture
def study() -> SyntheticStudy:
    """A study that no other test sends."""
    return small_study(seed=next(_seeds))


def test_the_node_as_a_process_answers_a_study_with_report_and_figure(tmp_path):
    """``prognode up``: a study in by C-STORE gives one SR that says what the node's JSON says, then one figure.

    Nothing of the patient stands in the log, nor in any event.
    """
    study = small_study()
    with ReceivingPacs() as pacs:
        node = start_node(tmp_path, [pacs])
        try:
            node.send(study.instances)
            (report,) = pacs.wait_reports()
            (figure,) = pacs.wait_figures()
            node.settle()
            assert says_same(report, stored_report(node, report.SOPInstanceUID)) == []
            assert pacs.order == [report.SOPInstanceUID, figure.SOPInstanceUID]
            assert node.case(study.study_uid).state == "preliminary"
            events = b"".join(path.read_bytes() for path in (tmp_path / "data").glob("bus.sqlite*"))
            assert report.SOPInstanceUID.encode() in events
            for said in (node.log.read_bytes(), events):
                assert str(report.PatientID).encode() not in said
                assert str(report.PatientName).encode() not in said
        finally:
            node.stop()


# ---------------------------------------------------------------- order


def contours_last(study: SyntheticStudy) -> list[Dataset]:
    return [*study.images("arterial"), *study.images("venous"), *study.contours]


def contours_first(study: SyntheticStudy) -> list[Dataset]:
    return [*study.contours, *study.images("arterial"), *study.images("venous")]


def one_contour_first(study: SyntheticStudy) -> list[Dataset]:
    first, second = study.contours
    return [first, *study.images("venous"), *study.images("arterial"), second]


def shuffled(study: SyntheticStudy) -> list[Dataset]:
    return random.Random(3).sample(study.instances, len(study.instances))


@pytest.mark.parametrize(
    ("order", "associations"),
    [(contours_last, 1), (contours_first, 1), (one_contour_first, 2), (shuffled, 1), (shuffled, 4)],
)
def test_any_order_gives_one_report(node: NodeHere, pacs: ReceivingPacs, study, order, associations: int):
    """Contours last, first or in between, over one or several associations: one SR, and no more when all is done."""
    node.send(order(study), associations)
    (report,) = pacs.wait_reports(1, study.study_uid)
    node.settle()
    assert len(pacs.reports(study.study_uid)) == 1
    assert len(pacs.received[report.SOPInstanceUID]) == 1
    assert node.dead_letters() == []


def test_contours_days_later(node: NodeHere, pacs: ReceivingPacs, study):
    """A study without contours is no case and gives nothing; its contours start it whenever they come."""
    node.send([*study.images("arterial"), *study.images("venous")])
    node.settle()
    assert node.case(study.study_uid) is None
    assert pacs.reports(study.study_uid) == []
    node.send(study.contours)
    assert len(pacs.wait_reports(1, study.study_uid)) == 1


# ---------------------------------------------------------------- the last needed slice


@pytest.mark.parametrize("phase", ["arterial", "venous"])
@pytest.mark.parametrize("margin_mm", [0.0, 17.0])
def test_the_case_starts_with_the_last_slice_that_it_needs(
    node: NodeHere, pacs: ReceivingPacs, study, phase: str, margin_mm: float
):
    """With one needed slice missing, in the tumour or in the spline's margin, the case waits and names that slice.

    A slice that is not needed changes nothing; the needed one starts the case.
    """
    images = study.images(phase)
    drawn = [image.SOPInstanceUID for image in images].index(study.truth[phase].largest_slice_uid)
    needed = images[drawn + round(margin_mm / study.spec.slice_spacing_mm)]
    unneeded = images[0]
    node.send([item for item in study.instances if item not in (needed, unneeded)])
    node.settle()
    waits = node.show(study.study_uid)
    assert waits["state"] == "waiting"
    assert [wait["sop_instance_uid"] for wait in waits["assessment"]["waiting_for"]] == [
        needed.SOPInstanceUID
    ]
    node.send([unneeded])
    node.settle()
    assert node.show(study.study_uid)["state"] == "waiting"
    assert pacs.reports(study.study_uid) == []
    node.send([needed])
    assert len(pacs.wait_reports(1, study.study_uid)) == 1
    needs = {
        uid for need in node.show(study.study_uid)["assessment"]["needs"] for uid in need["sop_instance_uids"]
    }
    assert needed.SOPInstanceUID in needs
    assert unneeded.SOPInstanceUID not in needs


def test_a_study_of_which_only_the_needed_slices_come(node: NodeHere, pacs: ReceivingPacs, study):
    """The need-set and the contours are enough: the rest of both series is never asked for."""
    wanted = []
    for phase in ("arterial", "venous"):
        images = study.images(phase)
        drawn = [image.SOPInstanceUID for image in images].index(study.truth[phase].largest_slice_uid)
        wanted += images[drawn - 10 : drawn + 11]
    node.send([*wanted, *study.contours])
    assert len(pacs.wait_reports(1, study.study_uid)) == 1


# ---------------------------------------------------------------- what starts nothing


def as_another_series(images: list[Dataset], word: str, sop_class: str = "", **changes: str) -> list[Dataset]:
    """The same images as a series of their own."""
    made = []
    for image in images:
        copy = deepcopy(image)
        copy.SeriesInstanceUID = seeded_uid(7, word, str(image.SeriesInstanceUID))
        copy.SOPInstanceUID = copy.file_meta.MediaStorageSOPInstanceUID = seeded_uid(
            7, word, str(image.SOPInstanceUID)
        )
        if sop_class:
            copy.SOPClassUID = copy.file_meta.MediaStorageSOPClassUID = sop_class
        for keyword, value in changes.items():
            setattr(copy, keyword, value)
        made.append(copy)
    return made


def test_late_unrelated_series_start_nothing(node: NodeHere, pacs: ReceivingPacs, study):
    """A third CT series, an MR series and the images of the study once more: stored, and no second report."""
    node.send(study.instances)
    (report,) = pacs.wait_reports(1, study.study_uid)
    node.settle()
    before = node.case(study.study_uid)
    node.send(as_another_series(study.images("venous"), "delayed", SeriesDescription="SYNTHETIC delayed"))
    node.send(as_another_series(study.images("venous")[:3], "mr", MR_IMAGE, Modality="MR"))
    node.send(study.instances)
    node.settle()
    after = node.case(study.study_uid)
    assert (after.state, after.input_digest, after.outcome) == (
        before.state,
        before.input_digest,
        before.outcome,
    )
    assert len(pacs.received[report.SOPInstanceUID]) == 1
    assert len(pacs.reports(study.study_uid)) == 1


def test_other_bytes_under_a_known_uid_are_kept_out(node: NodeHere, pacs: ReceivingPacs, study):
    """A slice sent again with other content is refused, listed as a problem of the case, and changes no report."""
    node.send(study.instances)
    pacs.wait_reports(1, study.study_uid)
    forged = deepcopy(study.images("arterial")[20])
    forged.PixelData = bytes(len(forged.PixelData))
    (answer,) = send_over(node.port, [forged])
    assert answer.status == Status.DUPLICATE_INSTANCE
    node.settle()
    (problem,) = node.show(study.study_uid)["problems"]
    assert problem["kind"] == "other-bytes"
    assert forged.SOPInstanceUID in problem["detail"]
    assert len(pacs.reports(study.study_uid)) == 1


def test_the_node_s_own_report_coming_back_starts_nothing(node: NodeHere, pacs: ReceivingPacs, study):
    """A PACS that routes everything sends the report to the node as well: it is stored and nothing follows."""
    node.send(study.instances)
    (report,) = pacs.wait_reports(1, study.study_uid)
    node.settle()
    report.preamble = bytes(128)
    node.send([report])
    node.settle()
    assert len(pacs.reports(study.study_uid)) == 1
    assert node.case(study.study_uid).state == "preliminary"
