"""The metric that Triton scales on: the rule that the chart's guide gives to prometheus-adapter, computed by Prometheus' own tool."""

from __future__ import annotations

import re
import subprocess

import pytest
import yaml
from chart_rendering import CHART, PRODUCTION, of_kind, rendered
from components import require

pytestmark = pytest.mark.component


def rule() -> dict[str, str]:
    """The rule in the guide."""
    text = (CHART / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(rules:.*?)```", text, re.DOTALL)
    (found,) = yaml.safe_load(block)["rules"]
    return found


def test_the_rule_gives_the_mean_wait_in_the_queue(tmp_path):
    """Six requests that waited 20 ms each, every quarter of a minute: 20 for that pod; nothing for one without requests."""
    query = (
        rule()["metricsQuery"]
        .replace("<<.GroupBy>>", "pod")
        .replace("<<.LabelMatchers>>", 'namespace="imaging"')
    )
    rules = {"groups": [{"name": "adapter", "rules": [{"record": "wait", "expr": query}]}]}
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules))

    def series(name: str, pod: str, values: str) -> dict[str, str]:
        return {"series": f'{name}{{namespace="imaging", pod="{pod}"}}', "values": values}

    tried = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": "15s",
                "input_series": [
                    series("nv_inference_queue_duration_us", "busy", "0+120000x20"),
                    series("nv_inference_request_success", "busy", "0+6x20"),
                    series("nv_inference_queue_duration_us", "idle", "7+0x20"),
                    series("nv_inference_request_success", "idle", "7+0x20"),
                ],
                "promql_expr_test": [
                    {
                        "expr": "wait",
                        "eval_time": "4m",
                        "exp_samples": [{"labels": 'wait{pod="busy"}', "value": 20}],
                    }
                ],
            }
        ],
    }
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(tried))
    promtool = require("promtool", apt="prometheus")
    ended = subprocess.run(
        [promtool, "test", "rules", "tests.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_scaler_asks_for_that_metric():
    """The name that the rule gives is the one that the HPA asks for."""
    (hpa,) = of_kind(rendered(PRODUCTION), "HorizontalPodAutoscaler").values()
    assert hpa["spec"]["metrics"][0]["pods"]["metric"]["name"] == rule()["name"]["as"]
