"""Fetching what is missing, from real archives: exactly those instances, by C-GET and by C-MOVE."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import components
import pytest
from peer_scp import PeerScp, Received, peer_scp
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, RLELossless
from sample_objects import ct_slice, ct_uid, encoded, uid

from prognode.adapters.dicom_pacs import IMAGE_CLASSES, UIDS_PER_REQUEST, DicomPacs, PacsSettings
from prognode.errors import Unavailable

pytestmark = pytest.mark.component

STUDY, SERIES = uid("study"), uid("study", "series")
SLICES = 30

Connect = Callable[..., DicomPacs]


class Inbox(list[Received]):
    """Takes what C-GET brings; ``answer`` is the status it gives."""

    answer = 0x0000

    def store(self, sop_class: str, sop_instance: str, syntax: str, dataset: bytes) -> int:
        self.append(Received(sop_class, sop_instance, syntax, dataset))
        return self.answer

    def uids(self) -> set[str]:
        return {item.sop_instance_uid for item in self}


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def node_scp() -> Iterator[PeerScp]:
    """The node's SCP, where C-MOVE delivers."""
    with peer_scp(IMAGE_CLASSES, ae_title="PROGNODE") as scp:
        yield scp


@pytest.fixture
def archive(tmp_path: Path, node_scp: PeerScp) -> Iterator[components.Orthanc]:
    """Orthanc with one series of synthetic slices."""
    orthanc = components.start_orthanc(tmp_path, node_port=node_scp.port)
    for number in range(SLICES):
        orthanc.upload(ct_slice(number))
    yield orthanc
    orthanc.discard()


@pytest.fixture
def dcmqrscp(tmp_path: Path, node_scp: PeerScp) -> Iterator[components.QueryRetrieveScp]:
    """DCMTK's archive with the same series, filled by dcmsend."""
    running = components.start_dcmqrscp(tmp_path, node_port=node_scp.port)
    folder = tmp_path / "slices"
    folder.mkdir()
    for number in range(SLICES):
        (folder / f"{number}.dcm").write_bytes(ct_slice(number))
    sent = components.dcmtk(
        "dcmsend", "-aec", running.ae_title, "+sd", "127.0.0.1", str(running.port), folder
    )
    assert sent.returncode == 0, sent.stderr
    yield running
    running.stop()


def connect(port: int, ae_title: str, how: str, inbox: Inbox) -> DicomPacs:
    settings = PacsSettings(name="archive", ae_title=ae_title, host="127.0.0.1", port=port, fetch=how)
    return DicomPacs(settings, store=inbox.store)


def test_c_get_from_orthanc_brings_exactly_what_was_asked_for(archive: components.Orthanc, inbox: Inbox):
    """Three of thirty, each with the data set that the archive was given."""
    wanted = [ct_uid(number) for number in (3, 5, 29)]
    pacs = connect(archive.dicom_port, archive.ae_title, "c-get", inbox)
    assert pacs.fetch(STUDY, SERIES, wanted) == 3
    assert inbox.uids() == set(wanted)
    first = next(item for item in inbox if item.sop_instance_uid == ct_uid(3))
    assert dcmread(BytesIO(first.dataset), force=True) == dcmread(BytesIO(ct_slice(3)))


def test_c_move_from_orthanc_brings_exactly_what_was_asked_for(
    archive: components.Orthanc, node_scp: PeerScp, inbox: Inbox
):
    """The same three arrive at the node's SCP by C-STORE, and none by C-GET."""
    wanted = [ct_uid(number) for number in (3, 5, 29)]
    pacs = connect(archive.dicom_port, archive.ae_title, "c-move", inbox)
    assert pacs.fetch(STUDY, SERIES, wanted) == 3
    assert sorted(node_scp.uids()) == sorted(wanted)
    assert inbox == []


@pytest.mark.parametrize("how", ["c-get", "c-move"])
def test_dcmqrscp_gives_exactly_what_was_asked_for(
    dcmqrscp: components.QueryRetrieveScp, node_scp: PeerScp, inbox: Inbox, how: str
):
    """The same from DCMTK's archive."""
    wanted = {ct_uid(number) for number in (0, 7, 28)}
    pacs = connect(dcmqrscp.port, dcmqrscp.ae_title, how, inbox)
    assert pacs.fetch(STUDY, SERIES, sorted(wanted)) == 3
    assert inbox.uids() | set(node_scp.uids()) == wanted


@pytest.mark.parametrize("how", ["c-get", "c-move"])
def test_what_the_archive_lacks_does_not_keep_back_the_rest(
    archive: components.Orthanc, node_scp: PeerScp, inbox: Inbox, how: str
):
    """Orthanc refuses a C-GET in which one UID is unknown to it; those that it holds come all the same."""
    pacs = connect(archive.dicom_port, archive.ae_title, how, inbox)
    assert pacs.fetch(STUDY, SERIES, [ct_uid(3), ct_uid(1000)]) == 1
    assert inbox.uids() | set(node_scp.uids()) == {ct_uid(3)}


@pytest.mark.parametrize("how", ["c-get", "c-move"])
def test_an_archive_that_has_none_of_them_gives_none(archive: components.Orthanc, inbox: Inbox, how: str):
    """Nothing to fetch is an answer, not an error."""
    pacs = connect(archive.dicom_port, archive.ae_title, how, inbox)
    assert pacs.fetch(STUDY, SERIES, [ct_uid(1000), ct_uid(1001)]) == 0
    assert inbox == []


def test_a_long_list_is_asked_for_in_parts(archive: components.Orthanc, inbox: Inbox):
    """More UIDs than go into one request: all of them come, once."""
    count = UIDS_PER_REQUEST + 20
    for number in range(SLICES, count):
        archive.upload(ct_slice(number))
    wanted = [ct_uid(number) for number in range(count)]
    assert connect(archive.dicom_port, archive.ae_title, "c-get", inbox).fetch(STUDY, SERIES, wanted) == count
    assert sorted(item.sop_instance_uid for item in inbox) == sorted(wanted)


def test_a_compressed_image_comes_as_it_lies_in_the_archive(archive: components.Orthanc, inbox: Inbox):
    """No peer has to decode what the node can read."""
    image = dcmread(BytesIO(ct_slice(500)))
    image.compress(RLELossless, generate_instance_uid=False)
    archive.upload(encoded(image, RLELossless))
    pacs = connect(archive.dicom_port, archive.ae_title, "c-get", inbox)
    assert pacs.fetch(STUDY, SERIES, [ct_uid(500), ct_uid(1)]) == 2
    syntaxes = {item.sop_instance_uid: item.transfer_syntax_uid for item in inbox}
    assert syntaxes == {ct_uid(500): RLELossless, ct_uid(1): ExplicitVRLittleEndian}


def test_an_image_that_the_node_could_not_store_is_not_counted(archive: components.Orthanc, inbox: Inbox):
    """The receiver's status goes back to the archive: a full disk is no success."""
    inbox.answer = 0xA700
    pacs = connect(archive.dicom_port, archive.ae_title, "c-get", inbox)
    try:
        completed = pacs.fetch(STUDY, SERIES, [ct_uid(1), ct_uid(2)])
    except Unavailable:
        completed = 0
    assert completed == 0


def test_a_pacs_that_is_not_for_fetching_is_never_asked(free_port: int):
    """Without ``fetch`` in the settings, no association is opened: the port is closed and nothing fails."""
    pacs = DicomPacs(PacsSettings(name="archive", ae_title="ANY", host="127.0.0.1", port=free_port))
    assert pacs.fetch(STUDY, SERIES, [ct_uid(1)]) == 0


@pytest.mark.parametrize("how", ["c-get", "c-move"])
def test_an_archive_that_is_down_is_tried_again_later(free_port: int, inbox: Inbox, how: str):
    """Unavailable, with the peer's name in the sentence."""
    with pytest.raises(Unavailable, match="archive"):
        connect(free_port, "ANY", how, inbox).fetch(STUDY, SERIES, [ct_uid(1)])


def test_an_archive_without_c_get_says_so(node_scp: PeerScp, inbox: Inbox):
    """A peer that only stores cannot be fetched from; the sentence names what it lacks."""
    with pytest.raises(Unavailable, match=r"does not offer .*GET"):
        connect(node_scp.port, "PROGNODE", "c-get", inbox).fetch(STUDY, SERIES, [ct_uid(1)])


@pytest.mark.parametrize("source", ["archive", "dcmqrscp"])
def test_the_images_of_a_series_are_listed_with_their_places(
    request: pytest.FixtureRequest, source: str, inbox: Inbox
):
    """C-FIND at IMAGE level: every slice with its number, and its position where the archive tells it."""
    peer: Any = request.getfixturevalue(source)
    port = peer.dicom_port if source == "archive" else peer.port
    found = connect(port, peer.ae_title, "c-get", inbox).find_images(STUDY, SERIES)
    by_uid = {image["sop_instance_uid"]: image for image in found}
    assert set(by_uid) == {ct_uid(number) for number in range(SLICES)}
    assert all(by_uid[ct_uid(number)]["instance_number"] == number for number in range(SLICES))
    places = {ct_uid(number): by_uid[ct_uid(number)]["position_lps_mm"] for number in range(SLICES)}
    # dcmqrscp keeps no positions in its index
    known = {key: place for key, place in places.items() if place is not None}
    assert known == ({ct_uid(n): [0.0, 0.0, float(n)] for n in range(SLICES)} if source == "archive" else {})
