"""What every drawing shares: its colours, and the lock under which matplotlib draws."""

from __future__ import annotations

import threading

INK, FAINT, RULE = "#1d2733", "#5d6b7a", "#c9d1d9"
ACCENT = {"high": "#b3261e", "low": "#1b6e4b"}
"""Of a risk group."""

DRAWING = threading.Lock()
"""matplotlib's settings and fonts are the process's: one drawing at a time."""
