"""Net benefit against R: survfit within the flagged patients, and the rules where that is not defined."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from prognode.statistics.decision_curve import decision_curve, net_benefit, net_benefit_of_all
from prognode.statistics.outcome import Outcome, outcome

R = Path(__file__).parent / "r"
FIGURES = json.loads((R / "decision_curve.json").read_text())
EXACT = {"rtol": 1e-11, "atol": 1e-13}


def patients_of(case) -> Outcome:
    """The case's follow-up: its own, or that of a table beside the figures."""
    if "data" in case:
        return outcome(case["data"]["time"], case["data"]["event"])
    with (R / "data" / f"{case['table']}.csv").open() as table:
        rows = list(csv.DictReader(table))
    return outcome(*([float(row[case["columns"][name]]) for row in rows] for name in ("time", "event")))


def numbers(values) -> np.ndarray:
    """R's NA as NaN."""
    return np.array([np.nan if value is None else value for value in values], float)


@pytest.mark.parametrize("case", FIGURES["cases"], ids=lambda case: case["name"])
def test_net_benefit_is_that_of_survfit_within_the_flagged(case):
    """A model's curve and treat-all, NaN included."""
    patients, horizon = patients_of(case), case["horizon"]
    found = net_benefit(case["risk"], patients, horizon, case["thresholds"])
    assert_allclose(found, numbers(case["benefit"]), **EXACT)
    everybody = net_benefit_of_all(patients, horizon, case["thresholds"])
    assert_allclose(everybody, numbers(case["all"]), **EXACT)


@pytest.mark.reference
@pytest.mark.parametrize("horizon", [36, 60])
def test_three_models_of_the_reference_file_agree(reference_dir, horizon):
    """99 thresholds of three models by this code's rule; of dcurves, every figure that it gives at all."""
    figures = json.loads((reference_dir / "stats" / "ref" / "09_dca.json").read_text())
    expected = figures["train"][f"t{horizon}"]
    patients = patients_of({"table": "cohort_train", "columns": {"time": "time", "event": "event"}})
    found = decision_curve(expected["risk"], patients, horizon, figures["thresholds"])
    for name, benefit in found.models.items():
        assert_allclose(benefit, numbers(expected["net_benefit_own"][name]), **EXACT)
        theirs = numbers(expected["net_benefit_dcurves"][name])
        given = ~np.isnan(theirs)
        assert_allclose(benefit[given], theirs[given], **EXACT)
    assert_allclose(found.treat_all, expected["net_benefit_dcurves"]["all"], **EXACT)
    assert_allclose(found.treat_none, expected["net_benefit_dcurves"]["none"])
