"""Cohort table and features joined: who takes part, what is measured, and what the report must say about it."""

from __future__ import annotations

import numpy as np
import pytest

from training.cohort import Patient
from training.extraction import Extracted, Readings
from training.inputs import from_readings, from_tables, tables_of

FEATURES = np.random.default_rng(1).standard_normal((4, 2, 2048)).astype(np.float32)
TINY = Extracted(None, reason="tumour-small: the tumour is 2 mm wide")


def patient(name: str, **covariates: float | str) -> Patient:
    """One row of a table."""
    return Patient(2, name, "training", "", None, 12.0, True, covariates)


def reading(number: int, *remarks: str) -> Extracted:
    """What extraction gave."""
    return Extracted(FEATURES[number], 40.0 + number, remarks)


PATIENTS = [patient("A", ki67_percent=20.0), patient("B", longest_diameter_mm=77.0), patient("C")]
COHORTS = ("training", "internal", "training")


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ({"A": reading(0), "B": reading(1), "C": TINY}, {}, "the longest diameter of 1 patient was measured"),
        ({"A": reading(0), "B": reading(1), "C": reading(2)}, {}, "the longest diameter of 2 patients was"),
        ({"A": reading(0, "seen"), "B": reading(1), "C": reading(2)}, {}, "seen (1 patient)"),
        ({"A": reading(0, "seen"), "B": reading(1, "seen"), "C": reading(2)}, {}, "seen (2 patients)"),
        ({"A": reading(0), "B": reading(1), "C": reading(2)}, {"A": TINY}, "1 second reading could not be"),
        (
            {"A": reading(0), "B": reading(1), "C": reading(2)},
            {"A": TINY, "B": TINY},
            "2 second readings could not be evaluated; first: tumour-small",
        ),
    ],
)
def test_what_was_noticed_is_counted(first, second, said):
    """Each sentence once, with how many patients or readings it is about."""
    remarks = from_readings(PATIENTS, COHORTS, Readings(first, second)).remarks
    assert sum(said in remark for remark in remarks) == 1, remarks


def test_who_has_no_features_is_left_out_with_the_reason():
    """The others stay in their cohorts; a diameter that the table gives is kept, another is measured."""
    found = from_readings(PATIENTS, COHORTS, Readings({"A": TINY, "B": reading(1), "C": reading(2)}, {}))
    assert [(one.patient_id, one.reason) for one in found.left_out] == [("A", TINY.reason)]
    assert found.sample.ids == ("B", "C")
    assert found.cohorts == ("internal", "training")
    assert found.sample.covariates["longest_diameter_mm"].tolist() == [77.0, 42.0]


def test_features_are_joined_by_name_and_reading():
    """float64 of the very float32 values; who was not read twice has no second reading."""
    first = {"C": reading(2), "B": reading(1), "A": reading(0)}
    sample = from_readings(PATIENTS, COHORTS, Readings(first, {"B": reading(3)})).sample
    for place, phase in enumerate(("arterial", "venous")):
        assert sample.features[phase].dtype == sample.second[phase].dtype == np.float64
        assert (sample.features[phase] == FEATURES[:3, place]).all()
        assert (sample.second[phase][1] == FEATURES[3, place]).all()
        assert np.isnan(sample.second[phase][[0, 2]]).all()


def test_tables_of_readings_give_the_same_sample():
    """What a run keeps as tables is what it went on with: float32, by phase, reading and patient."""
    readings = Readings({"A": TINY, "B": reading(1), "C": reading(2)}, {"B": reading(3), "C": TINY})
    tables = tables_of(readings)
    assert {number: set(found) for number, found in tables["venous"].items()} == {1: {"B", "C"}, 2: {"B"}}
    assert tables["venous"][2]["B"].dtype == np.float32
    extracted = from_readings(PATIENTS, COHORTS, readings).sample
    given = from_tables(PATIENTS[1:], COHORTS[1:], tables).sample
    for phase in ("arterial", "venous"):
        np.testing.assert_array_equal(extracted.features[phase], given.features[phase], strict=True)
        np.testing.assert_array_equal(extracted.second[phase], given.second[phase], strict=True)


def test_a_first_reading_is_never_made_up():
    """Only a second reading may be missing."""
    tables = tables_of(Readings({"A": reading(0)}, {"B": reading(1)}))
    with pytest.raises(KeyError):
        from_tables(PATIENTS[:2], COHORTS[:2], tables)


def test_nobody_is_a_sample_too():
    """No patient has features: empty arrays of the usual width, everybody left out."""
    found = from_readings(PATIENTS, COHORTS, Readings(dict.fromkeys("ABC", TINY), {}))
    assert len(found.left_out) == 3
    assert found.sample.features["venous"].shape == found.sample.second["venous"].shape == (0, 2048)
