"""Brier scores against R's pec and riskRegression; the R calls stand in the figures."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from prognode.statistics.brier import brier_curve, integrated_brier_score
from prognode.statistics.outcome import Outcome, outcome

HERE = Path(__file__).parent / "r"
FIGURES = json.loads((HERE / "brier.json").read_text())["cases"]
EXACT = {"rtol": 1e-11, "atol": 1e-14}


def outcome_of(case: dict) -> Outcome:
    if "data" not in case:
        return outcome(case["times_of"], case["events_of"])
    with (HERE / "data" / f"{case['data']}.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    return outcome([float(row[case["time"]]) for row in rows], [int(row[case["event"]]) for row in rows])


@pytest.mark.parametrize("name", sorted(FIGURES))
def test_scores_are_those_of_r(name):
    """Model and Kaplan-Meier curve at every time: ties of deaths and censorings, time 0, the last time, nobody lost."""
    case = FIGURES[name]
    mine = brier_curve(case["survival"], outcome_of(case), case["times"])
    np.testing.assert_allclose(mine.score, case["score"], **EXACT)
    np.testing.assert_allclose(mine.null, case["null"], **EXACT)


@pytest.mark.parametrize("name", [name for name in sorted(FIGURES) if "crps" in FIGURES[name]])
def test_integrated_scores_are_those_of_r(name):
    """To ends on the grid and between its times."""
    case = FIGURES[name]
    mine = brier_curve(case["survival"], outcome_of(case), case["times"])
    ends = zip(*(np.atleast_1d(case[key]) for key in ("ends", "crps", "crps_null")), strict=True)
    for end, score, null in ends:
        integrated = integrated_brier_score(mine, float(end))
        np.testing.assert_allclose([integrated.score, integrated.null], [score, null], **EXACT)


def test_scaled_scores_are_r_s_index_of_prediction_accuracy():
    """The IPA of riskRegression."""
    case = FIGURES["score_tied"]
    mine = brier_curve(case["survival"], outcome_of(case), case["times"])
    np.testing.assert_allclose(mine.scaled, case["ipa"], rtol=0, atol=1e-13)
