"""Training: what it sees and what it does not, and what it says when there is nothing to find."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from laboratory import SIZES, cohorts_of, ordinary_study, patients, study_of, with_outcome
from plain_extractor import PlainExtractor

from prognode.domain.recipe import canonical_json, recipe_from_json
from prognode.domain.verification import verify
from prognode.errors import BadRequest, NotEstimable
from prognode.statistics.outcome import Outcome
from training.estimates import NotKnown, estimated
from training.export import data_digest, recipe_document, why_no_recipe
from training.sample import Sample
from training.settings import Settings
from training.train import train

EXTRACTOR = PlainExtractor()
TRAINING = SIZES["training"]


def recipe_of(study) -> bytes:
    """The study's recipe as canonical bytes."""
    return canonical_json(recipe_document(study, EXTRACTOR))


def rewritten(sample: Sample, chosen: np.ndarray) -> Sample:
    """The sample with other outcomes, features and covariates for some patients."""
    random = np.random.default_rng(99)
    features = {phase: values.copy() for phase, values in sample.features.items()}
    for values in features.values():
        values[chosen] = random.standard_normal((int(chosen.sum()), values.shape[1]))
    time, event = sample.outcome.time.copy(), sample.outcome.event.copy()
    time[chosen], event[chosen] = random.uniform(1, 120, chosen.sum()), random.random(chosen.sum()) < 0.5
    covariates = sample.covariates.copy()
    covariates.loc[chosen, "ki67_percent"] = random.uniform(0, 100, chosen.sum())
    covariates.loc[chosen, "m_stage"] = "M1"
    return replace(sample, features=features, outcome=Outcome(time, event), covariates=covariates)


@pytest.mark.parametrize("cohort", ["internal", "external"])
def test_validation_patients_are_never_touched_in_training(cohort):
    """Whatever the patients of another cohort are, the recipe is the same byte for byte."""
    judging = np.array([one == cohort for one in cohorts_of()])
    changed = study_of(rewritten(patients(), judging))
    assert recipe_of(changed) == recipe_of(ordinary_study())
    before = ordinary_study().evaluations[cohort].models["combined"].concordance
    after = changed.evaluations[cohort].models["combined"].concordance
    assert before.value != after.value


def test_a_training_patient_does_matter():
    """The same test would see it if training patients were left out by mistake."""
    time = patients().outcome.time.copy()
    time[0] += 1.0
    later = with_outcome(patients(), time, patients().outcome.event)
    assert recipe_of(study_of(later)) != recipe_of(ordinary_study())


def test_two_runs_give_the_same_recipe_byte_for_byte():
    """Nothing in a recipe depends on the clock, the order of sets, or the number of workers."""
    assert recipe_of(study_of(patients())) == recipe_of(ordinary_study())


def test_the_recipe_fits_its_schema_and_reproduces():
    """The node would take it: schema, meaning, reference cases."""
    document = recipe_document(ordinary_study(), EXTRACTOR)
    recipe = recipe_from_json(document)
    verify(recipe, EXTRACTOR)
    assert recipe.clinical is not None
    assert recipe.training["events"] == ordinary_study().trained.sample.outcome.events
    assert len(recipe.training["data_sha256"]) == 64


def test_the_recipe_holds_no_patient():
    """No id, and no row of the training data: neither a follow-up with its covariates nor a patient's features."""
    text = canonical_json(recipe_document(ordinary_study(), EXTRACTOR)).decode()
    sample = ordinary_study().trained.sample
    assert not any(patient in text for patient in sample.ids)
    for values in sample.features.values():
        assert not any(f"{value:.6g}" in text for value in values[:, 0])


def test_planted_features_are_found():
    """The two features that carry the outcome are in the signatures, with the sign they were given."""
    signatures = ordinary_study().signatures
    arterial = dict(zip(signatures["arterial"].indices, signatures["arterial"].coefficients, strict=True))
    venous = dict(zip(signatures["venous"].indices, signatures["venous"].coefficients, strict=True))
    assert arterial[0] > 0
    assert venous[1] > 0


def test_features_that_a_second_reading_does_not_reproduce_are_put_aside():
    """The four features that were read at random the second time are no candidates."""
    for fit in ordinary_study().trained.signatures.values():
        assert not set(range(20, 24)) & set(fit.candidates)
        assert set(range(20)) == set(fit.candidates)


def test_the_digest_does_not_depend_on_the_order_of_rows_or_on_names():
    """The same patients in another order, under other names, are the same data."""
    sample = patients()
    turned = sample.of(np.arange(len(sample))[::-1])
    renamed = replace(turned, ids=tuple(f"other-{number}" for number in range(len(sample))))
    assert data_digest(renamed) == data_digest(sample)
    assert data_digest(sample.of(np.arange(1, len(sample)))) != data_digest(sample)


# ---------------------------------------------------------------- honest edges


def test_a_lasso_that_selects_nothing_builds_no_signature_and_says_so():
    """With an outcome that no feature predicts, lambda.1se selects nothing: no signature, no recipe, a sentence."""
    random = np.random.default_rng(5)
    sample = patients()
    order = random.permutation(len(sample))
    null = with_outcome(sample, sample.outcome.time[order], sample.outcome.event[order])
    study = study_of(null, lambda_rule="1se", bootstrap=0)
    assert study.signatures == {}
    expected = "there is no signatures model: there is no arterial and no venous signature"
    assert why_no_recipe(study) == expected
    assert any("lambda.min penalises less" in remark for remark in study.trained.remarks)
    assert isinstance(study.trained.models["combined"], NotKnown)
    with pytest.raises(NotEstimable):
        recipe_document(study, EXTRACTOR)


def test_without_deaths_every_number_is_a_sentence():
    """Nobody died: nothing is fitted, nothing crashes, everything says why."""
    sample = patients()
    study = study_of(with_outcome(sample, sample.outcome.time, np.zeros(len(sample), np.bool_)), bootstrap=0)
    assert study.models == {}
    assert all(isinstance(model, NotKnown) and model.why for model in study.trained.models.values())
    assert all(isinstance(one, NotKnown) for one in study.evaluations.values())
    assert why_no_recipe(study)


def test_where_everybody_died_training_goes_on():
    """All events, no censoring: every curve reaches zero, and the models are fitted."""
    sample = patients()
    everybody = with_outcome(sample, np.maximum(sample.outcome.time, 1.0), np.ones(len(sample), np.bool_))
    study = study_of(everybody, bootstrap=0)
    assert set(study.models) == {"clinical", "signatures", "combined"}


def test_missing_values_are_counted_and_left_out_and_not_filled_in():
    """Patients who lack Ki-67 are in the signatures and not in the combined model, which says how many it had."""
    sample = patients()
    covariates = sample.covariates.copy()
    covariates.loc[:9, "ki67_percent"] = np.nan
    study = study_of(replace(sample, covariates=covariates), clinical_terms=("ki67_percent",), bootstrap=0)
    assert study.trained.patients == {
        "clinical": TRAINING - 10,
        "signatures": TRAINING,
        "combined": TRAINING - 10,
    }
    assert any("10 of 64 training patients lack a covariate" in one for one in study.trained.clinical.remarks)


def test_a_separated_factor_has_no_finite_hazard_ratio_and_is_named():
    """A grade of which nobody died: the others keep their ratios, the remark names it, and no model uses it."""
    sample = patients()
    covariates = sample.covariates.copy()
    training = np.arange(len(sample)) < TRAINING
    alive = ~sample.outcome.event
    covariates["grade"] = np.where(training & alive, "NETG2", "NEC")
    covariates.loc[:4, "grade"] = "NETG1"
    study = study_of(replace(sample, covariates=covariates), bootstrap=0)
    remarks = " ".join(study.trained.clinical.remarks)
    assert "NETG2" in remarks
    assert "grade" not in study.trained.clinical.chosen


def test_constant_columns_are_no_candidates():
    """2024 of the 2048 features are constant: none of them is ever selected."""
    for signature in ordinary_study().signatures.values():
        assert max(signature.indices) < 24


def test_tied_times_are_fitted():
    """Follow-up in whole half years ties most deaths; Efron's likelihood is fitted, not refused."""
    sample = patients()
    tied = with_outcome(sample, np.ceil(sample.outcome.time / 6) * 6, sample.outcome.event)
    assert set(study_of(tied, bootstrap=0).models) == {"clinical", "signatures", "combined"}


def test_a_tiny_cohort_is_a_sentence():
    """Six patients: too few deaths for any fold."""
    tiny = patients().of(np.arange(6))
    trained = train(tiny, Settings(bootstrap=0))
    assert all(fit.why_not for fit in trained.signatures.values())
    assert all(isinstance(trained.models[name], NotKnown) for name in ("signatures", "combined"))


def test_without_second_readings_it_is_said_that_reproducibility_is_not_known():
    """The ICC filter is not skipped in silence."""
    sample = patients()
    once = replace(sample, second={phase: np.full_like(v, np.nan) for phase, v in sample.second.items()})
    remarks = study_of(once, bootstrap=0).trained.remarks
    assert sum("reproducible is not known" in remark for remark in remarks) == 2


def test_a_level_that_the_training_cohort_lacks_is_named():
    """Grade NETG3 occurs in validation only: the report says so, and its column is not fitted."""
    sample = patients()
    covariates = sample.covariates.copy()
    covariates.loc[: TRAINING - 1, "grade"] = np.where(np.arange(TRAINING) % 2, "NETG1", "NEC")
    study = study_of(replace(sample, covariates=covariates), bootstrap=0)
    assert any("no patient of the training cohort is NETG2" in one for one in study.trained.clinical.remarks)


def test_a_warning_becomes_a_sentence():
    """Arithmetic that warns gives no number, even where somebody told the whole process not to warn."""
    with np.errstate(all="ignore"):
        found = estimated(lambda: np.log(np.zeros(2)))
    assert isinstance(found, NotKnown)
    assert "warned" in found.why


def test_covariates_that_the_node_is_not_given_are_refused_as_clinical_terms():
    """A recipe with age in it could never be served."""
    with pytest.raises(BadRequest, match="age"):
        Settings(clinical_terms=("age",))


def test_a_clinical_term_that_is_named_twice_is_refused():
    """Two equal columns have no coefficients; that is a slip of the pen, and no matter for the report."""
    with pytest.raises(BadRequest, match="ki67_percent more than once; name each covariate once"):
        Settings(clinical_terms=("ki67_percent", "m_stage", "ki67_percent"))


@pytest.mark.parametrize("method", ["median", "youden", "max-log-rank"])
def test_the_cutoff_is_locked_in_training(method):
    """Each method gives its cutoff from the training patients, and every cohort is divided by it."""
    study = study_of(patients(), cutoff=method, bootstrap=0)
    model = study.models["combined"]
    judged = study.evaluations["training"].models["combined"]
    assert model.cutoff.value in judged.lp or method == "median"
    for evaluation in study.evaluations.values():
        one = evaluation.models["combined"]
        assert (one.high == (one.lp > model.cutoff.value)).all()
