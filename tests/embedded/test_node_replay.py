"""The same inputs give the same report: on a replay, after a restart, on another machine and offline."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from node import NodeHere, ReceivingPacs, node_and_pacs, prognode, read, stored_report
from pydicom import Dataset
from studies import small_study

from prognode.dicom.sr_check import says_same
from training.synthetic_study import SyntheticStudy, write_study

STUDY_SEED = 900


@pytest.fixture(scope="module")
def study() -> SyntheticStudy:
    """The study of this module."""
    return small_study(seed=STUDY_SEED)


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory, study: SyntheticStudy
) -> Iterator[tuple[NodeHere, ReceivingPacs]]:
    """A node that has scored the study, with figure, and knows the covariates."""
    with node_and_pacs(tmp_path_factory.mktemp("node")) as (node, pacs):
        node.send(study.instances)
        pacs.wait_figures(1)
        node.case_command("set-clinical", study.study_uid, "--ki67", "35", "--m-stage", "M0")
        pacs.wait_figures(2)
        node.settle()
        yield node, pacs


@pytest.fixture
def node(shared) -> NodeHere:
    return shared[0]


@pytest.fixture
def pacs(shared) -> ReceivingPacs:
    return shared[1]


def replayed(node: NodeHere, pacs: ReceivingPacs, study: SyntheticStudy) -> Dataset:
    """The case's report after ``prognode case replay``; the PACS is sent it again, byte for byte the same."""
    before = pacs.reports()[-1]
    times = len(pacs.received[before.SOPInstanceUID])
    result = node.case_command("replay", study.study_uid)
    assert result.status == 0, result.errors
    node.settle()
    sent = pacs.received[before.SOPInstanceUID]
    assert len(sent) == times + 1
    assert len(set(sent)) == 1
    return before


def without_reports(node: NodeHere) -> None:
    """Lose what was computed; keep images, index and queue."""
    for kind in ("reports", "crops"):
        for path in (node.config.data / "objects" / kind).rglob("*"):
            if path.is_file():
                path.unlink()


def test_a_replay_gives_the_same_bytes(node: NodeHere, pacs: ReceivingPacs, study: SyntheticStudy):
    """``case replay``: the PACS receives the same object again, and no other one."""
    known = set(pacs.received)
    replayed(node, pacs, study)
    assert set(pacs.received) == known


def test_a_replay_after_a_restart_gives_the_same_bytes(
    node: NodeHere, pacs: ReceivingPacs, study: SyntheticStudy
):
    """The same from a new process life on the same data."""
    node.restart()
    replayed(node, pacs, study)
    assert node.case(study.study_uid).state == "reported"


def test_a_report_computed_anew_from_the_stored_images_has_the_same_bytes(
    node: NodeHere, pacs: ReceivingPacs, study: SyntheticStudy
):
    """Crops, features and reports are lost; the replay computes them again: same UID, same bytes, same predecessor."""
    without_reports(node)
    report = replayed(node, pacs, study)
    assert node.case(study.study_uid).outcome["sr"]["sop_instance_uid"] == report.SOPInstanceUID


def test_another_node_gives_the_same_identities(tmp_path: Path, pacs: ReceivingPacs, study: SyntheticStudy):
    """A second node, fed with the same study in another order, makes the same UIDs and numbers.

    Only the moment of acceptance differs, which the report gives as its date and time.
    """
    first = pacs.reports()[0]
    with node_and_pacs(tmp_path, scoring={"figure": False}) as (other, other_pacs):
        other.send(random.Random(1).sample(study.instances, len(study.instances)), 2)
        (second,) = other_pacs.wait_reports()
    differing = {element.keyword for element in first if second.get(element.tag) != element}
    assert second.SOPInstanceUID == first.SOPInstanceUID
    assert second.SeriesInstanceUID == first.SeriesInstanceUID
    assert differing <= {
        "ContentDate",
        "ContentTime",
        "SeriesDate",
        "SeriesTime",
        "InstanceCreationDate",
        "InstanceCreationTime",
        "ContentSequence",
    }


def test_score_offline_gives_what_the_node_gave(
    tmp_path: Path, node: NodeHere, pacs: ReceivingPacs, study: SyntheticStudy
):
    """``prognode score`` on the study's folder with the same covariates: the report of the node, number for number."""
    write_study(study, tmp_path / "study")
    result = prognode(
        "score",
        tmp_path / "study",
        "--clinical",
        "ki67=35,m_stage=M0",
        "--out",
        tmp_path / "out",
        "--config",
        node.config_path,
    )
    assert result.status == 0, result.errors
    offline = json.loads((tmp_path / "out" / "report.json").read_text())
    sr = read((tmp_path / "out" / "report.dcm").read_bytes())
    assert says_same(sr, offline) == []
    online = stored_report(node, pacs.reports()[-1].SOPInstanceUID)
    assert offline["sop_instance_uid"] == online["sop_instance_uid"]
    for report in (online, offline):
        for name in ("content_datetime", "predecessor_uid"):
            del report[name]
    assert offline == online
