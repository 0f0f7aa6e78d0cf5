"""ResNet-50 without its top as one ONNX graph, with the preprocessing inside, so that every engine sees Hounsfield units.

The network is the one of ``keras.applications.ResNet50`` (paper, Appendix 1): version 1 blocks with the stride in
the first 1 x 1 convolution and biases in all convolutions, then global MAX pooling over the last 7 x 7 maps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

ARCHITECTURE = "resnet50-v1-keras-notop-global-max"
CROP_SHAPE = (3, 224, 224)
FEATURE_COUNT = 2048
OPSET = 17
IR_VERSION = 8

STAGES = (("conv2", 64, 3, 1), ("conv3", 128, 4, 2), ("conv4", 256, 6, 2), ("conv5", 512, 3, 2))
"""(name, filters, blocks, stride of the first block)."""

BGR_MEANS = (103.939, 116.779, 123.68)
"""ImageNet channel means that Keras's "caffe" preprocessing subtracts after reordering RGB to BGR."""

Float = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Window:
    """CT display window in HU: what lies below maps to 0, above to 255."""

    level_hu: float = 40.0
    width_hu: float = 400.0

    @property
    def lower_hu(self) -> float:
        return self.level_hu - self.width_hu / 2

    @property
    def upper_hu(self) -> float:
        return self.level_hu + self.width_hu / 2


@dataclass(frozen=True, slots=True)
class Convolution:
    """One convolution and the batch normalisation that follows it."""

    name: str
    """Keras layer name, ``conv2_block1_1_conv``."""
    kernel: int
    inputs: int
    outputs: int
    stride: int

    @property
    def norm(self) -> str:
        return self.name.removesuffix("conv") + "bn"

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Weights by name with their Keras shapes; kernels are (height, width, in, out)."""
        kernel = (self.kernel, self.kernel, self.inputs, self.outputs)
        vectors = {f"{self.norm}/{part}": (self.outputs,) for part in ("gamma", "beta", "mean", "variance")}
        return {f"{self.name}/kernel": kernel, f"{self.name}/bias": (self.outputs,)} | vectors


@dataclass(frozen=True, slots=True)
class Weights:
    """The network's numbers, by ``<Keras layer>/<part>``, with where they came from."""

    arrays: Mapping[str, Float]
    origin: str
    """A sentence fragment for people: "Keras release of 2019, MD5 ..." or "random weights, seed 7"."""
    batch_norm_epsilon: float = 1.001e-5


def convolutions() -> tuple[Convolution, ...]:
    """All 53 convolutions, in graph order."""
    return (Convolution("conv1_conv", 7, 3, 64, 2), *_stage_convolutions())


def _stage_convolutions() -> Iterator[Convolution]:
    width = 64
    for stage, filters, blocks, stride in STAGES:
        for block in range(1, blocks + 1):
            yield from _block(
                f"{stage}_block{block}", width, filters, stride if block == 1 else 1, first=block == 1
            )
            width = 4 * filters


def _block(name: str, inputs: int, filters: int, stride: int, *, first: bool) -> Iterator[Convolution]:
    if first:
        yield Convolution(f"{name}_0_conv", 1, inputs, 4 * filters, stride)
    yield Convolution(f"{name}_1_conv", 1, inputs, filters, stride)
    yield Convolution(f"{name}_2_conv", 3, filters, filters, 1)
    yield Convolution(f"{name}_3_conv", 1, filters, 4 * filters, 1)


def fold_batch_norm(weights: Weights, convolution: Convolution) -> tuple[Float, Float]:
    """Kernel (out, in, height, width) and bias (out,) with the normalisation multiplied in, reckoned in float64."""
    part = {key.rpartition("/")[2]: weights.arrays[key].astype(np.float64) for key in convolution.shapes()}
    gain = part["gamma"] / np.sqrt(part["variance"] + weights.batch_norm_epsilon)
    kernel = (part["kernel"] * gain).transpose(3, 2, 0, 1)
    bias = (part["bias"] - part["mean"]) * gain + part["beta"]
    return np.ascontiguousarray(kernel, dtype=np.float32), bias.astype(np.float32)


class _Graph:
    """Nodes and initialisers in the order in which they are added, so that the bytes are the same every time."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, value: NDArray[Any]) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def convolve(self, weights: Weights, convolution: Convolution, source: str, *, relu: bool) -> str:
        kernel, bias = fold_batch_norm(weights, convolution)
        name, side = convolution.name, convolution.kernel // 2
        inputs = [source, self.constant(f"{name}/kernel", kernel), self.constant(f"{name}/bias", bias)]
        output = self.add("Conv", inputs, name, pads=[side] * 4, strides=[convolution.stride] * 2)
        return self.add("Relu", [output], f"{name}/relu") if relu else output


def _preprocess(graph: _Graph, window: Window) -> str:
    """HU window to 0..255, channels (slices, ascending z) taken as RGB, reordered to BGR, ImageNet means subtracted."""
    lower = graph.constant("window/lower", np.array(window.lower_hu, np.float32))
    upper = graph.constant("window/upper", np.array(window.upper_hu, np.float32))
    gain = graph.constant("window/gain", np.array(255.0 / window.width_hu, np.float32))
    order = graph.constant("bgr/order", np.array([2, 1, 0], np.int64))
    means = graph.constant("bgr/means", np.array(BGR_MEANS, np.float32).reshape(1, 3, 1, 1))
    clipped = graph.add("Clip", ["hu", lower, upper], "window/clipped")
    shifted = graph.add("Sub", [clipped, lower], "window/shifted")
    rgb = graph.add("Mul", [shifted, gain], "window/rgb")
    bgr = graph.add("Gather", [rgb, order], "bgr/reordered", axis=1)
    return graph.add("Sub", [bgr, means], "bgr/centred")


def _residual_block(graph: _Graph, weights: Weights, block: list[Convolution], source: str) -> str:
    name = block[-1].name.removesuffix("_3_conv")
    shortcut = source
    if len(block) == 4:
        shortcut = graph.convolve(weights, block[0], source, relu=False)
    branch = graph.convolve(weights, block[-3], source, relu=True)
    branch = graph.convolve(weights, block[-2], branch, relu=True)
    branch = graph.convolve(weights, block[-1], branch, relu=False)
    total = graph.add("Add", [shortcut, branch], f"{name}_add")
    return graph.add("Relu", [total], f"{name}_out")


def _blocks() -> Iterator[list[Convolution]]:
    layers = convolutions()[1:]
    ends = [0, *(i + 1 for i, layer in enumerate(layers) if layer.name.endswith("_3_conv"))]
    return (list(layers[start:end]) for start, end in pairwise(ends))


def _network(graph: _Graph, weights: Weights, source: str) -> None:
    stem = graph.convolve(weights, convolutions()[0], source, relu=True)
    # Keras pads with zeros; after a ReLU that is the same maximum as ONNX's padding with minus infinity
    value = graph.add("MaxPool", [stem], "pool1_pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for block in _blocks():
        value = _residual_block(graph, weights, block, value)
    pooled = graph.add("GlobalMaxPool", [value], "max_pool")
    graph.add("Flatten", [pooled], "features", axis=1)


def build_model(weights: Weights, window: Window | None = None) -> bytes:
    """Serialise the network as ONNX: ``hu`` float32 (n, 3, 224, 224) -> ``features`` float32 (n, 2048).

    The three slices are channels in ascending z. The window is baked in and recorded in ``metadata_props``. The same
    weights and window give the same bytes, so that the file's SHA-256 identifies the extractor.
    """
    from onnx import TensorProto, helper

    window = window or Window()
    graph = _Graph()
    _network(graph, weights, _preprocess(graph, window))
    hu = helper.make_tensor_value_info("hu", TensorProto.FLOAT, ["n", *CROP_SHAPE])
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", FEATURE_COUNT])
    body = helper.make_graph(graph.nodes, "resnet50_features", [hu], [features], graph.constants)
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(body, opset_imports=[opset], ir_version=IR_VERSION, producer_name="prognode")
    helper.set_model_props(model, _metadata(weights, window))
    return bytes(model.SerializeToString(deterministic=True))


def _metadata(weights: Weights, window: Window) -> dict[str, str]:
    return {
        "architecture": ARCHITECTURE,
        "weights": weights.origin,
        "batch_norm_epsilon": repr(weights.batch_norm_epsilon),
        "window_level_hu": repr(float(window.level_hu)),
        "window_width_hu": repr(float(window.width_hu)),
        "channels": "three 1 mm slices, ascending z, as RGB",
    }
