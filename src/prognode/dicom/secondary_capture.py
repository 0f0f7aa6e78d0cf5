"""The figure as a Secondary Capture image: what every PACS and viewer can show (PS3.3 A.8.1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from prognode.dicom import sr_items as sr
from prognode.dicom.document import equipment, patient_and_study, set_character_set
from prognode.dicom.sr import series_description
from prognode.dicom.sr_tree import SECONDARY_CAPTURE
from prognode.domain.identity import figure_uid, report_uid, series_uid
from prognode.domain.report import Report

SERIES_NUMBER = 902


def build_secondary_capture(report: Report, source: Dataset, rgb: NDArray[np.uint8]) -> Dataset:
    """Secondary Capture of an RGB page, ``rgb`` (rows, columns, 3) uint8, in the study of ``source``.

    ``source`` is the header of any image of the study. Write it with :func:`prognode.dicom.dataset_encoding.encode`; the same report
    and page give the same bytes. ``ValueError`` for another shape or type of page.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise ValueError(f"a page is (rows, columns, 3) of uint8, not {rgb.shape} of {rgb.dtype}")
    dataset = patient_and_study(source)
    dataset.update(sr.attributes(*equipment(report.recipe), *_header(report), *_pixels(rgb)))
    set_character_set(dataset, source)
    return dataset


def _header(report: Report) -> list[tuple[int, str, object]]:
    """General Series, SC Equipment, General Image, SOP Common (PS3.3 A.8.1.3).

    BodyPartExamined is there because without it Laterality would be required (PS3.3 C.7.3.1).
    """
    date, time = report.content_datetime[:8], report.content_datetime[8:14]
    return [
        (0x00080008, "CS", ["DERIVED", "SECONDARY"]),
        (0x00080012, "DA", date),
        (0x00080013, "TM", time),
        (0x00080016, "UI", SECONDARY_CAPTURE),
        (0x00080018, "UI", figure_uid(report)),
        (0x00080021, "DA", date),
        (0x00080023, "DA", date),
        (0x00080031, "TM", time),
        (0x00080033, "TM", time),
        (0x00080060, "CS", "OT"),
        (0x00080064, "CS", "WSD"),
        (0x0008103E, "LO", series_description(report)),
        (0x00082111, "ST", f"{' '.join(report.notices)} Figure of the report {report_uid(report)}"),
        (0x00180015, "CS", "ABDOMEN"),
        (0x00189004, "CS", "RESEARCH"),
        (0x0020000E, "UI", series_uid("figure", report_uid(report))),
        (0x00200011, "IS", str(SERIES_NUMBER)),
        (0x00200013, "IS", "1"),
        (0x00200020, "CS", ""),
    ]


def _pixels(rgb: NDArray[np.uint8]) -> list[tuple[int, str, object]]:
    """Image Pixel module: 8-bit RGB, colour by pixel, uncompressed (PS3.3 C.7.6.3)."""
    data = np.ascontiguousarray(rgb).tobytes()
    return [
        (0x00280002, "US", 3),
        (0x00280004, "CS", "RGB"),
        (0x00280006, "US", 0),
        (0x00280010, "US", rgb.shape[0]),
        (0x00280011, "US", rgb.shape[1]),
        (0x00280100, "US", 8),
        (0x00280101, "US", 8),
        (0x00280102, "US", 7),
        (0x00280103, "US", 0),
        (0x00280301, "CS", "YES"),
        (0x00282110, "CS", "00"),
        (0x7FE00010, "OB", data + b"\0" * (len(data) % 2)),
    ]
