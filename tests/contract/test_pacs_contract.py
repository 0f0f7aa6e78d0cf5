"""What every peer looks like through the port, whichever archive is behind it: tried on Orthanc and on DCMTK's dcmqrscp."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import components
import pytest
from sample_objects import SR_CLASSES, ct_slice, ct_uid, report_variants, uid
from verdict_ledger import commitments

from prognode.adapters.dicom_pacs import DicomPacs, PacsSettings
from prognode.errors import Unavailable
from prognode.ports import Pacs

pytestmark = pytest.mark.component

STUDY, SERIES = uid("study"), uid("study", "series")

Connect = Callable[..., Pacs]


def _store(*_: object) -> int:
    return 0x0000


def adapter(port: int, ae_title: str, **settings: object) -> Pacs:
    peer = PacsSettings(name="peer", ae_title=ae_title, host="127.0.0.1", port=port, **settings)
    return DicomPacs(peer, store=_store, commitments=commitments())


@pytest.fixture(params=["orthanc", "dcmqrscp"])
def connect(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Connect]:
    """Opens the port onto a running archive, with the settings given."""
    if request.param == "orthanc":
        orthanc = components.start_orthanc(tmp_path)
        program, port, title = orthanc.program, orthanc.dicom_port, orthanc.ae_title
    else:
        dcmqrscp = components.start_dcmqrscp(tmp_path, node_port=components.free_port())
        program, port, title = dcmqrscp.program, dcmqrscp.port, dcmqrscp.ae_title
    yield lambda **settings: adapter(port, title, **settings)
    program.discard()


def test_echo_succeeds(connect: Connect):
    """A peer that is there raises nothing."""
    connect().echo()


def test_send_tells_status_class_and_instance(connect: Connect):
    """The best class is taken, and sending it again is a success too."""
    pacs = connect()
    first, second = pacs.send(report_variants()), pacs.send(report_variants())
    assert first.status == second.status == 0x0000
    assert first.sop_class_uid == SR_CLASSES[0]
    assert first.sop_instance_uid == second.sop_instance_uid


def test_what_was_sent_is_found_and_fetched(connect: Connect):
    """Store, find and fetch agree on the same instances."""
    pacs = connect(fetch="c-get")
    for number in range(4):
        assert pacs.send([ct_slice(number)]).status == 0x0000
    found = {image["sop_instance_uid"] for image in pacs.find_images(STUDY, SERIES)}
    assert found == {ct_uid(number) for number in range(4)}
    assert pacs.fetch(STUDY, SERIES, [ct_uid(1), ct_uid(3)]) == 2


def test_an_unknown_series_has_no_images(connect: Connect):
    """Nothing found and nothing fetched are answers, not errors."""
    pacs = connect(fetch="c-get")
    assert pacs.find_images(STUDY, uid("nothing")) == []
    assert pacs.fetch(STUDY, uid("nothing"), [ct_uid(1)]) == 0


def test_commitment_that_is_not_configured_has_no_verdict(connect: Connect):
    """None, and the peer is not asked."""
    assert connect().commit(SR_CLASSES[0], ct_uid(1)) is None


def test_every_method_says_unavailable_when_nobody_listens():
    """The one error that the callers retry on, whatever was asked."""
    pacs = adapter(components.free_port(), "NOBODY", fetch="c-get", storage_commitment=True)
    calls: list[Callable[[], object]] = [
        pacs.echo,
        lambda: pacs.send(report_variants()),
        lambda: pacs.commit(SR_CLASSES[0], ct_uid(1)),
        lambda: pacs.fetch(STUDY, SERIES, [ct_uid(1)]),
        lambda: pacs.find_images(STUDY, SERIES),
    ]
    for call in calls:
        with pytest.raises(Unavailable):
            call()
