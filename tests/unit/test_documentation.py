"""What the documents state as fact is compared with the code, so that they cannot drift apart unnoticed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])
CONFORMANCE = ROOT / "docs" / "conformance.md"


def private_codes():
    """Every code of the product's own scheme."""
    from prognode.dicom import codes
    from prognode.domain.recipe import TERMS

    found = {codes.overall_survival(36), codes.overall_survival(60)}
    for value in vars(codes).values():
        members = value.values() if isinstance(value, dict) else [value]
        found.update(m for m in members if isinstance(m, codes.Code) and m.scheme == codes.SCHEME)
    assert len(found) > len(TERMS)
    return sorted(code.value for code in found)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    """Every relative link of every document names a file or folder of the repository."""
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
    gone = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert gone == []


def test_picture_is_well_formed():
    """The picture of the pipeline is an SVG with a title and a description for screen readers."""
    picture = ET.parse(ROOT / "docs" / "pipeline.svg").getroot()
    names = {child.tag.rpartition("}")[2] for child in picture}
    assert {"title", "desc"} <= names


def test_conformance_statement_lists_every_private_code():
    """A reader of a report finds each 99PROGNODE code explained."""
    text = CONFORMANCE.read_text(encoding="utf-8")
    assert [code for code in private_codes() if not re.search(rf"\b{code}\b", text)] == []


def test_conformance_statement_lists_every_status_of_the_receiver():
    """Each DIMSE status that C-STORE may be answered with is in the table."""
    from services.receiver.header import Status

    text = CONFORMANCE.read_text(encoding="utf-8")
    assert [f"0x{status:04X}" for status in Status if f"| 0x{status:04X} " not in text] == []


def test_conformance_statement_gives_the_defaults_of_the_code():
    """AE title, port, associations, PDU and times in the statement are those of the settings."""
    from prognode.adapters.dicom_pacs import MAXIMUM_PDU_BYTES, UIDS_PER_REQUEST, PacsSettings
    from services.dispatcher.settings import DispatcherSettings
    from services.receiver.settings import ReceiverSettings

    text = " ".join(CONFORMANCE.read_text(encoding="utf-8").split())
    receiver, dispatcher = ReceiverSettings(), DispatcherSettings()
    peer = PacsSettings(name="PACS", ae_title="PACS", host="localhost", port=104)
    stated = [
        f"| own AE title | `{receiver.ae_title}` by default",
        f"| port | {receiver.port} by default",
        f"| associations at one time, as provider | {receiver.maximum_associations} by default",
        f"| largest PDU | {MAXIMUM_PDU_BYTES} bytes by default",
        f"| {receiver.network_timeout_s:g} s by default",
        f"double from {dispatcher.retry_first_s:g} s to {dispatcher.retry_cap_s:g} s",
        f"dead letter after {dispatcher.refusals} tries",
        f"waits {peer.commitment_timeout_s:g} s for the N-EVENT-REPORT",
        f"asks again, {dispatcher.commitment_tries} times at most",
        f"at most {UIDS_PER_REQUEST} UIDs in one request",
    ]
    assert receiver.maximum_pdu_bytes == MAXIMUM_PDU_BYTES
    assert [sentence for sentence in stated if sentence not in text] == []


def test_configuration_in_the_readme_is_accepted():
    """The example configuration passes the check that the node makes of its own."""
    from apps.config import parse_config

    (example,) = re.findall(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    config = parse_config(tomllib.loads(example), ROOT / "node.toml")
    assert config.pacs[0].store


@pytest.mark.parametrize("name", ["README.md", "docs/operations.md", "docs/deploy.md"])
def test_pages_name_commands_that_exist(name):
    """Every ``prognode ...`` command that a page tells to type is a command."""
    from typer.main import get_command

    from apps.cli.main import app

    commands = get_command(app).commands
    named = re.findall(r"`prognode ([a-z-]+)(?:\s+([a-z-]+))?", (ROOT / name).read_text(encoding="utf-8"))
    assert named
    for first, second in named:
        assert first in commands
        group = getattr(commands[first], "commands", None)
        assert group is None or second in group, f"prognode {first} {second}"


def test_laboratory_page_lists_every_column_and_code_of_a_cohort_table():
    """A researcher finds each column name and each code that the table may hold."""
    from training.cohort import COHORTS, COLUMNS
    from training.covariates import COVARIATES, Factor

    text = (ROOT / "docs" / "laboratory.md").read_text(encoding="utf-8")
    codes = [level for one in COVARIATES if isinstance(one, Factor) for level in one.levels]
    assert [word for word in (*COLUMNS, *COHORTS, *codes) if f"`{word}`" not in text] == []


def test_commands_page_names_every_command():
    """No command is left out, and none is named that is not there."""
    from typer.main import get_command

    from apps.cli.main import app

    there = {
        f"{name} {sub}".strip()
        for name, command in get_command(app).commands.items()
        for sub in getattr(command, "commands", None) or [""]
    }
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `prognode ([a-z-]+(?: [a-z-]+)?)", text, re.MULTILINE)
    assert set(named) == there


def test_options_in_the_laboratory_page_exist():
    """Every ``--option`` of the page is an option of train or validate."""
    from typer.main import get_command

    from apps.cli.main import app

    commands = get_command(app).commands
    known = {
        option for name in ("train", "validate", "up") for one in commands[name].params for option in one.opts
    }
    text = (ROOT / "docs" / "laboratory.md").read_text(encoding="utf-8")
    assert set(re.findall(r"--[a-z][a-z-]+", text)) <= known


def test_operations_page_names_settings_and_metrics_that_exist():
    """Every variable and every metric that an operator reads of is one of the code."""
    from repository import tool

    from apps.config import NOT_SETTINGS, NodeConfig, config_from_environment
    from prognode.errors import BadRequest

    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    table = tool("metrics_table")
    metrics = {table.name_of(metric) for metric in table.declared().values()}
    named = set(re.findall(r"\bprognode_[a-z0-9_]+", text))
    assert len(named) > 5
    assert named - metrics == set()
    variables = set(re.findall(r"\bPROGNODE_[A-Z0-9_]+", text)) - set(NOT_SETTINGS)
    assert len(variables) > 10
    assert NodeConfig.model_fields
    for variable in variables:
        try:
            config_from_environment({variable: "[]"})
        except BadRequest as fault:
            assert "no such setting" not in str(fault), variable
