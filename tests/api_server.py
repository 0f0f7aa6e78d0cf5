"""A real API server of Kubernetes on etcd, with its admission, and no machine: what it takes is stored, and nothing runs."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from chart_rendering import HELM, ROOT
from components import Program, free_port, require, wait_until

CACHE = ROOT / ".cache" / "cluster"
TOKEN = "tester"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


@dataclass
class ApiServer:
    """A running API server."""

    folder: Path
    port: int
    programs: list[Program]

    @property
    def kubeconfig(self) -> Path:
        """How Helm finds it."""
        return self.folder / "kubeconfig"

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        """(status, answer as JSON) of a request; unknown fields are refused."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        url = f"https://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(url, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30, context=_UNVERIFIED) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as fault:
            text = fault.read()
            return fault.code, json.loads(text) if text.startswith(b"{") else {"message": text.decode()}

    def items(self, path: str) -> list[dict[str, Any]]:
        """The objects of a list."""
        status, answer = self.ask("GET", path)
        assert status == 200, answer
        return list(answer["items"])

    def helm(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run Helm against it; the caller looks at the exit status."""
        return subprocess.run(
            [str(HELM), *map(str, arguments)],
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def make_namespace(self, name: str) -> str:
        """A name space that takes restricted pods alone, with the account that a controller would make."""
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}}
        assert self.ask("POST", "/api/v1/namespaces", space)[0] == 201
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        assert self.ask("POST", f"/api/v1/namespaces/{name}/serviceaccounts", account)[0] == 201
        return name

    def stop(self) -> None:
        """End it, then etcd."""
        for program in reversed(self.programs):
            program.stop()


_UNVERIFIED = ssl.create_default_context()
_UNVERIFIED.check_hostname = False
_UNVERIFIED.verify_mode = ssl.CERT_NONE


def start_api_server(folder: Path) -> ApiServer:
    """Start etcd and the API server in ``folder``, and have it learn the operators' kinds; the caller stops it."""
    if not (CACHE / "VERSION").is_file():
        pytest.fail("the API server is not there; tools/fetch_cluster.sh builds it", pytrace=False)
    client = f"http://127.0.0.1:{free_port()}"
    running = ApiServer(folder, free_port(), [_etcd(folder, client)])
    try:
        running.programs.append(_api_server(folder, running.port, client))
        _write_kubeconfig(running)
        wait_until(lambda: _ready(running), "the API server's start")
        for path in sorted((CACHE / "crds").glob("*.yaml")):
            _teach(running, yaml.safe_load(path.read_text(encoding="utf-8")))
    except BaseException:
        running.stop()
        raise
    return running


def _etcd(folder: Path, client: str) -> Program:
    peer = f"http://127.0.0.1:{free_port()}"
    addresses = {
        "--listen-client-urls": client,
        "--advertise-client-urls": client,
        "--listen-peer-urls": peer,
        "--initial-advertise-peer-urls": peer,
        "--initial-cluster": f"default={peer}",
        "--data-dir": str(folder / "etcd"),
    }
    words = [word for pair in addresses.items() for word in pair]
    return Program.start([require("etcd", apt="etcd-server"), *words], folder)


def _api_server(folder: Path, port: int, etcd: str) -> Program:
    key = folder / "accounts.key"
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
    (folder / "tokens.csv").write_text(f"{TOKEN},{TOKEN},1,system:masters\n")
    options = {
        "etcd-servers": etcd,
        "bind-address": "127.0.0.1",
        "secure-port": port,
        "cert-dir": folder / "certificates",
        "token-auth-file": folder / "tokens.csv",
        "authorization-mode": "RBAC",
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-signing-key-file": key,
        "service-account-key-file": key,
        "service-cluster-ip-range": "10.96.0.0/16",
        "endpoint-reconciler-type": "none",
    }
    words = [f"--{name}={value}" for name, value in options.items()]
    return Program.start([str(CACHE / "kube-apiserver"), *words], folder)


def _write_kubeconfig(running: ApiServer) -> None:
    address = f"https://127.0.0.1:{running.port}"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "here", "cluster": {"server": address, "insecure-skip-tls-verify": True}}],
        "users": [{"name": "tester", "user": {"token": TOKEN}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "tester"}}],
        "current-context": "here",
    }
    running.kubeconfig.write_text(yaml.safe_dump(document))
    running.kubeconfig.chmod(0o600)


def _ready(running: ApiServer) -> bool:
    for program in running.programs:
        program.require_alive()
    try:
        return running.ask("GET", "/api/v1/namespaces/default")[0] == 200
    except OSError:
        return False


def _teach(running: ApiServer, definition: dict[str, Any]) -> None:
    """Make a kind known, and wait until its objects are taken."""
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    status, answer = running.ask("POST", path, definition)
    assert status == 201, answer
    spec = definition["spec"]
    for version in (one["name"] for one in spec["versions"] if one["served"]):
        objects = f"/apis/{spec['group']}/{version}/{spec['names']['plural']}"
        wait_until(lambda: running.ask("GET", objects)[0] == 200, f"{spec['names']['kind']}")  # noqa: B023 - waited for here
