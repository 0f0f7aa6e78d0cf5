"""Nodes to be killed, without the seconds that importing them takes: ``python forked_node.py``.

A parent that has imported everything forks a child for each life. One command a line on standard input, one answer
each: ``start CONFIG LOG`` answers the child's process id; ``wait PID`` answers its wait status once it has ended.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

USED_BY_A_NODE = (
    "apps.compose",
    "apps.cli.node",
    "matplotlib.backends.backend_agg",
    "onnxruntime",
    "prognode.adapters.figure",
)


def main() -> None:
    for name in USED_BY_A_NODE:
        importlib.import_module(name)
    for line in sys.stdin:
        command, *arguments = line.split()
        if command == "start":
            print(start(*arguments), flush=True)
        else:
            print(os.waitpid(int(arguments[0]), 0)[1], flush=True)


def start(config: str, log: str) -> int:
    """Process id of a child that is ``prognode up``."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        run(Path(config), log)
        status = 0
    finally:
        os._exit(status)


def run(config: Path, log: str) -> None:
    from apps.cli.node import up

    out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for stream in (1, 2):
        os.dup2(out, stream)
    os.close(0)
    up(config)


if __name__ == "__main__":
    main()
