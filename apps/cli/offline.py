"""``prognode score``: the node's whole work on a folder, without network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from apps.cli.cases import ConfigOption
from apps.cli.files import dicom_files, writable_folder, writing
from apps.cli.node import require_model, silence_logs
from apps.cli.terminal import progress, say
from prognode.domain.covariates import parse_clinical
from prognode.errors import BadRequest


def score(
    study: Annotated[Path, typer.Argument(help="Folder with one study: images and contours.")],
    clinical: Annotated[str, typer.Option(help="ki67=20,m_stage=M0,diameter_mm=41 (any of them).")] = "",
    out: Annotated[
        Path, typer.Option("--out", help="Folder for report.dcm, report.json, figure.dcm, figure.png.")
    ] = Path("out/score"),
    recipe: Annotated[Path | None, typer.Option(help="Recipe; default: the node's own.")] = None,
    extractor: Annotated[Path | None, typer.Option(help="ONNX file; default: the node's own.")] = None,
    config: ConfigOption = None,
) -> None:
    """Score a folder offline; exit 0 when a report was written, even one that says not evaluable."""
    from apps.config import default_config, load_config
    from apps.demo import show_report
    from apps.offline import score_files

    silence_logs()
    given = parse_clinical(_pairs(clinical))
    files = dicom_files([study])
    loaded = load_config(config) if config else default_config()
    named = {name: path for name, path in (("recipe", recipe), ("extractor", extractor)) if path}
    settings = loaded.model_copy(update=named)
    require_model(settings)
    writable_folder(out)
    with progress() as bar:
        task = bar.add_task("scoring", total=len(files) + 4)
        results = score_files(files, settings, given, lambda: bar.advance(task))
    with writing(out):
        for name, data in results.items():
            (out / name).write_bytes(data)
    show_report(json.loads(results["report.json"]))
    say("\n".join(str(out / name) for name in results))


def _pairs(text: str) -> dict[str, str]:
    """``a=1,b=2`` as a dictionary. Raises BadRequest."""
    pairs: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, separator, value = part.partition("=")
        if not separator:
            raise BadRequest(
                f"'{part}' is not NAME=VALUE; write --clinical ki67=20,m_stage=M0,diameter_mm=41"
            )
        pairs[name.strip()] = value.strip()
    return pairs
