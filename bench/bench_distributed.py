"""Last byte acknowledged -> SR in the PACS through Kafka, PostgreSQL, S3 and Triton; replicas; and one hop of each bus.

    python bench/bench_distributed.py [--studies 12]

Every server runs on this machine beside the services (Triton on the CPU), so that all share its cores. The embedded
node is measured in the same run. Target: 400 ms median on two cores.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from contract.adapters_under_test import name_of
from distributed_node import distributed_node, shared_servers
from node import NodeFolder, ReceivingPacs, sent, start_node
from raw_sender import Sent
from servers.kafka import shared_kafka

from prognode.adapters.kafka_bus import KafkaBus
from prognode.adapters.kafka_settings import KafkaSettings
from prognode.adapters.sqlite_bus import SqliteBus
from prognode.events import facts
from prognode.ports import Bus
from training.synthetic_study import StudySpec, generate_study

AT_ONCE = 8
"""Studies that wait together when replicas are compared."""
HOPS = 200


class TimedPacs(ReceivingPacs):
    """Notes when each study's report was stored."""

    def __init__(self) -> None:
        super().__init__(on_store=self._note)
        self.stored_at: dict[str, float] = {}

    def _note(self, event) -> None:
        if event.dataset.Modality == "SR":
            self.stored_at.setdefault(str(event.dataset.StudyInstanceUID), time.monotonic())


Study = tuple[str, list[Sent]]


def made(seed: int) -> Study:
    """A study of 2 x 120 images of 512 x 512, as it goes over the wire."""
    study = generate_study(StudySpec(seed=seed))
    return study.study_uid, [sent(item) for item in study.instances]


def latencies(node: NodeFolder, pacs: TimedPacs, studies: int) -> np.ndarray:
    """Milliseconds from the last acknowledgement to the report in the PACS, one study after the other."""
    times = []
    for seed in range(1, studies + 2):
        uid, items = made(seed)
        node.send(items)
        acknowledged = time.monotonic()
        pacs.wait_reports(1, uid)
        times.append(pacs.stored_at[uid] - acknowledged)
        pacs.wait_figures(1, uid)
        node.settle()
    return 1000 * np.array(times[1:])  # the first study warms the caches


def seconds_for_all(node: NodeFolder, pacs: TimedPacs, studies: list[Study]) -> float:
    """From the last acknowledgement of several studies, of which all but contours came before, to the last report."""
    for _, items in studies:
        node.send(items[:-1])
    begin = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda study: node.send(study[1][-1:]), studies))
    for uid, _ in studies:
        pacs.wait_reports(1, uid)
    return max(pacs.stored_at[uid] for uid, _ in studies) - begin


def hop_ms(bus: Bus) -> float:
    """Median time from one message's acknowledgement to the receipt of the one that follows it."""
    topic = facts.CLINICAL_UPDATED
    bus.subscribe("bench", [topic])
    bus.publish([facts.clinical_updated("0" * 16)])
    times = []
    message = bus.receive("bench", [topic], 60.0)
    for _ in range(HOPS):
        begin = time.monotonic()
        bus.done("bench", message, [facts.clinical_updated("0" * 16)])
        message = bus.receive("bench", [topic], 60.0)
        times.append(time.monotonic() - begin)
    return 1000 * float(np.median(times))


def say(what: str, values: np.ndarray) -> None:
    median, late = np.percentile(values, [50, 95])
    print(f"{what}: {median:.0f} ms median, {late:.0f} ms 95th percentile", flush=True)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--studies", type=int, default=12)
    studies = options.parse_args().studies
    several = [made(1000 + n) for n in range(AT_ONCE)]
    with tempfile.TemporaryDirectory(prefix="prognode-bench-") as scratch:
        out = Path(scratch)
        with TimedPacs() as pacs:
            embedded = start_node(out / "embedded", [pacs], threads=2)
            found = latencies(embedded, pacs, studies)
            embedded.stop()
        say("embedded, last byte -> SR stored", found)
        base = float(np.median(found))
        for replicas in (1, 2):
            folder = out / f"replicas-{replicas}"
            with TimedPacs() as pacs:
                count = {"preprocess": replicas, "scoring": replicas}
                node = distributed_node(folder, [pacs], servers=shared_servers(folder), replicas=count)
                found = latencies(node, pacs, studies)
                took = seconds_for_all(node, pacs, several)
                node.stop()
            what = f"distributed, {replicas} of preprocess and scoring"
            say(f"{what}, last byte -> SR stored", found)
            print(f"  {np.median(found) / base:.2f} x embedded; {AT_ONCE} studies at once: {took:.2f} s")
        sqlite = SqliteBus(out / "bus.sqlite")
        kafka = KafkaBus(KafkaSettings(bootstrap=shared_kafka(), topic_prefix=name_of(out), partitions=3))
        times = {"SQLite": hop_ms(sqlite), "Kafka": hop_ms(kafka)}
        sqlite.close()
        kafka.close()
        print(f"one hop: SQLite {times['SQLite']:.1f} ms, Kafka {times['Kafka']:.1f} ms median")


if __name__ == "__main__":
    main()
