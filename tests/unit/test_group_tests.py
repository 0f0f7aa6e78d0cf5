"""Tests between groups of patients: which test is chosen, what is refused, and what must not change a p value."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prognode.errors import NotEstimable
from prognode.statistics.group_tests import (
    GroupTest,
    anova,
    bartlett,
    chi_squared,
    compare_categories,
    compare_numeric,
    fisher_exact,
    kruskal_wallis,
    levene,
    mann_whitney,
    shapiro_wilk,
    student_t,
    welch_anova,
    welch_t,
)

NORMAL = np.array([-1.6, -1.0, -0.7, -0.4, -0.1, 0.1, 0.4, 0.7, 1.0, 1.6])
SKEWED = np.array([0.0, 0.1, 0.1, 0.2, 0.2, 0.3, 0.4, 0.5, 4.0, 90.0])
SEVERAL = [anova, welch_anova, kruskal_wallis, levene, bartlett]

samples = st.lists(st.integers(-50, 50), min_size=3, max_size=12).filter(lambda x: len(set(x)) > 2)


def test_two_normal_groups_get_a_t_test():
    """Both pass the Shapiro-Wilk test, and the name says Welch."""
    assert compare_numeric([NORMAL, NORMAL + 1]) == welch_t(NORMAL, NORMAL + 1)


@pytest.mark.parametrize("other", [SKEWED, [1.0, 2.0], [3.0, 3.0, 3.0, 3.0]])
def test_one_group_that_does_not_pass_is_enough_for_ranks(other):
    """Skewed, too small to judge, or constant: Mann-Whitney."""
    assert compare_numeric([NORMAL, other]) == mann_whitney(NORMAL, other)


def test_three_groups_get_an_anova():
    """As the note under the paper's Table 1 says, whatever their shape."""
    groups = [NORMAL, SKEWED, NORMAL + 2]
    assert compare_numeric(groups) == anova(groups)
    assert compare_numeric(groups).name == "one-way ANOVA"


@pytest.mark.parametrize(
    ("rule", "two", "three"),
    [
        ("means", "Student t test", "one-way ANOVA"),
        ("unequal variances", "Welch t test", "Welch ANOVA"),
        ("ranks", "Mann-Whitney U test, normal approximation", "Kruskal-Wallis test"),
    ],
)
def test_a_rule_names_its_tests(rule, two, three):
    """The same rule for two groups and for more."""
    assert compare_numeric([NORMAL, SKEWED], rule).name == two
    assert compare_numeric([NORMAL, SKEWED, NORMAL + 1], rule).name == three


def test_mann_whitney_is_exact_below_fifty_without_ties():
    """49 values are few enough, 50 are not, and one tie ends it."""
    few, more = np.arange(49.0), np.arange(50.0)
    assert mann_whitney(few, few[:9] + 0.5).name == "Mann-Whitney U test, exact"
    assert mann_whitney(more, few[:9] + 0.5).name == "Mann-Whitney U test, normal approximation"
    assert mann_whitney(few, few[:9]).name == "Mann-Whitney U test, normal approximation"


def test_exact_mann_whitney_counts_orders():
    """Three values wholly below two: one order of ten, twice."""
    assert mann_whitney([1, 2, 3], [4, 5]) == GroupTest("Mann-Whitney U test, exact", 0.0, (), 0.2)


def test_sparse_tables_get_fishers_test():
    """An expected count under 1, or more than a fifth under 5; a fifth itself is allowed."""
    assert compare_categories([[9, 1], [60, 30]]).name.startswith("Fisher")
    assert compare_categories([[200, 200], [1, 0]]).name.startswith("Fisher")
    a_fifth = [[4, 4], [10, 10], [10, 10], [10, 10], [10, 10]]
    assert compare_categories(a_fifth).name == "Pearson chi-squared test"


def test_yates_correction_is_for_two_by_two():
    """And is named."""
    assert compare_categories([[20, 30], [30, 20]]).name == "Pearson chi-squared test with Yates' correction"
    assert compare_categories([[20, 30, 9], [30, 20, 9]]).name == "Pearson chi-squared test"


def test_correction_does_not_overshoot():
    """A deviation under one half becomes 0, not negative."""
    assert chi_squared([[10, 9], [10, 10]]).statistic == pytest.approx(0.0, abs=1e-15)


def test_levels_without_patients_are_dropped():
    """An empty level costs no degree of freedom, and a table of 3 x 2 may become 2 x 2."""
    assert compare_categories([[20, 30], [0, 0], [30, 20]]) == compare_categories([[20, 30], [30, 20]])
    assert chi_squared([[20, 30, 0], [30, 20, 0]]).df == (1.0,)


def test_simulated_p_is_named():
    """A table beyond counting says how many tables were drawn."""
    found = fisher_exact(np.full((9, 9), 30))
    assert found.name == "Fisher's exact test, Monte Carlo 100000 tables"
    assert found.p == 1.0


@pytest.mark.parametrize("table", [[[3, 4]], [[3], [4]], [[3, 4], [0, 0]], [[0, 0], [0, 0]]])
def test_one_level_or_group_cannot_be_compared(table):
    """After empty ones are dropped, two of each are needed."""
    for test in (compare_categories, chi_squared, fisher_exact):
        with pytest.raises(NotEstimable, match="fewer than two"):
            test(table)


@pytest.mark.parametrize("table", [[1, 2], [[1, -2], [3, 4]], [[1, 2.5], [3, 4]], [[1, np.nan], [3, 4]]])
def test_what_is_no_table_of_counts_is_refused(table):
    """Shares, negative and missing counts are a caller's mistake."""
    with pytest.raises(ValueError, match="table of counts"):
        chi_squared(table)


@pytest.mark.parametrize("group", [[[1.0, 2.0]], [1.0, np.nan], [np.inf, 1.0]])
def test_missing_values_are_refused(group):
    """Who is left out is for the caller to say."""
    with pytest.raises(ValueError, match="finite"):
        compare_numeric([group, NORMAL])


@pytest.mark.parametrize("groups", [[], [NORMAL], [NORMAL, []]])
def test_one_group_is_not_estimable(groups):
    """Nothing to compare with."""
    for test in (compare_numeric, *SEVERAL):
        with pytest.raises(NotEstimable, match="group"):
            test(groups)


@pytest.mark.parametrize("test", [student_t, welch_t, mann_whitney])
def test_constant_values_are_not_estimable_in_two_groups(test):
    """Rounding never stands in for spread: 0.1 + 0.2 is 0.3 here."""
    with pytest.raises(NotEstimable, match="vary"):
        test([0.3, 0.3, 0.1 + 0.2], [0.3, 0.1 + 0.2, 0.3]) if test is not mann_whitney else test(
            [0.3] * 3, [0.3] * 2
        )


@pytest.mark.parametrize("test", SEVERAL)
def test_constant_values_are_not_estimable_in_three_groups(test):
    """No spread within groups, no F, no ranks, no variances."""
    with pytest.raises(NotEstimable, match="vary"):
        test([[2.0, 2.0], [2.0, 2.0], [2.0, 2.0, 2.0]])


def test_groups_of_one():
    """Student's test takes a single patient's group when the other has two; Welch's does not; two alone never."""
    assert student_t([1.0], [2.0, 4.0]).df == (1.0,)
    for test in (welch_t, lambda *groups: welch_anova(groups), lambda *groups: bartlett(groups)):
        with pytest.raises(NotEstimable, match="2 values in each"):
            test([1.0], [2.0, 4.0])
    with pytest.raises(NotEstimable, match="three values"):
        student_t([1.0], [2.0])


@pytest.mark.parametrize("values", [[1.0, 2.0], np.arange(5001.0), [4.0] * 9])
def test_shapiro_wilk_refuses_what_it_cannot_judge(values):
    """Too few, too many, constant."""
    with pytest.raises(NotEstimable, match="Shapiro-Wilk"):
        shapiro_wilk(values)


@given(samples, samples)
def test_two_group_anova_is_students_test(one, two):
    """F is t squared and p the same."""
    t, f = student_t(one, two), anova([one, two])
    assert f.statistic == pytest.approx(t.statistic**2, rel=1e-9, abs=1e-12)
    assert f.p == pytest.approx(t.p, rel=1e-9)


@given(samples, samples)
def test_two_group_welch_anova_is_welchs_test(one, two):
    """F is t squared on the same degrees of freedom."""
    t, f = welch_t(one, two), welch_anova([one, two])
    assert f.statistic == pytest.approx(t.statistic**2, rel=1e-9, abs=1e-12)
    assert f.df == pytest.approx((1.0, *t.df), rel=1e-9)


@given(samples, samples)
def test_exchanged_groups_have_the_same_p(one, two):
    """The sign of t turns, W becomes the other pairs, p stays."""
    for test in (student_t, welch_t, mann_whitney):
        there, back = test(one, two), test(two, one)
        assert back.p == pytest.approx(there.p, rel=1e-9)
    assert student_t(two, one).statistic == pytest.approx(-student_t(one, two).statistic)
    assert mann_whitney(one, two).statistic + mann_whitney(two, one).statistic == len(one) * len(two)


@given(st.lists(samples, min_size=2, max_size=4), st.integers(-9, 9), st.integers(1, 5))
def test_another_unit_is_the_same_test(groups, shift, scale):
    """Millimetres or centimetres, from any zero."""
    moved = [np.array(group) * scale + shift for group in groups]
    for test in SEVERAL:
        try:
            expected = test(groups).p
        except NotEstimable:
            continue
        assert test(moved).p == pytest.approx(expected, rel=1e-6, abs=1e-12)


@given(st.lists(samples, min_size=2, max_size=4))
def test_ranks_see_the_order_alone(groups):
    """Any increasing scale gives the same Kruskal-Wallis test."""
    bent = [np.exp(np.array(group) / 20) for group in groups]
    assert kruskal_wallis(bent).statistic == pytest.approx(kruskal_wallis(groups).statistic, rel=1e-12)
