"""Cohort table and features joined: the sample that is analysed, and who could not be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from prognode.domain.prognosis import Phase
from prognode.domain.signature import FEATURE_COUNT
from prognode.statistics.outcome import Floats, outcome
from training.cohort import PHASES, CohortName, Patient
from training.covariates import LONGEST_DIAMETER
from training.extraction import Readings
from training.feature_tables import Table
from training.sample import Sample, covariate_frame
from training.study import LeftOut


@dataclass(frozen=True)
class Inputs:
    """What a study starts from."""

    sample: Sample
    cohorts: tuple[CohortName, ...]
    """Of each patient of the sample."""
    left_out: tuple[LeftOut, ...]
    remarks: tuple[str, ...]


def from_tables(
    patients: Sequence[Patient], cohorts: Sequence[CohortName], tables: Mapping[Phase, Table]
) -> Inputs:
    """Join ready-made features, which are there for every patient."""
    sample = _sample(patients, tables, [patient.covariates for patient in patients])
    return Inputs(sample, tuple(cohorts), (), ())


def from_readings(patients: Sequence[Patient], cohorts: Sequence[CohortName], readings: Readings) -> Inputs:
    """Join extracted features; a patient without features is left out with the reason.

    Where the table does not give the longest diameter, it is measured on the contours, as the node does.
    """
    left_out = [
        LeftOut(patient.row, patient.patient_id, cohort, readings.first[patient.patient_id].reason)
        for patient, cohort in zip(patients, cohorts, strict=True)
        if readings.first[patient.patient_id].features is None
    ]
    gone = {one.patient_id for one in left_out}
    kept = [(p, cohort) for p, cohort in zip(patients, cohorts, strict=True) if p.patient_id not in gone]
    evaluable = [patient for patient, _ in kept]
    covariates, measured = _with_diameters(evaluable, readings)
    remarks = [*_diameter_remark(measured), *_lost_readings(readings), *_reading_remarks(readings)]
    sample = _sample(evaluable, tables_of(readings), covariates)
    return Inputs(sample, tuple(cohort for _, cohort in kept), tuple(left_out), tuple(remarks))


def tables_of(readings: Readings) -> dict[Phase, Table]:
    """Extracted features as :func:`from_tables` takes them; a reading without features is not there."""
    numbered = {1: readings.first, 2: readings.second}
    return {
        phase: {
            number: {name: one.features[place] for name, one in found.items() if one.features is not None}
            for number, found in numbered.items()
        }
        for place, phase in enumerate(PHASES)
    }


def _sample(
    patients: Sequence[Patient],
    tables: Mapping[Phase, Table],
    covariates: Sequence[Mapping[str, float | str]],
) -> Sample:
    ids = tuple(patient.patient_id for patient in patients)
    unread = np.full(FEATURE_COUNT, np.nan)
    return Sample(
        ids=ids,
        outcome=outcome([patient.months for patient in patients], [patient.event for patient in patients]),
        features={phase: _stacked([tables[phase][1][name] for name in ids]) for phase in PHASES},
        covariates=covariate_frame(covariates),
        second={phase: _stacked([tables[phase][2].get(name, unread) for name in ids]) for phase in PHASES},
    )


def _stacked(rows: Sequence[Floats]) -> Floats:
    """(n, 2048), n possibly 0, in the precision that models are fitted in."""
    return np.array(rows, np.float64).reshape(len(rows), FEATURE_COUNT)


def _with_diameters(
    patients: Sequence[Patient], readings: Readings
) -> tuple[list[Mapping[str, float | str]], int]:
    covariates: list[Mapping[str, float | str]] = []
    measured = 0
    for patient in patients:
        found = readings.first[patient.patient_id].longest_diameter_mm
        if LONGEST_DIAMETER.name in patient.covariates or found is None:
            covariates.append(patient.covariates)
            continue
        measured += 1
        covariates.append({**patient.covariates, LONGEST_DIAMETER.name: round(found, 2)})
    return covariates, measured


def counted(number: int, noun: str) -> str:
    """``1 patient``, ``2 patients``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _diameter_remark(measured: int) -> list[str]:
    whose = counted(measured, "patient")
    return [f"the longest diameter of {whose} was measured on the contours"] if measured else []


def _lost_readings(readings: Readings) -> list[str]:
    lost = [one.reason for one in readings.second.values() if one.features is None]
    many = counted(len(lost), "second reading")
    return [f"{many} could not be evaluated; first: {lost[0]}"] if lost else []


def _reading_remarks(readings: Readings) -> list[str]:
    """What was noticed about contours and images, each sentence once, with how often."""
    found = Counter(remark for one in readings.first.values() for remark in one.remarks)
    return [f"{remark} ({counted(count, 'patient')})" for remark, count in found.items()]
