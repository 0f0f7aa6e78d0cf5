"""``prognode case``: what a person sees of a node's cases, and what the person may decide."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import require_sentence
from node import NodeHere, ReceivingPacs, node_and_pacs, prognode
from studies import small_study

from prognode.domain.identity import case_id

PRELIMINARY, LONE = small_study(seed=810), small_study(seed=811)
LONE_ITEMS = [
    i for i in LONE.instances if i.Modality == "RTSTRUCT" or str(i.SOPInstanceUID) in LONE.arterial_uids[:-30]
]


def study_uid(study) -> str:
    return str(study.instances[0].StudyInstanceUID)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[NodeHere, ReceivingPacs]]:
    """A node with a preliminary case and one that waits."""
    folder = tmp_path_factory.mktemp("node")
    with node_and_pacs(folder, scoring={"figure": False}) as (node, pacs):
        node.send(PRELIMINARY.instances)
        node.send(LONE_ITEMS)
        node.wait_state(study_uid(PRELIMINARY), "preliminary")
        node.wait_state(study_uid(LONE), "waiting")
        yield node, pacs


@pytest.fixture
def config(running) -> Path:
    return running[0].config_path


def test_list_has_a_line_for_each_case(config):
    """Ids whole, states, and a word about each."""
    result = prognode("case", "list", "--config", config)
    assert (result.status, result.errors) == (0, "")
    for study, state in ((PRELIMINARY, "preliminary"), (LONE, "waiting")):
        assert case_id(study_uid(study)) in result.output
        assert state in result.output


def test_show_lists_what_a_case_waits_for(config):
    """A waiting case names the images and contours that are missing, on paper and as JSON."""
    name = case_id(study_uid(LONE))
    plain = prognode("case", "show", name, "--config", config)
    document = json.loads(prognode("case", "show", name, "--json", "--config", config).output)
    assert plain.status == 0
    waits = document["assessment"]["waiting_for"]
    assert waits
    assert waits[0]["text"] in plain.output


def test_a_case_is_found_by_its_first_characters_and_by_its_study(config):
    """Whatever names one case alone."""
    whole = case_id(study_uid(PRELIMINARY))
    for name in (whole, whole[:10], study_uid(PRELIMINARY)):
        found = json.loads(prognode("case", "show", name, "--json", "--config", config).output)
        assert found["case_id"] == whole


@pytest.mark.parametrize("command", ["show", "replay", "set-clinical", "choose"])
def test_no_case_and_several_cases_are_said(config, command):
    """Nothing is guessed when a name matches none, or more than one."""
    require_sentence(
        prognode("case", command, "nosuchcase", "--config", config), "no case matches", "case list"
    )
    require_sentence(prognode("case", command, "", "--config", config), "2 cases match", "case list")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("set-clinical",), "nothing given"),
        (("set-clinical", "--ki67", "much"), "0 to 100"),
        (("set-clinical", "--m-stage", "M9"), "M0 or M1"),
        (("choose",), "nothing chosen"),
        (("choose", "--phase", "1.2.3=arterial"), "no series or ROI object"),
        (("choose", "--roi", "venous=1.2.3#1"), "no series or ROI object"),
        (("choose", "--phase", "1.2.3"), "NAME=VALUE"),
        (("choose", "--phase", "1.2.3=late"), "arterial or venous"),
        (("choose", "--roi", "late=1.2#1"), "arterial or venous"),
    ],
)
def test_wrong_values_are_said(config, arguments, said):
    """A covariate out of range, a phase that is none."""
    command, *options = arguments
    name = case_id(study_uid(PRELIMINARY))
    require_sentence(prognode("case", command, name, *options, "--config", config), said)


def test_a_waiting_case_cannot_be_replayed(config):
    """Replay is for work that was done."""
    require_sentence(
        prognode("case", "replay", case_id(study_uid(LONE)), "--config", config), "still waiting"
    )


def test_replay_stores_the_same_report_again(running):
    """The same inputs: the same SOP Instance UID reaches the PACS once more."""
    node, pacs = running
    (before,) = pacs.wait_reports(1, study_uid(PRELIMINARY))
    uid = str(before.SOPInstanceUID)
    count = len(pacs.received[uid])
    result = prognode("case", "replay", case_id(study_uid(PRELIMINARY)), "--config", node.config_path)
    assert (result.status, result.errors) == (0, "")
    node.settle()
    assert len(pacs.received[uid]) == count + 1
    assert len(set(pacs.received[uid])) == 1


def test_replay_needs_one_case_or_all_that_are_unfinished(config):
    """Never everything by accident."""
    require_sentence(prognode("case", "replay", "--config", config), "name one case", "--unfinished")
    both = prognode("case", "replay", "some", "--unfinished", "--config", config)
    require_sentence(both, "name one case", "--unfinished")


def test_unfinished_is_what_is_not_in_every_pacs(running):
    """A delivered report is finished; a delivery that waits makes its case unfinished, and the replay finishes it."""
    node, pacs = running
    (report,) = pacs.wait_reports(1, study_uid(PRELIMINARY))
    node.settle()
    done = prognode("case", "replay", "--unfinished", "--config", node.config_path)
    assert (done.status, done.output.strip()) == (0, "no case is unfinished")
    (delivery,) = node.index.deliveries(str(report.SOPInstanceUID))
    node.index.save_delivery(dataclasses.replace(delivery, state="pending"))
    again = prognode("case", "replay", "--unfinished", "--config", node.config_path)
    assert case_id(study_uid(PRELIMINARY)) in again.output
    node.settle()
    assert {one.state for one in node.index.deliveries(str(report.SOPInstanceUID))} == {"stored"}


def test_index_and_objects_are_compared(running):
    """Each fault is named: an object that is gone, and one that is another; then they are put back."""
    node, _ = running
    whole = prognode("db", "verify", "--config", node.config_path)
    assert (whole.status, "2 studies read, 0 objects" in whole.output) == (0, True), whole.output
    gone, changed, *_ = node.index.instances(study_uid(PRELIMINARY))
    kept = {one.object_key: node.objects.get(one.object_key) for one in (gone, changed)}
    sr = node.case(study_uid(PRELIMINARY)).outcome["sr"]
    report = node.objects.get(sr["object_keys"][0])
    for key in (gone.object_key, changed.object_key, sr["object_keys"][0]):
        node.objects.delete(key)
    node.objects.put(changed.object_key, kept[changed.object_key][:-1] + b"!")
    result = prognode("db", "verify", "--config", node.config_path)
    assert result.status == 1
    assert f"missing: {gone.sop_instance_uid} of study" in result.output
    assert f"other bytes: {changed.sop_instance_uid} of study" in result.output
    assert f"missing: {sr['sop_instance_uid']} of study" in result.output
    assert "3 objects" in result.output
    node.objects.delete(changed.object_key)
    for key, data in kept.items():
        node.objects.put(key, data)
    node.objects.put(sr["object_keys"][0], report)
    assert prognode("db", "verify", "--config", node.config_path).status == 0
