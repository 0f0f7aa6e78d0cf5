"""Storage commitment where the process that hears the verdict is another than the one that asked."""

from __future__ import annotations

import pytest
from components import free_port, start_orthanc, wait_until
from distributed_node import distributed_node
from node import PATIENCE_S
from studies import small_study

pytestmark = pytest.mark.component


def test_a_verdict_that_a_receiver_hears_reaches_the_dispatcher(tmp_path):
    """Orthanc reports on an association of its own to the receiver; the dispatcher's delivery is committed."""
    port = free_port()
    orthanc = start_orthanc(tmp_path, node_port=port)
    pacs = {
        "name": "archive",
        "ae_title": orthanc.ae_title,
        "host": "127.0.0.1",
        "port": orthanc.dicom_port,
        "storage_commitment": True,
        "commitment_timeout_s": 10.0,
    }
    node = distributed_node(tmp_path, [pacs], receiver={"port": port})
    try:
        node.send(small_study(seed=7301).instances)
        deliveries = wait_until(
            lambda: (found := node.index.deliveries()) and len(found) == 2 and found,
            "two deliveries",
            PATIENCE_S,
        )
        wait_until(
            lambda: {one.state for one in node.index.deliveries()} == {"committed"},
            lambda: f"the commitment to report and figure ({node.index.deliveries()})",
            PATIENCE_S,
        )
        assert {one.destination for one in deliveries} == {"archive"}
        node.settle()
    finally:
        node.stop()
        orthanc.discard()
