"""Which clinical covariates go with survival, one by one and together (paper, Table 2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from prognode.statistics.cox import ChiSquareTest, CoxFit, chi_square_test, fit_cox
from prognode.statistics.outcome import Bools, Outcome
from prognode.statistics.selection import ModelTerm, Univariable, design
from training.clinical import ClinicalAnalysis
from training.covariates import Covariate, Factor, covariate
from training.estimates import NotKnown, estimated
from training.report.characteristics import covariate_label
from training.report.items import ReportTable
from training.report.numbers import hazard_ratio, not_estimable, p_value, shown, significant
from training.report.tabulated import Row, filled, tabulated
from training.sample import Sample
from training.study import Study
from training.train import Trained

COLUMNS = (
    "Characteristic",
    "Level",
    "Patients",
    "Deaths",
    "Univariable HR (95 % CI)",
    "Univariable P value",
    "Univariable test",
    "Multivariable HR (95 % CI)",
    "Multivariable P value",
    "Multivariable test",
)
WALD = "Wald test"
REFERENCE = ("1 (reference)", "", "")
NOTHING = ("", "", "")
Cells = tuple[str, str, str]
"""Hazard ratio, P value, test."""


@dataclass(frozen=True)
class _Analysis:
    """One Cox fit, and how to explain where it has no finite hazard ratio."""

    fit: CoxFit | NotKnown
    sample: Sample
    """The patients of the fit."""
    whole: Mapping[str, ChiSquareTest | NotKnown]
    """Likelihood ratio test of each factor."""
    names: tuple[str, ...]
    """Covariates in the fit."""


def table_2_hazard_ratios(study: Study) -> ReportTable | None:
    """Univariable and multivariable hazard ratios of every covariate; None for a recipe that was not trained here."""
    if study.trained is None:
        return None
    trained, found = study.trained, study.trained.clinical
    together = _together(trained)
    rows: list[Row] = []
    for alone in found.univariable:
        known = trained.sample.of(trained.sample.complete([alone.term.name]))
        rows += _rows(covariate(alone.term.name), _alone(alone, known), together)
    title = "Table 2. Hazard ratios of the clinical characteristics in the training cohort"
    return tabulated(study, "table_2_hazard_ratios", title, COLUMNS, rows, _notes(found, trained.sample))


def _notes(found: ClinicalAnalysis, sample: Sample) -> list[str]:
    return [
        (
            f"Univariable: over the patients whose value is known, of {len(sample)} with {sample.outcome.events} deaths. "
            f"Multivariable: over the {found.patients} patients ({found.events} deaths) who have every covariate."
        ),
        (
            "Cox models with Efron's treatment of tied times. Hazard ratios of numbers are per unit (year, mm, percentage "
            "point). Each hazard ratio has a Wald test; a factor of several levels has a likelihood ratio test as a whole, "
            "which also holds where a hazard ratio is not estimable."
        ),
        "" if found.univariable else "The cohort table has no clinical covariate.",
        *(f"{remark}." for remark in found.remarks),
    ]


def _alone(one: Univariable, known: Sample) -> _Analysis:
    name = one.term.name
    if one.fit is None:
        return _Analysis(NotKnown(one.why_not), known, {}, (name,))
    return _Analysis(one.fit, known, {name: estimated(lambda: one.likelihood_ratio_test)}, (name,))


def _together(trained: Trained) -> _Analysis:
    found = trained.clinical
    fitted = [one.term.name for one in found.univariable if one.fit is not None]
    complete = trained.sample.of(trained.sample.complete(fitted))
    fit = found.multivariable
    whole: dict[str, ChiSquareTest | NotKnown] = {}
    if isinstance(fit, CoxFit):
        whole = {
            term.name: estimated(lambda term=term: without(fit, found.terms, term, complete.outcome))  # type: ignore[misc]
            for term in found.terms
            if term.reference is not None
        }
    return _Analysis(fit, complete, whole, tuple(term.name for term in found.terms))


def without(fit: CoxFit, terms: Sequence[ModelTerm], left: ModelTerm, outcome: Outcome) -> ChiSquareTest:
    """Likelihood ratio test of one term of a fit: twice what its loss costs in log-likelihood.

    R's ``drop1(coxph, test = "Chisq")``. Raises NotEstimable where the smaller model cannot be fitted.
    """
    rest = [term for term in terms if term.name != left.name]
    covariates, names = design(rest, len(outcome))
    smaller = fit_cox(covariates, outcome, names=names, infinite="flag")
    return chi_square_test(2 * (fit.loglik - smaller.loglik), len(left.labels))


# ---------------------------------------------------------------- rows


def _rows(one: Covariate, alone: _Analysis, together: _Analysis) -> Iterator[Row]:
    label = covariate_label(one)
    if not isinstance(one, Factor):
        counts = _counts(alone.sample, np.ones(len(alone.sample), np.bool_))
        yield [label, "per unit", *counts, *_ratio(one.name, alone), *_ratio(one.name, together)]
        return
    yield filled([label, "", "", "", *_whole(one, alone), *_whole(one, together)], len(COLUMNS))
    for level in one.levels:
        counts = _counts(alone.sample, _has(alone.sample, one, level))
        cells = [_level(one, level, analysis) for analysis in (alone, together)]
        yield ["", one.label_of(level), *counts, *cells[0], *cells[1]]


def _has(sample: Sample, one: Covariate, level: str) -> Bools:
    return np.asarray((sample.covariates[one.name] == level).to_numpy(), np.bool_)


def _counts(sample: Sample, members: Bools) -> tuple[str, str]:
    return str(int(members.sum())), str(int(sample.outcome.event[members].sum()))


def _whole(one: Factor, analysis: _Analysis) -> Cells:
    """The test of a whole factor, or why it has none."""
    if isinstance(analysis.fit, NotKnown):
        return not_estimable(analysis.fit.why), "", ""
    if one.name not in analysis.whole:
        return "not in the model", "", ""
    test = analysis.whole[one.name]
    if isinstance(test, NotKnown):
        return "", not_estimable(test.why), ""
    return "", p_value(test.p), f"likelihood ratio test, {test.df} df"


def _level(one: Factor, level: str, analysis: _Analysis) -> Cells:
    if isinstance(analysis.fit, NotKnown) or one.name not in analysis.names:
        return NOTHING
    if not _has(analysis.sample, one, level).any():
        return not_estimable("no patient has this level"), "", ""
    if level == _reference(one, analysis.sample):
        return REFERENCE
    return _ratio(f"{one.name}={level}", analysis)


def _reference(one: Factor, sample: Sample) -> str:
    """The first level that occurs, as in the fit."""
    return next(level for level in one.levels if _has(sample, one, level).any())


def _ratio(column: str, analysis: _Analysis) -> Cells:
    """Hazard ratio of a column of a fit, with its Wald test."""
    fit = analysis.fit
    if isinstance(fit, NotKnown):
        return not_estimable(fit.why), "", ""
    if column not in fit.names:
        return "not in the model", "", ""
    place = fit.names.index(column)
    if fit.infinite[place]:
        return not_estimable(_why_endless(column, analysis.sample)), "", ""
    lower, upper = fit.confidence_interval()[place].tolist()
    text = hazard_ratio(float(fit.hazard_ratios[place]), lower, upper)
    return text, p_value(float(fit.p_values[place])), WALD


def _why_endless(column: str, sample: Sample) -> str:
    """What separates those who died from those who did not, as far as one factor shows it."""
    name, _, level = column.partition("=")
    one = covariate(name)
    if isinstance(one, Factor):
        reference = _reference(one, sample)
        for which, words in ((level, ""), (reference, " of the reference")):
            members = _has(sample, one, which)
            died = int(sample.outcome.event[members].sum())
            if not died:
                return f"none of the {int(members.sum())} patients{words} died"
    return "alone or with other covariates it separates the deaths, so there is no finite estimate"


# ---------------------------------------------------------------- assumptions and selection


def schoenfeld(study: Study) -> ReportTable | None:
    """Test of proportional hazards of each covariate and of all together (paper, Figure S1)."""
    if study.trained is None:
        return None
    found, alpha = study.trained.clinical.hazards, study.settings.schoenfeld_alpha
    if isinstance(found, NotKnown):
        rows: list[Row] = [["GLOBAL", not_estimable(found.why), "", "", ""]]
    else:
        rows = [
            [_label(name), *_chi_square(test), "yes" if test.p > alpha else "no"]
            for name, test in zip(found.terms, found.tests, strict=True)
        ]
        rows.append(["GLOBAL", *_chi_square(found.overall), ""])
    notes = [
        (
            'Score test of a hazard ratio that changes with 1 - S(t), S being the Kaplan-Meier estimate (transform "km"), '
            "in the multivariable model of Table 2; a factor is tested with all its levels."
        ),
        f"Eligible for the clinical model: P > {alpha:g}.",
        "The test could not be made, so every covariate counts as eligible."
        if isinstance(found, NotKnown)
        else "",
    ]
    columns = ("Covariate", "Chi-square", "Degrees of freedom", "P value", "Eligible")
    return tabulated(
        study, "schoenfeld", "Proportional hazards: Schoenfeld residuals test", columns, rows, notes
    )


def _label(name: str) -> str:
    return covariate(name).label


def _chi_square(test: ChiSquareTest) -> tuple[str, str, str]:
    return significant(test.statistic, 3), str(test.df), p_value(test.p)


def backward_selection(study: Study) -> ReportTable | None:
    """The path of backward elimination by AIC, from all eligible covariates to those of the clinical model."""
    if study.trained is None:
        return None
    found = study.trained.clinical
    selection = found.selection
    rows: list[Row] = []
    if not isinstance(selection, NotKnown):
        rows = [
            [
                str(number),
                ", ".join(_label(name) for name in step.terms) or "no covariate",
                f"{step.aic:.1f}",
                f"{min(step.aic_if_dropped):.1f}" if step.aic_if_dropped else "",
                _label(step.dropped) if step.dropped else "nothing",
            ]
            for number, step in enumerate(selection.steps, 1)
        ]
    notes = [
        (
            "Akaike's information criterion (AIC); the covariate whose loss gives the lowest AIC leaves, as long as the AIC "
            "falls. A factor leaves with all its levels."
        ),
        shown(selection, lambda _: ""),
        *_choice(study.trained),
    ]
    columns = ("Step", "Covariates", "AIC", "Lowest AIC with one fewer", "Dropped")
    title = "Backward elimination of clinical covariates"
    return tabulated(study, "backward_selection", title, columns, rows, notes)


def _choice(trained: Trained) -> list[str]:
    """Which covariates the clinical model takes, and who says so."""
    chosen = ", ".join(_label(name) for name in trained.clinical.chosen) or "none"
    if trained.settings.clinical_terms is not None:
        return [
            f"The clinical model was given its covariates beforehand: {chosen}. The elimination is for comparison."
        ]
    return [f"Covariates of the clinical model: {chosen}.", *(f"{one}." for one in trained.clinical.remarks)]
