"""Covariates from a CSV file that the hospital's own system writes and rewrites.

Columns: ``patient_id`` or ``accession_number`` (or both), ``ki67``, ``m_stage``, ``diameter_mm``. The file is read
again when it changes. A row that cannot be read is left out and counted; the others hold.
"""

from __future__ import annotations

import csv
import threading
from pathlib import Path

import structlog

from prognode.domain.covariates import parse_clinical
from prognode.errors import BadRequest
from prognode.ports import JSON

log = structlog.get_logger()

COVARIATE_COLUMNS = ("ki67", "m_stage", "diameter_mm")


class ClinicalCsv:
    """A :class:`~prognode.ports.ClinicalSource` over one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._rows: dict[tuple[str, str], JSON] = {}
        self._lock = threading.Lock()

    def changed(self) -> bool:
        """Whether the file differs from what was last read."""
        return self._path_stamp() != self._stamp

    def lookup(self, patient_id: str, accession_number: str) -> JSON:
        """The row of the accession number, or else of the patient."""
        with self._lock:
            if self.changed():
                self._read()
            by_accession = self._rows.get(("accession_number", accession_number.strip()))
            by_patient = self._rows.get(("patient_id", patient_id.strip()))
            return dict(by_accession or by_patient or {})

    def _path_stamp(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        return (status.st_mtime_ns, status.st_size)

    def _read(self) -> None:
        self._stamp = self._path_stamp()
        self._rows = {}
        if self._stamp is None:
            return
        with self._path.open(newline="", encoding="utf-8-sig") as file:
            for number, row in enumerate(csv.DictReader(file), start=2):
                self._take(number, {(key or "").strip().lower(): value or "" for key, value in row.items()})

    def _take(self, number: int, row: dict[str, str]) -> None:
        try:
            values = parse_clinical({name: row.get(name) for name in COVARIATE_COLUMNS})
        except BadRequest as fault:
            log.warning("clinical-row-left-out", line=number, why=str(fault))
            return
        for key in ("accession_number", "patient_id"):
            name = row.get(key, "").strip()
            if name and values:
                self._rows[(key, name)] = values
