"""``prognode score``: the node's whole work on a folder, without network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from apps.cli.cases import ConfigOption
from apps.cli.files import dicom_files
from apps.cli.weights import default_extractor
from apps.config import home
from prognode.domain.covariates import parse_clinical
from prognode.errors import BadRequest

console = Console()


def score(
    study: Annotated[Path, typer.Argument(help="Folder with one study: images and contours.")],
    clinical: Annotated[str, typer.Option(help="ki67=20,m_stage=M0,diameter_mm=41 (any of them).")] = "",
    out: Annotated[Path, typer.Option("--out", help="Folder for report.dcm, report.json, figure.dcm, figure.png.")] = Path("out/score"),
    recipe: Annotated[Path | None, typer.Option(help="Recipe; default: the node's own.")] = None,
    extractor: Annotated[Path | None, typer.Option(help="ONNX file; default: the node's own.")] = None,
    config: ConfigOption = None,
) -> None:
    """Score a folder offline; exit 0 when a report was written, even one that says not evaluable."""
    from apps.config import NodeConfig, load_config
    from apps.demo import show_report
    from apps.offline import score_files

    given = parse_clinical(_pairs(clinical))
    files = dicom_files([study])
    if config is not None:
        settings = load_config(config)
    else:
        settings = NodeConfig(
            data=out, recipe=recipe or home() / "recipe.json", extractor=extractor or default_extractor()
        )
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("scoring", total=len(files) + 4)
        written = score_files(files, settings, given, out, lambda: progress.advance(task))
    show_report(json.loads((out / "report.json").read_text(encoding="utf-8")))
    console.print(", ".join(str(path) for path in written))


def _pairs(text: str) -> dict[str, str]:
    """``a=1,b=2`` as a dictionary. Raises BadRequest."""
    pairs: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, separator, value = part.partition("=")
        if not separator:
            raise BadRequest(f"'{part}' is not NAME=VALUE; write --clinical ki67=20,m_stage=M0,diameter_mm=41")
        pairs[name.strip()] = value.strip()
    return pairs
