"""Data sets and figures that R computed with; every golden file names the R call that made it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

FOLDER = Path(__file__).parent / "golden" / "r"


def figures(name: str) -> dict[str, Any]:
    """What R printed, as ``tests/golden/r/NAME.json`` holds it."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return found


def table(name: str) -> pd.DataFrame:
    """A data set of ``tests/golden/r/data``."""
    return pd.read_csv(FOLDER / "data" / f"{name}.csv")
