"""``prognode synth ...``: studies without patients."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from apps.cli.files import writable_folder, writing
from apps.cli.terminal import progress, say
from prognode.errors import BadRequest

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


@app.command("cohort")
def cohort(
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")],
    seed: Annotated[int, typer.Option(min=0, help="Another seed is another cohort.")] = 1,
    patients: Annotated[
        str, typer.Option(help="Training, internal and external patients; the paper's numbers.")
    ] = "76,32,54",
    read_twice: Annotated[int, typer.Option(min=0, help="Training patients with a second reading.")] = 30,
    slices: Annotated[int, typer.Option(min=24, help="Slices of each phase.")] = 36,
    matrix: Annotated[int, typer.Option(min=64, max=1024, help="Rows and columns.")] = 256,
) -> None:
    """A cohort for the laboratory: table, images, contours, second readings, and what was planted (truth.json)."""
    from training.synthetic_cohort import draw_patients
    from training.synthetic_cohort_files import NOTE, Plan, write_cohort

    sizes = _sizes(patients)
    drawn = draw_patients(seed, sizes, min(read_twice, sizes["training"]))
    writable_folder(out)
    with progress() as bar, writing(out):
        task = bar.add_task("drawing the synthetic cohort", total=len(drawn))
        plan = Plan(seed, slices, matrix)
        written = write_cohort(drawn, plan, out, min(4, os.cpu_count() or 1), lambda: bar.advance(task))
    say(f"{written}: {len(drawn)} patients. {NOTE}")


def _sizes(text: str) -> dict[str, int]:
    """``76,32,54`` as patients by cohort. Raises BadRequest."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 3 or not all(part.isdecimal() for part in parts) or not int(parts[0]):
        raise BadRequest(
            f"'{text}' is not three numbers of patients; give training, internal and external, as 76,32,54"
        )
    return dict(zip(("training", "internal", "external"), map(int, parts), strict=True))
