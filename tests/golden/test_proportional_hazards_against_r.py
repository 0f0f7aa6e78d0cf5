"""The test of proportional hazards against R's cox.zph (survival 3.5); the calls stand in the figures."""

from __future__ import annotations

import json

import numpy as np
import pytest
from r_figures import figures, table

from prognode.statistics.cox import fit_cox
from prognode.statistics.outcome import outcome
from prognode.statistics.proportional_hazards import proportional_hazards
from prognode.statistics.selection import design, factor_term, numeric_term

R = figures("cox_zph")
LEVELS = {
    "celltype": ("squamous", "smallcell", "adeno", "large"),
    "location": ("cardia", "body", "antrum", "diffuse"),
}
TRANSFORMS = pytest.mark.parametrize("transform", ["km", "rank", "identity", "log"])
REFERENCE = pytest.mark.parametrize("name", list(R["reference"]))
FRESH = pytest.mark.parametrize("name", ["veteran_blocks", "cohort_train_tied", "heavy_ties"])


def terms_of(frame, names):
    return [
        factor_term(name, frame[name].tolist(), LEVELS[name])
        if name in LEVELS
        else numeric_term(name, frame[name])
        for name in names
    ]


def result_of(terms, followed, transform="km", *, blocks=True, ties="efron"):
    covariates, names = design(terms)
    fit = fit_cox(covariates, followed, names=names, ties=ties)
    sizes = [(term.name, len(term.labels)) for term in terms] if blocks else []
    return proportional_hazards(fit, covariates, followed, terms=sizes, transform=transform)


def rows(result):
    return np.array([[test.statistic, test.df, test.p] for test in (*result.tests, result.overall)])


def reference_problem(name):
    frame = table("cohort_train" if name.startswith("cohort") else name)
    status = frame.event if "event" in frame else frame.status == frame.status.max()
    names = [term for term in R["reference"][name]["tests"]["km"] if term != "GLOBAL"]
    return terms_of(frame, names), outcome(frame.time, status)


def fresh_problem(name):
    r = R["residuals"][name]
    if name == "heavy_ties":
        data = r["data"]
        return [numeric_term(key, data[key]) for key in r["sizes"]], outcome(data["time"], data["event"])
    if name == "veteran_blocks":
        frame = table("veteran")
        return terms_of(frame, r["sizes"]), outcome(frame.time, frame.status)
    frame = table("cohort_train")
    return terms_of(frame, r["sizes"]), outcome(frame.time_tied, frame.event)


@REFERENCE
@TRANSFORMS
def test_each_term_and_all_together_are_those_of_r(name, transform):
    """Chi-square, df and p per term, factors as blocks, and GLOBAL."""
    expected = R["reference"][name]["tests"][transform]
    result = result_of(*reference_problem(name), transform)
    assert [*result.terms, "GLOBAL"] == list(expected)
    assert rows(result) == pytest.approx(
        np.array([[row["chisq"], row["df"], row["p"]] for row in expected.values()]), rel=1e-7
    )


@REFERENCE
def test_each_coefficient_is_that_of_r(name):
    """With every column as its own term."""
    expected = R["reference"][name]["per_column"]
    result = result_of(*reference_problem(name), blocks=False)
    assert rows(result)[:, 0] == pytest.approx([row["chisq"] for row in expected.values()], rel=1e-7)


@FRESH
@TRANSFORMS
def test_residuals_of_terms_are_those_of_r(name, transform):
    """Test, time axis and scaled residuals, with blocks, on tied times."""
    expected = R["residuals"][name]
    r, chosen = expected[transform], np.array(expected["rows"]) - 1
    result = result_of(*fresh_problem(name), transform)
    assert rows(result) == pytest.approx(np.array(r["table"]), rel=1e-8)
    assert result.time[chosen].tolist() == r["time"]
    assert result.transformed_time[chosen] == pytest.approx(np.array(r["x"]), rel=1e-12)
    assert result.scaled_residuals[chosen] == pytest.approx(np.array(r["y"]), rel=1e-8, abs=1e-10)


@FRESH
def test_residuals_of_coefficients_are_those_of_r(name):
    """Every column as its own term."""
    expected = R["residuals"][name]
    r, chosen = expected["per_column"], np.array(expected["rows"]) - 1
    result = result_of(*fresh_problem(name), blocks=False)
    assert rows(result) == pytest.approx(np.array(r["table"]), rel=1e-8)
    assert result.scaled_residuals[chosen] == pytest.approx(np.array(r["y"]), rel=1e-8, abs=1e-10)


def test_breslow_ties_are_those_of_r():
    """The fit's treatment of ties goes on into the test."""
    frame, expected = table("veteran"), R["residuals"]["veteran_breslow"]
    result = result_of(terms_of(frame, ["trt", "karno"]), outcome(frame.time, frame.status), ties="breslow")
    assert rows(result) == pytest.approx(np.array(expected["table"]), rel=1e-9)
    assert result.scaled_residuals[:10] == pytest.approx(np.array(expected["y10"]), rel=1e-8)


@pytest.mark.reference
def test_figures_are_those_of_the_reference_file(reference_dir):
    """The numbers carried here are the ones that R wrote."""
    r = json.loads((reference_dir / "stats" / "ref" / "03_cox_zph.json").read_text())
    for name, carried in R["reference"].items():
        assert carried["tests"] == r[name]["new"]
        assert carried["per_column"] == r[name]["new_per_coef_km"]
