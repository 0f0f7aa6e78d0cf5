"""A reader at the viewer: opens a study, opens the report in it, and says what is on the screen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import components
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

SOFTWARE_RENDERING = (
    "--no-sandbox",
    "--use-gl=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-background-networking",
    "--disable-dev-shm-usage",
)
SCREEN: ViewportSize = {"width": 1400, "height": 900}
"""A laptop's window: what fits here fits a reading room's monitor."""
LIMIT_MS = 120_000.0
"""For each wait: software rendering on two busy cores is slow."""
SETTLE_MS = 1500.0
CRASH = "Something went wrong"
SERIES = '[data-cy^="study-browser-thumbnail"]'

IMAGE_SHOWN = r"() => /I:\s*\d+ \(\d+\/\d+\)/.test(document.body.innerText)"
REPORT_SHOWN_OR_CRASHED = f"""() =>
    document.querySelector('.viewport-element g[data-annotation-uid]') !== null
    || document.body.innerText.includes('{CRASH}')"""
LINES_INSIDE_THE_IMAGE = """() => {
    const frame = document.querySelector('.viewport-element').getBoundingClientRect();
    const inside = box => box.width > 0 && box.left >= frame.left && box.right <= frame.right
        && box.top >= frame.top && box.bottom <= frame.bottom;
    return [...document.querySelectorAll('.viewport-element tspan')]
        .filter(line => inside(line.getBoundingClientRect())).map(line => line.textContent);
}"""
OUTLINES = """() => [...document.querySelectorAll('.viewport-element polyline')].map(line => line.getAttribute('points'))"""


@dataclass
class Reader:
    """One browser page, and the errors that no code of the viewer caught."""

    page: Page
    site_url: str
    uncaught: list[str] = field(default_factory=list)

    def open_study(self, study_uid: str) -> None:
        """Open the study and wait until an image of it is shown; the viewer's introduction is skipped."""
        self.page.goto(f"{self.site_url}/viewer?StudyInstanceUIDs={study_uid}", wait_until="domcontentloaded")
        self.page.locator(SERIES).first.wait_for()
        self.page.wait_for_function(IMAGE_SHOWN)

    def open_series(self, title: str) -> None:
        """Double-click the series with ``title``, and wait until its annotation is drawn or the viewer gives up."""
        self.page.locator(SERIES).filter(has_text=title).first.dblclick()
        self.page.wait_for_function(REPORT_SHOWN_OR_CRASHED)
        self.page.wait_for_timeout(SETTLE_MS)

    @property
    def crashed(self) -> bool:
        """Whether the viewer shows its error page."""
        return CRASH in self.text()

    def text(self) -> str:
        """What is written on the page beside the images."""
        return str(self.page.inner_text("body"))

    def lines_in_image(self) -> list[str]:
        """The lines of text that are drawn over the image and lie wholly inside it."""
        return [str(line) for line in self.page.evaluate(LINES_INSIDE_THE_IMAGE)]

    def outlines(self) -> list[list[tuple[float, float]]]:
        """The outlines that are drawn over the image, as points of the screen."""
        written = self.page.evaluate(OUTLINES)
        return [
            [(float(x), float(y)) for x, y in re.findall(r"([-\d.]+),\s*([-\d.]+)", line)] for line in written
        ]

    def screenshot(self, path: Path) -> None:
        """Keep what is on the screen, for people."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=path)


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Start Chromium without a window or a profile, and end it afterwards."""
    chromium = components.require("chromium", apt="chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=SOFTWARE_RENDERING)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def reader(browser: Browser, site_url: str) -> Iterator[Reader]:
    """Open a page of its own in ``browser``."""
    context = browser.new_context(viewport=SCREEN)
    page = context.new_page()
    page.set_default_timeout(LIMIT_MS)
    sits = Reader(page, site_url)
    page.on("pageerror", lambda error: sits.uncaught.append(error.message))
    page.add_locator_handler(page.get_by_text("Skip all"), lambda tour: tour.first.click())
    try:
        yield sits
    finally:
        context.close()
