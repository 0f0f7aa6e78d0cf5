"""Identities: the same inputs give the same UID, any changed input another one."""

from __future__ import annotations

import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sr_samples import STUDY_UID, sample_report

from prognode.domain.identity import (
    COMPREHENSIVE_3D_SR,
    COMPREHENSIVE_SR,
    ENHANCED_SR,
    case_id,
    device_uid,
    digest,
    figure_uid,
    in_class,
    report_uid,
    series_uid,
    tracking_uid,
    uid,
)
from prognode.errors import Reason

SHAPE = re.compile(r"2\.25\.(0|[1-9]\d*)")


def test_a_uid_is_the_number_that_the_formula_gives():
    """The UID of known parts never changes: it is 2.25 and the first 128 bits of SHA-256 of length-prefixed parts."""
    import hashlib

    stream = (2).to_bytes(8, "big") + b"ab" + (1).to_bytes(8, "big") + b"c"
    assert uid("ab", "c") == f"2.25.{int(hashlib.sha256(stream).hexdigest()[:32], 16)}"
    assert digest("ab", "c") == hashlib.sha256(stream).hexdigest()


@given(st.lists(st.text(), max_size=5))
def test_every_uid_is_a_legal_uid(parts: list[str]):
    """Whatever the parts, the UID fits PS3.5 9.1: digits and dots, no leading zero, at most 64 characters."""
    made = uid(*parts)
    assert SHAPE.fullmatch(made)
    assert len(made) <= 64


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_parts_do_not_run_into_each_other(left: list[str], right: list[str]):
    """Two different lists of parts have different digests, however their concatenations look."""
    assert (digest(*left) == digest(*right)) == (left == right)


def test_a_case_id_is_short_and_says_nothing_of_the_study_uid():
    """A case id is 16 hexadecimal digits and does not contain the Study Instance UID."""
    assert re.fullmatch(r"[0-9a-f]{16}", case_id(STUDY_UID))
    assert case_id(STUDY_UID) != case_id(STUDY_UID + "1")


def test_the_same_report_has_the_same_uid_and_each_class_its_own():
    """A replay gives the same SOP Instance UID; the three SR classes have three UIDs."""
    classes = (COMPREHENSIVE_3D_SR, COMPREHENSIVE_SR, ENHANCED_SR)
    uids = [report_uid(sample_report(), sop_class) for sop_class in classes]
    assert uids == [report_uid(sample_report(), sop_class) for sop_class in classes]
    assert len(set(uids)) == 3
    assert uids == [in_class(uids[0], sop_class) for sop_class in classes]


def _other_roi():
    report = sample_report()
    first, second = report.findings
    return dataclasses.replace(
        report, findings=(dataclasses.replace(first, roi=dataclasses.replace(first.roi, number=2)), second)
    )


def _swapped_phases():
    report = sample_report()
    return dataclasses.replace(
        report,
        findings=tuple(
            dataclasses.replace(finding, phase="venous" if finding.phase == "arterial" else "arterial")
            for finding in report.findings
        ),
    )


@pytest.mark.parametrize(
    "other",
    [
        sample_report(input_digest=digest("other pixels")),
        sample_report(covariates_digest=digest("other covariates")),
        sample_report(recipe=dataclasses.replace(sample_report().recipe, digest=digest("other recipe"))),
        sample_report(study_instance_uid="2.25.999"),
        sample_report("preliminary"),
        sample_report("not-evaluable"),
        _other_roi(),
        _swapped_phases(),
    ],
    ids=["pixels", "covariates", "recipe", "study", "status", "refused", "roi", "phases"],
)
def test_a_changed_input_is_another_object(other):
    """What a report was made of decides its UID and its figure's UID: no two reports share one."""
    assert report_uid(other) != report_uid(sample_report())
    assert figure_uid(other) != figure_uid(sample_report())


def test_two_reasons_are_two_reports():
    """A case refused for another reason gets another report."""
    refused = [
        sample_report("not-evaluable", reason=reason) for reason in (Reason.ROI_NONE, Reason.ROI_EMPTY)
    ]
    assert report_uid(refused[0]) != report_uid(refused[1])


def test_the_order_of_the_findings_does_not_matter():
    """Findings in another order are the same report."""
    report = sample_report()
    assert report_uid(report) == report_uid(dataclasses.replace(report, findings=report.findings[::-1]))


def test_a_lesion_keeps_its_tracking_uid_under_another_model():
    """Tracking UIDs know study, ROI and phase only, so that a lesion can be followed over models."""
    assert tracking_uid("1.2", "1.3", 1) == tracking_uid("1.2", "1.3", 1)
    several = {tracking_uid("1.2", "1.3", n, phase) for n in (1, 2) for phase in ("arterial", "venous")}
    assert len(several) == 4


def test_another_recipe_is_another_device():
    """The Device UID follows the recipe's digest (IHE AIR)."""
    recipe = sample_report().recipe
    assert device_uid(recipe) == device_uid(dataclasses.replace(recipe, name="renamed"))
    assert device_uid(recipe) != device_uid(dataclasses.replace(recipe, digest=digest("retrained")))


def test_report_and_figure_have_series_of_their_own():
    """SR and figure of one report, and the reports of one case, lie in different series."""
    uids = [report_uid(sample_report()), report_uid(sample_report("preliminary"))]
    assert len({series_uid(kind, name) for kind in ("sr", "figure") for name in uids}) == 4
