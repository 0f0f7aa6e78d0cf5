"""The node among PACS that are down, full or picky, and archives that hold what it lacks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import components
import pytest
from components import wait_until
from node import NodeHere, ReceivingPacs, node_here, said_of
from pynetdicom.sop_class import ComprehensiveSRStorage, EnhancedSRStorage, SecondaryCaptureImageStorage
from studies import small_study

from prognode.domain.identity import in_class
from training.synthetic_dicom import file_bytes
from training.synthetic_study import SyntheticStudy


@pytest.fixture
def start(tmp_path: Path) -> Iterator:
    """Starts nodes that end with the test."""
    running: list[NodeHere] = []

    def start_one(pacs, **overrides) -> NodeHere:
        running.append(node_here(tmp_path / f"node{len(running)}", pacs, **overrides))
        return running[-1]

    yield start_one
    for node in running:
        node.stop()


@pytest.fixture
def study() -> SyntheticStudy:
    return small_study(seed=1100)


def deliveries(node: NodeHere, study: SyntheticStudy) -> dict[str, str]:
    """State of the report's delivery by PACS."""
    return {one["destination"]: one["state"] for one in node.show(study.study_uid)["deliveries"]}


# ---------------------------------------------------------------- where reports go


def test_a_pacs_that_was_down_gets_the_report_later(start, study: SyntheticStudy):
    """Two PACS, one down: the other gets report and figure at once; the first gets both when it is back, once each."""
    with ReceivingPacs("up") as up:
        down = ReceivingPacs("down")
        node = start([down, up])
        node.send(study.instances)
        up.wait_figures()
        wait_until(
            lambda: deliveries(node, study) == {"up": "stored", "down": "pending"},
            "one delivery, one pending",
        )
        with down:
            down.wait_reports()
            down.wait_figures()
            node.settle()
            assert deliveries(node, study) == {"up": "stored", "down": "stored"}
            assert {uid: len(data) for uid, data in down.received.items()} == dict.fromkeys(up.received, 1)
            assert up.received == down.received


def test_a_report_survives_the_node_s_restart_while_the_pacs_is_down(start, study: SyntheticStudy):
    """The node stops with an undelivered report and delivers it in its next life."""
    pacs = ReceivingPacs()
    node = start([pacs], scoring={"figure": False})
    node.send(study.instances)
    node.wait_state(study.study_uid, "preliminary")
    node.restart()
    with pacs:
        assert len(pacs.wait_reports()) == 1


@pytest.mark.parametrize("faults", [[0xA700] * 3, ["abort"] * 2, [0xA700, "abort", 0xC000, 0x0110]])
def test_a_pacs_that_is_full_or_aborts_gets_the_report_in_the_end(start, study: SyntheticStudy, faults: list):
    """Only 0x0000 counts: after each fault the same object comes again, and it is kept once."""
    with ReceivingPacs(faults=list(faults)) as pacs:
        node = start([pacs], scoring={"figure": False})
        node.send(study.instances)
        (report,) = pacs.wait_reports()
        node.settle()
        assert pacs.refused == len(faults)
        assert len(pacs.received[report.SOPInstanceUID]) == 1
        assert node.dead_letters() == []


@pytest.mark.parametrize("sop_class", [ComprehensiveSRStorage, EnhancedSRStorage])
def test_a_pacs_without_the_best_class_gets_a_fall_back(start, study: SyntheticStudy, sop_class: str):
    """A PACS that does not take Comprehensive 3D SR gets the next class, under that class's own UID."""
    with ReceivingPacs(sop_classes=[sop_class, SecondaryCaptureImageStorage]) as pacs:
        node = start([pacs], scoring={"figure": False})
        node.send(study.instances)
        (report,) = pacs.wait_reports()
        assert report.SOPClassUID == sop_class
        assert said_of(report)["status"] == "preliminary"
        own = node.wait_state(study.study_uid, "preliminary").outcome["sr"]["sop_instance_uid"]
        assert report.SOPInstanceUID == in_class(own, sop_class)


def test_an_object_that_a_pacs_never_takes_is_set_aside_with_the_reason(start, study: SyntheticStudy):
    """After five refusals for what it is, the report becomes a dead letter that says so; the case keeps its result."""
    with ReceivingPacs(faults=[0xC000] * 5) as pacs:
        node = start([pacs], scoring={"figure": False})
        node.send(study.instances)
        wait_until(node.dead_letters, "a dead letter")
        ((group, topic, why),) = node.dead_letters()
        assert (group, topic) == ("dispatcher", "delivery-requested")
        assert "refused 5 times" in why
        assert deliveries(node, study) == {"main": "failed"}
        assert node.case(study.study_uid).state == "preliminary"


# ---------------------------------------------------------------- where missing images come from


def held_back(study: SyntheticStudy) -> list:
    """Four needed slices of the arterial and two of the venous phase."""
    drawn = study.arterial_uids.index(study.truth["arterial"].largest_slice_uid)
    arterial, venous = study.images("arterial"), study.images("venous")
    return [arterial[drawn + step] for step in (-5, 0, 1, 5)] + [venous[drawn + step] for step in (0, 1)]


def archive_with(tmp_path: Path, study: SyntheticStudy, **how: object) -> components.Orthanc:
    """An Orthanc that holds every image of the study."""
    orthanc = components.start_orthanc(tmp_path, **how)
    for image in (*study.images("arterial"), *study.images("venous")):
        orthanc.upload(file_bytes(image))
    return orthanc


def as_source(orthanc: components.Orthanc, how: str = "c-get") -> dict[str, object]:
    return {
        "name": "archive",
        "ae_title": orthanc.ae_title,
        "host": "127.0.0.1",
        "port": orthanc.dicom_port,
        "store": False,
        "fetch": how,
    }


@pytest.mark.component
@pytest.mark.parametrize("whole_series", [True, False])
def test_missing_slices_are_fetched_and_no_others(start, tmp_path: Path, whole_series: bool):
    """The archive holds both series; after the grace the node has fetched exactly the needed slices that it lacked."""
    study = small_study(seed=1101, whole_series_references=whole_series)
    missing = held_back(study)
    unneeded = study.images("arterial")[0]
    archive = archive_with(tmp_path, study)
    try:
        with ReceivingPacs() as pacs:
            node = start([pacs, as_source(archive)], scoring={"figure": False})
            node.send([item for item in study.instances if item not in (*missing, unneeded)])
            (report,) = pacs.wait_reports()
            assert said_of(report)["status"] == "preliminary"
            node.settle()
            known = {instance.sop_instance_uid for instance in node.index.instances(study.study_uid)}
            assert {item.SOPInstanceUID for item in missing} <= known
            assert unneeded.SOPInstanceUID not in known
    finally:
        archive.discard()


@pytest.mark.component
def test_an_archive_that_was_down_is_asked_again(start, tmp_path: Path):
    """The node finds the archive down when it first needs it, and asks again after another quiet time."""
    study = small_study(seed=1102)
    missing = held_back(study)
    ports = {"DicomPort": components.free_port(), "HttpPort": components.free_port()}
    source = {
        "name": "archive",
        "ae_title": "ORTHANC",
        "host": "127.0.0.1",
        "port": ports["DicomPort"],
        "store": False,
        "fetch": "c-get",
    }
    with ReceivingPacs() as pacs:
        node = start([pacs, source], assembly={"grace_s": 0.5}, scoring={"figure": False})
        fetcher = node.life.services[-1].loops["assembler"].__self__.fetcher
        failed, look_again = threading.Event(), fetcher.on_failed
        fetcher.on_failed = lambda study_uid: (look_again(study_uid), failed.set())
        node.send([item for item in study.instances if item not in missing])
        assert failed.wait(60), "the archive was never asked"
        assert node.case(study.study_uid).state == "waiting"
        archive = archive_with(tmp_path, study, configuration=ports)
        try:
            assert len(pacs.wait_reports()) == 1
        finally:
            archive.discard()
