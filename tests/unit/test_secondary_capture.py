"""The figure and its Secondary Capture: the page as an image that every viewer shows."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pydicom
import pytest
from pydicom.filewriter import dcmwrite
from sr_samples import (
    messy_sources,
    sample_images,
    sample_model,
    sample_report,
    sample_sources,
    unicode_sources,
)

from prognode.adapters.figure import CONTOUR, draw_figure, patient_side
from prognode.dicom.dataset_encoding import encode
from prognode.dicom.secondary_capture import build_secondary_capture
from prognode.domain.identity import figure_uid, report_uid, series_uid


def _header(sources) -> pydicom.Dataset:
    return next(iter(sources.values()))


def _page(shape=(11, 7, 3)) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture(scope="module")
def page():
    """The page of the sample report."""
    return draw_figure(sample_report(), sample_images(), sample_model())


def test_the_page_comes_back_pixel_by_pixel():
    """What was drawn is what a viewer decodes, an odd number of bytes included."""
    page = _page()
    file = encode(build_secondary_capture(sample_report(), _header(sample_sources()), page))
    np.testing.assert_array_equal(pydicom.dcmread(io.BytesIO(file)).pixel_array, page)


@pytest.mark.parametrize("sources", [sample_sources, unicode_sources, messy_sources])
def test_the_file_is_the_same_each_time_and_what_pydicom_writes(sources):
    """The same report and page give the same bytes, and they are pydicom's."""
    dataset = build_secondary_capture(sample_report(), _header(sources()), _page())
    ours = encode(dataset)
    assert ours == encode(build_secondary_capture(sample_report(), _header(sources()), _page()))
    dataset.file_meta = pydicom.dcmread(io.BytesIO(ours)).file_meta
    theirs = io.BytesIO()
    dcmwrite(theirs, dataset, enforce_file_format=True)
    assert ours == theirs.getvalue()


def test_it_lies_in_the_study_under_the_uid_that_the_report_names():
    """SOP Instance UID is the figure's identity; study and patient are the images'; the series is its own."""
    dataset = build_secondary_capture(sample_report(), _header(sample_sources()), _page())
    assert dataset.SOPInstanceUID == figure_uid(sample_report())
    assert dataset.SeriesInstanceUID == series_uid("figure", report_uid(sample_report()))
    assert dataset.StudyInstanceUID == sample_report().study_instance_uid
    assert (dataset.ContentQualification, dataset.BodyPartExamined) == ("RESEARCH", "ABDOMEN")
    assert "research only" in dataset.SeriesDescription


@pytest.mark.parametrize("page", [_page((5, 5, 4)), _page().astype(np.uint16), _page()[..., 0]])
def test_another_kind_of_page_is_refused(page):
    """Anything but (rows, columns, 3) of uint8 is an error."""
    with pytest.raises(ValueError, match="a page is"):
        build_secondary_capture(sample_report(), _header(sample_sources()), page)


def test_the_figure_is_the_same_each_time(page):
    """The same report gives the same pixels and the same PNG bytes."""
    again = draw_figure(sample_report(), sample_images(), sample_model())
    assert page.png == again.png
    np.testing.assert_array_equal(page.rgb, again.rgb)


def test_the_png_is_the_page(page):
    """The PNG file decodes to the page that goes into the Secondary Capture."""
    from matplotlib.image import imread

    decoded = np.round(imread(io.BytesIO(page.png))[..., :3] * 255).astype(np.uint8)
    np.testing.assert_array_equal(decoded, page.rgb)
    assert b"Research use only" in page.png


def _yellow(rgb: np.ndarray) -> int:
    colour = np.array([int(CONTOUR[i : i + 2], 16) for i in (1, 3, 5)])
    return int((np.abs(rgb.astype(int) - colour).max(axis=-1) < 12).sum())


def test_both_outlines_are_on_the_page(page):
    """Each phase whose image is given shows its outline; without images there is none."""
    one = draw_figure(sample_report(), {"venous": sample_images()["venous"]}, sample_model())
    none = draw_figure(sample_report(), {}, sample_model())
    assert _yellow(page.rgb) > 1.5 * _yellow(one.rgb) > 100
    assert _yellow(none.rgb) == 0


def test_another_result_is_another_page(page):
    """A changed survival probability changes the page."""
    report = sample_report()
    changed = dataclasses.replace(report.prognosis, survival=((36, 0.5), (60, 0.25)))
    other = draw_figure(dataclasses.replace(report, prognosis=changed), sample_images(), sample_model())
    assert not np.array_equal(other.rgb, page.rgb)


def test_a_preliminary_page_is_drawn_with_two_axes():
    """A preliminary report has a page of the signatures' model."""
    figure = draw_figure(sample_report("preliminary"), sample_images(), sample_model(missing=True))
    assert figure.rgb.shape == (1100, 1600, 3)


def test_a_tumour_at_the_edge_of_the_image_is_drawn():
    """A view that reaches beyond the image is padded, not shifted or refused."""
    report = sample_report()
    moved = tuple(
        dataclasses.replace(finding, outlines_px=(finding.outlines_px[0] - (290.0, 195.0),))
        for finding in report.findings
    )
    figure = draw_figure(dataclasses.replace(report, findings=moved), sample_images(), sample_model())
    assert _yellow(figure.rgb) > 100


def test_a_refused_case_has_no_figure():
    """There is nothing to draw where there is no prognosis."""
    with pytest.raises(ValueError, match="no figure"):
        draw_figure(sample_report("not-evaluable"), sample_images(), sample_model())


@pytest.mark.parametrize(
    ("direction", "letter"),
    [
        ((1, 0, 0), "L"),
        ((-1, 0, 0), "R"),
        ((0, 0.9, 0.1), "P"),
        ((0, -1, 0), "A"),
        ((0, 0, 1), "H"),
        ((0, 0, -1), "F"),
    ],
)
def test_patient_sides_follow_lps(direction, letter):
    """Letters beside the image name the side that LPS coordinates say."""
    assert patient_side(direction) == letter
