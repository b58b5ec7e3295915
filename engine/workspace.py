"""Where everything lives, and how it is written: beside, fsynced, then replaced.

GRAFT_HOME (default ~/graft)
  graft.db            projects, items, labels, splits, versions            (engine.data)
  projects/<id>/      images/ (imported by copy)  versions/  runs/<id>/     (engine.data, engine.runs)
                      arriving/ (zips whose pictures are not all copied yet: engine.data.arrivals)
  jobs/<id>/          imports, estimates, exports: the same form as a run    (engine.runs)
  uploads/            files on their way in                                  (app.py)
  cache/              thumbnails, decoded pictures, features, weights, estimates: may be deleted at any time
  locks/              one lock a device; the warm worker's socket
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.errors import StudioError

_UMASK = os.umask(0)
os.umask(_UMASK)  # the mask can only be read by setting it; at import no other thread writes yet

__all__ = [
    "cache",
    "disk_error",
    "flush",
    "holds",
    "home",
    "locks_folder",
    "project_folder",
    "read_json",
    "replacing",
    "sync_folder",
    "uploads",
    "write_bytes",
    "write_json",
]


def home() -> Path:
    """Return the workspace folder, made if absent.

    Raises:
        StudioError: if the folder cannot be made or written to.
    """
    path = Path(os.environ.get("GRAFT_HOME") or "~/graft").expanduser().absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StudioError(
            f"the workspace {path} cannot be used ({error.strerror})",
            "Set GRAFT_HOME to a folder you can write to.",
        ) from error
    return path


def _folder(*parts: str) -> Path:
    path = home().joinpath(*parts)
    path.mkdir(parents=True, exist_ok=True)
    return path


def cache(kind: str) -> Path:
    """Return the cache folder of one kind ('thumbs', 'decoded', 'features', 'weights', 'estimates', 'onnx')."""
    return _folder("cache", kind)


def uploads() -> Path:
    """Return the folder of files on their way in."""
    return _folder("uploads")


def locks_folder() -> Path:
    """Return the folder of device locks and the warm worker's socket."""
    return _folder("locks")


def project_folder(project_id: str, *parts: str) -> Path:
    """Return a project's folder, or a folder below it, made if absent."""
    return _folder("projects", project_id, *parts)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success flush it to disk and move it over `path` in one step.

    On any error the temporary file is removed and `path` is untouched.

    Raises:
        StudioError: if the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(descriptor)
    Path(name).chmod(0o666 & ~_UMASK)  # mkstemp is for secrets and makes 0600; these are the user's files
    beside = Path(name)
    try:
        yield beside
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise disk_error(error, path) from error
    finally:
        beside.unlink(missing_ok=True)


def disk_error(error: OSError, path: Path) -> Exception:
    """Turn 'no space left' into a sentence; leave every other error as it is."""
    import errno

    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StudioError(
            f"the disk is full: {path.name} could not be written to {path.parent}",
            "Free some space (the folder cache in the workspace may be emptied), then press Resume.",
        )
    return error


def sync_folder(folder: Path) -> None:
    """Flush a folder itself to the disk: the names of the files in it."""
    if os.name == "nt":  # a folder cannot be opened there, and NTFS journals the rename itself
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def holds(path: Path | str, sha256: str, size: int) -> bool:
    """Tell whether a file is there with exactly this content."""
    try:
        if os.stat(path).st_size != size:  # noqa: PTH116 (twenty thousand times)
            return False
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except OSError:
        return False


def flush(paths: Sequence[Path | str], folder: Path) -> None:
    """Wait until files and their folders are on the disk: at once for the whole disk where the system can, else one by one.

    Raises:
        OSError: if the disk failed.
    """
    if sys.platform == "linux" and len(paths) > 8:
        import ctypes

        descriptor = os.open(folder, os.O_RDONLY)
        try:
            library = ctypes.CDLL(None, use_errno=True)
            if library.syncfs(descriptor) == 0:
                return
            raise OSError(ctypes.get_errno(), "the disk could not be written", str(folder))
        finally:
            os.close(descriptor)
    for path in paths:
        with Path(path).open("rb+") as file:
            os.fsync(file.fileno())
    for inside in {Path(path).parent for path in paths} | {folder}:
        sync_folder(inside)


def write_bytes(path: Path, content: bytes) -> None:
    """Replace the file at path with content, atomically."""
    with replacing(path) as beside:
        beside.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Replace the file at path with value as readable, NaN-free JSON, atomically."""
    write_bytes(path, (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        StudioError: if it is missing or damaged.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise StudioError(f"{path.name} is missing from {path.parent}", "Restore it from a backup, or delete this entry and make it again.") from error
    except ValueError as error:
        raise StudioError(f"{path} is damaged ({error})", "Restore it from a backup, or delete this entry and make it again.") from error
