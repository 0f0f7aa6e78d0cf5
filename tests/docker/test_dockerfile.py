"""The images: what is promised of their recipe before anything is built. tests/images builds and runs them."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib

import pytest
from components import missing
from compose_file import FOLDER, stages
from repository import ROOT

from apps.compose import SERVICES

HADOLINT = ROOT / ".cache" / "hadolint" / "bin" / "hadolint"
TEXT = (FOLDER / "Dockerfile").read_text(encoding="utf-8")


@pytest.mark.component
def test_hadolint_finds_nothing():
    """No finding, and none is switched off."""
    if not HADOLINT.is_file():
        missing("hadolint is not there (tools/fetch_hadolint.sh brings it)")
    run = subprocess.run([HADOLINT, FOLDER / "Dockerfile"], check=False, capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, "")
    assert "hadolint ignore" not in TEXT
    assert not list(ROOT.glob("*hadolint.y*ml"))


def test_every_service_has_a_target_of_its_name():
    """The targets are the services of the composition root, and each runs its own."""
    targets = [name for name, base in stages().items() if base == "runtime"]
    assert targets == list(SERVICES)
    entries = [json.loads(entry) for entry in re.findall(r"^ENTRYPOINT (.*)$", TEXT, re.MULTILINE)]
    assert entries == [["prognode", "serve", name] for name in targets]


def test_the_base_is_pinned_and_used_by_every_stage():
    """Builder and runtime stand on one base, whose tag names a version of Python and of Debian."""
    (base,) = re.findall(r"^ARG BASE=(\S+)$", TEXT, re.MULTILINE)
    assert re.search(r":3\.11\S*-slim-bookworm$", base)
    assert {stages()[name] for name in ("builder", "runtime")} == {"${BASE}"}


def test_dependencies_come_from_the_lock_with_hashes():
    """Nothing but the lock and the project itself is installed."""
    installs = re.findall(r"pip install (.*?)(?: \\)?$", TEXT, re.MULTILINE)
    assert len(installs) == 2
    locked, own = installs
    assert {"--require-hashes", "requirements-services.lock"} <= set(locked.split())
    assert {"--no-deps", "--no-build-isolation", "."} <= set(own.split())


def test_the_version_is_that_of_the_project():
    """The label's default does not fall behind."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert re.findall(r"^ARG VERSION=(\S+)$", TEXT, re.MULTILINE) == [version]


def test_the_context_holds_only_what_is_copied():
    """What .dockerignore lets through is what the Dockerfile copies: no tests, no data, no history."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    copied = [
        word.removeprefix("./")
        for words in re.findall(r"^COPY (?!--from)(.*) \S+$", TEXT, re.MULTILINE)
        for word in words.split()
    ]
    assert sorted(copied) == sorted(line.removeprefix("!") for line in lines if line.startswith("!"))
