"""Covariates of groups of patients, side by side, with the test of whether the groups differ (paper, Tables 1 and 4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from prognode.errors import NotEstimable
from prognode.statistics.group_tests import GroupTest, compare_categories, compare_numeric
from prognode.statistics.kaplan_meier import log_rank
from prognode.statistics.outcome import Outcome
from training.covariates import COVARIATES, Covariate, Factor
from training.estimates import NotKnown, estimated
from training.report.numbers import mean_sd, not_estimable, p_value, share

Tested = tuple[str, str]
"""(P value, test); both empty where there is nothing to test."""
NOT_TESTED: Tested = ("", "")
LOG_RANK = "log-rank test"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a table of patients."""

    covariate: Covariate
    kind: Literal["number", "factor", "level", "missing"]
    level: str = ""

    @property
    def labels(self) -> tuple[str, str]:
        """What its first two cells say: the covariate, and what the cells of the groups hold."""
        name = covariate_label(self.covariate)
        if self.kind == "number":
            return name, "mean ± SD"
        if self.kind == "factor":
            return name, ""
        if self.kind == "missing":
            return "", "missing, n"
        assert isinstance(self.covariate, Factor)
        return "", f"{self.covariate.label_of(self.level)}, n (%)"


def covariate_label(covariate: Covariate) -> str:
    """Its name, with the unit of a number."""
    return covariate.label if isinstance(covariate, Factor) else f"{covariate.label} ({covariate.unit})"


def covariate_lines(frames: Sequence[pd.DataFrame]) -> list[Line]:
    """Lines for every covariate that the table has; missing values have a line where any of the frames has some."""
    return [line for one in COVARIATES if one.name in frames[0] for line in _lines(one, frames)]


def _lines(one: Covariate, frames: Sequence[pd.DataFrame]) -> Iterator[Line]:
    if isinstance(one, Factor):
        yield Line(one, "factor")
        yield from (Line(one, "level", level) for level in one.levels)
    else:
        yield Line(one, "number")
    if any(frame[one.name].isna().any() for frame in frames):
        yield Line(one, "missing")


def cell(line: Line, frame: pd.DataFrame) -> str:
    """What a line says of one group of patients; percentages are of those whose value is known."""
    column = frame[line.covariate.name]
    if line.kind == "factor":
        return ""
    if line.kind == "missing":
        return str(int(column.isna().sum()))
    known = column[column.notna()]
    if line.kind == "number":
        return mean_sd(known.to_numpy(np.float64))
    return share(int((known == line.level).sum()), len(known))


def tested(line: Line, frames: Sequence[pd.DataFrame]) -> Tested:
    """P value and name of the test of whether groups differ in the covariate that a line begins."""
    if line.kind not in {"number", "factor"} or len(frames) < 2:
        return NOT_TESTED
    columns = [frame[line.covariate.name].dropna() for frame in frames]
    if isinstance(line.covariate, Factor):
        levels = line.covariate.levels
        return outcome_of_test(lambda: _compare_levels(columns, levels))
    return outcome_of_test(lambda: compare_numeric([column.to_numpy(np.float64) for column in columns]))


def _compare_levels(columns: Sequence[pd.Series[str]], levels: Sequence[str]) -> GroupTest:
    if not all(len(column) for column in columns):
        raise NotEstimable("one of the groups has no value")
    return compare_categories([[int((column == level).sum()) for column in columns] for level in levels])


def outcome_of_test(test: Callable[[], GroupTest]) -> Tested:
    """P value and name of a test, or why there is none."""
    found = estimated(test)
    if isinstance(found, NotKnown):
        return not_estimable(found.why), ""
    return p_value(found.p), found.name


def compared_survival(outcomes: Sequence[Outcome]) -> Tested:
    """Log-rank test between groups of patients."""
    if len(outcomes) < 2:
        return NOT_TESTED
    found = estimated(lambda: log_rank(joined(outcomes), _members(outcomes)))
    return (
        (not_estimable(found.why), "") if isinstance(found, NotKnown) else (p_value(found.p_value), LOG_RANK)
    )


def joined(outcomes: Sequence[Outcome]) -> Outcome:
    """Patients of several groups as one."""
    return Outcome(
        np.concatenate([one.time for one in outcomes]), np.concatenate([one.event for one in outcomes])
    )


def _members(outcomes: Sequence[Outcome]) -> list[int]:
    return [place for place, one in enumerate(outcomes) for _ in range(len(one))]
