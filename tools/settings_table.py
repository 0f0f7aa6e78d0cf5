"""Writes docs/configuration.md from the settings themselves, so that the two cannot differ (``--print`` prints it)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from apps.config import NodeConfig
from prognode.adapters.pacs_settings import PacsSettings

PAGE = Path(__file__).parent.parent / "docs" / "configuration.md"

HEAD = """# Configuration

The node reads one TOML file (`prognode up --config node.toml`). Unknown keys are refused by name; relative paths are
relative to the file. This page is made from the settings by `python tools/settings_table.py`.

"""


def page() -> str:
    """The whole page as Markdown: the top level, then one section for each table of the file."""
    sections = [_section("Top level", NodeConfig, skip_tables=True)]
    for name, field in NodeConfig.model_fields.items():
        model = _table_of(field)
        if model is not None:
            sections.append(_section(f"[{name}]", model))
    sections.append(_section("[[pacs]], one block for each peer", PacsSettings))
    return HEAD + "\n".join(sections)


def _table_of(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


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
    if field.default in (None, "", ()):
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
