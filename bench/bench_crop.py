"""What a crop costs: ours on the need-set, SimpleITK on the window alone, SimpleITK on the whole series, in one run.

Run: python bench/bench_crop.py [--repeats N]. Ratios count; absolute times drift with the machine.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from statistics import median

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import SimpleITK

from prognode.domain.crop import AIR_HU, CropWindow, crop, index_range
from prognode.domain.geometry import ImagePlane, build_stack

SLICES, MATRIX, PIXEL_MM, GAP_MM = 120, 512, 0.72, 2.5
TARGET_S = 0.050


def series() -> tuple[list[ImagePlane], np.ndarray]:
    """A synthetic series of noise."""
    half = MATRIX * PIXEL_MM / 2
    planes = [
        ImagePlane(
            f"1.{k}", (-half, -half, k * GAP_MM), (1, 0, 0), (0, 1, 0), PIXEL_MM, PIXEL_MM, MATRIX, MATRIX
        )
        for k in range(SLICES)
    ]
    return planes, np.random.default_rng(1).normal(0, 200, (SLICES, MATRIX, MATRIX)).astype(np.float32)


def image_of(hu: np.ndarray, origin: tuple[float, float, float]) -> SimpleITK.Image:
    image = SimpleITK.GetImageFromArray(hu)
    image.SetSpacing((PIXEL_MM, PIXEL_MM, GAP_MM))
    image.SetOrigin(origin)
    return image


def on_window(image: SimpleITK.Image, window: CropWindow) -> np.ndarray:
    grid = SimpleITK.Image(window.size, window.size, 3, SimpleITK.sitkFloat32)
    grid.SetOrigin((float(window.x0_mm), float(window.y0_mm), float(window.z_mm[0])))
    args = (grid, SimpleITK.Transform(), SimpleITK.sitkBSpline, AIR_HU)
    return SimpleITK.GetArrayFromImage(SimpleITK.Resample(image, *args))


def whole_volume(image: SimpleITK.Image) -> np.ndarray:
    """The usual way: the whole series at 1 mm."""
    size = [round(MATRIX * PIXEL_MM)] * 2 + [round((SLICES - 1) * GAP_MM) + 1]
    grid = SimpleITK.Image(size, SimpleITK.sitkFloat32)
    grid.SetOrigin(image.GetOrigin())
    args = (grid, SimpleITK.Transform(), SimpleITK.sitkBSpline, AIR_HU)
    return SimpleITK.GetArrayFromImage(SimpleITK.Resample(image, *args))


def timed(work: Callable[[], object], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return median(seconds)


def padded(
    hu: np.ndarray, planes: list[ImagePlane], window: CropWindow, first: int, last: int
) -> SimpleITK.Image:
    """The need-set, cut to the window and 12 pixels around it."""
    start = planes[0].position_lps_mm[0]
    low = max(0, int((window.x0_mm - start) / PIXEL_MM) - 12)
    high = int((window.x0_mm + 223 - start) / PIXEL_MM) + 14
    origin = (start + low * PIXEL_MM, start + low * PIXEL_MM, first * GAP_MM)
    return image_of(np.ascontiguousarray(hu[first : last + 1, low:high, low:high]), origin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    planes, hu = series()
    stack, window = build_stack("1", "2", planes), CropWindow(-112, -112, (149, 150, 151))
    first, last = index_range(window, stack)
    needed, need_stack = hu[first : last + 1], build_stack("1", "2", planes[first : last + 1])
    whole = image_of(hu, planes[0].position_lps_mm)
    ours = crop(needed, need_stack, window)
    worst = float(np.abs(ours - on_window(whole, window)).max())

    ours_s = timed(lambda: crop(needed, need_stack, window), repeats)
    pad_s = timed(lambda: on_window(padded(hu, planes, window, first, last), window), max(3, repeats // 3))
    window_s = timed(lambda: on_window(whole, window), 2)
    whole_s = timed(lambda: whole_volume(whole), 1)
    print(
        f"one phase, {SLICES} x {MATRIX} x {MATRIX}, need-set of {last - first + 1} images; noise of 200 HU"
    )
    print(f"largest difference to SimpleITK on the whole series: {worst:.4f} HU (limit 0.01)")
    for name, seconds in (
        ("ours, need-set", ours_s),
        ("SimpleITK, need-set cut to the window", pad_s),
        ("SimpleITK, whole prefilter, window only", window_s),
        ("SimpleITK, whole series at 1 mm", whole_s),
    ):
        print(f"{name:42s} {seconds * 1000:9.1f} ms   {seconds / ours_s:8.1f} x ours")
    print(f"target {TARGET_S * 1000:.0f} ms a phase: {'met' if ours_s < TARGET_S else 'MISSED'}")


if __name__ == "__main__":
    main()
