"""What a radiologist sees: the reports, opened by the real OHIF viewer from a real PACS in a real browser.

Validators say that a report is legal; this says that it can be read. A report that every validator liked has crashed
this viewer before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import components
import pydicom
import pytest
from ohif.browser import Reader, reader, running_browser
from ohif.reported_study import report_on, sources_of
from ohif.site import start_site
from playwright.sync_api import Browser
from pydicom.dataset import Dataset
from studies import small_study

from prognode.dicom.sr import series_description, sr_variants
from prognode.domain.report import Report, ReportStatus
from training.synthetic_study import SyntheticStudy

pytestmark = [pytest.mark.component, pytest.mark.timeout(900)]

LINES_SHOWN = 5
"""The viewer writes the first five numbers of a group."""
OFFER_TO_MEASURE = "continue tracking measurements"
"""Asked where the viewer could turn a region into a measurement of its own, such as Hounsfield units at a point."""
SCREENSHOTS = Path(__file__).resolve().parents[2] / "out" / "ohif"


@dataclass
class ReadingRoom:
    """A PACS, the viewer's site in front of it, and a browser."""

    pacs: components.Orthanc
    site_url: str
    browser: Browser

    def store(self, study: SyntheticStudy, report_file: bytes) -> None:
        """Put a study and a report about it into the PACS."""
        for _, file in study.files():
            self.pacs.upload(file)
        self.pacs.upload(report_file)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReadingRoom]:
    """One PACS, one site and one browser for all reports; each report is about a study of its own."""
    folder = tmp_path_factory.mktemp("reading-room")
    pacs = components.start_orthanc(folder, dicomweb=True)
    try:
        site = start_site(folder / "site", pacs.http_url)
        try:
            with running_browser() as browser:
                yield ReadingRoom(pacs, site.url, browser)
        finally:
            site.stop()
    finally:
        pacs.stop()


def opened(room: ReadingRoom, seat: Reader, study: SyntheticStudy, report: Report, file: bytes) -> None:
    """Store the study with its report, and open the report in the viewer."""
    room.store(study, file)
    seat.open_study(study.study_uid)
    seat.open_series(series_description(report))
    seat.screenshot(SCREENSHOTS / f"{report.status}-{study.spec.seed}.png")


@pytest.mark.parametrize(("status", "seed"), [("final", 31), ("preliminary", 32)])
def test_report_shows_the_outline_and_both_survival_figures(
    room: ReadingRoom, status: ReportStatus, seed: int
) -> None:
    """The viewer opens the report at the largest slice, draws the contour, and 3- and 5-year survival can be read."""
    study = small_study(seed=seed)
    report = report_on(study, status)
    with reader(room.browser, room.site_url) as seat:
        opened(room, seat, study, report, sr_variants(report, sources_of(study))[0])
        lines, text = seat.lines_in_image(), seat.text()
        assert not seat.crashed
        assert seat.uncaught == []
        assert len(seat.outlines()) == 1
        assert len(seat.outlines()[0]) > 20
        assert len(lines) == LINES_SHOWN, lines
    assert report.prognosis is not None
    for months, probability in report.prognosis.survival:
        figure = re.compile(rf"\b{months // 12}[ -]years?\b.*: {100 * probability:.2f} %$")
        assert any(figure.search(line) for line in lines), lines
    assert f"I:{largest_slice_number(study)} " in re.sub(r"\s+", " ", text).replace("I: ", "I:")
    assert f"{report.prognosis.risk_group} risk" in text


def largest_slice_number(study: SyntheticStudy) -> int:
    """Instance Number of the venous image with the largest cross-section."""
    uid = study.truth["venous"].largest_slice_uid
    return int(next(image.InstanceNumber for image in study.images("venous") if image.SOPInstanceUID == uid))


def test_report_of_a_case_that_cannot_be_evaluated_opens_clean(room: ReadingRoom) -> None:
    """A report without any number opens; the list gives the reason, and nothing on the image reads as a finding."""
    study = small_study(seed=33)
    report = report_on(study, "not-evaluable")
    with reader(room.browser, room.site_url) as seat:
        opened(room, seat, study, report, sr_variants(report, sources_of(study))[0])
        assert not seat.crashed
        assert seat.uncaught == []
        assert report.reason is not None
        assert f"Not evaluable: {report.reason.value}" in seat.text()
        assert seat.lines_in_image() == []
        assert OFFER_TO_MEASURE not in seat.text()


def test_report_without_outlines_is_noticed_as_a_crash(room: ReadingRoom) -> None:
    """The bar is real: the same report without its outlines breaks this viewer, and these tests would see it."""
    study = small_study(seed=34)
    report = report_on(study, "final")
    dataset = pydicom.dcmread(BytesIO(sr_variants(report, sources_of(study))[0]))
    drop_outlines(dataset)
    stripped = BytesIO()
    dataset.save_as(stripped, enforce_file_format=True)
    with reader(room.browser, room.site_url) as seat:
        opened(room, seat, study, report, stripped.getvalue())
        assert seat.crashed


def drop_outlines(item: Dataset) -> None:
    """Remove every SCOORD from a content tree."""
    children = item.get("ContentSequence", [])
    item.ContentSequence = [child for child in children if child.ValueType != "SCOORD"]
    for child in item.ContentSequence:
        if "ContentSequence" in child:
            drop_outlines(child)
