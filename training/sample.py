"""Patients as arrays: what models are fitted to and judged on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prognode.domain.prognosis import Phase
from prognode.statistics.outcome import Bools, Floats, Index, Outcome
from training.covariates import COVARIATES, Factor, Number, covariate

M_STAGES = {"M0": 0.0, "M1": 1.0}


@dataclass(frozen=True)
class Sample:
    """n patients with outcome, features and covariates. Row i of everything is the same patient."""

    ids: tuple[str, ...]
    outcome: Outcome
    features: Mapping[Phase, Floats]
    """(n, 2048) of each phase."""
    covariates: pd.DataFrame
    """One column per covariate: numbers (NaN where missing) or levels (None where missing)."""
    second: Mapping[Phase, Floats]
    """(n, 2048) of a second reading; rows of NaN for patients who were read once."""

    def __len__(self) -> int:
        return len(self.ids)

    def of(self, chosen: Index) -> Sample:
        """Some of the patients, by mask or index; an index may repeat."""
        places = np.arange(len(self))[chosen]
        return replace(
            self,
            ids=tuple(self.ids[place] for place in places),
            outcome=self.outcome.of(places),
            features={phase: values[places] for phase, values in self.features.items()},
            covariates=self.covariates.iloc[places].reset_index(drop=True),
            second={phase: values[places] for phase, values in self.second.items()},
        )

    @property
    def read_twice(self) -> Bools:
        """(n,) who has a second reading."""
        if not self.second:
            return np.zeros(len(self), np.bool_)
        twice = np.ones(len(self), np.bool_)
        for values in self.second.values():
            twice &= np.isfinite(values).all(axis=1)
        return twice

    def complete(self, names: Iterable[str]) -> Bools:
        """(n,) who has all of these covariates."""
        missing: Bools = self.covariates[list(names)].isna().to_numpy(np.bool_)
        return np.asarray(~missing.any(axis=1), np.bool_)

    def numeric(self, name: str) -> Floats:
        """(n,) a covariate as the number that a model uses; M0 is 0 and M1 is 1. NaN where missing."""
        column = self.covariates[name]
        if name == "m_stage":
            column = column.map(M_STAGES)
        return column.to_numpy(np.float64)


def covariate_frame(rows: Iterable[Mapping[str, float | str]]) -> pd.DataFrame:
    """Covariates of patients, one column for each that anybody has."""
    frame = pd.DataFrame(list(rows))
    known = [one for one in COVARIATES if one.name in frame]
    columns: dict[str, NDArray[np.generic] | pd.Series[float]] = {}
    for one in known:
        if isinstance(one, Number):
            columns[one.name] = frame[one.name].astype(np.float64)
        else:
            columns[one.name] = frame[one.name].astype(object).where(frame[one.name].notna(), None)
    return pd.DataFrame(columns, index=frame.index)


def known_covariates(sample: Sample) -> list[Number | Factor]:
    """Covariates that the table has, in the order of the paper's Table 1."""
    return [covariate(name) for name in sample.covariates.columns]
