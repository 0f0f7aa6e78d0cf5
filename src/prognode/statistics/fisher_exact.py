"""Fisher's exact test of a table with any number of rows and columns, without simulation where that is at all possible.

The p value is the probability, with both margins fixed, of all tables that are no more probable than the one observed
(Freeman and Halton 1951; R's ``fisher.test``). Their number is astronomic, but not what matters: columns are drawn one
after the other, and what follows depends only on how many patients each row still has, in any order. Those remainders
are the nodes of a network (Mehta and Patel 1983). Paths are followed from both ends and meet in the middle; paths to
one node with one probability are counted together, and a node's least and most probable completion tell early which
paths count whatever follows, and which never will.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]
Places = NDArray[np.intp]

TIE = 1e-7
"""Tables whose log probability exceeds the observed one's by less than this count as equally probable, as in R."""
SAME = 1e-10
"""Paths to one node whose log probabilities differ by rounding alone."""
SURE = -1e300
"""Log probability given to paths that count whatever they are joined with."""
WORK_LIMIT = 2_000_000
"""Paths or steps held at a time (some seconds); R's default workspace gives up on far smaller tables."""
MONTE_CARLO_TABLES = 100_000
CHUNK = 10_000


class _TooManyTables(Exception):
    """The network outgrows the work limit."""


@dataclass(frozen=True, slots=True)
class _Steps:
    """One column drawn: arrays (e,) of steps from nodes of one level to nodes of the next, sorted by parent."""

    parent: Places
    child: Places
    log_p: Floats
    p: Floats
    """Probability of the step; steps alike in both ends and in ``log_p`` are one, with their sum."""
    parents: int
    children: int


@dataclass(frozen=True, slots=True)
class _Paths:
    """Paths that meet at the nodes of one level, (m,) each, sorted by node and log probability."""

    node: Places
    log_p: Floats
    p: Floats


def exact_p(table: Counts, limit: int = WORK_LIMIT) -> float | None:
    """The p value of an (r, c) table of counts; None where the network would hold more than ``limit`` paths at a time.

    No row and no column may be empty, and there must be two of each at least. Equals R's ``fisher.test(table)$p.value``
    wherever that finds an answer.
    """
    rows, columns = (table, table.T) if len(table) <= table.shape[1] else (table.T, table)
    log_factorial = special.gammaln(np.arange(table.sum() + 1) + 1.0)
    try:
        steps = _network(np.sort(rows.sum(1)), np.sort(columns.sum(1))[::-1], log_factorial, limit)
        return min(1.0, _probability(steps, _log_probability(table, log_factorial) + TIE, limit))
    except _TooManyTables:
        return None


def monte_carlo_p(table: Counts, tables: int = MONTE_CARLO_TABLES, seed: int = 0) -> float:
    """The p value estimated from random tables with the same margins, as R's ``fisher.test(simulate.p.value = TRUE)``.

    The observed table counts as one of them, so that p is never 0; the seed makes it repeatable.
    """
    log_factorial = special.gammaln(np.arange(table.sum() + 1) + 1.0)
    bound = -log_factorial[table].sum() + TIE
    drawn, random = stats.random_table(table.sum(1), table.sum(0)), np.random.default_rng(seed)
    sizes = [min(CHUNK, tables - start) for start in range(0, tables, CHUNK)]
    samples = (drawn.rvs(size, random_state=random).astype(np.int64) for size in sizes)
    as_rare = sum(int((-log_factorial[sample].sum((1, 2)) <= bound).sum()) for sample in samples)
    return (as_rare + 1) / (tables + 1)


def conditional_odds_ratio(table: Counts) -> float:
    """Odds ratio of a 2 x 2 table by conditional maximum likelihood, as R's ``fisher.test(table)$estimate``.

    0 or infinite where a cell is empty. Raises ValueError for another shape and for an empty row or column.
    """
    if table.shape != (2, 2) or not (table.sum(0).all() and table.sum(1).all()):
        raise ValueError("an odds ratio needs two rows and two columns, none of them empty")
    return float(stats.contingency.odds_ratio(table, kind="conditional").statistic)


def _log_probability(table: Counts, log_factorial: Floats) -> float:
    margins = log_factorial[table.sum(0)].sum() + log_factorial[table.sum(1)].sum()
    return float(margins - log_factorial[table.sum()] - log_factorial[table].sum())


def _network(rows: Counts, columns: Counts, log_factorial: Floats, limit: int) -> list[_Steps]:
    """Steps of all columns but the last, which takes what is left; ``rows`` ascend."""
    place_values = np.concatenate([[1.0], np.cumprod(rows + 1.0)])
    if place_values[-1] > 2.0**62:
        raise _TooManyTables
    codes, left, steps = place_values[:-1].astype(np.int64), rows[None, :], []
    for size in columns[:-1]:
        step, left = _draw(left, int(size), codes, log_factorial, limit)
        steps.append(step)
    return steps


def _draw(left: Counts, size: int, codes: Counts, log_factorial: Floats, limit: int) -> tuple[_Steps, Counts]:
    """All ways to take ``size`` patients from (m, r) rows, and the distinct sorted remainders they lead to."""
    parent, taken = _ways_to_take(left, size, limit)
    before = left[parent]
    rest = before - taken
    ways = (log_factorial[before] - log_factorial[taken] - log_factorial[rest]).sum(1)
    total = int(left[0].sum())
    log_p = ways - (log_factorial[total] - log_factorial[size] - log_factorial[total - size])
    rest.sort(axis=1)
    _, first, child = np.unique(rest @ codes, return_index=True, return_inverse=True)
    starts, order = _runs(parent * len(first) + child, log_p)
    p = np.add.reduceat(np.exp(log_p[order]), starts)
    kept = order[starts]
    return _Steps(parent[kept], child[kept], log_p[kept], p, len(left), len(first)), rest[first]


def _ways_to_take(left: Counts, size: int, limit: int) -> tuple[Places, Counts]:
    """For (m, r) remainders all vectors of r counts that sum to ``size`` and fit: whose they are, and (e, r) counts."""
    later = left.sum(1, keepdims=True) - np.cumsum(left, axis=1)
    whose, missing = np.arange(len(left)), np.full(len(left), size)
    taken = np.empty((len(left), 0), np.int64)
    for row in range(left.shape[1]):
        least = np.maximum(0, missing - later[whose, row])
        most = np.minimum(left[whose, row], missing)
        source, extra = _repeated(most - least + 1, limit)
        count = least[source] + extra
        whose, missing = whose[source], missing[source] - count
        taken = np.column_stack([taken[source], count])
    return whose, taken


def _repeated(times: Places, limit: int) -> tuple[Places, Places]:
    """Each index as often as asked, with its running number from 0."""
    total = int(times.sum())
    if total > limit:
        raise _TooManyTables
    source = np.repeat(np.arange(len(times)), times)
    return source, np.arange(total) - (np.cumsum(times) - times)[source]


def _runs(group: Places, log_p: Floats) -> tuple[Places, Places]:
    """Where runs of one group and one log probability start, and the order that makes them runs."""
    order = np.lexsort((log_p, group))
    changes = (np.diff(group[order]) > 0) | (np.diff(log_p[order]) > SAME)
    return np.flatnonzero(np.concatenate([np.ones(min(1, len(order)), np.bool_), changes])), order


def _probability(steps: list[_Steps], bound: float, limit: int) -> float:
    """Probability of all tables whose log probability is at most ``bound``.

    Whichever end has fewer joins to make goes on, until both stand at one level.
    """
    first, last, nodes, certain = 0, len(steps), steps[-1].children, 0.0
    to_go, come = _extremes_to_go(steps), _extremes_come(steps)
    front = _Paths(np.zeros(1, np.intp), np.zeros(1), np.ones(1))
    back = _Paths(np.arange(nodes), np.zeros(nodes), np.ones(nodes))
    while first < last:
        ahead = np.bincount(steps[first].parent, minlength=steps[first].parents)[front.node]
        behind = np.bincount(back.node, minlength=steps[last - 1].children)[steps[last - 1].child]
        if ahead.sum() <= behind.sum():
            first += 1
            paths, sure = _judged(_forward(front, steps[first - 1], ahead, limit), *to_go[first], bound)
            certain += float(paths.p[sure].sum())
            front = _merged(_kept(paths, ~sure))
        else:
            last -= 1
            paths, sure = _judged(_backward(back, steps[last], behind, limit), *come[last], bound)
            back = _merged(_Paths(paths.node, np.where(sure, SURE, paths.log_p), paths.p))
    return certain + _met(front, back, bound)


def _extremes_to_go(steps: list[_Steps]) -> list[tuple[Floats, Floats]]:
    """Per level, the log probability of each node's least and most probable completion."""
    least = most = np.zeros(steps[-1].children)
    levels = [(least, most)]
    for step in reversed(steps):
        starts = np.flatnonzero(np.diff(step.parent, prepend=-1))
        least = np.minimum.reduceat(step.log_p + least[step.child], starts)
        most = np.maximum.reduceat(step.log_p + most[step.child], starts)
        levels.append((least, most))
    return levels[::-1]


def _extremes_come(steps: list[_Steps]) -> list[tuple[Floats, Floats]]:
    """Per level, the log probability of the least and most probable path to each node."""
    least = most = np.zeros(1)
    levels = [(least, most)]
    for step in steps:
        before, least = least, np.full(step.children, np.inf)
        np.minimum.at(least, step.child, step.log_p + before[step.parent])
        before, most = most, np.full(step.children, -np.inf)
        np.maximum.at(most, step.child, step.log_p + before[step.parent])
        levels.append((least, most))
    return levels


def _forward(front: _Paths, step: _Steps, ahead: Places, limit: int) -> _Paths:
    path, number = _repeated(ahead, limit)
    chosen = np.searchsorted(step.parent, front.node)[path] + number
    return _Paths(step.child[chosen], front.log_p[path] + step.log_p[chosen], front.p[path] * step.p[chosen])


def _backward(back: _Paths, step: _Steps, behind: Places, limit: int) -> _Paths:
    chosen, number = _repeated(behind, limit)
    path = np.searchsorted(back.node, step.child)[chosen] + number
    return _Paths(step.parent[chosen], back.log_p[path] + step.log_p[chosen], back.p[path] * step.p[chosen])


def _judged(paths: _Paths, least: Floats, most: Floats, bound: float) -> tuple[_Paths, NDArray[np.bool_]]:
    """Without the paths that no continuation brings under the bound, and which of the others all do."""
    possible = _kept(paths, paths.log_p + least[paths.node] <= bound)
    return possible, possible.log_p + most[possible.node] <= bound


def _kept(paths: _Paths, chosen: NDArray[np.bool_]) -> _Paths:
    return _Paths(paths.node[chosen], paths.log_p[chosen], paths.p[chosen])


def _merged(paths: _Paths) -> _Paths:
    starts, order = _runs(paths.node, paths.log_p)
    kept = order[starts]
    p = np.add.reduceat(paths.p[order], starts) if len(starts) else paths.p
    return _Paths(paths.node[kept], paths.log_p[kept], p)


def _met(front: _Paths, back: _Paths, bound: float) -> float:
    """Joined probability of the pairs at one node that stay under the bound, node by node.

    Sums run from the least probable up: a difference of totals would lose the digits of a small p.
    """
    nodes, starts = np.unique(front.node, return_index=True)
    ends = np.append(starts[1:], len(front.node))
    low, high = np.searchsorted(back.node, nodes), np.searchsorted(back.node, nodes, side="right")
    total = 0.0
    for here, there in zip(map(slice, starts, ends), map(slice, low, high), strict=True):
        under = np.searchsorted(back.log_p[there], bound - front.log_p[here], side="right")
        sums = np.concatenate([[0.0], np.cumsum(back.p[there])])
        total += float(front.p[here] @ sums[under])
    return total
