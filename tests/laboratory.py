"""Small studies of random patients, for tests of the report: a few planted features, everything else noise.

A study takes a second or two, so each is made once per test run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd

from prognode.domain.signature import FEATURE_COUNT
from prognode.statistics.outcome import outcome
from training.cohort import PHASES, CohortName
from training.covariates import COVARIATES, Factor
from training.sample import Sample, covariate_frame
from training.settings import Settings
from training.study import LeftOut, Provenance, Study, run_study

SIZES: Mapping[CohortName, int] = {"training": 64, "internal": 24, "external": 20}
READ_TWICE = 12
VARYING = 24
"""Features that are not constant; the first two carry the outcome."""
SETTINGS = Settings(bootstrap=4, folds=4)
LEFT_OUT = (
    LeftOut(3, "L-1", "training", "tumour-small: the tumour is 3 mm wide"),
    LeftOut(9, "L-2", "training", "tumour-small: the tumour is 4 mm wide"),
    LeftOut(11, "L-3", "external", "roi-none: no ROI matches the rule"),
)
PROVENANCE = Provenance(
    table="cohort.csv",
    split="as the table assigns them",
    features="random numbers",
    remarks=("follow-up was given in days and divided by 30",),
    left_out=LEFT_OUT,
    synthetic=True,
)


@cache
def patients(seed: int = 1, sizes: tuple[tuple[CohortName, int], ...] = tuple(SIZES.items())) -> Sample:
    """Patients of all cohorts, in the order of the cohorts; no value is missing."""
    random = np.random.default_rng(seed)
    n = sum(size for _, size in sizes)
    frame = covariate_frame(_covariates(random, n).to_dict("records"))
    features = {phase: _features(random, n) for phase in PHASES}
    lp = 0.9 * features["arterial"][:, 0] + 0.9 * features["venous"][:, 1]
    lp = lp + (0.03 * (frame["ki67_percent"] - 50) + 1.2 * (frame["m_stage"] == "M1")).to_numpy()
    death = random.exponential(size=n) * 80 * np.exp(-lp)
    censored = random.uniform(15, 110, n)
    followed = np.round(np.minimum(death, censored), 1) + 0.1
    return Sample(
        ids=tuple(f"P-{number:03d}" for number in range(n)),
        outcome=outcome(followed, death <= censored),
        features=features,
        covariates=frame,
        second={phase: _second(random, values) for phase, values in features.items()},
    )


def _covariates(random: np.random.Generator, n: int) -> pd.DataFrame:
    columns: dict[str, object] = {}
    for one in COVARIATES:
        if isinstance(one, Factor):
            columns[one.name] = random.choice(one.levels, n)
        else:
            columns[one.name] = np.round(random.uniform(max(one.low, 12), min(one.high, 95), n), 1)
    return pd.DataFrame(columns)


def _features(random: np.random.Generator, n: int) -> np.ndarray:
    features = np.zeros((n, FEATURE_COUNT))
    features[:, :VARYING] = random.standard_normal((n, VARYING))
    return features


def _second(random: np.random.Generator, first: np.ndarray) -> np.ndarray:
    """The first patients again: most features agree, the last four do not."""
    second = np.full_like(first, np.nan)
    second[:READ_TWICE] = first[:READ_TWICE]
    second[:READ_TWICE, :VARYING] += 0.1 * random.standard_normal((READ_TWICE, VARYING))
    second[:READ_TWICE, VARYING - 4 : VARYING] = random.standard_normal((READ_TWICE, 4))
    return second


def cohorts_of(sizes: Mapping[CohortName, int] = SIZES) -> tuple[CohortName, ...]:
    """The cohort of each of :func:`patients`."""
    return tuple(name for name, size in sizes.items() for _ in range(size))


@cache
def ordinary_study() -> Study:
    """Three cohorts, three models, a bootstrap, three patients left out."""
    return run_study(patients(), cohorts_of(), PROVENANCE, SETTINGS)


def validation_of(study: Study) -> Study:
    """The same models on the external cohort alone, as where a finished recipe is validated."""
    return replace(
        study,
        samples={"external": study.samples["external"]},
        values={"external": study.values["external"]},
        evaluations={"external": study.evaluations["external"]},
        trained=None,
        bootstrap=None,
        second_opinion=None,
    )


def study_of(sample: Sample, cohorts: tuple[CohortName, ...] | None = None, **choices: object) -> Study:
    """A study of changed patients or settings."""
    settings = replace(SETTINGS, **choices)  # type: ignore[arg-type]
    return run_study(sample, cohorts or cohorts_of(), PROVENANCE, settings)


def with_outcome(sample: Sample, months: np.ndarray, event: np.ndarray) -> Sample:
    """The same patients with another fate."""
    return replace(sample, outcome=outcome(months, event))


def with_covariate(sample: Sample, name: str, values: object) -> Sample:
    """The same patients with one covariate changed."""
    return replace(sample, covariates=sample.covariates.assign(**{name: values}))
