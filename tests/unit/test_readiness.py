"""When a case is ready, what it waits for, and why it never will be."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest
from drawn_series import planes, roi, square, view
from hypothesis import given, settings
from hypothesis import strategies as st

from prognode.domain.phase import ContrastTiming
from prognode.domain.readiness import Assessment, Choices, Rules, State, assess, needs_from_json
from prognode.domain.roi import SegmentCode
from prognode.errors import BadRequest, Reason

COUNT = 50
ARTERIAL, VENOUS = "1.2.3", "1.2.4"


def series(uid=ARTERIAL):
    return planes(COUNT, series=uid)


def tumour(uid=ARTERIAL, keys=range(20, 25), **more):
    """A tumour drawn on one series, its object listing that series."""
    members = series(uid)
    given = {"images": [p.sop_instance_uid for p in members], "object_uid": f"9.{uid}", "series": uid, **more}
    sections = [
        square(members[k].position_lps_mm[2], 40 - abs(k - 22), uid=members[k].sop_instance_uid) for k in keys
    ]
    return roi(sections, **given)


def both():
    return [view(series(uid), uid) for uid in (ARTERIAL, VENOUS)]


def contours():
    return [
        tumour(ARTERIAL),
        tumour(VENOUS, kind="SEG", name="segment", codes=(SegmentCode("108369006", "SCT", "Neoplasm"),)),
    ]


def test_ready_when_both_need_sets_are_here():
    """An RTSTRUCT by name on one phase, a SEG by code on the other."""
    found = assess(both(), contours())
    assert found.state == State.READY
    assert [need.series_instance_uid for need in found.needs] == [ARTERIAL, VENOUS]
    assert not found.waiting_for
    assert not found.grace_helps


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_ready_exactly_at_the_last_needed_object(seed):
    """Images of both phases and both contour objects in any order: ready at the last needed one, and not before."""
    needed = {uid for need in assess(both(), contours()).needs for uid in need.sop_instance_uids}
    objects = [*series(ARTERIAL), *series(VENOUS), *contours()]
    random.Random(seed).shuffle(objects)
    last = max(
        k
        for k, o in enumerate(objects)
        if getattr(o, "sop_instance_uid", None) in needed or hasattr(o, "sections")
    )

    def state(count):
        here = objects[:count]
        images = [o for o in here if not hasattr(o, "sections")]
        views = [
            view(members, uid)
            for uid in (ARTERIAL, VENOUS)
            if (members := [p for p in images if p.sop_instance_uid.startswith(uid + ".")])
        ]
        return assess(views, [o for o in here if hasattr(o, "sections")])

    before = state(last)
    assert before.state == State.WAITING
    assert before.waiting_for
    assert state(last + 1).state == State.READY
    assert state(len(objects)).state == State.READY


def test_contours_before_any_image_wait_for_the_images_that_they_name():
    """Nothing but contours: geometry is not asked, and the images are named."""
    found = assess([], contours(), quiet=True)
    assert found.state == State.WAITING
    assert {w.sop_instance_uid for w in found.waiting_for} >= {f"{ARTERIAL}.22", f"{VENOUS}.22"}


def test_contours_of_a_phase_that_has_not_arrived_are_not_put_on_the_other():
    """Only the venous images are here; the arterial contour fits them by geometry and still waits for its own."""
    found = assess([view(series(VENOUS), VENOUS)], contours(), quiet=True, fetch_exhausted=True)
    assert found.state == State.WAITING
    assert [need.series_instance_uid for need in found.needs] == [VENOUS]
    assert {w.series_instance_uid for w in found.waiting_for} == {ARTERIAL}


def test_dead_references_fall_back_to_geometry_when_nothing_arrives():
    """References to a series and images that do not exist: frame of reference and position decide, stated."""
    dead = tumour(images=[f"6.6.{k}" for k in range(COUNT)], series="6.6")
    dead = replace(
        dead, sections=tuple(replace(s, sop_instance_uid=f"6.6.{k}") for k, s in enumerate(dead.sections))
    )
    early = assess([view(series())], [dead])
    assert not early.needs
    late = assess([view(series())], [dead], quiet=True)
    assert [need.series_instance_uid for need in late.needs] == [ARTERIAL]
    assert "by position" in " ".join(late.remarks)


def test_geometry_that_fits_two_series_is_no_answer():
    """No references, two series in one frame of reference: which one it was drawn on cannot be told."""
    nameless = tumour(images=[], names_series=False)
    nameless = replace(nameless, sections=tuple(replace(s, sop_instance_uid=None) for s in nameless.sections))
    found = assess(both(), [nameless], quiet=True)
    assert found.reason is Reason.ROI_SOURCE
    assert len(found.candidates) == 2


def test_one_phase_contoured_waits_for_the_other():
    """One series with a tumour: never refused, contours of the second phase may come days later."""
    found = assess(both(), contours()[:1], quiet=True, fetch_exhausted=True)
    assert found.state == State.WAITING
    assert [wait.kind for wait in found.waiting_for] == ["contours"]


def test_no_tumour_among_the_rois_lists_the_candidates():
    """After the grace period, a person is told what there was to choose from."""
    organ = replace(tumour(), name="Liver", number=3)
    assert assess(both(), [organ]).state == State.WAITING
    assert assess(both(), [organ]).grace_helps
    found = assess(both(), [organ], quiet=True)
    assert found.reason is Reason.ROI_NONE
    (candidate,) = found.candidates
    assert candidate.startswith("RTSTRUCT #3 'Liver', chosen as ")
    assert candidate.endswith("#3")


def test_two_tumours_on_one_series_are_never_chosen_between():
    """The first of several is not the right one by being first."""
    found = assess(both(), [*contours(), replace(tumour(), number=2, name="GTV node")])
    assert found.reason is Reason.ROI_SEVERAL
    assert len(found.candidates) == 2


def test_the_operator_chooses_between_several():
    """The chosen ROI counts, and its series is the phase that it was chosen for."""
    second = replace(tumour(), number=2, name="GTV node")
    found = assess(
        both(), [*contours(), second], choices=Choices(rois={"arterial": f"{second.object_uid}#2"})
    )
    assert found.state == State.READY
    assert found.needs[0].roi.number == 2
    assert found.phases == {ARTERIAL: "arterial"}


def test_the_operator_may_choose_what_the_rules_do_not_know():
    """Both ROIs chosen by hand, with names that match nothing."""
    pair = [replace(r, name="A", codes=()) for r in contours()]
    chosen = Choices(rois={"arterial": f"{pair[0].object_uid}#1", "venous": f"{pair[1].object_uid}#1"})
    assert assess(both(), pair, choices=chosen).state == State.READY


@pytest.mark.parametrize(
    ("name", "matches"),
    [
        ("GTV", True),
        ("gtv-1", True),
        ("GTVp", True),
        ("Tumour", True),
        ("tumor_art", True),
        ("NEN", True),
        ("Magen-NET", True),
        ("Network", False),
        ("Connector", False),
        ("Liver", False),
        ("Internet", False),
    ],
)
def test_names_of_tumours(name, matches):
    """Short abbreviations match as words only."""
    assert Rules().match(replace(tumour(), name=name)) is matches


def test_one_rtstruct_may_carry_both_phases():
    """Two ROIs of one object, each listing its own series."""
    pair = [tumour(ARTERIAL, object_uid="9.9"), tumour(VENOUS, object_uid="9.9", number=2)]
    assert assess(both(), pair).state == State.READY


def test_three_phases_are_told_apart_by_their_headers_or_refused():
    """Arterial and venous are picked when descriptions tell; otherwise the source is unclear."""
    third = "1.2.5"
    rois = [*contours(), tumour(third)]
    views = [*both(), view(series(third), third)]
    assert assess(views, rois).reason is Reason.ROI_SOURCE
    told = [
        replace(v, description=d) for v, d in zip(views, ("art", "portal venous", "delayed"), strict=True)
    ]
    found = assess(told, rois)
    assert found.state == State.READY
    assert [need.series_instance_uid for need in found.needs] == [ARTERIAL, VENOUS]


def test_missing_images_are_refused_only_when_nothing_can_bring_them():
    """A hole in the need-set waits, is named for fetching, and is refused only after the last try."""
    holed = [p for p in series() if not p.sop_instance_uid.endswith(".22")]
    views = [view(holed), view(series(VENOUS), VENOUS)]
    assert assess(views, contours()).missing_uids == (f"{ARTERIAL}.22",)
    assert assess(views, contours(), quiet=True).state == State.WAITING
    found = assess(views, contours(), quiet=True, fetch_exhausted=True)
    assert found.reason is Reason.SLICES_MISSING


def test_a_hole_that_no_list_names_is_found():
    """No list and no numbers: the gap itself tells, once nothing more arrives."""
    holed = [replace(p, instance_number=None) for k, p in enumerate(series()) if k != 18]
    found = assess(
        [view(holed), view(series(VENOUS), VENOUS)],
        [tumour(images=[]), contours()[1]],
        quiet=True,
        fetch_exhausted=True,
    )
    assert found.reason is Reason.SLICES_MISSING


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        (Reason.WRONG_MODALITY, lambda v: replace(v, modality="MR")),
        (Reason.GANTRY_TILT, lambda v: replace(v, planes=tuple(tilted(v.planes)))),
        (
            Reason.MIXED_GEOMETRY,
            lambda v: replace(v, planes=(*v.planes[:20], replace(v.planes[20], rows=100), *v.planes[21:])),
        ),
        (
            Reason.SAME_POSITION,
            lambda v: replace(
                v, planes=(*v.planes, replace(v.planes[20], sop_instance_uid="1.2.3.99", instance_number=99))
            ),
        ),
    ],
)
def test_faults_of_the_images_are_named(reason, change):
    """A fault inside the need-set is answered with its reason."""
    views = [change(view(series())), view(series(VENOUS), VENOUS)]
    assert assess(views, contours(), quiet=True).reason is reason


def tilted(members):
    for k, plane in enumerate(members):
        x, y, z = plane.position_lps_mm
        yield replace(plane, position_lps_mm=(x, y + 0.6 * k, z))


@pytest.mark.parametrize(("side", "reason"), [(3, Reason.TUMOUR_SMALL), (230, Reason.TUMOUR_LARGE)])
def test_tumours_that_the_crop_cannot_show(side, reason):
    """Under 5 mm and over 224 mm."""
    members = series()
    odd = replace(
        tumour(), sections=(square(members[22].position_lps_mm[2], side, uid=members[22].sop_instance_uid),)
    )
    assert assess(both(), [odd, contours()[1]]).reason is reason


def test_reasons_found_while_reading_the_roi_are_carried():
    """An ROI of points encloses nothing, whatever the images."""
    points = replace(tumour(), sections=(), reasons=(Reason.ROI_TYPE,))
    assert assess(both(), [points, contours()[1]]).reason is Reason.ROI_TYPE


def test_another_frame_of_reference_without_references_is_refused():
    """Nothing links the contour to the images."""
    stray = tumour(images=[], names_series=False, frame="8.8")
    stray = replace(stray, sections=tuple(replace(s, sop_instance_uid=None) for s in stray.sections))
    assert assess(both(), [stray], quiet=True).reason is Reason.FRAME_MISMATCH


def test_another_frame_of_reference_with_references_is_stated():
    """Some writers invent a frame of reference: references that find their images prove the link."""
    found = assess(both(), [tumour(frame="8.8"), contours()[1]])
    assert found.state == State.READY
    assert "frame of reference" in " ".join(found.remarks)


def test_contours_outside_the_images_are_refused():
    """The largest contour lies beside the matrix."""
    members = series()
    aside = replace(
        tumour(),
        sections=(square(members[22].position_lps_mm[2], 40, (400.0, 0.0), members[22].sop_instance_uid),),
    )
    assert assess(both(), [aside, contours()[1]]).reason is Reason.OUTSIDE_IMAGES


def test_grace_is_announced_where_it_helps():
    """An unproven end: waiting now, ready after the grace period, and the caller is told to come back."""
    short = [tumour(uid, keys=[2, 3], images=[f"{uid}.2", f"{uid}.3"]) for uid in (ARTERIAL, VENOUS)]
    now = assess(both(), short)
    assert now.state == State.WAITING
    assert now.grace_helps
    assert {wait.kind for wait in now.waiting_for} == {"end"}
    assert assess(both(), short, quiet=True).state == State.READY


def test_unrelated_series_change_nothing():
    """A late series without contours is not looked at."""
    other = view(planes(10, series="1.2.8"), "1.2.8", modality="MR")
    assert assess([*both(), other], contours()).to_json() == assess(both(), contours()).to_json()


def test_assessment_survives_storage():
    """What the index keeps is what was said, through JSON text."""
    holed = [view(series()[:21]), view(series(VENOUS), VENOUS, timing=ContrastTiming(3.0))]
    for found in (
        assess(holed, contours()),
        assess(both(), contours()),
        assess(both(), [replace(tumour(), name="x")], quiet=True),
    ):
        stored = json.loads(json.dumps(found.to_json()))
        assert Assessment.from_json(stored) == found
        assert needs_from_json(stored) == found.needs


def test_one_list_over_both_series_is_read_for_each():
    """A structure set that lists all images of both phases in one sequence."""
    images = [p.sop_instance_uid for uid in (ARTERIAL, VENOUS) for p in series(uid)]
    pair = [tumour(ARTERIAL, images=images), tumour(VENOUS, images=images)]
    found = assess(both(), pair)
    assert found.state == State.READY
    assert {need.basis for need in found.needs} == {"listed"}


def test_listed_localizers_are_not_waited_for():
    """The list begins with an image that is here and has no position; the tumour lies on the first plane."""
    low = tumour(ARTERIAL, keys=[0, 1, 2], images=["1.2.3.999", *(p.sop_instance_uid for p in series())])
    views = [view(series(), unusable_uids=("1.2.3.999",)), both()[1]]
    assert assess(views, [low, contours()[1]]).state == State.READY


def test_a_rule_that_is_no_expression_is_refused_by_name():
    """The installer reads which rule is wrong, not a traceback."""
    with pytest.raises(BadRequest, match="tumour"):
        Rules(roi_name_patterns=("(tumour",))
