"""The figures of a report: what they show, that they are SVG which any page can hold, and what they say without data."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from xml.etree import ElementTree as ET

import laboratory
import numpy as np
import pytest
from svg_texts import SVG, collisions, words

from prognode.errors import NotEstimable
from prognode.statistics.kaplan_meier import kaplan_meier
from training.estimates import NotKnown
from training.evaluation import CohortEvaluation
from training.models import MODEL_LABELS
from training.report.figures import all_figures
from training.report.figures_lasso import lasso_figure
from training.report.figures_nomogram import nomogram_figure
from training.report.items import ReportFigure
from training.report.numbers import decimal, hazard_ratio, p_equals, with_limits
from training.report.sheet import Sheet
from training.report.smooth import smooth, spline_basis
from training.report.svg import draw
from training.study import LeftOut, Study

KEYS = (
    "figure_1_flow",
    "figure_3_nomogram",
    "figure_4_kaplan_meier",
    "figure_5_risk_scores",
    "figure_6a_calibration",
    "figure_6b_decision_curves",
    "figure_s1_schoenfeld",
    "figure_s2_roc",
    "figure_lasso",
    "figure_icc",
    "figure_optimism",
)
LARGEST_BYTES = 150_000
XLINK_HREF = "{http://www.w3.org/1999/xlink}href"


def _few_in_the_external_cohort() -> Study:
    cohorts = laboratory.cohorts_of({"training": 64, "internal": 24, "external": 3})
    return laboratory.study_of(laboratory.patients().of(np.arange(len(cohorts))), cohorts, bootstrap=0)


def _nobody_dies(cohorts: tuple[str, ...]) -> Study:
    sample = laboratory.patients()
    spared = np.isin(laboratory.cohorts_of(), cohorts)
    event = sample.outcome.event & ~spared
    return laboratory.study_of(laboratory.with_outcome(sample, sample.outcome.time, event), bootstrap=2)


def _covariate_missing_outside() -> Study:
    sample = laboratory.patients()
    values = sample.covariates["ki67_percent"].to_numpy(float).copy()
    values[np.array(laboratory.cohorts_of()) == "external"] = np.nan
    return laboratory.study_of(laboratory.with_covariate(sample, "ki67_percent", values), bootstrap=0)


def _many_left_out() -> Study:
    reasons = [
        "roi-empty: it has no contour",
        *(f"reason {n}: something happened to {n} images" for n in range(12)),
    ]
    gone = tuple(LeftOut(row, f"L{row}", "training", reasons[row % 13]) for row in range(60))
    study = laboratory.ordinary_study()
    return replace(study, provenance=replace(study.provenance, left_out=gone))


MAKERS = {
    "ordinary": laboratory.ordinary_study,
    "validation": lambda: laboratory.validation_of(laboratory.ordinary_study()),
    "no second reading": lambda: laboratory.study_of(replace(laboratory.patients(), second={}), bootstrap=0),
    "no signature": lambda: laboratory.study_of(laboratory.patients(), lambda_rule="1se", bootstrap=0),
    "only signatures": lambda: laboratory.study_of(
        laboratory.with_covariate(laboratory.patients(), "m_stage", ["M0"] * 108), bootstrap=0
    ),
    "no deaths outside": lambda: _nobody_dies(("external",)),
    "no deaths": lambda: _nobody_dies(("training", "internal", "external")),
    "three patients": _few_in_the_external_cohort,
    "a covariate missing": _covariate_missing_outside,
    "many left out": _many_left_out,
}


@cache
def _study(name: str) -> Study:
    return MAKERS[name]()


@cache
def _figures(name: str) -> dict[str, ReportFigure]:
    return {figure.key: figure for figure in all_figures(_study(name))}


def _said(name: str, key: str) -> str:
    return " ".join(words(_figures(name)[key].svg))


@pytest.fixture(scope="module")
def study() -> Study:
    """An ordinary study."""
    return _study("ordinary")


# ---------------------------------------------------------------- any figure


def test_the_figures_come_in_the_order_of_the_paper():
    """Every figure is there, the paper's first."""
    assert tuple(_figures("ordinary")) == KEYS


def test_without_a_bootstrap_there_is_no_optimism_to_draw(study):
    """The figure of the optimism is left out, and no other."""
    keys = [figure.key for figure in all_figures(replace(study, bootstrap=None))]
    assert keys == list(KEYS[:-1])


def test_the_same_study_gives_the_same_bytes(study):
    """Nothing of the moment or of the machine's memory is in a figure."""
    assert all_figures(study) == tuple(_figures("ordinary").values())


@pytest.mark.parametrize("name", MAKERS)
def test_every_figure_stands_alone(name):
    """Each is a small SVG with a title, real text, and no reference to anything outside of itself."""
    for figure in _figures(name).values():
        root = ET.fromstring(figure.svg)
        assert root[0].tag == f"{SVG}title"
        assert root[0].text == figure.title
        assert root.attrib["aria-labelledby"] == root[0].attrib["id"]
        assert words(figure.svg)
        assert figure.caption
        assert len(figure.svg.encode()) < LARGEST_BYTES
        assert set(re.findall(r"https?://[^\"<]*", figure.svg)) <= {
            "http://www.w3.org/2000/svg",
            "http://www.w3.org/1999/xlink",
        }
        tags = {element.tag for element in root.iter()}
        assert not tags & {f"{SVG}{tag}" for tag in ("metadata", "style", "script", "image", "foreignObject")}


@pytest.mark.parametrize("name", MAKERS)
def test_figures_can_share_a_page(name):
    """No two things have one id, and every reference finds its target in its own figure."""
    taken: set[str] = set()
    for figure in _figures(name).values():
        root = ET.fromstring(figure.svg)
        names = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
        assert len(names) == len(set(names))
        assert not taken & set(names)
        taken |= set(names)
        targets = [element.attrib[XLINK_HREF][1:] for element in root.iter() if XLINK_HREF in element.attrib]
        targets += re.findall(r"url\(#([^)]+)\)", figure.svg)
        assert set(targets) <= set(names)


@pytest.mark.parametrize("name", MAKERS)
def test_labels_keep_apart(name):
    """No text runs into another one or leaves the sheet, and no number is NaN."""
    for figure in _figures(name).values():
        assert collisions(figure.svg) == []
        assert not [text for text in words(figure.svg) if re.search(r"\b(nan|inf|None)\b", text)]


def test_labels_that_meet_would_be_seen():
    """The check of the labels finds texts that overlap or leave the sheet."""

    def paint(sheet: Sheet) -> None:
        sheet.write(20, 20, "first words")
        sheet.write(60, 24, "second words")
        sheet.write(170, 60, "beyond the edge")

    found = collisions(draw("figure_x", "X", (200, 100), paint))
    assert found == [("beyond the edge", ""), ("first words", "second words")]


def test_only_synthetic_data_are_marked(study):
    """Each figure of synthetic data says so; one of patients does not."""
    assert all("synthetic data" in words(figure.svg) for figure in _figures("ordinary").values())
    real = replace(study, provenance=replace(study.provenance, synthetic=False))
    assert not any("synthetic data" in words(figure.svg) for figure in all_figures(real))


# ---------------------------------------------------------------- what they show


def test_flow_counts_every_patient(study):
    """All patients of the table are counted: those left out by what their reason means, and those of each cohort."""
    said = _said("ordinary", "figure_1_flow")
    assert "Patients in the table: 111" in said
    assert "Left out: 3 2: The tumour is smaller than 5 mm 1: No region of interest matches" in said
    for sample in study.samples.values():
        assert f"Patients: {len(sample)}, deaths: {sample.outcome.events}" in said


def test_flow_counts_rare_reasons_together():
    """A long list of reasons is cut, and the number of patients behind the rest stands there."""
    said = _said("many left out", "figure_1_flow")
    assert "Left out: 60" in said
    counts = [int(count) for count in re.findall(r"(\d+): (?:reason|other|The region)", said)]
    assert sum(counts) == 60
    assert len(counts) == 9


def test_nomogram_has_the_axes_of_the_model(study):
    """Points first, then the terms of the combined model, total points, and both horizons."""
    said = words(_figures("ordinary")["figure_3_nomogram"].svg)
    terms = [
        f"{term.label} ({term.unit})" if term.unit else term.label for term in study.models["combined"].terms
    ]
    survival = ["3-year OS probability (%)", "5-year OS probability (%)"]
    names = [text for text in said if not re.fullmatch(r"-?[\d.]+|M[01]", text)]
    assert names == ["Points", *terms, "Total points", *survival, "Combined model", "synthetic data"]


def test_kaplan_meier_shows_tests_and_numbers_at_risk(study):
    """Log-rank p and hazard ratio of each pair stand there as in the evaluation, and who is at risk."""
    svg = _figures("ordinary")["figure_4_kaplan_meier"].svg
    said = words(svg)
    for evaluation in study.evaluations.values():
        for one in evaluation.models.values():
            ratio = one.hr_groups
            assert f"Log-rank test: {p_equals(one.log_rank.p_value)}" in said
            shown = f"HR {hazard_ratio(ratio.value, ratio.lower, ratio.upper)}, Wald test {p_equals(ratio.p)}"
            assert shown in said
    combined = study.evaluations["training"].models["combined"]
    outcome = study.evaluations["training"].outcome.of(combined.high)
    first = said.index("high")
    at_risk = kaplan_meier(outcome).at_risk_at([0, 12, 24]).tolist()
    assert [int(text) for text in said[first + 1 : first + 4]] == at_risk


def test_calibration_shows_slope_and_ratio(study):
    """Slope and O/E of the combined model with their limits, for each cohort and horizon."""
    said = words(_figures("ordinary")["figure_6a_calibration"].svg)
    for evaluation in study.evaluations.values():
        one = evaluation.models["combined"]
        assert f"Slope {with_limits(one.slope.value, one.slope.limits())}" in said
        for at in one.at:
            large = at.in_the_large
            assert f"O/E {with_limits(large.ratio, (large.lower, large.upper))}" in said


def test_roc_shows_both_areas_of_every_model(study):
    """The areas under both estimates stand under each panel, in the order of the models."""
    said = words(_figures("ordinary")["figure_s2_roc"].svg)
    expected = []
    for place in range(2):
        for evaluation in study.evaluations.values():
            for name in ("combined", "signatures", "clinical"):
                at = evaluation.models[name].at[place]
                expected += [MODEL_LABELS[name], decimal(at.roc_nne.auc), decimal(at.roc_km.auc)]
    shown = [text for text in said if text in MODEL_LABELS.values() or re.fullmatch(r"\d\.\d\d", text)]
    table = " ".join(shown)
    rows = [" ".join(expected[place : place + 9]) for place in range(0, len(expected), 9)]
    assert all(row in table for row in rows)


def test_schoenfeld_names_the_global_test(study):
    """The global test and the test of each covariate stand there."""
    said = words(_figures("ordinary")["figure_s1_schoenfeld"].svg)
    hazards = study.trained.clinical.hazards
    assert not isinstance(hazards, NotKnown)
    test = hazards.overall
    assert f"GLOBAL: chi-square {decimal(test.statistic)}, df {test.df}, {p_equals(test.p)}" in said
    assert f"(GLOBAL {p_equals(test.p)})" in _figures("ordinary")["figure_s1_schoenfeld"].title
    for test in hazards.tests:
        assert f"chi-square {decimal(test.statistic)}, df {test.df}, {p_equals(test.p)}" in said


def test_selection_figures_count_features(study):
    """How many features are reproducible, and how many the LASSO selects."""
    lasso, icc = _said("ordinary", "figure_lasso"), _said("ordinary", "figure_icc")
    for fit in study.trained.signatures.values():
        assert f"{len(fit.signature.indices)} of {len(fit.candidates)} features" in lasso
        assert f"{int(fit.reproducibility.kept.sum())} of 2048 features above the threshold" in icc


def test_optimism_shows_apparent_and_corrected(study):
    """C of each model as it looks in training, corrected in both ways, and in the other cohorts."""
    said = words(_figures("ordinary")["figure_optimism"].svg)
    for name in study.models:
        c = study.evaluations["external"].models[name].concordance
        assert with_limits(c.value, c.limits()) in said
        for optimism in (study.bootstrap.coefficients_only[name], study.bootstrap.whole_training[name]):
            assert any(
                text.startswith(f"{decimal(optimism.corrected)} (slope {decimal(optimism.slope)}")
                for text in said
            )


# ---------------------------------------------------------------- without data


@pytest.mark.parametrize("key", ["figure_s1_schoenfeld", "figure_lasso", "figure_icc"])
def test_a_validation_says_that_nothing_was_trained(key):
    """Figures about the training say in words that there was none."""
    assert "nothing was trained" in _said("validation", key)


def test_of_one_cohort_the_horizons_stand_side_by_side():
    """A validation of one cohort has a row of panels, not a column."""
    svg = _figures("validation")["figure_6a_calibration"].svg
    root = ET.fromstring(svg)
    assert float(root.attrib["width"]) > 1.5 * float(root.attrib["height"])
    assert {"External validation, 3 years", "External validation, 5 years"} <= set(words(svg))


def test_what_cannot_be_fitted_is_said_once():
    """Without a combined model the next best is drawn, and why there is no other stands under the legend."""
    reason = _study("no signature").trained.models["combined"].why
    heading = f"Clinical model (no combined model: {reason})"
    assert heading in words(_figures("no signature")["figure_3_nomogram"].svg)
    for key in (
        "figure_4_kaplan_meier",
        "figure_5_risk_scores",
        "figure_s2_roc",
        "figure_6b_decision_curves",
    ):
        said = _said("no signature", key)
        assert said.count(f"Combined model: {reason}.") == 1


def test_lasso_that_selects_nothing_is_drawn_and_said():
    """The curve of the cross-validation is there, with the sentence that says why nothing was selected."""
    said = " ".join(words(lasso_figure(_study("no signature")).svg))
    empty = [fit for fit in _study("no signature").trained.signatures.values() if fit.signature is None]
    assert empty
    for fit in empty:
        assert f"0 of {len(fit.candidates)} features" in said
        assert f"selects no {fit.phase} feature at lambda.1se" in said


@pytest.mark.parametrize("key", KEYS[1:6])
def test_without_any_model_the_reasons_stand_there(key):
    """Nobody died: every figure of the models gives the reasons of all three."""
    said = _said("no deaths", key)
    for name, model in _study("no deaths").trained.models.items():
        assert isinstance(model, NotKnown)
        assert MODEL_LABELS[name] in said
    assert "There is no model to judge." in said


def test_a_cohort_without_deaths_says_what_is_not_known():
    """Curves are drawn where they can be; tests, ratios and ROC give their reasons."""
    found = _study("no deaths outside").evaluations["external"]
    assert isinstance(found, CohortEvaluation)
    survival = _said("no deaths outside", "figure_4_kaplan_meier")
    assert f"Log-rank test: {found.models['combined'].log_rank.why}" in survival
    assert "Slope: nobody died" in _said("no deaths outside", "figure_6a_calibration")
    why = found.models["combined"].at[0].roc_nne.why
    assert why.split(",")[0] in _said("no deaths outside", "figure_s2_roc")


def test_a_cohort_that_cannot_be_judged_says_why():
    """Where no patient has every term, each panel of the cohort says so."""
    why = _study("a covariate missing").evaluations["external"].why
    for key in ("figure_4_kaplan_meier", "figure_5_risk_scores", "figure_6a_calibration", "figure_s2_roc"):
        assert why in _said("a covariate missing", key)


def test_without_a_second_reading_nothing_is_said_of_reproducibility():
    """The histogram is a sentence then."""
    assert "Fewer than three training patients have a second reading" in _said(
        "no second reading", "figure_icc"
    )


def test_a_nomogram_without_width_is_refused_in_words(study):
    """A model whose coefficients are all zero has no nomogram, and the figure says so."""
    flat = replace(
        study.models["combined"],
        terms=tuple(replace(term, coefficient=0.0) for term in study.models["combined"].terms),
    )
    figure = nomogram_figure(replace(study, models={"combined": flat}))
    assert "no axis of the nomogram has a width" in " ".join(words(figure.svg))


# ---------------------------------------------------------------- the smooth curve


def test_a_straight_line_stays_straight():
    """Points on a line are smoothed to that line, without width."""
    x = np.linspace(0, 3, 20)
    curve = smooth(x, 2 * x - 1)
    np.testing.assert_allclose(curve.y, 2 * curve.x - 1, atol=1e-9)
    np.testing.assert_allclose(curve.lower, curve.upper, atol=1e-9)


def test_the_basis_is_that_of_natural_splines():
    """Each function is a cubic between the knots, smooth at them, and straight beyond the outer ones."""
    knots = np.array([0.0, 1.0, 2.5, 4.0])
    step = 1e-3

    def curvature(at: float) -> np.ndarray:
        before, middle, after = spline_basis(np.array([at - step, at, at + step]), knots)
        return (before - 2 * middle + after) / step**2

    for outside in (-1.0, -0.1, 4.1, 6.0):
        np.testing.assert_allclose(curvature(outside), 0, atol=1e-6)
    for knot in knots:
        np.testing.assert_allclose(curvature(knot - step), curvature(knot + step), atol=0.02)
    assert np.linalg.matrix_rank(spline_basis(np.linspace(0, 4, 30), knots)) == 4


def test_few_points_have_no_smooth_curve():
    """Under eight points, or with points at few places, there is none."""
    with pytest.raises(NotEstimable, match="too few deaths"):
        smooth(np.arange(7.0), np.arange(7.0))
    with pytest.raises(NotEstimable, match="too few deaths"):
        smooth(np.repeat([0.0, 1.0], 6), np.arange(12.0))
