"""docker/compose.yaml as data, with the values of .env.example in the place of its variables."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import yaml
from repository import ROOT

FOLDER = ROOT / "docker"
VARIABLE = re.compile(r"\$\{(\w+)(?::\?[^}]*)?\}")


def example_values() -> dict[str, str]:
    """The variables that .env.example sets."""
    lines = (FOLDER / ".env.example").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def compose_file(values: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The file with ``values`` for its variables, by default those of the example."""
    text = (FOLDER / "compose.yaml").read_text(encoding="utf-8")
    used = values if values is not None else example_values()
    document: dict[str, Any] = yaml.safe_load(VARIABLE.sub(lambda found: used[found.group(1)], text))
    return document


def variables() -> set[str]:
    """The variables that the file takes from the environment."""
    return set(VARIABLE.findall((FOLDER / "compose.yaml").read_text(encoding="utf-8")))


def stages() -> dict[str, str]:
    """Stages of the Dockerfile, and what each is made from."""
    text = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    return {name: base for base, name in re.findall(r"^FROM (\S+) AS (\S+)$", text, re.MULTILINE)}


@cache
def orthanc_options() -> Mapping[str, Any]:
    """The configuration of the demonstration PACS."""
    options: dict[str, Any] = json.loads((FOLDER / "orthanc" / "orthanc.json").read_text(encoding="utf-8"))
    return options
