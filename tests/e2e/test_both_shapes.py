"""The whole way of a study, in one process and in processes on real servers: one suite, passed by both shapes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from components import wait_until
from distributed_node import distributed_node
from node import NodeFolder, ReceivingPacs, node_here, predecessors_of, prognode, said_of
from studies import small_study

from prognode.dicom.part10 import data_set_of
from training.synthetic_study import without_slices

pytestmark = pytest.mark.component


@dataclass
class Shape:
    """A running node and its PACS."""

    name: str
    node: NodeFolder
    pacs: ReceivingPacs


@pytest.fixture(scope="module", params=["embedded", "distributed"])
def shape(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shape]:
    """One node of each shape for all tests of this file."""
    folder = tmp_path_factory.mktemp(request.param)
    start = node_here if request.param == "embedded" else distributed_node
    with ReceivingPacs() as pacs:
        node = start(folder, [pacs])
        try:
            yield Shape(request.param, node, pacs)
        finally:
            node.stop()


@pytest.fixture
def node(shape) -> NodeFolder:
    return shape.node


@pytest.fixture
def pacs(shape) -> ReceivingPacs:
    return shape.pacs


def test_study_in_report_and_figure_out(node, pacs):
    """Images and contours in by C-STORE; a structured report and its figure in the PACS; every object stored as it came."""
    study = small_study(seed=7001)
    node.send(study.instances, associations=2)
    (report,) = pacs.wait_reports(1, study.study_uid)
    assert said_of(report) == {"status": "preliminary"}
    pacs.wait_figures(1, study.study_uid)
    node.settle()
    assert node.case(study.study_uid).state == "preliminary"
    for item in study.instances:
        row = node.index.instance(item.SOPInstanceUID)
        assert len(bytes(data_set_of(node.objects.get(row.object_key)))) == row.size_bytes


def test_contours_first_or_last_makes_no_difference(node, pacs):
    """The case starts when its need-set is durable, whatever came first."""
    study = small_study(seed=7002)
    images = [item for item in study.instances if item not in study.contours]
    node.send([*study.contours, *images])
    (report,) = pacs.wait_reports(1, study.study_uid)
    assert said_of(report) == {"status": "preliminary"}


def test_covariates_supersede_the_preliminary_report(node, pacs):
    """`case set-clinical` on the same settings: a final report that names its predecessor."""
    study = small_study(seed=7003)
    node.send(study.instances)
    (first,) = pacs.wait_reports(1, study.study_uid)
    node.wait_state(study.study_uid, "preliminary")
    ended = node.case_command("set-clinical", study.study_uid, "--ki67", "35", "--m-stage", "M0")
    assert ended.status == 0, ended.errors
    _, second = pacs.wait_reports(2, study.study_uid)
    assert said_of(second) == {"status": "final"}
    assert predecessors_of(second) == [first.SOPInstanceUID]


def test_what_cannot_be_evaluated_is_a_report_that_says_so(node, pacs):
    """A second tumour of the same name in one series: refused with the reason and the candidates."""
    study = small_study(seed=7004, further_rois=("tumour, second",))
    node.send(study.instances)
    (report,) = pacs.wait_reports(1, study.study_uid)
    assert said_of(report) == {"status": "not-evaluable", "reason": "roi-several"}


def test_missing_slices_are_waited_for(node, pacs):
    """No report while the need-set has a hole; the last slice starts the case."""
    study = small_study(seed=7005)
    short = without_slices(study, "arterial", {19, 20, 21})
    kept = {item.SOPInstanceUID for item in short.instances}
    node.send(short.instances)
    case = node.wait_state(study.study_uid, "waiting")
    assert case.assessment["waiting_for"]
    assert pacs.reports(study.study_uid) == []
    node.send([item for item in study.instances if item.SOPInstanceUID not in kept])
    pacs.wait_reports(1, study.study_uid)


def test_a_pacs_that_refuses_or_is_gone_gets_its_report_later(node, pacs):
    """Out of resources, an abort, then gone for a moment: one report in the end, and no dead letter."""
    study = small_study(seed=7006)
    pacs.faults[:] = [0xA700, "abort", 0xA700]
    node.send(study.instances)
    pacs.wait_reports(1, study.study_uid)
    node.settle()
    other = small_study(seed=7007)
    pacs.close()
    node.send(other.instances)
    wait_until(lambda: node.case(other.study_uid) and node.case(other.study_uid).outcome.get("sr"), "scoring")
    pacs.open()
    pacs.wait_reports(1, other.study_uid)
    node.settle()
    for sent in (study, other):
        (report,) = pacs.reports(sent.study_uid)
        assert len(set(pacs.received[report.SOPInstanceUID])) == 1
    assert node.dead_letters() == []


def test_a_replay_gives_the_same_bytes(node, pacs):
    """The same object goes out once more."""
    study = small_study(seed=7008)
    node.send(study.instances)
    (report,) = pacs.wait_reports(1, study.study_uid)
    pacs.wait_figures(1, study.study_uid)
    node.settle()
    times = len(pacs.received[report.SOPInstanceUID])
    ended = node.case_command("replay", study.study_uid)
    assert ended.status == 0, ended.errors
    wait_until(lambda: len(pacs.received[report.SOPInstanceUID]) > times, "the report's second arrival")
    node.settle()
    assert len(pacs.reports(study.study_uid)) == 1
    assert len(set(pacs.received[report.SOPInstanceUID])) == 1


def test_a_dead_letter_is_seen_and_replayed(node, pacs):
    """The crops of a case are damaged: the message is set aside with a reason; mended and replayed it gives the report."""
    study = small_study(seed=7009)
    node.send(study.instances)
    pacs.wait_reports(1, study.study_uid)
    pacs.wait_figures(1, study.study_uid)
    node.settle()
    case = node.case(study.study_uid)
    crops = case.outcome["crop_key"]
    whole = node.objects.get(crops)
    node.objects.put(crops, b"no archive")
    node.case_command("set-clinical", study.study_uid, "--ki67", "20", "--m-stage", "M1")
    wait_until(lambda: len(node.dead_letters()) == 1, "a dead letter")
    assert node.dead_letters()[0][:2] == ("scoring", "clinical-updated")
    listed = prognode("dlq", "list", "--config", node.config_path)
    assert case.case_id in listed.output
    node.objects.put(crops, whole)
    ended = prognode("dlq", "replay", "--all", "--config", node.config_path)
    assert ended.status == 0, ended.errors
    _, second = pacs.wait_reports(2, study.study_uid)
    assert said_of(second) == {"status": "final"}
    assert node.dead_letters() == []


def test_restarting_everything_loses_nothing(shape):
    """Stopped in good order and started again; a study that was half there goes on."""
    node, pacs = shape.node, shape.pacs
    study = small_study(seed=7010)
    half = len(study.instances) // 2
    node.send(study.instances[:half])
    node.restart()
    node.send(study.instances[half:])
    pacs.wait_reports(1, study.study_uid)
    pacs.wait_figures(1, study.study_uid)
    node.settle()
    assert Path(node.config_path).exists()
