"""The node's configuration: one TOML file or the environment, checked once, unknown keys refused by name.

The same settings for every shape: without ``index_url``, ``kafka``, ``s3`` and ``triton`` everything is in the data folder
and in the process; each of them moves its part to a server.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from prognode.adapters.kafka_settings import KafkaSettings
from prognode.adapters.pacs_settings import PacsSettings
from prognode.adapters.s3_settings import S3Settings
from prognode.adapters.triton_settings import TritonSettings
from prognode.errors import BadRequest
from prognode.runtime.probe_settings import ProbeSettings
from services.console.settings import ConsoleSettings
from services.dispatcher.settings import DispatcherSettings
from services.preprocess.settings import PreprocessSettings
from services.receiver.assembly_settings import AssemblySettings
from services.receiver.settings import ReceiverSettings
from services.scoring.settings import ScoringSettings


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NodeConfig(_Settings):
    """The whole node, whatever it runs on."""

    data: Path | None = Field(
        default=None,
        description="Folder for images, index and reports; needed for whatever of them is on no server.",
    )
    recipe: Path | None = Field(default=None, description="The locked recipe (JSON); needed to score.")
    extractor: Path | None = Field(
        default=None,
        description="The feature extractor (ONNX) that the recipe names; needed without [triton].",
    )
    index_url: SecretStr = Field(
        default=SecretStr(""),
        description="PostgreSQL for the index: postgresql://user:password@host:port/name; none: SQLite in `data`.",
    )
    clinical_csv: Path | None = Field(
        default=None, description="Covariates by patient_id or accession_number."
    )
    receiver: ReceiverSettings = ReceiverSettings()
    pacs: tuple[PacsSettings, ...] = ()
    assembly: AssemblySettings = AssemblySettings()
    preprocess: PreprocessSettings = PreprocessSettings()
    dispatcher: DispatcherSettings = DispatcherSettings()
    scoring: ScoringSettings = ScoringSettings()
    console: ConsoleSettings = ConsoleSettings()
    probes: ProbeSettings = ProbeSettings()
    kafka: KafkaSettings | None = Field(default=None, description="The bus on Kafka; none: a file in `data`.")
    s3: S3Settings | None = Field(default=None, description="Objects in S3; none: a folder in `data`.")
    triton: TritonSettings | None = Field(
        default=None, description="The network on Triton; none: in the process."
    )
    threads: int = Field(default=2, ge=1, description="Threads of the neural network.")

    @model_validator(mode="after")
    def _has_a_place_for_everything(self) -> NodeConfig:
        on_servers = {
            "index_url": bool(self.index_url.get_secret_value()),
            "kafka": self.kafka,
            "s3": self.s3,
        }
        needed = ["data"] if not all(on_servers.values()) else []
        if not any([*on_servers.values(), self.triton]):
            needed += ["recipe", "extractor"]
        for name in needed:
            if getattr(self, name) is None:
                raise ValueError(f"{name}: this key is missing; add it")
        return self


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
    return parse_config(_document(path), path)


def _document(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
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
    if not where:
        return str(first["msg"]).removeprefix("Value error, ")
    return f"{where}: {first['msg']}"


def _patterns(config: NodeConfig) -> Iterator[tuple[str, str]]:
    for pattern in config.assembly.roi_name_patterns:
        yield "assembly.roi_name_patterns", pattern
    yield "preprocess.arterial_description", config.preprocess.arterial_description
    yield "preprocess.venous_description", config.preprocess.venous_description


ENVIRONMENT_PREFIX = "PROGNODE_"
NOT_SETTINGS = ("PROGNODE_HOME", "PROGNODE_CONFIG")
"""Variables of the command line that begin like settings."""


def config_from_environment(environment: Mapping[str, str]) -> NodeConfig:
    """Settings from variables such as ``PROGNODE_RECEIVER__PORT``, over those of the file in ``PROGNODE_CONFIG``.

    The name of a key in capitals, tables and keys joined by two underscores; tuples and ``PROGNODE_PACS`` are JSON.
    Raises BadRequest that names the variable and the fault.
    """
    file = environment.get("PROGNODE_CONFIG")
    document = _document(Path(file)) if file else {}
    for name, value in environment.items():
        if _is_setting(name):
            _set(document, name, value)
    return parse_config(document, Path(file) if file else Path("environment"))


def is_in_environment(environment: Mapping[str, str]) -> bool:
    """Whether the environment holds settings of a node."""
    return any(_is_setting(name) for name in environment) or "PROGNODE_CONFIG" in environment


def _is_setting(name: str) -> bool:
    begins = name.startswith(ENVIRONMENT_PREFIX) and not name.startswith(f"{ENVIRONMENT_PREFIX}TEST_")
    return begins and name not in NOT_SETTINGS


def _set(document: dict[str, Any], name: str, value: str) -> None:
    *tables, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
    model: type[BaseModel] = NodeConfig
    for table in tables:
        inner = _model_of(model, table)
        if inner is None:
            raise BadRequest(f"{name}: there is no such setting; check its spelling, or take it out")
        model = inner
        document = document.setdefault(table, {})
    if key not in model.model_fields:
        raise BadRequest(f"{name}: there is no such setting; check its spelling, or take it out")
    document[key] = _json(name, value) if "tuple" in str(model.model_fields[key].annotation) else value


def _model_of(model: type[BaseModel], table: str) -> type[BaseModel] | None:
    """The table's own model, also where the table may be absent."""
    field = model.model_fields.get(table)
    if field is None:
        return None
    kinds = [field.annotation, *get_args(field.annotation)]
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _json(name: str, value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError as fault:
        raise BadRequest(f"{name}: not JSON ({fault})") from None


def default_config() -> NodeConfig:
    """The configuration when no file is given: everything under :func:`home`."""
    base = home()
    return NodeConfig(data=base / "data", recipe=base / "recipe.json", extractor=base / "resnet50.onnx")
