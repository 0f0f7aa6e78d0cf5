"""Prometheus with the node's alert rules, on a free port; it asks its targets every second."""

from __future__ import annotations

import json
import math
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from components import Program, free_port, require, wait_until


@dataclass
class Prometheus:
    """A running server."""

    port: int
    program: Program

    def ask(self, path: str, **parameters: str) -> Any:
        """``data`` of an answer of the HTTP API; fails with Prometheus' own words."""
        address = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(address, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as fault:
            raise AssertionError(f"{parameters}: {json.load(fault)['error']}") from fault

    def values(self, query: str) -> list[float]:
        """The numbers that a query gives now."""
        found = [float(one["value"][1]) for one in self.ask("query", query=query)["result"]]
        return [number for number in found if not math.isnan(number)]

    def stop(self) -> None:
        """End it."""
        self.program.stop()


def start_prometheus(folder: Path, targets: Mapping[str, int], rules: Path) -> Prometheus:
    """A server that asks ``/metrics`` on the port of each job; the caller stops it."""
    binary = require("prometheus", apt="prometheus")
    configuration = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
            for job, port in targets.items()
        ],
    }
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(configuration), encoding="utf-8")
    port = free_port()
    command = [
        binary,
        f"--config.file={path}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    server = Prometheus(port, Program.start(command, folder))
    try:
        wait_until(lambda: server.program.require_alive() and _is_ready(server), "Prometheus' start")
    except BaseException:
        server.program.discard()
        raise
    return server


def _is_ready(server: Prometheus) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/-/ready", timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False
