"""What the extractor's construction promises; agreement with Keras itself is tested in tests/integration."""

from __future__ import annotations

import hashlib
import http.server
import threading
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from release_layout import name_of_2017, write_layout_of_2017, write_release_layout

from prognode.adapters.keras_weights import RELEASES, fetch, random_weights, read_weights
from prognode.adapters.onnx_extractor import OnnxExtractor
from prognode.adapters.resnet50 import Window, build_model, convolutions
from prognode.domain.reference_crop import reference_crop
from prognode.errors import BadRequest, InvalidInput, Reason, RecipeMismatch, Unavailable


@pytest.fixture(scope="module")
def weights():
    return random_weights(7)


@pytest.fixture(scope="module")
def model(weights):
    return build_model(weights)


@pytest.fixture(scope="module")
def model_file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "resnet50.onnx"
    path.write_bytes(model)
    return path


@pytest.fixture(scope="module")
def extractor(model_file):
    return OnnxExtractor(model_file)


@pytest.fixture(scope="module")
def crops():
    return np.stack([reference_crop(1), reference_crop(2)])


# ---------------------------------------------------------------- the graph


def test_network_has_the_53_convolutions_of_resnet50():
    """23.5 million weights without the top, in the shapes that Keras has."""
    layers = convolutions()
    assert len(layers) == 53
    assert sum(int(np.prod(shape)) for layer in layers for shape in layer.shapes().values()) == 23_587_712


def test_model_is_valid_onnx(model):
    """The checker finds no fault, so that any engine may load it."""
    onnx.checker.check_model(model, full_check=True)


def test_same_weights_give_the_same_bytes(model):
    """The file's hash identifies the extractor, wherever and whenever it was built."""
    assert build_model(random_weights(7)) == model
    assert build_model(random_weights(8)) != model


def test_another_window_is_another_extractor(weights, model):
    """The window is inside the graph and therefore inside the hash."""
    narrow = build_model(weights, Window(level_hu=60.0, width_hu=200.0))
    assert narrow != model
    recorded = {entry.key: entry.value for entry in onnx.load_from_string(narrow).metadata_props}
    assert (recorded["window_level_hu"], recorded["window_width_hu"]) == ("60.0", "200.0")


def test_metadata_says_where_the_weights_came_from(extractor):
    """A random stand-in cannot pass for ImageNet weights."""
    assert extractor.metadata["weights"] == "random weights, seed 7"
    assert extractor.metadata["window_width_hu"] == "400.0"


def test_preprocessing_windows_reverses_channels_and_subtracts_means(model):
    """-160 HU is 0 and 240 HU is 255; the third slice comes first; the ImageNet means of B, G, R are taken off."""
    body = onnx.shape_inference.infer_shapes(onnx.load_from_string(model))
    front = onnx.utils.Extractor(body).extract_model(["hu"], ["bgr/centred"])
    session = onnxruntime.InferenceSession(front.SerializeToString(), providers=["CPUExecutionProvider"])
    hu = np.zeros((1, 3, 224, 224), np.float32)
    hu[0, 0], hu[0, 1], hu[0, 2] = -1000.0, 40.0, 3000.0
    (seen,) = session.run(None, {"hu": hu})
    assert seen[0, :, 0, 0] == pytest.approx([255 - 103.939, 127.5 - 116.779, 0 - 123.68], abs=1e-4)


# ---------------------------------------------------------------- the extractor


def test_features_are_2048_finite_numbers_that_follow_the_image(extractor, crops):
    """Even with random weights, another image gives other features."""
    features = extractor.features(crops)
    assert features.shape == (2, 2048)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    assert np.abs(features[0] - features[1]).max() > 0.1


def test_same_input_gives_the_same_bits(extractor, model_file, crops):
    """Again in the same session and in a new one."""
    first = extractor.features(crops).tobytes()
    assert all(extractor.features(crops).tobytes() == first for _ in range(3))
    assert OnnxExtractor(model_file).features(crops).tobytes() == first


def test_company_in_the_batch_does_not_change_the_bits(extractor, crops):
    """An image alone, in a pair or among eight gives the same bits on this engine's CPU provider."""
    pair = extractor.features(crops)
    among_eight = extractor.features(np.concatenate([crops[1:], *[crops[:1]] * 6, crops[1:]]))
    assert extractor.features(crops[:1]).tobytes() == pair[0].tobytes()
    assert among_eight[0].tobytes() == among_eight[7].tobytes() == pair[1].tobytes()


def test_memory_layout_of_the_crop_does_not_matter(extractor, crops):
    """Fortran order or double precision holding the same values give the same bits."""
    wanted = extractor.features(crops).tobytes()
    assert extractor.features(np.asfortranarray(crops)).tobytes() == wanted
    assert extractor.features(crops.astype(np.float64)).tobytes() == wanted


def test_digest_is_that_of_the_file(extractor, model_file):
    """The recipe's hash can be checked with sha256sum."""
    assert extractor.sha256 == hashlib.sha256(model_file.read_bytes()).hexdigest()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_crop_that_is_not_finite_is_refused(extractor, crops, bad):
    """A broken pixel does not vanish in the window's clipping."""
    broken = crops.copy()
    broken[1, 2, 10, 10] = bad
    with pytest.raises(InvalidInput) as refusal:
        extractor.features(broken)
    assert refusal.value.reason is Reason.FEATURES_NOT_FINITE


def test_crop_of_another_shape_is_a_bug(extractor):
    """No silent reshaping."""
    with pytest.raises(ValueError, match="224"):
        extractor.features(np.zeros((3, 224, 224), np.float32))


def one_node_model(path: Path, operator: str, output: list) -> Path:
    hu = helper.make_tensor_value_info("hu", TensorProto.FLOAT, ["n", 3, 224, 224])
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, output)
    graph = helper.make_graph([helper.make_node(operator, ["hu"], ["features"])], "other", [hu], [features])
    opset = [helper.make_opsetid("", 17)]
    path.write_bytes(helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString())
    return path


def test_model_with_another_contract_is_refused(tmp_path):
    """An ONNX file that is no extractor is told from one before any case is scored."""
    other = one_node_model(tmp_path / "other.onnx", "Relu", ["n", 3, 224, 224])
    with pytest.raises(RecipeMismatch, match="an extractor takes hu"):
        OnnxExtractor(other)


def test_file_that_is_no_model_gets_a_sentence(tmp_path):
    """Named, with what is wrong."""
    wrong = tmp_path / "weights.h5"
    wrong.write_bytes(b"\x89HDF not a model")
    with pytest.raises(BadRequest, match=r"weights\.h5: not an ONNX model"):
        OnnxExtractor(wrong)
    with pytest.raises(BadRequest, match="import weights first"):
        OnnxExtractor(tmp_path / "absent.onnx")


# ---------------------------------------------------------------- weights


def test_file_with_another_hash_is_refused_with_both_hashes(tmp_path):
    """A broken download is not read, and the sentence shows what was found and what was expected."""
    path = tmp_path / "weights.h5"
    path.write_bytes(b"truncated")
    with pytest.raises(BadRequest) as fault:
        read_weights(path)
    assert hashlib.md5(b"truncated").hexdigest() in str(fault.value)
    assert all(release.md5 in str(fault.value) for release in RELEASES)


def test_published_hashes_are_those_that_keras_checks():
    """The current release's MD5 as Keras's own source states it."""
    source = Path(pytest.importorskip("importlib.util").find_spec("keras").origin).parent
    text = (source / "src" / "applications" / "resnet.py").read_text()
    assert RELEASES[0].md5 in text


def test_own_weights_are_read_when_allowed_and_marked(weights, tmp_path):
    """Every array arrives, and the origin says that it is no release."""
    path = tmp_path / "own.h5"
    write_release_layout(path, weights)
    read = read_weights(path, allow_other_hash=True)
    assert read.origin.startswith("weights of other origin")
    assert list(read.arrays) == list(weights.arrays)
    assert all(np.array_equal(read.arrays[key], weights.arrays[key]) for key in weights.arrays)


def test_release_of_2017_is_read_by_its_own_names_and_epsilon(weights, tmp_path):
    """Other layer names, the same numbers, and the epsilon that Keras had then."""
    path = tmp_path / "old.h5"
    write_layout_of_2017(path, weights)
    read = read_weights(path, allow_other_hash=True)
    assert read.batch_norm_epsilon == 1e-3
    assert all(np.array_equal(read.arrays[key], weights.arrays[key]) for key in weights.arrays)


def test_names_of_2017_are_those_of_the_file():
    """Spot checks against the names that the file is known to hold."""
    assert name_of_2017("conv2_block1_0_conv") == "res2a_branch1"
    assert name_of_2017("conv4_block6_3_bn") == "bn4f_branch2c"


def test_file_of_another_network_gets_a_sentence(tmp_path):
    """HDF5 with other layers, or no HDF5 at all, is named as such."""
    import h5py

    other = tmp_path / "vgg.h5"
    with h5py.File(other, "w") as file:
        file.create_group("block1_conv1")
    nothing = tmp_path / "nothing.h5"
    nothing.write_bytes(b"text")
    for path in (other, nothing):
        with pytest.raises(BadRequest, match="not a Keras ResNet-50 notop weights file"):
            read_weights(path, allow_other_hash=True)
    with pytest.raises(BadRequest, match="no such file"):
        read_weights(tmp_path / "absent.h5")


def test_random_weights_follow_their_seed(weights):
    """The stand-in is reproducible."""
    again, other = random_weights(7), random_weights(8)
    assert all(np.array_equal(again.arrays[key], weights.arrays[key]) for key in weights.arrays)
    assert not np.array_equal(other.arrays["conv1_conv/kernel"], weights.arrays["conv1_conv/kernel"])


# ---------------------------------------------------------------- download


@pytest.fixture
def server(tmp_path):
    """A real HTTP server over a folder: (folder, address)."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, format, *args):  # noqa: A002 - the base class's name
            """No access log in the test's output."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


def test_download_arrives_whole_and_reports_progress(server, tmp_path):
    """The bytes are those served, and the last progress call says all of them."""
    folder, address = server
    data = bytes(range(256)) * 12_000
    (folder / "weights.h5").write_bytes(data)
    seen: list[tuple[int, int | None]] = []
    to = fetch(
        tmp_path / "new" / "weights.h5",
        url=f"{address}/weights.h5",
        md5=hashlib.md5(data).hexdigest(),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert to.read_bytes() == data
    assert seen[-1] == (len(data), len(data))
    assert len(seen) > 1


def test_download_with_another_hash_is_deleted(server, tmp_path):
    """Nothing that failed its check is left, and an older good file stays."""
    folder, address = server
    (folder / "weights.h5").write_bytes(b"something else")
    to = tmp_path / "weights.h5"
    to.write_bytes(b"older")
    with pytest.raises(BadRequest, match="the download was deleted"):
        fetch(to, url=f"{address}/weights.h5")
    assert to.read_bytes() == b"older"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["weights.h5"]


def test_download_that_is_not_there_gets_a_sentence(server, tmp_path):
    """404 is the person's address being wrong; no answer at all is tried again later."""
    _, address = server
    with pytest.raises(BadRequest, match="404"):
        fetch(tmp_path / "weights.h5", url=f"{address}/absent.h5")
    with pytest.raises(BadRequest, match="http or https"):
        fetch(tmp_path / "weights.h5", url="file:///etc/passwd")


def test_server_that_does_not_answer_is_unavailable(tmp_path, free_port):
    """A closed port is an outage, not a bad request."""
    with pytest.raises(Unavailable):
        fetch(tmp_path / "weights.h5", url=f"http://127.0.0.1:{free_port}/weights.h5")
