"""``prognode dlq``: what was set aside, replayed after it is mended, or dropped."""

from __future__ import annotations

import json

import pytest
from command_line import require_sentence
from components import wait_until
from node import node_and_pacs, prognode, said_of
from studies import small_study


@pytest.fixture
def node_with_letter(tmp_path):
    """A node whose only case has damaged crops, and the dead letter that came of it."""
    study = small_study(seed=7601)
    with node_and_pacs(tmp_path) as (node, pacs):
        node.send(study.instances)
        pacs.wait_figures(1)
        node.settle()
        key = node.case(study.study_uid).outcome["crop_key"]
        whole = node.objects.get(key)
        node.objects.put(key, b"damaged")
        node.case_command("set-clinical", study.study_uid, "--ki67", "20", "--m-stage", "M0")
        wait_until(node.dead_letters, "a dead letter")
        yield node, pacs, study, lambda: node.objects.put(key, whole)


def dlq(node, *arguments):
    return prognode("dlq", *arguments, "--config", node.config_path)


def test_a_letter_is_listed_with_fact_case_and_reason(node_with_letter):
    """For a person, and as JSON."""
    node, _, study, _ = node_with_letter
    case = node.case(study.study_uid)
    shown = dlq(node, "list")
    assert (shown.status, shown.errors) == (0, "")
    assert f"clinical-updated of case {case.case_id}, tried 1 time: " in shown.output
    assert "is no archive of crops" in shown.output
    (letter,) = json.loads(dlq(node, "list", "--json").output)["dead_letters"]
    assert (letter["group"], letter["key"], letter["deliveries"]) == ("scoring", case.case_id, 1)


def test_a_replayed_letter_is_handled_again(node_with_letter):
    """What it died of is mended, so the report comes."""
    node, pacs, study, mend = node_with_letter
    mend()
    (letter,) = json.loads(dlq(node, "list", "--json").output)["dead_letters"]
    replayed = dlq(node, "replay", letter["id"])
    assert "is handled again" in replayed.output
    assert said_of(pacs.wait_reports(2, study.study_uid)[-1]) == {"status": "final"}
    assert dlq(node, "list").output.strip() == "no dead letters"


def test_a_dropped_letter_is_gone_and_its_case_can_be_replayed(node_with_letter):
    """Nothing but the message is forgotten."""
    node, pacs, study, mend = node_with_letter
    assert "dropped" in dlq(node, "drop", "--all").output
    assert dlq(node, "list").output.strip() == "no dead letters"
    mend()
    assert node.case_command("replay", study.study_uid).status == 0
    pacs.wait_reports(2, study.study_uid)


def test_a_letter_that_is_not_there_is_a_sentence(node_with_letter):
    """Neither id nor --all, both, or an id of nothing."""
    node = node_with_letter[0]
    require_sentence(dlq(node, "replay"), "--all")
    require_sentence(dlq(node, "drop", "scoring/999"), "scoring/999")
    require_sentence(dlq(node, "drop", "scoring/1", "--all"), "--all")
