"""The values' schema refuses what the chart does not know, and the chart's copies of the code are the code's."""

from __future__ import annotations

import copy
import json
import re
import tarfile
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from chart_rendering import CHART, MAIN_VALUES, ROOT, VALUES, helm, refusal
from jsonschema import Draft7Validator
from repository import tool

pytestmark = pytest.mark.component

SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
VALIDATOR = Draft7Validator(SCHEMA)
DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
FREE = re.compile(r"(annotations|labels|nodeSelector|podAnnotations|requests|limits|matchLabels)$")
"""Tables whose keys are the user's own."""


def merged(into: Any, values: Any) -> Any:
    """Values over values, as Helm lays them."""
    if not (isinstance(into, dict) and isinstance(values, dict)):
        return values
    return into | {key: merged(into.get(key), value) for key, value in values.items()}


def whole(path: Path) -> dict[str, Any]:
    """A values file over the chart's own values."""
    return merged(copy.deepcopy(DEFAULTS), yaml.safe_load(path.read_text(encoding="utf-8")))


def tables(values: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every table in the values, those in lists too."""
    if isinstance(values, dict):
        return [path, *(found for key, one in values.items() for found in tables(one, (*path, key)))]
    if isinstance(values, list):
        return [found for number, one in enumerate(values) for found in tables(one, (*path, number))]
    return []


def test_every_values_file_is_valid():
    """As the schema's own language says, not only as Helm reads it."""
    Draft7Validator.check_schema(SCHEMA)
    assert [str(fault) for path in VALUES for fault in VALIDATOR.iter_errors(whole(path))] == []


def test_unknown_keys_are_refused_at_every_level():
    """A key that nobody knows, in any table of any values file that comes with the chart, does not pass."""
    tried = 0
    for path in VALUES:
        values = whole(path)
        for place in tables(values):
            if FREE.search(str(place[-1])) if place else False:
                continue
            changed = copy.deepcopy(values)
            table = changed
            for key in place:
                table = table[key]
            table["unknownKey"] = 1
            assert not VALIDATOR.is_valid(changed), place
            tried += 1
    assert tried > 400


@pytest.mark.parametrize(
    "setting",
    ["unknownKey=1", "receiver.unknownKey=1", "config.kafka.unknown_key=1", "config.pacs[0].unknown=1"],
)
def test_helm_refuses_them(setting):
    """Helm itself goes by the schema."""
    said = refusal("--values", CHART / "values-production.yaml", "--set", setting)
    assert "additional properties" in said
    assert re.search("unknown", said)


@pytest.mark.parametrize(
    "setting", ["config.receiver.port=70000", "config.threads=0", "config.kafka.security_protocol=TLS"]
)
def test_helm_knows_the_limits_of_the_code(setting):
    """What the code would refuse at its start is refused before it is installed."""
    assert setting.split("=")[0].replace(".", "/") in refusal(
        "--values", CHART / "values-quickstart.yaml", "--set", setting
    )


@pytest.mark.parametrize(
    "setting", ["config.index_url=postgresql://a", "config.kafka.password=a", "config.s3.secret_access_key=a"]
)
def test_secrets_are_no_values(setting):
    """What is secret has no place in `config`, from which a ConfigMap is made."""
    said = refusal("--values", CHART / "values-quickstart.yaml", "--set", setting)
    assert "additional properties" in said


def test_the_chart_holds_what_the_code_says():
    """Topics and settings in the chart are made from the code; `python tools/chart_files.py` brings them up to date."""
    made = tool("chart_files")
    assert made.TOPICS.read_text(encoding="utf-8") == made.topics_text()
    assert made.SCHEMA.read_text(encoding="utf-8") == made.schema_text(copy.deepcopy(SCHEMA))


def test_the_chart_is_of_the_version_of_the_program():
    """The images that it asks for are those of this version."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert chart["appVersion"] == project["version"]


def test_the_package_holds_what_it_needs(tmp_path):
    """`helm package` takes the files that templates read, and leaves the tests' values out."""
    result = helm("package", CHART, "--destination", tmp_path)
    assert result.returncode == 0, result.stderr
    (package,) = tmp_path.iterdir()
    with tarfile.open(package) as archive:
        names = {name.removeprefix("prognode/") for name in archive.getnames()}
    assert {
        "files/alerts.yaml",
        "files/dashboard.json",
        "files/topics.yaml",
        "values-quickstart.yaml",
    } <= names
    assert not {name for name in names if name.startswith("ci/")}


def test_every_value_is_used():
    """No key of values.yaml that no template reads: the last part of its name stands in one of them."""
    templates = "\n".join(
        path.read_text(encoding="utf-8")
        for path in sorted((CHART / "templates").rglob("*"))
        if path.is_file()
    )
    names = {
        str(place[-1])
        for place in leaves(DEFAULTS)
        if place[0] != "config" and not FREE.search(str(place[-2:][0]))
    }
    unused = {name for name in names if not re.search(rf"\b{name}\b", templates)}
    # what is handed on whole: labels and peers
    assert unused - {"effect", "key", "operator", "kubernetes.io/metadata.name"} == set()


def leaves(values: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of everything in the values that is no table."""
    if isinstance(values, dict) and values:
        return [found for key, one in values.items() for found in leaves(one, (*path, key))]
    return [path]


@pytest.mark.parametrize("values", MAIN_VALUES, ids=lambda path: path.stem)
def test_the_notes_say_what_comes_next(values):
    """After the installation a person reads where to send to, how to try it, and what it is not for."""
    said = helm("install", "prognode", CHART, "--values", values, "--dry-run=client").stdout
    notes = said.partition("NOTES:")[2]
    assert "Not for clinical decisions" in notes
    assert "helm test prognode" in notes
    assert ("archive" in notes) == ("production" in values.stem)
    assert ("means nothing" in notes) == ("quickstart" in values.stem)
