"""What a report is made of: tables of text that is ready to print, and figures as SVG.

Text, and not numbers, so that the page, the CSV files and the reader all see the same digits.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class ReportTable:
    """A table of the report."""

    key: str
    """Name of its file, without ending."""
    title: str
    frame: pd.DataFrame
    """Strings only; the columns are the header, the index means nothing."""
    notes: tuple[str, ...] = ()
    """Sentences that stand under the table."""


@dataclass(frozen=True, slots=True)
class ReportFigure:
    """A figure of the report."""

    key: str
    """Name of its file, without ending."""
    title: str
    caption: str
    svg: str
    """A whole SVG document, the same bytes for the same study."""
