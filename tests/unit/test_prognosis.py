"""What a prognosis promises for one patient."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from made_up_recipe import make_up_recipe
from plain_extractor import PlainExtractor

from prognode.domain.prognosis import Covariates, prognose
from prognode.domain.recipe import recipe_from_json
from prognode.errors import InvalidInput, Reason

COMPLETE = Covariates(20.0, "M0", 41.0)


@pytest.fixture(scope="module")
def recipe():
    return recipe_from_json(make_up_recipe(PlainExtractor()))


@pytest.fixture(scope="module")
def features(recipe):
    """(2, 2048): each phase's raw signature at its centre, so that both signatures are 0."""
    both = np.zeros((2, 2048))
    for row, signature in zip(both, (recipe.signature_arterial, recipe.signature_venous), strict=True):
        coefficients = np.array(signature.coefficients)
        row[list(signature.indices)] = signature.center * coefficients / (coefficients @ coefficients)
    return both


def test_complete_covariates_give_the_combined_model(recipe, features):
    """Linear predictor, points and survival by hand from the recipe's numbers: 0.012 * 20 + 0.008 * 41."""
    result = prognose(recipe, *features, COMPLETE)
    assert result.model == "combined"
    assert result.missing == ()
    assert result.linear_predictor == pytest.approx(0.568, abs=1e-9)
    assert dict(result.survival)[36] == pytest.approx(math.exp(-0.198 * math.exp(0.568)), rel=1e-9)
    assert [axis.name for axis in result.axes][-1] == "m_stage"
    assert result.total_points == pytest.approx(sum(axis.points for axis in result.axes))
    assert result.remarks == ()


@pytest.mark.parametrize(
    ("covariates", "missing"),
    [
        (Covariates(None, "M0", 41.0), ("ki67_percent",)),
        (Covariates(20.0, None, 41.0), ("m_stage",)),
        (Covariates(longest_diameter_mm=41.0), ("ki67_percent", "m_stage")),
    ],
)
def test_missing_covariate_gives_the_signatures_alone(recipe, features, covariates, missing):
    """Preliminary: two axes, the signatures' own cutoff, and the names of what is missing."""
    result = prognose(recipe, *features, covariates)
    assert result.model == "signatures"
    assert result.missing == missing
    assert [axis.name for axis in result.axes] == ["signature_arterial", "signature_venous"]
    assert result.cutoff == recipe.signatures_only.cutoff.value


def test_covariate_that_the_model_does_not_use_is_not_missed(recipe, features):
    """A combined model from which selection dropped Ki-67 does not wait for it."""
    terms = tuple(term for term in recipe.combined.terms if term.name != "ki67_percent")
    leaner = replace(recipe, combined=replace(recipe.combined, terms=terms))
    result = prognose(leaner, *features, Covariates(None, "M1", 41.0))
    assert result.model == "combined"
    assert result.missing == ()


def test_risk_is_high_only_above_the_cutoff(recipe, features):
    """A linear predictor at the cutoff itself is low risk."""
    lp = prognose(recipe, *features, COMPLETE).linear_predictor
    for value, group in ((lp, "low"), (np.nextafter(lp, -1), "high")):
        cutoff = replace(recipe.combined.cutoff, value=value)
        locked = replace(recipe, combined=replace(recipe.combined, cutoff=cutoff))
        assert prognose(locked, *features, COMPLETE).risk_group == group


@pytest.mark.parametrize(
    "covariates",
    [
        Covariates(101.0, "M0", 41.0),
        Covariates(-1.0, "M0", 41.0),
        Covariates(math.nan, "M0", 41.0),
        Covariates(20.0, "M0", 4.0),
        Covariates(20.0, "M2", 41.0),  # type: ignore[arg-type]
    ],
)
def test_covariate_out_of_range_is_refused(recipe, features, covariates):
    """Nothing is computed from a value that the recipe does not allow."""
    with pytest.raises(InvalidInput) as refusal:
        prognose(recipe, *features, covariates)
    assert refusal.value.reason is Reason.COVARIATE_RANGE


def test_value_beyond_its_axis_is_remarked(recipe, features):
    """Points are extrapolated, survival is the model's, and the reader is told."""
    result = prognose(recipe, *features, Covariates(20.0, "M0", 240.0))
    assert any("Longest diameter 240 mm lies outside" in remark for remark in result.remarks)
    assert result.linear_predictor == pytest.approx(0.012 * 20 + 0.008 * 240, abs=1e-9)


def test_values_are_shown_as_a_person_writes_them(recipe, features):
    """Units, one decimal at most, and the stage by its name."""
    result = prognose(recipe, *features, Covariates(20.0, "M1", 41.26))
    shown = {axis.name: axis.shown for axis in result.axes}
    assert shown["ki67_percent"] == "20 %"
    assert shown["longest_diameter_mm"] == "41.3 mm"
    assert shown["m_stage"] == "M1"


def test_curve_agrees_with_the_horizons(recipe, features):
    """The survival figures lie on the curve that is drawn."""
    result = prognose(recipe, *features, COMPLETE)
    for months, probability in result.survival:
        assert [p for t, p in result.curve if t <= months][-1] == probability
