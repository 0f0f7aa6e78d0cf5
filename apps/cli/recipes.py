"""``prognode recipe ...``: what a recipe says, and whether it belongs to an extractor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from apps.cli.files import existing_file, writing
from apps.cli.terminal import console, say, status, table
from apps.cli.weights import default_extractor
from prognode.domain.cox_model import CoxModel

app = typer.Typer(no_args_is_help=True, help="Show or verify a recipe, or get the demonstration one.")

WANTS = "a recipe (JSON)"
REMEDY = "train one, or make one with `prognode recipe demonstration --out FILE`"

RecipeArgument = Annotated[Path, typer.Argument(help="The recipe's JSON file.")]
ExtractorOption = Annotated[
    Path | None, typer.Option("--extractor", help="ONNX file; default: the node's own.")
]


@app.command("show")
def show(recipe: RecipeArgument) -> None:
    """Name, models, coefficients, cutoffs and training of a recipe."""
    from prognode.adapters.recipe_file import load_recipe

    loaded = load_recipe(existing_file(recipe, WANTS, REMEDY))
    say(f"{loaded.name} {loaded.version}", style="bold")
    for notice in loaded.notices:
        say(notice, style="yellow")
    say(f"digest    {loaded.digest}\nextractor {loaded.extractor.architecture}, {loaded.extractor.weights}")
    say(f"sha256    {loaded.extractor.sha256}")
    for title, model in (("combined model", loaded.combined), ("signatures only", loaded.signatures_only)):
        console.print(_model_table(title, model))
    say("training", style="bold")
    say(json.dumps(loaded.training, indent=1, ensure_ascii=False, default=str))


def _model_table(title: str, model: CoxModel) -> Table:
    shown = table(
        "term",
        "coefficient",
        "axis",
        title=f"{title}: high risk above {model.cutoff.value:g} ({model.cutoff.method})",
    )
    for term in model.terms:
        shown.add_row(term.name, f"{term.coefficient:+.4f}", f"{term.axis[0]:g} to {term.axis[-1]:g}")
    return shown


@app.command("verify")
def verify(recipe: RecipeArgument, extractor: ExtractorOption = None) -> None:
    """Replay the recipe's reference cases on the extractor; exit 0 only if all agree."""
    from prognode.adapters.onnx_extractor import OnnxExtractor
    from prognode.adapters.recipe_file import load_recipe
    from prognode.domain.verification import verify as verify_with

    loaded = load_recipe(existing_file(recipe, WANTS, REMEDY))
    with status("replaying the reference cases"):
        verify_with(loaded, OnnxExtractor(extractor or default_extractor()))
    cases = len(loaded.reference_prognoses) + len(loaded.reference_features)
    say(f"{recipe}: the extractor is the right one, {cases} reference cases agree")


@app.command("demonstration")
def demonstration(
    out: Annotated[Path, typer.Option("--out", help="Recipe file to write.")],
) -> None:
    """Write the demonstration recipe, which was trained on synthetic patients: it shows the machinery, no more.

    It belongs to the network that `prognode weights random` makes.
    """
    from prognode.adapters.recipe_file import write_recipe
    from training.demonstration import demonstration_document

    with writing(out):
        write_recipe(demonstration_document(), out)
    say(f"{out}: demonstration recipe from synthetic patients, for research and trials only")
    say("it belongs to the network of `prognode weights random`")
