"""What the node relies on in every source of covariates; an adapter joins by a writer of its own form."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from prognode.adapters.clinical_csv import ClinicalCsv
from prognode.ports import ClinicalSource

Row = Mapping[str, object]
COLUMNS = ("patient_id", "accession_number", "ki67", "m_stage", "diameter_mm")


class CsvHospital:
    """A hospital that writes a CSV file."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "covariates.csv"
        self._written = 0

    def source(self) -> ClinicalSource:
        """The adapter that reads it."""
        return ClinicalCsv(self._path)

    def write(self, rows: Sequence[Row]) -> None:
        """Replace what it exports."""
        lines = [",".join(COLUMNS), *(",".join(str(row.get(name, "")) for name in COLUMNS) for row in rows)]
        self._path.write_text("\n".join(lines) + "\n")
        # two writes within one tick of the file system's clock would look alike
        self._written += 1
        os.utime(self._path, ns=(0, self._written * 1_000_000_000))


HOSPITALS: dict[str, Callable[[Path], CsvHospital]] = {"csv": CsvHospital}


@pytest.fixture(params=HOSPITALS)
def hospital(request, tmp_path):
    """Each kind of source, empty."""
    return HOSPITALS[request.param](tmp_path)


def test_source_that_was_never_written_knows_nobody(hospital):
    """An export that has not come yet is no error."""
    source = hospital.source()
    assert source.lookup("SYNTHETIC-1", "ACC-1") == {}


def test_patient_is_found_by_either_number(hospital):
    """A row is found by patient id and by accession number, under the names that the index keeps."""
    hospital.write([{"patient_id": "SYNTHETIC-1", "accession_number": "ACC-1", "ki67": 20, "m_stage": "M1"}])
    source = hospital.source()
    assert source.lookup("SYNTHETIC-1", "") == {"ki67_percent": 20.0, "m_stage": "M1"}
    assert source.lookup("", "ACC-1") == source.lookup("SYNTHETIC-1", "")


def test_accession_number_goes_before_the_patient(hospital):
    """Of two examinations of one patient, the one that was asked for speaks."""
    hospital.write(
        [
            {"patient_id": "SYNTHETIC-1", "accession_number": "ACC-1", "ki67": 5},
            {"patient_id": "SYNTHETIC-1", "accession_number": "ACC-2", "ki67": 30},
        ]
    )
    assert hospital.source().lookup("SYNTHETIC-1", "ACC-1") == {"ki67_percent": 5.0}


def test_patient_who_is_not_listed_has_no_covariates(hospital):
    """No row, no values; an absent number matches no row without one."""
    hospital.write([{"patient_id": "SYNTHETIC-1", "ki67": 20}])
    source = hospital.source()
    assert source.lookup("SYNTHETIC-2", "") == {}
    assert source.lookup("", "") == {}


def test_change_is_told_until_it_is_looked_up(hospital):
    """The node asks again only when there is something new, and then sees it."""
    hospital.write([{"patient_id": "SYNTHETIC-1", "ki67": 20}])
    source = hospital.source()
    source.lookup("SYNTHETIC-1", "")
    assert not source.changed()
    hospital.write([{"patient_id": "SYNTHETIC-1", "ki67": 25}])
    assert source.changed()
    assert source.lookup("SYNTHETIC-1", "") == {"ki67_percent": 25.0}
    assert not source.changed()


def test_one_bad_row_does_not_take_the_others(hospital):
    """A value that cannot be read leaves out its own row."""
    hospital.write([{"patient_id": "SYNTHETIC-1", "ki67": "many"}, {"patient_id": "SYNTHETIC-2", "ki67": 3}])
    source = hospital.source()
    assert source.lookup("SYNTHETIC-1", "") == {}
    assert source.lookup("SYNTHETIC-2", "") == {"ki67_percent": 3.0}
