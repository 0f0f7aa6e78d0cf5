"""Fixtures that every kind of test may use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import components
import pytest
import structlog

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True, scope="module")
def _logs_as_before_this_file() -> Iterator[None]:
    """Commands that a file's fixtures call in this process set logging up for themselves; not for the next file."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture(autouse=True)
def _logs_as_before_this_test(_logs_as_before_this_file: None) -> Iterator[None]:
    """As above, for what a test calls."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture(scope="session")
def reference_dir() -> Path:
    """The folder of reference files; a skip where it is absent, a failure where CI=true."""
    folder = REPOSITORY.parent / "shared" / "reference"
    if not folder.is_dir():
        components.missing(f"the reference files are not there ({folder})")
    return folder


@pytest.fixture
def free_port() -> int:
    """A TCP port that nobody listens on."""
    return components.free_port()


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[components.Orthanc]:
    """A running Orthanc that knows no node."""
    running = components.start_orthanc(tmp_path)
    yield running
    running.discard()


@pytest.fixture
def storescp(tmp_path: Path) -> Iterator[components.StoreScp]:
    """A running DCMTK storescp."""
    running = components.start_storescp(tmp_path)
    yield running
    running.stop()
