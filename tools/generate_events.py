"""Writes src/prognode/events/models.py from schemas/events, so that the two cannot differ (``--print`` prints it)."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from datamodel_code_generator import DataModelType, Formatter, InputFileType, PythonVersion, generate
from datamodel_code_generator.parser import LiteralType

ROOT = Path(__file__).resolve().parents[1]
EVENTS = ROOT / "schemas" / "events"
MODULE = ROOT / "src" / "prognode" / "events" / "models.py"

HEADER = '''"""What each fact carries, as types. Made from schemas/events by ``python tools/generate_events.py``."""
'''


def module() -> str:
    """The whole module: one ``TypedDict`` for each version of each event."""
    with tempfile.TemporaryDirectory() as folder:
        # the path of the output tells the formatter whose settings to take
        output = Path(folder) / MODULE.name
        generate(
            json.dumps(_document()),
            input_file_type=InputFileType.JsonSchema,
            output=output,
            class_name="Payload",
            output_model_type=DataModelType.TypingTypedDict,
            target_python_version=PythonVersion.PY_311,
            custom_file_header=HEADER,
            enum_field_as_literal=LiteralType.All,
            use_annotated=True,
            use_schema_description=True,
            use_field_description=True,
            use_single_line_docstring=True,
            use_standard_collections=True,
            use_union_operator=True,
            formatters=[Formatter.RUFF_CHECK, Formatter.RUFF_FORMAT],
            settings_path=ROOT,
        )
        return output.read_text(encoding="utf-8")


def _document() -> dict[str, Any]:
    """All events in one schema: the generator then writes one module."""
    models = {class_name(path): _of_the_payload(path) for path in sorted(EVENTS.glob("*.schema.json"))}
    anything = [{"$ref": f"#/$defs/{name}"} for name in models]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": models, "anyOf": anything}


def class_name(path: Path) -> str:
    """``case-ready.v1.schema.json`` -> ``CaseReadyV1``."""
    topic, version, *_ = path.name.split(".")
    return "".join(word.title() for word in (*topic.split("-"), version))


def _of_the_payload(path: Path) -> dict[str, Any]:
    """The schema without what names the document itself."""
    schema = json.loads(path.read_text(encoding="utf-8"))
    return {name: value for name, value in schema.items() if name not in {"$schema", "$id", "title"}}


if __name__ == "__main__":
    if sys.argv[1:] == ["--print"]:
        print(module(), end="")
    else:
        MODULE.write_text(module(), encoding="utf-8")
