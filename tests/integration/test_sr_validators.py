"""What three independent validators say of every kind of report: no error, and only warnings that are understood.

None of them finds everything, so all three must agree; the planted defects at the end show that the bar is real.
PixelMed's program takes one file per start and seconds to start, so its validator is called for many files at once.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from components import missing, require
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from sr_samples import (
    enhanced_sources,
    messy_sources,
    sample_images,
    sample_model,
    sample_report,
    sample_sources,
    unicode_sources,
)

from prognode.adapters.figure import draw_figure
from prognode.dicom import codes
from prognode.dicom import sr_items as items
from prognode.dicom.dataset_encoding import encode
from prognode.dicom.secondary_capture import build_secondary_capture
from prognode.dicom.sr import SR_CLASSES, build_sr, sr_variants

pytestmark = pytest.mark.component

PIXELMED_JAR = Path("/usr/share/java/pixelmed.jar")
BATCH = Path(__file__).with_name("ValidateReports.java")

# why each is accepted, as docs/conformance.md says: the private scheme is unknown to the tool; the private units
# "points" and "score" are words, because a viewer prints them raw and UCUM's "{points}" and "1" do not read well;
# Device UID in Contributing Equipment is younger than the tool
DCIODVFY_ALLOWED = re.compile(
    r"CodingSchemeDesignator\(0008,0102\)(\[1\])?> - Unrecognized defined term = <99PROGNODE>"
    r"|CodingSchemeDesignator in a units Code Sequence is not UCUM = <99PROGNODE>"
    r"|ContributingEquipmentSequence\(0018,a001\)\[1\]/DeviceUID\(0018,1002\)> - "
    r"Attribute is not present in standard DICOM IOD"
)
# the messy images have no study date and the like to copy
DCIODVFY_ALLOWED_MESSY = re.compile(r"Missing attribute or value that would be needed to build DICOMDIR$")
# DCMTK checks no UTF-8 values and says so
DSRDUMP_ALLOWED = re.compile(r"ISO_IR 192")
# statements beside the numbers, which TID 1410 allows as additions and the tool's tables do not know
PIXELMED_ALLOWED = re.compile(
    r"(CODE \((RISKGRP|STATUS|NOTEVAL),99PROGNODE,[^)]*\)|CODE \(385380006,SCT,[^)]*\)|TEXT \(121106,DCM,\"Comment\"\)"
    r"|COMPOSITE \(130488,DCM,\"Region in Space\"\)"
    r"|TEXT \(130489,DCM,\"Referenced Region of Interest Identifier\"\)"
    r"|IMAGE \(121112,DCM,\"Source of Measurement\"\)|IMAGE \(130401,DCM,\"Visual explanation\"\))"
    r": Content Item not in template$"
)

REPORTS: dict[str, Callable[[], list[bytes]]] = {
    "final": lambda: sr_variants(sample_report(), sample_sources()),
    "preliminary": lambda: sr_variants(sample_report("preliminary"), sample_sources()),
    "not-evaluable": lambda: sr_variants(sample_report("not-evaluable"), sample_sources()),
    "refused-with-findings": lambda: sr_variants(
        sample_report("not-evaluable", findings=sample_report().findings), sample_sources()
    ),
    "seg": lambda: sr_variants(sample_report(kind="SEG"), sample_sources()),
    "nifti": lambda: sr_variants(sample_report(kind="NIFTI"), sample_sources()),
    "successor": lambda: sr_variants(sample_report(predecessor_uid="2.25.77"), sample_sources()),
    "unicode": lambda: sr_variants(sample_report(), unicode_sources()),
    "messy": lambda: sr_variants(sample_report(), messy_sources()),
    "messy-refused": lambda: sr_variants(sample_report("not-evaluable"), messy_sources()),
    "enhanced": lambda: sr_variants(sample_report(enhanced=True), enhanced_sources()),
}
# the tree is the same in each class, so PixelMed's slow check sees all classes for one kind and one class for the rest
PIXELMED_REPORTS = [
    (kind, place) for kind in REPORTS for place in range(len(SR_CLASSES)) if place == 0 or kind == "final"
]


def _run(*command: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env, errors="replace")


def _dciodvfy(file: Path) -> tuple[list[str], list[str]]:
    """(errors, warnings) of dicom3tools."""
    done = _run(require("dciodvfy", "dicom3tools"), "-new", str(file))
    lines = (done.stdout + done.stderr).splitlines()
    errors = [line for line in lines if line.startswith(("Error", "Abort"))]
    assert bool(done.returncode) == bool(errors)
    return errors, [line for line in lines if line.startswith("Warning")]


def _surprising(warnings: list[str], *, messy: bool) -> list[str]:
    """Warnings of dciodvfy that are not accepted."""
    return [
        line
        for line in warnings
        if not DCIODVFY_ALLOWED.search(line) and not (messy and DCIODVFY_ALLOWED_MESSY.search(line))
    ]


def _dsrdump(file: Path) -> tuple[list[str], list[str]]:
    """(errors, warnings) of DCMTK."""
    done = _run(require("dsrdump", "dcmtk"), str(file))
    lines = done.stderr.splitlines()
    errors = [line for line in lines if line.startswith(("E:", "F:"))]
    if done.returncode and not errors:
        errors = [f"exit status {done.returncode}"]
    return errors, [line for line in lines if line.startswith("W:")]


def _pixelmed(files: list[Path]) -> dict[Path, tuple[list[str], list[str]]]:
    """(errors, warnings) of PixelMed's DicomSRValidator for each file, in one Java process."""
    if not PIXELMED_JAR.is_file():
        missing(f"{PIXELMED_JAR} is not there (apt install pixelmed-apps)")
    require("javac", "default-jdk-headless")
    no_limits = " ".join(f"-Djdk.xml.xpath{name}Limit=0" for name in ("TotalOp", "ExprOp", "ExprGrp"))
    done = _run(
        require("java", "default-jdk-headless"),
        *no_limits.split(),
        "-Xss64m",
        "-cp",
        f"{PIXELMED_JAR.parent}/*",
        str(BATCH),
        *map(str, files),
        env=os.environ | {"JAVA_TOOL_OPTIONS": ""},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = {}
    for part in done.stdout.split("File: ")[1:]:
        name, *lines = part.splitlines()
        assert "IOD validation complete" in lines, part
        found[Path(name)] = (
            [line for line in lines if line.startswith("Error")],
            [line for line in lines if line.startswith("Warning")],
        )
    return found


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Callable[[str, int], Path]:
    """Files of every kind of report in every class, written when first asked for."""
    folder = tmp_path_factory.mktemp("reports")

    @cache
    def files(kind: str) -> list[Path]:
        paths = []
        for place, data in enumerate(REPORTS[kind]()):
            path = folder / f"{kind}-{place}.dcm"
            path.write_bytes(data)
            paths.append(path)
        return paths

    return lambda kind, place: files(kind)[place]


@pytest.mark.parametrize("place", range(len(SR_CLASSES)), ids=["3d", "comprehensive", "enhanced"])
@pytest.mark.parametrize("kind", REPORTS)
def test_dciodvfy_and_dsrdump_find_no_error(written, kind, place):
    """dicom3tools and DCMTK find no error in any kind of report in any class, and only the accepted warnings."""
    file = written(kind, place)
    errors, warnings = _dciodvfy(file)
    assert errors == []
    assert _surprising(warnings, messy="messy" in kind) == []
    errors, warnings = _dsrdump(file)
    assert errors == []
    assert [line for line in warnings if not DSRDUMP_ALLOWED.search(line)] == []


def test_pixelmed_finds_no_error(written):
    """PixelMed's template validator finds no error in any kind of report, and only the accepted warnings."""
    files = [written(kind, place) for kind, place in PIXELMED_REPORTS]
    found = _pixelmed(files)
    assert set(found) == set(files)
    assert {file.name: errors for file, (errors, _) in found.items() if errors} == {}
    warnings = {line for _, lines in found.values() for line in lines}
    assert {line for line in warnings if not PIXELMED_ALLOWED.search(line)} == set()


def test_the_figure_is_a_clean_secondary_capture(tmp_path):
    """The figure has no error for dciodvfy, with plain and with messy headers."""
    rgb = draw_figure(sample_report(), sample_images(), sample_model()).rgb
    for name, sources in (("plain", sample_sources()), ("messy", messy_sources())):
        file = tmp_path / f"{name}.dcm"
        header = next(iter(sources.values()))
        file.write_bytes(encode(build_secondary_capture(sample_report(), header, rgb)))
        errors, warnings = _dciodvfy(file)
        assert errors == []
        assert _surprising(warnings, messy=name == "messy") == []


@pytest.mark.skipif(
    shutil.which("dsr2html") is None and os.environ.get("CI") != "true", reason="dsr2html (dcmtk) is missing"
)
def test_dsr2html_renders_the_result(written):
    """A plain renderer shows risk group and survival to a person."""
    page = _run("dsr2html", str(written("final", 0))).stdout
    assert "High risk" in page
    assert "3-year overall survival" in page


# ---------------------------------------------------------------- the bar catches what it should


def _first(dataset: Dataset, value_type: str) -> Dataset:
    group = dataset.ContentSequence[-1].ContentSequence[0]
    return next(item for item in group.ContentSequence if item.ValueType == value_type)


def _no_evidence(dataset: Dataset) -> None:
    del dataset.CurrentRequestedProcedureEvidenceSequence


def _long_code_value(dataset: Dataset) -> None:
    _first(dataset, "NUM").ConceptNameCodeSequence[0].CodeValue = "OVERALLSURVIVAL36M"


def _long_description(dataset: Dataset) -> None:
    dataset.SeriesDescription = "x" * 65


def _long_number(dataset: Dataset) -> None:
    item = _first(dataset, "NUM").MeasuredValueSequence[0]
    del item.NumericValue
    item.update(items.attributes((0x0040A30A, "ST", "62.1234567890123456789")))
    item[0x0040A30A].VR = "DS"


def _empty_number(dataset: Dataset) -> None:
    _first(dataset, "NUM").MeasuredValueSequence = Sequence()


def _verified_by_nobody(dataset: Dataset) -> None:
    dataset.VerificationFlag = "VERIFIED"


def _bad_uid(dataset: Dataset) -> None:
    dataset.SeriesInstanceUID = "2.25.0123"


def _roi_number_as_property(dataset: Dataset) -> None:
    _first(dataset, "COMPOSITE").ContentSequence[0].RelationshipType = "HAS PROPERTIES"


def _other_procedure(dataset: Dataset) -> None:
    item = next(
        i
        for i in dataset.ContentSequence
        if i.ConceptNameCodeSequence[0].CodeValue == codes.PROCEDURE_REPORTED.value
    )
    item.ConceptCodeSequence = Sequence(
        items.coded(codes.Code("32962002", "SCT", "Computed tomography of abdomen with contrast"))
    )


def _planted(defect: Callable[[Dataset], None], folder: Path) -> Path:
    dataset = build_sr(sample_report(), sample_sources())
    defect(dataset)
    file = folder / f"{defect.__name__}.dcm"
    file.write_bytes(encode(dataset))
    return file


@pytest.mark.parametrize(
    "defect", [_no_evidence, _long_code_value, _long_description, _long_number, _verified_by_nobody, _bad_uid]
)
def test_dciodvfy_catches(defect, tmp_path):
    """Each of these planted defects is an error for dciodvfy."""
    assert _dciodvfy(_planted(defect, tmp_path))[0] != []


@pytest.mark.parametrize("defect", [_long_number, _roi_number_as_property])
def test_dsrdump_catches(defect, tmp_path):
    """Each of these planted defects is an error for dsrdump; the second one for dsrdump alone."""
    assert _dsrdump(_planted(defect, tmp_path))[0] != []


def test_pixelmed_catches(tmp_path):
    """PixelMed alone sees an empty measured value and a procedure outside its context group."""
    files = [_planted(defect, tmp_path) for defect in (_empty_number, _other_procedure)]
    assert all(errors for errors, _ in _pixelmed(files).values())
    assert all(_dciodvfy(file)[0] == [] == _dsrdump(file)[0] for file in files)


def test_dciodvfy_catches_a_figure_without_body_part(tmp_path):
    """Without BodyPartExamined the Secondary Capture lacks a laterality, which dciodvfy reports."""
    rgb = draw_figure(sample_report(), {}, sample_model()).rgb
    dataset = build_secondary_capture(sample_report(), next(iter(sample_sources().values())), rgb)
    del dataset.BodyPartExamined
    file = tmp_path / "figure.dcm"
    file.write_bytes(encode(dataset))
    assert _dciodvfy(file)[0] != []
