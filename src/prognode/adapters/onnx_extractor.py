"""The extractor in process, on ONNX Runtime: two threads, no spinning, the same bits every time."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prognode.adapters.extractor_checks import checked_crops, checked_features
from prognode.adapters.resnet50 import CROP_SHAPE, FEATURE_COUNT
from prognode.errors import BadRequest, RecipeMismatch


class OnnxExtractor:
    """ResNet-50 features by ONNX Runtime's CPU provider; implements :class:`prognode.ports.Extractor`.

    The thread count is fixed, nodes run one after the other and the batch is run exactly as given, so that the same
    array gives the same bits on one machine. Callers keep the batch (arterial, venous) whole for the same reason.

    Raises :class:`~prognode.errors.BadRequest` for a file that is no model and
    :class:`~prognode.errors.RecipeMismatch` for a model with another contract.
    """

    def __init__(self, path: Path, threads: int = 2) -> None:
        model = _model_bytes(path)
        # the digest is of the very bytes that the session loads
        self.sha256 = hashlib.sha256(model).hexdigest()
        self._session = _session(model, path, threads)
        _check_contract(self._session, path)
        self.metadata: Mapping[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        """What the builder recorded: architecture, weights, window."""

    def features(self, crops_hu: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, 3, 224, 224) HU -> (n, 2048). Raises InvalidInput when crops are not finite, GaveUp when features are not."""
        (features,) = self._session.run(["features"], {"hu": checked_crops(crops_hu)})
        return checked_features(features)

    def check(self) -> None:
        """Nothing that could be away: it is in this process."""


def _model_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as fault:
        raise BadRequest(
            f"{path}: the extractor cannot be read ({fault.strerror}); import weights first"
        ) from fault


def _session(model: bytes, path: Path, threads: int) -> Any:
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as faults

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    options.log_severity_level = 3
    # spinning threads would take the cores from the receiver between two cases
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except (faults.InvalidProtobuf, faults.InvalidGraph, faults.Fail, faults.InvalidArgument) as fault:
        raise BadRequest(f"{path}: not an ONNX model that can be run ({fault})") from fault


def _check_contract(session: Any, path: Path) -> None:
    found = [
        (item.name, item.type, item.shape[1:]) for item in (*session.get_inputs(), *session.get_outputs())
    ]
    wanted = [("hu", "tensor(float)", list(CROP_SHAPE)), ("features", "tensor(float)", [FEATURE_COUNT])]
    if found != wanted:
        raise RecipeMismatch(
            f"{path}: the model takes and gives {found}; an extractor takes hu (n, 3, 224, 224) and gives "
            f"features (n, 2048), both float32"
        )
