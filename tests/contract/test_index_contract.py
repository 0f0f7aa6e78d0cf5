"""What every index promises."""

import dataclasses
import random
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import pytest
from contract import samples
from contract.adapters_under_test import INDEXES
from contract.samples import STUDY

from prognode.adapters import sql_index
from prognode.ports import CaseState, Delivery, Registered


@pytest.fixture(params=INDEXES)
def reopen(request, tmp_path):
    return lambda: INDEXES[request.param](tmp_path)


@pytest.fixture
def index(reopen):
    return reopen()


# ---------------------------------------------------------------- instances


def test_an_instance_comes_back_as_registered(index, reopen):
    """Every field of the row comes back equal, time zone and card included, after a restart as well."""
    instance = samples.instance(1)
    assert index.register(instance, "patient") is Registered.NEW
    assert reopen().instance(instance.sop_instance_uid) == instance
    assert reopen().instances(STUDY) == [instance]
    assert reopen().studies() == [STUDY]


def test_times_are_moments(index):
    """A time given in another zone comes back as the same moment, in UTC."""
    local = datetime(2026, 5, 1, 12, 0, tzinfo=timezone(timedelta(hours=8)))
    index.register(dataclasses.replace(samples.instance(1), received_at=local), "patient")
    received = index.instance(samples.instance(1).sop_instance_uid).received_at
    assert received == local
    assert received.tzinfo == UTC


def test_every_text_that_json_can_hold_comes_back(index):
    """A card may quote a header that holds zero bytes, line ends, half a surrogate pair, or any letter."""
    text = "\0 \x1f \n \ud83d ' \" \\ % : ÄÖ 漢 \U0001f600"
    instance = dataclasses.replace(
        samples.instance(1), card={"series_description": text, text: [1e-300, None]}
    )
    index.register(instance, "patient")
    assert index.instance(instance.sop_instance_uid) == instance


def test_unknown_things_are_none_or_empty(index):
    """What is not there is None, an empty list or an empty dict: no error."""
    assert index.instance("1.2.3") is None
    assert index.instances("1.2.3") == []
    assert index.studies() == []
    assert index.case("none") is None
    assert index.cases() == []
    assert index.choices("none") == {}
    assert index.clinical("none") == {}
    assert index.delivery("1.2.3", "PACS") is None
    assert index.deliveries() == []
    assert index.problems() == []
    assert index.unassessed() == []
    assert index.outbox() == []
    assert index.case_counts() == []


def test_the_same_bytes_again_are_a_duplicate(index):
    """A duplicate changes nothing, the study's revision included."""
    index.register(samples.instance(1), "patient")
    before = index.unassessed()
    assert index.register(samples.instance(1), "patient") is Registered.DUPLICATE
    assert index.unassessed() == before


def test_other_bytes_under_the_same_uid_are_a_conflict(index):
    """The first bytes stay; nothing changes, not even when the re-send names another study."""
    index.register(samples.instance(1), "patient")
    before = index.unassessed()
    assert index.register(samples.instance(1, sha256="f" * 64), "patient") is Registered.CONFLICT
    moved = samples.instance(1, study="1.2.3", sha256="f" * 64)
    assert index.register(moved, "patient") is Registered.CONFLICT
    assert index.instances(STUDY) == [samples.instance(1)]
    assert index.instances("1.2.3") == []
    assert index.unassessed() == before


def test_a_study_belongs_to_the_first_patient(index):
    """An instance of another patient is refused and leaves nothing; another study is free."""
    index.register(samples.instance(1), "patient")
    before = index.unassessed()
    assert index.register(samples.instance(2), "another") is Registered.FOREIGN_PATIENT
    assert index.instance(samples.instance(2).sop_instance_uid) is None
    assert index.unassessed() == before
    assert index.register(samples.instance(2, study="1.2.3"), "another") is Registered.NEW


def test_registering_is_atomic_under_many_threads(index):
    """Of many registrations of one UID exactly one is NEW, and the revision counts the new ones exactly."""
    offers = [samples.instance(number % 10, sha256=str(number % 2) * 64) for number in range(80)]
    with ThreadPoolExecutor(12) as pool:
        outcomes = list(pool.map(lambda offer: index.register(offer, "patient"), offers))
    assert outcomes.count(Registered.NEW) == 10
    assert outcomes.count(Registered.DUPLICATE) + outcomes.count(Registered.CONFLICT) == 70
    assert index.unassessed() == [(STUDY, 10)]


def test_two_patients_race_for_one_study(index):
    """When two patients' instances arrive at once, one patient owns the study and every other instance is refused."""

    def offer(number):
        return number % 2, index.register(samples.instance(number), f"patient {number % 2}")

    with ThreadPoolExecutor(12) as pool:
        outcomes = list(pool.map(offer, range(40)))
    owners = {patient for patient, outcome in outcomes if outcome is Registered.NEW}
    assert len(owners) == 1
    assert all((outcome is Registered.NEW) == (patient in owners) for patient, outcome in outcomes)
    assert len(index.instances(STUDY)) == 20


def test_kill_9_loses_no_row_acknowledged(request, reopen, tmp_path):
    """After kill -9 in the middle of registering, every acknowledged row is there and the revision counts the rows."""
    adapter = request.node.callspec.params["reopen"]
    rng = random.Random(3)
    acknowledged: list[int] = []
    first = 0
    for _ in range(3):
        acknowledged += samples.acknowledged_before_kill("index", adapter, tmp_path, first, rng)
        index = reopen()
        stored = index.instances(STUDY)
        assert all(
            index.instance(samples.instance(n).sop_instance_uid) == samples.instance(n) for n in acknowledged
        )
        assert len(stored) - len(acknowledged) in range(4)
        assert index.unassessed() == [(STUDY, len(stored))]
        first = len(stored)
    assert len(acknowledged) >= 3


# ---------------------------------------------------------------- problems


def test_problems_are_kept_by_study(index, reopen):
    """A problem is listed with study, kind and detail; the same one again is counted, not listed twice."""
    index.report_problem(STUDY, "other-bytes", "CT 1.2.3 came again")
    index.report_problem(STUDY, "other-bytes", "CT 1.2.3 came again")
    index.report_problem("1.2.3", "foreign-patient", "SEG 1.2.4")
    assert len(reopen().problems()) == 2
    (problem,) = reopen().problems(STUDY)
    expected = {
        "study_instance_uid": STUDY,
        "kind": "other-bytes",
        "detail": "CT 1.2.3 came again",
        "count": 2,
    }
    assert {name: problem[name] for name in expected} == expected


# ---------------------------------------------------------------- assessment


def test_a_study_waits_for_assessment_until_its_revision_is_assessed(index):
    """A newer revision stays unassessed when an older one is saved."""
    for number in range(3):
        index.register(samples.instance(number), "patient")
    assert index.unassessed() == [(STUDY, 3)]
    index.save_assessment(None, STUDY, 2, [])
    assert index.unassessed() == [(STUDY, 3)]
    index.save_assessment(None, STUDY, 3, [])
    assert index.unassessed() == []


def test_touch_asks_for_another_assessment(index):
    """Touch raises the revision of a study that was assessed, and of one that has no instance."""
    index.register(samples.instance(1), "patient")
    index.save_assessment(None, STUDY, 1, [])
    index.touch(STUDY)
    assert index.unassessed() == [(STUDY, 2)]
    index.touch("1.2.3")
    assert ("1.2.3", 1) in index.unassessed()
    assert index.register(samples.instance(5, study="1.2.3"), "patient") is Registered.NEW
    assert index.register(samples.instance(6, study="1.2.3"), "another") is Registered.FOREIGN_PATIENT


def test_an_assessment_is_saved_whole(index, reopen):
    """Case, assessed revision and outbox are there together, after a restart as well."""
    index.register(samples.instance(1), "patient")
    index.save_assessment(samples.case(), STUDY, 1, [samples.event(1), samples.event(2)])
    again = reopen()
    assert again.case("case-1") == samples.case()
    assert again.cases() == [samples.case()]
    assert again.unassessed() == []
    assert [event for _, event in again.outbox()] == [samples.event(1), samples.event(2)]


def test_an_assessment_that_was_overtaken_changes_nothing(index):
    """An assessment of an older revision than one that is saved neither replaces the case nor sends events."""
    for number in range(2):
        index.register(samples.instance(number), "patient")
    newer = samples.case(state=CaseState.READY, input_digest="d2")
    index.save_assessment(newer, STUDY, 2, [samples.event(2)])
    index.save_assessment(samples.case(), STUDY, 1, [samples.event(1)])
    assert index.case("case-1") == newer
    assert [event for _, event in index.outbox()] == [samples.event(2)]
    assert index.unassessed() == []


def test_a_case_is_replaced_by_the_next_assessment(index):
    """State, digest and assessment follow the newest assessment."""
    index.register(samples.instance(1), "patient")
    index.save_assessment(samples.case(), STUDY, 1, [])
    ready = samples.case(state=CaseState.READY, input_digest="d1", assessment={"need_set": ["1.2"]})
    index.save_assessment(ready, STUDY, 1, [])
    assert index.case("case-1") == ready


def test_an_outcome_counts_for_its_inputs_only(index):
    """save_outcome says False and changes nothing once the case has moved on to other inputs."""
    ready = samples.case(state=CaseState.READY, input_digest="d1")
    index.save_assessment(ready, STUDY, 1, [])
    assert not index.save_outcome("case-1", "d0", CaseState.REPORTED, {"sr": "1.2"})
    assert index.case("case-1") == ready
    assert index.save_outcome("case-1", "d1", CaseState.REPORTED, {"sr": "1.2"})
    assert index.case("case-1").state is CaseState.REPORTED
    assert index.case("case-1").outcome == {"sr": "1.2"}
    assert not index.save_outcome("none", "d1", CaseState.REPORTED, {})


def test_an_assessment_does_not_forget_the_outcome_of_the_same_inputs(index):
    """An assessment that began before scoring ended must not set a reported case back; other inputs do."""
    ready = samples.case(state=CaseState.READY, input_digest="d1")
    index.save_assessment(ready, STUDY, 1, [])
    index.save_outcome("case-1", "d1", CaseState.REPORTED, {"sr": "1.2"})
    index.save_assessment(ready, STUDY, 2, [])
    assert (index.case("case-1").state, index.case("case-1").outcome) == (CaseState.REPORTED, {"sr": "1.2"})
    moved_on = samples.case(state=CaseState.READY, input_digest="d2")
    index.save_assessment(moved_on, STUDY, 3, [])
    assert index.case("case-1") == moved_on


def test_the_same_assessment_again_leaves_the_case_as_it_was(index):
    """The time of the last change is that of a change: nobody takes a case that was only looked at for a newer one."""
    index.save_assessment(samples.case(state=CaseState.READY, input_digest="d1"), STUDY, 1, [])
    index.save_outcome("case-1", "d1", CaseState.REPORTED, {"sr": "1.2"})
    reported = index.case("case-1")
    later = samples.case(
        state=CaseState.READY, input_digest="d1", updated_at=reported.updated_at + timedelta(seconds=9)
    )
    index.save_assessment(later, STUDY, 2, [])
    assert index.case("case-1") == reported
    assert index.unassessed() == []
    index.save_assessment(dataclasses.replace(later, assessment={"remarks": ["another"]}), STUDY, 3, [])
    assert index.case("case-1").updated_at == later.updated_at


def test_two_assessors_who_agree_publish_once(index, reopen):
    """Many who come to the same result at once leave one row and one fact, whichever revision each of them saw."""
    ready = samples.case(state=CaseState.READY, input_digest="d1")
    handles = [index, reopen(), reopen()]

    def save(number):
        handles[number % 3].save_assessment(ready, STUDY, 1 + number // 12, [samples.event(number)])

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(save, range(24)))
    assert index.case("case-1") == ready
    assert len(index.outbox()) == 1


def test_the_same_result_again_is_news_after_another_one(index):
    """Facts of a result go out again where the case said something else, or waited, in between."""
    ready = samples.case(state=CaseState.READY, input_digest="d1")
    index.save_assessment(ready, STUDY, 1, [samples.event(1)])
    index.save_assessment(
        samples.case(state=CaseState.READY, input_digest="d2"), STUDY, 2, [samples.event(2)]
    )
    index.save_assessment(ready, STUDY, 3, [samples.event(3)])
    index.save_assessment(samples.case(), STUDY, 4, [])
    index.save_assessment(ready, STUDY, 5, [samples.event(5)])
    assert [event for _, event in index.outbox()] == [samples.event(number) for number in (1, 2, 3, 5)]


def test_of_one_revision_waiting_does_not_undo_a_decision(index):
    """A slower assessor who still waits changes nothing; at a newer revision waiting is news."""
    refused = samples.case(state=CaseState.NOT_EVALUABLE, input_digest="d1")
    index.save_assessment(refused, STUDY, 4, [samples.event(1)])
    index.save_assessment(samples.case(), STUDY, 4, [])
    assert index.case("case-1") == refused
    index.save_assessment(samples.case(), STUDY, 5, [])
    assert index.case("case-1") == samples.case()


# ---------------------------------------------------------------- outbox


def test_the_outbox_is_published_in_order(index):
    """Oldest first, at most ``limit``; what was published does not come again, and no number is ever given anew."""
    published = []
    index.save_assessment(None, STUDY, 1, [samples.event(number) for number in range(5)])
    last = index.outbox()[-1][0]
    assert index.publish_outbox(published.extend, limit=3) == 3
    assert published == [samples.event(number) for number in range(3)]
    assert [event for _, event in index.outbox()] == [samples.event(3), samples.event(4)]
    assert index.publish_outbox(published.extend) == 2
    assert published == [samples.event(number) for number in range(5)]
    assert index.publish_outbox(published.extend) == 0
    index.save_assessment(None, STUDY, 2, [samples.event(9)])
    assert index.outbox()[0][0] > last


def test_a_fact_keeps_its_id_and_trace(index, reopen):
    """Whenever a fact is published, it goes under the id and the trace context that it was written with."""
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    fact = dataclasses.replace(samples.event(1), traceparent=traceparent)
    index.save_clinical("case-1", {}, [fact])
    (waiting,) = [event for _, event in reopen().outbox()]
    published = []
    reopen().publish_outbox(published.extend)
    for found in (waiting, *published):
        assert (found, found.traceparent, found.id) == (fact, traceparent, fact.id)


def test_what_could_not_be_published_stays(index, reopen):
    """When publishing raises, every fact is still there and goes out the next time, once."""

    def no_bus(_events):
        raise ConnectionError("the bus is away")

    events = [samples.event(number) for number in range(4)]
    index.save_assessment(None, STUDY, 1, events)
    with pytest.raises(ConnectionError):
        index.publish_outbox(no_bus)
    assert [event for _, event in reopen().outbox()] == events
    published = []
    assert index.publish_outbox(published.extend) == 4
    assert published == events
    assert index.outbox() == []


def test_two_relays_publish_each_fact_once_and_in_order(reopen):
    """Whoever relays, and however many, the bus sees the facts in the order of the outbox, none of them twice."""
    events = [samples.event(number) for number in range(60)]
    reopen().save_assessment(None, STUDY, 1, events)
    published = []

    def slowly(some):
        for event in some:
            time.sleep(0.001)
            published.append(event)

    def relay(index):
        while index.outbox():
            index.publish_outbox(slowly, limit=7)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(relay, [reopen() for _ in range(3)]))
    assert published == events


def test_nobody_who_writes_waits_for_the_bus(index, reopen):
    """While facts are being published, instances are registered and more facts written; these go out next."""
    index.save_assessment(None, STUDY, 1, [samples.event(1)])
    beside = reopen()

    def publish(_events):
        assert beside.register(samples.instance(1), "patient") is Registered.NEW
        beside.save_clinical("case-1", {"m_stage": "M0"}, [samples.event(2)])

    assert index.publish_outbox(publish) == 1
    assert [event for _, event in index.outbox()] == [samples.event(2)]


def test_a_relay_does_not_wait_for_ever(index, reopen):
    """While another one publishes, a relay comes back with 0 and has published nothing."""
    index.save_assessment(None, STUDY, 1, [samples.event(1)])
    beside, published = reopen(), []

    def publish(_events):
        assert beside.publish_outbox(published.extend) == 0

    assert index.publish_outbox(publish) == 1
    assert published == []


def test_the_age_of_the_outbox_is_that_of_its_oldest_fact(index):
    """0 when nothing waits; it grows while the oldest fact waits, and ends when that one is published."""
    assert index.outbox_age_s() == 0.0
    index.save_clinical("case-1", {}, [samples.event(1)])
    first = index.outbox_age_s()
    time.sleep(0.05)
    begin = time.monotonic()
    index.save_clinical("case-1", {}, [samples.event(2)])
    assert index.outbox_age_s() >= first + 0.05
    index.publish_outbox(lambda _events: None, limit=1)
    assert index.outbox_age_s() <= time.monotonic() - begin + 0.02
    index.publish_outbox(lambda _events: None)
    assert index.outbox_age_s() == 0.0


# ---------------------------------------------------------------- choices, covariates, deliveries


def test_cases_are_listed_by_state(index):
    """All cases, newest last, or those in one state."""
    listed = [
        samples.case(
            f"case-{number}",
            study_instance_uid=f"1.2.{number}",
            updated_at=datetime(2026, 1, 9 - number, tzinfo=UTC),
            state=CaseState.WAITING if number % 2 else CaseState.REPORTED,
        )
        for number in range(5)
    ]
    for case in listed:
        index.save_assessment(case, case.study_instance_uid, 1, [])
    assert index.cases() == listed[::-1]
    assert index.cases(CaseState.WAITING) == [listed[3], listed[1]]
    assert index.cases(CaseState.NOT_EVALUABLE) == []


def test_cases_are_counted_by_state_and_by_what_they_wait_for(index):
    """A case that waits is as old as its study's last arrival, any other as old as its last change."""
    now = datetime.now(tz=UTC)

    def save(number, state, hours, kinds=()):
        """A case that changed so many hours ago, in whose study an image came an hour later and one an hour before."""
        study = f"1.2.{number}"
        for image in (1, -1):
            arrival = now - timedelta(hours=hours - image)
            instance = dataclasses.replace(
                samples.instance(10 * number + image, study=study), received_at=arrival
            )
            index.register(instance, "patient")
        # a name may hold what no data base's text can: nobody but the reader of the case trips over it
        waits = [{"kind": kind, "detail": "\0 \ud83d"} for kind in kinds]
        case = samples.case(
            f"case-{number}",
            study_instance_uid=study,
            state=state,
            updated_at=now - timedelta(hours=hours),
            assessment={"waiting_for": waits},
        )
        index.save_assessment(case, study, 2, [])

    save(1, CaseState.WAITING, 5, ["image", "contours"])
    save(2, CaseState.WAITING, 7, ["image"])
    save(3, CaseState.WAITING, 9, ["contours"])
    save(4, CaseState.WAITING, 3)
    save(5, CaseState.READY, 2)
    save(6, CaseState.READY, 4)
    save(7, CaseState.REPORTED, 48)
    counted = {
        (one.state, one.waiting_for): (one.count, round(one.oldest_s / 3600, 2))
        for one in index.case_counts()
    }
    assert counted == {
        (CaseState.WAITING, "image"): (2, 6.0),
        (CaseState.WAITING, "contours"): (1, 8.0),
        (CaseState.WAITING, ""): (1, 2.0),
        (CaseState.READY, ""): (2, 4.0),
        (CaseState.REPORTED, ""): (1, 48.0),
    }


def test_a_case_without_images_is_as_old_as_its_last_change(index):
    """A case of a study of which no image is known is counted all the same."""
    index.save_assessment(samples.case(assessment={}), STUDY, 1, [])
    (counted,) = index.case_counts()
    assert (counted.state, counted.waiting_for, counted.count) == (CaseState.WAITING, "", 1)
    assert counted.oldest_s > 86400


def test_choices_and_covariates_are_kept(index, reopen):
    """The last saved value holds; saving covariates puts their events into the outbox."""
    index.save_choices("case-1", {"phases": {"1.2": "venous"}})
    index.save_choices("case-1", {"phases": {"1.2": "arterial"}})
    index.save_clinical("case-1", {"ki67_percent": 20.0}, [samples.event(1)])
    index.save_clinical("case-1", {"ki67_percent": 25.5, "m_stage": "M0"}, [])
    assert reopen().choices("case-1") == {"phases": {"1.2": "arterial"}}
    assert reopen().clinical("case-1") == {"ki67_percent": 25.5, "m_stage": "M0"}
    assert [event for _, event in reopen().outbox()] == [samples.event(1)]


def test_deliveries_are_kept_by_object_and_destination(index, reopen):
    """A delivery is updated in place; others are untouched."""
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    first = Delivery("1.2", "PACS-A", "pending", 0, "", moment)
    second = Delivery("1.2", "PACS-B", "pending", 0, "", moment)
    third = Delivery("1.3", "PACS-A", "failed", 9, "0xA900", moment)
    for delivery in (first, second, third):
        index.save_delivery(delivery)
    stored = dataclasses.replace(first, state="stored", attempts=2, last_status="0x0000")
    index.save_delivery(stored)
    assert reopen().delivery("1.2", "PACS-A") == stored
    assert reopen().deliveries("1.2") == [stored, second]
    assert reopen().deliveries() == [stored, second, third]


def test_names_are_ordered_byte_by_byte(index):
    """The order does not depend on the language of a server: capitals before small letters, digits before both."""
    names = ["PACS 10", "PACS-2", "PACS_1", "b", "pacs", "Ä"]
    for name in reversed(names):
        index.save_delivery(Delivery("1.2", name, "pending", 0, "", datetime(2026, 1, 2, tzinfo=UTC)))
    assert [delivery.destination for delivery in index.deliveries()] == names


# ---------------------------------------------------------------- storage commitment


@pytest.mark.parametrize("committed", [True, False])
def test_a_verdict_reaches_whoever_asked(index, reopen, committed):
    """Asked through one connection, heard by another, taken once."""
    index.open_commitment("2.25.1", "PACS", "2.25.7")
    assert index.take_commitment("PACS", "2.25.7") is None
    reopen().record_commitment("2.25.1", {"2.25.7"} if committed else {"2.25.8"})
    assert index.take_commitment("OTHER", "2.25.7") is None
    assert index.take_commitment("PACS", "2.25.7") is committed
    assert index.take_commitment("PACS", "2.25.7") is None


def test_a_verdict_stands_and_an_unknown_one_changes_nothing(index):
    """A second report of a transaction, or one of a transaction that is not open, is not heard."""
    index.open_commitment("2.25.1", "PACS", "2.25.7")
    index.record_commitment("2.25.2", {"2.25.7"})
    assert index.take_commitment("PACS", "2.25.7") is None
    index.record_commitment("2.25.1", set())
    index.record_commitment("2.25.1", {"2.25.7"})
    assert index.take_commitment("PACS", "2.25.7") is False


def test_the_newest_verdict_counts_and_ends_the_older_requests(index):
    """Asked twice, because the first verdict was late: both have come, and neither is left for the next request."""
    for transaction in ("2.25.1", "2.25.2"):
        index.open_commitment(transaction, "PACS", "2.25.7")
    index.record_commitment("2.25.2", {"2.25.7"})
    index.record_commitment("2.25.1", set())
    assert index.take_commitment("PACS", "2.25.7") is True
    index.open_commitment("2.25.3", "PACS", "2.25.7")
    assert index.take_commitment("PACS", "2.25.7") is None


def test_requests_without_a_verdict_are_forgotten_after_a_week(index, monkeypatch):
    """A PACS that never answers fills no table."""
    index.open_commitment("2.25.1", "PACS", "2.25.7")
    monkeypatch.setattr(sql_index, "COMMITMENT_KEPT", timedelta(0))
    index.open_commitment("2.25.2", "PACS", "2.25.8")
    monkeypatch.undo()
    index.record_commitment("2.25.1", {"2.25.7"})
    assert index.take_commitment("PACS", "2.25.7") is None
