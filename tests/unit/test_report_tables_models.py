"""Tables of covariates, signatures and models: cells against lifelines and against the study, and honest gaps."""

from __future__ import annotations

from dataclasses import replace

import laboratory
import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter
from scipy import stats

from prognode.domain.signature import FEATURE_COUNT
from prognode.statistics.cutoff import OPTIMISTIC
from training.estimates import NotKnown
from training.report.items import ReportTable
from training.report.numbers import hazard_ratio, p_value
from training.report.tables_hazard_ratios import backward_selection, schoenfeld, table_2_hazard_ratios
from training.report.tables_models import model_summary, models
from training.report.tables_signatures import icc, lasso, signature_features
from training.sample import Sample
from training.study import Study


@pytest.fixture(scope="module")
def study() -> Study:
    return laboratory.ordinary_study()


def row(table: ReportTable, first: str, second: str = "") -> pd.Series:
    """The row of these first two cells; an empty first cell belongs to the row above that has one."""
    frame = table.frame
    owner = frame.iloc[:, 0].replace("", None).ffill()
    found = frame[(owner == first) & (frame.iloc[:, 1] == second if second else frame.iloc[:, 0] == first)]
    assert len(found) == 1, (first, second)
    return found.iloc[0]


def lifelines_fit(sample: Sample, frame: pd.DataFrame) -> CoxPHFitter:
    """A second implementation's fit of columns to the sample's outcome."""
    known = frame.astype(float).assign(months=sample.outcome.time, died=sample.outcome.event)
    return CoxPHFitter().fit(known, "months", "died", fit_options={"step_size": 0.5, "precision": 1e-10})


def written(fit: CoxPHFitter, column: str) -> tuple[str, str]:
    """Hazard ratio and P value as the report writes them."""
    found = fit.summary.loc[column]
    ratio = hazard_ratio(found["exp(coef)"], found["exp(coef) lower 95%"], found["exp(coef) upper 95%"])
    return ratio, p_value(found["p"])


# ---------------------------------------------------------------- Table 2


def full_design(sample: Sample) -> pd.DataFrame:
    """Every covariate, factors as 0/1 columns without the reference."""
    factors = ["sex", "location", "ct_lymph_nodes", "m_stage", "grade"]
    first = {
        "sex": "F",
        "location": "cardia_fundus",
        "ct_lymph_nodes": "no",
        "m_stage": "M0",
        "grade": "NETG1",
    }
    dummies = pd.get_dummies(sample.covariates[factors])
    kept = dummies.drop(columns=[f"{name}_{level}" for name, level in first.items()])
    return pd.concat([sample.covariates[["age", "longest_diameter_mm", "ki67_percent"]], kept], axis=1)


def test_table_2_univariable_is_lifelines(study):
    """Hazard ratio, Wald interval and P value of single covariates."""
    table, sample = table_2_hazard_ratios(study), study.samples["training"]
    age = row(table, "Age (years)")
    fit = lifelines_fit(sample, sample.covariates[["age"]])
    assert (age["Univariable HR (95 % CI)"], age["Univariable P value"]) == written(fit, "age")
    assert age["Univariable test"] == "Wald test"
    stage = row(table, "M stage", "M1")
    fit = lifelines_fit(sample, pd.DataFrame({"m1": sample.covariates["m_stage"] == "M1"}))
    assert (stage["Univariable HR (95 % CI)"], stage["Univariable P value"]) == written(fit, "m1")


def test_table_2_multivariable_is_lifelines(study):
    """All covariates together, levels of factors included."""
    table, sample = table_2_hazard_ratios(study), study.samples["training"]
    fit = lifelines_fit(sample, full_design(sample))
    for labels, column in (
        (("Ki-67 (%)", "per unit"), "ki67_percent"),
        (("Location", "Antrum"), "location_antrum"),
        (("Grade", "NEC"), "grade_NEC"),
    ):
        found = row(table, *labels)
        cells = found["Multivariable HR (95 % CI)"], found["Multivariable P value"]
        assert cells == written(fit, column)


def test_table_2_tests_a_factor_as_a_whole_by_likelihood_ratio(study):
    """Twice the log-likelihood that the factor's columns are worth, with as many degrees of freedom."""
    table, sample = table_2_hazard_ratios(study), study.samples["training"]
    columns = full_design(sample)
    whole = lifelines_fit(sample, columns).log_likelihood_
    less = lifelines_fit(sample, columns[[n for n in columns if not n.startswith("grade_")]]).log_likelihood_
    found = row(table, "Grade")
    assert found["Multivariable P value"] == p_value(stats.chi2.sf(2 * (whole - less), 4))
    assert found["Multivariable test"] == "likelihood ratio test, 4 df"
    assert found["Univariable test"] == "likelihood ratio test, 4 df"


def test_table_2_counts_patients_and_deaths_of_each_level(study):
    """The reference is a row of its own, and counted too."""
    table, sample = table_2_hazard_ratios(study), study.samples["training"]
    first = row(table, "M stage", "M0")
    members = (sample.covariates["m_stage"] == "M0").to_numpy()
    assert first["Univariable HR (95 % CI)"] == first["Multivariable HR (95 % CI)"] == "1 (reference)"
    assert first["Patients"] == str(members.sum())
    assert first["Deaths"] == str(sample.outcome.event[members].sum())


def surviving(name: str, level: str) -> Study:
    """A study in which nobody of one level died."""
    sample = laboratory.patients()
    event = sample.outcome.event & (sample.covariates[name] != level).to_numpy()
    return laboratory.study_of(laboratory.with_outcome(sample, sample.outcome.time, event), bootstrap=0)


def test_table_2_says_why_a_ratio_is_infinite():
    """Where no patient of a level died, words stand in place of a number without end."""
    study = surviving("location", "antrum")
    found = row(table_2_hazard_ratios(study), "Location", "Antrum")
    count = int((study.samples["training"].covariates["location"] == "antrum").sum())
    words = f"not estimable: none of the {count} patients died"
    assert found["Univariable HR (95 % CI)"] == found["Multivariable HR (95 % CI)"] == words
    assert found["Univariable P value"] == ""


def test_table_2_says_when_the_reference_is_what_separates():
    """Without a death in the reference, no level has a ratio, and the whole factor still has its test."""
    table = table_2_hazard_ratios(surviving("location", "cardia_fundus"))
    assert "of the reference died" in row(table, "Location", "Body")["Univariable HR (95 % CI)"]
    assert row(table, "Location")["Univariable test"] == "likelihood ratio test, 3 df"


def test_table_2_shows_a_level_that_nobody_has():
    """An absent level is named as absent; the next one becomes the reference if it was the first."""
    sample = laboratory.patients()
    values = sample.covariates["location"].to_numpy(object).copy()
    values[values == "cardia_fundus"] = "antrum"
    study = laboratory.study_of(laboratory.with_covariate(sample, "location", values), bootstrap=0)
    table = table_2_hazard_ratios(study)
    absent = row(table, "Location", "Cardia/fundus")
    assert absent["Univariable HR (95 % CI)"] == "not estimable: no patient has this level"
    assert absent["Patients"] == "0"
    assert row(table, "Location", "Body")["Univariable HR (95 % CI)"] == "1 (reference)"


def test_schoenfeld_has_every_covariate_and_all_together(study):
    """One test each and GLOBAL, with the transform named."""
    table = schoenfeld(study)
    assert table.frame["Covariate"].tolist() == [
        "Age",
        "Sex",
        "Location",
        "Longest diameter",
        "CT-reported LN",
        "M stage",
        "Ki-67",
        "Grade",
        "GLOBAL",
    ]
    assert row(table, "Grade")["Degrees of freedom"] == "4"
    assert row(table, "GLOBAL")["Degrees of freedom"] == "13"
    for name in table.frame["Covariate"][:-1]:
        found = row(table, name)
        p = stats.chi2.sf(float(found["Chi-square"]), int(found["Degrees of freedom"]))
        assert abs(float(found["P value"].lstrip("<")) - p) < 0.006
        assert found["Eligible"] == ("yes" if p > 0.05 else "no")
    assert '"km"' in " ".join(table.notes)


def test_backward_selection_falls_in_aic_and_ends(study):
    """Every step but the last drops a covariate for a lower AIC."""
    table = backward_selection(study)
    aic = table.frame["AIC"].astype(float)
    assert aic.is_monotonic_decreasing
    assert table.frame["Dropped"].iloc[-1] == "nothing"
    for place in range(len(aic) - 1):
        gone = set(table.frame["Covariates"][place].split(", ")) - set(
            table.frame["Covariates"][place + 1].split(", ")
        )
        assert gone == {table.frame["Dropped"][place]}
        assert table.frame["Lowest AIC with one fewer"][place] == table.frame["AIC"][place + 1]


def test_covariates_chosen_beforehand_are_said_to_be(study):
    """A reader sees whether the data or a person chose the clinical model."""
    assert any(
        note.startswith("Covariates of the clinical model: ") for note in backward_selection(study).notes
    )
    told = laboratory.study_of(laboratory.patients(), clinical_terms=("m_stage",), bootstrap=0)
    assert any("given its covariates beforehand: M stage" in note for note in backward_selection(told).notes)


# ---------------------------------------------------------------- signatures


def test_icc_counts_features(study):
    """All features are kept, constant, or below the threshold."""
    found = row(icc(study), "arterial")
    assert found["Features"] == str(FEATURE_COUNT)
    assert found["Constant"] == str(FEATURE_COUNT - laboratory.VARYING)
    assert found["Patients read twice"] == str(laboratory.READ_TWICE)
    fit = study.trained.signatures["arterial"]
    assert found["Kept"] == str(int((fit.reproducibility.values > 0.8).sum()))
    assert found["Median"] == f"{np.nanmedian(fit.reproducibility.values):.2f}"


def test_without_a_second_reading_the_icc_is_not_known():
    """A signature of features that nobody checked says so, in the table and at each feature."""
    study = laboratory.study_of(replace(laboratory.patients(), second={}), bootstrap=0)
    assert "not estimable" in row(icc(study), "venous")["Patients read twice"]
    assert set(signature_features(study).frame["ICC2"]) <= {"not known: no second reading"}


def test_lasso_shows_both_penalties_and_the_used_one(study):
    """lambda.1se is the stronger one; the signature is that of the rule in the settings."""
    table = lasso(study)
    for phase in ("arterial", "venous"):
        weak, strong = row(table, phase, "lambda.min"), row(table, phase, "lambda.1se")
        assert (weak["Used"], strong["Used"]) == ("yes", "no")
        assert float(weak["Lambda"]) <= float(strong["Lambda"])
        assert weak["Features selected"] == str(len(study.signatures[phase].indices))
        assert weak["Folds"] == str(laboratory.SETTINGS.folds)


def test_signature_features_are_those_that_score(study):
    """Each feature of a signature with its number, coefficient and the share of draws that chose it."""
    table = signature_features(study).frame
    venous = table[table["Phase"] == "venous"]
    assert venous["Feature"].tolist() == [f"f{number:04d}" for number in study.signatures["venous"].indices]
    coefficients = venous["Coefficient"].astype(float)
    assert np.allclose(coefficients, study.signatures["venous"].coefficients, rtol=1e-3)
    shares = study.bootstrap.selected["venous"]
    expected = [f"{100 * shares.get(number, 0):.0f} %" for number in study.signatures["venous"].indices]
    assert venous["Selected in bootstrap draws"].tolist() == expected


def test_a_phase_without_signature_is_named():
    """No row, but a sentence, here and where the models are."""
    sample = laboratory.patients()
    features = {**sample.features, "venous": np.zeros_like(sample.features["venous"])}
    study = laboratory.study_of(replace(sample, features=features), bootstrap=0)
    assert "There is no venous signature." in signature_features(study).notes
    cells = row(models(study), "Combined model")
    assert cells["Coefficient"] == "not estimable: there is no venous signature"
    assert row(lasso(study), "venous")["Lambda"].startswith("not estimable: no venous feature")


# ---------------------------------------------------------------- models


def test_models_are_those_of_lifelines(study):
    """Hazard ratio and P value of each term of the combined model."""
    table = models(study)
    fitted = study.trained.fitted["combined"]
    frame = pd.DataFrame(fitted.covariates, columns=list(fitted.terms))
    fit = lifelines_fit(study.samples["training"], frame)
    combined = table.frame[table.frame["Model"] == "Combined model"]
    for (_, found), term in zip(combined.iterrows(), fitted.terms, strict=True):
        assert (found["HR (95 % CI)"], found["P value"]) == written(fit, term)
        assert found["Test"] == "Wald test"


def test_model_summary_is_lifelines(study):
    """AIC, and survival of the mean patient as the baseline of a centred fit."""
    found = row(model_summary(study), "Combined model")
    fitted = study.trained.fitted["combined"]
    frame = pd.DataFrame(fitted.covariates, columns=list(fitted.terms))
    fit = lifelines_fit(study.samples["training"], frame)
    assert found["AIC"] == f"{fit.AIC_partial_:.1f}"
    mean = frame.mean().to_frame().T
    survival = fit.predict_survival_function(mean, times=[36]).iloc[0, 0]
    # lifelines' baseline is Breslow's, ours Efron's: the difference is in ties only
    assert abs(float(found["S(36 months) of the mean patient"]) - survival) < 0.01
    assert found["Deaths"] == str(study.samples["training"].outcome.events)


def test_a_searched_cutoff_is_called_optimistic(study):
    """Its adjusted P value stands there, with the reason."""
    table = model_summary(study)
    assert any(OPTIMISTIC in note for note in table.notes)
    expected = p_value(study.trained.fitted["combined"].cutoff_p)
    assert row(table, "Combined model")["Adjusted P value of the cutoff"] == expected
    median = model_summary(laboratory.study_of(laboratory.patients(), cutoff="median", bootstrap=0))
    assert not any(OPTIMISTIC in note for note in median.notes)
    assert row(median, "Combined model")["Adjusted P value of the cutoff"] == "not searched for by p"


def test_a_disagreement_of_the_second_fit_is_seen(study):
    """Where lifelines differs, the table says so instead of a number."""
    doubted = replace(study, second_opinion={**study.second_opinion, "combined": NotKnown("two fits differ")})
    assert row(model_summary(doubted), "Combined model")["Agreement with lifelines"] == (
        "not estimable: two fits differ"
    )


def test_a_recipe_has_no_standard_errors(study):
    """A validated recipe shows ratios without an interval, and says why."""
    table = models(laboratory.validation_of(study))
    assert set(table.frame["P value"]) == {""}
    assert not table.frame["HR (95 % CI)"].str.contains(r"\(").any()
    assert "without their standard errors" in table.notes[0]
    assert "AIC" not in model_summary(laboratory.validation_of(study)).frame
