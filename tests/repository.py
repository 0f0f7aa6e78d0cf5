"""The repository as data: its files, its syntax trees. For the tests that hold the house to its own rules."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
PRODUCT = ("src", "services", "apps", "training")
BINARY = {".png", ".dcm", ".npy", ".npz", ".onnx", ".h5", ".gz"}


@cache
def files() -> tuple[Path, ...]:
    """Every file of the repository that git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return tuple(ROOT / name for name in sorted(listed.split("\0")) if name and (ROOT / name).is_file())


def name_of(path: Path) -> str:
    """Path inside the repository."""
    return path.relative_to(ROOT).as_posix()


def texts() -> Iterator[tuple[str, str]]:
    """(name, content) of every file that is text."""
    for path in files():
        if path.suffix not in BINARY:
            yield name_of(path), path.read_text(encoding="utf-8")


def python_files(*folders: str) -> list[Path]:
    """Python files below these folders."""
    return [path for path in files() if path.suffix == ".py" and name_of(path).split("/")[0] in folders]


@cache
def tree(path: Path) -> ast.Module:
    """Syntax tree of one file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method of one file."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def tool(name: str) -> ModuleType:
    """A script of the folder tools, as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
