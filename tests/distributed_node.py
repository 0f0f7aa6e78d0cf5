"""A node whose services are processes of their own, on a real Kafka, PostgreSQL, S3 and Triton."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components import free_port, wait_until
from contract.adapters_under_test import name_of
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient
from node import PATIENCE_S, ROOT, NodeFolder, ReceivingPacs, write_config
from servers.kafka import shared_kafka
from servers.postgres import index_url
from servers.s3 import ACCOUNT, BUCKET, SECRET, shared_s3
from servers.triton import shared_triton

from apps.config import load_config
from apps.outside import bus_of, objects_of
from prognode.events import facts
from prognode.ports import ObjectStore

SERVICES = ("receiver", "preprocess", "scoring", "dispatcher")


@dataclass(frozen=True)
class Servers:
    """Where the servers are; by default those that all tests share."""

    kafka: str
    postgres: str
    s3: str
    triton: str


def shared_servers(folder: Path) -> Servers:
    """The shared servers, with a data base of the folder's own."""
    return Servers(shared_kafka(), index_url(folder), shared_s3(), shared_triton())


def distributed_config(
    folder: Path, servers: Servers, pacs: Sequence[ReceivingPacs | Mapping[str, Any]] = (), **overrides: Any
) -> Path:
    """``node.toml`` of a node on these servers, in which everything belongs to the folder alone."""
    name = name_of(folder)
    tables: dict[str, Any] = {
        "index_url": servers.postgres,
        "kafka": {
            "bootstrap": servers.kafka,
            "topic_prefix": name,
            "partitions": 3,
            "session_timeout_s": 6.0,
        },
        "s3": {
            "bucket": BUCKET,
            "endpoint": servers.s3,
            "prefix": name,
            "access_key_id": ACCOUNT,
            "secret_access_key": SECRET,
            "timeout_s": 3.0,
        },
        "triton": {"url": servers.triton},
    }
    path = write_config(folder, pacs, **{**tables, **overrides})
    # nothing of it is in a folder, and the network is on the server
    local = ("data = ", "extractor = ")
    kept = [line for line in path.read_text().splitlines() if not line.startswith(local)]
    path.write_text("\n".join(kept) + "\n")
    return path


@dataclass
class ServiceProcess:
    """``prognode serve NAME``: one replica."""

    name: str
    folder: Path
    environment: dict[str, str]
    replica: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """Everything that it wrote, over all its lives."""
        return self.folder / f"{self.name}-{self.replica}.log"

    def start(self) -> ServiceProcess:
        """Start it; :meth:`wait_up` says when it is there."""
        command = [sys.executable, "-m", "apps.cli.main", "serve", self.name]
        self._begin = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdout=out, stderr=subprocess.STDOUT
            )
        return self

    def is_up(self) -> bool:
        """Whether this life has said that it is up."""
        assert self.process is not None
        text = self.log.read_bytes()[self._begin :]
        assert self.process.poll() is None, f"{self.name} ended: {text[-3000:].decode(errors='replace')}"
        return f"{self.name} is up".encode() in text

    def wait_up(self) -> None:
        """Until it is up."""
        wait_until(self.is_up, f"the start of {self.name}", PATIENCE_S)

    def kill9(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)
        self.process = None

    def stop(self) -> int:
        """SIGTERM; its exit status."""
        if self.process is None:
            return 0
        process, self.process = self.process, None
        process.terminate()
        try:
            return process.wait(45)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait(30)

    def events(self) -> list[dict[str, Any]]:
        """The log's JSON lines."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]


@dataclass
class DistributedNode(NodeFolder):
    """All services of a node, each a process."""

    services: list[ServiceProcess] = field(default_factory=list)

    def start(self) -> DistributedNode:
        """Start every service and wait until all are up."""
        try:
            for service in self.services:
                service.start()
            for service in self.services:
                service.wait_up()
        except BaseException:
            for service in self.services:
                service.stop()
            raise
        return self

    def stop(self) -> None:
        """SIGTERM to all; each must end well."""
        statuses = {f"{one.name}-{one.replica}": one.stop() for one in self.services}
        assert set(statuses.values()) <= {0}, statuses

    def restart(self) -> None:
        """Stop in good order and start again."""
        self.stop()
        self.start()

    def of(self, name: str) -> list[ServiceProcess]:
        """The replicas of one service."""
        return [one for one in self.services if one.name == name]

    @property
    def objects(self) -> ObjectStore:  # type: ignore[override]
        return objects_of(self.config)

    def in_queue(self) -> list[tuple[str, str, str]]:
        """(group, topic, how many) of what some group has not committed."""
        return [
            (group, topic, str(lag)) for (group, topic), lag in group_lags(self.config.kafka).items() if lag
        ]

    def dead_letters(self) -> list[tuple[str, str, str]]:
        """(group, topic, why) of each dead letter."""
        bus = bus_of(self.config, "test")
        try:
            return [(one["group"], one["topic"], one["why"]) for one in bus.dead_letters()]
        finally:
            bus.close()


def distributed_node(
    folder: Path,
    pacs: Sequence[ReceivingPacs | Mapping[str, Any]] = (),
    *,
    servers: Servers | None = None,
    replicas: Mapping[str, int] | None = None,
    services: Sequence[str] = SERVICES,
    changes: Mapping[str, Mapping[str, str]] | None = None,
    **overrides: Any,
) -> DistributedNode:
    """Start a node of processes; the caller stops it. Every receiver beyond the first listens on a port of its own.

    ``changes`` are added to the environment of a service's replicas.
    """
    path = distributed_config(folder, servers or shared_servers(folder), pacs, **overrides)
    node = DistributedNode(folder, path, load_config(path))
    for name in services:
        for replica in range((replicas or {}).get(name, 1)):
            environment = service_environment(path, f"{name}-{replica}")
            if name == "receiver" and replica:
                environment["PROGNODE_RECEIVER__PORT"] = str(free_port())
            environment |= (changes or {}).get(name, {})
            node.services.append(ServiceProcess(name, folder, environment, replica))
    return node.start()


def service_environment(config: Path, instance: str) -> dict[str, str]:
    """Environment of one replica."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PROGNODE_") or name == "PROGNODE_HOME"
    }
    return kept | {
        "PROGNODE_CONFIG": str(config),
        "PROGNODE_KAFKA__INSTANCE": instance,
        "PROGNODE_PROBES__PORT": str(free_port()),
        "OPENBLAS_NUM_THREADS": "1",
    }


CONSUMED = {
    "preprocess": [facts.CASE_READY],
    "scoring": [facts.CROP_READY, facts.CASE_REFUSED, facts.CLINICAL_UPDATED],
    "dispatcher": [facts.REPORT_READY, facts.DELIVERY_REQUESTED],
    "illustration": [facts.REPORT_DELIVERED],
}
"""Which groups consume which topics."""


def group_lags(kafka: Any) -> dict[tuple[str, str], int]:
    """What each group has not committed, by (group, topic)."""
    prefix = f"{kafka.topic_prefix}."
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    reader = KafkaConsumer(bootstrap_servers=kafka.bootstrap)
    lags: dict[tuple[str, str], int] = {}
    try:
        committed = admin.list_group_offsets([prefix + group for group in CONSUMED])
        for group, topics in CONSUMED.items():
            for topic in topics:
                name = prefix + topic
                partitions = [TopicPartition(name, one) for one in reader.partitions_for_topic(name) or ()]
                ends = reader.end_offsets(partitions) if partitions else {}
                known = committed.get(prefix + group, {})
                done = [max(0, known[one].offset) if one in known else 0 for one in partitions]
                lags[group, topic] = sum(ends.values()) - sum(done)
    finally:
        admin.close()
        reader.close(autocommit=False)
    return lags
