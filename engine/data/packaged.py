"""Files that travel inside installed packages."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from engine.errors import StudioError

__all__ = ["inside"]


def inside(package: str, *parts: str) -> Path:
    """Return the path of a file inside an installed package, without importing the package.

    Raises:
        StudioError: if the package or the file is not there.
    """
    found = importlib.util.find_spec(package)
    path = Path(found.submodule_search_locations[0], *parts) if found and found.submodule_search_locations else None
    if path is None or not path.exists():
        raise StudioError(f"this sample needs {'/'.join(parts)} from the package {package}, which is not installed", "Install requirements.txt again.")
    return path
