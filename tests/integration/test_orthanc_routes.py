"""The whole way with real programs: modality -> Orthanc -> node -> Orthanc, by Orthanc's own routing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import components
import pytest
from components import auto_routing_lua, dcmtk, start_orthanc, wait_until
from node import NodeProcess, read, said_of, start_node, stored_report
from pydicom import Dataset
from studies import small_study

from prognode.dicom.sr_check import says_same
from training.synthetic_study import SyntheticStudy, write_study

pytestmark = pytest.mark.component

ARRIVAL_LIMIT_S = 120.0


@pytest.fixture
def ports() -> dict[str, int]:
    """Ports of the Orthanc that is yet to start: node and Orthanc name each other."""
    return {"DicomPort": components.free_port(), "HttpPort": components.free_port()}


@pytest.fixture
def node(tmp_path: Path, ports: dict[str, int]) -> Iterator[NodeProcess]:
    """``prognode up`` with Orthanc as its PACS."""
    pacs = {"name": "orthanc", "ae_title": "ORTHANC", "host": "127.0.0.1", "port": ports["DicomPort"]}
    running = start_node(tmp_path / "node", [pacs])
    yield running
    running.stop()


def modality_sends(study: SyntheticStudy, folder: Path, orthanc: components.Orthanc) -> None:
    """DCMTK's storescu in the place of a modality."""
    write_study(study, folder)
    sent = dcmtk("storescu", "-aec", "ORTHANC", "-R", "+sd", "127.0.0.1", str(orthanc.dicom_port), folder)
    assert sent.returncode == 0, sent.stderr


def found_in(orthanc: components.Orthanc, modality: str) -> Dataset:
    """The one object of a modality, once Orthanc has it."""
    wait_until(
        lambda: orthanc.instances(Modality=modality), f"arrival of {modality} in Orthanc", ARRIVAL_LIMIT_S
    )
    (orthanc_id,) = orthanc.instances(Modality=modality)
    return read(orthanc.file(orthanc_id))


def assert_report_and_figure_came_back(
    orthanc: components.Orthanc, node: NodeProcess, study: SyntheticStudy
) -> None:
    """Orthanc holds one SR and one figure in the study of the images, and the SR says what the node's JSON says."""
    report, figure = found_in(orthanc, "SR"), found_in(orthanc, "OT")
    assert report.StudyInstanceUID == figure.StudyInstanceUID == study.study_uid
    assert report.PatientID == study.patient_id
    assert said_of(report)["status"] == "preliminary"
    assert says_same(report, stored_report(node, report.SOPInstanceUID)) == []
    node.settle()
    studies = orthanc.post("/tools/find", {"Level": "Study", "Query": {"StudyInstanceUID": study.study_uid}})
    assert len(studies) == 1
    assert len(orthanc.instances()) == len(study.instances) + 2


def test_orthanc_routes_a_study_by_its_lua_script(tmp_path: Path, node: NodeProcess, ports: dict[str, int]):
    """The guide's script sends each object on as it comes in; report and figure come back and stay there."""
    study = small_study(seed=1200)
    orthanc = start_orthanc(tmp_path, node_port=node.port, lua=auto_routing_lua(), configuration=ports)
    try:
        modality_sends(study, tmp_path / "study", orthanc)
        assert_report_and_figure_came_back(orthanc, node, study)
    finally:
        orthanc.discard()


def test_orthanc_sends_a_study_by_rest(tmp_path: Path, node: NodeProcess, ports: dict[str, int]):
    """The guide's REST call sends the whole study; sent again with its reports in it, nothing new follows."""
    study = small_study(seed=1201)
    orthanc = start_orthanc(tmp_path, node_port=node.port, configuration=ports)
    try:
        modality_sends(study, tmp_path / "study", orthanc)
        query = {"Level": "Study", "Query": {"PatientID": study.patient_id}}
        for _ in range(2):
            orthanc.post("/modalities/node/store", orthanc.post("/tools/find", query))
            assert_report_and_figure_came_back(orthanc, node, study)
    finally:
        orthanc.discard()
