"""A study in by C-STORE, one report back in the PACS: in whatever order, and however often, its parts arrive."""

from __future__ import annotations

import json
import random
from copy import deepcopy
from pathlib import Path

import pytest
from node import (
    node_and_pacs,
    predecessors_of,
    said_of,
    send_over,
    start_node,
    ReceivingPacs,
    stored_report,
)
from studies import small_study

from prognode.dicom.sr_check import says_same
from prognode.domain.identity import case_id
from training.synthetic_dicom import seeded_uid
from training.synthetic_study import SyntheticStudy


def test_the_node_as_a_process_answers_a_study_with_report_and_figure(tmp_path: Path):
    """``prognode up``: a study in by C-STORE gives one SR that says what the node's JSON says, then one figure."""
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
            text = node.log.read_text()
            assert str(report.PatientID) not in text
            assert str(report.PatientName) not in text
        finally:
            node.stop()


def contours_last(study: SyntheticStudy) -> list:
    return [*study.images("arterial"), *study.images("venous"), *study.contours]


def contours_first(study: SyntheticStudy) -> list:
    return [*study.contours, *study.images("arterial"), *study.images("venous")]


def one_contour_first(study: SyntheticStudy) -> list:
    first, second = study.contours
    return [first, *study.images("venous"), *study.images("arterial"), second]


def shuffled(study: SyntheticStudy) -> list:
    return random.Random(3).sample(study.instances, len(study.instances))


@pytest.mark.parametrize(
    ("order", "associations"),
    [(contours_last, 1), (contours_first, 1), (one_contour_first, 2), (shuffled, 1), (shuffled, 4)],
)
def test_any_order_gives_one_report_of_one_identity(tmp_path: Path, order, associations: int):
    """Contours last, first or in between, over one or several associations: one SR, the same in every order."""
    study = small_study()
    with node_and_pacs(tmp_path) as (node, pacs):
        node.send(order(study), associations)
        (report,) = pacs.wait_reports()
        pacs.wait_figures()
        node.settle()
        assert len(pacs.reports()) == 1
        assert report.SOPInstanceUID == expected_uid(tmp_path, report)
        assert node.dead_letters() == []


_seen: dict[str, str] = {}


def expected_uid(_tmp_path: Path, report) -> str:
    """The UID that the first order gave: all orders must agree."""
    return _seen.setdefault(str(report.StudyInstanceUID), str(report.SOPInstanceUID))
