"""Covariates that arrive after the images: by hand or by the hospital's file, a new report supersedes the first."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, pairwise

import pytest
from components import wait_until
from node import NodeHere, ReceivingPacs, comments_of, content_items, node_and_pacs, predecessors_of, said_of
from pydicom import Dataset
from studies import small_study

from training.synthetic_study import SyntheticStudy

_seeds = count(300)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[NodeHere, ReceivingPacs]]:
    """One node with a file of covariates, and one PACS."""
    folder = tmp_path_factory.mktemp("node")
    with node_and_pacs(folder, clinical_csv="clinical.csv", scoring={"figure": False}) as running:
        yield running


@pytest.fixture
def study(node: NodeHere, pacs: ReceivingPacs) -> SyntheticStudy:
    """A study whose preliminary report is out."""
    made = small_study(seed=next(_seeds))
    node.send(made.instances)
    (report,) = pacs.wait_reports(1, made.study_uid)
    assert said_of(report)["status"] == "preliminary"
    assert report.PreliminaryFlag == "PRELIMINARY"
    node.settle()
    return made


def write_csv(node: NodeHere, *rows: str) -> None:
    """Replace the file of covariates, as an export does."""
    path = node.folder / "clinical.csv"
    part = path.with_suffix(".part")
    part.write_text("\n".join(("patient_id,ki67,m_stage,diameter_mm", *rows)) + "\n")
    part.replace(path)


def numbers_of(report: Dataset) -> list[float]:
    """Every number of a structured report, in its order."""
    numbers = [item for item in content_items(report) if item.get("ValueType") == "NUM"]
    return [float(item.MeasuredValueSequence[0].NumericValue) for item in numbers]


def assert_supersedes(later: Dataset, earlier: Dataset) -> None:
    assert predecessors_of(later) == [earlier.SOPInstanceUID]
    assert later.SOPInstanceUID != earlier.SOPInstanceUID


def test_values_set_by_hand_give_a_final_report(node: NodeHere, pacs: ReceivingPacs, study):
    """``case set-clinical`` after the preliminary report: a final one with both survival figures that supersedes it."""
    result = node.case_command("set-clinical", study.study_uid, "--ki67", "35", "--m-stage", "M0")
    assert result.status == 0, result.errors
    first, final = pacs.wait_reports(2, study.study_uid)
    assert said_of(final)["status"] == "final"
    assert final.PreliminaryFlag == "FINAL"
    assert_supersedes(final, first)
    assert (
        node.wait_state(study.study_uid, "reported").outcome["sr"]["sop_instance_uid"] == final.SOPInstanceUID
    )


def test_the_same_values_again_give_nothing_new(node: NodeHere, pacs: ReceivingPacs, study):
    """Setting the same values twice: the same SOP Instance UID, and the PACS hears nothing more."""
    for _ in range(2):
        node.case_command("set-clinical", study.study_uid, "--ki67", "35", "--m-stage", "M0")
        _, final = pacs.wait_reports(2, study.study_uid)
        node.settle()
    assert len(pacs.reports(study.study_uid)) == 2
    assert len(pacs.received[final.SOPInstanceUID]) == 1
    assert node.case(study.study_uid).outcome["sr"]["sop_instance_uid"] == final.SOPInstanceUID


def test_a_value_that_is_corrected_back_is_the_latest_word(node: NodeHere, pacs: ReceivingPacs, study):
    """M0, then M1, then M0 again: the last report says M0 and supersedes the one that said M1; a replay adds none."""
    for number, stage in enumerate(("M0", "M1", "M0"), start=2):
        result = node.case_command("set-clinical", study.study_uid, "--ki67", "35", "--m-stage", stage)
        assert result.status == 0, result.errors
        reports = pacs.wait_reports(number, study.study_uid)
        node.settle()
    _, first, second, third = reports
    assert_supersedes(second, first)
    assert_supersedes(third, second)
    assert third.SOPInstanceUID != first.SOPInstanceUID
    assert numbers_of(third) == numbers_of(first) != numbers_of(second)
    result = node.case_command("replay", study.study_uid)
    assert result.status == 0, result.errors
    node.settle()
    assert len({report.SOPInstanceUID for report in pacs.wait_reports(4, study.study_uid)}) == 4


def test_one_value_after_the_other(node: NodeHere, pacs: ReceivingPacs, study):
    """With Ki-67 alone the result stays preliminary; with M stage it becomes final. Each report names the one before."""
    node.case_command("set-clinical", study.study_uid, "--ki67", "35")
    first, second = pacs.wait_reports(2, study.study_uid)
    node.settle()
    assert said_of(second)["status"] == "preliminary"
    node.case_command("set-clinical", study.study_uid, "--m-stage", "M1")
    *_, third = pacs.wait_reports(3, study.study_uid)
    assert said_of(third)["status"] == "final"
    assert_supersedes(second, first)
    assert_supersedes(third, second)


def test_a_row_in_the_file_gives_a_final_report(node: NodeHere, pacs: ReceivingPacs, study):
    """The CSV, rewritten while the node runs, does what set-clinical does; rewritten with the same row, nothing."""
    write_csv(node, f"{study.patient_id},35,M0,")
    first, final = pacs.wait_reports(2, study.study_uid)
    assert said_of(final)["status"] == "final"
    assert_supersedes(final, first)
    write_csv(node, "SOMEBODY-ELSE,10,M1,", f"{study.patient_id},35,M0,")
    wait_until(lambda: not node.life.outside.clinical.changed(), "the second look at the file")
    node.settle()
    assert len(pacs.reports(study.study_uid)) == 2
    assert len(pacs.received[final.SOPInstanceUID]) == 1


def test_a_row_that_is_there_before_the_images(node: NodeHere, pacs: ReceivingPacs):
    """Known covariates give the final report at once: there is no preliminary one."""
    study = small_study(seed=next(_seeds))
    write_csv(node, f"{study.patient_id},35,M0,")
    node.send(study.instances)
    (report,) = pacs.wait_reports(1, study.study_uid)
    node.settle()
    assert [said_of(one)["status"] for one in pacs.reports(study.study_uid)] == ["final"]
    assert predecessors_of(report) == []


def test_what_a_person_sets_wins_over_the_file(node: NodeHere, pacs: ReceivingPacs, study):
    """The file says M0, a person M1: the report says M1, and the file's other values hold."""
    write_csv(node, f"{study.patient_id},35,M0,")
    pacs.wait_reports(2, study.study_uid)
    node.settle()
    node.case_command("set-clinical", study.study_uid, "--m-stage", "M1")
    *_, last = pacs.wait_reports(3, study.study_uid)
    assert said_of(last)["status"] == "final"
    case = node.wait_state(study.study_uid, "reported")
    assert case.outcome["sr"]["sop_instance_uid"] == last.SOPInstanceUID


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--ki67", "120", "Ki-67"),
        ("--ki67", "many", "Ki-67"),
        ("--m-stage", "M7", "M stage"),
        ("--diameter-mm", "0", "diameter"),
    ],
)
def test_wrong_values_are_one_sentence(node: NodeHere, pacs: ReceivingPacs, study, option, value, says):
    """Exit status 2 and one sentence that names the value; the case is as before."""
    before = node.case(study.study_uid)
    result = node.case_command("set-clinical", study.study_uid, option, value)
    assert result.status == 2
    assert len(result.errors.strip().splitlines()) == 1
    assert says in result.errors
    assert value in result.errors
    node.settle()
    assert node.case(study.study_uid) == before
    assert len(pacs.reports(study.study_uid)) == 1


def test_a_value_outside_the_recipe_s_range_is_refused_and_can_be_corrected(
    node: NodeHere, pacs: ReceivingPacs, study
):
    """400 mm is no diameter that the recipe was made for: a report says so, and the right value heals the case."""
    for wrong in ("400", "450"):
        node.case_command("set-clinical", study.study_uid, "--diameter-mm", wrong)
        wait_until(lambda wrong=wrong: says_of_last(pacs, study, wrong), f"the refusal of {wrong} mm")
        node.settle()
    node.case_command(
        "set-clinical", study.study_uid, "--diameter-mm", "40", "--ki67", "5", "--m-stage", "M0"
    )
    reports = pacs.wait_reports(4, study.study_uid)
    assert [said_of(one)["status"] for one in reports] == [
        "preliminary",
        "not-evaluable",
        "not-evaluable",
        "final",
    ]
    for earlier, later in pairwise(reports):
        assert_supersedes(later, earlier)
    assert said_of(reports[1])["reason"] == "covariate-range"


def says_of_last(pacs: ReceivingPacs, study: SyntheticStudy, words: str) -> bool:
    return any(words in sentence for sentence in comments_of(pacs.reports(study.study_uid)[-1]))


def test_a_wrong_row_in_the_file_can_be_corrected(node: NodeHere, pacs: ReceivingPacs, study):
    """The same by the file: a diameter out of range, then the right one."""
    write_csv(node, f"{study.patient_id},35,M0,400")
    _, refusal = pacs.wait_reports(2, study.study_uid)
    assert said_of(refusal)["reason"] == "covariate-range"
    node.settle()
    write_csv(node, f"{study.patient_id},35,M0,40")
    *_, final = pacs.wait_reports(3, study.study_uid)
    assert said_of(final)["status"] == "final"
