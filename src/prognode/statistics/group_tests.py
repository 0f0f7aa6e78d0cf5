"""Whether groups of patients differ in one variable: the p values of the tables of patients (paper, Tables 1 and 4).

A test is chosen by the data, so each result says which it was, in the words that stand under the table. The numbers are
R's: ``t.test``, ``wilcox.test``, ``oneway.test``, ``aov``, ``kruskal.test``, ``bartlett.test``, ``shapiro.test``,
``chisq.test`` and ``fisher.test`` with their defaults, except where a docstring says otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from prognode.errors import NotEstimable
from prognode.statistics.fisher_exact import MONTE_CARLO_TABLES, exact_p, monte_carlo_p

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Rule = Literal["paper", "means", "unequal variances", "ranks"]

NORMAL_P = 0.05
"""A group passes for normal where the Shapiro-Wilk test's p value exceeds this."""
EXACT_BELOW = 50
"""Both groups must be smaller for the exact Mann-Whitney test, as in R."""
SHAPIRO_MOST = 5000
"""Shapiro and Wilk's coefficients are approximated up to this number of values."""
CONSTANT = 10 * float(np.finfo(np.float64).eps)
"""A spread this small beside the means is rounding, as in R."""


@dataclass(frozen=True, slots=True)
class GroupTest:
    """One test of one variable."""

    name: str
    """What a footnote under the table says, variant included."""
    statistic: float | None
    """t, F, chi-squared or R's W (Mann-Whitney, first group); None for Fisher's test, which has none."""
    df: tuple[float, ...]
    """Degrees of freedom: none, one, or two for an F test."""
    p: float


@dataclass(frozen=True, slots=True)
class _Groups:
    """Sizes, means and variances (ddof 1; NaN for one value) of k groups, and all values with their group."""

    n: Floats
    mean: Floats
    variance: Floats
    values: Floats
    group: NDArray[np.intp]

    @property
    def within(self) -> float:
        """Sum of squares about the groups' own means."""
        return float(((self.values - self.mean[self.group]) ** 2).sum())

    @property
    def slack(self) -> float:
        """A standard error below this is rounding."""
        return CONSTANT * float(np.abs(self.mean).max())


def compare_numeric(groups: Sequence[ArrayLike], rule: Rule = "paper") -> GroupTest:
    """Test whether k groups, each (n_i,), differ in level; its name says which test was made.

    ``rule`` "paper": two groups by Welch's t test where both pass the Shapiro-Wilk test at 0.05, else by the
    Mann-Whitney test; three or more by one-way ANOVA. The paper says "independent t-test or Mann-Whitney": Welch's is
    R's default and needs no second assumption. "means" is Student's t test or ANOVA, "unequal variances" Welch's of
    either, "ranks" Mann-Whitney or Kruskal-Wallis.

    Raises NotEstimable for fewer than two groups, an empty or too small one, and values that do not vary; ValueError
    for groups that are not (n_i,) or not finite.
    """
    checked = _checked(groups)
    if rule == "paper":
        rule = "means" if len(checked) > 2 else _rule_for_two(checked)
    two = len(checked) == 2
    if rule == "means":
        return student_t(*checked) if two else anova(checked)
    if rule == "unequal variances":
        return welch_t(*checked) if two else welch_anova(checked)
    return mann_whitney(*checked) if two else kruskal_wallis(checked)


def _rule_for_two(groups: list[Floats]) -> Rule:
    return "unequal variances" if all(_passes_for_normal(group) for group in groups) else "ranks"


def _passes_for_normal(values: Floats) -> bool:
    """Groups that the Shapiro-Wilk test cannot judge do not pass."""
    try:
        return shapiro_wilk(values).p > NORMAL_P
    except NotEstimable:
        return False


def compare_categories(table: ArrayLike) -> GroupTest:
    """Test whether k groups (columns) differ in the shares of the levels (rows) of an (r, k) table of counts.

    Levels and groups with no patient are dropped. Pearson's chi-squared test, Yates-corrected for 2 x 2; where an
    expected count is under 1, or more than a fifth of them under 5 (Cochran 1954), Fisher's exact test.

    Raises NotEstimable where fewer than two levels or groups have patients; ValueError for what is not a table of counts.
    """
    counts = _counts(table)
    expected = _expected(counts)
    sparse = bool(expected.min() < 1) or float((expected < 5).mean()) > 0.2
    return fisher_exact(counts) if sparse else chi_squared(counts)


def student_t(first: ArrayLike, second: ArrayLike) -> GroupTest:
    """Student's t test, two-sided, as R's ``t.test(x, y, var.equal = TRUE)``.

    Raises NotEstimable for fewer than three values in all, an empty group, and values that do not vary.
    """
    g = _summary([first, second], "Student's t test")
    df = float(g.n.sum() - 2)
    if df < 1:
        raise NotEstimable("Student's t test needs three values at least")
    return _t("Student t test", g, g.within / df * (1 / g.n).sum(), df)


def welch_t(first: ArrayLike, second: ArrayLike) -> GroupTest:
    """Welch's t test for unequal variances, two-sided, as R's ``t.test(x, y)``.

    Raises NotEstimable for a group of one, and values that do not vary.
    """
    g = _summary([first, second], "Welch's t test", least=2)
    errors = g.variance / g.n
    with np.errstate(invalid="ignore"):
        df = errors.sum() ** 2 / (errors**2 / (g.n - 1)).sum()
    return _t("Welch t test", g, errors.sum(), float(df))


def _t(name: str, g: _Groups, squared_error: float, df: float) -> GroupTest:
    error = float(np.sqrt(squared_error))
    if error <= g.slack:
        raise NotEstimable(f"{name}: the values do not vary within the groups")
    t = float(g.mean[0] - g.mean[1]) / error
    return GroupTest(name, t, (df,), float(2 * special.stdtr(df, -abs(t))))


def mann_whitney(first: ArrayLike, second: ArrayLike) -> GroupTest:
    """Mann-Whitney U test, two-sided, as R's ``wilcox.test(x, y)``: exact for fewer than 50 values each without ties.

    Else by the normal approximation with continuity correction and the variance for ties. The statistic is R's W: how
    many pairs have the first group's value higher, ties counting half.

    Raises NotEstimable for an empty group and where all values are equal.
    """
    g = _summary([first, second], "the Mann-Whitney test")
    _refuse_constant(g.values, "the Mann-Whitney test")
    one, two = g.values[g.group == 0], g.values[g.group == 1]
    ties = len(np.unique(g.values)) < len(g.values)
    exact = max(len(one), len(two)) < EXACT_BELOW and not ties
    found = stats.mannwhitneyu(one, two, method="exact" if exact else "asymptotic")
    name = f"Mann-Whitney U test, {'exact' if exact else 'normal approximation'}"
    return GroupTest(name, float(found.statistic), (), min(1.0, float(found.pvalue)))


def anova(groups: Sequence[ArrayLike]) -> GroupTest:
    """One-way analysis of variance, as R's ``aov(value ~ group)``.

    Raises NotEstimable where no group has two values, and where values do not vary within groups.
    """
    g = _summary(groups, "one-way ANOVA")
    return _anova("one-way ANOVA", g)


def _anova(name: str, g: _Groups) -> GroupTest:
    df1, df2 = len(g.n) - 1, int(g.n.sum()) - len(g.n)
    if df2 < 1 or np.sqrt(g.within) <= g.slack:
        raise NotEstimable(f"{name}: the values do not vary within the groups")
    between = float((g.n * (g.mean - g.values.mean()) ** 2).sum())
    return _f(name, between / df1 / (g.within / df2), df1, df2)


def welch_anova(groups: Sequence[ArrayLike]) -> GroupTest:
    """Analysis of variance for unequal variances (Welch 1951), as R's ``oneway.test(value ~ group)``.

    Raises NotEstimable for a group of one, and for one whose values do not vary.
    """
    g = _summary(groups, "Welch's ANOVA", least=2)
    if (np.sqrt(g.variance) <= g.slack).any():
        raise NotEstimable("Welch's ANOVA: the values of one group do not vary")
    k, weight = len(g.n), g.n / g.variance
    share = weight / weight.sum()
    doubt = float(((1 - share) ** 2 / (g.n - 1)).sum()) / (k**2 - 1)
    between = float((weight * (g.mean - (share * g.mean).sum()) ** 2).sum())
    return _f("Welch ANOVA", between / ((k - 1) * (1 + 2 * (k - 2) * doubt)), k - 1, 1 / (3 * doubt))


def _f(name: str, f: float, df1: float, df2: float) -> GroupTest:
    return GroupTest(name, f, (float(df1), float(df2)), float(special.fdtrc(df1, df2, f)))


def kruskal_wallis(groups: Sequence[ArrayLike]) -> GroupTest:
    """Kruskal and Wallis's rank test corrected for ties, as R's ``kruskal.test``.

    Raises NotEstimable for an empty group and where all values are equal.
    """
    g = _summary(groups, "the Kruskal-Wallis test")
    _refuse_constant(g.values, "the Kruskal-Wallis test")
    ranks = stats.rankdata(g.values)
    deviation = ranks - ranks.mean()
    per_group = np.bincount(g.group, deviation) ** 2 / g.n
    return _chi2("Kruskal-Wallis test", float(per_group.sum() / deviation.var(ddof=1)), len(g.n) - 1)


def levene(groups: Sequence[ArrayLike]) -> GroupTest:
    """Equality of variances by an ANOVA of distances from the median (Brown and Forsythe 1974; R's ``car::leveneTest``).

    Raises NotEstimable as :func:`anova` does, for the distances.
    """
    distances = [np.abs(group - np.median(group)) for group in _checked(groups)]
    return _anova("Levene test, median", _summary(distances, "Levene's test"))


def bartlett(groups: Sequence[ArrayLike]) -> GroupTest:
    """Equality of variances of normal values, as R's ``bartlett.test``.

    Raises NotEstimable for a group of one, and for one whose values do not vary.
    """
    g = _summary(groups, "Bartlett's test", least=2)
    if (np.sqrt(g.variance) <= g.slack).any():
        raise NotEstimable("Bartlett's test: the values of one group do not vary")
    df = g.n - 1
    pooled = g.within / df.sum()
    spread = float(df.sum() * np.log(pooled) - (df * np.log(g.variance)).sum())
    correction = 1 + float((1 / df).sum() - 1 / df.sum()) / (3 * (len(g.n) - 1))
    # equal variances leave a rounding error of either sign
    return _chi2("Bartlett test", max(0.0, spread) / correction, len(g.n) - 1)


def shapiro_wilk(values: ArrayLike) -> GroupTest:
    """Normality of (n,) values, 3 to 5000, as R's ``shapiro.test`` (Royston 1995).

    Raises NotEstimable for another number and for values that do not vary.
    """
    (checked,) = _finite([values])
    if not 3 <= len(checked) <= SHAPIRO_MOST:
        raise NotEstimable(f"the Shapiro-Wilk test needs 3 to {SHAPIRO_MOST} values and has {len(checked)}")
    _refuse_constant(checked, "the Shapiro-Wilk test")
    found = stats.shapiro(checked)
    return GroupTest("Shapiro-Wilk test", float(found.statistic), (), float(found.pvalue))


def chi_squared(table: ArrayLike, *, yates: bool = True) -> GroupTest:
    """Pearson's chi-squared test of independence, as R's ``chisq.test``; ``yates`` concerns 2 x 2 tables only.

    The correction never exceeds the deviation that it shrinks. Raises as :func:`compare_categories`.
    """
    counts = _counts(table)
    expected = _expected(counts)
    deviation, corrected = np.abs(counts - expected), yates and counts.shape == (2, 2)
    if corrected:
        deviation = deviation - min(0.5, float(deviation.min()))
    name = "Pearson chi-squared test" + (" with Yates' correction" if corrected else "")
    df = (counts.shape[0] - 1) * (counts.shape[1] - 1)
    return _chi2(name, float((deviation**2 / expected).sum()), df)


def _chi2(name: str, statistic: float, df: int) -> GroupTest:
    return GroupTest(name, statistic, (float(df),), float(special.chdtrc(df, statistic)))


def fisher_exact(table: ArrayLike) -> GroupTest:
    """Fisher's exact test of an (r, k) table, as R's ``fisher.test``; simulated, and named so, only where R gives up too.

    Raises as :func:`compare_categories`.
    """
    counts = _counts(table)
    exact = exact_p(counts)
    if exact is not None:
        return GroupTest("Fisher's exact test", None, (), exact)
    name = f"Fisher's exact test, Monte Carlo {MONTE_CARLO_TABLES} tables"
    return GroupTest(name, None, (), monte_carlo_p(counts))


def _counts(table: ArrayLike) -> Counts:
    """Whole numbers, without empty rows and columns."""
    given = np.asarray(table)
    if given.ndim != 2 or not (np.isfinite(given) & (given >= 0) & (given == np.floor(given))).all():
        raise ValueError("a table of counts has rows, columns, and whole numbers from 0 up")
    counts = given.astype(np.int64)
    counts = counts[counts.any(axis=1)][:, counts.any(axis=0)]
    if min(counts.shape) < 2:
        raise NotEstimable("fewer than two levels or two groups have any patient")
    return counts


def _expected(counts: Counts) -> Floats:
    expected: Floats = np.outer(counts.sum(1), counts.sum(0)) / counts.sum()
    return expected


def _finite(groups: Sequence[ArrayLike]) -> list[Floats]:
    checked = [np.asarray(group, np.float64) for group in groups]
    if any(group.ndim != 1 or not np.isfinite(group).all() for group in checked):
        raise ValueError("each group must be (n,) finite values")
    return checked


def _checked(groups: Sequence[ArrayLike]) -> list[Floats]:
    checked = _finite(groups)
    if len(checked) < 2:
        raise NotEstimable("a comparison needs two groups at least")
    if not all(len(group) for group in checked):
        raise NotEstimable("one of the groups has no value")
    return checked


def _summary(groups: Sequence[ArrayLike], test: str, least: int = 1) -> _Groups:
    checked = _checked(groups)
    n = np.array([len(group) for group in checked], np.float64)
    if n.min() < least:
        raise NotEstimable(f"{test} needs {least} values in each group")
    mean = np.array([group.mean() for group in checked])
    variance = np.array([group.var(ddof=1) if len(group) > 1 else np.nan for group in checked])
    group = np.repeat(np.arange(len(checked)), n.astype(np.intp))
    return _Groups(n, mean, variance, np.concatenate(checked), group)


def _refuse_constant(values: Floats, test: str) -> None:
    if values.min() == values.max():
        raise NotEstimable(f"{test} needs values that vary")
