"""The need-set names exactly the images of a crop, and is complete exactly when the last of them is here."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from drawn_series import planes, roi, square, view
from hypothesis import given, settings
from hypothesis import strategies as st

from prognode.domain.crop import MARGIN_SLICES
from prognode.domain.need_set import NeedSet, check_geometry, find_needs
from prognode.errors import InvalidInput, Reason

COUNT = 60


def drawn_on(members, keys, *, listed=None, **more):
    """A tumour on the planes ``keys``, largest in their middle; lists the whole series unless told otherwise."""
    middle = keys[len(keys) // 2]
    sections = [
        square(members[k].position_lps_mm[2], 40 - 2 * abs(k - middle), uid=members[k].sop_instance_uid)
        for k in keys
    ]
    images = [plane.sop_instance_uid for plane in members] if listed is None else listed
    return roi(sections, images=images, **more)


def indices(need):
    """Which planes a need-set names, present or missing, by the number at the end of their UID."""
    uids = [*need.sop_instance_uids, *need.missing_uids]
    return sorted(int(uid.rsplit(".", 1)[1]) for uid in uids)


def test_need_set_is_window_and_margin():
    """A slice of 2.5 mm at z = 75: the window 74..76 lies between planes 29 and 31; nine more on each side."""
    members = planes(COUNT)
    need = find_needs(view(members), drawn_on(members, [30]))
    assert need.complete
    assert need.window.z_mm == (74, 75, 76)
    assert indices(need) == list(range(29 - MARGIN_SLICES, 31 + MARGIN_SLICES + 1))
    assert need.basis == "listed"
    assert need.proven_ends


def test_whole_list_names_the_need_set_before_any_image_is_here():
    """Two contours that name their images place every other image of the list."""
    members = planes(COUNT)
    tumour = drawn_on(members, [30, 31, 32])
    need = find_needs(view([]), tumour)
    assert not need.planes
    assert need.missing_uids == find_needs(view(members), tumour).sop_instance_uids


@pytest.mark.parametrize("order", [1, -1])
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), first=st.integers(0, COUNT - 3), gap_mm=st.sampled_from([1.0, 2.5, 5.0]))
def test_complete_exactly_when_the_last_needed_image_arrives(order, seed, first, gap_mm):
    """Any order of arrival, list ascending or descending, ROI anywhere: neither early nor late."""
    members = planes(COUNT, gap_mm)
    listed = [plane.sop_instance_uid for plane in members][::order]
    tumour = drawn_on(members, [first, first + 1, first + 2], listed=listed)
    needed = set(find_needs(view(members), tumour).sop_instance_uids)
    arrivals = random.Random(seed).sample(members, COUNT)
    last = max(k for k, plane in enumerate(arrivals) if plane.sop_instance_uid in needed)
    before, after = (find_needs(view(arrivals[:k]), tumour) for k in (last, last + 1))
    assert not before.complete
    assert after.complete
    assert set(after.sop_instance_uids) == needed
    if before.window is not None:
        assert before.missing_uids == (arrivals[last].sop_instance_uid,)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), listing=st.sampled_from(["contours", "none", "unordered"]))
def test_never_complete_before_the_last_needed_image(seed, listing):
    """Weaker lists may wait longer, but an image on its way is never overlooked."""
    members = planes(COUNT)
    uids = [plane.sop_instance_uid for plane in members]
    images = {"contours": uids[28:33], "none": [], "unordered": random.Random(7).sample(uids, COUNT)}[listing]
    tumour = drawn_on(members, range(28, 33), listed=images)
    needed = set(find_needs(view(members), tumour, quiet=True).sop_instance_uids)
    arrivals = random.Random(seed).sample(members, COUNT)
    last = max(k for k, plane in enumerate(arrivals) if plane.sop_instance_uid in needed)
    assert not find_needs(view(arrivals[:last]), tumour).complete
    assert find_needs(view(arrivals), tumour).complete


@pytest.mark.parametrize("listing", ["whole", "contours", "none"])
def test_every_second_image_first_is_not_taken_for_the_series(listing):
    """Even coverage at twice the gap is not coverage."""
    members = planes(COUNT)
    uids = [plane.sop_instance_uid for plane in members]
    tumour = drawn_on(
        members, range(20, 41), listed={"whole": uids, "contours": uids[20:41], "none": []}[listing]
    )
    assert not find_needs(view(members[::2]), tumour).complete
    assert find_needs(view(members), tumour).complete


def test_contours_on_every_second_image_do_not_prove_the_gap():
    """Contours and arrivals both at every second image: the Instance Numbers tell that images lie between."""
    members = planes(COUNT)
    tumour = drawn_on(
        members, range(20, 41, 2), listed=[members[k].sop_instance_uid for k in range(20, 41, 2)]
    )
    need = find_needs(view(members[::2]), tumour)
    assert not need.complete
    assert {image.offset_mm for image in need.missing} >= {members[29].position_lps_mm[2]}


def test_a_list_that_leaves_images_out_is_not_the_series():
    """A structure set that lists every second image, and numbers that contradict it: the list proves nothing."""
    members = planes(COUNT)
    listed = [plane.sop_instance_uid for plane in members[::2]]
    tumour = drawn_on(members, [28, 30, 32], listed=listed)
    assert not find_needs(view(members[::2]), tumour).complete


def test_without_numbers_or_list_the_contours_gap_proves_the_neighbours():
    """No Instance Numbers: images as far apart as the contours are neighbours."""
    members = planes(COUNT, numbered=False)
    tumour = drawn_on(members, range(28, 33), listed=[])
    need = find_needs(view(members[10:50]), tumour)
    assert need.complete
    assert need.basis == "spaced"


def test_without_any_proof_nothing_is_assumed():
    """No numbers, no list, one contour: nothing tells whether images are neighbours, until nothing more arrives."""
    members = planes(COUNT, numbered=False)
    tumour = drawn_on(members, [30], listed=[])
    assert find_needs(view(members), tumour).basis is None
    assert find_needs(view(members), tumour, quiet=True).complete


def test_fewer_outstanding_images_than_gaps_cannot_hide():
    """An unordered list with three images outstanding: forty equal gaps cannot each hide one."""
    members = planes(COUNT, numbered=False)
    uids = random.Random(3).sample([plane.sop_instance_uid for plane in members], COUNT)
    tumour = drawn_on(members, [30], listed=uids)
    need = find_needs(view(members[:57]), tumour)
    assert need.complete
    assert need.basis == "spaced"


def test_an_unproven_end_waits_and_then_is_stated():
    """The series ends inside the margin and nothing lists it: grace decides, and the report will say so."""
    members = planes(COUNT)
    tumour = drawn_on(members, [3], listed=[members[3].sop_instance_uid])
    need = find_needs(view(members), tumour)
    assert not need.complete
    assert all(image.beyond for image in need.missing)
    later = find_needs(view(members), tumour, quiet=True)
    assert later.complete
    assert not later.proven_ends
    assert len(later.remarks) == 1


def test_a_listed_end_needs_no_grace():
    """The whole-series list says that nothing lies below the first image."""
    members = planes(COUNT)
    need = find_needs(view(members[:30]), drawn_on(members, [1, 2, 3]))
    assert need.complete
    assert need.proven_ends
    assert indices(need)[0] == 0


def test_clamping_waits_for_the_proof_of_the_end():
    """A contour on the last image: clamped because the list ends there, not because images are still missing."""
    members = planes(COUNT, 1.0)
    tumour = drawn_on(members, [58, 59])
    need = find_needs(view(members), tumour)
    assert need.window.z_mm == (57, 58, 59)
    whole = [plane.sop_instance_uid for plane in members]
    longer = planes(COUNT + 5, 1.0)
    more = replace(
        tumour, referenced_image_uids=(*whole, *(plane.sop_instance_uid for plane in longer[COUNT:]))
    )
    assert find_needs(view(members), more).window.z_mm[2] == 60


def test_references_to_images_that_do_not_exist_fall_back_to_numbers():
    """A list of other UIDs names nothing of this series: it is no list of it."""
    members = planes(COUNT)
    tumour = drawn_on(members, range(28, 33), listed=[f"7.7.{k}" for k in range(COUNT)])
    tumour = replace(
        tumour, sections=tuple(replace(s, sop_instance_uid=f"7.7.{k}") for k, s in enumerate(tumour.sections))
    )
    need = find_needs(view(members), tumour)
    assert need.complete
    assert need.basis == "numbered"


def test_a_multi_frame_object_is_a_whole_series():
    """All frames come at once: no list, no numbers, no grace."""
    frames = [
        replace(p, sop_instance_uid="1.2.3.77", frame=k + 1, instance_number=1)
        for k, p in enumerate(planes(COUNT))
    ]
    tumour = roi([square(75.0, 30, uid="1.2.3.77")], images=["1.2.3.77"])
    need = find_needs(view(frames), tumour)
    assert need.complete
    assert len(need.planes) == 3 + 2 * MARGIN_SLICES
    assert need.sop_instance_uids == ("1.2.3.77",)


def test_the_image_of_the_largest_cross_section_is_always_needed():
    """A lone large contour far from three smaller ones that sum to more: its image is shown in the report."""
    members = planes(80, 1.0)
    sections = [square(60.0, 30)] + [square(z, 22) for z in (20.0, 21.0, 22.0)]
    tumour = roi(sorted(sections, key=lambda s: s.offset_mm), images=[p.sop_instance_uid for p in members])
    need = find_needs(view(members), tumour)
    assert need.window.z_mm == (20, 21, 22)
    assert indices(need)[-1] == 60


def test_jumping_instance_numbers_wait_for_the_list_to_be_complete():
    """Numbers that jump inside the series do not stop a listed series."""
    members = [
        replace(p, instance_number=p.instance_number + (100 if k > 30 else 0))
        for k, p in enumerate(planes(COUNT))
    ]
    assert find_needs(view(members), drawn_on(members, range(28, 33))).complete


def test_uneven_gaps_inside_the_need_set_are_refused():
    """One image is half a gap off its place."""
    members = planes(COUNT)
    x, y, z = members[25].position_lps_mm
    members[25] = replace(members[25], position_lps_mm=(x, y, z + 1.2))
    with pytest.raises(InvalidInput) as refused:
        check_geometry(view(members), find_needs(view(members), drawn_on(members, range(28, 33))))
    assert refused.value.reason is Reason.UNEVEN_GAPS


def test_uneven_gaps_outside_the_need_set_do_not_matter():
    """What the crop does not read may be as it likes."""
    members = planes(COUNT)
    x, y, z = members[58].position_lps_mm
    members[58] = replace(members[58], position_lps_mm=(x, y, z + 1.2))
    series = view(members)
    assert check_geometry(series, find_needs(series, drawn_on(members, range(20, 25)))).planes


def test_need_set_survives_storage():
    """What is stored with a case is what was found, missing images included."""
    members = planes(COUNT)
    need = find_needs(view(members[:30]), drawn_on(members, range(28, 33)))
    assert need.missing
    assert NeedSet.from_json(need.to_json()) == need


def test_half_a_series_is_not_taken_for_the_series_when_the_sender_pauses():
    """Every second image, then silence: the numbers still tell that images lie between."""
    members = planes(COUNT)
    tumour = drawn_on(members, range(28, 33), listed=[])
    paused = find_needs(view(members[::2]), tumour, quiet=True)
    assert not paused.complete
    assert all(image.offset_mm is not None for image in paused.missing)


def test_numbers_that_count_in_twos_are_accepted_when_nothing_more_can_come():
    """A series numbered 1, 3, 5 ...: after the last try to fetch, its images are neighbours."""
    members = [replace(p, instance_number=2 * p.instance_number) for p in planes(COUNT)]
    tumour = drawn_on(members, range(28, 33), listed=[])
    assert not find_needs(view(members), tumour, quiet=True).complete
    assert find_needs(view(members), tumour, quiet=True, fetch_exhausted=True).complete


def test_a_left_out_number_is_no_missing_image():
    """Numbers jump from 31 to 132 between images one gap apart: nothing is missing there."""
    members = [
        replace(p, instance_number=p.instance_number + (100 if k > 30 else 0))
        for k, p in enumerate(planes(COUNT))
    ]
    need = find_needs(view(members), drawn_on(members, range(28, 33), listed=[]))
    assert need.complete
    assert need.basis == "numbered"


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), kept=st.integers(10, COUNT - 1))
def test_silence_never_hides_a_hole(seed, kept):
    """Any images, then silence: complete only if what was needed of the span that is here is all here."""
    members = planes(COUNT)
    tumour = drawn_on(members, range(28, 33), listed=[])
    here = sorted(random.Random(seed).sample(range(COUNT), kept))
    need = find_needs(view([members[k] for k in here]), tumour, quiet=True)
    whole = {
        int(uid.rsplit(".", 1)[1]) for uid in find_needs(view(members), tumour, quiet=True).sop_instance_uids
    }
    span = {k for k in whole if here[0] <= k <= here[-1]}
    if need.complete and here[0] <= 27 and here[-1] >= 33:
        assert span <= set(here)


def test_a_series_that_has_hardly_begun_is_not_refused():
    """Two images, then a pause: too short for a window, but refused only when nothing more can come."""
    members = planes(COUNT, 1.0)
    tumour = drawn_on(members, [30], listed=[])
    assert not find_needs(view(members[:2]), tumour, quiet=True).complete
    with pytest.raises(InvalidInput) as refused:
        find_needs(view(members[:2]), tumour, quiet=True, fetch_exhausted=True)
    assert refused.value.reason is Reason.TOO_FEW_SLICES
