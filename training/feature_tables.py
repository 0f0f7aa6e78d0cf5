"""Features that were computed elsewhere, or kept from an earlier run: one CSV a phase, one row a reading."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from prognode.domain.signature import FEATURE_COUNT
from prognode.errors import BadRequest
from prognode.statistics.outcome import Floats
from training.cohort import CohortFaults, Fault

ID_COLUMNS = ("patient_id", "id")
READING = "reading"
NUMBERED = re.compile(r"f?(\d{1,4})")

Table = Mapping[int, Mapping[str, Floats]]
"""(2048,) features by reading (1, 2) and patient_id."""


def read_features(path: Path, patients: Sequence[str]) -> Table:
    """Features of every patient: (2048,) each, first reading and, where the table has a column ``reading``, the second.

    The columns ``f0000`` to ``f2047`` stand for the network's outputs in order; any other 2048 columns are taken in the
    order they stand in. Values are rounded to float32, which is what the network gives and the node scores with.
    Raises CohortFaults that names every row and column at fault, BadRequest when it is no table.
    """
    frame = _frame(path)
    features = _feature_columns(path, frame)
    faults = list(_faults(frame, features, patients))
    if faults:
        raise CohortFaults(path, faults)
    values = frame[features].to_numpy(np.float32).astype(np.float64)
    found: dict[int, dict[str, Floats]] = {1: {}, 2: {}}
    for row, (patient, reading) in enumerate(zip(frame[_id(frame)], _readings(frame), strict=True)):
        found[reading][patient] = values[row]
    return found


def _frame(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_csv(
            path, dtype=dict.fromkeys(ID_COLUMNS, str), encoding="utf-8-sig", float_precision="round_trip"
        )
    except OSError as fault:
        raise BadRequest(f"{path}: cannot be read ({fault.strerror}); give a CSV file of features") from None
    except (ValueError, pd.errors.ParserError) as fault:
        raise BadRequest(f"{path}: not a table of features ({' '.join(str(fault).split())})") from None
    frame.columns = [str(name).strip() for name in frame.columns]
    if _id(frame) not in frame:
        raise BadRequest(f"{path}: the column patient_id is missing")
    frame[_id(frame)] = frame[_id(frame)].fillna("").str.strip()
    return frame


def _id(frame: pd.DataFrame) -> str:
    return next((name for name in ID_COLUMNS if name in frame), ID_COLUMNS[0])


def _feature_columns(path: Path, frame: pd.DataFrame) -> list[str]:
    """2048 column names in the order of the network's outputs."""
    names = [name for name in frame.columns if name not in (*ID_COLUMNS, READING)]
    if len(names) != FEATURE_COUNT:
        raise BadRequest(
            f"{path}: {len(names)} feature columns beside patient_id and reading; there must be {FEATURE_COUNT}, "
            "f0000 to f2047"
        )
    numbers = [int(match.group(1)) for name in names if (match := NUMBERED.fullmatch(name))]
    if sorted(numbers) == list(range(FEATURE_COUNT)):
        return [name for _, name in sorted(zip(numbers, names, strict=True))]
    return names


def _readings(frame: pd.DataFrame) -> list[int]:
    return [1] * len(frame) if READING not in frame else [int(value) for value in frame[READING]]


def _faults(frame: pd.DataFrame, features: Sequence[str], patients: Sequence[str]) -> Iterator[Fault]:
    """Line numbers count the header as 1."""
    identity = _id(frame)
    seen: set[tuple[str, str]] = set()
    for line, patient in enumerate(frame[identity], 2):
        reading = str(frame[READING].iloc[line - 2]).removesuffix(".0") if READING in frame else "1"
        if reading not in {"1", "2"}:
            yield Fault(line, READING, f"'{reading}' is no reading; give 1 or 2")
        if (patient, reading) in seen:
            yield Fault(line, identity, f"'{patient}' is there twice")
        seen.add((patient, reading))
    for patient in patients:
        if (patient, "1") not in seen:
            yield Fault(0, identity, f"there is no first reading of patient '{patient}' of the cohort table")
    yield from _not_finite(frame, features)


def _not_finite(frame: pd.DataFrame, features: Sequence[str]) -> Iterator[Fault]:
    numbers = frame[list(features)].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    rows, columns = np.nonzero(~np.isfinite(numbers))
    for row, column in list(zip(rows.tolist(), columns.tolist(), strict=True))[:50]:
        value = frame[features[column]].iloc[row]
        yield Fault(row + 2, features[column], f"'{value}' is not a finite number")


def write_features(path: Path, table: Table) -> None:
    """The table as :func:`read_features` reads it; float32 values survive exactly."""
    columns = [f"f{number:04d}" for number in range(FEATURE_COUNT)]
    rows = [
        [patient, reading, *(f"{value:.9g}" for value in values)]
        for reading, by_patient in sorted(table.items())
        for patient, values in by_patient.items()
    ]
    frame = pd.DataFrame(rows, columns=["patient_id", READING, *columns])
    frame.to_csv(path, index=False, lineterminator="\n")
