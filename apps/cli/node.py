"""``prognode up`` and ``prognode demo``: the node itself, and the main job end to end on synthetic DICOM."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apps.cli.cases import ConfigOption, node_config
from apps.cli.files import existing_file, writing
from apps.config import NodeConfig, config_from_environment
from prognode.errors import BadRequest, Unavailable
from prognode.runtime import tracing

if TYPE_CHECKING:
    from apps.compose import Node

START_PAUSE_S = 2.0
"""Pause before a service that could not start for want of a server tries again."""


def up(config: ConfigOption = None) -> None:
    """Run the embedded node until it is told to stop (SIGTERM, Ctrl-C).

    The configuration is a TOML file: data, recipe and extractor are paths; [receiver] has ae_title, host and port;
    each [[pacs]] has name, ae_title, host and port. docs/routing.md shows whole ones.
    """
    log_as_json()
    keep_memory()
    loaded = node_config(config)
    require_model(loaded)
    from apps.compose import compose

    stop = _asked_to_stop()
    tracing.configure("node")
    node = compose(loaded)
    node.start()
    print(f"listening as {loaded.receiver.ae_title} on port {node.port}", file=sys.stderr, flush=True)
    _run_until(stop, node)


def serve(
    service: Annotated[str, typer.Argument(help="receiver, preprocess, scoring, dispatcher or console-api.")],
) -> None:
    """Run one service until it is told to stop, with settings from the environment (PROGNODE_...).

    docs/operations.md lists the variables. What a file in PROGNODE_CONFIG says holds where no variable says otherwise.
    """
    log_as_json()
    keep_memory()
    loaded = config_from_environment(os.environ)
    from apps.compose import compose_service

    stop = _asked_to_stop()
    tracing.configure(service)
    node = _once_everything_answers(lambda: compose_service(loaded, service), stop)
    if node is not None:
        node.start()
        print(f"{service} is up", file=sys.stderr, flush=True)
        _run_until(stop, node)


def _asked_to_stop() -> threading.Event:
    """Set by SIGTERM or Ctrl-C."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _once_everything_answers(make: Callable[[], Node], stop: threading.Event) -> Node | None:
    """The node as soon as every server that it needs answers; None if it is stopped before."""
    import structlog

    while not stop.is_set():
        try:
            return make()
        except Unavailable as fault:
            structlog.get_logger().warning("waits-to-start", why=str(fault))
            stop.wait(START_PAUSE_S)
    return None


def _run_until(stop: threading.Event, node: Node) -> None:
    while not stop.wait(0.2):
        if node.failed.is_set():
            node.stop()
            raise SystemExit(1)
    node.stop()


def keep_memory() -> None:
    """Have glibc keep the memory of one case's volumes for the next case.

    By default each thread hands its 20 MB arrays back to the kernel, and gets them again page by page: half of the time
    of preprocess. Elsewhere than on glibc nothing changes.
    """
    import ctypes

    arena_max, mmap_threshold, trim_threshold = -8, -3, -1  # names in malloc.h
    with contextlib.suppress(OSError, AttributeError):
        tune = ctypes.CDLL("libc.so.6").mallopt
        for option, value in ((arena_max, 1), (mmap_threshold, 32 << 20), (trim_threshold, 512 << 20)):
            tune(option, value)


def log_as_json() -> None:
    """One JSON line an event, to standard output."""
    import structlog

    # both quote what they send and receive
    for name in ("pynetdicom", "kafka"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(),
        cache_logger_on_first_use=True,
    )


def silence_logs() -> None:
    """No log lines between a command's own results."""
    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def require_model(config: NodeConfig) -> None:
    """Extractor and recipe are files. Raises BadRequest that says how to get them."""
    from apps.outside import required

    if config.triton is None:
        existing_file(
            required(config.extractor, "extractor"),
            "the extractor (ONNX)",
            "make one with `prognode weights fetch`, `import` or `random`",
        )
    remedy = f"train one, or make one with `prognode recipe demonstration --out {config.recipe}`"
    existing_file(required(config.recipe, "recipe"), "the recipe (JSON)", remedy)


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for the results; it is emptied.")] = Path(
        "out/demo"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the synthetic patient.")] = 1,
) -> None:
    """The main job on synthetic data: study in by C-STORE, structured report back in a PACS."""
    from apps.demo import run_demo

    _empty(out)
    raise SystemExit(run_demo(out, seed))


def _empty(folder: Path) -> None:
    """Remove what an earlier demonstration left; never a folder of somebody else's."""
    if folder.is_file():
        raise BadRequest(f"{folder}: a file, not a folder; give another --out")
    if folder.exists() and any(folder.iterdir()):
        if not (folder / ".prognode-demo").exists():
            raise BadRequest(
                f"{folder}: not empty, and not from an earlier demonstration; give another --out"
            )
        shutil.rmtree(folder)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".prognode-demo").touch()


__all__: list[Any] = ["demo", "log_as_json", "require_model", "serve", "silence_logs", "up"]
