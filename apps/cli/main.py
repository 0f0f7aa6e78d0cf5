"""The command line: one command group per file, one sentence for every fault that a person can mend."""

from __future__ import annotations

import os
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # spinning BLAS threads double the time of the network

import typer

from apps.cli import (
    cases,
    database,
    dead_letters,
    inspection,
    laboratory,
    network,
    node,
    offline,
    recipes,
    synthetic,
    weights,
)
from prognode.errors import PrognodeError

LABORATORY = {"SimpleITK", "lifelines", "pandas"}
"""What the laboratory needs beyond the node; the services' images are without it."""

app = typer.Typer(
    name="prognode",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="A DICOM node for image-based prognosis. Research use only.",
)
app.command("demo")(node.demo)
app.command("up")(node.up)
app.command("serve")(node.serve)
app.command("inspect")(inspection.inspect)
app.command("score")(offline.score)
app.command("train")(laboratory.train)
app.command("validate")(laboratory.validate)
app.command("echo")(network.echo)
app.command("send")(network.send)
app.command("check")(network.check)
app.add_typer(cases.app, name="case")
app.add_typer(dead_letters.app, name="dlq")
app.add_typer(database.app, name="db")
app.add_typer(recipes.app, name="recipe")
app.add_typer(weights.app, name="weights")
app.add_typer(synthetic.app, name="synth")


def main() -> None:
    """Run the command; a fault that was foreseen is one sentence and exit status 2."""
    try:
        app(standalone_mode=True)
    except PrognodeError as fault:
        print(f"prognode: {' '.join(str(fault).split())}", file=sys.stderr)
        raise SystemExit(2) from None
    except ModuleNotFoundError as fault:
        if fault.name not in LABORATORY:
            raise
        print(
            f"prognode: the laboratory is not installed here ({fault.name} is missing); "
            "install it with: pip install 'prognode[laboratory]'",
            file=sys.stderr,
        )
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
