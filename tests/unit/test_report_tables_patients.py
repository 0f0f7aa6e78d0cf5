"""Tables of patients: their numbers counted again by hand, their P values by scipy."""

from __future__ import annotations

from dataclasses import replace

import laboratory
import numpy as np
import pandas as pd
import pytest
from lifelines import KaplanMeierFitter
from lifelines.statistics import logrank_test
from scipy import stats

from training.report.items import ReportTable
from training.report.tables_baseline import flow, left_out, table_1_baseline
from training.report.tables_risk_groups import table_4_risk_groups
from training.study import Study

TRAINING = "Training cohort"
EXTERNAL = "External validation cohort"


def row(table: ReportTable, first: str, second: str = "") -> pd.Series:
    """The row of these first two cells; an empty first cell of a level belongs to the row above that has one."""
    frame = table.frame
    owner = frame.iloc[:, 0].replace("", None).ffill()
    found = frame[(owner == first) & (frame.iloc[:, 1] == second if second else frame.iloc[:, 0] == first)]
    assert len(found) == 1, (first, second)
    return found.iloc[0]


def column(table: ReportTable, begins: str) -> str:
    """The one column that begins so."""
    (found,) = [name for name in table.frame.columns if name.startswith(begins)]
    return str(found)


@pytest.fixture(scope="module")
def study() -> Study:
    return laboratory.ordinary_study()


def test_flow_counts_everybody_once(study):
    """In the table = left out + analysed, in each cohort and in all."""
    table = flow(study)
    counts = table.frame.set_index("Patients")
    for cohort in (*counts.columns,):
        numbers = counts[cohort]
        assert int(numbers["In the cohort table"]) == int(
            numbers["Left out: images or contours not evaluable"]
        ) + int(numbers["Analysed"])
    assert counts.loc["In the cohort table", TRAINING] == str(laboratory.SIZES["training"] + 2)
    assert counts.loc["In the cohort table", "All"] == str(sum(laboratory.SIZES.values()) + 3)
    assert counts.loc["of these: tumour-small"].tolist() == ["2", "0", "0", "2"]
    assert counts.loc["of these: roi-none"].tolist() == ["0", "0", "1", "1"]
    assert counts.loc["Contoured twice", TRAINING] == str(laboratory.READ_TWICE)
    assert counts.loc["Deaths among the analysed", TRAINING] == str(study.samples["training"].outcome.events)


def test_flow_says_how_the_split_was_made(study):
    """And where the features came from."""
    notes = " ".join(flow(study).notes)
    assert study.provenance.split in notes
    assert study.provenance.features in notes


def test_flow_counts_who_lacks_a_term(study):
    """Patients who are analysed but not judged are seen to be fewer."""
    sample = laboratory.patients()
    values = sample.covariates["m_stage"].to_numpy(object).copy()
    external = np.flatnonzero(np.array(laboratory.cohorts_of()) == "external")
    values[external[:3]] = None
    poorer = laboratory.study_of(
        laboratory.with_covariate(sample, "m_stage", values), bootstrap=0, clinical_terms=("m_stage",)
    )
    counts = flow(poorer).frame.set_index("Patients")[EXTERNAL]
    assert counts["Analysed"] == "20"
    assert counts["With every term of the models"] == "17"
    died = poorer.samples["external"].outcome.event[3:].sum()
    assert counts["Deaths among these"] == str(died)


def test_who_was_left_out_is_named_by_row(study):
    """A person finds the patient in the cohort table, and nobody else does."""
    table = left_out(study)
    assert table.frame["Row"].tolist() == ["3", "9", "11"]
    assert table.frame["Reason"][0] == laboratory.LEFT_OUT[0].reason
    assert not table.frame.apply(lambda one: one.str.contains("L-")).to_numpy().any()


# ---------------------------------------------------------------- Table 1


def test_table_1_counts_levels(study):
    """Counts and percentages are those of the cohort."""
    table = table_1_baseline(study)
    for name, sample in study.samples.items():
        cell = row(table, "M stage", "M1, n (%)")[column(table, name.title())]
        count = int((sample.covariates["m_stage"] == "M1").sum())
        assert cell == f"{count} ({100 * count / len(sample):.1f})"


def test_table_1_means(study):
    """Mean and sample standard deviation."""
    table = table_1_baseline(study)
    age = study.samples["training"].covariates["age"]
    assert row(table, "Age (years)")[column(table, TRAINING)] == f"{age.mean():.2f} ± {age.std():.2f}"


def test_table_1_compares_three_cohorts_of_numbers_by_anova(study):
    """The P value is scipy's, and the test stands beside it."""
    table = table_1_baseline(study)
    found = row(table, "Longest diameter (mm)")
    groups = [sample.covariates["longest_diameter_mm"] for sample in study.samples.values()]
    assert found["P value"] == f"{stats.f_oneway(*groups).pvalue:.3f}"
    assert found["Test"] == "one-way ANOVA"


def test_table_1_compares_counts_by_chi_squared(study):
    """The P value is scipy's, over all three cohorts."""
    table = table_1_baseline(study)
    counts = [
        [int((sample.covariates["sex"] == level).sum()) for sample in study.samples.values()]
        for level in ("F", "M")
    ]
    found = row(table, "Sex")
    assert found["P value"] == f"{stats.chi2_contingency(counts, correction=False).pvalue:.3f}"
    assert found["Test"] == "Pearson chi-squared test"


def test_table_1_survival_is_that_of_lifelines(study):
    """Median by Kaplan-Meier, follow-up by the reverse estimate."""
    table = table_1_baseline(study)
    outcome = study.samples["training"].outcome
    for labels, event in (
        (("Overall survival (months)", "median (95 % CI)"), outcome.event),
        (("Follow-up (months)", "median (95 % CI)"), ~outcome.event),
    ):
        median = KaplanMeierFitter().fit(outcome.time, event).median_survival_time_
        assert row(table, *labels)[column(table, TRAINING)].startswith(f"{median:.1f} (")
    assert row(table, "Deaths", "n (%)")[column(table, TRAINING)].startswith(f"{outcome.events} (")
    assert row(table, "Overall survival (months)", "median (95 % CI)")["Test"] == "log-rank test"


def test_a_level_that_a_cohort_lacks_is_zero():
    """An absent level is a count of 0, not a gap."""
    sample = laboratory.patients()
    values = sample.covariates["location"].to_numpy(object).copy()
    external = np.array(laboratory.cohorts_of()) == "external"
    values[external & (values == "antrum")] = "body"
    study = laboratory.study_of(laboratory.with_covariate(sample, "location", values), bootstrap=0)
    table = table_1_baseline(study)
    assert row(table, "Location", "Antrum, n (%)")[column(table, EXTERNAL)] == "0 (0.0)"


def test_missing_values_have_a_row_and_no_share():
    """Percentages are of the patients whose value is known."""
    sample = laboratory.patients()
    values = sample.covariates["sex"].to_numpy(object).copy()
    values[:10] = None
    study = laboratory.study_of(laboratory.with_covariate(sample, "sex", values), bootstrap=0)
    table = table_1_baseline(study)
    assert row(table, "Sex", "missing, n")[column(table, TRAINING)] == "10"
    assert row(table, "Sex", "missing, n")[column(table, EXTERNAL)] == "0"
    count = int((values[: laboratory.SIZES["training"]] == "F").sum())
    share = 100 * count / (laboratory.SIZES["training"] - 10)
    assert row(table, "Sex", "Female, n (%)")[column(table, TRAINING)] == f"{count} ({share:.1f})"


def test_one_cohort_is_compared_with_nothing(study):
    """No P value where there is one group."""
    table = table_1_baseline(laboratory.validation_of(study))
    assert set(table.frame["P value"]) == {""}
    assert "There is one cohort only, so nothing is compared." in table.notes


# ---------------------------------------------------------------- Table 4


def groups_of(study: Study, cohort: str) -> tuple[np.ndarray, np.ndarray]:
    """(high risk, deaths) of the patients who were judged."""
    judged = study.evaluations[cohort]
    return judged.models["combined"].high, judged.outcome.event


def test_table_4_divides_at_the_cutoff(study):
    """Sizes, deaths and counts are of the two groups of the combined model."""
    table = table_4_risk_groups(study)
    high, died = groups_of(study, "training")
    stage = (study.samples["training"].covariates["m_stage"] == "M1").to_numpy()
    for words, group in (("low", ~high), ("high", high)):
        name = f"{TRAINING}: {words} risk (n={group.sum()})"
        assert row(table, "Deaths", "n (%)")[name].startswith(f"{died[group].sum()} (")
        assert row(table, "M stage", "M1, n (%)")[name].startswith(f"{stage[group].sum()} (")


def test_table_4_names_its_tests(study):
    """The P value of a number is scipy's for the test that is named."""
    table = table_4_risk_groups(study)
    high, _ = groups_of(study, "training")
    age = study.samples["training"].covariates["age"].to_numpy()
    found = row(table, "Age (years)")
    tests = {
        "Welch t test": lambda: stats.ttest_ind(age[~high], age[high], equal_var=False),
        "Mann-Whitney U test, normal approximation": lambda: stats.mannwhitneyu(
            age[~high], age[high], method="asymptotic"
        ),
        "Mann-Whitney U test, exact": lambda: stats.mannwhitneyu(age[~high], age[high], method="exact"),
    }
    expected = tests[found[f"{TRAINING}: test"]]().pvalue
    assert found[f"{TRAINING}: P value"] == f"{expected:.3f}"


def test_table_4_survival_is_compared_by_log_rank(study):
    """The P value of lifelines is found in the external cohort."""
    table = table_4_risk_groups(study)
    judged = study.evaluations["external"]
    high, outcome = judged.models["combined"].high, judged.outcome
    test = logrank_test(outcome.time[high], outcome.time[~high], outcome.event[high], outcome.event[~high])
    found = row(table, "Overall survival (months)", "median (95 % CI)")
    expected = "<0.001" if test.p_value < 0.001 else f"{test.p_value:.3f}"
    assert found[f"{EXTERNAL}: P value"] == expected


def test_table_4_warns_of_the_chosen_cutoff(study):
    """In the cohort that chose the cutoff, the P value is too small; elsewhere it is not."""
    assert "optimistic" in " ".join(table_4_risk_groups(study).notes)
    median = laboratory.study_of(laboratory.patients(), cutoff="median", bootstrap=0)
    assert "optimistic" not in " ".join(table_4_risk_groups(median).notes)
    assert "optimistic" not in " ".join(table_4_risk_groups(laboratory.validation_of(study)).notes)


def test_an_empty_risk_group_is_said_to_be_empty(study):
    """Nobody above the cutoff: no number for them, and no test."""
    judged = study.evaluations["external"]
    model = judged.models["combined"]
    nobody = replace(model, high=np.zeros_like(model.high))
    changed = replace(judged, models={**judged.models, "combined": nobody})
    lonely = replace(study, evaluations={**study.evaluations, "external": changed})
    table = table_4_risk_groups(lonely)
    assert row(table, "Age (years)")[f"{EXTERNAL}: high risk (n=0)"] == "nobody"
    found = row(table, "Overall survival (months)", "median (95 % CI)")
    assert found[f"{EXTERNAL}: P value"] == "not estimable: nobody is in the high-risk group"


def test_the_best_model_there_is_divides():
    """Without signatures the clinical model makes the groups, and the note says so."""
    sample = laboratory.patients()
    features = {phase: np.zeros_like(values) for phase, values in sample.features.items()}
    study = laboratory.study_of(replace(sample, features=features), bootstrap=0)
    assert table_4_risk_groups(study).notes[0].startswith("Groups of the clinical model")
