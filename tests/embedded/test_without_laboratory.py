"""What runs where the laboratory is not installed, as in the services' images."""

from __future__ import annotations

import subprocess
import sys

from repository import ROOT

from apps.cli.main import LABORATORY
from apps.compose import SERVICES

WITHOUT = f"import sys; sys.modules.update(dict.fromkeys({sorted(LABORATORY)}))\n"
"""None in the list of modules: importing it fails as if it were not there."""


def run(code: str) -> subprocess.CompletedProcess[str]:
    """A Python of its own, in which nothing of the laboratory can be imported."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT + code], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_services_and_commands_need_nothing_of_it():
    """Every module of the node is imported; only the laboratory's own are left out."""
    ended = run(
        "import importlib, pkgutil\n"
        "import apps, prognode, services, training.synthetic_study\n"
        "for package in (apps, prognode, services):\n"
        "    for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "        if module.name not in ('apps.laboratory', 'prognode.adapters.migrations.env'):\n"
        "            importlib.import_module(module.name)\n"
        "from apps.compose import SERVICES\n"
        "print(*SERVICES)"
    )
    assert (ended.stdout.split(), ended.stderr) == (list(SERVICES), "")


def test_the_laboratory_says_that_it_is_missing():
    """One sentence with the command that brings it."""
    ended = run(
        "sys.argv[1:] = ['train', 'none.csv', '--out', 'out/none']\nimport apps.cli.main as cli\ncli.main()"
    )
    assert ended.returncode == 2
    assert "the laboratory is not installed here" in ended.stderr
    assert "pip install 'prognode[laboratory]'" in ended.stderr
    assert "Traceback" not in ended.stderr
