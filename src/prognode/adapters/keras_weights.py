"""ResNet-50 weights: read from the Keras release file, downloaded, or made up from a seed.

The release file is the one that Keras itself downloads; its MD5 is published in Keras's own source. The file of 2017,
at the address that the paper links, names its layers otherwise and was used with another epsilon. Either file goes
into the graph of today's ``keras.applications``, which pads before the first pooling as Keras of 2017 did not.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import numpy as np

from prognode.adapters.resnet50 import Convolution, Float, Weights, convolutions
from prognode.errors import BadRequest, Unavailable

RELEASE_FILE = "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
RELEASE_URL = f"https://storage.googleapis.com/tensorflow/keras-applications/resnet/{RELEASE_FILE}"
CURRENT_EPSILON = 1.001e-5
EPSILON_2017 = 1e-3
CHUNK_BYTES = 1 << 20

Progress = Callable[[int, int | None], None]
"""Called with (bytes so far, bytes in all or None)."""


@dataclass(frozen=True, slots=True)
class Release:
    """One published weights file."""

    name: str
    md5: str
    batch_norm_epsilon: float


RELEASES = (
    Release(
        "Keras ResNet-50 release (keras-applications)", "4d473c1dd8becc155b73f8504c6f6626", CURRENT_EPSILON
    ),
    Release("Keras ResNet-50 release of 2017 (v0.2)", "a268eb855778b3df3c7506639542a6af", EPSILON_2017),
)
CURRENT_RELEASE = RELEASES[0]


def read_weights(path: Path, *, allow_other_hash: bool = False) -> Weights:
    """Read a Keras ResNet-50 ``notop`` HDF5 file after checking its MD5 against the published ones.

    ``allow_other_hash`` is for weights of one's own; the origin, and with it the model's metadata, then says so.
    Raises :class:`~prognode.errors.BadRequest` for a missing file, an unknown hash, or another layout.
    """
    if not path.is_file():
        raise BadRequest(f"{path}: no such file; give the Keras release file {RELEASE_FILE}")
    md5 = _md5(path)
    release = next((known for known in RELEASES if known.md5 == md5), None)
    if release is None and not allow_other_hash:
        raise BadRequest(_other_hash(path, md5))
    return _read(path, md5, release)


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _other_hash(path: Path, md5: str) -> str:
    published = " or ".join(release.md5 for release in RELEASES)
    return (
        f"{path}: MD5 {md5} is not that of a Keras ResNet-50 notop release ({published}); "
        "download the file again, or allow another hash if these are your own weights"
    )


def _read(path: Path, md5: str, release: Release | None) -> Weights:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            layers = file.get("model_weights", file)
            renamed = _names_of_2017 if _is_2017(layers) else str
            arrays = {key: array for layer in convolutions() for key, array in _layer(layers, layer, renamed)}
            epsilon = release.batch_norm_epsilon if release else _epsilon(layers)
    except (OSError, KeyError, ValueError) as fault:
        raise BadRequest(f"{path}: not a Keras ResNet-50 notop weights file: {fault}") from fault
    origin = (
        f"{release.name}, MD5 {md5}"
        if release
        else f"weights of other origin (not a Keras release), MD5 {md5}"
    )
    return Weights(arrays, origin, epsilon)


def _is_2017(layers: Any) -> bool:
    return "res2a_branch2a" in layers


def _epsilon(layers: Any) -> float:
    return EPSILON_2017 if _is_2017(layers) else CURRENT_EPSILON


def _names_of_2017(name: str) -> str:
    """``conv2_block1_0_conv`` -> ``res2a_branch1``; ``conv2_block1_2_bn`` -> ``bn2a_branch2b``."""
    if name.startswith("conv1_"):
        return {"conv1_conv": "conv1", "conv1_bn": "bn_conv1"}[name]
    match = re.fullmatch(r"conv(\d)_block(\d)_(\d)_(conv|bn)", name)
    if match is None:
        raise KeyError(name)
    stage, block, branch, kind = match.groups()
    prefix = "res" if kind == "conv" else "bn"
    return f"{prefix}{stage}{'abcdef'[int(block) - 1]}_branch{['1', '2a', '2b', '2c'][int(branch)]}"


def _layer(layers: Any, layer: Convolution, renamed: Callable[[str], str]) -> list[tuple[str, Float]]:
    """The six arrays of a convolution and its normalisation; the layout stores them in this order, named or not."""
    found = [*_arrays(layers, renamed(layer.name)), *_arrays(layers, renamed(layer.norm))]
    wanted = layer.shapes()
    if [array.shape for array in found] != list(wanted.values()):
        raise ValueError(f"layer {layer.name} has arrays {[array.shape for array in found]}")
    return list(zip(wanted, found, strict=True))


def _arrays(layers: Any, name: str) -> list[Float]:
    group = layers[name]
    return [np.asarray(group[key], np.float32) for key in group.attrs["weight_names"]]


def fetch(
    to: Path,
    *,
    url: str = RELEASE_URL,
    md5: str = CURRENT_RELEASE.md5,
    progress: Progress | None = None,
    timeout_s: float = 60.0,
) -> Path:
    """Download the release file to ``to``; a file with another MD5 is deleted.

    Raises :class:`~prognode.errors.Unavailable` when the address does not answer and
    :class:`~prognode.errors.BadRequest` when it answers with something else.
    """
    if not url.startswith(("http://", "https://")):
        raise BadRequest(f"{url}: give an http or https address")
    to.parent.mkdir(parents=True, exist_ok=True)
    part = to.with_name(to.name + ".part")
    try:
        found = _download(url, part, progress or _no_progress, timeout_s)
        if found != md5:
            raise BadRequest(f"{url}: MD5 {found} where {md5} was expected; the download was deleted")
        part.replace(to)
    finally:
        part.unlink(missing_ok=True)
    return to


def _no_progress(_done: int, _total: int | None) -> None:
    """Nobody watches."""


def _download(url: str, part: Path, progress: Progress, timeout_s: float) -> str:
    try:
        with urlopen(url, timeout=timeout_s) as answer, part.open("wb") as file:  # noqa: S310 - scheme checked by fetch
            return _copy(answer, file, progress)
    except HTTPError as fault:
        raise BadRequest(f"{url}: the server answered {fault.code} {fault.reason}") from fault
    except (URLError, TimeoutError, ConnectionError, HTTPException) as fault:
        raise Unavailable(f"{url}: no answer ({fault})") from fault


def _copy(answer: Any, file: IO[bytes], progress: Progress) -> str:
    length = answer.headers.get("Content-Length")
    total = int(length) if length else None
    digest, done = hashlib.md5(usedforsecurity=False), 0
    while chunk := answer.read(CHUNK_BYTES):
        file.write(chunk)
        digest.update(chunk)
        done += len(chunk)
        progress(done, total)
    return digest.hexdigest()


def random_weights(seed: int) -> Weights:
    """A stand-in with seeded He-normal kernels; features are finite and follow the image, and mean nothing.

    The statistics of the batch normalisations keep every layer near unit scale: the first one divides by the spread of
    the 0..255 input, the last one of each block is damped so that sixteen additions do not blow up.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    arrays: dict[str, Float] = {}
    for layer in convolutions():
        arrays.update(_random_layer(generator, layer))
    return Weights(arrays, f"random weights, seed {seed}", CURRENT_EPSILON)


def _random_layer(generator: np.random.Generator, layer: Convolution) -> dict[str, Float]:
    kernel = (layer.kernel, layer.kernel, layer.inputs, layer.outputs)
    spread = np.float32(np.sqrt(2.0 / (layer.kernel**2 * layer.inputs)))
    gamma = 0.25 if layer.name.endswith("_3_conv") else 1.0
    variance = 100.0**2 if layer.name == "conv1_conv" else 1.0
    ones = np.ones(layer.outputs, np.float32)
    values = (
        generator.standard_normal(kernel, np.float32) * spread,
        0 * ones,
        gamma * ones,
        generator.normal(0.0, 0.1, layer.outputs).astype(np.float32),
        0 * ones,
        variance * ones,
    )
    return dict(zip(layer.shapes(), values, strict=True))
