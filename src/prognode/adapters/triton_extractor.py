"""The extractor on an NVIDIA Triton server, over gRPC, and through shared memory where both are on one machine."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import re
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import structlog
from numpy.typing import NDArray
from tritonclient import grpc
from tritonclient.utils import InferenceServerException, shared_memory

from prognode.adapters.extractor_checks import checked_crops, checked_features
from prognode.adapters.resnet50 import CROP_SHAPE, FEATURE_COUNT
from prognode.adapters.triton_settings import TritonSettings
from prognode.errors import RecipeMismatch, Unavailable

log = structlog.get_logger()

CASE = 2
"""Crops of one case: arterial and venous. Larger batches go without shared memory."""
FIRST_PAUSE_S = 0.1
_PASSES = {"StatusCode.UNAVAILABLE", "StatusCode.DEADLINE_EXCEEDED", "StatusCode.RESOURCE_EXHAUSTED"}

# a server that comes back is found again within a second
_CHANNEL = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 300),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
]

T = TypeVar("T")


class TritonExtractor:
    """A :class:`~prognode.ports.Extractor` on Triton. Safe for many threads.

    Raises Unavailable when the server does not answer, RecipeMismatch when its model is no extractor of ours.
    """

    def __init__(self, settings: TritonSettings) -> None:
        self._settings = settings
        self._client = grpc.InferenceServerClient(settings.url, channel_args=_CHANNEL)
        self._shared = _SharedMemory(self._client, settings)
        self._again(self._require_ready)
        self.sha256 = self._again(self._checked_contract)

    def features(self, crops_hu: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, 3, 224, 224) HU -> (n, 2048); both phases of a case in one batch.

        Raises InvalidInput when crops are not finite, GaveUp when features are not, Unavailable.
        """
        crops = checked_crops(crops_hu)
        features = self._again(lambda: self._infer(crops))
        return checked_features(features)

    def check(self) -> None:
        """Whether the server is ready with the model. Raises Unavailable."""
        try:
            self._require_ready()
        except InferenceServerException as fault:
            raise Unavailable(f"triton: {fault.status()}") from fault

    def close(self) -> None:
        """Give the shared memory back; done at the end of the process in any case."""
        self._shared.close()

    # ------------------------------------------------------------ calls

    def _infer(self, crops: NDArray[np.float32]) -> NDArray[np.float32]:
        if len(crops) <= CASE:
            with self._shared.region() as region:
                if region is not None:
                    return region.infer(crops, self._call)
        wanted = grpc.InferInput("hu", crops.shape, "FP32")
        wanted.set_data_from_numpy(crops)
        answer = self._call([wanted], [grpc.InferRequestedOutput("features")])
        return np.array(answer.as_numpy("features"), np.float32)

    def _call(self, inputs: list[Any], outputs: list[Any]) -> Any:
        return self._client.infer(
            self._settings.model,
            inputs,
            model_version=self._settings.version,
            outputs=outputs,
            client_timeout=self._settings.timeout_s,
        )

    def _again(self, call: Callable[[], T]) -> T:
        """Try a few times what may pass. Raises Unavailable."""
        for attempt in itertools.count():
            try:
                return call()
            except InferenceServerException as fault:
                if fault.status() not in _PASSES or attempt >= self._settings.retries:
                    raise Unavailable(f"triton: {fault.status() or 'no answer'}") from fault
            time.sleep(FIRST_PAUSE_S * 2**attempt)
        raise AssertionError

    # ------------------------------------------------------------ the model

    def _require_ready(self) -> None:
        limit = self._settings.timeout_s
        if not self._client.is_model_ready(
            self._settings.model, self._settings.version, client_timeout=limit
        ):
            raise Unavailable(f"triton: the model {self._settings.model} is not ready")

    def _checked_contract(self) -> str:
        """Digest of the weights. Raises RecipeMismatch for a model that takes or gives something else."""
        name, version, limit = self._settings.model, self._settings.version, self._settings.timeout_s
        found = self._client.get_model_metadata(name, version, client_timeout=limit)
        said = [(one.name, one.datatype, tuple(one.shape[1:])) for one in (*found.inputs, *found.outputs)]
        wanted = [("hu", "FP32", CROP_SHAPE), ("features", "FP32", (FEATURE_COUNT,))]
        if said != wanted:
            raise RecipeMismatch(
                f"triton: the model {name} takes and gives {said}; an extractor takes hu (n, 3, 224, 224) and gives "
                "features (n, 2048), both FP32"
            )
        config = self._client.get_model_config(name, version, client_timeout=limit).config
        sha256 = str(config.parameters["sha256"].string_value) if "sha256" in config.parameters else ""
        if not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise RecipeMismatch(
                f"triton: the configuration of {name} has no parameter sha256; write the repository with "
                "`prognode weights export`"
            )
        return sha256


class _Region:
    """Memory for one case's crops and features, that the server can see."""

    def __init__(self, client: grpc.InferenceServerClient, limit_s: float) -> None:
        self._client, self._limit_s = client, limit_s
        self._name = f"prognode-{os.getpid()}-{id(self):x}"
        self._sizes = (CASE * 4 * int(np.prod(CROP_SHAPE)), CASE * 4 * FEATURE_COUNT)
        self._handle = shared_memory.create_shared_memory_region(
            self._name, f"/{self._name}", sum(self._sizes)
        )
        try:
            self.register()
        except InferenceServerException:
            self.close()
            raise

    def register(self) -> None:
        """Tell the server. It forgets when it is restarted."""
        self._client.register_system_shared_memory(
            self._name, f"/{self._name}", sum(self._sizes), client_timeout=self._limit_s
        )

    def infer(
        self, crops: NDArray[np.float32], call: Callable[[list[Any], list[Any]], Any]
    ) -> NDArray[np.float32]:
        """Features of at most one case."""
        begin = self._sizes[0]
        shared_memory.set_shared_memory_region(self._handle, [crops])
        wanted = grpc.InferInput("hu", crops.shape, "FP32")
        wanted.set_shared_memory(self._name, crops.nbytes)
        given = grpc.InferRequestedOutput("features")
        given.set_shared_memory(self._name, 4 * FEATURE_COUNT * len(crops), begin)
        try:
            call([wanted], [given])
        except InferenceServerException as fault:
            if fault.status() in _PASSES:
                raise
            # a server that was started anew knows no region
            self.register()
            call([wanted], [given])
        found = shared_memory.get_contents_as_numpy(
            self._handle, np.float32, (len(crops), FEATURE_COUNT), begin
        )
        return np.array(found, np.float32)

    def close(self) -> None:
        """Give the memory back."""
        shared_memory.destroy_shared_memory_region(self._handle)


class _SharedMemory:
    """Regions that threads use one at a time; none where the server is on another machine."""

    def __init__(self, client: grpc.InferenceServerClient, settings: TritonSettings) -> None:
        self._client, self._limit_s = client, settings.timeout_s
        self._free: list[_Region] = []
        self._lock = threading.Lock()
        atexit.register(self.close)
        self._usable = settings.shared_memory == "auto" and settings.url.split(":")[0] in LOCAL

    @contextlib.contextmanager
    def region(self) -> Any:
        """A region of one's own, or None where there is none."""
        region = self._take()
        try:
            yield region
        finally:
            if region is not None:
                with self._lock:
                    self._free.append(region)

    def close(self) -> None:
        """Give all memory back."""
        with self._lock:
            while self._free:
                self._free.pop().close()

    def _take(self) -> _Region | None:
        if not self._usable:
            return None
        with self._lock:
            if self._free:
                return self._free.pop()
        try:
            return _Region(self._client, self._limit_s)
        except (InferenceServerException, shared_memory.SharedMemoryException) as fault:
            if getattr(fault, "status", str)() in _PASSES:
                raise
            log.info("triton-without-shared-memory", why=type(fault).__name__)
            self._usable = False
            return None


LOCAL = ("localhost", "127.0.0.1", "[", "unix")
"""Beginnings of addresses on this machine."""
