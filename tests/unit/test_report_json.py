"""The report as JSON: complete, deterministic, and back again."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from sr_samples import sample_report, sample_sources

from prognode.domain.identity import figure_uid, report_uid
from prognode.domain.report_json import report_from_json, report_to_json

STATUSES = ("final", "preliminary", "not-evaluable")


def _text(report) -> str:
    return json.dumps(report_to_json(report), allow_nan=False)


@pytest.mark.parametrize("status", STATUSES)
def test_a_report_survives_the_way_through_json(status):
    """Written, read and written again, the text is the same, and so are value, UID and array types."""
    report = sample_report(status, predecessor_uid="2.25.7")
    back = report_from_json(json.loads(_text(report)))
    assert _text(back) == _text(report)
    assert report_uid(back) == report_uid(report)
    assert all(
        isinstance(outline, np.ndarray) for finding in back.findings for outline in finding.outlines_px
    )
    assert dataclasses.replace(back, findings=()) == dataclasses.replace(report, findings=())


def test_every_field_of_every_part_is_there():
    """No field of a report, finding or prognosis is left out of the JSON."""
    report = sample_report()
    data = report_to_json(report)

    def names(value):
        return {field.name for field in dataclasses.fields(value)}

    assert names(report) <= data.keys()
    assert names(report.prognosis) == data["prognosis"].keys()
    assert names(report.findings[0]) == data["findings"][0].keys()
    assert names(report.findings[0].plane) == data["findings"][0]["plane"].keys()


def test_the_uids_of_sr_and_figure_are_named():
    """A reader of report.json finds the SR and the figure in the PACS by their UIDs; no prognosis, no figure."""
    data = report_to_json(sample_report())
    assert data["sop_instance_uid"] == report_uid(sample_report())
    assert data["figure_sop_instance_uid"] == figure_uid(sample_report())
    assert report_to_json(sample_report("not-evaluable"))["figure_sop_instance_uid"] is None


def test_no_patient_data_can_be_in_it():
    """The JSON speaks of the case by its digest: name, identifier, birth date and accession number are not there."""
    header = next(iter(sample_sources().values()))
    text = _text(sample_report())
    for value in (header.PatientName, header.PatientID, header.PatientBirthDate, header.AccessionNumber):
        assert str(value) not in text


def test_an_unknown_field_is_refused():
    """JSON of another version is refused by name rather than half read."""
    data = report_to_json(sample_report()) | {"mood": "good"}
    with pytest.raises(TypeError, match="mood"):
        report_from_json(data)


def test_a_missing_part_is_refused():
    """A finding without its plane is refused by name."""
    data = report_to_json(sample_report())
    del data["findings"][0]["plane"]
    with pytest.raises(TypeError, match="plane"):
        report_from_json(data)
