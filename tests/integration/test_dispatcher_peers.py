"""Deliveries over TCP: to Orthanc and DCMTK as they are, and to a peer that has every fault a PACS may have."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import components
import pytest
from peer_scp import PeerScp, peer_scp, verdict_on_same_association
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.sop_class import (
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EnhancedSRStorage,
    StorageCommitmentPushModel,
)
from sample_objects import SR_CLASSES, encoded, report_variants, structured_report
from sr_samples import sample_report, unicode_sources
from verdict_ledger import commitments

import prognode.adapters.dicom_pacs as adapter
from prognode.adapters.dicom_pacs import DicomPacs, PacsSettings, send_at_once
from prognode.adapters.storage_commitment import Commitments, request_of
from prognode.dicom.sr import sr_variants
from prognode.errors import Unavailable
from prognode.events import facts
from prognode.ports import Delivery, Event
from services.dispatcher.handler import Dispatcher
from services.dispatcher.settings import DispatcherSettings


def pacs_at(port: int, ae_title: str = "PEER", **settings: object) -> DicomPacs:
    peer = PacsSettings(name="main", ae_title=ae_title, host="127.0.0.1", port=port, **settings)
    return DicomPacs(peer, commitments=commitments())


def dataset_bytes(file: bytes) -> bytes:
    """The data set of a DICOM file, without preamble and file meta information."""
    meta = dcmread(BytesIO(file), stop_before_pixels=True).file_meta
    group_length_element = 12
    return file[132 + group_length_element + meta.FileMetaInformationGroupLength :]


class Ledger(dict[tuple[str, str], Delivery]):
    """The part of the index that the dispatcher uses."""

    def delivery(self, sop_instance_uid: str, destination: str) -> Delivery | None:
        return self.get((sop_instance_uid, destination))

    def deliveries(self, sop_instance_uid: str | None = None) -> list[Delivery]:
        return [row for (uid, _), row in self.items() if sop_instance_uid in (None, uid)]

    def save_delivery(self, delivery: Delivery) -> None:
        self[delivery.sop_instance_uid, delivery.destination] = delivery

    def case(self, case_id: str) -> None:
        """No case: how long ago its images came cannot be measured."""


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


def deliver(*peers: DicomPacs, committing: tuple[str, ...] = (), limit: int = 50) -> Ledger:
    """Bring one report to all peers as the node would, trying again at once where it would pause."""
    variants = report_variants()
    uid = str(dcmread(BytesIO(variants[0])).SOPInstanceUID)
    keys = [f"reports/{number}" for number in range(len(variants))]
    ledger = Ledger()
    node = Dispatcher(
        index=ledger,
        objects=dict(zip(keys, variants, strict=True)),  # type: ignore[arg-type] - get() is all that is used
        peers={peer.name: peer for peer in peers},
        clock=SystemClock(),
        settings=DispatcherSettings(),
        committing=committing,
    )
    waiting: list[Event] = [facts.report_ready("case", "0" * 64, "sr", uid, keys)]
    for _ in range(limit):
        if not waiting:
            return ledger
        event = waiting.pop(0)
        if event.topic not in node.handlers:
            continue
        try:
            waiting += node.handlers[event.topic](event)
        except Unavailable:
            waiting.append(event)
    return ledger


# ---------------------------------------------------------------- what goes over the wire


def test_the_bytes_of_a_report_arrive_untouched():
    """The data set in the PACS is the one in the object store, bit for bit, whatever its sequences' lengths."""
    file = dcmread(BytesIO(structured_report(items=40)))
    file["ContentSequence"].is_undefined_length = True
    variants = [encoded(file), structured_report(items=300)]
    with peer_scp(SR_CLASSES) as peer:
        for variant in variants:
            assert pacs_at(peer.port).send([variant]).status == 0x0000
        assert [item.dataset for item in peer.received] == [dataset_bytes(variant) for variant in variants]
        assert {item.transfer_syntax_uid for item in peer.received} == {ExplicitVRLittleEndian}


def test_the_node_s_own_report_and_its_fall_backs_arrive_untouched():
    """The same for what the node really writes: each class of a report with non-ASCII names in it."""
    variants = sr_variants(sample_report(), unicode_sources())
    with peer_scp(SR_CLASSES) as peer:
        for variant in variants:
            assert pacs_at(peer.port).send([variant]).status == 0x0000
        assert [item.dataset for item in peer.received] == [dataset_bytes(variant) for variant in variants]


@pytest.mark.component
def test_storescp_of_dcmtk_writes_the_same_bytes(storescp: components.StoreScp):
    """The same through another implementation, which keeps what it gets bit by bit."""
    report = structured_report(items=300)
    assert pacs_at(storescp.port, storescp.ae_title).send([report]).status == 0x0000
    (written,) = storescp.files()
    assert dataset_bytes(written.read_bytes()) == dataset_bytes(report)


def test_a_peer_with_implicit_vr_only_gets_the_same_content():
    """Implicit VR Little Endian is the fall-back that no peer may refuse."""
    report = structured_report(items=40)
    with peer_scp(SR_CLASSES, syntaxes=[ImplicitVRLittleEndian]) as peer:
        assert pacs_at(peer.port).send([report]).status == 0x0000
        (item,) = peer.received
    assert item.transfer_syntax_uid == ImplicitVRLittleEndian
    assert dcmread(BytesIO(item.dataset), force=True) == dcmread(BytesIO(report))


@pytest.mark.parametrize(
    ("accepted", "sent"),
    [
        (SR_CLASSES, Comprehensive3DSRStorage),
        ([EnhancedSRStorage, ComprehensiveSRStorage], ComprehensiveSRStorage),
        ([EnhancedSRStorage], EnhancedSRStorage),
    ],
)
def test_the_best_class_that_the_peer_accepts_is_sent(accepted: list[str], sent: str):
    """One association negotiates all classes; the result names class and UID that went out."""
    variants = report_variants()
    with peer_scp(accepted) as peer:
        result = pacs_at(peer.port).send(variants)
        (item,) = peer.received
    assert (result.sop_class_uid, result.sop_instance_uid) == (sent, item.sop_instance_uid)
    assert item.sop_class_uid == sent
    assert dataset_bytes(variants[SR_CLASSES.index(sent)]) == item.dataset


def test_a_peer_that_takes_no_structured_report_is_named_as_such():
    """No class accepted is the status 0x0122, with the classes in words; nothing is sent."""
    with peer_scp([]) as peer:
        result = pacs_at(peer.port).send(report_variants())
    assert result.status == 0x0122
    assert "Comprehensive 3D SR Storage" in result.detail
    assert peer.received == []


def test_both_ends_send_without_delay(monkeypatch: pytest.MonkeyPatch):
    """TCP_NODELAY is set on the socket that pynetdicom really uses; the seam that a new pynetdicom might break."""
    seen: list[int] = []

    def recorded(event: object) -> None:
        send_at_once(event)
        seen.append(event.assoc.dul.socket.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    monkeypatch.setattr(adapter, "send_at_once", recorded)
    with peer_scp(SR_CLASSES, handlers=[(evt.EVT_CONN_OPEN, recorded)]) as peer:
        pacs_at(peer.port).echo()
    assert len(seen) == 2
    assert 0 not in seen


# ---------------------------------------------------------------- faults


def test_a_full_pacs_gets_the_report_when_it_has_room_again():
    """0xA700 three times, then success: one object there, four tries on record."""
    with peer_scp(SR_CLASSES, faults=[0xA700] * 3) as peer:
        (delivery,) = deliver(pacs_at(peer.port)).values()
        assert len(peer.received) == 1
    assert (delivery.state, delivery.attempts) == ("stored", 4)


def test_a_pacs_that_aborts_in_the_middle_gets_the_report_afterwards():
    """An abort between request and answer proves nothing, so the report is sent again."""
    with peer_scp(SR_CLASSES, faults=["abort", "abort"]) as peer:
        (delivery,) = deliver(pacs_at(peer.port)).values()
        assert len(peer.received) == 1
    assert (delivery.state, delivery.attempts) == ("stored", 3)


def test_a_pacs_that_never_answers_is_left_after_the_timeout():
    """A hanging peer costs the timeout, and is Unavailable then."""
    with (
        peer_scp(SR_CLASSES, faults=["silence"]) as peer,
        pytest.raises(Unavailable, match="no answer to C-STORE"),
    ):
        pacs_at(peer.port, response_timeout_s=0.5, commitment_timeout_s=0.5).send(report_variants())


def test_a_port_that_accepts_and_says_nothing_is_left_after_the_timeout():
    """Something listens there that is no DICOM peer: the negotiation has an end."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        pacs = pacs_at(mute.getsockname()[1], response_timeout_s=0.3)
        with pytest.raises(Unavailable, match="does not answer"):
            pacs.echo()


def test_a_pacs_that_is_down_gets_the_report_when_it_is_up(free_port: int):
    """Connection refused is a reason to wait, and the reason is on record meanwhile."""
    pacs = pacs_at(free_port)
    (waiting,) = deliver(pacs, limit=3).values()
    assert waiting.state == "pending"
    assert "does not answer" in waiting.last_status
    with peer_scp(SR_CLASSES, port=free_port) as peer:
        (delivery,) = deliver(pacs).values()
        assert len(peer.received) == 1
    assert delivery.state == "stored"


def test_a_pacs_that_is_down_holds_up_no_other(free_port: int):
    """Two destinations: the one that is up has the report while the other is waited for."""
    with peer_scp(SR_CLASSES) as peer:
        up = pacs_at(peer.port)
        down = DicomPacs(PacsSettings(name="down", ae_title="DOWN", host="127.0.0.1", port=free_port))
        rows = deliver(down, up, limit=20)
    assert {row.destination: row.state for row in rows.values()} == {"main": "stored", "down": "pending"}


def test_a_rejected_association_says_why():
    """A wrong AE title is the commonest fault at installation; the sentence names it."""
    with (
        peer_scp(SR_CLASSES, ae_title="RIGHT", reject_other_titles=True) as peer,
        pytest.raises(Unavailable, match="rejected the association: Called AE title not recognised"),
    ):
        pacs_at(peer.port, "WRONG").echo()


def test_an_unknown_host_is_a_peer_that_does_not_answer():
    """A name that does not resolve may resolve later; it is no bug."""
    pacs = DicomPacs(PacsSettings(name="main", ae_title="PEER", host="no-such-host.invalid", port=104))
    with pytest.raises(Unavailable, match="host name"):
        pacs.echo()


# ---------------------------------------------------------------- storage commitment


@pytest.mark.parametrize("committed", [True, False])
def test_a_verdict_on_the_same_association_is_heard(committed: bool):
    """A peer may report before the association ends (PS3.4 J.3.3)."""

    def offer(ae: AE) -> None:
        ae.add_supported_context(StorageCommitmentPushModel)

    handlers = [(evt.EVT_N_ACTION, verdict_on_same_association(committed=committed))]
    with peer_scp(SR_CLASSES, configure=offer, handlers=handlers) as peer:
        pacs = pacs_at(peer.port, storage_commitment=True)
        result = pacs.send(report_variants())
        assert pacs.commit(result.sop_class_uid, result.sop_instance_uid) is committed


def test_a_peer_that_does_not_offer_commitment_gives_no_verdict():
    """The context is rejected: None, and no error."""
    with peer_scp(SR_CLASSES) as peer:
        assert pacs_at(peer.port, storage_commitment=True).commit(Comprehensive3DSRStorage, "2.25.1") is None


def test_a_verdict_that_comes_late_is_found_at_the_next_try():
    """The peer takes its time; the second call finds the verdict and asks nothing."""
    asked: list[str] = []

    def on_action(event: object) -> tuple[int, None]:
        asked.append(str(event.action_information.TransactionUID))
        return 0x0000, None

    def offer(ae: AE) -> None:
        ae.add_supported_context(StorageCommitmentPushModel)

    results = commitments()
    with peer_scp([], configure=offer, handlers=[(evt.EVT_N_ACTION, on_action)]) as peer:
        settings = PacsSettings(
            name="main",
            ae_title="PEER",
            host="127.0.0.1",
            port=peer.port,
            storage_commitment=True,
            commitment_timeout_s=0.1,
        )
        pacs = DicomPacs(settings, commitments=results)
        assert pacs.commit(Comprehensive3DSRStorage, "2.25.1") is None
        report = request_of(asked[0], Comprehensive3DSRStorage, "2.25.1")
        assert results.handle_n_event_report(SimpleNamespace(event_information=report)) == (0x0000, None)
        assert pacs.commit(Comprehensive3DSRStorage, "2.25.1") is True
    assert len(asked) == 1


# ---------------------------------------------------------------- Orthanc


def accept_verdicts(ae: AE) -> None:
    """Take associations in which the requestor is the SCP of the push model, as the node's receiver does."""
    ae.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)


@pytest.fixture
def verdicts() -> Iterator[tuple[Commitments, PeerScp]]:
    """An SCP as the node has it, which hears the verdicts that a PACS sends on an association of its own."""
    results = commitments()
    handlers = [(evt.EVT_N_EVENT_REPORT, results.handle_n_event_report)]
    with peer_scp([], ae_title="PROGNODE", configure=accept_verdicts, handlers=handlers) as scp:
        yield results, scp


@pytest.fixture
def committing_orthanc(
    tmp_path: Path, verdicts: tuple[Commitments, PeerScp]
) -> Iterator[tuple[components.Orthanc, DicomPacs]]:
    """Orthanc that knows where to send its verdicts, and this node's view of it."""
    results, scp = verdicts
    orthanc = components.start_orthanc(tmp_path, node_port=scp.port)
    settings = PacsSettings(
        name="main",
        ae_title=orthanc.ae_title,
        host="127.0.0.1",
        port=orthanc.dicom_port,
        storage_commitment=True,
    )
    yield orthanc, DicomPacs(settings, commitments=results)
    orthanc.discard()


@pytest.mark.component
def test_orthanc_has_the_report_and_commits_to_it(committing_orthanc: tuple[components.Orthanc, DicomPacs]):
    """Stored, found by REST with the content that was sent, and committed by Orthanc's own N-EVENT-REPORT."""
    orthanc, pacs = committing_orthanc
    pacs.echo()
    (delivery,) = deliver(pacs, committing=("main",)).values()
    assert (delivery.state, delivery.attempts) == ("committed", 2)
    (found,) = orthanc.instances(Modality="SR")
    assert dcmread(BytesIO(orthanc.file(found))) == dcmread(BytesIO(report_variants()[0]))


@pytest.mark.component
def test_orthanc_does_not_commit_to_what_it_has_lost(
    committing_orthanc: tuple[components.Orthanc, DicomPacs],
):
    """Commitment is asked of the archive, not remembered from the store."""
    orthanc, pacs = committing_orthanc
    result = pacs.send(report_variants())
    assert pacs.commit(result.sop_class_uid, result.sop_instance_uid) is True
    orthanc.delete(result.sop_instance_uid)
    assert pacs.commit(result.sop_class_uid, result.sop_instance_uid) is False


@pytest.mark.component
def test_a_second_delivery_to_orthanc_leaves_one_instance(orthanc: components.Orthanc):
    """The same identity twice is one object in the PACS."""
    pacs = pacs_at(orthanc.dicom_port, orthanc.ae_title)
    for _ in range(2):
        deliver(pacs)
    assert len(orthanc.instances()) == 1


@pytest.mark.component
def test_orthanc_that_restarts_in_between_gets_the_report(tmp_path: Path):
    """The PACS is stopped, the delivery waits; it is started again on the same port, and the report is there."""
    first = components.start_orthanc(tmp_path)
    pacs = pacs_at(first.dicom_port, first.ae_title)
    first.stop()
    (waiting,) = deliver(pacs, limit=3).values()
    assert waiting.state == "pending"
    again = components.start_orthanc(tmp_path, configuration={"DicomPort": first.dicom_port})
    try:
        (delivery,) = deliver(pacs).values()
        assert delivery.state == "stored"
        assert len(again.instances(Modality="SR")) == 1
    finally:
        again.discard()


def test_deliveries_from_several_threads_do_not_disturb_each_other():
    """Each call has an association of its own."""
    with peer_scp(SR_CLASSES) as peer:
        pacs = pacs_at(peer.port)
        reports = [structured_report(study=f"study {number}") for number in range(6)]
        threads = [threading.Thread(target=pacs.send, args=([report],)) for report in reports]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        expected = {str(dcmread(BytesIO(report)).SOPInstanceUID) for report in reports}
    assert set(peer.uids()) == expected
