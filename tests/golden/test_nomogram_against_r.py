"""The nomogram against R's rms::nomogram and survfit.coxph, on a synthetic cohort; the R calls stand in the figures."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from prognode.domain.cox_model import Baseline, CoxModel, Cutoff, Term, linear_predictor, survival
from prognode.domain.nomogram import (
    axis_points,
    lp_of_points,
    nomogram_of,
    points_of_lp,
    points_of_survival,
    pretty,
    total_points_ticks,
)

FIGURES = json.loads((Path(__file__).parent / "nomogram_rms.json").read_text())
NAMES = {
    "sigA": "signature_arterial",
    "sigV": "signature_venous",
    "ki67": "ki67_percent",
    "diam": "longest_diameter_mm",
    "M": "m_stage",
}
EXACT = {"rel": 1e-9, "abs": 1e-9}


def axis_of(variable: str) -> tuple[float, ...]:
    return (0.0, 1.0) if variable == "M" else pretty(*FIGURES["range"][variable])


@pytest.fixture(scope="module")
def model() -> CoxModel:
    """R's fit as this code holds it: coefficients, and the Efron baseline at x = 0 at 36 and 60 months."""
    terms = tuple(
        Term(NAMES[variable], variable, "", coefficient, axis_of(variable))
        for variable, coefficient in FIGURES["coefficients"].items()
    )
    hazard = tuple(-math.log(FIGURES["baseline_survival_at_zero"][month]) for month in ("36", "60"))
    return CoxModel(terms, Baseline((36.0, 60.0), hazard, 124.0), Cutoff(0.0, "none"))


@pytest.mark.parametrize("variable", ["sigA", "sigV", "ki67", "diam", "M"])
def test_axes_carry_the_ticks_and_points_of_r(model, variable):
    """Every tick of every axis is R's tick and gets R's points."""
    nomogram = nomogram_of(model)
    term = next(term for term in model.terms if term.label == variable)
    expected = FIGURES["axes"][variable]
    assert term.axis == pytest.approx(expected["value"], abs=1e-12)
    points = [axis_points(nomogram, term, value) for value in term.axis]
    assert points == pytest.approx(expected["points"], **EXACT)


def test_scale_and_total_points_axis_are_those_of_r(model):
    """100 points belong to the widest axis; the total axis has R's ticks."""
    nomogram = nomogram_of(model)
    assert nomogram.points_per_unit == pytest.approx(FIGURES["points_per_lp_unit"], **EXACT)
    assert list(total_points_ticks(nomogram)) == FIGURES["total_points_axis"]


def test_total_points_give_the_linear_predictor_and_survival_of_r(model):
    """From total points to OS at 36 and 60 months, over the whole axis."""
    nomogram, table = nomogram_of(model), FIGURES["total_points_to_survival"]
    lps = [lp_of_points(nomogram, total) for total in table["total_points"]]
    assert [lp - FIGURES["center"] for lp in lps] == pytest.approx(table["lp"], **EXACT)
    assert [survival(model, lp, 36) for lp in lps] == pytest.approx(table["os36"], rel=1e-6)
    assert [survival(model, lp, 60) for lp in lps] == pytest.approx(table["os60"], rel=1e-6)


@pytest.mark.parametrize("months", [36, 60])
def test_survival_axis_is_the_exact_inverse(model, months):
    """The ticks of the OS axes lie where S0(t)^exp(lp) reaches them."""
    expected = FIGURES["os_axis_exact"][str(months)]
    points = [points_of_survival(nomogram_of(model), model, months, s) for s in expected["survival"]]
    assert points == pytest.approx(expected["points"], rel=1e-7)


def test_ten_patients_get_the_points_and_survival_of_r(model):
    """Row by row: linear predictor, total points, OS at 36 and 60 months."""
    nomogram, expected = nomogram_of(model), FIGURES["patients"]
    for place, row in enumerate(expected["rows"]):
        values = {NAMES[variable]: value for variable, value in row.items()}
        lp = linear_predictor(model, values)
        total = sum(axis_points(nomogram, term, values[term.name]) for term in model.terms)
        assert lp + -FIGURES["center"] == pytest.approx(expected["lp_centered"][place], abs=1e-9)
        assert total == pytest.approx(expected["total_points"][place], abs=1e-8)
        assert points_of_lp(nomogram, lp) == pytest.approx(total, abs=1e-9)
        assert survival(model, lp, 36) == pytest.approx(expected["os36"][place], rel=1e-9)
        assert survival(model, lp, 60) == pytest.approx(expected["os60"][place], rel=1e-9)


@pytest.mark.reference
def test_figures_are_those_of_the_reference_file(reference_dir):
    """The numbers carried here are the ones that R wrote."""
    r = json.loads((reference_dir / "stats" / "ref" / "05_nomogram.json").read_text())["cohort_train"]
    assert FIGURES["coefficients"] == r["coef"]
    assert FIGURES["os_axis_exact"] == r["os_axis_exact"]
    assert {name: axis["points"] for name, axis in FIGURES["axes"].items()} == {
        name: axis["points"] for name, axis in r["variables"].items()
    }
    assert FIGURES["patients"]["os36"] == r["patients_first10"]["os36_survfit"]
