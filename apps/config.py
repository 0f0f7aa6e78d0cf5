"""The node's configuration: one TOML file, checked once, unknown keys refused by name."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from prognode.adapters.pacs_settings import PacsSettings
from prognode.errors import BadRequest
from services.dispatcher.settings import DispatcherSettings
from services.preprocess.settings import PreprocessSettings
from services.receiver.assembly_settings import AssemblySettings
from services.receiver.settings import ReceiverSettings
from services.scoring.settings import ScoringSettings


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NodeConfig(_Settings):
    """The whole embedded node."""

    data: Path = Field(description="Folder for images, index and reports.")
    recipe: Path = Field(description="The locked recipe (JSON).")
    extractor: Path = Field(description="The feature extractor (ONNX) that the recipe names.")
    clinical_csv: Path | None = Field(
        default=None, description="Covariates by patient_id or accession_number."
    )
    receiver: ReceiverSettings = ReceiverSettings()
    pacs: tuple[PacsSettings, ...] = ()
    assembly: AssemblySettings = AssemblySettings()
    preprocess: PreprocessSettings = PreprocessSettings()
    dispatcher: DispatcherSettings = DispatcherSettings()
    scoring: ScoringSettings = ScoringSettings()
    threads: int = Field(default=2, ge=1, description="Threads of the neural network.")


def home() -> Path:
    """Where weights, recipe and the default configuration live: PROGNODE_HOME, or the user's data folder."""
    given = os.environ.get("PROGNODE_HOME")
    if given:
        return Path(given)
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "prognode"


def load_config(path: Path) -> NodeConfig:
    """Read and check a configuration file. Relative paths are relative to the file.

    Raises BadRequest that names the file, the key and the fault.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadRequest(
            f"{path}: no such configuration file; `prognode up --help` says how to make one"
        ) from None
    except OSError as fault:
        raise BadRequest(
            f"{path}: the configuration cannot be read ({fault.strerror}); give a TOML file"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise BadRequest(f"{path}: not a TOML file ({fault})") from None
    return parse_config(document, path)


def parse_config(document: dict[str, Any], path: Path) -> NodeConfig:
    """Check a configuration document that was read from ``path``."""
    for key in ("data", "recipe", "extractor", "clinical_csv"):
        if isinstance(document.get(key), str):
            document[key] = path.parent / Path(document[key]).expanduser()
    try:
        config = NodeConfig.model_validate(document)
    except ValidationError as fault:
        raise BadRequest(f"{path}: {_sentence(fault)}") from None
    for name, pattern in _patterns(config):
        try:
            re.compile(pattern)
        except re.error as fault:
            raise BadRequest(f"{path}: {name}: '{pattern}' is not a regular expression: {fault}") from None
    return config


def _sentence(fault: ValidationError) -> str:
    """The first fault in words: unknown and missing keys by name, wrong values as the model says it."""
    first = fault.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"{where}: there is no such key; check its spelling, or take it out"
    if first["type"] == "missing":
        return f"{where}: this key is missing; add it"
    return f"{where}: {first['msg']}"


def _patterns(config: NodeConfig) -> Iterator[tuple[str, str]]:
    for pattern in config.assembly.roi_name_patterns:
        yield "assembly.roi_name_patterns", pattern
    yield "preprocess.arterial_description", config.preprocess.arterial_description
    yield "preprocess.venous_description", config.preprocess.venous_description


def default_config() -> NodeConfig:
    """The configuration when no file is given: everything under :func:`home`."""
    base = home()
    return NodeConfig(data=base / "data", recipe=base / "recipe.json", extractor=base / "resnet50.onnx")
