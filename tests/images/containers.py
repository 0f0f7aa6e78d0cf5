"""Containers of the built images: run by runc, which Docker and Kubernetes run containers by, as compose.yaml says."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from components import START_LIMIT_S, require, wait_until
from repository import ROOT

STORE = ROOT / ".cache" / "images"
STOP_LIMIT_S = 45.0
"""As docs/operations.md allows."""


def buildah(*arguments: object) -> str:
    """What buildah answers about the images of tools/images.sh."""
    command = [require("buildah", apt="buildah"), "--root", STORE / "store", "--runroot", STORE / "run"]
    return subprocess.run([*command, *arguments], check=True, capture_output=True, text=True).stdout.strip()


@cache
def image_config(image: str) -> dict[str, Any]:
    """User, environment, entry point, health check and labels of an image."""
    inspected: dict[str, Any] = json.loads(buildah("inspect", "--type", "image", image))
    config: dict[str, Any] = inspected["Docker"]["config"]
    return config


@contextlib.contextmanager
def file_system(image: str) -> Iterator[Path]:
    """The root file system of an image."""
    container = buildah("from", "--pull-never", image)
    try:
        # runc takes no path that leads over a symbolic link
        yield Path(buildah("mount", container)).resolve()
    finally:
        buildah("rm", container)


@dataclass
class Container:
    """One container: a service of compose.yaml in the file system of its image, on the machine's own network."""

    name: str
    service: Mapping[str, Any]
    """Its entry of compose.yaml."""
    root: Path
    """Its image's file system."""
    folder: Path
    """For runc's own files and the log."""
    environment: Mapping[str, str]
    volumes: Mapping[str, Path] = field(default_factory=dict)
    """Folders in the place of compose.yaml's volumes."""
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What it wrote."""
        return self.folder / f"{self.name}.log"

    def start(self) -> Container:
        """Start it."""
        bundle = self.folder / self.name
        bundle.mkdir(parents=True, exist_ok=True)
        subprocess.run([self._runc(), "spec", "--bundle", bundle], check=True)
        spec = json.loads((bundle / "config.json").read_text())
        (bundle / "config.json").write_text(json.dumps(self._as_compose_says(spec)))
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [*self._command(), "run", "--bundle", bundle, self.name],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        return self

    def wait_up(self) -> None:
        """Until the service says that it is up."""

        def says_so() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self._tail()
            return f"{self.name} is up".encode() in self.log.read_bytes()

        wait_until(says_so, f"the start of {self.name}", START_LIMIT_S)

    def wait_done(self) -> None:
        """Until a step that is done once has ended well."""
        assert self.process is not None
        assert self.process.wait(120) == 0, self._tail()

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as Docker runs a health check."""
        return subprocess.run(
            [*self._command(), "exec", self.name, *command], check=False, capture_output=True, text=True
        )

    def stop(self) -> int:
        """SIGTERM to its first process; the exit status."""
        assert self.process is not None
        subprocess.run([*self._command(), "kill", self.name, "TERM"], check=True)
        return self.process.wait(STOP_LIMIT_S)

    def discard(self) -> None:
        """End it at once, if it still runs."""
        if self.process is not None and self.process.poll() is None:
            subprocess.run(
                [*self._command(), "delete", "--force", self.name], check=False, capture_output=True
            )
            self.process.wait(STOP_LIMIT_S)

    def _as_compose_says(self, spec: dict[str, Any]) -> dict[str, Any]:
        image, service = image_config(self.service["image"]), self.service
        uid, gid = (int(number) for number in service["user"].split(":"))
        own = dict(line.split("=", 1) for line in image["Env"])
        spec["process"] |= {
            "terminal": False,
            "user": {"uid": uid, "gid": gid},
            "args": service.get("entrypoint", image["Entrypoint"]) + self._arguments(),
            "env": [f"{name}={value}" for name, value in {**own, **self.environment}.items()],
            "cwd": image["WorkingDir"],
            "noNewPrivileges": "no-new-privileges:true" in service["security_opt"],
            "rlimits": [],
        }
        if service["cap_drop"] == ["ALL"]:
            spec["process"]["capabilities"] = {kind: [] for kind in spec["process"]["capabilities"]}
        spec["root"] = {"path": str(self.root), "readonly": service["read_only"]}
        spec["mounts"] = [one for one in spec["mounts"] if one["type"] != "cgroup"]
        spec["mounts"] += [self._memory(path) for path in service["tmpfs"]]
        spec["mounts"] += [self._bind(volume) for volume in service.get("volumes", [])]
        # a step that compose cuts off from every network has none here; the others find the servers on this machine
        if service.get("network_mode") != "none":
            spec["linux"]["namespaces"] = [
                one for one in spec["linux"]["namespaces"] if one["type"] != "network"
            ]
        return spec

    def _arguments(self) -> list[str]:
        # `$$` is compose's way to write a dollar
        return [word.replace("$$", "$") for word in self.service.get("command", [])]

    def _bind(self, volume: str) -> dict[str, Any]:
        name, destination, *mode = volume.split(":")
        access = "ro" if mode == ["ro"] else "rw"
        return {
            "destination": destination,
            "type": "bind",
            "source": str(self.volumes[name]),
            "options": ["bind", access],
        }

    @staticmethod
    def _memory(path: str) -> dict[str, Any]:
        return {
            "destination": path,
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "nodev", "mode=1777"],
        }

    def _command(self) -> list[str]:
        return [self._runc(), "--root", str(self.folder / "runc")]

    def _tail(self) -> str:
        return f"{self.name}: {self.log.read_text(errors='replace')[-3000:]}"

    @staticmethod
    def _runc() -> str:
        return require("runc", apt="runc")


def volume(folder: Path, owner: str) -> Path:
    """A new volume; Docker gives it to whom the image's folder belongs."""
    folder.mkdir(parents=True)
    uid, gid = (int(number) for number in owner.split(":"))
    shutil.chown(folder, uid, gid)
    return folder
