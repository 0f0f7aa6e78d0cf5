"""A cohort of patients who never were, with the marginals of the paper's Table 1 and a signal that was put there.

What is planted (and what training should find) is written beside the cohort in ``truth.json``:

* each tumour has two hidden values, one per phase, drawn from a standard normal distribution (correlation 0.6): the
  higher, the less contrast the 40 mm around the tumour's centre take up, ``REACTION_HU`` per unit, in that phase;
* death comes at a rate that is multiplied by ``exp(lp)``, lp being ``SIGNAL`` times these hidden values and the
  covariates; sex, location, CT-reported lymph nodes and grade have no effect of their own;
* grade goes with Ki-67, and diameter, nodes and metastases go together a little, as in patients.

Everything else about two patients is the same synthetic abdomen under other noise, so the images say nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.covariates import COVARIATES, GRADE, Factor, Number
from training.published import COUNTS, MEANS, PATIENTS, READ_TWICE
from training.synthetic_study import StudySpec

Floats = NDArray[np.float64]
CohortOf = Mapping[str, int]

SIGNAL: dict[str, float] = {
    "hidden_arterial": 1.00,
    "hidden_venous": 1.00,
    "ki67_percent": 0.025,
    "longest_diameter_mm": 0.025,
    "m_stage": 1.30,
    "age": 0.01,
}
"""Log hazard ratio per unit."""
REACTION_HU = {"arterial": -70.0, "venous": -70.0}
"""Hounsfield units within 40 mm of the tumour's centre, per unit of its hidden value."""
GASTRIC_CONTENT_HU = 85.0
"""About that of the tumours, so that their size is not the plainest thing about the images."""
HIDDEN_CORRELATION = 0.6
MEDIAN_MONTHS = 34.0
"""Median survival of a patient with the mean linear predictor."""
WEIBULL_SHAPE = 1.2
FOLLOW_UP_MONTHS = {"training": (13.0, 124.0), "internal": (13.0, 124.0), "external": (16.0, 70.0)}
"""Between diagnosis and the end of the study, January 2022; evenly spread (paper, Patients)."""
DIAMETERS_MM = (10.0, 140.0)
KI67_OF_GRADE = {"NETG1": (0, 2), "NETG2": (3, 20), "NETG3": (21, 55), "MiNEN": (21, 99), "NEC": (21, 99)}
"""Percent, after the WHO classification of 2019."""
HOSPITALS = {"training": "SYNTHETIC-A", "internal": "SYNTHETIC-A", "external": "SYNTHETIC-B"}


@dataclass(frozen=True)
class SyntheticPatient:
    """One patient of the cohort, with the truth."""

    number: int
    """From 1."""
    cohort: str
    covariates: Mapping[str, float | str]
    hidden: tuple[float, float]
    """Arterial, venous."""
    months: float
    event: bool
    read_twice: bool

    @property
    def patient_id(self) -> str:
        """A name that says that nobody bears it."""
        return f"SYN-{self.number:03d}"


def draw_patients(
    seed: int, patients: CohortOf = PATIENTS, read_twice: int = READ_TWICE
) -> list[SyntheticPatient]:
    """The patients of a synthetic cohort; the same seed gives the same ones.

    Counts of factors are the paper's where the cohort has the paper's size, else in proportion. Means and standard
    deviations are the paper's to within rounding and the limits of each covariate.
    """
    made: list[SyntheticPatient] = []
    for place, (cohort, size) in enumerate(patients.items()):
        random = np.random.default_rng([seed, place])
        made += _draw_cohort(random, cohort, size, len(made), read_twice if cohort == "training" else 0)
    return made


def _draw_cohort(
    random: np.random.Generator, cohort: str, size: int, before: int, read_twice: int
) -> Iterator[SyntheticPatient]:
    columns = _covariates(random, cohort, size)
    hidden = _hidden(random, size)
    months, event = _survival(random, columns, hidden, cohort)
    again = np.zeros(size, np.bool_)
    again[random.permutation(size)[:read_twice]] = True
    for row in range(size):
        values = {name: _plain(column[row]) for name, column in columns.items()}
        yield SyntheticPatient(
            number=before + row + 1,
            cohort=cohort,
            covariates=values,
            hidden=(float(hidden[row, 0]), float(hidden[row, 1])),
            months=float(months[row]),
            event=bool(event[row]),
            read_twice=bool(again[row]),
        )


def _plain(value: object) -> float | str:
    return value if isinstance(value, str) else float(value)  # type: ignore[arg-type]


# ---------------------------------------------------------------- covariates


def _covariates(random: np.random.Generator, cohort: str, size: int) -> dict[str, NDArray[np.generic]]:
    """Columns by name, in the order of Table 1."""
    severity = random.standard_normal(size)
    columns: dict[str, NDArray[np.generic]] = {}
    for one in COVARIATES:
        leaning = 0.6 * severity + 0.8 * random.standard_normal(size)
        if isinstance(one, Factor):
            bound = one.name in {"m_stage", "ct_lymph_nodes"}
            columns[one.name] = _levels(one, cohort, leaning if bound else random.standard_normal(size))
        elif one.name == "longest_diameter_mm":
            columns[one.name] = _numbers(one, cohort, np.exp(0.55 * leaning), 1, DIAMETERS_MM)
        elif one.name == "age":
            columns[one.name] = _numbers(one, cohort, random.standard_normal(size), 0, (19.0, 92.0))
    columns["ki67_percent"] = _ki67(random, cohort, columns["grade"])
    return {one.name: columns[one.name] for one in COVARIATES}


def _levels(factor: Factor, cohort: str, order: Floats) -> NDArray[np.generic]:
    """The paper's counts; who stands higher in ``order`` has the later level."""
    counts = np.array(COUNTS[factor.name][cohort], np.float64)
    ends = np.rint(np.cumsum(counts) / counts.sum() * len(order)).astype(int)
    levels = np.empty(len(order), object)
    start = 0
    ranked = np.argsort(order, kind="stable")
    for level, end in zip(factor.levels, ends, strict=True):
        levels[ranked[start:end]] = level
        start = int(end)
    return levels


def _numbers(
    number: Number, cohort: str, shape: Floats, digits: int, limits: tuple[float, float]
) -> NDArray[np.generic]:
    mean, spread = MEANS[number.name][cohort]
    return np.round(_moved(shape, mean, spread, limits), digits)


def _moved(values: Floats, mean: float, spread: float, limits: tuple[float, float]) -> Floats:
    """Values stretched and shifted to a mean and a standard deviation, again after each cut at the limits."""
    if len(values) < 2:
        return np.full_like(values, mean)
    for _ in range(200):
        deviation = values.std(ddof=1)
        if not deviation:
            return np.full_like(values, mean)
        values = np.clip((values - values.mean()) / deviation * spread + mean, *limits)
    return values


def _ki67(random: np.random.Generator, cohort: str, grades: NDArray[np.generic]) -> NDArray[np.generic]:
    """Ki-67 inside the range of each grade; the high grades carry what mean and spread ask for."""
    mean, spread = MEANS["ki67_percent"][cohort]
    values = np.array([random.uniform(*KI67_OF_GRADE[str(grade)]) for grade in grades])
    low = np.isin(grades, GRADE.levels[:3])
    high_count = int((~low).sum())
    if high_count > 2:
        rest = values[low]
        total = mean * len(values) - rest.sum()
        wanted = spread**2 * (len(values) - 1) - ((rest - mean) ** 2).sum()
        own_mean = total / high_count
        own = max(25.0, wanted / high_count - (own_mean - mean) ** 2)
        values[~low] = _moved(values[~low], own_mean, float(np.sqrt(own)), (21.0, 99.0))
    whole: Floats = np.rint(values)
    return whole


# ---------------------------------------------------------------- what is planted


def _hidden(random: np.random.Generator, size: int) -> Floats:
    """(n, 2) standard normal, correlated between the phases."""
    drawn = random.standard_normal((size, 2))
    rho = HIDDEN_CORRELATION
    return np.column_stack([drawn[:, 0], rho * drawn[:, 0] + np.sqrt(1 - rho**2) * drawn[:, 1]])


def planted_predictor(covariates: Mapping[str, float | str], hidden: tuple[float, float]) -> float:
    """The linear predictor that death follows."""
    stage = 1.0 if covariates["m_stage"] == "M1" else 0.0
    numbers = {name: float(covariates[name]) for name in ("ki67_percent", "longest_diameter_mm", "age")}
    values = {"hidden_arterial": hidden[0], "hidden_venous": hidden[1], "m_stage": stage, **numbers}
    return sum(SIGNAL[name] * value for name, value in values.items())


MEAN_PREDICTOR = (
    SIGNAL["ki67_percent"] * 53.0
    + SIGNAL["longest_diameter_mm"] * 45.0
    + SIGNAL["m_stage"] * 0.22
    + SIGNAL["age"] * 62.0
)


def _survival(
    random: np.random.Generator, columns: Mapping[str, NDArray[np.generic]], hidden: Floats, cohort: str
) -> tuple[Floats, NDArray[np.bool_]]:
    """(months, died): Weibull times, cut at the end of follow-up; months to one decimal."""
    size = len(hidden)
    rows = ({name: _plain(column[row]) for name, column in columns.items()} for row in range(size))
    lp = np.array([planted_predictor(row, (h[0], h[1])) for row, h in zip(rows, hidden, strict=True)])
    scale = MEDIAN_MONTHS / np.log(2) ** (1 / WEIBULL_SHAPE)
    death = scale * (random.exponential(size=size) / np.exp(lp - MEAN_PREDICTOR)) ** (1 / WEIBULL_SHAPE)
    censored = random.uniform(*FOLLOW_UP_MONTHS[cohort], size)
    months = np.maximum(np.round(np.minimum(death, censored), 1), 0.1)
    return months, death <= censored


# ---------------------------------------------------------------- images


WIDEST_IN_PLANE_MM = 26.0
"""Longer tumours are long along the body's axis, where three slices do not show it: the covariate is no image feature."""
LONGEST_OF_UNIT = 1.05
"""Half the longest diameter of the lobed outline of a tumour with semi-axes 1 and 0.85."""


def study_spec(patient: SyntheticPatient, seed: int, slices: int, matrix: int) -> StudySpec:
    """The study of one patient: its tumour as long as the table says, as dark as its hidden values make it."""
    random = np.random.default_rng([seed, 1000 + patient.number])
    longest = float(patient.covariates["longest_diameter_mm"])
    half = min(longest, WIDEST_IN_PLANE_MM) / 2 / LONGEST_OF_UNIT
    return StudySpec(
        seed=1_000_000 + 1000 * seed + patient.number,
        slices=slices,
        rows=matrix,
        columns=matrix,
        row_spacing_mm=360.0 / matrix,
        column_spacing_mm=360.0 / matrix,
        slice_spacing_mm=5.0,
        noise_hu=8.0,
        gastric_content_hu=GASTRIC_CONTENT_HU,
        tumour_centre_mm=(72.0, -12.0, 5.0),
        tumour_semi_axes_mm=(half, half * random.uniform(0.8, 0.95), longest / 2),
        reaction_hu=(
            REACTION_HU["arterial"] * patient.hidden[0],
            REACTION_HU["venous"] * patient.hidden[1],
        ),
    )
