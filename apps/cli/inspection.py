"""``prognode inspect``: what the node would decide about these files. Stores nothing, sends nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from apps.cli.cases import ConfigOption
from apps.cli.files import dicom_files

console = Console()


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
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("reading", total=len(files))
        found = inspect_files(files, loaded, lambda: progress.advance(task))
    if as_json:
        import json

        print(json.dumps(found, indent=1, ensure_ascii=False))
        return
    _print(found)


def _print(found: dict[str, Any]) -> None:
    console.print(_series_table(found["series"]))
    console.print(_roi_table(found["rois"]))
    case = found["case"]
    console.print(f"case: [bold]{case['state']}[/]")
    for reason in case["reasons"]:
        console.print(f"  {reason['code']}: {reason['detail']}")
    for candidate in case["candidates"]:
        console.print(f"    candidate: {candidate}")
    for wait in case["waiting_for"]:
        console.print(f"  waits for {wait['text']}")
    for need in case["need_set"]:
        console.print(f"  needs {len(need['sop_instance_uids'])} images of series {need['series_instance_uid']}")
    for problem in found["problems"]:
        console.print(f"[yellow]{problem}[/]")


def _series_table(series: list[dict[str, Any]]) -> Table:
    table = Table("series", "modality", "images", "phase", "spacing mm", "evidence and problems", title="series")
    for one in series:
        spacing = " x ".join(f"{value:g}" for value in one["spacing"] or [] if value is not None)
        said = "\n".join([item["detail"] for item in one["phase"]["evidence"]] + one["problems"])
        uid = f"…{one['uid'][-12:]}"
        table.add_row(uid, one["modality"], str(one["images"]), one["phase"]["phase"] or "", spacing, said)
    return table


def _roi_table(rois: list[dict[str, Any]]) -> Table:
    table = Table("kind", "no.", "name", "status", "volume ml", "largest mm2", "z mm", "reasons", title="contours")
    for roi in rois:
        largest = roi["largest_slice"] or {"area_mm2": 0.0, "z_mm": 0.0}
        table.add_row(
            roi["kind"],
            str(roi["number"]),
            roi["name"],
            roi["status"],
            f"{roi['volume_mm3'] / 1000:.2f}",
            f"{largest['area_mm2']:.1f}",
            f"{largest['z_mm']:.2f}",
            ", ".join(roi["reasons"]),
        )
    return table
