"""The laboratory's report in a real browser: one file, nothing fetched, every figure drawn, nothing hanging over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from laboratory import ordinary_study
from ohif.browser import running_browser
from playwright.sync_api import Page

from training.report.write import write_report

pytestmark = pytest.mark.component

FIGURES = """() => [...document.querySelectorAll('figure svg')].map(svg => {
    const box = svg.getBoundingClientRect();
    return {width: box.width, height: box.height, texts: svg.querySelectorAll('text').length};
})"""
OVERHANG = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """The report of a small synthetic study."""
    out = tmp_path_factory.mktemp("report")
    write_report(ordinary_study(), out, why_not="it is a test")
    return out / "report.html"


@pytest.fixture(scope="module")
def opened(report) -> Iterator[tuple[Page, list[str], list[str]]]:
    """The page in Chromium, what it asked for, and what went wrong in it."""
    with running_browser() as browser:
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        asked: list[str] = []
        wrong: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(error.message))
        page.goto(report.as_uri())
        yield page, asked, wrong


def test_the_page_asks_for_nothing_but_itself(opened, report):
    """It can be read on a machine without a network, and sends nothing anywhere."""
    _, asked, wrong = opened
    assert asked == [report.as_uri()]
    assert wrong == []


def test_every_figure_is_drawn(opened):
    """Eleven figures with a size and with words in them."""
    figures = opened[0].evaluate(FIGURES)
    assert len(figures) == 11
    assert all(one["width"] > 500 and one["height"] > 100 and one["texts"] > 3 for one in figures)


@pytest.mark.parametrize("width", [1400, 1024, 420])
def test_the_page_does_not_hang_over(opened, width):
    """Wide tables scroll by themselves; the page fits a monitor, a tablet and a phone."""
    page = opened[0]
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate(OVERHANG) <= 0


def test_the_mark_stays_on_the_screen(opened):
    """Synthetic data and research use are said at every place of the page."""
    page = opened[0]
    page.set_viewport_size({"width": 1400, "height": 900})
    page.evaluate("() => window.scrollTo(0, 4000)")
    mark = page.locator(".mark")
    assert "SYNTHETIC DATA" in mark.inner_text()
    assert mark.bounding_box()["y"] == pytest.approx(0, abs=1)


def test_the_contents_lead_to_their_sections(opened):
    """Each entry of the contents is an anchor of the page."""
    page = opened[0]
    wanted = page.eval_on_selector_all(
        "nav a", "links => links.map(link => link.getAttribute('href').slice(1))"
    )
    assert len(wanted) >= 8
    assert [key for key in wanted if page.locator(f"#{key}").count() != 1] == []
