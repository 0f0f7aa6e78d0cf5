"""Features of one case (two crops): our extractor beside the bare engine on the same model, in one run.

    python bench/bench_features.py [--model FILE.onnx] [--rounds 30]

Ratios within one run count; absolute times drift with the machine's other load. The floor is ONNX Runtime itself with
its default options and two threads: no checks, no digest, spinning threads allowed.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime

from prognode.adapters.keras_weights import random_weights
from prognode.adapters.onnx_extractor import OnnxExtractor
from prognode.adapters.resnet50 import build_model
from prognode.domain.reference_crop import reference_crop

CASE = np.stack([reference_crop(1), reference_crop(2)])


def bare_engine(path: Path) -> Callable[[], object]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(["features"], {"hu": CASE})


def contenders(path: Path) -> dict[str, Callable[[], object]]:
    """The floor first; the others are given as ratios to it."""
    two, one = OnnxExtractor(path, threads=2), OnnxExtractor(path, threads=1)
    return {
        "floor: bare ONNX Runtime, 2 threads": bare_engine(path),
        "extractor, 2 threads": lambda: two.features(CASE),
        "extractor, 1 thread": lambda: one.features(CASE),
    }


def milliseconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) * 1e3


def measure(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Interleaved, so that a slow moment of the machine meets all of them."""
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            time.sleep(0.02)  # lets another session's spinning threads go to sleep
            times[name].append(milliseconds(run))
    return times


def report(times: dict[str, list[float]]) -> None:
    floor = statistics.median(next(iter(times.values())))
    print(f"{'two crops of 3 x 224 x 224':40s} {'median ms':>10s} {'p95 ms':>8s} {'ratio':>6s}")
    for name, values in times.items():
        median = statistics.median(values)
        print(f"{name:40s} {median:10.1f} {np.quantile(values, 0.95):8.1f} {median / floor:6.2f}")


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--model", type=Path, help="extractor; default: random weights, seed 1")
    arguments.add_argument("--rounds", type=int, default=30)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.model or Path(folder) / "resnet50.onnx"
        if options.model is None:
            path.write_bytes(build_model(random_weights(1)))
        report(measure(contenders(path), options.rounds))


if __name__ == "__main__":
    main()
