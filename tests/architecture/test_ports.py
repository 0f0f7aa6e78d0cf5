"""A port is a promise; its contract suite is what makes adapters interchangeable."""

from __future__ import annotations

import ast
import re

import pytest
from repository import ROOT, python_files, tree


def ports() -> list[ast.ClassDef]:
    """The protocol classes of prognode.ports."""
    module = tree(ROOT / "src" / "prognode" / "ports.py")
    return [
        node
        for node in module.body
        if isinstance(node, ast.ClassDef)
        and any(getattr(base, "id", "") == "Protocol" for base in node.bases)
    ]


def snake(name: str) -> str:
    """ObjectStore -> object_store."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


@pytest.mark.parametrize("port", ports(), ids=lambda port: port.name)
def test_every_port_has_a_contract_suite(port):
    """tests/contract holds a test_<port>_contract.py, which every adapter of the port passes."""
    suites = {path.name for path in python_files("tests") if path.parent.name == "contract"}
    assert f"test_{snake(port.name)}_contract.py" in suites


@pytest.mark.parametrize("port", ports(), ids=lambda port: port.name)
def test_every_port_is_explained(port):
    """A port says what it stands for."""
    assert ast.get_docstring(port)
