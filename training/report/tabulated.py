"""Rows of text made into a table of the report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from training.report.items import ReportTable
from training.report.labels import SYNTHETIC_NOTE
from training.study import Study

Row = Sequence[str]


def tabulated(
    study: Study, key: str, title: str, columns: Sequence[str], rows: Iterable[Row], notes: Iterable[str] = ()
) -> ReportTable:
    """A table of rows that have one text per column; each note stands once, that of synthetic data last."""
    frame = pd.DataFrame([list(row) for row in rows], columns=list(columns), dtype=object)
    said = [note for note in notes if note]
    if study.provenance.synthetic:
        said.append(SYNTHETIC_NOTE)
    return ReportTable(key, title, frame, tuple(dict.fromkeys(said)))


def filled(row: Row, columns: int) -> list[str]:
    """A row that says less than others: empty cells to its right."""
    return [*row, *[""] * (columns - len(row))]
