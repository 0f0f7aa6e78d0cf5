"""Covariates at the door: by hand and by file."""

from __future__ import annotations

import pytest

from prognode.adapters.clinical_csv import ClinicalCsv
from prognode.domain.covariates import covariates, parse_clinical
from prognode.errors import BadRequest


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"ki67": "20"}, {"ki67_percent": 20.0}),
        ({"ki67": "20 %", "m_stage": "m1"}, {"ki67_percent": 20.0, "m_stage": "M1"}),
        ({"m_stage": "0", "diameter_mm": 41}, {"m_stage": "M0", "longest_diameter_mm": 41.0}),
        ({"ki67": "", "m_stage": None}, {}),
    ],
)
def test_values_are_normalised(given, kept):
    """Percent signs, case and empty cells do not matter."""
    assert parse_clinical(given) == kept


@pytest.mark.parametrize(
    "given",
    [{"ki67": "high"}, {"ki67": 101}, {"ki67": "nan"}, {"m_stage": "M2"}, {"diameter_mm": "0"}, {"grade": 3}],
)
def test_wrong_values_are_refused_by_name(given):
    """A value that cannot be meant is refused in a sentence that names it."""
    with pytest.raises(BadRequest, match=next(iter(map(str, given.values()))).replace("*", "") + "|grade"):
        parse_clinical(given)


def test_given_diameter_wins_over_the_measured_one():
    """The longest diameter is measured from the contours unless a person gives it, and the origin is kept."""
    assert covariates({}, 44.0).longest_diameter_mm == 44.0
    assert covariates({}, 44.0).longest_diameter_origin == "measured"
    given = covariates({"longest_diameter_mm": 40.0}, 44.0)
    assert (given.longest_diameter_mm, given.longest_diameter_origin) == (40.0, "reported")


def test_csv_is_found_by_accession_before_patient(tmp_path):
    """A row for the examination is more exact than one for the patient."""
    path = tmp_path / "clinical.csv"
    path.write_text("patient_id,accession_number,ki67,m_stage\nP1,,10,M0\n,A1,30,M1\n")
    source = ClinicalCsv(path)
    assert source.lookup("P1", "") == {"ki67_percent": 10.0, "m_stage": "M0"}
    assert source.lookup("P1", "A1") == {"ki67_percent": 30.0, "m_stage": "M1"}
    assert source.lookup("P2", "A2") == {}


def test_csv_is_read_again_when_it_changes(tmp_path):
    """A rewritten file is seen, a file that is not there yet is no error, and a bad row does not void the others."""
    path = tmp_path / "clinical.csv"
    source = ClinicalCsv(path)
    assert source.lookup("P1", "") == {}
    path.write_text("patient_id,ki67\nP0,many\nP1,15\n")
    assert source.changed()
    assert source.lookup("P1", "") == {"ki67_percent": 15.0}
    assert source.lookup("P0", "") == {}
    assert not source.changed()
