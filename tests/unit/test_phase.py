"""Arterial and venous are told by evidence that agrees, or not at all."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_series import planes

from prognode.domain.aorta import aorta_hounsfield
from prognode.domain.geometry import build_stack
from prognode.domain.phase import (
    ContrastTiming,
    DescriptionRules,
    PhaseEvidence,
    SeriesHeader,
    decide_phases,
    described_phase,
    header_evidence,
    hounsfield_evidence,
    timing_evidence,
)
from prognode.errors import InvalidInput, Reason

A, B, C = "1.1", "1.2", "1.3"


def says(uid, kind, phase):
    return PhaseEvidence(uid, kind, phase, "said so")


def refused(uids, evidence):
    with pytest.raises(InvalidInput) as fault:
        decide_phases(uids, evidence)
    return fault.value


def test_one_known_series_makes_the_other_the_other_phase():
    """With two series, arterial for one is venous for the other."""
    assert decide_phases([A, B], [says(B, "description", "arterial")]) == (B, A)


def test_kinds_that_agree_decide():
    """Timing, aorta and description in accord."""
    evidence = [
        says(A, "timing", "arterial"),
        says(A, "hounsfield", "arterial"),
        says(B, "description", "venous"),
    ]
    assert decide_phases([A, B], evidence) == (A, B)


def test_contradiction_is_never_outvoted():
    """Two against one is still a contradiction, and the sentence names the kinds."""
    fault = refused(
        [A, B],
        [says(A, "timing", "arterial"), says(A, "hounsfield", "arterial"), says(A, "description", "venous")],
    )
    assert fault.reason is Reason.PHASE_CONFLICT
    assert "timing" in fault.detail
    assert "description" in fault.detail


def test_the_operator_wins_over_everything():
    """A person's choice stands against all other evidence, even for one series only."""
    evidence = [
        says(A, "timing", "arterial"),
        says(B, "description", "venous"),
        says(A, "operator", "venous"),
    ]
    assert decide_phases([A, B], evidence) == (B, A)


def test_the_operator_may_contradict_himself():
    """The same phase chosen twice is refused."""
    assert (
        refused([A, B], [says(A, "operator", "venous"), says(B, "operator", "venous")]).reason
        is Reason.PHASE_CONFLICT
    )


def test_the_same_phase_twice_is_a_conflict():
    """Both series are described as arterial."""
    assert (
        refused([A, B], [says(A, "description", "arterial"), says(B, "description", "arterial")]).reason
        is Reason.PHASE_CONFLICT
    )


def test_nothing_said_is_unknown():
    """No evidence, no guess."""
    assert refused([A, B], []).reason is Reason.PHASE_UNKNOWN
    assert refused([A, B], [says(A, "hounsfield", None)]).reason is Reason.PHASE_UNKNOWN


def test_one_series_is_not_two_phases():
    """A single series has its own reason."""
    assert refused([A], [says(A, "description", "arterial")]).reason is Reason.PHASE_SINGLE


def test_of_three_series_exactly_two_must_be_told():
    """A third series that nothing speaks of is left aside; one that repeats a phase is a conflict."""
    pair = [says(A, "description", "venous"), says(C, "description", "arterial")]
    assert decide_phases([A, B, C], pair) == (C, A)
    assert refused([A, B, C], pair[:1]).reason is Reason.PHASE_UNKNOWN
    assert refused([A, B, C], [*pair, says(B, "description", "venous")]).reason is Reason.PHASE_CONFLICT


@pytest.mark.parametrize(
    ("text", "phase"),
    [
        ("ABD ART 1.25mm", "arterial"),
        ("Arterial Phase", "arterial"),
        ("a_phase 5.0", "arterial"),
        ("Abdomen A-phase", "arterial"),
        ("fase arteriosa", "arterial"),
        ("phase artérielle", "arterial"),
        ("arteriell 3.0", "arterial"),
        ("früharteriell", "arterial"),
        ("动脉期", "arterial"),
        ("動脈相", "arterial"),
        ("артериальная фаза", "arterial"),
        ("late arterial", "arterial"),
        ("LAP arterial", "arterial"),
        ("VEN 5mm", "venous"),
        ("Portal venous", "venous"),
        ("PVP", "venous"),
        ("PV 1.0", "venous"),
        ("Abdomen portalvenös", "venous"),
        ("phase veineuse", "venous"),
        ("fase venosa", "venous"),
        ("门脉期", "venous"),
        ("静脉期", "venous"),
        ("венозная фаза", "venous"),
        ("V-phase", "venous"),
        ("native", None),
        ("delayed venous 5 min", None),
        ("Non-contrast", None),
        ("arterial + venous", None),
        ("", None),
        ("Abdomen 5.0 B30f", None),
        ("ventilation", None),
        ("PARTIAL", None),
        ("start", None),
        ("heart", None),
        ("cart", None),
        ("平扫", None),
        ("Spätphase", None),
        ("prevent", None),
    ],
)
def test_descriptions_in_several_languages(text, phase):
    """Words of radiology departments, and words that only look like them."""
    assert described_phase(text) == phase


def test_description_rules_can_be_replaced():
    """A department's own words."""
    rules = DescriptionRules(arterial=r"^1st", venous=r"^2nd")
    assert described_phase("2nd run", rules) == "venous"
    assert described_phase("arterial", rules) is None


@pytest.mark.parametrize(
    ("delay", "phase"),
    [
        (25, "arterial"),
        (45, "arterial"),
        (70, "venous"),
        (105, "venous"),
        (52, None),
        (300, None),
        (-5, None),
    ],
)
def test_delay_after_the_injection(delay, phase):
    """About 20 to 50 s is arterial, 55 to 110 s venous, the rest says nothing."""
    found = timing_evidence([SeriesHeader(A, timing=ContrastTiming(1000.0 + delay, 1000.0))])
    assert [item.phase for item in found] == ([phase] if phase else [])


def test_the_earlier_of_two_near_acquisitions_is_arterial():
    """Half a minute apart is one injection; ten minutes apart is not."""

    def order(seconds):
        pair = [
            SeriesHeader(A, timing=ContrastTiming(100.0 + seconds)),
            SeriesHeader(B, timing=ContrastTiming(100.0)),
        ]
        return {item.series_instance_uid: item.phase for item in timing_evidence(pair)}

    assert order(35) == {A: "venous", B: "arterial"}
    assert order(600) == {}
    assert order(2) == {}


def test_operator_comes_first_among_header_evidence():
    """Evidence is listed in the order of precedence; choices for other series are not of this case."""
    kinds = [e.kind for e in header_evidence([SeriesHeader(A, "art")], {A: "venous", "other": "arterial"})]
    assert kinds == ["operator", "description"]


@pytest.mark.parametrize(
    ("a", "b", "arterial"),
    [(320.0, 150.0, A), (140.0, 260.0, B), (200.0, 190.0, None), (170.0, 110.0, None), (None, 300.0, None)],
)
def test_the_clearly_brighter_aorta_is_arterial(a, b, arterial):
    """Over 180 HU and 1.15 times the other; else nothing is said."""
    found = {e.phase: e.series_instance_uid for e in hounsfield_evidence((A, a), (B, b))}
    assert found.get("arterial") == arterial
    assert len(found) == (2 if arterial else 0)


# ---------------------------------------------------------------- the aorta in pixels


def abdomen(
    aorta_hu, *, noise=20.0, count=20, matrix=256, pixel=1.5, seed=1, blob=(12.0, 30.0, 11.0), flip=False
):
    """A body with spine, aorta, vena cava, kidneys and liver; x and y in mm from its middle, y to the back."""
    axis = (np.arange(matrix) - matrix / 2) * pixel
    y, x = np.meshgrid(axis, axis, indexing="ij")

    def disc(cx, cy, rx, ry=None):
        return ((x - cx) / rx) ** 2 + ((y - cy) / (ry or rx)) ** 2 <= 1

    image = np.full((matrix, matrix), -1000.0)
    image[disc(0, 0, 165, 115)] = -100
    image[disc(0, 0, 150, 100)] = 55
    image[disc(-70, -20, 65, 60)] = 100
    image[disc(65, 50, 25)] = 180
    image[disc(-65, 50, 25)] = 180
    image[disc(0, 62, 22, 17)] = 600
    image[disc(0, 62, 18, 13)] = 200
    image[disc(-22, 32, 13, 9)] = 110
    if blob:
        image[disc(*blob)] = aorta_hu
    volume = np.repeat(image[None], count, axis=0)
    volume += np.random.default_rng(seed).normal(0, noise, volume.shape)
    half = matrix / 2 * pixel
    cosines = ((1.0, 0.0, 0.0), (0.0, -1.0, 0.0)) if flip else ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    origin = (-half, (1 if flip else -1) * half, 0.0)
    members = planes(
        count, 2.5, origin=origin, spacing=(pixel, pixel), matrix=(matrix, matrix), cosines=cosines
    )
    hu = (volume[:, ::-1] if flip else volume).astype(np.float32)
    return hu, build_stack("1", "2", members)


@pytest.mark.parametrize("hu", [150.0, 200.0, 320.0, 450.0])
@pytest.mark.parametrize("noise", [5.0, 35.0])
def test_the_aorta_is_found_and_measured(hu, noise):
    """In venous and arterial enhancement, in quiet and in noisy images, within 5 %."""
    assert aorta_hounsfield(*abdomen(hu, noise=noise)) == pytest.approx(hu, rel=0.05)


def test_the_aorta_is_found_in_flipped_rows():
    """Rows that run to the front show the same aorta."""
    assert aorta_hounsfield(*abdomen(300.0, flip=True)) == pytest.approx(300.0, rel=0.05)


def test_a_body_without_aorta_says_nothing():
    """Kidneys, liver and spine are not taken for it."""
    assert aorta_hounsfield(*abdomen(0.0, blob=None)) is None


def test_noise_says_nothing():
    """White noise has no body."""
    hu, stack = abdomen(300.0)
    noise = np.random.default_rng(3).normal(0, 300, hu.shape).astype(np.float32)
    assert aorta_hounsfield(noise, stack) is None


@pytest.mark.parametrize("shape", [(2, 256, 256), (20, 16, 16), (3, 1, 1)])
def test_tiny_data_say_nothing(shape):
    """Too few slices, or images too small for a body."""
    members = planes(shape[0], 2.5, matrix=shape[1:], spacing=(1.0, 1.0))
    assert aorta_hounsfield(np.full(shape, 300.0, np.float32), build_stack("1", "2", members)) is None


def test_an_unenhanced_aorta_is_not_claimed_to_be_bright():
    """At 45 HU it does not stand out, and nothing is said."""
    assert aorta_hounsfield(*abdomen(45.0)) is None
