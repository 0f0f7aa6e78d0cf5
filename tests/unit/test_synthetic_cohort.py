"""The synthetic cohort: the paper's marginals, a planted signal, the same bytes for the same seed, and no doubt what it is."""

from __future__ import annotations

import csv
import json
from collections import Counter

import numpy as np
import pytest

from prognode.statistics.concordance import c_index
from prognode.statistics.cox import fit_cox
from prognode.statistics.outcome import outcome
from training.cohort import read_cohort
from training.covariates import COVARIATES, Factor
from training.published import COUNTS, MEANS, PATIENTS, READ_TWICE
from training.synthetic_cohort import SIGNAL, draw_patients, planted_predictor, study_spec
from training.synthetic_cohort_files import NOTE, Plan, write_cohort
from training.synthetic_study import tumour_truth

COHORT = draw_patients(1)
TINY = Plan(seed=1, slices=24, matrix=64)


def of(cohort: str):
    """Patients of one cohort."""
    return [patient for patient in COHORT if patient.cohort == cohort]


@pytest.mark.parametrize("cohort", list(PATIENTS))
def test_counts_of_factors_are_those_of_the_papers_table_1(cohort):
    """Every level of every factor has exactly the printed number of patients."""
    assert len(of(cohort)) == PATIENTS[cohort]
    for factor in COVARIATES:
        if isinstance(factor, Factor):
            counted = Counter(patient.covariates[factor.name] for patient in of(cohort))
            assert tuple(counted[level] for level in factor.levels) == COUNTS[factor.name][cohort]


@pytest.mark.parametrize("cohort", list(PATIENTS))
@pytest.mark.parametrize("name", list(MEANS))
def test_means_and_spreads_are_those_of_the_papers_table_1(cohort, name):
    """To within rounding and the range of the covariate."""
    values = np.array([patient.covariates[name] for patient in of(cohort)])
    mean, spread = MEANS[name][cohort]
    assert values.mean() == pytest.approx(mean, abs=0.15)
    assert values.std(ddof=1) == pytest.approx(spread, abs=0.15)


def test_thirty_training_patients_are_read_twice():
    """As in the paper, and nobody of another cohort."""
    assert sum(patient.read_twice for patient in of("training")) == READ_TWICE
    assert not any(patient.read_twice for patient in of("internal") + of("external"))


def test_grade_goes_with_ki67():
    """G1 under 3 %, G2 up to 20 %, the rest above."""
    for patient in COHORT:
        ki67, grade = patient.covariates["ki67_percent"], patient.covariates["grade"]
        assert {"NETG1": ki67 < 3, "NETG2": 3 <= ki67 <= 20}.get(grade, ki67 > 20)


def test_the_planted_signal_is_in_the_outcome():
    """Over many patients a Cox model of the hidden values and covariates finds the planted coefficients."""
    many = draw_patients(7, {"training": 3000, "internal": 1, "external": 1})[:3000]
    columns = [
        [
            *patient.hidden,
            patient.covariates["ki67_percent"],
            patient.covariates["longest_diameter_mm"],
            patient.covariates["m_stage"] == "M1",
            patient.covariates["age"],
        ]
        for patient in many
    ]
    followed = outcome([p.months for p in many], [p.event for p in many])
    fit = fit_cox(np.array(columns, float), followed)
    planted = np.array(list(SIGNAL.values()))
    assert np.abs(fit.coefficients - planted).max() < 0.12
    assert np.abs((fit.coefficients - planted) / fit.standard_errors).max() < 4
    predictor = [planted_predictor(patient.covariates, patient.hidden) for patient in many]
    assert c_index(predictor, followed) > 0.8


def test_another_seed_is_another_cohort_and_the_same_seed_the_same():
    """Patients follow from the seed alone."""
    assert draw_patients(1) == COHORT
    assert [p.months for p in draw_patients(2)] != [p.months for p in COHORT]


def test_tumours_are_drawn_as_wide_and_as_long_as_they_should_be():
    """In the plane at most 26 mm; along the body as long as the table says."""
    for patient in COHORT[:10]:
        spec = study_spec(patient, 1, 36, 256)
        longest = patient.covariates["longest_diameter_mm"]
        assert 2 * spec.tumour_semi_axes_mm[2] == pytest.approx(longest)
        truth = tumour_truth(spec, "arterial")
        assert truth.longest_diameter_mm == pytest.approx(min(longest, 26.0), abs=1.5)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Three patients on disk."""
    folder = tmp_path_factory.mktemp("cohort")
    patients = draw_patients(1, {"training": 2, "internal": 1, "external": 0}, 1)
    return patients, write_cohort(patients, TINY, folder)


def test_the_table_is_one_that_the_laboratory_takes(written):
    """No fault, every file there, and the hospital says what it is."""
    patients, table = written
    read = read_cohort(table).patients
    assert [one.patient_id for one in read] == [one.patient_id for one in patients]
    assert [one.months for one in read] == [one.months for one in patients]
    assert [dict(one.covariates) for one in read] == [dict(one.covariates) for one in patients]
    assert all(one.hospital.startswith("SYNTHETIC") for one in read)
    assert [bool(one.images.second) for one in read] == [one.read_twice for one in patients]


def test_the_truth_beside_it_says_that_it_is_made_up(written):
    """What was planted, and that nothing of it holds for anybody."""
    patients, table = written
    truth = json.loads((table.parent / "truth.json").read_text())
    assert truth["note"] == NOTE
    assert truth["log_hazard_ratio_per_unit"] == SIGNAL
    assert truth["hidden"][patients[0].patient_id] == pytest.approx(patients[0].hidden, abs=1e-4)


def test_the_same_cohort_is_the_same_bytes(written, tmp_path):
    """Images, contours and label images do not depend on the clock or the folder."""
    patients, table = written
    again = write_cohort(patients, TINY, tmp_path)
    names = [path.relative_to(table.parent) for path in sorted(table.parent.rglob("*")) if path.is_file()]
    assert len(names) > 100
    for name in names:
        assert (again.parent / name).read_bytes() == (table.parent / name).read_bytes(), name


def test_the_table_has_no_column_that_tells_the_hidden_values(written):
    """What was planted is in the images and the outcome only."""
    _, table = written
    with table.open(encoding="utf-8") as file:
        header = next(csv.reader(file))
    assert not any("hidden" in name for name in header)
