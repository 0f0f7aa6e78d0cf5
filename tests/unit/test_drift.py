"""The drift table: a cohort like training's shows none, a shifted one shows where."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from laboratory import ordinary_study, patients

from training.drift import drift, reference_distribution
from training.models import term_values


@pytest.fixture(scope="module")
def reference():
    """The training cohort in summary."""
    study = ordinary_study()
    return reference_distribution(study.trained.sample, study.values["training"], study.signatures)


def by_name(reference, sample):
    """Rows of the drift table of a sample."""
    values = term_values(sample, ordinary_study().signatures)
    return {(one.kind, one.name): one for one in drift(reference, sample, values)}


def test_the_training_cohort_does_not_differ_from_itself(reference):
    """Every difference is zero and nothing lies outside."""
    rows = by_name(reference, ordinary_study().trained.sample)
    assert len(rows) > 20
    for one in rows.values():
        assert one.difference == pytest.approx(0.0, abs=1e-12)
        assert not one.outside
        assert not one.noteworthy


def test_a_shift_is_seen_where_it_is_and_nowhere_else(reference):
    """Ki-67 one standard deviation higher, one used feature far outside: both rows say so, sex does not."""
    sample = ordinary_study().trained.sample
    covariates = sample.covariates.copy()
    covariates["ki67_percent"] += covariates["ki67_percent"].std(ddof=1)
    arterial = sample.features["arterial"].copy()
    number = ordinary_study().signatures["arterial"].indices[0]
    arterial[:, number] += 100.0
    shifted = replace(sample, covariates=covariates, features={**sample.features, "arterial": arterial})
    rows = by_name(reference, shifted)
    assert rows["covariate", "Ki-67"].difference == pytest.approx(1.0)
    assert rows["covariate", "Ki-67"].noteworthy
    feature = rows["feature, arterial", f"f{number:04d}"]
    assert feature.outside == 1.0
    assert feature.noteworthy
    assert rows["signature", "Signature, arterial phase"].noteworthy
    assert not rows["covariate", "Sex: Male"].noteworthy


def test_shares_are_compared_by_cohens_h(reference):
    """Cohen's h is 2 asin(sqrt(p2)) - 2 asin(sqrt(p1)), by hand for M1."""
    sample = ordinary_study().trained.sample
    covariates = sample.covariates.copy()
    covariates["m_stage"] = "M1"
    rows = by_name(reference, replace(sample, covariates=covariates))
    share = (sample.covariates["m_stage"] == "M1").mean()
    expected = 2 * np.arcsin(1.0) - 2 * np.arcsin(np.sqrt(share))
    assert rows["covariate", "M stage: M1"].difference == pytest.approx(expected)
    assert rows["covariate", "M stage: M1"].here == f"{len(sample)} (100.0 %)"


def test_what_is_missing_is_not_compared(reference):
    """A covariate without a value has no difference, and says how many values there are."""
    sample = patients().of(np.arange(5))
    covariates = sample.covariates.copy()
    covariates["age"] = np.nan
    rows = by_name(reference, replace(sample, covariates=covariates))
    assert rows["covariate", "Age"].difference is None
    assert rows["covariate", "Age"].here == "0 values"


def test_the_summary_names_only_features_that_are_used(reference):
    """A recipe carries no distribution of features that no signature reads."""
    for phase, signature in ordinary_study().signatures.items():
        assert {int(number) for number in reference["features"][phase]} == set(signature.indices)
