"""Which covariates a Cox model keeps: univariable screening, and backward elimination by AIC, term by term.

A term is one clinical variable. A factor has several columns but is one decision: it enters and leaves whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from prognode.errors import NotEstimable
from prognode.statistics.cox import ChiSquareTest, CoxFit, fit_cox
from prognode.statistics.outcome import Floats, Outcome
from prognode.statistics.partial_likelihood import Ties


@dataclass(frozen=True, slots=True)
class ModelTerm:
    """One variable as k columns for n patients. Made by :func:`numeric_term` or :func:`factor_term`."""

    name: str
    columns: Floats
    """(n, k)."""
    labels: tuple[str, ...]
    """(k,) of the columns: for a factor its levels without the reference."""
    reference: str | None = None
    """The factor's level that the others are compared with; None for numbers."""
    absent_levels: tuple[str, ...] = ()
    """Levels that no patient has, which therefore have no column."""

    @property
    def column_names(self) -> tuple[str, ...]:
        """(k,) names for a fit: the labels, after the name of a factor."""
        if self.reference is None:
            return self.labels
        return tuple(f"{self.name}={label}" for label in self.labels)


def numeric_term(name: str, values: ArrayLike) -> ModelTerm:
    """A variable as it is: (n,) numbers -> one column. Raises ValueError for another shape."""
    column = np.asarray(values, np.float64)
    if column.ndim != 1:
        raise ValueError(f"{name} has shape {column.shape}, not (n,)")
    return ModelTerm(name, column[:, None], (name,))


def factor_term(name: str, values: Sequence[str], levels: Sequence[str]) -> ModelTerm:
    """A factor in treatment contrasts, as R's ``contr.treatment`` after ``droplevels``: (n,) levels -> 0/1 columns.

    The first level that occurs is the reference. Raises NotEstimable when only one level occurs, ValueError for a
    value that is no level and for a level named twice.
    """
    if len(set(levels)) != len(levels):
        raise ValueError(f"a level of {name} is named twice")
    present = set(values)
    unknown = sorted(present - set(levels))
    if unknown:
        raise ValueError(f"{name} has values that are none of its levels: {', '.join(unknown)}")
    kept = [level for level in levels if level in present]
    if len(kept) < 2:
        raise NotEstimable(f"{name} does not vary: every patient has the same level")
    column = np.asarray(values, object)
    return ModelTerm(
        name=name,
        columns=np.column_stack([column == level for level in kept[1:]]).astype(np.float64),
        labels=tuple(kept[1:]),
        reference=kept[0],
        absent_levels=tuple(level for level in levels if level not in present),
    )


def design(terms: Sequence[ModelTerm], patients: int | None = None) -> tuple[Floats, tuple[str, ...]]:
    """Terms side by side: (n, p) covariates and (p,) their names.

    ``patients`` is n where there may be no term. Raises ValueError for terms of one name or of different lengths.
    """
    names = tuple(name for term in terms for name in term.column_names)
    if len({term.name for term in terms}) != len(terms) or len(set(names)) != len(names):
        raise ValueError("two terms have one name")
    lengths = {len(term.columns) for term in terms} | ({patients} if patients is not None else set())
    if len(lengths) != 1:
        raise ValueError(f"the terms have different numbers of patients: {sorted(lengths)}")
    return np.concatenate([np.empty((*lengths, 0)), *(term.columns for term in terms)], axis=1), names


@dataclass(frozen=True, slots=True)
class Univariable:
    """The Cox model of one term alone, or why there is none."""

    term: ModelTerm
    fit: CoxFit | None
    why_not: str = ""
    """A sentence where ``fit`` is None."""

    @property
    def likelihood_ratio_test(self) -> ChiSquareTest:
        """Of the whole term, df = its columns; sound also where a hazard ratio is infinite."""
        return self._fitted().likelihood_ratio_test

    @property
    def wald_test(self) -> ChiSquareTest:
        """Of the whole term; ``fit.p_values`` has it for each column. Both raise NotEstimable where there is no fit."""
        return self._fitted().wald_test

    def _fitted(self) -> CoxFit:
        if self.fit is None:
            raise NotEstimable(self.why_not)
        return self.fit


def univariable(
    terms: Sequence[ModelTerm], outcome: Outcome, *, ties: Ties = "efron"
) -> tuple[Univariable, ...]:
    """One Cox model per term, as R's ``coxph(Surv(time, event) ~ term)``.

    A term that cannot be fitted (it does not vary) stands in its place with the reason; infinite hazard ratios are
    flagged in the fit. Raises NotEstimable when nobody died, which no term can repair.
    """
    if not outcome.events:
        raise NotEstimable("nobody died, so no hazard ratio can be estimated")
    return tuple(_alone(term, outcome, ties) for term in terms)


def _alone(term: ModelTerm, outcome: Outcome, ties: Ties) -> Univariable:
    try:
        return Univariable(term, _fit([term], outcome, ties))
    except NotEstimable as impossible:
        return Univariable(term, None, str(impossible))


def _fit(terms: Sequence[ModelTerm], outcome: Outcome, ties: Ties) -> CoxFit:
    covariates, names = design(terms, len(outcome))
    return fit_cox(covariates, outcome, ties=ties, names=names, infinite="flag")


@dataclass(frozen=True, slots=True)
class BackwardStep:
    """One look at a model: its AIC, and the AIC without each of its terms."""

    terms: tuple[str, ...]
    aic: float
    aic_if_dropped: tuple[float, ...]
    """One per term."""
    dropped: str | None
    """The term that left, None where the model stayed as it is."""


@dataclass(frozen=True, slots=True)
class BackwardSelection:
    """Where backward elimination ended, and how it came there."""

    selected: tuple[ModelTerm, ...]
    """May be empty: then no term is worth its parameters."""
    fit: CoxFit
    steps: tuple[BackwardStep, ...]
    """The last one drops nothing."""


def backward_aic(terms: Sequence[ModelTerm], outcome: Outcome, *, ties: Ties = "efron") -> BackwardSelection:
    """Backward elimination by AIC, as R's ``step(coxph, direction = "backward", k = 2)``.

    From the model of all terms, the term whose loss gives the smallest AIC leaves (the first of equals) as long as the
    AIC falls; a factor leaves whole. Infinite coefficients are flagged, not refused, and their AIC is that of the
    limit, as in R. Raises NotEstimable when nobody died or the terms together cannot be fitted (constant, dependent).
    """
    kept, fit = tuple(terms), _fit(terms, outcome, ties)
    steps: list[BackwardStep] = []
    while True:
        names = tuple(term.name for term in kept)
        smaller = [_fit(rest, outcome, ties) for rest in _each_left_out(kept)]
        aics = tuple(candidate.aic for candidate in smaller)
        if min(aics, default=np.inf) >= fit.aic:
            steps.append(BackwardStep(names, fit.aic, aics, None))
            return BackwardSelection(kept, fit, tuple(steps))
        leaver = int(np.argmin(aics))
        steps.append(BackwardStep(names, fit.aic, aics, names[leaver]))
        kept, fit = kept[:leaver] + kept[leaver + 1 :], smaller[leaver]


def _each_left_out(terms: tuple[ModelTerm, ...]) -> Iterator[tuple[ModelTerm, ...]]:
    return (terms[:place] + terms[place + 1 :] for place in range(len(terms)))
