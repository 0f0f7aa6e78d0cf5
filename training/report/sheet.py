"""A sheet of paper to draw on, measured in CSS pixels from its top left corner, and panels that all look alike."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prognode.adapters.drawing import FAINT, INK, RULE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_PX = 1040
PX_PER_INCH = 96
PX_PER_LETTER = 0.76
"""Width of a letter of DejaVu Sans per point of its size in most texts, with some to spare: 96/72 times 0.57."""
LARGE, TEXT, SMALL = 10.0, 9.0, 8.5
"""Sizes of type in points."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """The sheet, and how large it is."""

    figure: Figure
    width: float
    height: float

    @classmethod
    def of_size(cls, width: float, height: float) -> Sheet:
        """An empty sheet."""
        from matplotlib.figure import Figure

        size = (width / PX_PER_INCH, height / PX_PER_INCH)
        return cls(Figure(figsize=size, dpi=72, facecolor="white"), width, height)

    def panel(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes whose frame lies at this place; labels of ticks lie outside of it."""
        axes = self.bare(left, top, width, height)
        axes.tick_params(colors=FAINT, labelsize=SMALL, length=3, width=0.8)
        for side, spine in axes.spines.items():
            spine.set_visible(side in {"left", "bottom"})
            spine.set_color(RULE)
        return axes

    def bare(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes without a look."""
        box = (
            left / self.width,
            1 - (top + height) / self.height,
            width / self.width,
            height / self.height,
        )
        axes: Axes = self.figure.add_axes(box, facecolor="none")
        return axes

    def write(self, x: float, y: float, words: str, **style: Any) -> None:
        """Words at a place, upright in its middle unless ``va`` says otherwise."""
        self.figure.text(
            x / self.width, 1 - y / self.height, words, **{"va": "center", "size": TEXT, **style}
        )

    def rule(self, points: list[tuple[float, float]], **style: Any) -> None:
        """A line through places on the sheet."""
        from matplotlib.lines import Line2D

        x = [place / self.width for place, _ in points]
        y = [1 - place / self.height for _, place in points]
        self.figure.add_artist(Line2D(x, y, **{"color": RULE, "linewidth": 1, **style}))

    def box(self, left: float, top: float, width: float, height: float, **style: Any) -> None:
        """A frame."""
        from matplotlib.patches import Rectangle

        corner = (left / self.width, 1 - (top + height) / self.height)
        look = {"edgecolor": RULE, "facecolor": "white", "linewidth": 1, **style}
        self.figure.add_artist(
            Rectangle(
                corner, width / self.width, height / self.height, transform=self.figure.transFigure, **look
            )
        )

    def mark(self, words: str) -> None:
        """Small words in the lower right corner."""
        self.write(self.width - 6, self.height - 9, words, size=8, color=FAINT, ha="right", style="italic")


def title(axes: Axes, words: str, below: Sequence[str] = (), lift: float = 0.0) -> None:
    """The name of a panel in bold, and smaller lines between it and the frame; ``lift`` points above the frame."""
    style: dict[str, Any] = {
        "xycoords": "axes fraction", "textcoords": "offset points", "va": "bottom", "annotation_clip": False,
    }  # fmt: skip
    top = lift + 5 + 11.5 * len(below)
    axes.annotate(words, (0, 1), (0, top), size=LARGE, weight="bold", color=INK, **style)
    for place, line in enumerate(reversed(below)):
        if not line:
            continue
        axes.annotate(line, (0, 1), (0, lift + 4 + 11.5 * place), size=SMALL, color=FAINT, **style)


def wrapped(words: str, width_px: float, size: float = TEXT) -> str:
    """Words in lines that are at most so wide."""
    letters = max(int(width_px / (PX_PER_LETTER * size)), 12)
    return "\n".join(textwrap.wrap(words, letters, break_long_words=True))


def say(axes: Axes, why: str) -> None:
    """A panel without data: the reason stands where the curve would be."""
    axes.set(xticks=[], yticks=[], xlim=(0, 1), ylim=(0, 1))
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set(color=RULE, linestyle=(0, (2, 3)))
    width, _ = size_px(axes)
    lines = wrapped(why, width - 24).split("\n")
    for place, line in enumerate(lines):
        axes.annotate(
            line, (0.5, 0.5), (0, 14 * ((len(lines) - 1) / 2 - place)), xycoords="axes fraction",
            textcoords="offset points", ha="center", va="center", color=FAINT, size=TEXT, annotation_clip=False,
        )  # fmt: skip


def size_px(axes: Axes) -> tuple[float, float]:
    """(width, height) of a panel."""
    figure, box = axes.get_figure(root=True), axes.get_position()
    assert figure is not None
    width, height = figure.get_size_inches() * PX_PER_INCH
    return box.width * width, box.height * height
