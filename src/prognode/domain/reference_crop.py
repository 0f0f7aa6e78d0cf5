"""A crop by formula, so that a recipe can prove an extractor without carrying pixels.

Integer arithmetic only: every machine and every library version makes the same Hounsfield units. The picture is a
plainly synthetic abdomen: an ellipse of soft tissue with liver, spine, a fluid-filled stomach and a round tumour.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SIZE = 224
SLICES = 3
Hu = NDArray[np.int64]


def reference_crop(seed: int) -> NDArray[np.float32]:
    """(3, 224, 224) HU for a seed of 0 to 2**31 - 1; formula ``abdomen-ellipses.v1``."""
    z, y, x = np.indices((SLICES, SIZE, SIZE), dtype=np.int64)
    hu = np.full(x.shape, -1000, np.int64)
    for centre, axes, value in _organs(seed):
        hu[_ellipse(x, y, centre, axes)] = value
    tissue = hu > -1000
    strength = 1 + _draw(seed, 9, 4)
    hu += _noise(x, y, z, seed) * strength // 3 * np.where(tissue, 1, 0)
    return hu.astype(np.float32)


def _organs(seed: int) -> list[tuple[tuple[int, int], tuple[int, int], int]]:
    """(centre (x, y), half axes, HU), later ones on top; sizes and enhancement follow the seed."""
    enhancement = _draw(seed, 1, 60)
    radius = 8 + _draw(seed, 2, 40)
    tumour = (112 + _draw(seed, 3, 21) - 10, 112 + _draw(seed, 4, 21) - 10)
    return [
        ((112, 118), (108, 78 + _draw(seed, 5, 16)), 45),
        ((55, 100), (48, 52), 70 + enhancement),
        ((112, 172), (16, 14), 280),
        ((140, 100), (42, 30), 10 + _draw(seed, 6, 20)),
        (
            tumour,
            (radius, radius * (60 + _draw(seed, 7, 40)) // 100 + 1),
            60 + enhancement + _draw(seed, 8, 50),
        ),
    ]


def _ellipse(x: Hu, y: Hu, centre: tuple[int, int], axes: tuple[int, int]) -> NDArray[np.bool_]:
    a, b = axes
    inside: NDArray[np.bool_] = ((x - centre[0]) * b) ** 2 + ((y - centre[1]) * a) ** 2 <= (a * b) ** 2
    return inside


def _noise(x: Hu, y: Hu, z: Hu, seed: int) -> Hu:
    """From -30 to 30 HU per voxel, triangular, from an integer hash of place and seed."""
    place = (x + SIZE * (y + SIZE * z)).astype(np.uint64)
    mixed = _mixed(place + np.uint64(seed) * np.uint64(0x9E3779B9))
    return (
        (mixed % np.uint64(31)).astype(np.int64)
        + (mixed // np.uint64(31) % np.uint64(31)).astype(np.int64)
        - 30
    )


def _draw(seed: int, what: int, below: int) -> int:
    place = np.array([seed * 64 + what], np.uint64)
    return int(_mixed(place)[0] % np.uint64(below))


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Multiply and shift until every input bit reaches every output bit (multiplications modulo 2**64)."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        values = (values ^ (values >> np.uint64(shift))) * np.uint64(factor)
    return (values ^ (values >> np.uint64(31))) >> np.uint64(8)
