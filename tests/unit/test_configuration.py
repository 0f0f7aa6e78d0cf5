"""The configuration file: its page tells the truth, and faults are named."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from apps.config import load_config
from prognode.errors import BadRequest

ROOT = Path(__file__).parent.parent.parent

GOOD = 'data = "data"\nrecipe = "recipe.json"\nextractor = "net.onnx"\n'


def settings_table():
    spec = importlib.util.spec_from_file_location("settings_table", ROOT / "tools" / "settings_table.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_page_is_made_from_the_settings():
    """docs/configuration.md lists exactly the settings that the code has, with their defaults and meanings."""
    assert (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8") == settings_table().page()


def test_every_setting_says_what_it_means():
    """No key stands in the page without a meaning."""
    rows = [line for line in settings_table().page().splitlines() if line.startswith("| `")]
    assert len(rows) > 20
    assert [row for row in rows if row.rstrip("| ").endswith("none") or row.count("|") != 4] == []


def test_paths_are_relative_to_the_file(tmp_path):
    """A configuration can be moved with its folder."""
    path = tmp_path / "node.toml"
    path.write_text(GOOD)
    assert load_config(path).data == tmp_path / "data"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD + "port = 5\n", "port"),
        (GOOD + "[receiver]\nport = 99999\n", "receiver.port"),
        (
            GOOD + '[[pacs]]\nname = "a"\nae_title = "A"\nhost = "h"\nport = 104\nstoree = true\n',
            "pacs.0.storee",
        ),
        ('data = "data"\n', "recipe"),
        ("data = \n", "not a TOML file"),
    ],
)
def test_faults_are_named(tmp_path, text, said):
    """A wrong file is one sentence that names the file and the key."""
    path = tmp_path / "node.toml"
    path.write_text(text)
    with pytest.raises(BadRequest, match=said) as fault:
        load_config(path)
    assert str(path) in str(fault.value)
    assert "\n" not in str(fault.value)


def test_missing_file_says_what_to_do(tmp_path):
    """No file: the sentence says how to make one."""
    with pytest.raises(BadRequest, match="no such configuration file"):
        load_config(tmp_path / "absent.toml")
