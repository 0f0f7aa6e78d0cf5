"""Fisher's exact test: against counting every table one by one, and what it does when there are too many."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prognode.statistics.fisher_exact import conditional_odds_ratio, exact_p, monte_carlo_p


def rows_of(total: int, columns: int):
    """All rows of counts with one sum."""
    if columns == 1:
        yield (total,)
        return
    for first in range(total + 1):
        yield from ((first, *rest) for rest in rows_of(total - first, columns - 1))


def counted_p(table: np.ndarray) -> float:
    """Every table with the same margins, weighed by whole numbers."""
    sums, columns = table.sum(1).tolist(), table.sum(0)
    choices = [list(rows_of(total, len(columns))) for total in sums]
    scale = math.prod(math.factorial(total) for total in sums)

    def weight(rows: np.ndarray) -> int:
        return scale // math.prod(math.factorial(int(x)) for x in rows.ravel())

    observed, rare, total = weight(table), 0, 0
    for rows in itertools.product(*choices):
        tried = np.array(rows)
        if (tried.sum(0) == columns).all():
            total += weight(tried)
            rare += weight(tried) * (weight(tried) <= observed)
    return rare / total


@st.composite
def tables(draw, most: int = 3) -> np.ndarray:
    shape = draw(st.sampled_from([(2, 2), (2, 3), (3, 2), (3, 3), (2, 4)]))
    counts = draw(st.lists(st.integers(0, most), min_size=math.prod(shape), max_size=math.prod(shape)))
    table = np.array(counts).reshape(shape)
    table[0] += table.sum(0) == 0
    table[:, 0] += table.sum(1) == 0
    return table


@settings(deadline=None, max_examples=60)
@given(tables(most=2))
def test_network_counts_what_enumeration_counts(table):
    """The same p as going through every table with these margins, ties included."""
    assert exact_p(table) == pytest.approx(counted_p(table), rel=1e-11)


@settings(deadline=None)
@given(tables(most=12), st.randoms(use_true_random=False))
def test_order_and_orientation_do_not_matter(table, random):
    """Rows, columns, or both exchanged: the same p."""
    rows = random.sample(range(table.shape[0]), table.shape[0])
    columns = random.sample(range(table.shape[1]), table.shape[1])
    other = table[rows][:, columns].T
    assert exact_p(other) == pytest.approx(exact_p(table), rel=1e-10)


@settings(deadline=None)
@given(tables(most=9))
def test_p_is_a_probability(table):
    """Never 0, since the observed table itself counts, and never above 1."""
    assert 0.0 < exact_p(table) <= 1.0


def test_most_probable_table_has_p_one():
    """No table is more probable, so all are counted."""
    assert exact_p(np.full((3, 4), 2)) == pytest.approx(1.0, abs=1e-12)


def test_small_p_keeps_its_digits():
    """Three groups wholly apart: one table of 60!/20!^3, six alike by symmetry."""
    ways = math.factorial(60) // math.factorial(20) ** 3
    assert exact_p(np.diag([20, 20, 20])) == pytest.approx(6 / ways, rel=1e-10)


def test_table_of_a_cohort_is_exact():
    """Five grades in three cohorts of 162 patients: about a thousand million tables, counted in a second or two."""
    assert exact_p(np.array([[39, 17, 26], [23, 7, 16], [6, 5, 2], [5, 1, 5], [3, 2, 5]])) is not None


@pytest.mark.parametrize("limit", [3, 50])
def test_work_limit_is_kept(limit):
    """Too many tables end as None, not as a long wait."""
    assert exact_p(np.full((4, 4), 5), limit=limit) is None


def test_margins_too_large_to_number_end_as_none():
    """Remainders that no 64-bit code can tell apart are left to simulation."""
    assert exact_p(np.full((9, 9), 30)) is None


def test_monte_carlo_is_near_the_exact_p_and_repeatable():
    """Within four standard errors, the same again with the same seed, and another with another."""
    table = np.array([[6, 2, 1], [3, 5, 4], [1, 2, 7]])
    exact, first = exact_p(table), monte_carlo_p(table, 20_000)
    assert first == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 20_000))
    assert monte_carlo_p(table, 20_000) == first
    assert monte_carlo_p(table, 20_000, seed=1) != first


def test_monte_carlo_p_is_never_zero():
    """The observed table counts as one of those drawn."""
    assert monte_carlo_p(np.diag([40, 40]), 999) == 1 / 1000


def test_odds_ratio_satisfies_its_equation():
    """At the estimate the expected first cell of the noncentral hypergeometric law is the observed one."""
    table = np.array([[7, 3], [2, 9]])
    ratio = conditional_odds_ratio(table)
    cells = np.arange(max(0, 10 - 12), min(9, 10) + 1)
    weights = np.array([math.comb(10, x) * math.comb(11, 9 - x) * ratio**x for x in cells.tolist()])
    assert (cells * weights).sum() / weights.sum() == pytest.approx(7, rel=1e-6)


def test_odds_ratio_of_an_empty_cell():
    """Infinite one way, 0 the other."""
    assert conditional_odds_ratio(np.array([[5, 0], [2, 7]])) == math.inf
    assert conditional_odds_ratio(np.array([[0, 5], [7, 2]])) == 0.0


@pytest.mark.parametrize("table", [[[1, 2, 3], [3, 2, 1]], [[0, 0], [3, 4]]])
def test_odds_ratio_needs_two_by_two(table):
    """Another shape or an empty margin has none."""
    with pytest.raises(ValueError, match="two rows and two columns"):
        conditional_odds_ratio(np.array(table))
