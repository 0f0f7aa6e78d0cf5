"""``prognode inspect``: what the node would decide about these files. Stores nothing, sends nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from apps.cli.cases import ConfigOption
from apps.cli.files import dicom_files
from apps.cli.terminal import console, progress, say, table, write_json


def inspect(
    places: Annotated[list[Path], typer.Argument(help="Folders or files.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
    config: ConfigOption = None,
) -> None:
    """Say what the node would decide about these files: series, phases, contours, need-set, reasons."""
    from apps.config import load_config
    from apps.inspect_files import inspect_files

    files = dicom_files(places)
    loaded = load_config(config) if config else None
    with progress() as bar:
        task = bar.add_task("reading", total=len(files))
        found = inspect_files(files, loaded, lambda: bar.advance(task))
    if as_json:
        write_json(found)
    else:
        _print(found)


def _print(found: dict[str, Any]) -> None:
    for series in found["series"]:
        _print_series(series)
    if found["rois"]:
        _print_rois(found["rois"])
    _print_case(found["case"])
    for other in found["other_cases"]:
        say(f"study {other['study_uid']}: {other['state']}")
        _print_reasons(other["reasons"])
    for problem in found["problems"]:
        say(f"problem: {problem}", style="yellow")


def _print_series(series: dict[str, Any]) -> None:
    say(f"series {series['uid']}", style="bold")
    said = [series["modality"], f"{series['images']} images"]
    if series["spacing"]:
        said.append(" x ".join("?" if value is None else f"{value:g}" for value in series["spacing"]) + " mm")
    said.append(f"phase {series['phase']['phase'] or 'not told'}")
    say("  " + ", ".join(said))
    if series["description"]:
        say(f"  description: {series['description']}")
    for item in series["phase"]["evidence"]:
        say(f"  evidence, {item['kind']}: {item['detail']}")
    for problem in series["problems"]:
        say(f"  problem: {problem}", style="yellow")


def _print_rois(rois: list[dict[str, Any]]) -> None:
    shown = table("contour", "no.", "name", "volume ml", "largest mm2", "at z mm", "status")
    for column in shown.columns:
        column.no_wrap = column.header != "name"
    for roi in rois:
        largest = roi["largest_slice"]
        shown.add_row(
            roi["kind"],
            str(roi["number"]),
            roi["name"],
            f"{roi['volume_mm3'] / 1000:.2f}",
            f"{largest['area_mm2']:.1f}" if largest else "",
            f"{largest['z_mm']:.2f}" if largest else "",
            ", ".join(roi["reasons"]) or roi["status"],
        )
    console.print(shown)


def _print_case(case: dict[str, Any]) -> None:
    say(f"case: {case['state']}", style="bold")
    _print_reasons(case["reasons"])
    for candidate in case["candidates"]:
        say(f"    candidate: {candidate}")
    for need in case["need_set"]:
        missing = f", {len(need['missing'])} of them missing" if need["missing"] else ""
        images = len(need["sop_instance_uids"]) + len(need["missing"])
        say(f"  {need['roi']['name']} needs {images} images{missing} of series {need['series_instance_uid']}")
    for remark in case["remarks"]:
        say(f"  remark: {remark}")


def _print_reasons(reasons: list[dict[str, str]]) -> None:
    for reason in reasons:
        say(f"  {reason['code']}: {reason['detail']}")
