"""One API server for all tests here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from api_server import ApiServer, start_api_server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A running API server that knows the operators' kinds."""
    running = start_api_server(tmp_path_factory.mktemp("api-server"))
    try:
        yield running
    finally:
        running.stop()
