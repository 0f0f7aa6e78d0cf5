"""NVIDIA's Triton Inference Server on the CPU, on free ports: the binary of a wheel, with its Python backend."""

from __future__ import annotations

import os
import shutil
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from components import Program, free_port, missing, wait_until

from prognode.adapters.triton_repository import MODEL, write_repository
from servers.shared import shared

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = ROOT / ".cache" / "triton"


@dataclass
class Triton:
    """A running server; its model repository stays in the folder, so it can be stopped and started again."""

    folder: Path
    http_port: int
    grpc_port: int
    metrics_port: int
    program: Program

    @property
    def address(self) -> str:
        """Of its gRPC port."""
        return f"127.0.0.1:{self.grpc_port}"

    def start(self) -> None:
        """Start again on the same ports."""
        self.program = _run(self)
        self.wait()

    def stop(self) -> None:
        """End it in good order."""
        self.program.stop()

    def kill9(self) -> None:
        """SIGKILL."""
        self.program.discard()

    def wait(self) -> None:
        """Until its models are ready."""
        try:
            wait_until(lambda: self.program.require_alive() and self._is_ready(), "Triton's start")
        except BaseException:
            self.program.discard()
            raise

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/v2/health/ready", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False


def start_triton(folder: Path, extractor: Path | None = None) -> Triton:
    """A server that holds the extractor (by default the tests' network) in ``folder/models``; the caller stops it.

    Models that lie there already are served as they are.
    """
    if not (ENVIRONMENT / "VERSION").is_file():
        missing("the Triton server is not there (tools/fetch_triton.sh brings it)")
    repository = folder / "models"
    if not (repository / MODEL).exists():
        if extractor is None:
            from node import test_model

            extractor = test_model().extractor
        write_repository(extractor, repository, "python")
    _backends(folder)
    triton = Triton(folder, free_port(), free_port(), free_port(), program=None)  # type: ignore[arg-type]
    triton.start()
    return triton


def shared_triton() -> str:
    """GRPC address of the server that all tests share."""
    return shared("TRITON", start_triton)


def _backends(folder: Path) -> None:
    """The folder that Triton looks for its Python backend in: the wheel's backend beside the stub for this Python."""
    backend = folder / "backends" / "python"
    if backend.exists():
        return
    server = _packages() / "pytriton" / "tritonserver"
    shutil.copytree(server / "backends" / "python", backend)
    stub = backend / "triton_python_backend_stub"
    shutil.copyfile(server / "python_backend_stubs" / "3.11" / stub.name, stub)
    stub.chmod(0o755)


def _run(triton: Triton) -> Program:
    packages = _packages()
    command = [
        str(packages / "pytriton" / "tritonserver" / "bin" / "tritonserver"),
        f"--model-repository={triton.folder / 'models'}",
        f"--backend-directory={triton.folder / 'backends'}",
        f"--http-port={triton.http_port}",
        f"--grpc-port={triton.grpc_port}",
        "--http-address=127.0.0.1",
        "--grpc-address=127.0.0.1",
        f"--metrics-port={triton.metrics_port}",
        "--metrics-address=127.0.0.1",
        "--exit-on-error=true",
        "--exit-timeout-secs=2",
    ]
    environment = {
        "PATH": f"{ENVIRONMENT / 'bin'}:{os.environ.get('PATH', '')}",
        "PYTHONPATH": str(packages),
        "LD_LIBRARY_PATH": f"{packages / 'nvidia_pytriton.libs'}:{_library_folder()}",
    }
    return Program.start(command, triton.folder, environment)


def _packages() -> Path:
    return ENVIRONMENT / "lib" / "python3.11" / "site-packages"


def _library_folder() -> str:
    """Where the stub finds libpython3.11, when this Python has one of its own."""
    import sysconfig

    return str(sysconfig.get_config_var("LIBDIR") or "")
