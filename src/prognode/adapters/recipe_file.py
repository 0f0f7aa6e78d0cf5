"""Recipes as files: schema check first, meaning second, and every fault named by its JSON path."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

import prognode
from prognode.domain.recipe import Recipe, recipe_from_json
from prognode.errors import BadRequest

SCHEMA_FILE = "recipe.v1.schema.json"


def load_recipe(path: Path) -> Recipe:
    """Read and check a recipe; :class:`~prognode.errors.BadRequest` names the file and the JSON path of a fault."""
    try:
        return parse_recipe(path.read_bytes())
    except OSError as fault:
        raise BadRequest(f"{path}: the recipe cannot be read ({fault.strerror})") from fault
    except BadRequest as fault:
        raise BadRequest(f"{path}: {fault}") from fault


def parse_recipe(data: bytes) -> Recipe:
    """The same from bytes, as they lie in an object store."""
    try:
        document = json.loads(data, parse_constant=_no_constant)
    except ValueError as fault:
        raise BadRequest(f"the recipe is not JSON: {fault}") from fault
    check_document(document)
    return recipe_from_json(document)


def check_document(document: Any) -> None:
    """Raise :class:`~prognode.errors.BadRequest` unless the document fits the schema."""
    fault = best_match(_validator().iter_errors(document))
    if fault is not None:
        raise BadRequest(f"recipe, {fault.json_path}: {fault.message[:300]}")


def write_recipe(document: Mapping[str, Any], path: Path) -> None:
    """Write a checked document as readable JSON; the same document gives the same bytes."""
    check_document(document)
    recipe_from_json(document)
    text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")


@cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(json.loads(_schema_text()))


def _schema_text() -> str:
    installed = files(prognode) / "schemas" / SCHEMA_FILE
    if installed.is_file():
        return installed.read_text(encoding="utf-8")
    # in a source tree the schemas lie beside src
    return (Path(prognode.__file__).parents[2] / "schemas" / SCHEMA_FILE).read_text(encoding="utf-8")


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number in JSON")
