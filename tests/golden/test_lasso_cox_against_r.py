"""The LASSO-Cox path and its cross-validation against glmnet, run there to a tolerance of 1e-16."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from r_figures import figures, table

from prognode.statistics.cross_validation import cross_validate
from prognode.statistics.lasso_cox import lasso_cox_path
from prognode.statistics.outcome import outcome

R = figures("lasso_cox")


def data(name: str):
    """(features (n, p), their names, outcome, folds) of one golden fit."""
    if name == "lung":
        lung = table("lung_cc")
        features = lung.drop(columns=["time", "status"])
        return (
            features.to_numpy(float),
            list(features),
            outcome(lung.time, lung.status),
            np.tile(range(1, 11), 21),
        )
    cohort, features = table("cohort_train"), table("features_train_46")
    time = cohort.time_tied if name == "cohort_tied" else cohort.time
    columns = features.drop(columns=["id", "foldid"])
    return columns.to_numpy(float), list(columns), outcome(time, cohort.event), features.foldid.to_numpy()


@pytest.mark.parametrize("name", ["cohort", "cohort_tied", "lung"])
def test_coefficients_are_those_of_glmnet(name):
    """At eight places of the path: the same features, and coefficients to where coordinate descent ends (5e-6)."""
    features, names, followed, _ = data(name)
    path = lasso_cox_path(features, followed, R[name]["lambda"])
    assert path.null_deviance == pytest.approx(R[name]["nulldev"], rel=1e-12)
    assert path.deviance_ratio == pytest.approx(R[name]["dev_ratio"], abs=1e-7)
    for at in R[name]["at"]:
        ours = {
            names[feature]: path.coefficients[at["place"], feature] for feature in path.selected(at["place"])
        }
        assert ours == pytest.approx(at["nonzero"], rel=1e-6, abs=5e-6)


@pytest.mark.parametrize("name", ["cohort", "cohort_tied", "lung"])
def test_lambda_grid_is_glmnets(name):
    """The first lambda selects nothing, the others follow in R's ratio."""
    features, _, followed, _ = data(name)
    path, asked = lasso_cox_path(features, followed), np.array(R[name]["lambda"])
    together = min(len(path.lambdas), len(asked))
    assert together >= len(asked) - 1
    assert path.lambdas[:together] == pytest.approx(asked[:together], rel=1e-7)


@pytest.mark.parametrize("name", ["cohort", "cohort_tied", "lung"])
def test_cross_validation_is_cv_glmnets(name):
    """Mean deviance and its standard error at every lambda, and both chosen places."""
    features, _, followed, folds = data(name)
    expected = R[name]["cv"]
    found = cross_validate(features, followed, folds, np.array(R[name]["lambda"]))
    assert found.deviance == pytest.approx(expected["cvm"], rel=1e-6)
    assert found.standard_error == pytest.approx(expected["cvsd"], rel=1e-5)
    assert (found.minimum, found.one_se) == (expected["min"], expected["one_se"])


@pytest.fixture(scope="module")
def whole(reference_dir):
    """The 76 x 2048 table of the reference folder, with R's figures on it."""
    folder = reference_dir / "stats"
    cohort = pd.read_csv(folder / "data" / "cohort_train.csv")
    features = pd.read_csv(folder / "data" / "features_train.csv").drop(columns="id")
    folds = pd.read_csv(folder / "data" / "foldid_train.csv").foldid.to_numpy()
    expected = json.loads((folder / "ref" / "04_glmnet.json").read_text())
    return features, outcome(cohort.time, cohort.event), folds, expected


@pytest.mark.reference
def test_2048_features_give_the_path_of_glmnet(whole):
    """76 patients, 2048 features of which three are constant: every nonzero set of the tight path, and its coefficients."""
    features, followed, _, expected = whole
    tight = expected["resnet_like"]["path_tight"]
    path = lasso_cox_path(features.to_numpy(), followed, tight["lambda"])
    names = np.array(features.columns)
    for place, theirs in enumerate(tight["path_nonzero_sets"][1:], 1):
        assert set(names[path.selected(place)]) == set(np.atleast_1d(theirs))
    for at in tight["coef_at"]:
        place = at["index_1based"] - 1
        ours = {names[feature]: path.coefficients[place, feature] for feature in path.selected(place)}
        assert ours == pytest.approx(at["nonzero"], rel=2e-5, abs=1e-6)


@pytest.mark.reference
@pytest.mark.parametrize("rule", ["min", "1se"])
def test_radiomics_scores_are_those_of_cv_glmnet(whole, reference_dir, rule):
    """lambda.min and lambda.1se, and the scores of all three cohorts, to the digits that glmnet's default reaches."""
    features, followed, folds, expected = whole
    found = cross_validate(features.to_numpy(), followed, folds)
    cv = expected["resnet_like"]["cv_deviance"]
    place = {"min": cv["index_min_1based"], "1se": cv["index_1se_1based"]}[rule] - 1
    assert found.place(rule) == place
    coefficients = found.path.coefficients[place]
    for part, scores in expected["radscore_cv_deviance"][f"lambda_{rule}"].items():
        table = pd.read_csv(reference_dir / "stats" / "data" / f"features_{part}.csv").drop(columns="id")
        assert table.to_numpy() @ coefficients == pytest.approx(scores, abs=2e-3)
