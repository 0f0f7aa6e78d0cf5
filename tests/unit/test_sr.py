"""The structured report: what it says, in which order, and that it is the same every time."""

from __future__ import annotations

import dataclasses
import io
import json

import highdicom as hd
import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.filewriter import dcmwrite
from sr_samples import (
    enhanced_sources,
    image_uid,
    messy_sources,
    sample_header,
    sample_outline,
    sample_report,
    sample_sources,
    unicode_sources,
)

from prognode.dicom import codes
from prognode.dicom.dataset_encoding import encode
from prognode.dicom.sr import SR_CLASSES, build_sr, sr_variants
from prognode.dicom.sr_check import says_same, viewer_problems
from prognode.dicom.sr_items import decimal_string
from prognode.dicom.sr_tree import MAX_OUTLINE_POINTS, closed_polyline
from prognode.domain.identity import in_class, report_uid, series_uid
from prognode.domain.report_json import report_to_json
from prognode.errors import Reason

STATUSES = ("final", "preliminary", "not-evaluable")
SOURCES = {
    "plain": sample_sources,
    "unicode": unicode_sources,
    "messy": messy_sources,
    "enhanced": enhanced_sources,
}


def _read(data: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(data))


def _sr(report=None, sources=None) -> pydicom.Dataset:
    return _read(encode(build_sr(report or sample_report(), sources or sample_sources())))


def _groups(dataset) -> list[pydicom.Dataset]:
    return list(dataset.ContentSequence[-1].ContentSequence)


def _comments(dataset) -> list[str]:
    return [
        item.TextValue
        for group in _groups(dataset)
        for item in group.ContentSequence
        if item.ConceptNameCodeSequence[0].CodeValue == codes.COMMENT.value
    ]


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("kind", SOURCES)
def test_every_variant_says_what_the_json_says(status, kind):
    """Each SR class of each kind of report holds every number, category and sentence of report.json."""
    report = sample_report(status, enhanced=kind == "enhanced")
    data = json.loads(json.dumps(report_to_json(report)))
    for file in sr_variants(report, SOURCES[kind]()):
        assert says_same(_read(file), data) == []


@pytest.mark.parametrize("status", STATUSES)
def test_no_variant_breaks_the_viewer(status):
    """The rules that OHIF crashes over hold in each class of each kind of report."""
    for file in sr_variants(sample_report(status), sample_sources()):
        assert viewer_problems(_read(file)) == []


@pytest.mark.parametrize("kind", SOURCES)
def test_the_file_is_what_pydicom_would_write(kind):
    """The fast writer gives the same bytes as pydicom's."""
    dataset = build_sr(sample_report(enhanced=kind == "enhanced"), SOURCES[kind]())
    ours = encode(dataset)
    read = _read(ours)
    dataset.file_meta = read.file_meta
    theirs = io.BytesIO()
    dcmwrite(theirs, dataset, enforce_file_format=True)
    assert ours == theirs.getvalue()


def test_the_same_report_gives_the_same_bytes():
    """Building twice, from headers in another order too, gives identical files; classes differ in UID only."""
    first = sr_variants(sample_report(), sample_sources())
    again = sr_variants(sample_report(), dict(reversed(sample_sources().items())))
    assert first == again
    assert [_read(file).SOPInstanceUID for file in first] == [
        report_uid(sample_report(), sop_class) for sop_class in SR_CLASSES
    ]
    assert [_read(file).file_meta.MediaStorageSOPClassUID for file in first] == list(SR_CLASSES)
    trees = [_read(file).ContentSequence for file in first]
    assert trees[0] == trees[1] == trees[2]


def test_the_first_numbers_are_the_ones_a_reader_wants():
    """A viewer shows five numbers: 3- and 5-year survival in percent, points, venous signature, diameter."""
    numbers = [item for item in _groups(_sr())[0].ContentSequence if item.ValueType == "NUM"][:5]
    names = [item.ConceptNameCodeSequence[0].CodeValue for item in numbers]
    assert names == ["OS36", "OS60", "NPTS", "DLSIGV", "DIAMODEL"]
    assert all(len(item.ConceptNameCodeSequence[0].CodeMeaning) <= 24 for item in numbers)
    measured = numbers[0].MeasuredValueSequence[0]
    assert measured.MeasurementUnitsCodeSequence[0].CodeValue == "%"
    expected = 100 * sample_report().prognosis.survival[0][1]
    assert float(measured.NumericValue) == pytest.approx(expected, rel=1e-9)


def test_highdicom_reads_two_planar_groups_with_their_outlines():
    """An independent reader sees TID 1410: venous first, the contour closed and unmoved, all numbers."""
    report = sample_report()
    read = hd.sr.srread(io.BytesIO(sr_variants(report, sample_sources())[0]))
    groups = read.content.get_planar_roi_measurement_groups()
    assert [group.tracking_identifier.split(" - ")[0] for group in groups] == [
        "Tumour venous",
        "Tumour arterial",
    ]
    drawn = groups[0].roi.value
    np.testing.assert_array_equal(drawn[0], drawn[-1])
    np.testing.assert_allclose(drawn[:-1], report.findings[1].outlines_px[0], atol=1e-4)
    assert len(groups[0].get_measurements()) == 15
    assert len(groups[1].get_measurements()) == 5
    assert groups[1].get_measurements(name=hd.sr.CodedConcept(*codes.SIGNATURE["arterial"]))[0].value == (
        pytest.approx(0.4312345)
    )


def test_risk_and_demonstration_are_read_without_opening_the_report():
    """Series Description and Tracking Identifier carry risk group, preliminary and demonstration marks."""
    final, preliminary = _sr(), _sr(sample_report("preliminary"))
    assert final.SeriesDescription == "Prognosis: high risk - research only - DEMO"
    assert preliminary.SeriesDescription == "Preliminary: high risk - prognosis, research only - DEMO"
    assert _groups(final)[0].ContentSequence[0].TextValue == "Tumour venous - HIGH RISK - DEMO"
    assert _groups(preliminary)[0].ContentSequence[0].TextValue.endswith(" - preliminary - DEMO")


@pytest.mark.parametrize("reason", Reason)
def test_the_reason_is_read_without_opening_the_report(reason):
    """Series Description and Tracking Identifier of a refused case begin with the reason, within DICOM's limit."""
    dataset = _sr(sample_report("not-evaluable", reason=reason))
    said = f"Not evaluable: {reason.value} - prognosis, research only - DEMO"
    assert dataset.SeriesDescription == said
    assert len(said) <= 64
    assert _groups(dataset)[0].ContentSequence[0].TextValue == f"NOT EVALUABLE: {reason.value} - DEMO"


def test_the_document_is_marked_research_and_unverified():
    """ContentQualification is RESEARCH, nobody verified it, and only a preliminary report is PRELIMINARY."""
    for status, flag in (("final", "FINAL"), ("preliminary", "PRELIMINARY"), ("not-evaluable", "FINAL")):
        dataset = _sr(sample_report(status))
        assert dataset.ContentQualification == "RESEARCH"
        assert (dataset.CompletionFlag, dataset.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
        assert dataset.PreliminaryFlag == flag
        assert set(sample_report().notices) <= set(_comments(dataset))


def test_a_preliminary_report_names_what_is_missing():
    """A preliminary report says in words which covariates it lacks, and has no number for them."""
    dataset = _sr(sample_report("preliminary"))
    assert "Preliminary: Ki-67, M stage missing; imaging signatures only." in _comments(dataset)
    names = [item.ConceptNameCodeSequence[0].CodeValue for item in _groups(dataset)[0].ContentSequence]
    assert codes.KI67.value not in names
    assert codes.M_STAGE.value not in names


@pytest.mark.parametrize("reason", Reason)
def test_a_refused_case_has_a_coded_reason_on_an_image(reason):
    """Each reason is coded within DICOM's limits, about the whole anchor image and no finding, with the candidates."""
    dataset = _sr(sample_report("not-evaluable", reason=reason))
    (group,) = _groups(dataset)
    items = {item.ConceptNameCodeSequence[0].CodeValue: item for item in group.ContentSequence}
    coded = items["NOTEVAL"].ConceptCodeSequence[0]
    assert coded.CodeValue == reason.value
    assert len(coded.CodeValue) <= 16
    assert 0 < len(coded.CodeMeaning) <= 64
    region = items[codes.IMAGE_REGION.value]
    border = np.reshape(region.GraphicData, (-1, 2))
    assert region.GraphicType == "POLYLINE"
    np.testing.assert_array_equal(border[0], border[-1])
    assert (border.min(axis=0).tolist(), border.max(axis=0).tolist()) == ([0, 0], [512, 512])
    assert not {codes.FINDING.value, codes.FINDING_SITE.value} & items.keys()
    assert "Candidate: Tumour old (2)" in _comments(dataset)


def test_a_successor_names_its_predecessor_in_its_own_class():
    """Predecessor Documents points at the superseded SR of the same class, in its series."""
    before = report_uid(sample_report("preliminary"))
    for file, sop_class in zip(
        sr_variants(sample_report(predecessor_uid=before), sample_sources()), SR_CLASSES, strict=True
    ):
        (study,) = _read(file).PredecessorDocumentsSequence
        (series,) = study.ReferencedSeriesSequence
        (document,) = series.ReferencedSOPSequence
        assert series.SeriesInstanceUID == series_uid("sr", before)
        assert document.ReferencedSOPClassUID == sop_class
        assert document.ReferencedSOPInstanceUID == in_class(before, sop_class)
    assert "PredecessorDocumentsSequence" not in _sr()


def _referenced(dataset) -> set[str]:
    found = set()
    for item in dataset.get("ContentSequence", []):
        found |= {ref.ReferencedSOPInstanceUID for ref in item.get("ReferencedSOPSequence", [])}
        found |= _referenced(item)
    return found


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("kind", ["RTSTRUCT", "SEG", "NIFTI"])
def test_the_evidence_lists_every_object_that_the_tree_names(status, kind):
    """Whatever the tree refers to is in Current Requested Procedure Evidence, the ROI objects included."""
    report = sample_report(status, kind)
    dataset = _sr(report)
    listed = {
        ref.ReferencedSOPInstanceUID
        for study in dataset.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for ref in series.ReferencedSOPSequence
    }
    assert _referenced(dataset) <= listed
    objects = {finding.roi.sop_instance_uid for finding in report.findings}
    assert (objects <= listed) == (kind != "NIFTI" or status == "not-evaluable")


def test_the_frame_is_named_for_multi_frame_images_only():
    """The outline on an enhanced CT names its frame; on a single-frame CT there is no frame number."""
    for enhanced, frame in ((True, 3), (False, None)):
        sources = enhanced_sources() if enhanced else sample_sources()
        group = _groups(_sr(sample_report(enhanced=enhanced), sources))[0]
        (region,) = [item for item in group.ContentSequence if item.ValueType == "SCOORD"]
        assert region.ContentSequence[0].ReferencedSOPSequence[0].get("ReferencedFrameNumber") == frame


def test_a_name_outside_ascii_survives():
    """A Chinese name arrives as it was; an ASCII-only report names no character set."""
    dataset = _sr(sources=unicode_sources())
    assert dataset.SpecificCharacterSet == "ISO_IR 192"
    assert dataset.PatientName.ideographic == "王^小东"
    assert "SpecificCharacterSet" not in _sr()


@pytest.mark.parametrize(
    ("declared", "name", "written"),
    [
        ("ISO_IR 100", "Müller^Jörg", "ISO_IR 100"),
        ("ISO_IR 144", "Люкceмбypг", "ISO_IR 144"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎", "ISO_IR 192"),
    ],
)
def test_the_images_own_character_set_is_kept_where_it_serves(declared, name, written):
    """A single-byte set is kept; code extensions become UTF-8; the name is the same either way."""
    sources = sample_sources()
    for header in sources.values():
        header.SpecificCharacterSet = declared
        header.PatientName = name
    dataset = _sr(sources=sources)
    assert dataset.SpecificCharacterSet == written
    assert str(dataset.PatientName) == name


def test_a_roi_remark_outside_the_images_character_set_becomes_utf8():
    """A sentence that the images' character set cannot hold turns the report to UTF-8, the name unharmed."""
    sources = sample_sources()
    for header in sources.values():
        header.SpecificCharacterSet = "ISO_IR 100"
        header.PatientName = "Müller^Jörg"
    dataset = _sr(sample_report(remarks=("腫瘍",)), sources)
    assert dataset.SpecificCharacterSet == "ISO_IR 192"
    assert str(dataset.PatientName) == "Müller^Jörg"
    assert "腫瘍" in _comments(dataset)


def test_messy_headers_become_legal_values():
    """Absent and malformed values become empty or are left out, descriptions are cut, identity is not."""
    sources = messy_sources()
    for header in sources.values():
        header.PatientID = "P" * 70
    dataset = _sr(sources=sources)
    assert (dataset.PatientBirthDate, dataset.PatientSex, dataset.AccessionNumber) == ("", "", "")
    assert "PatientAge" not in dataset
    assert "ReferencedRequestSequence" not in dataset
    assert 60 < len(dataset.StudyDescription) <= 64
    assert dataset.PatientID == "P" * 70


def test_the_largest_of_several_outlines_is_drawn():
    """SCOORD has no holes: of several outlines the largest is the region."""
    report = sample_report()
    venous = report.findings[1]
    outlines = (sample_outline(9.0), sample_outline(28.0), sample_outline(5.0))
    report = dataclasses.replace(
        report, findings=(report.findings[0], dataclasses.replace(venous, outlines_px=outlines))
    )
    (region,) = [item for item in _groups(_sr(report))[0].ContentSequence if item.ValueType == "SCOORD"]
    np.testing.assert_allclose(np.reshape(region.GraphicData, (-1, 2))[:-1], outlines[1], atol=1e-4)


@given(st.integers(3, 1200), st.floats(5, 100))
def test_a_polyline_is_closed_short_and_near_the_outline(vertices, radius):
    """Any outline becomes at most 300 points, the last equal to the first, its area kept within one percent."""
    outline = sample_outline(radius, vertices)
    drawn = closed_polyline(outline)
    np.testing.assert_array_equal(drawn[0], drawn[-1])
    assert 4 <= len(drawn) <= MAX_OUTLINE_POINTS

    def area(points):
        x, y = points.T
        return abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2

    assert area(drawn) == pytest.approx(area(outline), rel=0.01)


def test_points_on_straight_lines_are_dropped_first():
    """A pixel-edge square of many points keeps its four corners, closed once even if it came closed."""
    side = np.arange(0.0, 10.0)
    square = np.vstack(
        [
            np.stack([side, 0 * side], 1),
            np.stack([0 * side + 10, side], 1),
            np.stack([10 - side, 0 * side + 10], 1),
            np.stack([0 * side, 10 - side], 1),
        ]
    )
    for outline in (square, np.vstack([square, square[:1]])):
        assert closed_polyline(outline).tolist() == [[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]


@given(st.floats(-1e300, 1e300))
def test_numbers_fit_a_decimal_string(value):
    """Every finite number is written within 16 characters, with nine significant digits or more."""
    text = decimal_string(value)
    assert len(text) <= 16
    assert float(text) == pytest.approx(value, rel=1e-8, abs=0)


def test_a_number_that_is_none_is_refused():
    """NaN and infinity never reach a report."""
    report = sample_report()
    bad = dataclasses.replace(report.prognosis, total_points=float("nan"))
    with pytest.raises(ValueError, match="nan"):
        build_sr(dataclasses.replace(report, prognosis=bad), sample_sources())


def test_a_missing_header_is_named():
    """A source image without header is an error that counts what is missing, not a half-made report."""
    sources = sample_sources()
    del sources[image_uid("venous", 2)]
    with pytest.raises(ValueError, match="1 images of the report have no header"):
        build_sr(sample_report(), sources)


def test_a_refusal_needs_an_anchor():
    """A refused case without an image to pin it to is an error: the viewer would crash on it."""
    with pytest.raises(ValueError, match="anchor"):
        build_sr(sample_report("not-evaluable", anchor=None), sample_sources())


def test_the_image_library_says_what_images_share_once():
    """Descriptors that all images of a phase share stand at the group, the others at the image."""
    library = _sr().ContentSequence[-2]
    venous, arterial = library.ContentSequence
    images = [item for item in venous.ContentSequence if item.ValueType == "IMAGE"]
    assert [item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in images] == [
        image_uid("venous", i) for i in (1, 2, 3)
    ]
    assert [float(item.ContentSequence[0].MeasuredValueSequence[0].NumericValue) for item in images] == [
        sample_header("venous", i).ImagePositionPatient[2] for i in (1, 2, 3)
    ]
    assert len(arterial.ContentSequence) == len(venous.ContentSequence)


class TestTheComparisonSees:
    """:func:`says_same` is worth something only if it finds what differs."""

    def _differences(self, change) -> list[str]:
        data = json.loads(json.dumps(report_to_json(sample_report())))
        dataset = _sr()
        change(dataset, data)
        return says_same(dataset, data)

    def test_a_changed_number(self):
        """A survival probability that moved by one in a million is found, and named."""

        def change(_, data):
            data["prognosis"]["survival"][0][1] *= 1 + 1e-6

        assert [line.split(":")[0] for line in self._differences(change)] == ["OS36"]

    def test_a_number_too_many(self):
        """A number of the SR that the JSON does not have is found."""

        def change(_, data):
            data["prognosis"]["covariates"]["ki67_percent"] = None

        assert [line.split(":")[0] for line in self._differences(change)] == ["29593-1"]

    def test_an_empty_number(self):
        """A NUM without measured value is found."""

        def change(dataset, _):
            next(
                i for i in _groups(dataset)[0].ContentSequence if i.ValueType == "NUM"
            ).MeasuredValueSequence = []

        assert self._differences(change) != []

    @pytest.mark.parametrize(
        ("field", "value", "what"),
        [
            ("status", "preliminary", "status"),
            ("reason", "roi-none", "reason"),
            ("notices", ["new"], "sentence"),
        ],
    )
    def test_a_changed_statement(self, field, value, what):
        """Status, reason and notices are compared."""

        def change(_, data):
            data[field] = value

        assert what in {line.split(":")[0] for line in self._differences(change)}

    def test_the_other_risk_group(self):
        """The risk group is compared."""

        def change(_, data):
            data["prognosis"]["risk_group"] = "low"

        assert self._differences(change) == ["risk group: the report says 'low', the SR says 'high'"]

    def test_a_lost_group(self):
        """A report with one phase less is found."""

        def change(dataset, _):
            del dataset.ContentSequence[-1].ContentSequence[1]

        assert self._differences(change) == ["measurement groups: the report says 2, the SR says 1"]


class TestTheViewerRulesSee:
    """:func:`viewer_problems` finds each of the defects that crash the viewer."""

    @staticmethod
    def _without(keep) -> list[str]:
        dataset = _sr()
        group = _groups(dataset)[0]
        group.ContentSequence = [item for item in group.ContentSequence if keep(item)]
        return viewer_problems(dataset)

    def test_a_group_without_region(self):
        """A group without SCOORD is a problem."""
        assert self._without(lambda item: item.ValueType != "SCOORD") == [
            "group 1: no SCOORD, which crashes the viewer"
        ]

    def test_a_group_without_tracking(self):
        """Tracking Identifier and Unique Identifier are both needed."""
        assert len(self._without(lambda item: item.ValueType not in {"TEXT", "UIDREF"})) == 2

    def test_a_number_without_child(self):
        """A NUM without child item is a problem."""
        dataset = _sr()
        del next(i for i in _groups(dataset)[1].ContentSequence if i.ValueType == "NUM").ContentSequence
        assert viewer_problems(dataset) == ["group 2: a NUM has no child"]

    def test_equal_tracking_uids(self):
        """Two groups with one Tracking Unique Identifier are a problem."""
        dataset = _sr()
        first, second = _groups(dataset)
        second.ContentSequence[1].UID = first.ContentSequence[1].UID
        assert len(viewer_problems(dataset)) == 1

    def test_no_image_library_and_another_title(self):
        """The title and the Image Library are needed to open the report at all."""
        dataset = _sr()
        dataset.ConceptNameCodeSequence[0].CodeValue = "126001"
        del dataset.ContentSequence[-2]
        assert len(viewer_problems(dataset)) == 2
