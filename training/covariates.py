"""The clinical covariates of a cohort table: how they are called, coded, checked and labelled (paper, Table 1).

One list serves the reader of the table, the tables of the report, the drift table, the synthetic cohort and the
documentation, so that none of them can disagree about a code.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from prognode.domain.covariates import LONGEST_DIAMETER_RANGE_MM


@dataclass(frozen=True, slots=True)
class Number:
    """A covariate that is measured."""

    name: str
    label: str
    unit: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Factor:
    """A covariate with levels; the first is the reference of every hazard ratio."""

    name: str
    label: str
    levels: tuple[str, ...]
    labels: tuple[str, ...]
    synonyms: dict[str, str] = field(default_factory=dict)
    """Other ways to write a level, in lower case."""

    def label_of(self, level: str) -> str:
        """What tables call a level."""
        return self.labels[self.levels.index(level)]


Covariate = Number | Factor

AGE = Number("age", "Age", "years", 0, 120)
SEX = Factor("sex", "Sex", ("F", "M"), ("Female", "Male"), {"female": "F", "male": "M"})
LOCATION = Factor(
    "location",
    "Location",
    ("cardia_fundus", "body", "antrum", "two_thirds"),
    ("Cardia/fundus", "Body", "Antrum", "≥2/3 stomach"),
    {"cardia": "cardia_fundus", "fundus": "cardia_fundus", "diffuse": "two_thirds"},
)
LONGEST_DIAMETER = Number("longest_diameter_mm", "Longest diameter", "mm", *LONGEST_DIAMETER_RANGE_MM)
CT_LYMPH_NODES = Factor(
    "ct_lymph_nodes",
    "CT-reported LN",
    ("no", "yes"),
    ("No", "Yes"),
    {"0": "no", "1": "yes", "n0": "no", "n+": "yes", "negative": "no", "positive": "yes"},
)
M_STAGE = Factor("m_stage", "M stage", ("M0", "M1"), ("M0", "M1"), {"0": "M0", "1": "M1"})
KI67 = Number("ki67_percent", "Ki-67", "%", 0, 100)
GRADE = Factor(
    "grade",
    "Grade",
    ("NETG1", "NETG2", "NETG3", "MiNEN", "NEC"),
    ("NETG1", "NETG2", "NETG3", "MiNEN", "NEC"),
    {"g1": "NETG1", "g2": "NETG2", "g3": "NETG3", "net g1": "NETG1", "net g2": "NETG2", "net g3": "NETG3"},
)

COVARIATES: tuple[Covariate, ...] = (
    AGE,
    SEX,
    LOCATION,
    LONGEST_DIAMETER,
    CT_LYMPH_NODES,
    M_STAGE,
    KI67,
    GRADE,
)
"""In the order of the paper's Table 1."""


def covariate(name: str) -> Covariate:
    """By name. Raises KeyError."""
    return next(one for one in COVARIATES if one.name == name)
