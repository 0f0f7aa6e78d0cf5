"""Colours and strokes of the report's figures, the same in each; told apart by the dashes as well as by the colour."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from prognode.adapters.drawing import ACCENT, FAINT, INK
from prognode.statistics.outcome import Floats
from training.models import ModelName
from training.report.sheet import PX_PER_LETTER, SMALL, WIDTH_PX, Sheet, wrapped

LEGEND = 9.0
"""Size of its type in points."""
LEGEND_PX, LINE_PX, RIGHT = 20.0, 15.4, 16.0
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
class Entry:
    """A line of a legend."""

    words: str
    stroke: Stroke
    extra: dict[str, Any] = field(default_factory=dict)
    """Marker and such."""

    @property
    def width(self) -> float:
        """With the gap after it."""
        return 48 + PX_PER_LETTER * LEGEND * len(self.words)


@dataclass(frozen=True, slots=True)
class Heading:
    """Name of a panel, and the lines between it and the frame."""

    words: str
    below: tuple[str, ...] = ()

    def padded(self, lines: int) -> tuple[str, ...]:
        """Its lines, and empty ones to so many, so that the names of all panels are level."""
        return (*self.below, *[""] * (lines - len(self.below)))


@dataclass(frozen=True, slots=True)
class Grid:
    """Panels in rows and columns on a sheet, under a legend; all in CSS pixels."""

    columns: int
    rows: int
    height: float
    """Of a panel."""
    legend: tuple[Entry, ...] = ()
    notes: tuple[str, ...] = ()
    """Sentences under the legend."""
    lines: int = 0
    """Under the names of the panels."""
    above: float = 34.0
    """Room over a panel, for its name."""
    below: float = 46.0
    """Room under it, for labels and what else stands there."""
    left: float = 66.0
    gap: float = 62.0
    """Between columns."""
    widest: float = 420.0

    @property
    def width(self) -> float:
        """Of a panel: what the sheet allows."""
        room = WIDTH_PX - self.left - RIGHT - self.gap * (self.columns - 1)
        return min(self.widest, room / self.columns)

    @property
    def sheet_width(self) -> float:
        """Of all."""
        return self.left + RIGHT + self.columns * self.width + self.gap * (self.columns - 1)

    @property
    def size(self) -> tuple[float, float]:
        """Of the sheet."""
        return self.sheet_width, self._head + self.rows * self._step + 18

    def place(self, row: int, column: int) -> tuple[float, float, float, float]:
        """(left, top, width, height) of a panel's frame."""
        left = self.left + column * (self.width + self.gap)
        top = self._head + row * self._step + self.above + LINE_PX * self.lines
        return left, top, self.width, self.height

    def heading(self, words: str, *below: str) -> Heading:
        """A heading whose lines are as wide as a panel."""
        room = self.width + self.gap / 3
        lines = [line for sentence in below for line in wrapped(sentence, room, SMALL).split("\n")]
        return Heading(words, tuple(lines))

    def with_room_for(self, headings: Iterable[Heading]) -> Grid:
        """The same with room for the headings."""
        return replace(self, lines=max((len(one.below) for one in headings), default=0))

    def begin(self, sheet: Sheet) -> None:
        """Draw the legend and the notes."""
        y = 15.0
        for row in self._legend_rows:
            _draw_entries(sheet, self.left, y, row)
            y += LEGEND_PX
        for line in self._note_lines:
            sheet.write(self.left, y, line, size=SMALL, color=FAINT)
            y += LINE_PX

    @property
    def _head(self) -> float:
        return 6 + LEGEND_PX * len(self._legend_rows) + LINE_PX * len(self._note_lines)

    @property
    def _step(self) -> float:
        return self.above + LINE_PX * self.lines + self.height + self.below

    @property
    def _legend_rows(self) -> list[list[Entry]]:
        rows: list[list[Entry]] = []
        left = float("inf")
        for entry in self.legend:
            if left + entry.width > self.sheet_width:
                rows.append([])
                left = self.left
            rows[-1].append(entry)
            left += entry.width
        return rows

    @property
    def _note_lines(self) -> list[str]:
        room = self.sheet_width - self.left
        return [line for note in self.notes for line in wrapped(note, room, SMALL).split("\n")]


def _draw_entries(sheet: Sheet, x: float, y: float, entries: Sequence[Entry]) -> None:
    for entry in entries:
        sheet.rule([(x, y), (x + 13, y), (x + 26, y)], **entry.stroke.style, **entry.extra)
        sheet.write(x + 32, y, entry.words, size=LEGEND)
        x += entry.width


def step_months(longest: float, most: int = 9) -> int:
    """Months between ticks of a time axis: 12, or as many as keep the ticks few; 3 or 6 for short follow-up."""
    steps: Sequence[int] = (1, 3, 6, 12, 24, 36, 60, 120, 240)
    return next((step for step in steps if longest / step <= most), steps[-1])


def ticks(x: Floats, low: Floats | float, high: Floats | float) -> tuple[Floats, Floats]:
    """(3n,) places and heights of upright strokes as one broken line, which takes a fraction of the room of n lines."""
    nothing = np.full(len(x), np.nan)
    heights = np.column_stack((np.broadcast_to(low, len(x)), np.broadcast_to(high, len(x)), nothing))
    return np.repeat(x, 3), heights.ravel()
