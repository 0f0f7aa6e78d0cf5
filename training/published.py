"""Figures that Yang et al. (Quant Imaging Med Surg 2023;13(12):8190-8203) print: to lay beside ours, and to draw from.

They are the paper's results on its own patients. Nothing here was computed by this program.
"""

from __future__ import annotations

from dataclasses import dataclass

SOURCE = "Yang et al., Quant Imaging Med Surg 2023;13(12):8190-8203"
PATIENTS = {"training": 76, "internal": 32, "external": 54}
READ_TWICE = 30


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % limits."""

    value: float
    lower: float
    upper: float


Row = dict[str, Interval]

CONCORDANCE: dict[str, Row] = {
    "clinical": {
        "training": Interval(0.80, 0.73, 0.86),
        "internal": Interval(0.71, 0.60, 0.84),
        "external": Interval(0.66, 0.52, 0.72),
    },
    "signatures": {
        "training": Interval(0.84, 0.79, 0.92),
        "internal": Interval(0.73, 0.61, 0.86),
        "external": Interval(0.65, 0.56, 0.75),
    },
    "combined": {
        "training": Interval(0.86, 0.81, 0.92),
        "internal": Interval(0.77, 0.66, 0.89),
        "external": Interval(0.71, 0.62, 0.83),
    },
}
"""Table 3."""

HAZARD_RATIO: dict[str, Row] = {
    "clinical": {
        "training": Interval(2.68, 1.93, 3.83),
        "internal": Interval(2.27, 1.32, 3.90),
        "external": Interval(1.52, 1.19, 1.95),
    },
    "signatures": {
        "training": Interval(2.71, 2.02, 3.66),
        "internal": Interval(2.16, 1.44, 3.22),
        "external": Interval(1.25, 0.89, 1.77),
    },
    "combined": {
        "training": Interval(3.12, 2.34, 3.93),
        "internal": Interval(2.51, 1.57, 3.99),
        "external": Interval(1.77, 1.21, 2.59),
    },
}
"""Table 3; of what unit is not said. Such narrow intervals cannot belong to a 0/1 covariate in groups of this size."""

MEANS: dict[str, dict[str, tuple[float, float]]] = {
    "age": {"training": (61.70, 11.31), "internal": (63.06, 11.39), "external": (64.50, 9.15)},
    "longest_diameter_mm": {
        "training": (44.80, 27.49),
        "internal": (44.57, 29.71),
        "external": (53.97, 27.55),
    },
    "ki67_percent": {"training": (53.08, 34.21), "internal": (49.25, 33.19), "external": (66.83, 24.25)},
}
"""Table 1: mean and standard deviation."""

COUNTS: dict[str, dict[str, tuple[int, ...]]] = {
    "sex": {"training": (23, 53), "internal": (8, 24), "external": (12, 42)},
    "location": {"training": (41, 21, 9, 5), "internal": (17, 11, 1, 3), "external": (27, 15, 2, 10)},
    "ct_lymph_nodes": {"training": (39, 37), "internal": (15, 17), "external": (26, 28)},
    "m_stage": {"training": (59, 17), "internal": (25, 7), "external": (43, 11)},
    "grade": {
        "training": (15, 6, 3, 38, 14),
        "internal": (7, 3, 0, 15, 7),
        "external": (0, 5, 2, 30, 17),
    },
}
"""Table 1: patients at each level, in the order of :mod:`training.covariates`."""

MEDIAN_SURVIVAL_MONTHS = {"training": 32.0, "internal": 34.0, "external": 25.0}
"""Results, Baseline clinical characteristics."""
