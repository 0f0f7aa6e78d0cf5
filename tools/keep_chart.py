"""Keep what the chart renders now as what was released: `python tools/keep_chart.py`, once, when a version is released.

Writes tests/chart/released/VERSION/*.yaml, which later versions are compared with: what Kubernetes lets nobody change in an
upgrade must stay. Kinds that may change in everything are left out, and so are the pods.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "helm" / "prognode"
HELM = ROOT / ".cache" / "helm" / "helm"
VALUES = ("quickstart", "production")
KINDS = ("Deployment", "StatefulSet", "Service", "Job", "KafkaTopic")


def main() -> None:
    """Render with each of the main values files."""
    version = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))["version"]
    folder = ROOT / "tests" / "chart" / "released" / version
    folder.mkdir(parents=True, exist_ok=True)
    for name in VALUES:
        values = CHART / f"values-{name}.yaml"
        command = [
            str(HELM),
            "template",
            "prognode",
            str(CHART),
            "--namespace",
            "imaging",
            "--values",
            str(values),
        ]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        kept = [_kept(one) for one in yaml.safe_load_all(text) if one and one["kind"] in KINDS]
        (folder / f"{name}.yaml").write_text(yaml.safe_dump_all(kept, sort_keys=True), encoding="utf-8")


def _kept(document: dict[str, Any]) -> dict[str, Any]:
    spec = {key: value for key, value in document["spec"].items() if key != "template"}
    return {"kind": document["kind"], "metadata": {"name": document["metadata"]["name"]}, "spec": spec}


if __name__ == "__main__":
    main()
