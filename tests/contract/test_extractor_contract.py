"""What scoring relies on in every extractor, the real network and the plain one that other tests use."""

from __future__ import annotations

import re

import numpy as np
import pytest
from plain_extractor import PlainExtractor
from servers.triton import shared_triton

from prognode.adapters.keras_weights import random_weights
from prognode.adapters.onnx_extractor import OnnxExtractor
from prognode.adapters.resnet50 import build_model
from prognode.adapters.triton_extractor import TritonExtractor
from prognode.adapters.triton_settings import TritonSettings
from prognode.domain.reference_crop import reference_crop
from prognode.ports import Extractor


@pytest.fixture(scope="module", params=["onnxruntime", "triton", "triton-grpc", "plain"])
def extractor(request, tmp_path_factory) -> Extractor:
    """Each adapter of the port; Triton with and without shared memory."""
    if request.param == "plain":
        return PlainExtractor()
    if request.param.startswith("triton"):
        memory = "auto" if request.param == "triton" else "off"
        return TritonExtractor(TritonSettings(url=shared_triton(), shared_memory=memory))
    path = tmp_path_factory.mktemp("extractor") / "random.onnx"
    path.write_bytes(build_model(random_weights(3)))
    return OnnxExtractor(path)


@pytest.fixture(scope="module")
def crops():
    """Two crops, as the two phases of a case."""
    return np.stack([reference_crop(1), reference_crop(2)])


def test_each_crop_gives_2048_finite_features(extractor, crops):
    """(n, 3, 224, 224) Hounsfield units become (n, 2048) numbers of single precision."""
    features = extractor.features(crops)
    assert features.shape == (2, 2048)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()


def test_same_crops_give_the_same_bits(extractor, crops):
    """A replay of a case gives the report that it gave before."""
    assert extractor.features(crops).tobytes() == extractor.features(crops.copy()).tobytes()


def test_other_crops_give_other_features(extractor, crops):
    """The features are of the image."""
    arterial, venous = extractor.features(crops)
    assert not np.array_equal(arterial, venous)


def test_extractor_is_known_by_a_digest(extractor):
    """A recipe names the extractor that it was trained with by SHA-256."""
    assert re.fullmatch(r"[0-9a-f]{64}", extractor.sha256)


def test_extractor_says_that_it_answers(extractor):
    """What /readyz asks."""
    extractor.check()
