"""A model repository that Triton loads as it is: configuration, weights, and for Triton without ONNX Runtime a runner."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Literal

from prognode.adapters import triton_model
from prognode.adapters.onnx_extractor import OnnxExtractor
from prognode.errors import BadRequest

Engine = Literal["gpu", "gpu-fp16", "cpu", "python"]
ENGINES: tuple[Engine, ...] = ("gpu", "gpu-fp16", "cpu", "python")
MODEL = "resnet50_features"
MAX_BATCH = 16

_HEAD = """\
# The feature extractor: Hounsfield units in, 2048 features out; window, channel order and means are inside the graph.
# Written by `prognode weights export`; `sha256` is that of 1/model.onnx, which the recipe names.
name: "{model}"
{backend}
max_batch_size: {max_batch}
input [ {{ name: "hu" data_type: TYPE_FP32 dims: [ 3, 224, 224 ] }} ]
output [ {{ name: "features" data_type: TYPE_FP32 dims: [ 2048 ] }} ]
parameters {{ key: "sha256" value {{ string_value: "{sha256}" }} }}
"""

# a case is a batch of two and is never cut; cases that arrive together share a pass through the network
_BATCHING = """
dynamic_batching {
  preferred_batch_size: [ 4, 8, 16 ]
  max_queue_delay_microseconds: 2000
}
"""

# the first case must not wait for the engine to choose its algorithms
_WARM_UP = """
model_warmup [ {
  name: "one case"
  batch_size: 2
  inputs { key: "hu" value { data_type: TYPE_FP32 dims: [ 3, 224, 224 ] zero_data: true } }
} ]
"""

# TF32 would round every product to ten bits
_GPU = """
instance_group [ { count: 1 kind: KIND_GPU } ]
optimization {
  execution_accelerators {
    gpu_execution_accelerator [ { name: "cuda" parameters { key: "use_tf32" value: "0" } } ]
  }
}
"""

# half precision moves features in the third digit; scoring starts only if the recipe's reference crops stand it
_GPU_FP16 = """
instance_group [ { count: 1 kind: KIND_GPU } ]
optimization {
  execution_accelerators {
    gpu_execution_accelerator [ {
      name: "tensorrt"
      parameters { key: "precision_mode" value: "FP16" }
      parameters { key: "max_workspace_size_bytes" value: "1073741824" }
    } ]
  }
}
"""

# the embedded node's own session: two threads, nothing in parallel, so that the bits are the same
_CPU = """
instance_group [ { count: 1 kind: KIND_CPU } ]
parameters { key: "intra_op_thread_count" value { string_value: "2" } }
parameters { key: "inter_op_thread_count" value { string_value: "1" } }
"""

_BACKENDS = {"python": 'backend: "python"'}
_ENGINES: dict[Engine, str] = {
    "gpu": _GPU + _BATCHING + _WARM_UP,
    "gpu-fp16": _GPU_FP16 + _BATCHING + _WARM_UP,
    "cpu": _CPU + _WARM_UP,
    "python": _CPU + _WARM_UP,
}


def config_text(engine: Engine, sha256: str) -> str:
    """``config.pbtxt`` for an engine and the weights of that digest."""
    head = _HEAD.format(
        model=MODEL,
        backend=_BACKENDS.get(engine, 'backend: "onnxruntime"\ndefault_model_filename: "model.onnx"'),
        max_batch=MAX_BATCH,
        sha256=sha256,
    )
    return head + _ENGINES[engine]


def write_repository(extractor: Path, folder: Path, engine: Engine) -> Path:
    """Write the model into the repository ``folder``; the model's own folder.

    Raises BadRequest for a file that is no extractor, RecipeMismatch for a model of another contract.
    """
    OnnxExtractor(extractor)
    model = folder / MODEL
    version = model / "1"
    try:
        version.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(extractor, version / "model.onnx")
        runner = version / "model.py"
        if engine == "python":
            shutil.copyfile(triton_model.__file__, runner)
        else:
            runner.unlink(missing_ok=True)
        digest = hashlib.sha256((version / "model.onnx").read_bytes()).hexdigest()
        (model / "config.pbtxt").write_text(config_text(engine, digest), encoding="utf-8")
    except OSError as fault:
        raise BadRequest(f"{folder}: cannot be written ({fault.strerror}); give another folder") from None
    return model
