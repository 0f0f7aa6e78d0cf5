"""The composition root of the laboratory: cohort table and images in, recipe and report out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from apps.cohort_images import CohortImages
from apps.config import NodeConfig
from prognode.adapters.onnx_extractor import OnnxExtractor
from prognode.adapters.recipe_file import load_recipe, write_recipe
from prognode.domain.prognosis import Phase
from prognode.domain.recipe import Recipe
from prognode.domain.verification import verify
from prognode.errors import BadRequest
from training.cohort import PHASES, Cohort, CohortName, Patient, read_cohort
from training.export import recipe_document, why_no_recipe
from training.extraction import FeatureCache, Readings, count_readings, extract
from training.feature_tables import read_features, write_features
from training.inputs import Inputs, counted, from_readings, from_tables, tables_of
from training.settings import Settings
from training.split import Split, split
from training.study import LeftOut, Provenance, Study, run_study
from training.validation import drift_table, validate_study

SYNTHETIC_HOSPITAL = "SYNTHETIC"
"""A hospital of which the name begins so has no patients: all that comes of it says so."""

MEND_OR_LEAVE_OUT = "mend them, or go on without these patients with --leave-out-not-evaluable"

FeatureFiles = Mapping[Phase, Path]


class Progress(Protocol):
    """Tells a person how far it is."""

    def expect(self, what: str, total: int) -> Callable[[], object]:
        """Begin a part of ``total`` steps; call the answer after each."""

    def step(self, what: str) -> None:
        """Say what comes next."""


@dataclass(frozen=True)
class Job:
    """What a person asked for."""

    table: Path
    out: Path
    extractor: Path | None
    """The network; None where feature tables are given and nobody said which network made them."""
    feature_files: FeatureFiles | None
    cache: Path
    config: NodeConfig | None
    leave_out: bool
    """Go on without patients whose images cannot be evaluated."""
    synthetic: bool
    workers: int


class NotEvaluable(BadRequest):
    """Some patients' images cannot be evaluated; ``left_out`` says which and why, ``remedy`` what to do."""

    def __init__(self, table: Path, left_out: Sequence[LeftOut], remedy: str) -> None:
        first = left_out[0]
        super().__init__(
            f"{table}: the images of {counted(len(left_out), 'patient')} cannot be evaluated; "
            f"first: row {first.row}, {first.reason}; {remedy}"
        )
        self.left_out = tuple(left_out)


@dataclass(frozen=True)
class Finished:
    """What came of a training."""

    study: Study
    recipe: Path | None
    why_not: str
    """Why there is no recipe."""


def train_recipe(job: Job, settings: Settings, progress: Progress) -> Finished:
    """Train, judge, and write recipe and report into ``job.out``.

    Raises CohortFaults, NotEvaluable or BadRequest for what a person can mend, before anything is fitted. From then on
    the recipe of an earlier run is gone from ``job.out``: it must not stand beside what this run leaves, or fails to.
    """
    from training.report.write import write_report

    cohort = read_cohort(job.table, images=job.feature_files is None)
    division = split(cohort.patients, settings)
    extractor = OnnxExtractor(job.extractor) if job.extractor else None
    inputs = _inputs(job, cohort, division, extractor, progress, needed="training")
    provenance = _provenance(job, cohort, division, inputs)
    recipe = job.out / "recipe.json"
    recipe.unlink(missing_ok=True)
    done = progress.expect("bootstrap", settings.bootstrap)
    study = run_study(inputs.sample, inputs.cohorts, provenance, settings, job.workers, progress.step, done)
    why_not = why_no_recipe(study)
    if not why_not and extractor is None:
        why_not = "no network was given that the features belong to: name it with --extractor"
    document = None
    if not why_not:
        assert extractor is not None
        document = recipe_document(study, extractor)
        write_recipe(document, recipe)
    write_report(study, job.out, document, why_not, on_step=progress.step)
    return Finished(study, recipe if document else None, why_not)


def validate_recipe(job: Job, recipe_path: Path, settings: Settings, progress: Progress) -> Study:
    """Judge a locked recipe on a cohort and write the report into ``job.out``. Raises as :func:`train_recipe`."""
    from training.report.write import write_report

    recipe = load_recipe(recipe_path)
    cohort = read_cohort(job.table, images=job.feature_files is None)
    extractor = _extractor_of(recipe, job)
    division = _as_given(cohort.patients)
    inputs = _inputs(job, cohort, division, extractor, progress)
    provenance = _provenance(job, cohort, division, inputs)
    if recipe.demonstration:
        provenance = replace(provenance, synthetic=True)
    progress.step("evaluation")
    study = validate_study(recipe, inputs.sample, inputs.cohorts, provenance, settings)
    write_report(study, job.out, more_tables=drift_table(recipe, study), on_step=progress.step)
    return study


def _extractor_of(recipe: Recipe, job: Job) -> OnnxExtractor | None:
    if job.extractor is None:
        return None
    extractor = OnnxExtractor(job.extractor)
    verify(recipe, extractor)
    return extractor


def _as_given(patients: Sequence[Patient]) -> Split:
    """Nothing trains here: patients without a cohort are external."""
    cohorts: tuple[CohortName, ...] = tuple(patient.cohort or "external" for patient in patients)
    return Split(cohorts, "as the table assigns them; patients without a cohort are external")


def _inputs(
    job: Job,
    cohort: Cohort,
    division: Split,
    extractor: OnnxExtractor | None,
    progress: Progress,
    needed: CohortName | None = None,
) -> Inputs:
    """Table and features joined; somebody of the cohort ``needed``, or of any, is among them."""
    patients = cohort.patients
    if job.feature_files is not None:
        progress.step("feature tables")
        ids = [patient.patient_id for patient in patients]
        tables = {phase: read_features(job.feature_files[phase], ids) for phase in PHASES}
        return from_tables(patients, division.cohorts, tables)
    assert extractor is not None
    done = progress.expect("features", count_readings(patients))
    source = CohortImages(job.config)
    readings = extract(patients, source, extractor, FeatureCache(job.cache), done)
    inputs = from_readings(patients, division.cohorts, readings)
    _require_evaluable(job, inputs, needed)
    _keep_features(job.out, readings)
    return inputs


def _require_evaluable(job: Job, inputs: Inputs, needed: CohortName | None) -> None:
    """Whoever was left out may be, and somebody who is needed is still there. Raises NotEvaluable."""
    if (needed not in inputs.cohorts) if needed else not inputs.cohorts:
        who = f"patient of the {needed} cohort" if needed else "patient"
        raise NotEvaluable(job.table, inputs.left_out, f"no {who} is left without them: mend their images")
    if inputs.left_out and not job.leave_out:
        raise NotEvaluable(job.table, inputs.left_out, MEND_OR_LEAVE_OUT)


def _keep_features(out: Path, readings: Readings) -> None:
    """The features as tables, which a later run can take instead of the images."""
    out.mkdir(parents=True, exist_ok=True)
    for phase, table in tables_of(readings).items():
        write_features(out / f"features_{phase}.csv", table)


def _provenance(job: Job, cohort: Cohort, division: Split, inputs: Inputs) -> Provenance:
    made_up = any(patient.hospital.upper().startswith(SYNTHETIC_HOSPITAL) for patient in cohort.patients)
    features = (
        "were taken from tables" if job.feature_files else "were computed from the images by this program"
    )
    return Provenance(
        table=job.table.name,
        split=division.sentence,
        features=features,
        remarks=(*cohort.remarks, *inputs.remarks),
        left_out=inputs.left_out,
        synthetic=job.synthetic or made_up,
    )
