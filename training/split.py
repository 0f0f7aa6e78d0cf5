"""Which patients train and which judge (paper, Patients): assigned by the table, or drawn once with a seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prognode.errors import BadRequest
from training.cohort import CohortName, Patient
from training.settings import Settings


@dataclass(frozen=True, slots=True)
class Split:
    """The cohort of each patient, and how it came about."""

    cohorts: tuple[CohortName, ...]
    """In the order of the patients."""
    sentence: str


def split(patients: Sequence[Patient], settings: Settings) -> Split:
    """Cohorts as the table assigns them; else the development hospital's patients 7:3, the other hospitals external.

    The draw keeps the share of deaths, and does not depend on the order of the rows. Raises BadRequest where some rows
    have a cohort and others do not, where the hospital that was named is not there, or where nobody would train.
    """
    assigned = [patient.cohort for patient in patients if patient.cohort]
    if assigned and len(assigned) < len(patients):
        row = next(patient.row for patient in patients if not patient.cohort)
        raise BadRequest(f"row {row} has no cohort, though others have; assign all patients or none")
    if assigned:
        if "training" not in assigned:
            raise BadRequest("no patient is in the training cohort; give some rows the cohort training")
        return Split(tuple(assigned), "as the table assigns them")
    return _drawn(patients, settings)


def _drawn(patients: Sequence[Patient], settings: Settings) -> Split:
    counted = Counter(patient.hospital for patient in patients)
    hospital = settings.development_hospital or min(counted, key=lambda name: (-counted[name], name))
    if hospital not in counted:
        raise BadRequest(
            f"no patient is from hospital '{hospital}'; the table has {', '.join(sorted(counted))}"
        )
    cohorts: dict[str, CohortName] = {patient.patient_id: "external" for patient in patients}
    own = sorted((p for p in patients if p.hospital == hospital), key=lambda patient: patient.patient_id)
    for patient, trains in zip(own, stratified_draw([p.event for p in own], settings), strict=True):
        cohorts[patient.patient_id] = "training" if trains else "internal"
    if "training" not in cohorts.values():
        raise BadRequest(
            f"of the {len(own)} patients of the development hospital nobody would train; "
            f"raise the training fraction above {settings.training_fraction:g}"
        )
    sentence = (
        f"{len(own)} patients of the development hospital were drawn "
        f"{settings.training_fraction:g} to {1 - settings.training_fraction:g} for training and internal validation, "
        f"stratified by death, seed {settings.seed}; the other hospitals are the external cohort"
    )
    return Split(tuple(cohorts[patient.patient_id] for patient in patients), sentence)


def stratified_draw(events: Sequence[bool], settings: Settings) -> list[bool]:
    """Who trains: the fraction of all, and of those who died, as near as whole patients allow."""
    died = np.array(events, np.bool_)
    random = np.random.default_rng(settings.seed)
    wanted = round(settings.training_fraction * len(died))
    of_died = round(settings.training_fraction * int(died.sum()))
    chosen = np.zeros(len(died), np.bool_)
    chosen[random.permutation(np.flatnonzero(died))[:of_died]] = True
    chosen[random.permutation(np.flatnonzero(~died))[: wanted - of_died]] = True
    return chosen.tolist()
