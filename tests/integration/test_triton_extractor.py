"""The extractor on a real Triton: same bits, faults of the server, and models that are not the recipe's."""

from __future__ import annotations

import shutil
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from node import test_model
from servers.triton import shared_triton, start_triton

from prognode.adapters.onnx_extractor import OnnxExtractor
from prognode.adapters.recipe_file import load_recipe
from prognode.adapters.triton_extractor import TritonExtractor
from prognode.adapters.triton_repository import MODEL, write_repository
from prognode.adapters.triton_settings import TritonSettings
from prognode.domain.reference_crop import reference_crop
from prognode.domain.verification import verify
from prognode.errors import GaveUp, InvalidInput, RecipeMismatch, Unavailable

pytestmark = pytest.mark.component


@pytest.fixture(scope="module")
def crops():
    """Both phases of a case."""
    return np.stack([reference_crop(1), reference_crop(2)])


@pytest.fixture(scope="module")
def in_process():
    """The same network in this process."""
    return OnnxExtractor(test_model().extractor)


def on_triton(url: str, **changes: object) -> TritonExtractor:
    """An extractor that gives up quickly."""
    return TritonExtractor(TritonSettings(url=url, **{"timeout_s": 10.0, "retries": 2, **changes}))


@pytest.mark.parametrize("memory", ["auto", "off"])
def test_same_engine_same_bits(crops, in_process, memory):
    """Through shared memory and without it, for a case, one crop, and a batch that no region holds."""
    extractor = on_triton(shared_triton(), shared_memory=memory)
    assert extractor.sha256 == in_process.sha256
    verify(load_recipe(test_model().recipe), extractor)
    for batch in (crops, crops[:1], np.concatenate([crops, crops[:1]])):
        assert extractor.features(batch).tobytes() == in_process.features(batch).tobytes()


def test_threads_get_their_own_features(in_process):
    """Four at once, each with another case."""
    extractor = on_triton(shared_triton())
    cases = [np.stack([reference_crop(2 * n), reference_crop(2 * n + 1)]) for n in range(4)]
    wanted = [in_process.features(case).tobytes() for case in cases]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: extractor.features(cases[n % 4]).tobytes(), range(16)))
    assert found == [wanted[n % 4] for n in range(16)]


def test_crops_are_checked_before_they_go_out(crops):
    """As in the process: a wrong shape is a bug, a value that is not finite is the input's fault."""
    extractor = on_triton(shared_triton())
    with pytest.raises(ValueError, match="224"):
        extractor.features(crops[:, :, :200])
    with pytest.raises(InvalidInput):
        extractor.features(crops * np.float32(np.nan))


def test_a_server_that_dies_is_unavailable_and_comes_back(tmp_path, crops, in_process):
    """Unavailable while it is gone; the same extractor goes on with the next server, which knows no region yet."""
    wanted = in_process.features(crops).tobytes()
    server = start_triton(tmp_path)
    try:
        extractor = on_triton(server.address)
        assert extractor.features(crops).tobytes() == wanted
        server.kill9()
        with pytest.raises(Unavailable):
            extractor.features(crops)
        with pytest.raises(Unavailable):
            extractor.check()
        server.start()
        assert extractor.features(crops).tobytes() == wanted
        extractor.check()
    finally:
        server.stop()


def test_a_server_that_never_answers_is_given_up():
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        threading.Thread(target=silent.accept, daemon=True).start()
        with pytest.raises(Unavailable):
            on_triton(f"127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.5, retries=1)


def test_a_model_that_is_not_there_is_unavailable():
    """The server is there, the model is not."""
    with pytest.raises(Unavailable, match="not ready"):
        on_triton(shared_triton(), model="another")


# ---------------------------------------------------------------- models that are not the recipe's


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """One server with several models, each wrong in its way; returns its address."""
    folder = tmp_path_factory.mktemp("several")
    models = folder / "models"
    write_repository(test_model().extractor, models, "python")
    variant(models, "no-digest", lambda text: text.replace('"sha256"', '"checksum"'), runs="checksum")
    variant(models, "other-contract", lambda text: text.replace("dims: [ 2048 ]", "dims: [ 1024 ]"))
    variant(models, "not-finite", runner="features * numpy.float32('nan')")
    variant(models, "last-digits", runner="features * (1 + numpy.float32(3e-6))")
    variant(models, "half-precision", runner="features.astype('float16').astype('float32')")
    variant(models, "two-per-mille", runner="features * numpy.float32(1.002)")
    variant(models, "something-else", runner="features[:, ::-1]")
    server = start_triton(folder)
    yield server.address
    server.stop()


def variant(
    models: Path, name: str, change=lambda text: text, runner: str = "features", runs: str = "sha256"
):
    """A copy of the model under another name, with a changed configuration or answer."""
    shutil.copytree(models / MODEL, models / name)
    config = models / name / "config.pbtxt"
    config.write_text(change(config.read_text().replace(f'"{MODEL}"', f'"{name}"')))
    model = models / name / "1" / "model.py"
    text = model.read_text().replace('parameters["sha256"]', f'parameters["{runs}"]')
    text = text.replace(
        'Tensor("features", features)', f'Tensor("features", numpy.ascontiguousarray({runner}))'
    )
    model.write_text(text.replace("import triton_python_backend_utils as backend", _IMPORTS))


_IMPORTS = "import numpy\n        import triton_python_backend_utils as backend"


@pytest.mark.parametrize(
    ("model", "said"), [("no-digest", "no parameter sha256"), ("other-contract", "1024")]
)
def test_a_model_of_another_contract_refuses_to_start(several, model, said):
    """Scoring must not start on it."""
    with pytest.raises(RecipeMismatch, match=said):
        on_triton(several, model=model)


def test_other_weights_than_the_recipes_refuse_to_start(several):
    """The digest that the server names is compared with the recipe's."""
    recipe = load_recipe(test_model().recipe)
    other = replace(recipe, extractor=replace(recipe.extractor, sha256="ab" * 32))
    with pytest.raises(RecipeMismatch, match="made with extractor"):
        verify(other, on_triton(several, model=MODEL))


def test_last_digits_may_differ_and_features_may_not(several):
    """Within the recipe's tolerance (0.1 %) an engine may reckon otherwise, as in half precision; beyond it is refused."""
    recipe = load_recipe(test_model().recipe)
    tolerance = recipe.reference_features[0].relative_tolerance
    assert 2**-11 < tolerance < 2e-3
    for model in ("last-digits", "half-precision"):
        verify(recipe, on_triton(several, model=model))
    for model in ("two-per-mille", "something-else"):
        with pytest.raises(RecipeMismatch, match="does not reproduce reference crop"):
            verify(recipe, on_triton(several, model=model))


def test_features_that_are_not_finite_are_the_engines_fault(several, crops):
    """A finite crop that gives NaN is set aside as a dead letter, not reported about the patient."""
    with pytest.raises(GaveUp, match="inference engine"):
        on_triton(several, model="not-finite").features(crops)


def test_weights_that_are_not_the_configurations_do_not_load(tmp_path):
    """Somebody replaced model.onnx: Triton itself refuses the model."""
    models = tmp_path / "models"
    write_repository(test_model().extractor, models, "python")
    path = models / MODEL / "1" / "model.onnx"
    network = onnx.load(path)
    network.doc_string = "changed"
    onnx.save(network, path)
    with pytest.raises(pytest.fail.Exception):
        start_triton(tmp_path)
    assert "the configuration names" in (tmp_path / "tritonserver.log").read_text()
