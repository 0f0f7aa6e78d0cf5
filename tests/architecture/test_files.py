"""What no file of the repository may hold, and how files are named and sized."""

from __future__ import annotations

import ast
import re
import statistics

import pytest
from repository import PRODUCT, ROOT, files, functions, name_of, python_files, texts, tree

VAGUE = re.compile(r"(^|_)(utils?|helpers?|common|managers?|misc|stuff)($|_)")
OPEN_WORK = re.compile(r"\b(TO" + r"DO|FIX" + r"ME)\b")
PERSONAL_PATH = re.compile(r"(?<![\w.])/(work|root|home)/(?!\$)\w")
REGISTRIES = tuple(
    ".".join(words)
    for words in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("debian", "org"),
        ("golang", "org"),
        ("maven", "org"),
    )
)
LONGEST_FILE = 600
LONG_FUNCTION = 50


def test_no_file_names_a_persons_path():
    """Nothing depends on where one developer keeps it."""
    found = {name: match.group() for name, text in texts() if (match := PERSONAL_PATH.search(text))}
    assert found == {}


def test_no_file_names_a_package_registry():
    """Where packages come from is the user's own configuration."""
    found = [(name, host) for name, text in texts() for host in REGISTRIES if host in text]
    assert found == []


def test_no_open_work_is_left_in_the_code():
    """Open work stands in docs/limits.md, where users see it."""
    assert [name for name, text in texts() if OPEN_WORK.search(text)] == []


def test_no_module_has_a_vague_name():
    """A module is named after what it is about."""
    named = [path for path in files() if path.suffix == ".py"]
    assert [
        name_of(path) for path in named if any(VAGUE.search(part) for part in (path.stem, path.parent.name))
    ] == []


def test_product_functions_are_short():
    """Median at most 8 lines, 95 % under 50: most functions are read at one look."""
    lengths = [
        function.end_lineno - function.lineno + 1
        for path in python_files(*PRODUCT)
        for function in functions(path)
    ]
    assert statistics.median(lengths) <= 8
    assert statistics.quantiles(lengths, n=20)[-1] < LONG_FUNCTION


def test_product_files_are_short():
    """One noun per file: 95 % under 500 lines, none over 600."""
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in python_files(*PRODUCT)}
    assert {name: count for name, count in lengths.items() if count > LONGEST_FILE} == {}
    assert statistics.quantiles(lengths.values(), n=20)[-1] < 500


def test_every_module_says_why_it_exists():
    """Each Python file that holds anything begins with a docstring."""
    modules = [path for path in files() if path.suffix == ".py" and tree(path).body]
    silent = [name_of(path) for path in modules if not ast.get_docstring(tree(path))]
    assert silent == []


def test_every_test_states_its_promise():
    """Each test has a docstring."""
    silent = [
        f"{name_of(path)}::{function.name}"
        for path in python_files("tests")
        if path.name.startswith("test_")
        for function in functions(path)
        if function.name.startswith("test_") and not ast.get_docstring(function)
    ]
    assert silent == []


@pytest.mark.parametrize("script", ["tools/*.sh", ".ci/run"])
def test_scripts_stop_at_the_first_error(script):
    """A shell script runs as it is, and no failed step is passed over."""
    found = sorted(ROOT.glob(script))
    assert found
    for path in found:
        assert path.stat().st_mode & 0o111, f"{name_of(path)} is not executable"
        assert re.search(r"^set -eu", path.read_text(), re.MULTILINE), name_of(path)


def test_readme_names_the_two_commands():
    """A newcomer finds the way to run it and the way to check it."""
    readme = (ROOT / "README.md").read_text()
    assert "make demo" in readme
    assert "make test" in readme


def test_outputs_and_environments_stay_out_of_the_repository():
    """What the commands make is ignored by git."""
    ignored = (ROOT / ".gitignore").read_text().split()
    assert {".venv/", ".cache/", "out/", "__pycache__/"} <= set(ignored)
