"""A Kafka broker in KRaft mode on a free port: broker and controller in one Java process."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from components import Program, free_port, listens, missing, require, wait_until

from servers.shared import shared

ROOT = Path(__file__).resolve().parents[2]
JARS = ROOT / ".cache" / "kafka"
CLUSTER_ID = "cHJvZ25vZGUtdGVzdC0wMQ"
HEAP = ("-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


@dataclass
class Kafka:
    """A running broker; its data stay in the folder, so it can be stopped and started again."""

    folder: Path
    port: int
    program: Program

    @property
    def address(self) -> str:
        """Bootstrap server."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start again on the same data and port."""
        self.program = _run(self.folder)
        _wait(self)

    def stop(self) -> None:
        """End it in good order."""
        self.program.stop()

    def kill9(self) -> None:
        """SIGKILL."""
        self.program.discard()


def start_kafka(folder: Path) -> Kafka:
    """A broker with its data in ``folder``; the caller stops it."""
    port, controller = free_port(), free_port()
    return start_broker(folder, port, _properties(folder, port, controller))


def start_broker(folder: Path, port: int, properties: Mapping[str, str]) -> Kafka:
    """A broker with these properties, among them that it listens on ``port``; the caller stops it."""
    require("java", apt="default-jre-headless")
    if not (JARS / "VERSION").is_file():
        missing("the Kafka broker is not there (tools/fetch_kafka.sh brings it)")
    lines = [f"{name}={value}\n" for name, value in properties.items()]
    (folder / "server.properties").write_text("".join(lines))
    subprocess.run(
        [*_java(), "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", "server.properties"],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    kafka = Kafka(folder, port, _run(folder))
    _wait(kafka)
    return kafka


def shared_kafka() -> str:
    """Bootstrap server of the broker that all tests share."""
    return shared("KAFKA", start_kafka)


def _java() -> list[str]:
    return ["java", *HEAP, "-cp", f"{JARS}/*"]


def _run(folder: Path) -> Program:
    return Program.start([*_java(), "kafka.Kafka", "server.properties"], folder, {"LC_ALL": "C"})


def _wait(kafka: Kafka) -> None:
    try:
        wait_until(lambda: kafka.program.require_alive() and listens(kafka.port), "the broker's start")
    except BaseException:
        kafka.program.discard()
        raise


def _properties(folder: Path, port: int, controller: int) -> dict[str, str]:
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": str(folder / "data"),
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        # the first member of a group need not wait for others
        "group.initial.rebalance.delay.ms": "0",
        "auto.create.topics.enable": "false",
    }
