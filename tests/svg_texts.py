"""What stands where in an SVG drawing: its texts with the room that they take."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from xml.etree import ElementTree as ET

SVG = "{http://www.w3.org/2000/svg}"
TOUCH = 0.8
"""Points by which boxes may run into each other: they hold the room over and under the letters."""


@dataclass(frozen=True)
class Label:
    """A text and its box: left, top, right, bottom in the units of the drawing."""

    words: str
    left: float
    top: float
    right: float
    bottom: float

    def leaves(self, width: float, height: float) -> bool:
        return (
            self.left < -TOUCH
            or self.top < -TOUCH
            or self.right > width + TOUCH
            or self.bottom > height + TOUCH
        )

    def meets(self, other: Label) -> bool:
        across = min(self.right, other.right) - max(self.left, other.left)
        down = min(self.bottom, other.bottom) - max(self.top, other.top)
        return across > TOUCH and down > TOUCH


def words(svg: str) -> list[str]:
    """Every text of a drawing."""
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text")]


def collisions(svg: str) -> list[tuple[str, str]]:
    """Texts that run into each other, and texts that leave the drawing (beside an empty string)."""
    root = ET.fromstring(svg)
    width, height = (float(number) for number in root.attrib["viewBox"].split()[2:])
    labels = list(_labels(root))
    outside = [(label.words, "") for label in labels if label.leaves(width, height)]
    return outside + [(one.words, other.words) for one, other in combinations(labels, 2) if one.meets(other)]


def _labels(root: ET.Element) -> Iterator[Label]:
    for element in root.iter(f"{SVG}text"):
        style = dict(part.split(":") for part in element.attrib["style"].split(";") if part)
        size = float(style["font-size"].removesuffix("px"))
        width, ascent, descent = _extent(element.text or "", size, style.get("font-weight", "400"))
        x, y = float(element.attrib["x"]), float(element.attrib["y"])
        start = {"start": 0.0, "middle": -width / 2, "end": -width}[style.get("text-anchor", "start")]
        turned = re.match(r"rotate\(-?90 ", element.get("transform", ""))
        if turned:
            yield Label(element.text or "", x - ascent, y - start - width, x + descent, y - start)
        else:
            yield Label(element.text or "", x + start, y - ascent, x + start + width, y + descent)


@cache
def _extent(text: str, size: float, weight: str) -> tuple[float, float, float]:
    """(width, ascent, descent) in DejaVu Sans."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    font = FontProperties(
        family="DejaVu Sans", size=size, weight="bold" if weight in {"700", "bold"} else "normal"
    )
    width, height, descent = TextToPath().get_text_width_height_descent(text, font, ismath=False)
    return width, height - descent, descent
