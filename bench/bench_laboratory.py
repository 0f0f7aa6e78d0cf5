"""The laboratory's arithmetic over 2048 features; the LASSO-Cox part beside R's glmnet in one run, where R is there.

    python bench/bench_laboratory.py [--rounds 5] [--patients 76]

Ratios within one run count; absolute times drift with the machine's other load. Rounds alternate between this program
and R, and R is timed inside R, without its start. glmnet runs twice: with its default threshold, and with
1e-12, which comes nearer to the optimum that is computed here (gradients within 1e-9 of lambda).
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from prognode.statistics.cross_validation import cross_validate, stratified_folds
from prognode.statistics.icc import icc_values, intraclass_correlation
from prognode.statistics.lasso_cox import lasso_cox_path
from prognode.statistics.optimism import cox_optimism
from prognode.statistics.outcome import Outcome, outcome

FEATURES = 2048
R_SCRIPT = """
suppressMessages({library(glmnet); library(survival)})
folder <- commandArgs(TRUE)[1]
d <- read.csv(file.path(folder, "outcome.csv")); x <- as.matrix(read.csv(file.path(folder, "features.csv")))
y <- Surv(d$time, d$event)
seconds <- function(e) system.time(suppressWarnings(eval(e)))[["elapsed"]]
for (thresh in c(1e-7, 1e-12)) {
  cat("path", thresh, seconds(quote(glmnet(x, y, family = "cox", thresh = thresh))), "\\n")
  cat("cv", thresh, seconds(quote(cv.glmnet(x, y, family = "cox", foldid = d$fold, thresh = thresh))), "\\n")
}
"""


def cohort(patients: int) -> tuple[np.ndarray, Outcome]:
    """Features after a ReLU, two of which carry the hazard."""
    random = np.random.default_rng(1)
    features = np.maximum(random.standard_normal((patients, FEATURES)), 0.0) * 3
    death = random.exponential(40, patients) / np.exp(0.5 * (features[:, 0] - features[:, 1]))
    censored = random.uniform(13, 124, patients)
    return features, outcome(np.round(np.minimum(death, censored), 1), death <= censored)


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def glmnet_seconds(folder: Path) -> dict[str, float]:
    """Seconds by part and threshold; empty without R or glmnet."""
    done = subprocess.run(
        ["Rscript", "-e", R_SCRIPT, str(folder)], capture_output=True, text=True, check=False
    )
    rows = [line.split() for line in done.stdout.splitlines()]
    return {f"{part} {float(thresh):g}": float(value) for part, thresh, value in rows}


def write_data(folder: Path, features: np.ndarray, followed: Outcome, folds: np.ndarray) -> None:
    np.savetxt(
        folder / "features.csv",
        features,
        "%.9g",
        ",",
        header=",".join(f"f{i}" for i in range(FEATURES)),
        comments="",
    )
    table = np.column_stack([followed.time, followed.event, folds])
    np.savetxt(folder / "outcome.csv", table, "%g", ",", header="time,event,fold", comments="")


def compare(features: np.ndarray, followed: Outcome, rounds: int) -> None:
    """LASSO-Cox path and 10-fold cross-validation, alternating with R."""
    folds = stratified_folds(followed, 1)
    ours: dict[str, list[float]] = {"path": [], "cv": [], "cv, until it has risen": []}
    theirs: dict[str, list[float]] = {}
    runs = {
        "path": lambda: lasso_cox_path(features, followed),
        "cv": lambda: cross_validate(features, followed, folds),
        "cv, until it has risen": lambda: cross_validate(features, followed, folds, quick=True),
    }
    with tempfile.TemporaryDirectory() as name:
        write_data(Path(name), features, followed, folds)
        for _ in range(rounds):
            for part, run in runs.items():
                ours[part].append(seconds(run))
            for part, value in (glmnet_seconds(Path(name)) if shutil.which("Rscript") else {}).items():
                theirs.setdefault(part, []).append(value)
    print(f"{'LASSO-Cox, ' + str(len(followed)) + ' x 2048':44s} {'median ms':>10s} {'ratio to ours':>14s}")
    for part, values in ours.items():
        print(f"{part + ', ours':44s} {1e3 * statistics.median(values):10.0f}")
    for part, values in theirs.items():
        own, median = statistics.median(ours[part.split()[0]]), statistics.median(values)
        print(f"{part.replace(' ', ', glmnet thresh '):44s} {1e3 * median:10.0f} {median / own:14.2f}")
    if not theirs:
        print("glmnet: R is not here (Debian: r-cran-glmnet)")


def others(features: np.ndarray, followed: Outcome, rounds: int) -> None:
    """Bootstrap of a Cox model, and ICC over all features."""
    random = np.random.default_rng(2)
    readings = np.stack([features[:30], features[:30] + 0.2 * random.standard_normal((30, FEATURES))], axis=1)
    runs: dict[str, Callable[[], object]] = {
        "bootstrap, 500 Cox fits of 5 terms with C": lambda: cox_optimism(
            np.ascontiguousarray(features[:, :5]), followed, 500, 1
        ),
        "ICC(2,1), 30 x 2 readings x 2048": lambda: icc_values(readings),
        "all six ICC with F, p and limits": lambda: intraclass_correlation(readings),
    }
    for name, run in runs.items():
        print(f"{name:44s} {1e3 * statistics.median(seconds(run) for _ in range(rounds)):10.1f}")


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--patients", type=int, default=76)
    options = arguments.parse_args()
    features, followed = cohort(options.patients)
    compare(features, followed, options.rounds)
    others(features, followed, options.rounds)


if __name__ == "__main__":
    main()
