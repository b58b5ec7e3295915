"""Zips whose pictures are in a project, though most of them are not files of their own yet.

To write twenty thousand files takes six times as long as to read them, and nothing that a user does next needs them all. So an import keeps
the zip itself, by a second name, with a list of what is where in it (`Arrival`), and enters the pictures; the files are made while they are
looked through, or as soon as somebody wants to see one (`bring`). The zip is let go once every file is on the disk (`finish`). Whatever ends
a process in between, the zip is still there, and the next one goes on.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from engine import locks, workspace
from engine.data.scan import WHOLE_BYTES, entry_content

__all__ = ["IMPORT_LOCK", "Arrival", "any_left", "bring", "bring_all", "finish", "finish_unless_importing"]

IMPORT_LOCK = "import.lock"
"""In a project's folder: held by its import, since what that has put aside is no project's yet."""

_FOLDER = "arriving"
_ZIP = "archive.zip"
_LIST = "list.json"

_ZipPlace = tuple[int, int, int, int, int, bytes]
_numbers = itertools.count()


class Arrival:
    """A zip that is put aside; it goes again at the end of a `with` unless it was kept."""

    def __init__(self, project_id: str, archive: Path) -> None:
        """Give a zip a second name in the project's folder.

        Raises:
            OSError: if it is on another disk, or its disk knows no second names.
        """
        self._folder = Path(tempfile.mkdtemp(dir=workspace.project_folder(project_id, _FOLDER)))
        self._places: dict[str, _ZipPlace] = {}
        self._kept = False
        try:
            (self._folder / _ZIP).hardlink_to(archive)
        except OSError:
            self.__exit__()
            raise

    def __enter__(self) -> Arrival:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._kept:
            shutil.rmtree(self._folder, ignore_errors=True)

    def add(self, sha256: str, place: _ZipPlace) -> None:
        """Note where a picture is, by its content."""
        self._places.setdefault(sha256, place)

    def flush(self) -> None:
        """Have the disk hold the zip and the list, before the database speaks of its pictures."""
        if not self._places:
            return
        told = {sha256: (*where, name.decode("latin-1")) for sha256, (*where, name) in self._places.items()}
        with (self._folder / _ZIP).open("rb") as file:
            os.fsync(file.fileno())
        workspace.write_bytes(self._folder / _LIST, json.dumps(told).encode())
        workspace.sync_folder(self._folder.parent)

    def keep(self) -> None:
        """The zip's pictures now belong to the project."""
        self._kept = bool(self._places)


class _Kept:
    """A zip that was put aside, and the list of what is where in it."""

    def __init__(self, folder: Path) -> None:
        told = json.loads((folder / _LIST).read_bytes())
        self.folder = folder
        self.places: Mapping[str, _ZipPlace] = {sha256: (*where, name.encode("latin-1")) for sha256, (*where, name) in told.items()}

    def content(self, sha256: str, archive: BinaryIO) -> bytes | None:
        """Return a picture; None if the zip was changed since."""
        found = entry_content(archive, self.places[sha256], WHOLE_BYTES)
        return found if found is not None and hashlib.sha256(found).hexdigest() == sha256 else None


_opened = lru_cache(maxsize=1)(_Kept)


def _kept(folder: Path) -> _Kept | None:
    try:
        return _opened(folder)
    except (OSError, ValueError):  # its import has not come to the list
        return None


def _folders(project: Path) -> list[Path]:
    try:
        return sorted(entry for entry in (project / _FOLDER).iterdir() if entry.is_dir())
    except FileNotFoundError:
        return []


def any_left(project_id: str) -> bool:
    """Tell whether a project has a zip put aside."""
    return bool(_folders(workspace.project_folder(project_id)))


def bring(path: Path) -> bool:
    """Make the file of a picture that is not there, if it is in a zip that was put aside.

    Raises:
        StudioError: if the disk is full.
    """
    project = path.parents[2] if len(path.parents) > 2 and path.parents[1].name == "images" else None
    for folder in _folders(project) if project is not None else ():
        kept = _kept(folder)
        if kept is not None and path.stem in kept.places:
            try:
                with (folder / _ZIP).open("rb", buffering=0) as archive:
                    return _written(kept, path.stem, path, archive)  # type: ignore[arg-type]
            except FileNotFoundError:  # all are files by now
                return path.exists()
    return False


def _written(kept: _Kept, sha256: str, path: Path, archive: BinaryIO) -> bool:
    content = kept.content(sha256, archive)
    if content is None:
        return False
    beside = kept.folder / f"{os.getpid()}-{next(_numbers)}"
    try:
        beside.write_bytes(content)
        path.parent.mkdir(exist_ok=True)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise workspace.disk_error(error, path) from error
    return True


def bring_all(project_id: str) -> None:
    """Make the files of all pictures of a project that have none yet.

    Raises:
        StudioError: if the disk is full.
    """
    for folder in _folders(workspace.project_folder(project_id)):
        kept = _kept(folder)
        if kept is not None:
            _bring_all(project_id, kept, _is_there)


def _is_there(path: Path, _sha256: str, _size: int) -> bool:
    return path.exists()


def _bring_all(project_id: str, kept: _Kept, is_whole: Callable[[Path, str, int], bool]) -> list[Path]:
    """Make the files that are not whole, and return all that the zip brought and the project still has."""
    found = []
    with (kept.folder / _ZIP).open("rb", buffering=0) as archive:
        for path in _paths(project_id):
            place = kept.places.get(path.stem)
            if place is None:
                continue
            if is_whole(path, path.stem, place[2]) or _written(kept, path.stem, path, archive):  # type: ignore[arg-type]
                found.append(path)
    return found


def _paths(project_id: str) -> list[Path]:
    from sqlalchemy import select

    from engine.data import store  # slow to import, and the processes that only decode pictures have no use for it

    home, table = workspace.home(), store.items
    with store.session() as connection:
        rows = connection.scalars(select(table.c.path).where(table.c.project_id == project_id))
        return [home / row for row in rows if not Path(row).is_absolute()]


def finish(project_id: str, *, certain: bool = False) -> None:
    """Let go of the zips of a project whose import lock the caller holds, once all their pictures are files on the disk.

    Args:
        project_id: the project.
        certain: no process was killed since they were put aside, so a file that is there is whole.

    Raises:
        StudioError: if the disk is full.
    """
    for folder in _folders(workspace.project_folder(project_id)):
        kept = _kept(folder)
        if kept is not None:
            workspace.flush(_bring_all(project_id, kept, _is_there if certain else workspace.holds), workspace.project_folder(project_id, "images"))
        shutil.rmtree(folder, ignore_errors=True)
    _opened.cache_clear()


def finish_unless_importing(project_id: str) -> None:
    """Do what `finish` does, unless an import is under way: that does it itself.

    Raises:
        StudioError: if the disk is full.
    """
    if not any_left(project_id):
        return
    lock = locks.hold(workspace.project_folder(project_id) / IMPORT_LOCK, blocking=False)
    if lock is not None:
        with lock:
            finish(project_id)
