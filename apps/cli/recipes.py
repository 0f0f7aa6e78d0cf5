"""``prognode recipe ...``: what a recipe says, and whether it belongs to an extractor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from apps.cli.weights import default_extractor
from prognode.domain.cox_model import CoxModel
from prognode.domain.recipe import Recipe

app = typer.Typer(no_args_is_help=True, help="Show, verify or demonstrate a recipe.")
console = Console()

RecipeArgument = Annotated[Path, typer.Argument(help="The recipe's JSON file.")]
ExtractorOption = Annotated[Path | None, typer.Option("--extractor", help="ONNX file; default: the node's own.")]


@app.command("show")
def show(recipe: RecipeArgument) -> None:
    """Name, models, coefficients, cutoffs and training of a recipe."""
    from prognode.adapters.recipe_file import load_recipe

    loaded = load_recipe(recipe)
    console.print(f"[bold]{loaded.name}[/] {loaded.version}   digest {loaded.digest}")
    for notice in loaded.notices:
        console.print(f"[yellow]{notice}[/]")
    console.print(f"extractor {loaded.extractor.architecture}, {loaded.extractor.weights}\n          sha256 {loaded.extractor.sha256}")
    for title, model in (("combined model", loaded.combined), ("signatures only", loaded.signatures_only)):
        console.print(_model_table(title, model))
    console.print_json(data=_plain(loaded.training))


def _model_table(title: str, model: CoxModel) -> Table:
    table = Table("term", "coefficient", "axis", title=f"{title}: high risk above {model.cutoff.value:g} ({model.cutoff.method})")
    for term in model.terms:
        table.add_row(term.name, f"{term.coefficient:+.4f}", f"{term.axis[0]:g} to {term.axis[-1]:g}")
    return table


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


@app.command("verify")
def verify(recipe: RecipeArgument, extractor: ExtractorOption = None) -> None:
    """Replay the recipe's reference cases on the extractor; exit 0 only if all agree."""
    from prognode.adapters.onnx_extractor import OnnxExtractor
    from prognode.adapters.recipe_file import load_recipe
    from prognode.domain.verification import verify as verify_with

    loaded: Recipe = load_recipe(recipe)
    with console.status("replaying the reference cases"):
        verify_with(loaded, OnnxExtractor(extractor or default_extractor()))
    cases = len(loaded.reference_prognoses) + len(loaded.reference_features)
    console.print(f"{recipe}: the extractor is the right one, {cases} reference cases agree")


@app.command("demonstration")
def demonstration(
    out: Annotated[Path, typer.Option("--out", help="Recipe file to write.")], extractor: ExtractorOption = None
) -> None:
    """Make the demonstration recipe from synthetic numbers: it shows the machinery and predicts nothing."""
    from prognode.adapters.onnx_extractor import OnnxExtractor
    from training.demonstration_recipe import make_demonstration_recipe

    with console.status("making the demonstration recipe"):
        document = make_demonstration_recipe(OnnxExtractor(extractor or default_extractor()))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    console.print(f"{out}: demonstration recipe from synthetic numbers, for research and trials only")
