"""Writes docs/configuration.md from the settings themselves, so that the two cannot differ (``--print`` prints it)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from apps.config import NodeConfig
from prognode.adapters.pacs_settings import PacsSettings

PAGE = Path(__file__).parent.parent / "docs" / "configuration.md"

HEAD = """# Configuration

The embedded node reads one TOML file (`prognode up --config node.toml`). Unknown keys are refused by name; relative paths
are relative to the file.

A single service (`prognode serve SERVICE`) reads the same settings from the environment: `PROGNODE_` and the key in
capitals, table and key joined by two underscores (`PROGNODE_RECEIVER__PORT=11112`, `PROGNODE_KAFKA__BOOTSTRAP=kafka:9092`,
`PROGNODE_INDEX_URL=postgresql://...`). Lists are JSON, the peers too (`PROGNODE_PACS='[{"name": ...}]'`). A file named in
`PROGNODE_CONFIG` is read first; variables win. The commands `prognode case`, `dlq` and `db` take the same variables.

This page is made from the settings by `python tools/settings_table.py`.

"""


def page() -> str:
    """The whole page as Markdown: the top level, then one section for each table of the file."""
    sections = [_section("Top level", NodeConfig, skip_tables=True)]
    for name, field in NodeConfig.model_fields.items():
        model = _table_of(field)
        if model is not None:
            left_out = ", left out where there is none" if field.default is None else ""
            sections.append(_section(f"[{name}]{left_out}", model))
    sections.append(_section("[[pacs]], one block for each peer", PacsSettings))
    return HEAD + "\n".join(sections)


def _table_of(field: FieldInfo) -> type[BaseModel] | None:
    kinds = (field.annotation, *get_args(field.annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _section(title: str, model: type[BaseModel], *, skip_tables: bool = False) -> str:
    rows = [
        f"| `{name}` | {_default(field)} | {_described(field)} |"
        for name, field in model.model_fields.items()
        if not (skip_tables and (_table_of(field) or name == "pacs"))
    ]
    return "\n".join([f"## {title}", "", "| key | default | meaning |", "|---|---|---|", *rows, ""])


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required"
    default = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
    if default in (None, "", ()):
        return "none"
    return f"`{_toml(field.default)}`"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def _described(field: FieldInfo) -> str:
    words = (field.description or "").rstrip(".")
    return words[:1].upper() + words[1:]


if __name__ == "__main__":
    if "--print" in sys.argv:
        print(page())
    else:
        PAGE.write_text(page(), encoding="utf-8")
