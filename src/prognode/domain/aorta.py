"""Finds the aorta on contrast CT, because its enhancement tells an arterial from a venous phase without any header.

In the abdomen the aorta is a round, evenly bright disc of 10 to 45 mm that lies before the spine on every slice. A
blob that meets all of this on most of the slices, at one place, is taken for the aorta; otherwise nothing is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from prognode.domain.geometry import Stack

LEVELS_HU = (100.0, 120.0, 140.0, 170.0, 200.0, 240.0, 300.0)
BONE_HU = 300.0
BODY_HU = -250.0
AREA_MM2 = (90.0, 1400.0)
BODY_WIDTH_MM = (180.0, 600.0)
SPINE_REACH_MM = 45.0
SAME_PLACE_MM = 9.0
WORKING_PIXEL_MM = 1.6
SLICES_LOOKED_AT = 5

Slice = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class AorticBlood:
    """A round bright blob before the spine, on one slice; millimetres from the first pixel, x right to left, y to back."""

    x_mm: float
    y_mm: float
    hu: float
    area_mm2: float
    roundness: float


def aorta_hounsfield(hu: NDArray[np.float32], stack: Stack) -> float | None:
    """Median HU of the aorta in (planes, rows, columns) of ``stack``, or None when no aorta is beyond doubt.

    Only transverse planes are looked at. At least half of the slices, and at least three, must show the same blob.
    """
    plane = stack.planes[0]
    if len(stack.planes) < 3 or abs(stack.normal[2]) < 0.95 or abs(plane.row_cosines[0]) < 0.95:
        return None
    pixel_mm = (plane.row_spacing_mm, plane.column_spacing_mm)
    picked = np.unique(np.linspace(0, len(hu) - 1, min(SLICES_LOOKED_AT, len(hu))).round().astype(int))
    slices = [
        _upright(_reduced(hu[k], pixel_mm), plane.row_cosines[0], plane.column_cosines[1]) for k in picked
    ]
    spine = _spine_mm(slices)
    if spine is None:
        return None
    return _most_consistent([_candidates(image, spine) for image in slices])


def _reduced(image: Slice, pixel_mm: tuple[float, float]) -> Slice:
    """Averaged over whole pixels against noise, then sampled at the working pixel size."""
    rows, columns = (max(1, int(WORKING_PIXEL_MM / size)) for size in pixel_mm)
    height, width = image.shape[0] // rows, image.shape[1] // columns
    # row by row sums are several times faster than a mean over a four-dimensional view
    part = image[: height * rows, : width * columns]
    summed = sum(part[row::rows, column::columns] for row in range(rows) for column in range(columns))
    blocks = np.asarray(summed, dtype=np.float32) / np.float32(rows * columns)
    zoom = [pixel_mm[0] * rows / WORKING_PIXEL_MM, pixel_mm[1] * columns / WORKING_PIXEL_MM]
    return np.asarray(ndimage.zoom(blocks, zoom, order=1), dtype=np.float32)


def _upright(image: Slice, row_x: float, column_y: float) -> Slice:
    """Columns run to the patient's left, rows to the back."""
    return image[:: 1 if column_y > 0 else -1, :: 1 if row_x > 0 else -1]


def _body(image: Slice) -> Mask | None:
    labels, count = ndimage.label(image > BODY_HU)
    if count == 0:
        return None
    sizes = np.bincount(labels.ravel())[1:]
    body = labels == int(sizes.argmax()) + 1
    columns = np.flatnonzero(body.any(axis=0))
    width = (columns[-1] - columns[0] + 1) * WORKING_PIXEL_MM
    filled = body.sum() * WORKING_PIXEL_MM**2
    plausible = BODY_WIDTH_MM[0] <= width <= BODY_WIDTH_MM[1] and filled >= 0.1 * width**2
    return np.asarray(body) if plausible else None


def _spine_mm(slices: Sequence[Slice]) -> tuple[float, float] | None:
    """(x, y) of the foremost middle of the bone near the midline of the back half, over all slices; None if there is none."""
    bodies = [_body(image) for image in slices]
    known = [body for body in bodies if body is not None]
    if len(known) < max(3, len(slices) // 2):
        return None
    union = np.logical_or.reduce(known)
    rows, columns = np.nonzero(union)
    middle_x, front, back = columns.mean(), rows.min(), rows.max()
    bone = np.max(slices, axis=0) > BONE_HU
    y, x = np.nonzero(bone)
    near = (np.abs(x - middle_x) * WORKING_PIXEL_MM <= 35) & (y > front + 0.4 * (back - front)) & (y <= back)
    if near.sum() * WORKING_PIXEL_MM**2 < 100:
        return None
    return float(np.median(x[near]) * WORKING_PIXEL_MM), float(np.percentile(y[near], 3) * WORKING_PIXEL_MM)


def _candidates(image: Slice, spine: tuple[float, float]) -> list[AorticBlood]:
    """Round even blobs before the spine, at any level of brightness."""
    half = int(SPINE_REACH_MM / WORKING_PIXEL_MM) + 20
    column, row = (int(value / WORKING_PIXEL_MM) for value in spine)
    top, left = max(0, row - half), max(0, column - half)
    part = image[top : row + half, left : column + half]
    found = []
    for level in LEVELS_HU:
        labels, _ = ndimage.label(part > level)
        sizes = np.bincount(labels.ravel()) * WORKING_PIXEL_MM**2
        for number, box in enumerate(ndimage.find_objects(labels), start=1):
            if not AREA_MM2[0] <= sizes[number] <= AREA_MM2[1]:
                continue
            mask = labels[box] == number
            rows, columns = np.nonzero(mask)
            pixels = np.stack([columns, rows])
            corner = (left + box[1].start, top + box[0].start)
            centre_mm = (pixels.mean(axis=1) + corner) * WORKING_PIXEL_MM
            # the cheap question first: most bright spots are elsewhere
            if _before(centre_mm, spine):
                blob = _blob(part[box], mask, pixels, centre_mm)
                found += [] if blob is None else [blob]
    return found


def _before(centre_mm: NDArray[np.float64], spine: tuple[float, float]) -> bool:
    """In front of the spine and near it; the aorta keeps to the patient's left of the vena cava."""
    aside, ahead = centre_mm[0] - spine[0], spine[1] - centre_mm[1]
    return bool(-10 <= ahead <= SPINE_REACH_MM and -14 <= aside <= 35)


def _blob(
    image: Slice, mask: Mask, pixels: NDArray[np.int64], centre_mm: NDArray[np.float64]
) -> AorticBlood | None:
    """The blob that ``mask`` shows on ``image``, if it is round and even; ``pixels`` are its columns and rows, (2, n)."""
    area = pixels.shape[1] * WORKING_PIXEL_MM**2
    moments = np.linalg.eigvalsh(np.cov(pixels.astype(float)) + np.eye(2) / 12)
    roundness = float(np.sqrt(moments[0] / moments[1]))
    ellipse = 4 * pi * np.sqrt(moments[0] * moments[1]) * WORKING_PIXEL_MM**2
    if roundness < 0.7 or area < 0.88 * ellipse:
        return None
    core = ndimage.binary_erosion(mask, iterations=1)
    if core.sum() < 9:
        return None
    values = image[core]
    median = float(np.median(values))
    if median > 700 or float(np.std(values)) > 0.15 * median:
        return None
    return AorticBlood(float(centre_mm[0]), float(centre_mm[1]), median, area, roundness)


def _most_consistent(by_slice: Sequence[Sequence[AorticBlood]]) -> float | None:
    """HU of the place where most slices show a blob; of equals the larger one. None if that is under half of them."""
    needed = max(3, (len(by_slice) + 1) // 2)
    best: tuple[int, float, float] | None = None
    for seed in (blob for blobs in by_slice for blob in blobs):
        chain = [same for blobs in by_slice if (same := _same(seed, blobs)) is not None]
        rank = (
            len(chain),
            float(np.median([b.area_mm2 for b in chain])),
            float(np.median([b.hu for b in chain])),
        )
        if len(chain) >= needed and (best is None or rank > best):
            best = rank
    return best[2] if best else None


def _same(seed: AorticBlood, blobs: Sequence[AorticBlood]) -> AorticBlood | None:
    near = [
        blob
        for blob in blobs
        if np.hypot(blob.x_mm - seed.x_mm, blob.y_mm - seed.y_mm) <= SAME_PLACE_MM
        and 0.7 <= blob.hu / seed.hu <= 1.4
    ]
    return max(near, key=lambda blob: blob.area_mm2) if near else None
