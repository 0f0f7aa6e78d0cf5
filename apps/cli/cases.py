"""``prognode case ...``: what the node knows of each case, and what a person may decide about it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from apps.cli.terminal import console, say, table, write_json
from apps.config import NodeConfig, default_config, load_config
from prognode.domain.covariates import parse_clinical
from prognode.errors import BadRequest
from prognode.events import facts
from prognode.ports import Case, Index

app = typer.Typer(no_args_is_help=True, help="List, explain, replay and complete cases.")
PHASES = {"arterial", "venous"}

ConfigOption = Annotated[Path | None, typer.Option("--config", help="The node's configuration file.")]
CaseArgument = Annotated[
    str, typer.Argument(help="Case id (or its first characters), or a Study Instance UID.")
]


def node_config(path: Path | None) -> NodeConfig:
    """The configuration a person named, or the default one."""
    return load_config(path) if path else default_config()


def open_index(path: Path | None) -> Index:
    """The index of an existing node. Raises BadRequest where there is none."""
    from apps.compose import index_of

    config = node_config(path)
    if not (config.data / "index.sqlite").is_file():
        raise BadRequest(
            f"{config.data}: no node has run here; start one with `prognode up` or name its --config"
        )
    return index_of(config)


def find_case(index: Index, name: str) -> Case:
    """The one case that ``name`` means. Raises BadRequest for none or several."""
    cases = index.cases()
    exact = [case for case in cases if name in (case.case_id, case.study_instance_uid)]
    found = exact or [case for case in cases if case.case_id.startswith(name)]
    if len(found) != 1:
        many = (
            f"{len(found)} cases match '{name}'; give more characters"
            if found
            else f"no case matches '{name}'"
        )
        raise BadRequest(f"{many}; `prognode case list` shows them all")
    return found[0]


@app.command("list")
def list_cases(config: ConfigOption = None) -> None:
    """All cases, newest last."""
    shown = table("case", "state", "updated (UTC)", "says")
    shown.columns[0].no_wrap = True
    cases = sorted(open_index(config).cases(), key=lambda case: case.updated_at)
    for case in cases:
        shown.add_row(case.case_id, case.state.value, f"{case.updated_at:%Y-%m-%d %H:%M:%S}", headline(case))
    console.print(shown if cases else "no cases yet: none of the studies has contours")


def headline(case: Case) -> str:
    """One line about a case."""
    if case.outcome.get("reason"):
        return f"{case.outcome['reason']}: {case.outcome['detail']}"
    waits = case.assessment.get("waiting_for") or []
    if case.state == "waiting" and waits:
        more = f" (and {len(waits) - 1} more)" if len(waits) > 1 else ""
        return f"waits for {waits[0]['text']}{more}"
    if case.assessment.get("reason"):
        return f"{case.assessment['reason']}: {case.assessment.get('detail', '')}"
    return str(case.outcome.get("says", ""))


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


def describe(index: Index, case: Case) -> dict[str, Any]:
    """A case with everything the index knows about it."""
    return {
        "case_id": case.case_id,
        "study_instance_uid": case.study_instance_uid,
        "state": case.state.value,
        "updated_at": case.updated_at.isoformat(),
        "input_digest": case.input_digest,
        "assessment": case.assessment,
        "outcome": case.outcome,
        "clinical": index.clinical(case.case_id),
        "choices": index.choices(case.case_id),
        "problems": index.problems(case.study_instance_uid),
        "deliveries": _deliveries(index, case),
    }


def _deliveries(index: Index, case: Case) -> list[dict[str, Any]]:
    return [
        {"destination": d.destination, "state": d.state, "attempts": d.attempts, "last_status": d.last_status}
        for d in index.deliveries(_sr_uid(case))
    ]


def _sr_uid(case: Case) -> str:
    sr = case.outcome.get("sr")
    return str(sr["sop_instance_uid"]) if sr else "none"


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
    values = parse_clinical({"ki67": ki67, "m_stage": m_stage, "diameter_mm": diameter_mm})
    if not values:
        raise BadRequest("nothing given; name at least one of --ki67, --m-stage and --diameter-mm")
    merged = {**index.clinical(found.case_id), **values, "set_at": f"{datetime.now(UTC):%Y%m%d%H%M%S}"}
    index.save_clinical(found.case_id, merged, [facts.clinical_updated(found.case_id)])
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
    if not (phase or roi):
        raise BadRequest("nothing chosen; name at least one of --phase and --roi")
    choices = index.choices(found.case_id)
    phases = {**choices.get("phases", {}), **_pairs(phase)}
    rois = {**choices.get("rois", {}), **_pairs(roi)}
    if {*phases.values(), *rois} - PHASES:
        raise BadRequest(
            "a phase is arterial or venous; write --phase SERIES_UID=arterial, --roi venous=OBJECT_UID#NUMBER"
        )
    _require_known(
        index, found, {*_pairs(phase), *(name.rpartition("#")[0] for name in _pairs(roi).values())}
    )
    index.save_choices(found.case_id, {"phases": phases, "rois": rois})
    index.touch(found.study_instance_uid)
    say(f"case {found.case_id}: {len(phases)} phase(s) and {len(rois)} ROI(s) chosen")


def _require_known(index: Index, case: Case, uids: set[str]) -> None:
    """Series and ROI objects that are chosen must be of the study. Raises BadRequest."""
    instances = index.instances(case.study_instance_uid)
    known = {uid for one in instances for uid in (one.series_instance_uid, one.sop_instance_uid)}
    for uid in sorted(uids - known):
        raise BadRequest(
            f"'{uid}' is no series or ROI object of case {case.case_id}; `prognode case show` lists them"
        )


def _pairs(texts: list[str] | None) -> dict[str, str]:
    pairs = {}
    for text in texts or []:
        left, separator, right = text.partition("=")
        if not (left and separator and right):
            raise BadRequest(f"'{text}' is not NAME=VALUE")
        pairs[left] = right
    return pairs


@app.command("replay")
def replay(case: CaseArgument, config: ConfigOption = None) -> None:
    """Do the case again from its stored images; the same inputs give the same report."""
    index = open_index(config)
    found = find_case(index, case)
    if found.input_digest is None or found.state == "waiting":
        raise BadRequest(
            f"case {found.case_id} is still waiting; `prognode case show {found.case_id}` says for what"
        )
    event = (
        facts.case_refused(
            found.case_id, found.input_digest, found.assessment["reason"], found.assessment["detail"]
        )
        if found.assessment.get("reason")
        else facts.case_ready(found.case_id, found.input_digest)
    )
    for delivery in index.deliveries(_sr_uid(found)):
        index.save_delivery(replace(delivery, state="pending"))
    index.save_clinical(found.case_id, index.clinical(found.case_id), [event])
    say(f"case {found.case_id}: {event.topic} published again")
