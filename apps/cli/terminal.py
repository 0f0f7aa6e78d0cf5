"""How commands speak: results on standard output, progress on standard error, and nothing that a file says is markup."""

from __future__ import annotations

import json
import sys
from io import TextIOWrapper
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress, ProgressColumn
from rich.status import Status
from rich.table import Table

console = Console(markup=False, emoji=False, highlight=False)
"""For results. Names of ROIs, series and files may hold brackets and colons."""

errors = Console(stderr=True, markup=False, emoji=False, highlight=False)
"""For progress."""


def say(text: str, style: str | None = None) -> None:
    """One line, left whole for the terminal to wrap: paths and UIDs can then be copied."""
    console.print(text, style=style, soft_wrap=True)


def write_json(document: dict[str, Any]) -> None:
    """UTF-8 whatever the terminal speaks; a file name that is no UTF-8 comes out as an escape."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    print(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False))


def progress(*columns: ProgressColumn) -> Progress:
    """A progress bar that shows only where somebody watches, and leaves nothing behind."""
    return Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal)


def status(text: str) -> Status:
    """A line that says what takes so long."""
    return errors.status(text)


def table(*columns: str, title: str | None = None) -> Table:
    """A table without a frame, so that 80 columns hold more."""
    return Table(*columns, title=title, box=SIMPLE_HEAD, title_justify="left", pad_edge=False)
