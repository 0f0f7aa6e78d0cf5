"""What is installed is what was locked, comes with hashes, and may be shipped under Apache-2.0."""

from __future__ import annotations

import importlib.metadata
import re

import pytest
from packaging.requirements import Requirement
from repository import ROOT

LOCKS = ("requirements.lock", "requirements-dev.lock")

# Weak copyleft, judged one by one: name -> why it may be there.
JUDGED = {
    "pathspec": "MPL-2.0; part of the build backend, unchanged, and not part of the product",
    "certifi": "MPL-2.0; the public list of certificate authorities, unchanged, as the trace exporter's HTTP client asks",
}
# GPL, though a search for a codec or a survival library finds them first
NEVER = {"pylibjpeg-libjpeg", "scikit-survival", "pingouin", "lifelib"}


def requirements(lock: str) -> list[Requirement]:
    """The pinned requirements of a lock file."""
    joined = (ROOT / lock).read_text().replace("\\\n", " ")
    lines = [line.split(" --hash=")[0].strip() for line in joined.splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_is_pinned_and_has_hashes(lock):
    """Each entry is name==version with at least one SHA-256."""
    entries = re.split(r"\n(?=\S)", (ROOT / lock).read_text().strip())
    pinned = [entry for entry in entries if not entry.startswith("#")]
    assert len(pinned) > 30
    assert [entry.split()[0] for entry in pinned if not re.match(r"[\w.-]+==\S+", entry)] == []
    assert [entry.split()[0] for entry in pinned if not re.search(r"--hash=sha256:[0-9a-f]{64}", entry)] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_names_no_address(lock):
    """Where packages come from is the user's own pip or uv configuration."""
    assert not re.search(r"\w+://|--(extra-)?index|--find-links|@\s", (ROOT / lock).read_text())


def test_tools_are_locked_beside_the_same_runtime():
    """The tests run on exactly the versions that users get."""
    runtime, tools = ({str(entry) for entry in requirements(lock)} for lock in LOCKS)
    assert runtime - tools == set()


def test_lock_satisfies_the_project():
    """Every dependency of pyproject.toml is locked, in a version that it allows."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = requirements(LOCKS[0])
    for wanted in map(Requirement, project["dependencies"]):
        versions = [str(entry.specifier).removeprefix("==") for entry in locked if same_name(entry, wanted)]
        assert versions, f"{wanted.name} is not locked: make lock"
        assert all(wanted.specifier.contains(version) for version in versions), wanted.name


def same_name(one: Requirement, other: Requirement) -> bool:
    """Whether two requirements name the same distribution (PEP 503)."""
    return re.sub(r"[-_.]+", "-", one.name).lower() == re.sub(r"[-_.]+", "-", other.name).lower()


def declared_licence(metadata) -> str:
    """What a distribution says its licence is, without the text of the licences of libraries inside it."""
    classifiers = [line for line in metadata.get_all("Classifier", []) if line.startswith("License")]
    return " | ".join(
        [metadata.get("License-Expression", ""), metadata.get("License", "")[:60], *classifiers]
    )


def test_nothing_that_ships_is_gpl():
    """Runtime distributions declare permissive licences; weak copyleft is allowed one by one, with a reason."""
    names = {entry.name for entry in requirements(LOCKS[0]) if not entry.marker or entry.marker.evaluate()}
    assert names & NEVER == set()
    licences = {name: declared_licence(importlib.metadata.metadata(name)) for name in names}
    assert len(licences) > 30
    copyleft = {
        name: text for name, text in licences.items() if re.search(r"GPL|Mozilla|MPL-|GNU|Affero|EUPL", text)
    }
    assert set(copyleft) - set(JUDGED) == set(), copyleft
