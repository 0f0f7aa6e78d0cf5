"""Cox fits, their tests, baseline hazards and residuals against R's survival package; the calls stand in the figures."""

from __future__ import annotations

import json

import numpy as np
import pytest
from r_figures import figures, table

from prognode.statistics.cox import baseline_hazard, fit_cox, martingale_residuals, survival_probability
from prognode.statistics.outcome import outcome

R, FRESH = figures("cox"), figures("cox_limits")
LEVELS = {
    "celltype": ("smallcell", "adeno", "large"),
    "location": ("body", "antrum", "diffuse"),
    "grade": ("NETG2", "NETG3", "MiNEN", "NEC"),
}
MODELS = [(model, ties) for model in R["models"] for ties in ("efron", "breslow")]
R_ENDS = {"rel": 1e-7, "abs": 1e-10}
"""R stops once the log-likelihood gains less than 1e-9 of itself: that much its coefficients leave open."""


def column(frame, name):
    """A column by R's name: a number, or a level of a factor after the factor's name."""
    for factor, levels in LEVELS.items():
        if name.startswith(factor) and name.removeprefix(factor) in levels:
            return (frame[factor] == name.removeprefix(factor)).to_numpy(float)
    return frame[name].to_numpy(float)


def problem(model):
    """(covariates, outcome) of one of R's models."""
    expected = R["models"][model]["efron"]
    frame = table(model if model in ("lung_cc", "veteran") else "cohort_train")
    covariates = np.column_stack([column(frame, name) for name in expected["coef"]])
    time = frame.time_tied if model.endswith("tied") else frame.time
    status = frame.event if "event" in frame else frame.status == frame.status.max()
    return covariates, outcome(time, status)


@pytest.fixture(params=MODELS, ids="-".join)
def case(request):
    """(fit, R's figures, covariates, outcome)."""
    model, ties = request.param
    covariates, followed = problem(model)
    expected = R["models"][model][ties]
    return (
        fit_cox(covariates, followed, ties=ties, names=list(expected["coef"])),
        expected,
        covariates,
        followed,
    )


def of(values):
    return np.array(list(values.values()))


def test_likelihoods_and_criteria_are_those_of_r(case):
    """Both log-likelihoods, AIC, BIC, n and deaths."""
    fit, expected, _, _ = case
    assert (fit.n, fit.events) == (expected["n"], expected["nevent"])
    for name in ("loglik_null", "loglik", "aic", "bic"):
        assert getattr(fit, name) == pytest.approx(expected[name], rel=1e-12)


def test_coefficients_are_those_of_r(case):
    """Coefficient, standard error, z, p, hazard ratio with its interval, covariance."""
    fit, expected, _, _ = case
    assert fit.coefficients == pytest.approx(of(expected["coef"]), **R_ENDS)
    assert fit.standard_errors == pytest.approx(of(expected["se"]), rel=1e-9)
    assert fit.covariance == pytest.approx(np.array(expected["vcov"]), rel=1e-8, abs=1e-12)
    assert fit.z == pytest.approx(of(expected["z"]), **R_ENDS)
    assert fit.p_values == pytest.approx(of(expected["p"]), rel=1e-8)
    assert fit.hazard_ratios == pytest.approx(of(expected["hr"]), rel=1e-9)
    low, high = fit.confidence_interval(0.95).T
    assert low == pytest.approx(of(expected["hr_lo95"]), rel=1e-9)
    assert high == pytest.approx(of(expected["hr_hi95"]), rel=1e-9)


def test_the_three_tests_are_those_of_r(case):
    """Likelihood ratio and score exactly; Wald to the two decimals that R's summary keeps."""
    fit, expected, _, _ = case
    for test, name in ((fit.likelihood_ratio_test, "lr"), (fit.score_test, "score")):
        assert test.statistic == pytest.approx(expected[name]["test"], rel=1e-11)
        assert (test.df, test.p) == (expected[name]["df"], pytest.approx(expected[name]["pvalue"], rel=1e-10))
    assert round(fit.wald_test.statistic, 2) == expected["wald"]["test"]
    assert fit.wald_test.p == pytest.approx(expected["wald"]["pvalue"], rel=1e-7)


def test_baseline_and_residuals_are_those_of_r(case):
    """Cumulative hazard and survival at x = 0 and at the means; martingale residuals."""
    fit, expected, covariates, followed = case
    baseline, r = baseline_hazard(fit, covariates, followed), expected["baseline"]
    hazard = [baseline.hazard[baseline.steps_until(t) - 1] for t in r["time"]]
    assert hazard == pytest.approx(r["cumhaz_at_x0"], rel=1e-9)
    at_zero = [survival_probability(baseline, [0.0], t)[0] for t in r["time"]]
    assert at_zero == pytest.approx(r["surv_at_x0"], rel=1e-9)
    means = fit.linear_predictor([of(expected["means"])])
    at_means = [survival_probability(baseline, means, t)[0] for t in r["time"]]
    assert at_means == pytest.approx(r["surv_at_means"], rel=1e-9)
    residuals = martingale_residuals(fit, covariates, followed)
    assert residuals[:5] == pytest.approx(expected["martingale_resid_first5"], rel=1e-9)


@pytest.mark.parametrize("name", ["heavy_ties", "near_ties"])
@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_hard_ties_are_those_of_r(name, ties):
    """Most deaths tied, times from 0, times that differ by rounding only; every residual and every step."""
    data, expected = FRESH["fits"][name]["data"], FRESH["fits"][name][ties]
    followed = outcome(data["time"], data["event"])
    covariates = np.column_stack([values for key, values in data.items() if key not in ("time", "event")])
    fit = fit_cox(covariates, followed, ties=ties)
    assert fit.coefficients == pytest.approx(np.atleast_1d(expected["coef"]), rel=1e-9)
    assert fit.covariance == pytest.approx(np.array(expected["var"]), rel=1e-9)
    assert [fit.loglik_null, fit.loglik] == pytest.approx(expected["loglik"], rel=1e-12)
    assert fit.score_test.statistic == pytest.approx(expected["score"], rel=1e-11)
    assert fit.wald_test.statistic == pytest.approx(expected["wald"], rel=1e-9)
    assert [fit.aic, fit.bic] == pytest.approx([expected["aic"], expected["bic"]], rel=1e-12)
    residuals = martingale_residuals(fit, covariates, followed)
    assert residuals == pytest.approx(np.array(expected["martingale"]), rel=1e-9, abs=1e-12)
    baseline = baseline_hazard(fit, covariates, followed)
    assert baseline.time == pytest.approx(np.array(expected["baseline_time"]), rel=1e-14)
    assert baseline.hazard == pytest.approx(np.array(expected["baseline_hazard"]), rel=1e-8)


def test_the_null_model_is_that_of_r():
    """Without covariates: log-likelihood and the baseline of everybody, with Efron's steps."""
    frame, expected = table("veteran"), FRESH["fits"]["null_veteran"]
    followed = outcome(frame.time, frame.status)
    nothing = np.empty((len(frame), 0))
    fit = fit_cox(nothing, followed)
    assert fit.loglik == pytest.approx(expected["loglik"], rel=1e-13)
    baseline = baseline_hazard(fit, nothing, followed)
    assert baseline.time.tolist() == expected["time"]
    assert baseline.hazard == pytest.approx(np.array(expected["cumhaz"]), rel=1e-12)


@pytest.mark.parametrize("name", ["level_without_events", "separated", "two_without_events"])
def test_likelihoods_without_a_maximum_end_where_r_ends(name):
    """The columns that R warns of are flagged; log-likelihood and all coefficients are R's."""
    r = FRESH["limits"][name]
    fit = fit_cox(r["x"], outcome(r["time"], r["event"]), names=r["names"], infinite="flag")
    warned = r["warning"].removeprefix("Loglik converged before variable ").split(";")[0]
    assert [place + 1 for place in np.flatnonzero(fit.infinite)] == [int(v) for v in warned.split(",")]
    assert [fit.loglik_null, fit.loglik] == pytest.approx(r["loglik"], rel=1e-11)
    assert fit.coefficients[~fit.infinite] == pytest.approx(np.array(r["coef"])[~fit.infinite], rel=1e-9)
    assert fit.coefficients == pytest.approx(np.array(r["coef"]), rel=1e-6)
    assert fit.score_test.statistic == pytest.approx(r["score"], rel=1e-11)


def test_a_perfect_order_ends_at_the_limit():
    """R runs out of iterations on its way to a log-likelihood of 0; so does no more than a flag here."""
    r = FRESH["limits"]["perfect_order"]
    covariates = np.array(r["x"], float).reshape(-1, 1)
    fit = fit_cox(covariates, outcome(r["time"], r["event"]), infinite="flag")
    assert fit.infinite.tolist() == [True]
    assert fit.loglik == pytest.approx(r["loglik"][1], abs=1e-6)


@pytest.mark.reference
def test_figures_are_those_of_the_reference_file(reference_dir):
    """The numbers carried here are the ones that R wrote."""
    r = json.loads((reference_dir / "stats" / "ref" / "01_coxph.json").read_text())
    assert R["univariable_cohort_train"] == r["univariable_cohort_train"]
    for model, ties in MODELS:
        carried = {name: value for name, value in R["models"][model][ties].items() if name != "call"}
        assert carried == {name: r["models"][model][ties][name] for name in carried}
