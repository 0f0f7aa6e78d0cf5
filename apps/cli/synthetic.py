"""``prognode synth ...``: studies without patients."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apps.cli.files import writable_folder, writing
from apps.cli.terminal import progress, say

app = typer.Typer(no_args_is_help=True, help="Make synthetic DICOM.")


@app.callback()
def _group() -> None:
    """Make synthetic DICOM."""


@app.command("study")
def study(
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")],
    seed: Annotated[int, typer.Option(min=0, help="Another seed is another patient.")] = 1,
    slices: Annotated[int, typer.Option(min=12, help="Slices of each phase.")] = 120,
    matrix: Annotated[int, typer.Option(min=64, max=1024, help="Rows and columns.")] = 512,
) -> None:
    """A biphasic abdominal CT with a gastric tumour: arterial contour as RTSTRUCT, venous as SEG."""
    from training.synthetic_study import StudySpec, generate_study, write_study

    pixel_mm = 0.72 * 512 / matrix
    spec = StudySpec(
        seed=seed,
        slices=slices,
        rows=matrix,
        columns=matrix,
        row_spacing_mm=pixel_mm,
        column_spacing_mm=pixel_mm,
        slice_spacing_mm=2.5 * 120 / slices,
    )
    writable_folder(out)
    with progress() as bar:
        task = bar.add_task("drawing the synthetic study", total=None)
        made = generate_study(spec, lambda done, total: bar.update(task, completed=done, total=total))
        with writing(out):
            paths = write_study(made, out)
    say(f"{len(paths)} objects in {out}; synthetic data, no real patient")
