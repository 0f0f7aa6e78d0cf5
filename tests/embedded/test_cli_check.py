"""``prognode check``: exit 0 only when a synthetic study went in and its report came out."""

from __future__ import annotations

import pytest
from command_line import require_sentence
from components import free_port
from node import node_and_pacs, prognode
from peer_scp import peer_scp

from services.console.service import Console
from services.console.settings import ConsoleSettings

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"


def test_a_node_that_works(tmp_path):
    """Index or console, the check waits until the PACS has the report; each run is another synthetic patient's."""
    with node_and_pacs(tmp_path) as (node, pacs):
        address = f"{node.config.receiver.ae_title}@127.0.0.1:{node.port}"
        by_index = prognode(
            "check", address, "--config", node.config_path, "--deliveries", "1", "--seed", "7"
        )
        assert (by_index.status, by_index.errors) == (0, "")
        assert "the node works" in by_index.output
        assert len(pacs.wait_reports(1)) == 1

        console = Console(ConsoleSettings(port=0), node.life.outside.index, node.life.outside.bus)
        console.start()
        try:
            url = f"http://127.0.0.1:{console.port}"
            by_console = prognode("check", address, "--console", url, "--deliveries", "1")
        finally:
            console.stop()
        assert (by_console.status, by_console.errors) == (0, "")
        assert "SYNTHETIC" in by_console.output
        assert len(pacs.wait_reports(2)) == 2


def test_a_report_that_does_not_come_is_said(tmp_path):
    """More deliveries than there are PACS never happen: the sentence says how far it came."""
    with node_and_pacs(tmp_path) as (node, _):
        address = f"{node.config.receiver.ae_title}@127.0.0.1:{node.port}"
        config = node.config_path
        result = prognode("check", address, "--config", config, "--deliveries", "2", "--limit", "3")
        assert result.status == 2
        assert "no report within 3 s" in result.errors
        assert "1 of 2 PACS" in result.errors


def test_a_node_that_takes_no_contours_is_said():
    """A peer that refuses RTSTRUCT and SEG is no node that works."""
    with peer_scp((CT_IMAGE,)) as peer:
        result = prognode(
            "check", f"{peer.ae_title}@127.0.0.1:{peer.port}", "--console", "http://127.0.0.1:9"
        )
        assert result.status == 2
        assert "2 of 122 objects were not stored" in result.errors


@pytest.mark.parametrize("console", ["localhost:8080", "file:///etc/passwd"])
def test_what_is_no_console_is_said(console):
    """Only http and https are asked."""
    require_sentence(
        prognode("check", f"X@127.0.0.1:{free_port()}", "--console", console), "http://HOST:PORT"
    )
