"""What tests of the command line share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def graft(*words: str | Path) -> Any:
    """Run `python -m engine ... --json` in the present workspace and return the object it prints; it must succeed."""
    environment = {**os.environ, "GRAFT_WARM": "0", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-m", "engine", *map(str, words), "--json"], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def sets(settings: Iterable[str]) -> list[str]:
    """Return settings, each KEY=VALUE, as words of a command line."""
    return [word for pair in settings for word in ("--set", pair)]
