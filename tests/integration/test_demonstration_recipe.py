"""The demonstration recipe is what the laboratory makes of its synthetic cohort, and can be made again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from node import prognode

from prognode.adapters.onnx_extractor import OnnxExtractor
from prognode.domain.recipe import recipe_from_json
from prognode.domain.verification import verify
from training.demonstration import demonstration_document, write_demonstration_network


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Path:
    """The demonstration's network, made here."""
    path = tmp_path_factory.mktemp("network") / "random.onnx"
    write_demonstration_network(path)
    return path


def test_the_recipe_reproduces_on_the_network_made_here(network):
    """Digest, reference crops and reference prognoses: the node would start."""
    recipe = recipe_from_json(demonstration_document())
    verify(recipe, OnnxExtractor(network))
    assert recipe.demonstration
    assert recipe.training["synthetic"]


@pytest.mark.timeout(1200)
def test_the_study_that_it_comes_from_gives_it_again(network, tmp_path):
    """What ``make lab`` does, without the bootstrap: the same features are selected, and the numbers agree.

    Another processor rounds features otherwise in the seventh digit, so the numbers are compared to 1e-3.
    """
    assert prognode("synth", "cohort", "--out", tmp_path / "cohort").status == 0
    ended = prognode(
        *("train", tmp_path / "cohort" / "cohort.csv", "--out", tmp_path / "study"),
        *("--extractor", network, "--name", "prognode-demonstration", "--version", "2", "--bootstrap", "0"),
    )
    assert ended.status == 0, ended.errors
    made = json.loads((tmp_path / "study" / "recipe.json").read_text())
    kept = demonstration_document()
    for phase in ("arterial", "venous"):
        first, second = (
            {term["feature"]: term["coefficient"] for term in document["signatures"][phase]["terms"]}
            for document in (made, kept)
        )
        assert first == pytest.approx(second, rel=1e-3)
    for name in kept["models"]:
        for first, second in zip(made["models"][name]["terms"], kept["models"][name]["terms"], strict=True):
            assert first["name"] == second["name"]
            assert first["coefficient"] == pytest.approx(second["coefficient"], rel=1e-3)
        cutoffs = (document["models"][name]["cutoff"]["value"] for document in (made, kept))
        assert next(cutoffs) == pytest.approx(next(cutoffs), rel=1e-3)
    assert made["name"] == kept["name"]
    assert made["training"]["patients"] == kept["training"]["patients"] == 76


def test_training_finds_what_was_planted():
    """Every term of the nomogram raises the hazard, as the synthetic cohort says it does."""
    recipe = recipe_from_json(demonstration_document())
    assert {term.name for term in recipe.combined.terms} == {
        "signature_arterial",
        "signature_venous",
        "ki67_percent",
        "longest_diameter_mm",
        "m_stage",
    }
    assert all(term.coefficient > 0 for term in recipe.combined.terms)
