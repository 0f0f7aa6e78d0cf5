"""Last byte acknowledged -> SR stored in the PACS, embedded, beside its floor in the same run.

    python bench/bench_node.py [--studies 30]

The node runs as ``prognode up`` in a process of its own; sender and PACS are in this one. The floor is what the same
machine needs for the two crops and the network alone, with everything in memory. Target: 400 ms median on two cores.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.progress import Progress

from apps.demo import ReceivingPacs, configuration, ready_model, running_node
from prognode.adapters.dicom_pacs import PacsSettings
from prognode.adapters.dicom_sender import send_files
from prognode.adapters.onnx_extractor import OnnxExtractor
from prognode.domain.crop import CropWindow, crop
from prognode.domain.geometry import ImagePlane, build_stack
from training.synthetic_study import StudySpec, generate_study, write_study


class TimedPacs(ReceivingPacs):
    """Notes when each kind of object was stored."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.stored_at: dict[str, float] = {}

    def _keep(self, event):
        status = super()._keep(event)
        self.stored_at.setdefault(str(event.dataset.Modality), time.monotonic())
        return status


def floor_s(extractor: OnnxExtractor, runs: int = 10) -> float:
    """Median time of two crops of 21 x 512 x 512 and one pass of the network."""
    planes = [
        ImagePlane(
            f"1.{k}", (-180.0, -180.0, 2.5 * k), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), 0.72, 0.72, 512, 512
        )
        for k in range(21)
    ]
    stack = build_stack("1", "1", planes)
    hu = np.random.default_rng(1).normal(40, 100, (21, 512, 512)).astype(np.float32)
    window = CropWindow(-112, -112, (24, 25, 26))
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        extractor.features(np.stack([crop(hu, stack, window), crop(hu, stack, window)]))
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def one_study(seed: int, folder: Path, node: PacsSettings, pacs: TimedPacs) -> tuple[float, float]:
    """(last byte -> SR, last byte -> figure) of one study, seconds."""
    files = write_study(generate_study(StudySpec(seed=seed)), folder)
    pacs.arrived.clear()
    pacs.stored_at.clear()
    faults = send_files(node, files, lambda: None)
    acknowledged = time.monotonic()
    assert not faults, faults[0]
    assert pacs.wait_for("SR", 60.0), "no report"
    assert pacs.wait_for("OT", 60.0), "no figure"
    for file in files:
        file.unlink()
    return pacs.stored_at["SR"] - acknowledged, pacs.stored_at["OT"] - acknowledged


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--studies", type=int, default=30)
    studies = options.parse_args().studies
    with tempfile.TemporaryDirectory(prefix="prognode-bench-") as scratch, Progress() as progress:
        out = Path(scratch)
        extractor, recipe = ready_model(progress)
        floor = floor_s(OnnxExtractor(extractor))
        pacs = TimedPacs(out)
        config = configuration(out, extractor, recipe, pacs.start())
        with running_node(progress, config, out) as port:
            node = PacsSettings(name="node", ae_title="PROGNODE", host="127.0.0.1", port=port)
            task = progress.add_task("studies", total=studies + 1)
            times = []
            for seed in range(1, studies + 2):
                times.append(one_study(seed, out / "study", node, pacs))
                progress.advance(task)
        pacs.stop()
    report, figure = np.array(times[1:]).T * 1000  # the first study warms the caches
    print(f"floor (two crops and the network, in memory): {floor * 1000:.0f} ms median")
    for name, values in (("SR stored", report), ("figure stored", figure)):
        median, late = np.percentile(values, [50, 95])
        ratio = median / (floor * 1000)
        print(
            f"last byte -> {name}: {median:.0f} ms median, {late:.0f} ms 95th percentile, {ratio:.2f} x floor"
        )


if __name__ == "__main__":
    main()
