"""Modules that share one node and one PACS among their tests define ``shared``; its two parts have names of their own."""

from __future__ import annotations

import pytest
from node import NodeHere, ReceivingPacs


@pytest.fixture
def node(shared: tuple[NodeHere, ReceivingPacs]) -> NodeHere:
    """The module's node."""
    return shared[0]


@pytest.fixture
def pacs(shared: tuple[NodeHere, ReceivingPacs]) -> ReceivingPacs:
    """The PACS that the module's node reports to."""
    return shared[1]
