"""Imports run one way; the arrows of the design are checked, not remembered."""

from __future__ import annotations

import tomllib

from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports
from repository import ROOT

PROMISED = {
    "apps -> services | training -> prognode",
    "inside prognode imports run one way",
    "services never import each other",
    "services see ports, never adapters",
    "the domain does no I/O",
}


def test_every_import_rule_is_kept(monkeypatch, capsys):
    """Each contract in pyproject.toml holds for the code as it is."""
    monkeypatch.chdir(ROOT)
    status = lint_imports(config_filename="pyproject.toml", no_cache=True)
    said = capsys.readouterr().out
    assert status == EXIT_STATUS_SUCCESS, said
    assert {rule for rule in PROMISED if f"{rule} KEPT" not in said} == set()


def test_no_import_rule_has_exceptions():
    """A rule with a list of ignored imports is no rule."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    assert [rule["name"] for rule in settings["contracts"] if "ignore_imports" in rule] == []
