"""One case gives the same report in both shapes, byte for byte, when both run the same engine at the same moment."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from distributed_node import distributed_config, shared_servers
from node import PATIENCE_S, ReceivingPacs, send_over, write_config
from studies import small_study

from apps.compose import EMBEDDED, SERVICES, Node
from apps.config import load_config
from apps.outside import Outside

pytestmark = pytest.mark.component

MOMENT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


class StoppedClock:
    """It is always the same moment."""

    def now(self) -> datetime:
        return MOMENT


def sent_by(path: Path, pacs: ReceivingPacs, study) -> dict[str, list[bytes]]:
    """All services in this process, on whatever the configuration names; what arrives in the PACS, by UID."""
    config = load_config(path)
    outside = Outside(config, clock=StoppedClock())
    node = Node(config, outside, [SERVICES[name](outside) for name in EMBEDDED])
    node.start()
    try:
        answers = send_over(node.port, study.instances)
        assert {answer.status for answer in answers} == {0}
        pacs.wait_reports(1, study.study_uid)
        pacs.wait_figures(1, study.study_uid)
    finally:
        node.stop()
    assert not node.failed.is_set()
    return {uid: sorted(set(data)) for uid, data in pacs.received.items()}


@pytest.mark.timeout(int(4 * PATIENCE_S))
def test_embedded_and_distributed_send_the_same_bytes(tmp_path):
    """SQLite, a folder and ONNX Runtime against Kafka, PostgreSQL, S3 and Triton: report and figure, covariates included."""
    study = small_study(seed=7101)
    patient = study.instances[0].PatientID
    (tmp_path / "covariates.csv").write_text(f"patient_id,ki67,m_stage\n{patient},35,M0\n")
    csv = {"clinical_csv": str(tmp_path / "covariates.csv")}
    with ReceivingPacs() as pacs:
        embedded = sent_by(write_config(tmp_path / "embedded", [pacs], **csv), pacs, study)
    with ReceivingPacs() as pacs:
        folder = tmp_path / "distributed"
        path = distributed_config(folder, shared_servers(folder), [pacs], **csv)
        distributed = sent_by(path, pacs, study)
    assert len(embedded) == 2
    assert distributed == embedded
