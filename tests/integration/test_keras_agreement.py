"""The ONNX graph against Keras's own ResNet50, on the same weights, read by both from the same file."""

from __future__ import annotations

import os

import numpy as np
import pytest
from release_layout import with_lively_statistics, write_release_layout

from prognode.adapters.keras_weights import random_weights, read_weights
from prognode.adapters.onnx_extractor import OnnxExtractor
from prognode.adapters.resnet50 import build_model
from prognode.domain.reference_crop import reference_crop


@pytest.fixture(scope="module")
def keras():
    """Keras on JAX, loaded here and not at collection: it is heavy, and takes hold of the terminal."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras

    return keras


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory, keras):
    """Random kernels with lively normalisation, written as the release file is laid out."""
    path = tmp_path_factory.mktemp("weights") / "weights_notop.h5"
    layers = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(224, 224, 3)).layers
    weights = with_lively_statistics(random_weights(3), seed=4)
    write_release_layout(path, weights, [layer.name for layer in layers])
    return path


@pytest.fixture(scope="module")
def crops():
    """Three crops: two synthetic abdomens, and one that leaves the window on both sides."""
    wild = np.random.default_rng(5).normal(40, 400, (3, 224, 224)).astype(np.float32)
    return np.stack([reference_crop(1), reference_crop(9), wild])


@pytest.fixture(scope="module")
def ours(weights_file, crops):
    path = weights_file.with_suffix(".onnx")
    path.write_bytes(build_model(read_weights(weights_file, allow_other_hash=True)))
    return OnnxExtractor(path).features(crops)


@pytest.fixture(scope="module")
def theirs(keras, weights_file, crops):
    """Keras loads the same file itself, windows are applied in numpy, and Keras's own preprocessing is used."""
    model = keras.applications.ResNet50(
        include_top=False, weights=None, pooling="max", input_shape=(224, 224, 3)
    )
    model.load_weights(str(weights_file))
    rgb = np.clip((crops.astype(np.float64) + 160) / 400, 0, 1).transpose(0, 2, 3, 1) * 255
    inputs = keras.applications.resnet50.preprocess_input(rgb.astype(np.float32), data_format="channels_last")
    return np.asarray(model.predict(inputs, verbose=0))


def test_features_agree_with_keras_within_one_in_ten_thousand(ours, theirs):
    """Relative to the feature itself; features under a hundredth of the largest one, relative to that hundredth."""
    assert theirs.shape == ours.shape == (3, 2048)
    scale = np.maximum(np.abs(theirs), 0.01 * np.abs(theirs).max())
    assert float((np.abs(ours - theirs) / scale).max()) < 1e-4


def test_the_comparison_can_fail(ours, theirs):
    """Features of another image are far off, so that agreement is no matter of course."""
    assert float(np.abs(ours[0] - theirs[1]).max() / np.abs(theirs).max()) > 1e-2
