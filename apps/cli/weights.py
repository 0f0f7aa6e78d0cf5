"""``prognode weights ...``: where the feature extractor comes from."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn

from apps.cli.files import existing_file, writing
from apps.cli.terminal import progress, say, status
from apps.config import home
from prognode.errors import BadRequest

app = typer.Typer(no_args_is_help=True, help="Import, download or make up the ResNet-50 weights.")
OutOption = Annotated[Path | None, typer.Option("--out", help="ONNX file to write; default: the node's own.")]


@app.command("import")
def import_weights(
    file: Annotated[Path, typer.Argument(help="resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5")],
    out: OutOption = None,
    allow_other_hash: Annotated[
        bool, typer.Option(help="Take a file that is not a published release.")
    ] = False,
) -> None:
    """Make the extractor from the Keras release file, after checking its hash."""
    from prognode.adapters.keras_weights import RELEASE_FILE, read_weights

    existing_file(file, "a Keras weights file", f"give {RELEASE_FILE}, or use `prognode weights fetch`")
    _build(read_weights(file, allow_other_hash=allow_other_hash), out)


@app.command("fetch")
def fetch_weights(
    out: OutOption = None,
    url: Annotated[str | None, typer.Option(help="Another address of the same file.")] = None,
) -> None:
    """Download the Keras release file, check its hash and make the extractor."""
    from prognode.adapters.keras_weights import RELEASE_FILE, RELEASE_URL, fetch, read_weights

    to = home() / RELEASE_FILE
    columns = (TextColumn("downloading"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with progress(*columns) as bar, writing(to):
        task = bar.add_task("download", total=None)
        fetch(
            to,
            url=url or RELEASE_URL,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    _build(read_weights(to), out)


@app.command("random")
def random_weights(
    seed: Annotated[int, typer.Option(min=0, help="Seed of the generator.")] = 1, out: OutOption = None
) -> None:
    """Make a stand-in with random weights: its features mean nothing."""
    from prognode.adapters.keras_weights import random_weights as draw

    _build(draw(seed), out)


@app.command("export")
def export_weights(
    triton: Annotated[Path, typer.Option("--triton", help="Model repository of a Triton server.")],
    extractor: Annotated[
        Path | None, typer.Option("--extractor", help="ONNX file; default: the node's own.")
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            help="gpu, gpu-fp16 (TensorRT, half precision), cpu, or python (CPU, no ONNX Runtime backend)."
        ),
    ] = "gpu",
) -> None:
    """Write the extractor as a model that Triton loads as it is; its configuration names the weights by SHA-256."""
    from prognode.adapters.triton_repository import ENGINES, write_repository

    source = extractor or default_extractor()
    existing_file(
        source, "the extractor (ONNX)", "make one with `prognode weights fetch`, `import` or `random`"
    )
    if engine not in ENGINES:
        raise BadRequest(f"'{engine}' is no engine; give {', '.join(ENGINES)}")
    say(f"{write_repository(source, triton, engine)}")


def default_extractor() -> Path:
    """Where the node looks for its extractor."""
    return home() / "resnet50.onnx"


def _build(weights: object, out: Path | None) -> None:
    write_extractor(weights, out or default_extractor())


def write_extractor(weights: object, to: Path) -> str:
    """Write the ONNX file whole or not at all; returns its SHA-256."""
    from prognode.adapters.resnet50 import Weights, build_model

    assert isinstance(weights, Weights)
    with status("building the network"):
        model = build_model(weights)
    part = to.with_name(to.name + ".part")
    with writing(to):
        to.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(model)
        part.replace(to)
    sha256 = hashlib.sha256(model).hexdigest()
    say(f"{to}\nweights {weights.origin}\nsha256  {sha256}")
    return sha256
