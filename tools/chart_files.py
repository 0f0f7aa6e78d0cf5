"""Write what the Helm chart holds of the code: the topics with their consumers, and the settings in the values' schema.

`python tools/chart_files.py` rewrites both; a test compares. What a release may not set in `config`, because it is secret or
because the chart knows it, is left out of the schema.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from apps.config import NodeConfig
from prognode.events.schemas import event_schemas
from prognode.events.topics import topic_plan
from services.dispatcher.handler import Dispatcher
from services.preprocess.handler import Preprocess
from services.scoring.handler import Illustration, Scoring

CHART = Path(__file__).resolve().parents[1] / "helm" / "prognode"
TOPICS = CHART / "files" / "topics.yaml"
SCHEMA = CHART / "values.schema.json"

NOT_IN_CONFIG = {
    "NodeConfig": {"data", "recipe", "extractor", "index_url", "clinical_csv", "probes"},
    "ConsoleSettings": {"host"},
    "ReceiverSettings": {"host"},
    "KafkaSettings": {"instance", "username", "password", "ca_file"},
    "S3Settings": {"access_key_id", "secret_access_key"},
}
"""Settings by model that come from a Secret or from the chart."""

HANDLERS = (Preprocess, Scoring, Illustration, Dispatcher)
SERVICE_OF = {one.group: one.__module__.split(".")[1] for one in HANDLERS}
"""Consumer group -> the service that runs it."""


def topics_text() -> str:
    """``files/topics.yaml``: each topic with partitions, configuration and consumer groups."""
    schemas = event_schemas()
    topics = {}
    for topic in sorted(schemas):
        plan = topic_plan(topic)
        groups = [group for group in schemas[topic][1]["x-consumers"] if group in SERVICE_OF]
        topics[topic] = {
            "partitions": plan.partitions,
            "config": plan.configs,
            "groups": [{"name": group, "service": SERVICE_OF[group]} for group in groups],
        }
    head = "# Made from schemas/events by `python tools/chart_files.py`: partitions, retention, consumer groups.\n"
    return head + yaml.safe_dump(topics, sort_keys=True)


def schema_text(document: dict[str, Any]) -> str:
    """The values' schema with the settings as the code has them now; the rest of ``document`` stays."""
    made = NodeConfig.model_json_schema()
    models = {**made.pop("$defs"), "NodeConfig": made}
    written = {name: one for name, one in document["$defs"].items() if "title" not in one}
    document["$defs"] = written | {name: _settings(name, one) for name, one in sorted(models.items())}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _settings(name: str, model: dict[str, Any]) -> dict[str, Any]:
    """One model's schema. The tables are required, because templates look into them; in a table nothing is, because the
    chart may know it; a peer is what the code says.
    """
    if name not in ("NodeConfig", "PacsSettings"):
        model.pop("required", None)
    properties = {
        key: _reduced(one)
        for key, one in model["properties"].items()
        if key not in NOT_IN_CONFIG.get(name, ())
    }
    tables = (
        sorted(key for key, one in properties.items() if "$ref" in one or key == "pacs")
        if name == "NodeConfig"
        else []
    )
    return {**model, "properties": properties, "title": name} | ({"required": tables} if tables else {})


def _reduced(setting: dict[str, Any]) -> dict[str, Any]:
    """Without defaults, which are the code's and would be read as the chart's; a table is never nothing."""
    table = next((one for one in setting.get("anyOf", ()) if "$ref" in one), None)
    return table or {key: value for key, value in setting.items() if key not in ("default", "title")}


if __name__ == "__main__":
    TOPICS.write_text(topics_text(), encoding="utf-8")
    SCHEMA.write_text(schema_text(json.loads(SCHEMA.read_text(encoding="utf-8"))), encoding="utf-8")
