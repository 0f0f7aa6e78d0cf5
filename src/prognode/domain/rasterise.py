"""Areas, masks and outlines of polygons in one plane.

One rule holds everywhere: a point is inside when a ray from it crosses the outlines an odd number of times (even-odd).
Nested outlines are holes, keyholes (outer and inner outline joined by a cut) enclose what they mean, and no repair of
"invalid" polygons drops anything. All functions take outlines as arrays (n, 2) of (u, v); the last point joins the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from prognode.domain.geometry import Points

Mask = NDArray[np.bool_]

PIXEL_SNAP_DECIMALS = 6
"""Pixel coordinates are rounded to this many decimals, so that a border meant to run through centres does so."""
POINTS_AT_ONCE = 4096
"""Points tested against all edges in one go, so that memory stays small."""
CROSSING_ROUNDS = 8
"""How often slabs are split at crossings of edges; one round is enough unless edges cross within rounding."""


class _Edges(NamedTuple):
    """Edges with rising v; horizontal edges enclose nothing and are left out."""

    u_low: Points
    v_low: Points
    u_high: Points
    v_high: Points

    def u_at(self, index: NDArray[np.intp], v: Points) -> Points:
        """U where edge ``index`` crosses the line at ``v``."""
        share = (v - self.v_low[index]) / (self.v_high[index] - self.v_low[index])
        u: Points = self.u_low[index] + share * (self.u_high[index] - self.u_low[index])
        return u


def _edges(outlines: Sequence[Points]) -> _Edges:
    starts = np.concatenate([np.asarray(outline, np.float64) for outline in outlines])
    ends = np.concatenate([np.roll(outline, -1, axis=0) for outline in outlines])
    rising = ends[:, 1] > starts[:, 1]
    low = np.where(rising[:, None], starts, ends)
    high = np.where(rising[:, None], ends, starts)
    kept = high[:, 1] > low[:, 1]
    return _Edges(low[kept, 0], low[kept, 1], high[kept, 0], high[kept, 1])


def _spread(first: NDArray[np.intp], past: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pair every edge i with each of first[i] .. past[i] - 1: (edge, line), both flat."""
    counts = np.maximum(past - first, 0)
    edge = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return edge, np.repeat(first, counts) + within


def mask_of(outlines: Sequence[Points], rows: int, columns: int) -> Mask:
    """Fill outlines in (column, row) coordinates: (rows, columns), True where the pixel's centre is inside.

    A centre on a left or upper border (smaller column, smaller row) is inside, on a right or lower border outside, so
    that regions which share a border share no pixel.
    """
    toggles = np.zeros((rows, columns + 1), dtype=np.uint8)
    if not outlines:
        return toggles[:, :columns].astype(bool)
    edges = _edges([np.round(outline, PIXEL_SNAP_DECIMALS) for outline in outlines])
    first = np.clip(np.ceil(edges.v_low), 0, rows).astype(np.intp)
    past = np.clip(np.ceil(edges.v_high), 0, rows).astype(np.intp)
    edge, row = _spread(first, past)
    crossing = np.round(edges.u_at(edge, row.astype(np.float64)), PIXEL_SNAP_DECIMALS)
    column = np.clip(np.ceil(crossing), 0, columns).astype(np.intp)
    np.add.at(toggles, (row, column), 1)
    inside: Mask = (np.cumsum(toggles, axis=1, dtype=np.uint32)[:, :columns] & 1).astype(bool)
    return inside


def contains(outlines: Sequence[Points], points: Points) -> Mask:
    """Tell for each point (n, 2) whether it is inside the outlines; borders as in :func:`mask_of`."""
    edges = _edges(outlines)
    slope = (edges.u_high - edges.u_low) / (edges.v_high - edges.v_low)
    inside = [
        _contains(edges, slope, part) for part in np.array_split(points, len(points) // POINTS_AT_ONCE + 1)
    ]
    return np.concatenate(inside)


def _contains(edges: _Edges, slope: Points, points: Points) -> Mask:
    u, v = points[:, :1], points[:, 1:]
    spanned = (edges.v_low <= v) & (v < edges.v_high)
    crossed = spanned & (edges.u_low + (v - edges.v_low) * slope <= u)
    inside: Mask = np.count_nonzero(crossed, axis=1) % 2 == 1
    return inside


def even_odd_area(outlines: Sequence[Points]) -> float:
    """Return the exact area that the outlines enclose by the even-odd rule, in squared units of the input.

    The plane is cut into slabs at every vertex and every crossing of edges; inside a slab the region is trapezoids.
    """
    if not outlines:
        return 0.0
    edges = _edges(outlines)
    levels = np.unique(np.concatenate([edges.v_low, edges.v_high]))
    for _ in range(CROSSING_ROUNDS):
        area, crossings = _slab_area(edges, levels)
        if not crossings.size:
            break
        levels = np.union1d(levels, crossings)
    return area


def _slab_area(edges: _Edges, levels: Points) -> tuple[float, Points]:
    """Area by slabs between ``levels``, and the levels at which edges cross inside a slab."""
    edge, slab = _spread(np.searchsorted(levels, edges.v_low), np.searchsorted(levels, edges.v_high))
    if not edge.size:
        return 0.0, np.empty(0)
    bottom, top = edges.u_at(edge, levels[slab]), edges.u_at(edge, levels[slab + 1])
    middle = (bottom + top) / 2
    order = np.lexsort((middle, slab))
    slab, bottom, top, middle = slab[order], bottom[order], top[order], middle[order]
    height = levels[slab + 1] - levels[slab]
    starts = np.flatnonzero(np.diff(slab, prepend=-1))
    rank = np.arange(slab.size) - np.repeat(starts, np.diff(starts, append=slab.size))
    area = float((np.where(rank % 2, 1.0, -1.0) * middle * height).sum())
    return area, _crossings(slab, bottom, top, levels)


def _crossings(slab: NDArray[np.intp], bottom: Points, top: Points, levels: Points) -> Points:
    """Levels at which neighbours in a slab, sorted by their middle, change places."""
    slack = 1e-9 * (1.0 + float(np.ptp(bottom)))
    same = slab[1:] == slab[:-1]
    swapped = same & ((np.diff(bottom) < -slack) | (np.diff(top) < -slack))
    disordered = np.unique(slab[1:][swapped])
    found = [
        _pair_crossings(bottom[slab == one], top[slab == one], levels[one], levels[one + 1])
        for one in disordered
    ]
    return np.concatenate(found) if found else np.empty(0)


def _pair_crossings(bottom: Points, top: Points, low: float, high: float) -> Points:
    """Levels between ``low`` and ``high`` at which any two of the straight edges meet."""
    first, second = np.triu_indices(bottom.size, 1)
    at_bottom, at_top = bottom[first] - bottom[second], top[first] - top[second]
    crossing = at_bottom * at_top < 0
    share = at_bottom[crossing] / (at_bottom[crossing] - at_top[crossing])
    levels: Points = low + share * (high - low)
    return levels[(levels > low) & (levels < high)]


def clip(outlines: Sequence[Points], normal: tuple[float, float], limit: float) -> tuple[Points, ...]:
    """Cut away what lies beyond the line ``normal . p = limit`` (Sutherland and Hodgman, one half-plane).

    The pieces of a concave outline stay joined along the line, which encloses nothing by the even-odd rule.
    """
    clipped = (_clip_one(np.asarray(outline, np.float64), np.array(normal), limit) for outline in outlines)
    return tuple(outline for outline in clipped if len(outline) >= 3)


def _clip_one(outline: Points, normal: Points, limit: float) -> Points:
    height = outline @ normal - limit
    following, next_height = np.roll(outline, -1, axis=0), np.roll(height, -1)
    crosses = (height > 0) != (next_height > 0)
    span = np.where(crosses, height - next_height, 1.0)
    cut = outline + (height / span)[:, None] * (following - outline)
    both = np.stack([outline, cut], axis=1).reshape(-1, 2)
    kept = np.stack([height <= 0, crosses], axis=1).ravel()
    remaining: Points = both[kept]
    return remaining


def outlines_of(mask: Mask) -> tuple[Points, ...]:
    """Return the pixel edges around a mask (rows, columns) as closed outlines in (column, row), corners only.

    The enclosed area is the number of pixels. Along each grid line the corners of a region pair up to edges, first with
    second and so on; walking horizontal and vertical edges in turn gives the loops.
    """
    row, column = _corners(mask)
    if not row.size:
        return ()
    horizontal, vertical = _partners(row, column), _partners(column, row)
    corner = np.stack([column - 0.5, row - 0.5], axis=1)
    return tuple(corner[loop] for loop in _loops(horizontal, vertical))


def _corners(mask: Mask) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Grid points where the border turns; where two pixels touch by a corner only, the point counts twice."""
    padded = np.pad(mask, 1)
    a, b, c, d = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    turning = a ^ b ^ c ^ d
    touching = (a == d) & (b == c) & (a != b)
    row, column = np.nonzero(turning | touching)
    twice = 1 + touching[row, column]
    return np.repeat(row, twice), np.repeat(column, twice)


def _partners(line: NDArray[np.intp], place: NDArray[np.intp]) -> list[int]:
    """For every corner the other end of its edge along ``line``."""
    order = np.lexsort((place, line))
    partner = np.empty_like(order)
    partner[order[0::2]], partner[order[1::2]] = order[1::2], order[0::2]
    return [int(index) for index in partner]


def _loops(horizontal: list[int], vertical: list[int]) -> list[list[int]]:
    loops = []
    seen = [False] * len(horizontal)
    for start in range(len(horizontal)):
        loop: list[int] = []
        corner = start
        while not seen[corner]:
            other = horizontal[corner]
            seen[corner] = seen[other] = True
            loop += (corner, other)
            corner = vertical[other]
        if loop:
            loops.append(loop)
    return loops


def diameter(points: Points) -> float:
    """Return the largest distance between two of the points (n, 2)."""
    hull = convex_hull(points)
    return float(np.sqrt(((hull[:, None] - hull[None]) ** 2).sum(axis=-1).max()))


def convex_hull(points: Points) -> Points:
    """Return the corners of the convex hull (monotone chain, Andrew 1979): (n, 2) -> (m, 2)."""
    ordered = np.unique(np.asarray(points, np.float64), axis=0)
    if len(ordered) < 3:
        return ordered
    candidates = ordered.tolist()
    lower, upper = _chain(candidates), _chain(candidates[::-1])
    return np.array(lower[:-1] + upper[:-1])


def _chain(points: list[list[float]]) -> list[list[float]]:
    chain: list[list[float]] = []
    for u, v in points:
        while len(chain) > 1 and _turn(chain[-2], chain[-1], u, v) <= 0:
            chain.pop()
        chain.append([u, v])
    return chain


def _turn(a: list[float], b: list[float], u: float, v: float) -> float:
    return (b[0] - a[0]) * (v - a[1]) - (b[1] - a[1]) * (u - a[0])


def narrowest_width(points: Points) -> float:
    """Return the minimum caliper: the smallest distance of two parallel lines that hold all points (n, 2)."""
    hull = convex_hull(points)
    if len(hull) < 3:
        return 0.0
    closed = np.concatenate([hull, hull[:1]])
    widths = []
    for start, end in pairwise(closed):
        along = (end - start) / np.linalg.norm(end - start)
        across = hull @ np.array([-along[1], along[0]])
        widths.append(float(np.ptp(across)))
    return min(widths)
