"""The receiver over real associations: what is acknowledged is durable and untouched, and nothing else is stored."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import raw_sender
from pydicom import Dataset, dcmread
from pynetdicom import AE, evt
from raw_sender import CT, EXPLICIT, IMPLICIT, LABEL_MAP_SEG, RTSTRUCT, SEG, STUDY, association, ready, send
from receiver_node import WAYS_IN, Node

from prognode.adapters.object_folder import FolderStore
from prognode.adapters.sql_index import SqlIndex
from prognode.dicom.part10 import data_set_of
from services.receiver import fast_receive
from services.receiver.header import Status
from services.receiver.service import STORAGE_COMMITMENT_PUSH, TRANSFER_SYNTAXES
from services.receiver.settings import ReceiverSettings

RLE = "1.2.840.10008.1.2.5"


@pytest.fixture(params=WAYS_IN)
def way_in(request):
    """Every promise holds for both ways from the connection to the handler."""
    return request.param


@pytest.fixture
def make_node(tmp_path, way_in):
    def make(extra_handlers=(), **settings):
        chosen = ReceiverSettings(host="127.0.0.1", port=0, fast_receive=way_in == "fast", **settings)
        return Node(tmp_path, chosen, extra_handlers)

    return make


@pytest.fixture
def node(make_node):
    with make_node() as node:
        yield node


def send_all(node, *sent):
    """Send over one association; the answers."""
    contexts = dict.fromkeys((each.sop_class, each.syntax) for each in sent)
    with association(node.port, list(contexts)) as opened:
        return [send(opened, each) for each in sent]


# ---------------------------------------------------------------- what is taken


def test_echo(node):
    """C-ECHO is answered with success, between stores as well."""
    sent = ready(1)
    with association(node.port, [(CT, EXPLICIT), (raw_sender.VERIFICATION, IMPLICIT)]) as opened:
        assert opened.send_c_echo().Status == 0
        assert send(opened, sent).status == 0
        assert opened.send_c_echo().Status == 0
        assert send(opened, ready(2)).status == 0


@pytest.mark.parametrize("sop_class", [CT, RTSTRUCT, SEG, LABEL_MAP_SEG])
def test_every_transfer_syntax_is_stored_untouched(node, sop_class):
    """CT, RTSTRUCT, SEG and label map SEG in each transfer syntax: the stored bytes are those sent."""
    sent = [ready(number, syntax, sop_class=sop_class) for number, syntax in enumerate(TRANSFER_SYNTAXES)]
    assert len(sent) >= 40
    assert {answer.status for answer in send_all(node, *sent)} == {0}
    node.assert_holds(*sent)
    for each in sent:
        assert dcmread(node.files()[0]).file_meta.MediaStorageSOPClassUID == sop_class
        assert node.index.instance(each.sop_instance).modality == raw_sender.MODALITIES[sop_class]


def test_the_index_row_says_what_later_steps_need(node):
    """Digest, size and the card of the header are in the row; the study is reported as changed."""
    sent = ready(7)
    send_all(node, sent)
    row = node.index.instance(sent.sop_instance)
    assert row.sha256 == hashlib.sha256(sent.syntax.encode() + b"\0" + sent.data).hexdigest()
    assert (row.study_instance_uid, row.series_instance_uid) == (STUDY, f"{STUDY}.3")
    assert row.card["instance_number"] == 7
    assert "SYNTHETIC-1" not in str(row.card)
    assert node.heard == [row]
    assert node.index.unassessed() == [(STUDY, 1)]


def test_several_associations_at_once_in_any_order(node):
    """Eight associations send one study's images and contours, shuffled and each twice: all are there once."""
    sent = [ready(number) for number in range(36)] + [
        ready(number, sop_class=RTSTRUCT) for number in range(4)
    ]
    shuffled = random.Random(4).sample(sent * 2, len(sent) * 2)
    with ThreadPoolExecutor(8) as pool:
        answers = [
            answer
            for some in pool.map(lambda i: send_all(node, *shuffled[i::8]), range(8))
            for answer in some
        ]
    assert {answer.status for answer in answers} == {0}
    node.assert_holds(*sent)
    assert node.index.unassessed() == [(STUDY, len(sent))]
    assert {row.sop_instance_uid for row in node.heard} == {each.sop_instance for each in sent}


def test_a_peer_that_sends_at_once_gets_its_answer(make_node):
    """The first object may arrive before our side has noted that the association it accepted is established."""
    held_up = [(evt.EVT_ACCEPTED, lambda _event: time.sleep(0.5))]
    with make_node(extra_handlers=held_up) as node, association(node.port, [(CT, EXPLICIT)]) as opened:
        opened.dimse_timeout = 5
        answer = send(opened, ready(1))
        assert answer is not None
        assert answer.status == 0


def test_a_duplicate_is_success_and_changes_nothing(node):
    """The same bytes again are answered 0x0000; no row, file or revision comes of it."""
    sent = ready(1)
    assert [answer.status for answer in send_all(node, sent, sent)] == [0, 0]
    assert [answer.status for answer in send_all(node, sent)] == [0]
    node.assert_holds(sent)
    assert node.index.unassessed() == [(STUDY, 1)]
    assert node.index.problems() == []


def test_a_lost_object_is_healed_by_a_duplicate(node):
    """If the file of a known instance is gone, sending it again brings it back before success is answered."""
    sent = ready(1)
    send_all(node, sent)
    node.objects.delete(node.index.instance(sent.sop_instance).object_key)
    assert send_all(node, sent)[0].status == 0
    node.assert_holds(sent)


def test_an_unusable_object_is_stored(node):
    """A localizer without position and an empty Patient ID are stored: the case says later what is wrong."""
    assert send_all(node, ready(1, patient=""))[0].status == 0


def test_other_storage_classes_are_stored(node):
    """What a PACS routes with the study is taken as well, so that a wrong modality can be named."""
    made = raw_sender.data_set(1)
    made.SOPClassUID, made.Modality = "1.2.840.10008.5.1.4.1.1.4", "MR"
    sent = raw_sender.Sent(str(made.SOPClassUID), str(made.SOPInstanceUID), EXPLICIT, raw_sender.encode(made))
    assert send_all(node, sent)[0].status == 0
    assert node.index.instance(sent.sop_instance).modality == "MR"


def test_classes_outside_the_settings_are_not_negotiated(make_node):
    """With a list of SOP classes in the settings, another class is refused in the negotiation."""
    with (
        make_node(sop_classes=(CT,)) as node,
        association(node.port, [(CT, EXPLICIT), (SEG, EXPLICIT)]) as opened,
    ):
        assert [context.abstract_syntax for context in opened.accepted_contexts] == [CT]


# ---------------------------------------------------------------- what is kept out


def test_other_bytes_are_kept_out_and_reported(node):
    """A re-send with different bytes fails with 0x0111; the first bytes stay; the problem can be seen."""
    first, changed = ready(1), ready(1, InstanceNumber=99)
    answers = send_all(node, first, changed, first)
    assert [answer.status for answer in answers] == [0, Status.DUPLICATE_INSTANCE, 0]
    assert "other bytes" in answers[1].comment
    node.assert_holds(first)
    (problem,) = node.index.problems(STUDY)
    assert problem["kind"] == "other-bytes"
    assert first.sop_instance in problem["detail"]
    assert len(node.heard) == 1


def test_conflicting_bytes_at_the_same_moment(node):
    """Of two different objects under one UID sent at once by many associations, one is stored and stays."""
    variants = [ready(1), ready(1, InstanceNumber=99)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: (i % 2, send_all(node, variants[i % 2])[0].status), range(24)))
    winners = {variant for variant, status in answers if status == 0}
    assert len(winners) == 1
    assert {status for variant, status in answers if variant not in winners} == {Status.DUPLICATE_INSTANCE}
    node.assert_holds(variants[winners.pop()])


@pytest.mark.parametrize("syntax", [IMPLICIT, RLE])
def test_the_same_instance_in_another_syntax(node, syntax):
    """An image transcoded on its way is the same instance: success, first bytes kept, reported."""
    first, transcoded = ready(1), ready(1, syntax)
    assert [answer.status for answer in send_all(node, first, transcoded)] == [0, 0]
    node.assert_holds(first)
    assert [problem["kind"] for problem in node.index.problems()] == ["other-encoding"]


def test_another_image_in_another_syntax_is_a_conflict(node):
    """Another transfer syntax does not hide a changed header, and a mask is never taken for the same unseen."""
    statuses = [
        [answer.status for answer in send_all(node, ready(1), ready(1, IMPLICIT, SeriesInstanceUID="1.2.3"))],
        [answer.status for answer in send_all(node, ready(1, sop_class=SEG), ready(1, RLE, sop_class=SEG))],
    ]
    assert statuses == [[0, Status.DUPLICATE_INSTANCE], [0, Status.DUPLICATE_INSTANCE]]


def test_a_foreign_patient_is_refused(node):
    """An object of another patient under a known Study Instance UID is refused, reported, and leaves nothing."""
    first = ready(1)
    answers = send_all(node, first, ready(2, patient="SYNTHETIC-2"))
    assert answers[1].status == Status.FOREIGN_PATIENT
    assert "SYNTHETIC" not in answers[1].comment
    node.assert_holds(first)
    (problem,) = node.index.problems(STUDY)
    assert problem["kind"] == "foreign-patient"
    assert "SYNTHETIC" not in problem["detail"]


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        ({"SOPInstanceUID": None}, Status.ATTRIBUTE_MISSING, "SOPInstanceUID"),
        ({"SOPClassUID": None}, Status.ATTRIBUTE_MISSING, "SOPClassUID"),
        ({"StudyInstanceUID": None}, Status.ATTRIBUTE_MISSING, "StudyInstanceUID"),
        ({"SeriesInstanceUID": ""}, Status.ATTRIBUTE_MISSING, "SeriesInstanceUID"),
        ({"Modality": None}, Status.ATTRIBUTE_MISSING, "Modality"),
        ({"PatientID": None}, Status.ATTRIBUTE_MISSING, "Patient ID"),
        ({"Rows": None}, Status.ATTRIBUTE_MISSING, "Rows"),
        ({"PixelData": None}, Status.CANNOT_UNDERSTAND, "Pixel Data"),
        ({"Rows": 17}, Status.CANNOT_UNDERSTAND, "Pixel Data is shorter"),
        ({"NumberOfFrames": 2}, Status.CANNOT_UNDERSTAND, "Pixel Data is shorter"),
        ({"SOPClassUID": SEG}, Status.DATA_SET_MISMATCH, "SOP Class UID"),
        ({"SOPInstanceUID": "1.2.3"}, Status.DATA_SET_MISMATCH, "SOP Instance UID"),
        ({"StudyInstanceUID": "../../etc"}, Status.UID_INVALID, "Study Instance UID"),
        ({"SeriesInstanceUID": "1.2/3"}, Status.UID_INVALID, "Series Instance UID"),
        ({"StudyInstanceUID": "1." + "2" * 63}, Status.UID_INVALID, "Study Instance UID"),
        ({"StudyInstanceUID": ["1.2", "1.3"]}, Status.UID_INVALID, "Study Instance UID"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_an_object_without_what_is_needed_is_refused(node, change, status, says):
    """Missing, wrong or contradicting attributes: a failure status, a comment that names it, nothing stored."""
    sent = replace(ready(1), data=raw_sender.encode(raw_sender.data_set(1, **change)))
    (answer,) = send_all(node, sent)
    assert answer.status == status
    assert says in answer.comment
    assert len(answer.comment) <= 64
    node.assert_holds()
    assert node.index.instances(STUDY) == []


@pytest.mark.parametrize("uid", ["../../x", "/etc/passwd", "1.2.3/../../x", "1..2", "abc", "."])
@pytest.mark.filterwarnings("ignore")
def test_a_uid_never_becomes_a_path(node, uid):
    """A SOP Instance UID that is no UID is refused, in command and data set alike, and touches no file."""
    before = set(node.folder.parent.rglob("*"))
    sent = replace(
        ready(1), sop_instance=uid, data=raw_sender.encode(raw_sender.data_set(1, SOPInstanceUID=uid))
    )
    with association(node.port) as opened:
        answer = send(opened, sent)
    assert answer is None or answer.status in (Status.UID_INVALID, Status.PROCESSING_FAILURE, 0x0117, 0x0106)
    assert {path for path in node.folder.parent.rglob("*") if path not in before} <= set()
    node.assert_holds()


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, raw_sender.BIG, raw_sender.DEFLATED, RLE])
def test_a_truncated_data_set_is_refused(node, syntax):
    """Wherever the data set is cut, it is not acknowledged and nothing of it is stored; the next one is."""
    whole = ready(1, syntax)
    cuts = [int(len(whole.data) * share) // 2 * 2 for share in (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)] + [
        len(whole.data) - 2
    ]
    cut = [replace(whole, data=whole.data[:length]) for length in cuts if length]
    answers = send_all(node, *cut)
    assert all(answer.status in (Status.CANNOT_UNDERSTAND, Status.ATTRIBUTE_MISSING) for answer in answers)
    assert all(answer.comment for answer in answers)
    node.assert_holds()
    assert send_all(node, whole)[0].status == 0
    node.assert_holds(whole)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_an_abort_in_the_middle_leaves_nothing(node, share):
    """A connection that ends inside a data set stores nothing; the next association stores the same object."""
    big = ready(1, Rows=256, Columns=256, PixelData=b"\1\2" * 65536)
    with association(node.port) as opened:
        raw_sender.send_and_vanish(opened, big, share)
    node.assert_holds()
    assert send_all(node, big)[0].status == 0
    node.assert_holds(big)


def test_a_full_disk_is_refused_and_recovers(make_node):
    """Above the watermark 0xA700, until the disk is below the recovery mark; what was stored stays."""
    with make_node(watermark=0.9, watermark_recovery=0.8) as node:
        first, second, third = ready(1), ready(2), ready(3)
        assert send_all(node, first)[0].status == 0
        node.used = 0.91
        (answer,) = send_all(node, second)
        assert (answer.status, "watermark" in answer.comment) == (Status.OUT_OF_RESOURCES, True)
        node.used = 0.85
        assert send_all(node, second)[0].status == Status.OUT_OF_RESOURCES
        node.assert_holds(first)
        node.used = 0.79
        assert [answer.status for answer in send_all(node, second)] == [0]
        node.used = 0.85
        assert [answer.status for answer in send_all(node, third)] == [0]
        node.assert_holds(first, second, third)


def test_a_failing_disk_is_out_of_resources(node, monkeypatch):
    """When the object or its row cannot be made durable the answer is 0xA700, and nothing is half stored."""

    def full(*_):
        raise OSError(28, "No space left on device")

    sent = ready(1)
    with monkeypatch.context() as failing:
        failing.setattr(os, "fsync", full)
        assert send_all(node, sent)[0].status == Status.OUT_OF_RESOURCES
        node.assert_holds()
    assert send_all(node, sent)[0].status == 0
    node.assert_holds(sent)


def test_a_bug_is_answered_and_stops_nobody(node, monkeypatch):
    """An unforeseen exception is answered 0x0110 without quoting it; the association goes on."""

    def bug(_instance, _key):
        raise KeyError("SYNTHETIC-1")

    with monkeypatch.context() as broken:
        broken.setattr(node.index, "register", bug)
        (answer,) = send_all(node, ready(1))
    assert answer.status == Status.PROCESSING_FAILURE
    assert "SYNTHETIC-1" not in answer.comment
    assert send_all(node, ready(1), ready(2))[1].status == 0


# ---------------------------------------------------------------- associations


def test_ae_titles_are_checked_when_asked_for(make_node):
    """With the settings on, another called or calling AE title is rejected; without them everyone is taken."""
    with make_node(require_called_ae_title=True, calling_ae_titles=("PACS",)) as node:
        for called, calling, taken in (
            ("PROGNODE", "PACS", True),
            ("OTHER", "PACS", False),
            ("PROGNODE", "X", False),
        ):
            with association(node.port, called=called, calling=calling) as opened:
                assert opened.is_established is taken


def test_any_ae_title_is_taken_by_default(node):
    """A PACS that calls the node by another name is heard."""
    with association(node.port, called="WHATEVER") as opened:
        assert opened.is_established


def test_too_many_associations_are_rejected(make_node):
    """The association beyond the limit is rejected; when one ends the next is taken."""
    with (
        make_node(maximum_associations=2) as node,
        association(node.port) as first,
        association(node.port) as second,
    ):
        assert first.is_established
        assert second.is_established
        with association(node.port) as third:
            assert not third.is_established


def test_a_sender_that_stops_in_the_middle_is_let_go(make_node):
    """A peer that falls silent inside a PDU loses its association after the timeout; the next peer gets its place."""
    with make_node(maximum_associations=1, network_timeout_s=0.5) as node:
        with association(node.port) as stalled:
            raw_sender.send_part_of_a_pdu(stalled, ready(1))
            deadline = time.monotonic() + 30
            while stalled.is_established and time.monotonic() < deadline:
                time.sleep(0.02)
            assert not stalled.is_established
        assert taken_by(node, 30)
        node.assert_holds(ready(2))


def taken_by(node, seconds):
    """Whether an association is accepted and a store succeeds within some time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with association(node.port) as opened:
            if opened.is_established:
                return send(opened, ready(2)).status == 0
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("largest", [64, 300, 1000])
def test_small_and_fragmented_pdus_are_put_together(node, largest):
    """Command and data set in many fragments, as a peer with a small PDU sends them, are stored as sent."""
    sent = [ready(1, Rows=64, Columns=64, PixelData=b"\1\2" * 4096), ready(2)]
    with association(node.port) as opened:
        assert [raw_sender.send_in_pdus(opened, each, largest).status for each in sent] == [0, 0]
    node.assert_holds(*sent)


def test_everything_in_one_pdu(node):
    """Command and data set as two values of one PDU are one request."""
    with association(node.port) as opened:
        assert raw_sender.send_in_one_pdu(opened, ready(1)).status == 0
        assert send(opened, ready(2)).status == 0
    node.assert_holds(ready(1), ready(2))


def test_another_class_than_negotiated_is_refused(node):
    """A C-STORE in the presentation context of another SOP class is answered 0x0122 and stores nothing."""
    wrong = replace(ready(1, sop_class=SEG), sop_class=CT)
    with association(node.port, [(SEG, EXPLICIT)]) as opened:
        answer = raw_sender.send_in_context(opened, wrong, opened.accepted_contexts[0].context_id)
    assert answer.status == Status.SOP_CLASS_NOT_SUPPORTED
    node.assert_holds()


def test_a_context_that_was_not_accepted_ends_the_association(node):
    """A C-STORE in a presentation context that nobody accepted is aborted and stores nothing."""
    with association(node.port) as opened:
        assert raw_sender.send_in_context(opened, ready(1), 99) is None
    node.assert_holds()


def test_a_command_inside_a_data_set_ends_the_association(tmp_path):
    """Where the data set should come, another command breaks the protocol: abort, nothing stored, the next peer is heard.

    On the fast way only: pynetdicom takes the command given last, and the data set is checked against that.
    """
    with Node(tmp_path, ReceiverSettings(host="127.0.0.1", port=0)) as node:
        with association(node.port) as opened:
            assert raw_sender.send_interrupted(opened, ready(1)) is None
        node.assert_holds()
        assert send_all(node, ready(2))[0].status == 0


@pytest.mark.parametrize("value_length", [0, 1, 0x7FFFFFFF])
def test_a_value_that_is_longer_or_shorter_than_its_pdu_ends_the_association(node, value_length):
    """A presentation data value whose length contradicts its PDU aborts the association and stores nothing."""
    with association(node.port) as opened:
        assert raw_sender.send_with_value_length(opened, ready(1), value_length) is None
    node.assert_holds()
    assert send_all(node, ready(2))[0].status == 0


def test_an_untested_pynetdicom_is_used_as_documented(tmp_path, monkeypatch):
    """With a pynetdicom that the fast way was not tested with, the documented way is taken and stores as well."""
    monkeypatch.setattr("pynetdicom.__version__", "3.9.9")
    monkeypatch.delattr(fast_receive, "install")
    with Node(tmp_path, ReceiverSettings(host="127.0.0.1", port=0)) as node:
        assert send_all(node, ready(1))[0].status == 0
        node.assert_holds(ready(1))


def test_event_reports_reach_the_extra_handler(make_node):
    """A PACS that opens an association as SCP of storage commitment is heard by the handler that was given."""
    heard = []

    def on_report(event):
        heard.append(event.event_information.TransactionUID)
        return 0x0000, None

    with make_node(extra_handlers=[(evt.EVT_N_EVENT_REPORT, on_report)]) as node:
        from pynetdicom import build_role

        ae = AE("PACS")
        ae.add_requested_context(STORAGE_COMMITMENT_PUSH)
        role = build_role(STORAGE_COMMITMENT_PUSH, scp_role=True)
        opened = ae.associate("127.0.0.1", node.port, ext_neg=[role])
        report = Dataset()
        report.TransactionUID = "1.2.3"
        status, _ = opened.send_n_event_report(report, 1, STORAGE_COMMITMENT_PUSH, "1.2.840.10008.1.20.1.1")
        opened.release()
    assert status.Status == 0
    assert heard == ["1.2.3"]


def test_stop_lets_the_store_in_hand_finish(make_node, monkeypatch):
    """stop() waits for the object that is being stored; afterwards nobody listens."""
    with make_node() as node:
        begun, go_on, put = threading.Event(), threading.Event(), node.objects.put

        def slow_put(key, data):
            begun.set()
            go_on.wait(10)
            put(key, data)

        monkeypatch.setattr(node.objects, "put", slow_put)
        with association(node.port) as opened, ThreadPoolExecutor(2) as pool:
            pool.submit(send, opened, ready(1))
            begun.wait(10)
            stopping = pool.submit(node.receiver.stop)
            assert not stopping.done()
            go_on.set()
            stopping.result(20)
        node.assert_holds(ready(1))
        with association(node.port) as opened:
            assert not opened.is_established


# ---------------------------------------------------------------- kill -9


def send_until_cut(port, sent, acknowledged):
    """Send over one association until it breaks; note what was acknowledged."""
    with association(port) as opened:
        for each in sent:
            if not opened.is_established:
                return
            answer = send(opened, each)
            if answer is not None and answer.status == 0:
                acknowledged.append(each)


def test_kill_9_loses_nothing_acknowledged(tmp_path, way_in):
    """Killed at random moments while two associations send, the receiver has every acknowledged instance, readable."""
    rng = random.Random(5)
    waiting = [ready(number, Rows=128, Columns=128, PixelData=b"\1\2" * 16384) for number in range(1500)]
    acknowledged: list = []
    for _ in range(4):
        script = Path(__file__).with_name("receiver_process.py")
        command = [sys.executable, str(script), str(tmp_path), way_in]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            port = int(process.stdout.readline())
            before = len(acknowledged)
            senders = [
                threading.Thread(target=send_until_cut, args=(port, waiting[before + i :: 2], acknowledged))
                for i in range(2)
            ]
            for sender in senders:
                sender.start()
            while len(acknowledged) == before:
                threading.Event().wait(0.001)
            threading.Event().wait(rng.uniform(0.0, 0.4))
            os.kill(process.pid, signal.SIGKILL)
            for sender in senders:
                sender.join(60)
        index, objects = SqlIndex(tmp_path / "index.db"), FolderStore(tmp_path / "objects")
        for each in acknowledged:
            row = index.instance(each.sop_instance)
            assert bytes(data_set_of(objects.get(row.object_key))) == each.data
        for row in index.instances(STUDY):
            assert objects.exists(row.object_key)
        index.close()
        objects.close()
    assert len(acknowledged) >= 4
