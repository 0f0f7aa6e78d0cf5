"""``prognode case ...``: what the node knows of each case, and what a person may decide about it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from apps.cli.terminal import console, say, table, write_json
from apps.config import NodeConfig, config_from_environment, default_config, is_in_environment, load_config
from prognode.errors import BadRequest
from prognode.ports import Index
from prognode.runtime import case_actions
from prognode.runtime.case_actions import describe, find_case, headline

app = typer.Typer(no_args_is_help=True, help="List, explain, replay and complete cases.")

ConfigOption = Annotated[Path | None, typer.Option("--config", help="The node's configuration file.")]
CaseArgument = Annotated[
    str, typer.Argument(help="Case id (or its first characters), or a Study Instance UID.")
]


def node_config(path: Path | None) -> NodeConfig:
    """The configuration a person named, that of the environment, or the default one."""
    if path:
        return load_config(path)
    return config_from_environment(os.environ) if is_in_environment(os.environ) else default_config()


def open_index(path: Path | None) -> Index:
    """The index of an existing node. Raises BadRequest where there is none."""
    from apps.outside import index_of

    config = node_config(path)
    if config.data and not config.index_url and not (config.data / "index.sqlite").is_file():
        raise BadRequest(
            f"{config.data}: no node has run here; start one with `prognode up` or name its --config"
        )
    return index_of(config)


@app.command("list")
def list_cases(config: ConfigOption = None) -> None:
    """All cases, newest last."""
    shown = table("case", "state", "updated (UTC)", "says")
    shown.columns[0].no_wrap = True
    cases = sorted(open_index(config).cases(), key=lambda case: case.updated_at)
    for case in cases:
        shown.add_row(case.case_id, case.state.value, f"{case.updated_at:%Y-%m-%d %H:%M:%S}", headline(case))
    console.print(shown if cases else "no cases yet: none of the studies has contours")


@app.command("show")
def show(
    case: CaseArgument, config: ConfigOption = None, as_json: Annotated[bool, typer.Option("--json")] = False
) -> None:
    """Everything about one case: what it waits for, which contours and slices, reports and deliveries."""
    index = open_index(config)
    found = find_case(index, case)
    document = describe(index, found)
    if as_json:
        write_json(document)
        return
    say(f"case {found.case_id}  {found.state.value}  study {found.study_instance_uid}", style="bold")
    for name, value in document.items():
        _print_part(name, value)


def _print_part(name: str, value: Any) -> None:
    if name in {"case_id", "study_instance_uid", "state"} or value in ({}, [], None):
        return
    if name == "assessment":
        for wait in value.get("waiting_for", []):
            say(f"  waits for: {wait['text']}")
        value = {k: v for k, v in value.items() if k != "waiting_for" and v not in ({}, [], None, "")}
    say(name, style="bold")
    console.print_json(data=value)


@app.command("set-clinical")
def set_clinical(
    case: CaseArgument,
    ki67: Annotated[str | None, typer.Option(help="Ki-67 index in percent.")] = None,
    m_stage: Annotated[str | None, typer.Option(help="M0 or M1.")] = None,
    diameter_mm: Annotated[
        str | None, typer.Option(help="Longest diameter in mm, instead of the measured one.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Give the covariates that the images do not hold; a new report supersedes the preliminary one."""
    index = open_index(config)
    found = find_case(index, case)
    given = {"ki67": ki67, "m_stage": m_stage, "diameter_mm": diameter_mm}
    values = case_actions.set_clinical(index, found, given)
    say(f"case {found.case_id}: " + ", ".join(f"{k} = {v}" for k, v in values.items()))


@app.command("choose")
def choose(
    case: CaseArgument,
    phase: Annotated[
        list[str] | None, typer.Option(help="SERIES_UID=arterial or SERIES_UID=venous; may be repeated.")
    ] = None,
    roi: Annotated[
        list[str] | None, typer.Option(help="arterial=ROI_OBJECT_UID#NUMBER or venous=...; may be repeated.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Decide what the node may not guess: which series is which phase, which ROI is the tumour."""
    index = open_index(config)
    found = find_case(index, case)
    chosen = case_actions.choose(index, found, _pairs(phase), _pairs(roi))
    say(f"case {found.case_id}: {len(chosen['phases'])} phase(s) and {len(chosen['rois'])} ROI(s) chosen")


def _pairs(texts: list[str] | None) -> dict[str, str]:
    pairs = {}
    for text in texts or []:
        left, separator, right = text.partition("=")
        if not (left and separator and right):
            raise BadRequest(f"'{text}' is not NAME=VALUE")
        pairs[left] = right
    return pairs


@app.command("replay")
def replay(
    case: Annotated[
        str | None, typer.Argument(help="Case id, or its beginning, or a Study Instance UID.")
    ] = None,
    config: ConfigOption = None,
    every: Annotated[
        bool,
        typer.Option(
            "--unfinished",
            help="Every case whose next step was on its way: after Kafka was lost, or the index restored.",
        ),
    ] = False,
) -> None:
    """Do the case again from its stored images; the same inputs give the same report."""
    if (case is None) is not every:
        raise BadRequest("name one case, or give --unfinished")
    index = open_index(config)
    cases = [find_case(index, case)] if case is not None else case_actions.unfinished(index)
    for one in cases:
        say(f"case {one.case_id}: {case_actions.replay(index, one)} published again")
    if not cases:
        say("no case is unfinished")
