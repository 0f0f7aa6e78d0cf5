"""Imports run one way; the arrows of the design are checked, not remembered."""

from __future__ import annotations

import subprocess
import sys
import tomllib

from repository import ROOT

LINT_IMPORTS = "from importlinter.cli import lint_imports_command; lint_imports_command()"

PROMISED = {
    "apps -> services | training -> prognode",
    "inside prognode imports run one way",
    "services never import each other",
    "services see ports, never adapters",
    "domain and statistics do no I/O",
}


def test_every_import_rule_is_kept():
    """Each contract in pyproject.toml holds for the code as it is."""
    command = [sys.executable, "-c", LINT_IMPORTS, "--config", "pyproject.toml", "--no-cache"]
    linted = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert linted.returncode == 0, linted.stdout + linted.stderr
    assert {rule for rule in PROMISED if f"{rule} KEPT" not in linted.stdout} == set()


def test_no_import_rule_has_exceptions():
    """A rule with a list of ignored imports is no rule."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    assert [rule["name"] for rule in settings["contracts"] if "ignore_imports" in rule] == []
