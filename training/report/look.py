"""Colours and strokes of the report's figures, the same in each; told apart by the dashes as well as by the colour."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from prognode.adapters.drawing import ACCENT, FAINT, INK
from training.models import ModelName
from training.report.sheet import PX_PER_LETTER, SMALL, WIDTH_PX, Sheet

Dashes = str | tuple[float, tuple[float, ...]]
DASHED, DOTTED, DASH_DOTTED = (0.0, (5.0, 2.0)), (0.0, (1.2, 1.6)), (0.0, (6.0, 2.0, 1.2, 2.0))
BLUE, ORANGE = "#0b6fb8", "#b85c00"


@dataclass(frozen=True, slots=True)
class Stroke:
    """How a line is drawn."""

    color: str
    linestyle: Dashes = "-"
    linewidth: float = 1.6

    @property
    def style(self) -> dict[str, Any]:
        """As matplotlib wants it."""
        return {"color": self.color, "linestyle": self.linestyle, "linewidth": self.linewidth}


MODEL_STROKES: dict[ModelName, Stroke] = {
    "combined": Stroke(INK, "-", 1.9),
    "signatures": Stroke(BLUE, DASHED, 1.7),
    "clinical": Stroke(ORANGE, DASH_DOTTED, 1.7),
}
GROUP_STROKES = {"low": Stroke(ACCENT["low"], DASHED, 1.8), "high": Stroke(ACCENT["high"], "-", 1.8)}
ASIDE = Stroke(FAINT, DOTTED, 1.1)
"""Diagonals, cutoffs, thresholds."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Panels in rows and columns on a sheet; all in CSS pixels."""

    columns: int
    rows: int
    height: float
    """Of a panel."""
    above: float = 46.0
    """Room over a panel, for its title."""
    below: float = 44.0
    """Room under it, for labels and what else stands there."""
    left: float = 62.0
    gap: float = 56.0
    """Between columns."""
    head: float = 26.0
    """Over all panels, for a legend."""
    foot: float = 18.0
    widest: float = 420.0

    @property
    def width(self) -> float:
        """Of a panel: what the sheet allows."""
        room = WIDTH_PX - self.left - 16 - self.gap * (self.columns - 1)
        return min(self.widest, room / self.columns)

    @property
    def size(self) -> tuple[float, float]:
        """Of the sheet."""
        width = self.left + 16 + self.columns * self.width + self.gap * (self.columns - 1)
        return width, self.head + self.rows * self._step + self.foot

    def place(self, row: int, column: int) -> tuple[float, float, float, float]:
        """(left, top, width, height) of a panel's frame."""
        left = self.left + column * (self.width + self.gap)
        return left, self.head + row * self._step + self.above, self.width, self.height

    @property
    def _step(self) -> float:
        return self.above + self.height + self.below


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a legend."""

    words: str
    stroke: Stroke
    extra: dict[str, Any] = field(default_factory=dict)
    """Marker and such."""


def legend(sheet: Sheet, x: float, y: float, entries: Iterable[Entry], size: float = SMALL + 0.5) -> None:
    """Entries side by side from a place on; the next line begins where the sheet ends."""
    left = x
    for entry in entries:
        width = 34 + PX_PER_LETTER * size * len(entry.words)
        if left > x and left + width > sheet.width:
            left, y = x, y + 18
        sheet.rule([(left, y), (left + 13, y), (left + 26, y)], **entry.stroke.style, **entry.extra)
        sheet.write(left + 32, y, entry.words, size=size)
        left += width + 14


def step_months(longest: float, most: int = 9) -> int:
    """Months between ticks of a time axis: 12, or as many as keep the ticks few; 3 or 6 for short follow-up."""
    steps: Sequence[int] = (1, 3, 6, 12, 24, 36, 60, 120, 240)
    return next((step for step in steps if longest / step <= most), steps[-1])
