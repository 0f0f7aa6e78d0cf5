"""The choices of a training run, each of which stands in the recipe and in the report (the paper leaves most open)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from prognode.domain.recipe import COVARIATE_TERMS
from prognode.errors import BadRequest
from prognode.statistics.cross_validation import Rule
from prognode.statistics.icc import Form

CutoffMethod = Literal["max-log-rank", "median", "youden"]
HORIZONS_MONTHS = (36, 60)
"""Paper: 3- and 5-year overall survival."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a recipe is made."""

    name: str = "prognode-laboratory"
    version: str = "1"
    seed: int = 1
    """Of the split, the folds and the bootstrap."""
    training_fraction: float = 0.7
    """Of the development hospital's patients, where the table does not assign cohorts."""
    development_hospital: str = ""
    """Empty: the hospital with most patients."""
    icc_form: Form = "ICC2"
    icc_threshold: float = 0.8
    lambda_rule: Rule = "min"
    folds: int = 10
    clinical_terms: tuple[str, ...] | None = None
    """Covariates of the clinical model, chosen beforehand; None: backward elimination by AIC."""
    cutoff: CutoffMethod = "max-log-rank"
    cutoff_months: int = 36
    """Of Youden's index."""
    horizons_months: tuple[int, ...] = HORIZONS_MONTHS
    calibration_groups: int = 3
    bootstrap: int = 200
    """Repetitions of the whole training for the optimism; 0 leaves it out."""
    schoenfeld_alpha: float = 0.05
    """A factor with a smaller p against proportional hazards is not eligible (paper, Statistical analysis)."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.clinical_terms or () if name not in COVARIATE_TERMS]
        if unknown:
            raise BadRequest(
                f"the clinical model cannot use {', '.join(unknown)}: the node can only be given {', '.join(COVARIATE_TERMS)}"
            )
        repeated = [name for name, times in Counter(self.clinical_terms).items() if times > 1]
        if repeated:
            raise BadRequest(
                f"the clinical terms hold {', '.join(repeated)} more than once; name each covariate once"
            )
        if not 0.0 < self.training_fraction < 1.0:
            raise BadRequest(
                f"the training fraction is {self.training_fraction:g}; it must lie between 0 and 1"
            )
        if not 0.0 <= self.icc_threshold < 1.0:
            raise BadRequest(f"the ICC threshold is {self.icc_threshold:g}; it must lie between 0 and 1")


CUTOFF_WORDS: dict[CutoffMethod, str] = {
    "max-log-rank": "maximally selected log-rank statistic in the training cohort, at least 10 % in each group",
    "median": "median of the training cohort",
    "youden": "largest Youden index of Heagerty's ROC curve in the training cohort",
}
