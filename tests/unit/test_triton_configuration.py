"""Every configuration of the model on Triton keeps one contract, and the one in the repository is the written one."""

from __future__ import annotations

import pytest
from google.protobuf import text_format
from node import ROOT, prognode, test_model
from tritonclient.grpc import model_config_pb2

from prognode.adapters.keras_weights import RELEASE_FILE, RELEASES
from prognode.adapters.onnx_extractor import OnnxExtractor
from prognode.adapters.triton_repository import ENGINES, MODEL, config_text, write_repository
from training.demonstration import demonstration_document

NO_WEIGHTS = "0" * 64


def parsed(text: str):
    """The configuration as Triton's own messages; unknown fields are an error."""
    return text_format.Parse(text, model_config_pb2.ModelConfig())


@pytest.mark.parametrize("engine", ENGINES)
def test_the_contract_is_one_for_every_engine(engine):
    """Names, types, shapes, batch and the digest; only the engine differs."""
    config = parsed(config_text(engine, "ab" * 32))
    assert config.name == MODEL
    assert config.max_batch_size >= 2, "both phases of a case go in one batch"
    (given,), (gotten,) = config.input, config.output
    assert (given.name, given.data_type, list(given.dims)) == (
        "hu",
        model_config_pb2.TYPE_FP32,
        [3, 224, 224],
    )
    assert (gotten.name, gotten.data_type, list(gotten.dims)) == (
        "features",
        model_config_pb2.TYPE_FP32,
        [2048],
    )
    assert config.parameters["sha256"].string_value == "ab" * 32
    assert config.backend == ("python" if engine == "python" else "onnxruntime")
    assert config.model_warmup[0].batch_size == 2


@pytest.mark.parametrize("engine", ["gpu", "gpu-fp16"])
def test_on_a_gpu_cases_share_batches(engine):
    """Dynamic batching with a short delay, one instance on a GPU."""
    config = parsed(config_text(engine, NO_WEIGHTS))
    assert config.dynamic_batching.max_queue_delay_microseconds <= 5000
    assert max(config.dynamic_batching.preferred_batch_size) <= config.max_batch_size
    assert config.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_GPU
    (accelerator,) = config.optimization.execution_accelerators.gpu_execution_accelerator
    if engine == "gpu":
        assert dict(accelerator.parameters) == {"use_tf32": "0"}
    else:
        assert (accelerator.name, accelerator.parameters["precision_mode"]) == ("tensorrt", "FP16")


def test_the_configuration_in_the_repository_is_the_one_that_is_written():
    """triton_models shows production's, without weights."""
    shown = (ROOT / "triton_models" / MODEL / "config.pbtxt").read_text()
    assert shown == config_text("gpu", NO_WEIGHTS)


def test_the_readme_states_origin_and_hashes():
    """The Keras file by its published hashes, and the demonstration's network by its own."""
    readme = (ROOT / "triton_models" / "README.md").read_text()
    stated = [RELEASE_FILE, *(release.md5 for release in RELEASES)]
    stated.append(demonstration_document()["extractor"]["sha256"])
    assert [words for words in stated if f"`{words}`" not in readme] == []


def test_an_exported_repository_names_its_weights(tmp_path):
    """`prognode weights export` copies the network and writes its digest; the runner is there for python alone."""
    extractor = test_model().extractor
    exported = prognode(
        "weights", "export", "--triton", tmp_path, "--extractor", extractor, "--engine", "python"
    )
    assert (exported.status, exported.errors) == (0, "")
    model = tmp_path / MODEL
    config = parsed((model / "config.pbtxt").read_text())
    assert config.parameters["sha256"].string_value == OnnxExtractor(model / "1" / "model.onnx").sha256
    assert (model / "1" / "model.py").is_file()
    write_repository(extractor, tmp_path, "gpu")
    assert not (model / "1" / "model.py").exists()


def test_an_engine_that_is_none_is_named(tmp_path):
    """One sentence with the right ones."""
    ended = prognode(
        "weights", "export", "--triton", tmp_path, "--extractor", test_model().extractor, "--engine", "tpu"
    )
    assert ended.status == 2
    assert "gpu-fp16" in ended.errors
