"""A time of day that a test moves, for processes that it starts."""

from __future__ import annotations

import subprocess
from pathlib import Path

from components import require


class JumpingClock:
    """Preloaded into a process; true until :meth:`jump` says otherwise."""

    def __init__(self, folder: Path) -> None:
        compiler = require("cc", apt="gcc libc6-dev")
        self._library = folder / "jumping_clock.so"
        source = Path(__file__).with_suffix(".c")
        subprocess.run(
            [compiler, "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", self._library, source, "-ldl"],
            check=True,
        )
        self._file = folder / "jumping_clock"
        self.jump(0)

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs for it."""
        return {"LD_PRELOAD": str(self._library), "JUMPING_CLOCK": str(self._file)}

    def jump(self, seconds: int) -> None:
        """So far off from now on."""
        part = self._file.with_suffix(".part")
        part.write_text(str(seconds))
        part.replace(self._file)
