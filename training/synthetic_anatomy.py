"""A mathematical abdomen: solids with tissue labels, and one lobed tumour whose area and volume have closed forms.

The node must be shown working without any patient's data, so the anatomy is drawn from ellipsoids and elliptic
cylinders in patient coordinates (LPS+, mm; x to the left, y to the back, z to the head). Contours of the tumour are
computed from its formula, never traced from pixels, so that tests compare readers with an exact truth.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import pi
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Phase = Literal["arterial", "venous"]
Vector = tuple[float, float, float]
Floats = NDArray[np.float64]
Labels = NDArray[np.uint8]
Box = tuple[slice, slice, slice]

ENDLESS_MM = 1.0e6
"""A semi-axis so long that the solid is a cylinder."""

TISSUE_HU: dict[str, tuple[float, float]] = {
    "air": (-1000, -1000),
    "couch": (-750, -750),
    "skin": (10, 15),
    "fat": (-105, -105),
    "muscle": (58, 64),
    "cortical_bone": (620, 620),
    "marrow": (190, 200),
    "spinal_canal": (25, 25),
    "lung": (-850, -840),
    "liver": (65, 110),
    "hepatic_vein": (62, 165),
    "spleen": (125, 118),
    "pancreas": (98, 88),
    "renal_cortex": (195, 170),
    "renal_medulla": (80, 155),
    "bowel": (35, 42),
    "gas": (-960, -960),
    "aorta": (320, 150),
    "vena_cava": (85, 140),
    "portal_vein": (90, 170),
    "gastric_wall": (78, 88),
    "gastric_fluid": (8, 8),
    "tumour": (95, 80),
    "necrosis": (48, 46),
}
"""Mean Hounsfield units of each tissue in the arterial and in the venous phase."""

CODE_OF: dict[str, int] = {tissue: code for code, tissue in enumerate(TISSUE_HU)}


def hounsfield_table(phase: Phase, enhancement_as: Phase | None = None) -> NDArray[np.float32]:
    """Hounsfield units by tissue code; ``enhancement_as`` makes the contrast of another phase (for refusal tests)."""
    column = 0 if (enhancement_as or phase) == "arterial" else 1
    return np.array([values[column] for values in TISSUE_HU.values()], dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Grid:
    """Voxel centres of one series in LPS mm; array axes are (plane, row, column)."""

    shape: tuple[int, int, int]
    origin_mm: Floats
    """Centre of voxel (0, 0, 0)."""
    axes: Floats
    """(3, 3): unit vectors along which plane, row and column index grow."""
    spacing_mm: Floats
    """(3,): plane, row and column distance."""

    def position(self, plane: float, row: float = 0.0, column: float = 0.0) -> Floats:
        """LPS mm of a continuous index."""
        index = np.array([plane, row, column]) * self.spacing_mm
        return np.asarray(self.origin_mm + index @ self.axes)

    def index(self, point_mm: Vector | Floats) -> Floats:
        """Continuous (plane, row, column) index of a point in LPS mm."""
        return np.asarray(self.axes @ (np.asarray(point_mm) - self.origin_mm) / self.spacing_mm)

    def box(self, centre_mm: Vector | Floats, half_extent_mm: Floats) -> Box:
        """Index slices that hold a box with the given half extents (mm along the grid's own axes)."""
        middle, half = self.index(centre_mm), half_extent_mm / self.spacing_mm
        low = np.clip(np.floor(middle - half), 0, self.shape).astype(int)
        high = np.clip(np.ceil(middle + half) + 1, 0, self.shape).astype(int)
        first, second, third = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        return first, second, third

    def linear(self, box: Box, direction: Floats, through_mm: Vector | Floats) -> Floats:
        """``direction . (p - through_mm)`` for every voxel of ``box``, in the smallest shape that broadcasts to it."""
        total = np.full((1, 1, 1), float(direction @ (self.origin_mm - np.asarray(through_mm))))
        for axis, part in enumerate(box):
            slope = float(direction @ self.axes[axis]) * self.spacing_mm[axis]
            if abs(slope) > 1e-12:
                line = np.arange(part.start, part.stop) * slope
                total = total + line.reshape([-1 if i == axis else 1 for i in range(3)])
        return np.asarray(total)


@dataclass(frozen=True, slots=True)
class Solid:
    """An ellipsoid, or a cylinder where a semi-axis is endless, turned about the body's long axis."""

    tissue: str
    centre_mm: Vector
    semi_axes_mm: Vector
    turn_deg: float = 0.0
    in_front_of_y_mm: float | None = None
    """Cut off behind this y: gas above fluid in a patient who lies on the back."""

    def shifted(self, by_mm: Vector) -> Solid:
        """The same solid elsewhere, as breathing moves it."""
        x, y, z = (a + b for a, b in zip(self.centre_mm, by_mm, strict=True))
        level = None if self.in_front_of_y_mm is None else self.in_front_of_y_mm + by_mm[1]
        return replace(self, centre_mm=(x, y, z), in_front_of_y_mm=level)

    def paint(self, labels: Labels, grid: Grid) -> None:
        """Write the tissue's code into every voxel whose centre lies inside."""
        turn = np.deg2rad(self.turn_deg)
        own_axes = np.array([[np.cos(turn), np.sin(turn), 0], [-np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
        semi_axes = np.array(self.semi_axes_mm)
        half = np.linalg.norm((own_axes @ grid.axes.T) * semi_axes[:, None], axis=0)
        box = grid.box(self.centre_mm, half)
        if any(part.start >= part.stop for part in box):
            return
        distance = sum(
            grid.linear(box, own_axes[i] / semi_axes[i], self.centre_mm) ** 2
            for i in range(3)
            if semi_axes[i] < ENDLESS_MM
        )
        inside = np.asarray(distance) <= 1.0
        if self.in_front_of_y_mm is not None:
            inside = inside & (grid.linear(box, np.array([0.0, 1.0, 0.0]), (0, self.in_front_of_y_mm, 0)) < 0)
        np.copyto(labels[box], np.uint8(CODE_OF[self.tissue]), where=inside)


LOBES = ((3, 0.10, 0.6), (5, 0.05, 2.0))
"""Waves on the tumour's outline: (waves per turn, relative height, phase)."""


def outline_factor(angle: Floats) -> Floats:
    """Radius of the lobed outline relative to the ellipse, 1 on average."""
    return np.asarray(1.0 + sum(height * np.cos(waves * angle + phase) for waves, height, phase in LOBES))


LOBED_AREA = 1.0 + sum(height**2 for _, height, _ in LOBES) / 2.0
"""Area of the lobed outline relative to the ellipse: the mean of the squared factor."""


@dataclass(frozen=True, slots=True)
class Tumour:
    """A lobed ellipsoid whose axes follow the grid, so that every image plane cuts a lobed ellipse."""

    centre_mm: Vector
    semi_axes_mm: Vector
    """Along the row direction, along the column direction, across the planes."""

    @property
    def volume_mm3(self) -> float:
        """4/3 pi abc, times the lobes' area factor."""
        a, b, c = self.semi_axes_mm
        return 4.0 / 3.0 * pi * a * b * c * LOBED_AREA

    def area_mm2(self, height_mm: float) -> float:
        """Area of the cross-section ``height_mm`` above the centre along the normal; 0 outside."""
        a, b, c = self.semi_axes_mm
        return pi * a * b * max(0.0, 1.0 - (height_mm / c) ** 2) * LOBED_AREA

    def height_mm(self, grid: Grid, plane: float) -> float:
        """Distance of an image plane from the tumour's centre along the grid's normal."""
        return float((plane - grid.index(self.centre_mm)[0]) * grid.spacing_mm[0])

    def outline_mm(self, grid: Grid, plane: int, vertices: int = 96) -> Floats:
        """(n, 3) LPS outline on an image plane; empty where the plane misses the tumour."""
        a, b, c = self.semi_axes_mm
        height = self.height_mm(grid, plane)
        if abs(height) >= c:
            return np.empty((0, 3))
        angle = np.linspace(0.0, 2.0 * pi, vertices, endpoint=False)
        radius = np.sqrt(1.0 - (height / c) ** 2) * outline_factor(angle)
        along_row = (a * radius * np.cos(angle))[:, None] * grid.axes[2]
        along_column = (b * radius * np.sin(angle))[:, None] * grid.axes[1]
        return np.asarray(np.array(self.centre_mm) + height * grid.axes[0] + along_row + along_column)

    def box(self, grid: Grid) -> Box:
        """Voxels that may lie inside."""
        a, b, c = self.semi_axes_mm
        reach = 1.0 + sum(height for _, height, _ in LOBES)
        return grid.box(self.centre_mm, np.array([c, b * reach, a * reach]))

    def inside(self, grid: Grid, box: Box) -> NDArray[np.bool_]:
        """Which voxel centres of ``box`` lie inside."""
        a, b, c = self.semi_axes_mm
        across, down, right = (
            grid.linear(box, grid.axes[i] / size, self.centre_mm) for i, size in enumerate((c, b, a))
        )
        in_plane = (right**2 + down**2) / outline_factor(np.arctan2(down, right)) ** 2
        return np.asarray(in_plane + across**2 <= 1.0)

    def mask(self, grid: Grid) -> NDArray[np.bool_]:
        """The whole series as a mask (plane, row, column): voxel centres inside."""
        whole = np.zeros(grid.shape, dtype=np.bool_)
        box = self.box(grid)
        whole[box] = self.inside(grid, box)
        return whole


def _vertebrae() -> list[Solid]:
    solids = [
        Solid("cortical_bone", (0, 80, 0), (38, 5, ENDLESS_MM)),
        Solid("marrow", (0, 80, 0), (34, 3, ENDLESS_MM)),
        Solid("cortical_bone", (0, 94, 0), (5, 14, ENDLESS_MM)),
        Solid("cortical_bone", (0, 76, 0), (14, 13, ENDLESS_MM)),
        Solid("spinal_canal", (0, 76, 0), (9, 8, ENDLESS_MM)),
        Solid("cortical_bone", (0, 52, 0), (23, 18, ENDLESS_MM)),
        Solid("marrow", (0, 52, 0), (21, 16, ENDLESS_MM)),
    ]
    # a disc every 35 mm is soft: a detector of bone must not expect a tube
    solids += [Solid("muscle", (0, 52, z), (22, 17, 4)) for z in range(-140, 176, 35)]
    return solids


def _ribs() -> list[Solid]:
    solids = []
    for degrees in (20, 45, 70, 110, 135, 160, 200, 225, 250, 290, 315, 340):
        angle = np.deg2rad(degrees)
        x, y = 141.0 * np.sin(angle), 5.0 + 92.0 * np.cos(angle)
        slope = 40.0 * np.cos(angle)  # a rib falls from the spine to the front
        tangent = float(np.degrees(np.arctan2(-92.0 * np.sin(angle), 141.0 * np.cos(angle))))
        for level in range(-60, 201, 32):
            centre = (float(x), float(y), level + float(slope))
            if centre[2] > -45 or np.cos(angle) > 0.6:
                solids.append(Solid("cortical_bone", centre, (12, 5, 7), tangent))
                solids.append(Solid("marrow", centre, (10, 3, 5), tangent))
    return solids


def body_frame() -> list[Solid]:
    """What breathing does not move: couch, body wall, spine, ribs, aorta and vena cava."""
    return [
        Solid("couch", (0, 131, 0), (172, 7, ENDLESS_MM)),
        Solid("air", (0, 129, 0), (165, 3, ENDLESS_MM)),
        Solid("skin", (0, 0, 0), (166, 121, ENDLESS_MM)),
        Solid("fat", (0, 0, 0), (164, 119, ENDLESS_MM)),
        Solid("muscle", (0, 4, 0), (150, 103, ENDLESS_MM)),
        Solid("fat", (0, -6, 0), (139, 86, ENDLESS_MM)),
        Solid("muscle", (34, 62, 0), (18, 20, ENDLESS_MM)),
        Solid("muscle", (-34, 62, 0), (18, 20, ENDLESS_MM)),
        Solid("muscle", (36, 92, 0), (28, 14, ENDLESS_MM), -8),
        Solid("muscle", (-36, 92, 0), (28, 14, ENDLESS_MM), 8),
        *_vertebrae(),
        *_ribs(),
        Solid("aorta", (15, 21, 0), (11.0, 11.0, ENDLESS_MM)),
        Solid("vena_cava", (-22, 26, 0), (13, 10, ENDLESS_MM)),
    ]


def organs() -> list[Solid]:
    """What breathing moves, painted over the frame in this order."""
    return [
        Solid("lung", (-66, 4, 150), (66, 76, 62)),
        Solid("lung", (66, 4, 150), (66, 76, 52)),
        Solid("liver", (-66, -6, 30), (68, 70, 105)),
        Solid("liver", (-8, -46, 40), (60, 30, 50)),
        Solid("hepatic_vein", (-60, 2, 70), (5, 34, 6), 35),
        Solid("hepatic_vein", (-88, -8, 62), (34, 5, 6), 20),
        Solid("spleen", (104, 34, 55), (26, 42, 50), 20),
        Solid("renal_cortex", (62, 48, -28), (28, 24, 56), -25),
        Solid("renal_medulla", (59, 46, -28), (15, 12, 40), -25),
        Solid("fat", (50, 41, -28), (12, 7, 18), -25),
        Solid("renal_cortex", (-64, 50, -40), (28, 24, 56), 25),
        Solid("renal_medulla", (-61, 48, -40), (15, 12, 40), 25),
        Solid("fat", (-52, 43, -40), (12, 7, 18), 25),
        Solid("pancreas", (34, 2, 6), (44, 10, 14), -12),
        Solid("portal_vein", (-12, 4, 4), (8, 7, 40)),
        Solid("portal_vein", (-38, 0, 30), (34, 6, 7), 12),
        Solid("portal_vein", (-72, -14, 34), (28, 4, 5), 30),
        *_bowel(),
        Solid("gastric_wall", (58, -38, 34), (52, 34, 62)),
        Solid("gastric_fluid", (58, -38, 34), (46, 28, 57)),
        Solid("gas", (58, -38, 34), (46, 28, 57), in_front_of_y_mm=-48.0),
        Solid("gastric_wall", (14, -44, -14), (34, 22, 26), -10),
        Solid("gastric_fluid", (14, -44, -14), (29, 17, 22), -10),
    ]


def _bowel() -> list[Solid]:
    loops = [
        (-70, -46, -95),
        (-30, -52, -88),
        (16, -50, -80),
        (62, -46, -84),
        (96, -18, -60),
        (-100, -20, -90),
    ]
    solids = []
    for x, y, z in loops:
        solids.append(Solid("muscle", (x, y, z), (25, 19, 44)))
        solids.append(Solid("bowel", (x, y, z), (21, 15, 40)))
        solids.append(Solid("gas", (x, y, z), (21, 15, 40), in_front_of_y_mm=y - 6.0))
    return solids


def paint_abdomen(grid: Grid, tumour: Tumour, breath_shift_mm: Vector, necrosis: float = 0.38) -> Labels:
    """Tissue codes (plane, row, column) of one phase, the organs moved by ``breath_shift_mm``.

    The tumour's core dies off: ``necrosis`` is its size relative to the tumour.
    """
    labels: Labels = np.full(grid.shape, CODE_OF["air"], dtype=np.uint8)
    for solid in body_frame():
        solid.paint(labels, grid)
    for solid in organs():
        solid.shifted(breath_shift_mm).paint(labels, grid)
    box = tumour.box(grid)
    np.copyto(labels[box], np.uint8(CODE_OF["tumour"]), where=tumour.inside(grid, box))
    a, b, c = tumour.semi_axes_mm
    core = replace(tumour, semi_axes_mm=(necrosis * a, necrosis * b, necrosis * c))
    box = core.box(grid)
    np.copyto(labels[box], np.uint8(CODE_OF["necrosis"]), where=core.inside(grid, box))
    return labels
