"""Six intraclass correlations against R's psych::ICC; the R call stands in the figures."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from prognode.statistics.icc import FORMS, icc_values, intraclass_correlation, reproducible

FIGURES = json.loads((Path(__file__).parent / "r" / "icc.json").read_text())
EXACT = {"rtol": 1e-11, "atol": 1e-13}


@pytest.fixture(scope="module")
def two_readers(reference_dir):
    """(30, 2, 2048) readings with the features' names."""
    with (reference_dir / "stats" / "data" / "icc_two_readers.csv").open(newline="") as lines:
        header, *rows = csv.reader(lines)
    reader = np.array([int(row[1]) for row in rows])
    values = np.array([row[2:] for row in rows], dtype=np.float64)
    return header[2:], np.stack([values[reader == 1], values[reader == 2]], axis=1)


@pytest.mark.parametrize("case", sorted(FIGURES["cases"]))
def test_values_tests_and_limits_are_those_of_r(case):
    """All features of a case at once: value, F, its degrees of freedom, p and 95 % limits of all six forms."""
    figures = list(FIGURES["cases"][case].values())
    found = intraclass_correlation(np.stack([figure["readings"] for figure in figures], axis=-1))
    assert tuple(FIGURES["types"]) == FORMS
    for place, form in enumerate(FORMS):
        mine = found[form]
        for name, of_r in (("value", "value"), ("f", "F"), ("p", "p"), ("low", "lo"), ("high", "hi")):
            expected = [figure[of_r][place] for figure in figures]
            np.testing.assert_allclose(getattr(mine, name), expected, **EXACT, err_msg=f"{form} {name}")
        assert [(mine.df1, mine.df2)] * len(figures) == [
            (figure["df1"][place], figure["df2"][place]) for figure in figures
        ]


@pytest.mark.reference
@pytest.mark.parametrize("form", ["ICC1", "ICC2", "ICC3"])
def test_all_features_of_two_readers(reference_dir, two_readers, form):
    """2048 features, constant ones NaN, and how many exceed 0.8."""
    _, readings = two_readers
    r = json.loads((reference_dir / "stats" / "ref" / "10_icc.json").read_text())
    np.testing.assert_allclose(
        icc_values(readings, form), np.array(r[form], dtype=np.float64), rtol=0, atol=1e-13
    )
    assert reproducible(readings, form).sum() == r["count_gt_0.8"][form]


@pytest.mark.reference
def test_reproducible_features_are_those_of_r(reference_dir, two_readers):
    """The very names that the threshold keeps."""
    names, readings = two_readers
    r = json.loads((reference_dir / "stats" / "ref" / "10_icc.json").read_text())
    assert np.array(names)[reproducible(readings)].tolist() == r["kept_ICC2"]
