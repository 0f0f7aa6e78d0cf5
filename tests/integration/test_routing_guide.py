"""The recipes of docs/routing.md that can be tried here, and the components that other tests start."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import components
import pytest
from components import ROUTING_GUIDE, auto_routing_lua, dcmtk, start_orthanc, wait_until
from peer_scp import PeerScp, peer_scp
from pydicom.uid import ExplicitVRLittleEndian
from sample_objects import SR_CLASSES, ct_slice, ct_uid, structured_report

from prognode.adapters.dicom_pacs import IMAGE_CLASSES, PacsSettings

pytestmark = pytest.mark.component


@pytest.fixture
def node() -> Iterator[PeerScp]:
    """A receiver in the place of the node, that would take reports as well if they were sent to it."""
    with peer_scp([*IMAGE_CLASSES, *SR_CLASSES], ae_title="PROGNODE") as scp:
        yield scp


@pytest.fixture
def routing_orthanc(tmp_path: Path, node: PeerScp) -> Iterator[components.Orthanc]:
    """Orthanc with the guide's Lua script."""
    orthanc = start_orthanc(tmp_path, node_port=node.port, lua=auto_routing_lua())
    yield orthanc
    orthanc.discard()


def test_orthanc_routes_images_by_the_guide_s_script_and_reports_stay(
    routing_orthanc: components.Orthanc, node: PeerScp, tmp_path: Path
):
    """Images sent to Orthanc by DCMTK's storescu arrive at the node unasked; a report that comes back goes nowhere."""
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "report.dcm").write_bytes(structured_report())
    for number in range(5):
        (folder / f"{number}.dcm").write_bytes(ct_slice(number))
    port = str(routing_orthanc.dicom_port)
    sent = dcmtk("storescu", "-aec", "ORTHANC", "-R", "+sd", "127.0.0.1", port, folder)
    assert sent.returncode == 0, sent.stderr
    wait_until(lambda: len(node.received) >= 5, "routing of five images")
    # one more image behind the report: when it has come, the report would have come before it
    routing_orthanc.upload(ct_slice(5))
    wait_until(lambda: len(node.received) >= 6, "routing of the sixth image")
    assert sorted(node.uids()) == sorted(ct_uid(number) for number in range(6))
    assert len(routing_orthanc.instances()) == 7


def test_orthanc_sends_a_study_by_rest(tmp_path: Path, node: PeerScp):
    """The REST recipe: find the study, echo the node, store to the node."""
    orthanc = start_orthanc(tmp_path, node_port=node.port)
    try:
        for number in range(3):
            orthanc.upload(ct_slice(number))
        studies = orthanc.post("/tools/find", {"Level": "Study", "Query": {"PatientID": "SYNTHETIC"}})
        orthanc.post("/modalities/node/echo", {})
        orthanc.post("/modalities/node/store", studies)
    finally:
        orthanc.discard()
    assert sorted(node.uids()) == sorted(ct_uid(number) for number in range(3))
    assert {item.transfer_syntax_uid for item in node.received} == {ExplicitVRLittleEndian}


def test_echoscu_reaches_a_peer_and_tells_a_closed_port(node: PeerScp, free_port: int):
    """The guide's way to check a connection tells the two cases apart by its exit code."""
    assert dcmtk("echoscu", "-aec", "PROGNODE", "127.0.0.1", str(node.port)).returncode == 0
    assert dcmtk("echoscu", "-aec", "PROGNODE", "127.0.0.1", str(free_port)).returncode != 0


def test_the_pacs_table_of_the_guide_is_accepted():
    """The configuration that installers copy has no unknown key."""
    _, _, rest = ROUTING_GUIDE.read_text(encoding="utf-8").partition("```toml\n")
    document = tomllib.loads(rest.partition("```")[0])
    (pacs,) = [PacsSettings.model_validate(table) for table in document["pacs"]]
    assert pacs.fetch == "c-move"
    assert pacs.storage_commitment


def test_orthanc_s_dicomweb_lists_what_was_uploaded(tmp_path: Path):
    """The plugin that viewers need is loaded on demand."""
    orthanc = start_orthanc(tmp_path, dicomweb=True)
    try:
        orthanc.upload(structured_report())
        (study,) = orthanc.get("/dicom-web/studies?00100020=SYNTHETIC")
        assert study["00080061"]["Value"] == ["SR"]
    finally:
        orthanc.discard()
