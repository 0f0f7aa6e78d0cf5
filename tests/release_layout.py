"""Writes weights in the HDF5 layout of the Keras release file: a group per layer, arrays named by attributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from prognode.adapters.resnet50 import Weights, convolutions

KERAS_NAMES = {"mean": "moving_mean", "variance": "moving_variance"}


def write_release_layout(path: Path, weights: Weights, layer_names: Sequence[str] | None = None) -> None:
    """As ``keras.Model.save_weights`` of the release wrote it; layers without weights have an empty group."""
    names = layer_names or [name for layer in convolutions() for name in (layer.name, layer.norm)]
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in names]
        for name in names:
            _write_layer(file, name, {k: v for k, v in weights.arrays.items() if k.startswith(f"{name}/")})


def write_layout_of_2017(path: Path, weights: Weights) -> None:
    """The older release: layers named ``res2a_branch2a`` and ``bn2a_branch2a``, arrays named after their layer."""
    with h5py.File(path, "w") as file:
        for layer in convolutions():
            for name in (layer.name, layer.norm):
                arrays = [v for k, v in weights.arrays.items() if k.startswith(f"{name}/")]
                group = file.create_group(name_of_2017(name))
                keys = [f"{group.name[1:]}_{place}:0" for place in range(len(arrays))]
                group.attrs["weight_names"] = [key.encode() for key in keys]
                for key, array in zip(keys, arrays, strict=True):
                    group.create_dataset(key, data=array)


def name_of_2017(name: str) -> str:
    """Spelled out stage by stage, so that it shares no code with what it tests."""
    if name.startswith("conv1"):
        return {"conv1_conv": "conv1", "conv1_bn": "bn_conv1"}[name]
    stage, block, branch, kind = name.split("_")
    letter = {"block1": "a", "block2": "b", "block3": "c", "block4": "d", "block5": "e", "block6": "f"}[block]
    suffix = {"0": "branch1", "1": "branch2a", "2": "branch2b", "3": "branch2c"}[branch]
    return f"{'res' if kind == 'conv' else 'bn'}{stage[-1]}{letter}_{suffix}"


def _write_layer(file: h5py.File, name: str, arrays: dict[str, np.ndarray]) -> None:
    group = file.create_group(name)
    keys = [f"{name}/{KERAS_NAMES.get(part := key.rpartition('/')[2], part)}:0" for key in arrays]
    group.attrs["weight_names"] = [key.encode() for key in keys]
    for key, array in zip(keys, arrays.values(), strict=True):
        group.create_dataset(key, data=array)


def with_lively_statistics(weights: Weights, seed: int) -> Weights:
    """The same kernels with biases, means, variances and gains that differ from channel to channel."""
    generator = np.random.Generator(np.random.PCG64(seed))
    arrays = dict(weights.arrays)
    for key, array in arrays.items():
        if not key.endswith("kernel"):
            factor = generator.uniform(0.5, 1.5, array.shape)
            shift = 0.0 if key.endswith(("gamma", "variance")) else generator.normal(0, 0.1, array.shape)
            arrays[key] = (array * factor + shift).astype(np.float32)
    return replace(weights, arrays=arrays)
