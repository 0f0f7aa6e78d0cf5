"""Who trains and who judges: as the table says, or drawn once, whatever the order of the rows."""

from __future__ import annotations

import random

import numpy as np
import pytest

from prognode.errors import BadRequest
from training.cohort import Patient
from training.settings import Settings
from training.split import split, stratified_draw


def patients(hospitals: dict[str, int], deaths: float = 0.5) -> list[Patient]:
    """Patients of several hospitals, of whom a share died."""
    return [
        Patient(0, f"{hospital}{number:03d}", None, hospital, None, 10.0, number < deaths * size, {})
        for hospital, size in hospitals.items()
        for number in range(size)
    ]


def test_the_papers_108_patients_become_76_and_32():
    """7:3 of 108, with the share of deaths in both parts."""
    chosen = np.array(stratified_draw([number < 54 for number in range(108)], Settings(seed=5)))
    assert (chosen.sum(), (~chosen).sum()) == (76, 32)
    assert chosen[:54].sum() == 38


def test_the_largest_hospital_is_drawn_from_and_the_others_are_external():
    """External patients come from another hospital, never from the draw."""
    group = patients({"B": 54, "A": 108})
    found = split(group, Settings())
    assert {c for p, c in zip(group, found.cohorts, strict=True) if p.hospital == "B"} == {"external"}
    own = [c for p, c in zip(group, found.cohorts, strict=True) if p.hospital == "A"]
    assert (own.count("training"), own.count("internal")) == (76, 32)
    assert "seed 1" in found.sentence


def test_the_order_of_the_rows_does_not_matter():
    """The same patients are drawn from a table that was sorted another way."""
    group = patients({"A": 40, "B": 10})
    shuffled = random.Random(3).sample(group, len(group))
    first = {p.patient_id: c for p, c in zip(group, split(group, Settings()).cohorts, strict=True)}
    second = {p.patient_id: c for p, c in zip(shuffled, split(shuffled, Settings()).cohorts, strict=True)}
    assert first == second


def test_another_seed_is_another_draw():
    """The seed is what decides."""
    group = patients({"A": 40})
    assert split(group, Settings(seed=1)).cohorts != split(group, Settings(seed=2)).cohorts


def test_assigned_cohorts_are_kept():
    """A table that assigns cohorts is not overruled."""
    assigned = [
        Patient(2, "a", "training", "", None, 1.0, True, {}),
        Patient(3, "b", "external", "", None, 1.0, True, {}),
    ]
    assert split(assigned, Settings()).cohorts == ("training", "external")


def test_half_assigned_tables_are_refused_by_row():
    """Some with a cohort and some without cannot be meant."""
    mixed = [
        Patient(2, "a", "training", "A", None, 1.0, True, {}),
        Patient(3, "b", None, "A", None, 1.0, True, {}),
    ]
    with pytest.raises(BadRequest, match="row 3"):
        split(mixed, Settings())


def test_a_cohort_without_training_patients_is_refused():
    """Nothing can be trained on validation patients."""
    with pytest.raises(BadRequest, match="training"):
        split([Patient(2, "a", "external", "", None, 1.0, True, {})], Settings())


def test_an_unknown_development_hospital_is_named():
    """A misspelt hospital is a sentence with those that are there."""
    with pytest.raises(BadRequest, match=r"'C'.*A, B"):
        split(patients({"A": 3, "B": 2}), Settings(development_hospital="C"))
