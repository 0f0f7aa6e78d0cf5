"""A synthetic cohort as files: a table, a folder of DICOM a patient, contours, second readings, and the truth."""

from __future__ import annotations

import csv
import json
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from training.cohort import PHASES
from training.covariates import COVARIATES
from training.synthetic_anatomy import Grid, Tumour
from training.synthetic_cohort import (
    HIDDEN_CORRELATION,
    HOSPITALS,
    MEDIAN_MONTHS,
    REACTION_HU,
    SIGNAL,
    WEIBULL_SHAPE,
    SyntheticPatient,
    study_spec,
)
from training.synthetic_dicom import file_bytes
from training.synthetic_study import generate_study, phase_tumour, series_grid

NOTE = "Synthetic data: no patient, no hospital, no disease. Nothing learnt from it holds for anybody."
TABLE = "cohort.csv"
SECOND_READING_SCALE = 0.03
SECOND_READING_SHIFT_MM = 0.3
"""Standard deviations by which the second reader's contour differs from the first."""
IMAGE_COLUMNS = tuple(
    f"{phase}_{what}" for what in ("images", "contour", "contour_second") for phase in PHASES
)


@dataclass(frozen=True, slots=True)
class Plan:
    """How large the studies are."""

    seed: int = 1
    slices: int = 36
    matrix: int = 256


def write_cohort(
    patients: Sequence[SyntheticPatient],
    plan: Plan,
    folder: Path,
    workers: int = 1,
    on_done: Callable[[], object] = lambda: None,
) -> Path:
    """Write everything into ``folder``; returns the table. The same patients and plan give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    write = partial(write_patient, plan=plan, folder=folder)
    if workers > 1:
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
            for _ in pool.map(write, patients):
                on_done()
    else:
        for patient in patients:
            write(patient)
            on_done()
    (folder / "truth.json").write_text(json.dumps(_truth(patients, plan), indent=1) + "\n", encoding="utf-8")
    table = folder / TABLE
    with table.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        names = [one.name for one in COVARIATES]
        rows.writerow(["patient_id", "cohort", "hospital", *IMAGE_COLUMNS, "months", "event", *names])
        rows.writerows(_row(patient, names) for patient in patients)
    return table


def write_patient(patient: SyntheticPatient, plan: Plan, folder: Path) -> None:
    """Images by phase, the arterial contour as RTSTRUCT, the venous one as SEG, second readings as NIfTI."""
    spec = study_spec(patient, plan.seed, plan.slices, plan.matrix)
    study, home = generate_study(spec), folder / patient.patient_id
    for phase in PHASES:
        (home / phase).mkdir(parents=True, exist_ok=True)
        for number, image in enumerate(study.images(phase), 1):
            (home / phase / f"{number:03d}.dcm").write_bytes(file_bytes(image))
    contours = home / "contours"
    contours.mkdir(exist_ok=True)
    for phase, contour in zip(PHASES, study.contours, strict=True):
        (contours / f"{phase}.dcm").write_bytes(file_bytes(contour))
    if patient.read_twice:
        random = np.random.default_rng([plan.seed, 5000 + patient.number])
        for phase in PHASES:
            drawn = _read_again(phase_tumour(spec, phase), random)
            write_label_image(drawn, series_grid(spec), contours / f"{phase}-second.nii.gz")


def _read_again(tumour: Tumour, random: np.random.Generator) -> Tumour:
    """The same tumour as another reader draws it: a little larger or smaller, a little aside."""
    scale = 1.0 + SECOND_READING_SCALE * random.standard_normal()
    x, y, z = tumour.centre_mm
    aside = SECOND_READING_SHIFT_MM * random.standard_normal(2)
    a, b, c = (scale * size for size in tumour.semi_axes_mm)
    return replace(tumour, centre_mm=(x + float(aside[0]), y + float(aside[1]), z), semi_axes_mm=(a, b, c))


def write_label_image(tumour: Tumour, grid: Grid, path: Path) -> None:
    """The tumour's mask as a label image (NIfTI by suffix), as ITK-SNAP saves one."""
    import SimpleITK

    image = SimpleITK.GetImageFromArray(tumour.mask(grid).astype(np.uint8))
    plane_mm, row_mm, column_mm = (float(value) for value in grid.spacing_mm)
    image.SetSpacing((column_mm, row_mm, plane_mm))
    image.SetOrigin([float(value) for value in grid.origin_mm])
    image.SetDirection(np.ascontiguousarray(grid.axes[::-1].T).ravel().tolist())
    SimpleITK.WriteImage(image, str(path))


def _row(patient: SyntheticPatient, names: Sequence[str]) -> list[object]:
    home = patient.patient_id
    files = [f"{home}/{phase}" for phase in PHASES]
    files += [f"{home}/contours/{phase}.dcm" for phase in PHASES]
    files += [f"{home}/contours/{phase}-second.nii.gz" if patient.read_twice else "" for phase in PHASES]
    values = [_cell(patient.covariates[name]) for name in names]
    head = [home, patient.cohort, HOSPITALS[patient.cohort]]
    return [*head, *files, f"{patient.months:g}", int(patient.event), *values]


def _cell(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _truth(patients: Sequence[SyntheticPatient], plan: Plan) -> dict[str, object]:
    return {
        "note": NOTE,
        "plan": asdict(plan),
        "log_hazard_ratio_per_unit": SIGNAL,
        "hounsfield_units_per_hidden_unit": REACTION_HU,
        "correlation_of_hidden_values": HIDDEN_CORRELATION,
        "survival": {
            "distribution": "Weibull",
            "shape": WEIBULL_SHAPE,
            "median_months_at_mean": MEDIAN_MONTHS,
        },
        "no_effect_of_their_own": ["sex", "location", "ct_lymph_nodes", "grade"],
        "hidden": {patient.patient_id: [round(value, 4) for value in patient.hidden] for patient in patients},
    }
