"""An S3 server on a free port: versitygw over a folder, in which a bucket is a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from components import Program, free_port, listens, missing, wait_until

from prognode.adapters.s3_settings import S3Settings
from servers.shared import shared

ROOT = Path(__file__).resolve().parents[2]
BINARY = ROOT / ".cache" / "versitygw" / "versitygw"
ACCOUNT = "tester"
SECRET = "not-a-secret"
BUCKET = "prognode"


@dataclass
class S3:
    """A running server; its objects stay in the folder, so it can be stopped and started again."""

    folder: Path
    port: int
    program: Program

    @property
    def address(self) -> str:
        """Endpoint."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start again on the same objects and port."""
        self.program = _run(self.folder, self.port)

    def stop(self) -> None:
        """End it in good order."""
        self.program.stop()

    def kill9(self) -> None:
        """SIGKILL."""
        self.program.discard()


def start_s3(folder: Path) -> S3:
    """A server with its objects in ``folder`` and one bucket; the caller stops it."""
    if not BINARY.is_file():
        missing("the S3 server is not there (tools/fetch_versitygw.sh builds it)")
    (folder / "objects" / BUCKET).mkdir(parents=True)
    port = free_port()
    return S3(folder, port, _run(folder, port))


def shared_s3() -> str:
    """Endpoint of the server that all tests share."""
    return shared("S3", start_s3)


def s3_settings(endpoint: str, prefix: str = "", **changes: object) -> S3Settings:
    """Settings for the bucket of a test server."""
    values: dict[str, object] = {
        "bucket": BUCKET,
        "endpoint": endpoint,
        "prefix": prefix,
        "access_key_id": ACCOUNT,
        "secret_access_key": SECRET,
    }
    return S3Settings.model_validate(values | changes)


def _run(folder: Path, port: int) -> Program:
    command = [str(BINARY), "--access", ACCOUNT, "--secret", SECRET, "--port", f"127.0.0.1:{port}", "--quiet"]
    program = Program.start([*command, "posix", str(folder / "objects")], folder)
    try:
        wait_until(lambda: program.require_alive() and listens(port), "the S3 server's start")
    except BaseException:
        program.discard()
        raise
    return program
