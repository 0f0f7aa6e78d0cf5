"""Drawings as SVG whose bytes depend on nothing but what is drawn, with text that stays text.

matplotlib writes dates, its version, page-wide styles and ids that collide when two drawings stand on one page. All
that is taken out; what remains is a small document with a title that a screen reader can say.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from xml.etree import ElementTree as ET

from prognode.adapters.drawing import DRAWING, INK
from training.report.items import ReportFigure
from training.report.labels import SYNTHETIC_MARK
from training.report.sheet import WIDTH_PX, Sheet, say
from training.study import Study

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
HREF = f"{{{XLINK}}}href"
FONTS = "'DejaVu Sans', Verdana, Geneva, 'Bitstream Vera Sans', sans-serif"
"""The second and third are drawn by the same hand: as wide, so that labels fit on machines without the first."""
SETTINGS = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.unicode_minus": True,
    "path.simplify": True,
    "text.parse_math": False,
}
DECIMALS = 2
"""Of coordinates, in points: a hundredth of one is less than any screen shows."""

Paint = Callable[[Sheet], None]
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_IDLE = re.compile(r"font-family:[^;]*;?\s*|stroke-dashoffset: 0;?\s*")
_CURVED = re.compile(r"[A-KN-Za-y]")
"""A command in a path that is neither move (M), line (L) nor close (z)."""


def report_figure(
    study: Study, key: str, title: str, caption: str, size: tuple[float, float], paint: Paint
) -> ReportFigure:
    """A figure of a study's report; one of synthetic data says so."""
    mark = SYNTHETIC_MARK if study.provenance.synthetic else ""
    return ReportFigure(key, title, caption, draw(key, title, size, paint, mark))


def worded_figure(study: Study, key: str, title: str, why: str) -> ReportFigure:
    """A figure of which there is nothing to draw, and why."""

    def paint(sheet: Sheet) -> None:
        say(sheet.panel(12, 12, WIDTH_PX - 24, 110), why)

    return report_figure(study, key, title, "There is nothing to draw.", (WIDTH_PX, 146), paint)


def draw(key: str, title: str, size: tuple[float, float], paint: Paint, mark: str = "") -> str:
    """The SVG document of what ``paint`` draws on a sheet of (width, height) CSS pixels.

    Every id begins with ``key`` up to its second underscore (``figure_4_kaplan_meier``: ``f4-1``), so that drawings can
    share a page; ``title`` is read aloud; ``mark`` stands small in the
    lower right corner.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    with DRAWING, rc_context({**SETTINGS, "svg.hashsalt": key}):
        sheet = Sheet.of_size(*size)
        FigureCanvasSVG(sheet.figure)
        paint(sheet)
        if mark:
            sheet.mark(mark)
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        sheet.figure.savefig(buffer, format="svg", metadata=nothing)
    return _cleaned(buffer.getvalue(), key, title, size)


def _cleaned(document: str, key: str, title: str, size: tuple[float, float]) -> str:
    ET.register_namespace("", SVG)
    ET.register_namespace("xlink", XLINK)
    root = ET.fromstring(document)  # noqa: S314  # matplotlib wrote it
    short = f"f{key.removeprefix('figure_').partition('_')[0]}"
    _drop_styles(root)
    _rename(root, short)
    for element in root.iter():
        _tidy(element)
    _lift_styles(root)
    _flatten(root)
    _entitle(root, short, title, size)
    return ET.tostring(root, encoding="unicode") + "\n"


def _drop_styles(root: ET.Element) -> None:
    """Styles in a document of its own would rule the whole page that it stands on."""
    for parent in list(root.iter()):
        for child in [child for child in parent if child.tag == f"{{{SVG}}}style"]:
            parent.remove(child)


def _rename(root: ET.Element, short: str) -> None:
    """Ids that are referred to become prefix and number, in the order of the document; others go."""
    wanted = set(_references(root))
    names: dict[str, str] = {}
    for element in root.iter():
        name = element.attrib.pop("id", "")
        if name in wanted:
            names[name] = f"{short}-{len(names) + 1}"
            element.set("id", names[name])
    for element in root.iter():
        for attribute, value in element.attrib.items():
            if attribute == HREF:
                element.set(attribute, f"#{names[value[1:]]}")
            elif "url(#" in value:
                element.set(attribute, _REFERENCE.sub(lambda found: f"url(#{names[found[1]]})", value))


def _references(root: ET.Element) -> Iterator[str]:
    for element in root.iter():
        for attribute, value in element.attrib.items():
            if attribute == HREF:
                yield value[1:]
            yield from _REFERENCE.findall(value)


def _tidy(element: ET.Element) -> None:
    """Shorter numbers and paths, one font for all, no turns by nothing; line breaks of the file go."""
    for attribute, value in list(element.attrib.items()):
        element.set(attribute, _LONG_NUMBER.sub(_rounded, " ".join(value.split())))
    if "style" in element.attrib:
        element.set("style", _IDLE.sub("", element.attrib["style"]).replace(": ", ":").replace("; ", ";"))
    if element.get("transform", "").startswith("rotate(-0 "):
        del element.attrib["transform"]
    path = element.get("d")
    if path is not None and not _CURVED.search(path):
        element.set("d", path.replace(" L ", " "))  # after a move, further points are lines
    element.tail = "\n"
    if element.text is not None and not element.text.strip():
        element.text = None


def _rounded(number: re.Match[str]) -> str:
    text = f"{float(number.group()):.{DECIMALS}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _lift_styles(root: ET.Element) -> None:
    """Markers of one look have their style once, on the group that holds them."""
    for group in root.iter(f"{{{SVG}}}g"):
        markers = [child for child in group if child.tag == f"{{{SVG}}}use"]
        looks = {marker.get("style", "") for marker in markers}
        if len(markers) == len(group) > 1 == len(looks) and "style" not in group.attrib:
            style = looks.pop()
            if style and "opacity" not in style:
                group.set("style", style)
                for marker in markers:
                    del marker.attrib["style"]


def _flatten(parent: ET.Element) -> None:
    """Groups that say nothing about their children are taken apart, and empty definitions go."""
    for child in list(parent):
        _flatten(child)
        bare = child.tag == f"{{{SVG}}}g" and not child.attrib
        if bare or (child.tag == f"{{{SVG}}}defs" and not len(child)):
            place = list(parent).index(child)
            parent.remove(child)
            for offset, grandchild in enumerate(child):
                parent.insert(place + offset, grandchild)


def _entitle(root: ET.Element, short: str, title: str, size: tuple[float, float]) -> None:
    width, height = size
    root.attrib |= {
        "width": f"{width:g}",
        "height": f"{height:g}",
        "role": "img",
        "aria-labelledby": f"{short}-title",
        "font-family": FONTS,
        "stroke-linejoin": "round",
        "stroke-linecap": "butt",
    }
    words = ET.Element(f"{{{SVG}}}title", {"id": f"{short}-title"})
    words.text, words.tail = title, "\n"
    root.insert(0, words)
