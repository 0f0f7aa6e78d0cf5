"""Runs the extractor in Triton's Python backend, for a Triton without the ONNX Runtime backend or without a GPU.

This file is copied into the model repository and runs in Triton's own Python, which knows nothing of this package: it
needs numpy and onnxruntime. The session is that of the embedded node, so that the same crops give the same bits.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


class TritonPythonModel:
    """What Triton calls."""

    def initialize(self, args: dict[str, Any]) -> None:
        """Load the network that lies beside this file. Raises if it is not the one that the configuration names."""
        import onnxruntime

        parameters = json.loads(args["model_config"])["parameters"]
        path = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        model = path.read_bytes()
        found, wanted = hashlib.sha256(model).hexdigest(), parameters["sha256"]["string_value"]
        if found != wanted:
            raise ValueError(f"model.onnx has the SHA-256 {found}, the configuration names {wanted}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(parameters["intra_op_thread_count"]["string_value"])
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.use_deterministic_compute = True
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def execute(self, requests: list[Any]) -> list[Any]:
        """Each request by itself, in the batch that it came in."""
        import triton_python_backend_utils as backend

        answers = []
        for request in requests:
            crops = backend.get_input_tensor_by_name(request, "hu").as_numpy()
            (features,) = self._session.run(["features"], {"hu": crops})
            answers.append(backend.InferenceResponse([backend.Tensor("features", features)]))
        return answers
