"""What a recipe promises: checked on reading, identified by its content, proved before use."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from made_up_recipe import make_up_recipe
from plain_extractor import PlainExtractor

from prognode.adapters.recipe_file import load_recipe, parse_recipe, write_recipe
from prognode.domain.recipe import canonical_json, digest_of, recipe_from_json
from prognode.domain.reference_crop import reference_crop
from prognode.domain.verification import verify
from prognode.errors import BadRequest, RecipeMismatch

EXAMPLES = Path(__file__).resolve().parents[2] / "schemas" / "examples"
PINNED_SUM = -64089179
PINNED_PIXELS = [83.0, 91.0, 93.0, 103.0, 105.0, 124.0]


@pytest.fixture(scope="module")
def extractor():
    return PlainExtractor()


@pytest.fixture(scope="module")
def made(extractor):
    return make_up_recipe(extractor)


@pytest.fixture
def document(made):
    return copy.deepcopy(made)


def parse(document):
    return parse_recipe(json.dumps(document).encode())


def with_change(document, path, value):
    """Set ``value`` at a dotted path."""
    *parents, last = (int(part) if part.isdigit() else part for part in path.split("."))
    place = document
    for part in parents:
        place = place[part]
    place[last] = value
    return document


# ---------------------------------------------------------------- the document


def test_demonstration_recipe_says_what_it_is(document):
    """Nobody can take its figures for a fitted model's."""
    recipe = parse(document)
    assert recipe.demonstration
    assert recipe.identity.demonstration
    assert "synthetic" in recipe.notices[0]
    assert recipe.training["synthetic"] is True
    assert all("demonstration" in model.cutoff.method for model in (recipe.combined, recipe.signatures_only))


def test_demonstration_recipe_is_the_same_every_time(extractor, document):
    """Same extractor, same bytes."""
    assert canonical_json(make_up_recipe(extractor)) == canonical_json(document)


def test_recipe_survives_its_file(document, tmp_path):
    """Written and read back, it is the same recipe with the same digest."""
    write_recipe(document, tmp_path / "recipe.json")
    recipe = load_recipe(tmp_path / "recipe.json")
    assert recipe.digest == digest_of(document)
    assert recipe == recipe_from_json(document)


def test_digest_ignores_the_order_of_keys_and_sees_a_changed_value(document):
    """The identity is the content's, not the typing's."""
    reordered = dict(reversed(document.items()))
    assert parse(reordered).digest == parse(document).digest
    assert parse(with_change(document, "version", "2")).digest != digest_of(reordered)


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("recipe*.json")), ids=lambda path: path.name)
def test_examples_fit_the_schema(example):
    """The example in the repository is a recipe that this code reads and whose prognoses it reproduces."""
    recipe = load_recipe(example)
    assert recipe.reference_prognoses
    assert recipe.reference_features


def test_an_example_is_there():
    """A schema without an example would pass the test above in silence."""
    assert list(EXAMPLES.glob("recipe*.json"))


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("schema_version", 2, "$.schema_version"),
        ("name", 7, "$.name"),
        ("extractor.sha256", "abc", "$.extractor.sha256"),
        ("signatures.arterial.terms.0.feature", 2048, "$.signatures.arterial.terms[0].feature"),
        ("signatures.venous.scale", 0, "$.signatures.venous.scale"),
        ("models.combined.baseline.method", "breslow", "$.models.combined.baseline.method"),
        ("models.combined.terms.0.name", "grade", "$.models.combined.terms[0].name"),
        ("preprocessing.size_px", 256, "$.preprocessing.size_px"),
        ("unknown", 1, "$"),
        ("reference_cases.prognoses", [], "$.reference_cases.prognoses"),
        ("reference_cases.features.0.features", {"2048": 1.0}, "$.reference_cases.features[0].features"),
    ],
)
def test_schema_fault_is_named_by_its_path(document, path, value, named):
    """A person who edits a recipe is told where it is wrong."""
    with pytest.raises(BadRequest) as fault:
        parse(with_change(document, path, value))
    assert f"recipe, {named}: " in str(fault.value)


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (
            "models.combined.baseline.months.3",
            0.5,
            "$.models.combined.baseline.months: event times must rise",
        ),
        ("models.signatures.baseline.cumulative_hazard.0", 9.0, "a cumulative hazard never falls"),
        ("models.signatures.baseline.cumulative_hazard", [0.1], "differ in length"),
        ("horizons_months", [36, 120], "the follow-up ends before the last horizon"),
        ("models.combined.baseline.follow_up_months", 50.0, "the follow-up ends before the last event"),
        ("models.signatures.terms.1.name", "ki67_percent", "$.models.signatures.terms: only"),
        ("models.combined.terms.1.name", "signature_arterial", "a term is named twice"),
        ("models.combined.terms.0.axis", [1.0, 0.0], "$.models.combined.terms[0].axis: ticks must rise"),
        ("models.combined.terms.4.axis", [0, 2], "M stage is 0 (M0) or 1 (M1)"),
        ("models.combined.terms.4.axis_labels", ["M0"], "one label per tick"),
        ("covariates.ki67_percent.maximum", 0, "$.covariates.ki67_percent: minimum must be below maximum"),
    ],
)
def test_fault_of_meaning_is_named(document, path, value, named):
    """What a schema cannot say is checked as well."""
    with pytest.raises(BadRequest) as fault:
        parse(with_change(document, path, value))
    assert named in str(fault.value)


def test_feature_named_twice_is_refused(document):
    """Two coefficients for one feature would be a slip of whoever made the recipe."""
    terms = document["signatures"]["arterial"]["terms"]
    terms[1]["feature"] = terms[0]["feature"]
    with pytest.raises(BadRequest, match="a feature is named twice"):
        parse(document)


def test_model_without_effect_is_refused(document):
    """No nomogram can be drawn when every coefficient is zero."""
    for term in document["models"]["signatures"]["terms"]:
        term["coefficient"] = 0
    with pytest.raises(BadRequest, match=r"\$\.models\.signatures\.terms: every coefficient is zero"):
        parse(document)


@pytest.mark.parametrize("data", [b"", b"\x89PNG", b"[1, 2", b'{"name": NaN}'])
def test_what_is_not_json_gets_a_sentence(data, tmp_path):
    """A wrong file is named, and nothing else happens."""
    path = tmp_path / "recipe.json"
    path.write_bytes(data)
    with pytest.raises(BadRequest, match="recipe is not JSON") as fault:
        load_recipe(path)
    assert str(path) in str(fault.value)


def test_missing_file_gets_a_sentence(tmp_path):
    """The path is in the sentence."""
    with pytest.raises(BadRequest, match=r"nowhere\.json: the recipe cannot be read"):
        load_recipe(tmp_path / "nowhere.json")


# ---------------------------------------------------------------- the proof


def test_recipe_with_its_own_extractor_is_accepted(document, extractor):
    """The reference cases reproduce where they were made."""
    verify(parse(document), extractor)


def test_another_extractor_is_refused_by_its_hash(document):
    """Both hashes are in the sentence, so that a person sees which weights to import."""
    other = PlainExtractor(seed=1)
    with pytest.raises(RecipeMismatch) as refusal:
        verify(parse(document), other)
    assert other.sha256 in str(refusal.value)
    assert document["extractor"]["sha256"] in str(refusal.value)


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("signatures.arterial.terms.0.coefficient", 9.0, "signature_arterial"),
        ("models.combined.terms.2.coefficient", 0.013, "linear_predictor"),
        ("models.combined.baseline.cumulative_hazard.39", 0.6, None),
        ("models.combined.cutoff.value", -5.0, "risk_group"),
        ("reference_cases.prognoses.0.expected.survival.36", 0.5, "survival.36"),
        ("reference_cases.prognoses.0.expected.points", {}, "points."),
    ],
)
def test_reference_prognosis_that_does_not_reproduce_is_refused(document, extractor, path, value, named):
    """A changed number that a reference case touches is found; only one beyond every case (the last step) is not."""
    recipe = parse(with_change(document, path, value))
    if named is None:
        verify(recipe, extractor)
        return
    with pytest.raises(RecipeMismatch, match="does not reproduce") as refusal:
        verify(recipe, extractor)
    assert named in str(refusal.value)


class Distorted:
    """The right file on an engine that reckons wrong."""

    def __init__(self, extractor: PlainExtractor, factor: float) -> None:
        self.sha256, self._extractor, self._factor = extractor.sha256, extractor, factor

    def features(self, crops_hu):
        return self._extractor.features(crops_hu) * np.float32(self._factor)


@pytest.mark.parametrize("factor", [1.01, float("nan")])
def test_engine_that_reckons_otherwise_is_refused(document, extractor, factor):
    """The right hash is not enough: features must come out as in training."""
    with pytest.raises(RecipeMismatch, match="does not reproduce reference crop"):
        verify(parse(document), Distorted(extractor, factor))


def test_rounding_of_another_processor_is_accepted(document, extractor):
    """A difference within the stated tolerance is no fault."""
    verify(parse(document), Distorted(extractor, 1.0001))


def test_reference_crop_is_pinned():
    """The formula never changes under its name, or old recipes would stop to verify."""
    crop = reference_crop(1)
    assert crop.shape == (3, 224, 224)
    assert crop.dtype == np.float32
    assert int(np.int64(crop).sum()) == PINNED_SUM
    assert crop[1, 112, 50:56].tolist() == PINNED_PIXELS
