"""``prognode train`` and ``prognode validate``: the laboratory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from apps.cli.cases import ConfigOption
from apps.cli.files import existing_file, writable_folder, writing
from apps.cli.node import silence_logs
from apps.cli.terminal import console, progress, say, table
from apps.cli.weights import default_extractor
from prognode.errors import BadRequest

if TYPE_CHECKING:
    from apps.laboratory import Job
    from training.settings import Settings
    from training.study import Study

CohortArgument = Annotated[Path, typer.Argument(help="Cohort table (CSV), one row a patient.")]
OutOption = Annotated[Path, typer.Option("--out", help="Folder for the results.")]
ExtractorOption = Annotated[
    Path | None,
    typer.Option("--extractor", help="ONNX file; default: the node's own, where images are given."),
]
ArterialOption = Annotated[
    Path | None, typer.Option("--features-arterial", help="Features instead of images (CSV).")
]
VenousOption = Annotated[
    Path | None, typer.Option("--features-venous", help="Features instead of images (CSV).")
]
LeaveOutOption = Annotated[
    bool,
    typer.Option(
        "--leave-out-not-evaluable", help="Go on without patients whose images cannot be evaluated."
    ),
]
CacheOption = Annotated[
    Path | None, typer.Option("--cache", help="Folder for features by content; default: OUT/cache.")
]
SyntheticOption = Annotated[
    bool, typer.Option("--synthetic", help="Mark every output as made from synthetic data.")
]


def train(
    cohort: CohortArgument,
    out: OutOption,
    name: Annotated[str, typer.Option(help="Name of the recipe.")] = "prognode-laboratory",
    version: Annotated[str, typer.Option(help="Version of the recipe.")] = "1",
    seed: Annotated[int, typer.Option(min=0, help="Of split, folds and bootstrap.")] = 1,
    extractor: ExtractorOption = None,
    features_arterial: ArterialOption = None,
    features_venous: VenousOption = None,
    icc: Annotated[str, typer.Option(help="ICC1, ICC2, ICC3, ICC1k, ICC2k or ICC3k.")] = "ICC2",
    icc_threshold: Annotated[float, typer.Option(help="Features above it are kept.")] = 0.8,
    lambda_rule: Annotated[str, typer.Option("--lambda", help="min or 1se.")] = "min",
    folds: Annotated[int, typer.Option(min=3, help="Of the cross-validation.")] = 10,
    clinical_terms: Annotated[
        str,
        typer.Option(
            help="Covariates of the clinical model, by comma; default: backward elimination by AIC."
        ),
    ] = "",
    cutoff: Annotated[str, typer.Option(help="max-log-rank, median or youden.")] = "max-log-rank",
    cutoff_months: Annotated[int, typer.Option(min=1, help="At which Youden's index is taken.")] = 36,
    bootstrap: Annotated[int, typer.Option(min=0, help="Repetitions for the optimism; 0: none.")] = 200,
    training_fraction: Annotated[float, typer.Option(help="Of the development hospital's patients.")] = 0.7,
    development_hospital: Annotated[
        str,
        typer.Option(help="Where the table assigns no cohorts; default: the hospital with most patients."),
    ] = "",
    leave_out: LeaveOutOption = False,
    cache: CacheOption = None,
    synthetic: SyntheticOption = False,
    config: ConfigOption = None,
) -> None:
    """Train a recipe on a cohort: images, contours and outcomes in, recipe.json and report.html out."""
    from apps.laboratory import train_recipe

    settings = _settings(
        name=name,
        version=version,
        seed=seed,
        icc_form=icc,
        icc_threshold=icc_threshold,
        lambda_rule=lambda_rule,
        folds=folds,
        clinical_terms=tuple(part.strip() for part in clinical_terms.split(",") if part.strip()) or None,
        cutoff=cutoff,
        cutoff_months=cutoff_months,
        bootstrap=bootstrap,
        training_fraction=training_fraction,
        development_hospital=development_hospital,
    )
    given = _features(features_arterial, features_venous)
    job = _job(cohort, out, extractor, given, leave_out, cache, synthetic, config)
    with _told_at_once(), _shown() as shown, writing(out):
        finished = train_recipe(job, settings, shown)
    _conclude(finished.study, out)
    if finished.recipe is None:
        raise BadRequest(f"no recipe: {finished.why_not}; {out / 'report.html'} says more")
    say(f"{finished.recipe}")


def validate(
    recipe: Annotated[Path, typer.Argument(help="The recipe's JSON file.")],
    cohort: CohortArgument,
    out: OutOption,
    extractor: ExtractorOption = None,
    features_arterial: ArterialOption = None,
    features_venous: VenousOption = None,
    leave_out: LeaveOutOption = False,
    cache: CacheOption = None,
    synthetic: SyntheticOption = False,
    config: ConfigOption = None,
) -> None:
    """Judge a locked recipe on another cohort: the whole evaluation, and how these patients differ from training's."""
    from apps.laboratory import validate_recipe

    existing_file(recipe, "a recipe (JSON)", "train one with `prognode train`")
    given = _features(features_arterial, features_venous)
    job = _job(cohort, out, extractor, given, leave_out, cache, synthetic, config)
    with _told_at_once(), _shown() as shown, writing(out):
        study = validate_recipe(job, recipe, _settings(), shown)
    _conclude(study, out)


def _settings(**given: object) -> Settings:
    """Checked settings. Raises BadRequest that names the option and what it may be."""
    from typing import get_args

    from prognode.statistics.cross_validation import Rule
    from prognode.statistics.icc import FORMS
    from training.settings import CutoffMethod, Settings

    choices = {"icc_form": FORMS, "lambda_rule": get_args(Rule), "cutoff": get_args(CutoffMethod)}
    for option, allowed in choices.items():
        if option in given and given[option] not in allowed:
            raise BadRequest(f"'{given[option]}' is not possible here; give {', '.join(allowed)}")
    return Settings(**given)  # type: ignore[arg-type]


def _features(arterial: Path | None, venous: Path | None) -> dict[str, Path] | None:
    if (arterial is None) != (venous is None):
        raise BadRequest("give both --features-arterial and --features-venous, or neither")
    if arterial is None or venous is None:
        return None
    remedy = "give a CSV with patient_id and 2048 feature columns"
    return {
        "arterial": existing_file(arterial, "a table of features", remedy),
        "venous": existing_file(venous, "a table of features", remedy),
    }


def _job(
    cohort: Path,
    out: Path,
    extractor: Path | None,
    features: dict[str, Path] | None,
    leave_out: bool,
    cache: Path | None,
    synthetic: bool,
    config: Path | None,
) -> Job:
    from apps.config import load_config
    from apps.laboratory import Job

    silence_logs()
    existing_file(cohort, "a cohort table (CSV)", "docs/laboratory.md shows one")
    # which network made a table of features is the person's to say, never to be taken from what lies at home
    network = extractor or (None if features else default_extractor())
    if network is not None:
        existing_file(
            network, "the extractor (ONNX)", "make one with `prognode weights fetch`, `import` or `random`"
        )
    writable_folder(out)
    return Job(
        table=cohort,
        out=out,
        extractor=network,
        feature_files=features,  # type: ignore[arg-type]
        cache=cache or out / "cache",
        config=load_config(config) if config else None,
        leave_out=leave_out,
        synthetic=synthetic,
        workers=min(4, os.cpu_count() or 1),
    )


@contextmanager
def _told_at_once() -> Iterator[None]:
    """Every fault of a table, and every patient that cannot be evaluated, on a line of its own before the last word."""
    from apps.laboratory import NotEvaluable
    from training.cohort import CohortFaults

    try:
        yield
    except CohortFaults as found:
        faults = table("row", "column", "what is wrong")
        for fault in found.faults:
            faults.add_row(str(fault.row or ""), fault.column, fault.sentence)
        console.print(faults)
        raise
    except NotEvaluable as found:
        patients = table("row", "patient", "cohort", "why it cannot be evaluated")
        for one in found.left_out:
            patients.add_row(str(one.row), one.patient_id, one.cohort, one.reason)
        console.print(patients)
        raise


@dataclass
class _Shown:
    """Progress at a terminal: a bar for what is counted, and the name of what is done just now."""

    bar: Progress
    steps: TaskID | None = None

    def expect(self, what: str, total: int) -> Callable[[], object]:
        task = self.bar.add_task(what, total=total, visible=total > 0)
        return lambda: self.bar.advance(task)

    def step(self, what: str) -> None:
        if self.steps is None:
            self.steps = self.bar.add_task(what, total=None)
        self.bar.update(self.steps, description=what, advance=1)


@contextmanager
def _shown() -> Iterator[_Shown]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with progress(*columns) as bar:
        yield _Shown(bar)


def _conclude(study: Study, out: Path) -> None:
    """C of every model and cohort, and where the report lies."""
    from training.estimates import NotKnown
    from training.models import MODEL_LABELS
    from training.report.model_card import RESEARCH_ONLY

    shown = table("Harrell's C", *study.evaluations)
    for name in study.models:
        cells = []
        for evaluation in study.evaluations.values():
            found = evaluation if isinstance(evaluation, NotKnown) else evaluation.models[name].concordance
            cells.append("not known" if isinstance(found, NotKnown) else f"{found.value:.3f}")
        shown.add_row(MODEL_LABELS[name], *cells)
    if study.models:
        console.print(shown)
    synthetic = "Synthetic data: nothing here holds for any patient. " if study.provenance.synthetic else ""
    say(synthetic + RESEARCH_ONLY, style="yellow")
    say(f"{out / 'report.html'}")
