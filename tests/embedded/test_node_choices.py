"""What the node may not guess, a person decides: ``prognode case choose`` heals the case with a new report."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest
from node import NodeHere, ReceivingPacs, node_and_pacs, predecessors_of, said_of, stored_report
from pydicom import Dataset
from studies import small_study

from training.synthetic_study import SyntheticStudy

_seeds = count(700)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[NodeHere, ReceivingPacs]]:
    """One node and one PACS."""
    folder = tmp_path_factory.mktemp("node")
    with node_and_pacs(folder, assembly={"grace_s": 0.5}, scoring={"figure": False}) as running:
        yield running


def refused(node: NodeHere, pacs: ReceivingPacs, study: SyntheticStudy, reason: str) -> Dataset:
    """The refusal of a study that was sent."""
    node.send(study.instances)
    (report,) = pacs.wait_reports(1, study.study_uid)
    assert said_of(report)["reason"] == reason
    node.wait_state(study.study_uid, "not-evaluable")
    node.settle()
    return report


def healed(node: NodeHere, pacs: ReceivingPacs, study: SyntheticStudy, refusal: Dataset) -> Dataset:
    """The report that supersedes the refusal."""
    _, report = pacs.wait_reports(2, study.study_uid)
    assert said_of(report)["status"] == "preliminary"
    assert predecessors_of(report) == [refusal.SOPInstanceUID]
    node.wait_state(study.study_uid, "preliminary")
    return report


def phases_of(node: NodeHere, report: Dataset) -> dict[str, str]:
    return {
        finding["phase"]: finding["series_instance_uid"]
        for finding in stored_report(node, report.SOPInstanceUID)["findings"]
    }


@pytest.mark.parametrize("swapped", [False, True])
def test_a_chosen_phase_ends_a_contradiction(node: NodeHere, pacs: ReceivingPacs, swapped: bool):
    """Timing and aorta contradict each other; the operator's word decides, whichever it is."""
    study = small_study(seed=next(_seeds), contrast_timing="contradictory")
    refusal = refused(node, pacs, study, "phase-conflict")
    first, second = study.series_uid("arterial"), study.series_uid("venous")
    arterial, venous = (second, first) if swapped else (first, second)
    result = node.case_command(
        "choose", study.study_uid, "--phase", f"{arterial}=arterial", "--phase", f"{venous}=venous"
    )
    assert result.status == 0, result.errors
    report = healed(node, pacs, study, refusal)
    assert phases_of(node, report) == {"arterial": arterial, "venous": venous}


def test_a_chosen_roi_ends_the_doubt_between_several(node: NodeHere, pacs: ReceivingPacs):
    """Two ROIs of each series match; the operator names one for each phase."""
    study = small_study(seed=next(_seeds), further_rois=("Tumour 2",))
    refusal = refused(node, pacs, study, "roi-several")
    arterial, venous = (contours.SOPInstanceUID for contours in study.contours)
    node.case_command(
        "choose", study.study_uid, "--roi", f"arterial={arterial}#1", "--roi", f"venous={venous}#1"
    )
    report = healed(node, pacs, study, refusal)
    assert phases_of(node, report)["arterial"] == study.series_uid("arterial")
    rois = {
        f["phase"]: (f["roi"]["sop_instance_uid"], f["roi"]["number"])
        for f in stored_report(node, report.SOPInstanceUID)["findings"]
    }
    assert rois == {"arterial": (arterial, 1), "venous": (venous, 1)}


def test_a_chosen_roi_needs_no_name_that_the_rules_know(node: NodeHere, pacs: ReceivingPacs):
    """No ROI matches the rules; the operator says which two are the tumour."""
    study = small_study(
        seed=next(_seeds), arterial_roi_name="A", venous_roi_name="V", venous_contour="RTSTRUCT"
    )
    refusal = refused(node, pacs, study, "roi-none")
    arterial, venous = (contours.SOPInstanceUID for contours in study.contours)
    node.case_command(
        "choose", study.study_uid, "--roi", f"arterial={arterial}#1", "--roi", f"venous={venous}#1"
    )
    healed(node, pacs, study, refusal)


def test_a_phase_chosen_for_a_scored_case_gives_a_new_report(node: NodeHere, pacs: ReceivingPacs):
    """The operator overrules the evidence after the report is out: the new one has the phases exchanged."""
    study = small_study(seed=next(_seeds))
    node.send(study.instances)
    (first,) = pacs.wait_reports(1, study.study_uid)
    node.settle()
    arterial, venous = study.series_uid("venous"), study.series_uid("arterial")
    node.case_command(
        "choose", study.study_uid, "--phase", f"{arterial}=arterial", "--phase", f"{venous}=venous"
    )
    report = healed(node, pacs, study, first)
    assert phases_of(node, report) == {"arterial": arterial, "venous": venous}


@pytest.mark.parametrize(
    "arguments",
    [
        ("--phase", "1.2.3=portal"),
        ("--phase", "arterial"),
        ("--roi", "late=1.2.3#1"),
    ],
)
def test_a_wrong_choice_is_one_sentence(node: NodeHere, pacs: ReceivingPacs, arguments: tuple[str, str]):
    """What is neither arterial nor venous is refused with exit status 2 and changes nothing."""
    study = small_study(seed=700)
    if node.case(study.study_uid) is None:
        node.send(study.instances)
        node.wait_state(study.study_uid, "not-evaluable", "preliminary")
    before = node.index.choices(node.case(study.study_uid).case_id)
    result = node.case_command("choose", study.study_uid, *arguments)
    assert result.status == 2
    assert len(result.errors.strip().splitlines()) == 1
    assert node.index.choices(node.case(study.study_uid).case_id) == before
