"""Zips whose pictures are in a project, though most of them are not files of their own yet.

To write twenty thousand files takes six times as long as to read them, and nothing that a user does next needs them all. So an import keeps
the zip itself, by a second name, and enters the pictures (`Arrival`); the files are made while they are looked through, or as soon as somebody
wants to see one (`bring`). The zip is let go once every file is on the disk (`finish`). Whatever ends a process in between, the zip is still
there, and the next one goes on.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from threading import Lock

from engine import locks, workspace
from engine.errors import StudioError

__all__ = ["IMPORT_LOCK", "Arrival", "any_left", "bring", "bring_all", "finish", "finish_unless_importing"]

IMPORT_LOCK = "import.lock"
"""In a project's folder: held by its import, since what that has put aside is no project's yet."""

_FOLDER = "arriving"
_ZIP = "archive.zip"
_numbers = itertools.count()


class Arrival:
    """A zip that is put aside; it goes again at the end of a `with` unless it was kept."""

    def __init__(self, project_id: str, archive: Path) -> None:
        """Give a zip a second name in the project's folder.

        Raises:
            OSError: if it is on another disk, or its disk knows no second names.
        """
        self._folder = Path(tempfile.mkdtemp(dir=workspace.project_folder(project_id, _FOLDER)))
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

    def flush(self) -> None:
        """Have the disk hold the zip, before the database speaks of its pictures."""
        with (self._folder / _ZIP).open("rb") as file:
            os.fsync(file.fileno())
        for folder in (self._folder, self._folder.parent):
            workspace.sync_folder(folder)

    def keep(self) -> None:
        """The zip's pictures now belong to the project."""
        self._kept = True


class _Zip:
    """A zip that was put aside, and the copied pictures of its project: sha256 -> name and path."""

    def __init__(self, folder: Path) -> None:
        from engine.data.archives import Archive  # not needed by the many processes that only decode pictures

        self._archive = Archive(folder / _ZIP)
        self._folder = folder
        self.pictures: Mapping[str, tuple[str, str]] = {}
        self.look_up()

    def look_up(self) -> None:
        """Look up the pictures anew."""
        from sqlalchemy import select

        from engine.data import store

        table = store.items
        with store.session() as connection:
            query = select(table.c.sha256, table.c.name, table.c.path).where(table.c.project_id == self._folder.parents[1].name)
            self.pictures = {sha256: (name, path) for sha256, name, path in connection.execute(query) if not Path(path).is_absolute()}

    def close(self) -> None:
        """Let the file go."""
        self._archive.__exit__()

    def size(self, sha256: str) -> int | None:
        """Return how many bytes a picture has; None if the zip holds none of its name."""
        name, _ = self.pictures.get(sha256, ("", ""))
        return self._archive.size(name) if name in self._archive.files else None

    def write(self, sha256: str) -> bool:
        """Make a picture's file; return False if it is not in the zip.

        Raises:
            StudioError: if the disk is full.
        """
        size = self.size(sha256)
        if size is None:
            return False
        name, path = self.pictures[sha256]
        try:
            content = self._archive.content(name, size)
        except StudioError:  # the zip was changed since
            return False
        if content is None or hashlib.sha256(content).hexdigest() != sha256:
            return False
        beside, into = self._folder / f"{os.getpid()}-{next(_numbers)}", workspace.home() / path
        try:
            beside.write_bytes(content)
            into.parent.mkdir(exist_ok=True)
            beside.replace(into)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise workspace.disk_error(error, into) from error
        return True


_open: dict[Path, _Zip] = {}  # the one that was asked for last
_opening = Lock()


def _opened(folder: Path) -> _Zip | None:
    """Return a zip that was put aside; None if it is not there yet, or no longer."""
    with _opening:
        if folder not in _open:
            _forget()
            try:
                _open[folder] = _Zip(folder)
            except StudioError:
                return None
        return _open[folder]


def _forget() -> None:
    for one in _open.values():
        one.close()
    _open.clear()


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
    if len(path.parents) < 3 or path.parents[1].name != "images":
        return False
    for folder in _folders(path.parents[2]):
        kept = _opened(folder)
        if kept is None:
            continue
        if path.stem not in kept.pictures:  # it was entered since
            kept.look_up()
        if kept.write(path.stem):
            break
    return path.exists()  # made now, or by another process that has let the zip go


def bring_all(project_id: str) -> None:
    """Make the files of all pictures of a project that have none yet.

    Raises:
        StudioError: if the disk is full.
    """
    for folder in _folders(workspace.project_folder(project_id)):
        _bring_all(folder, certain=True)


def _bring_all(folder: Path, *, certain: bool) -> list[Path]:
    """Make the files that are not there, or torn unless it is `certain` that none is; return all that the zip has brought."""
    kept, found = _opened(folder), []
    if kept is not None:
        kept.look_up()
        for sha256, (_, relative) in kept.pictures.items():
            size, path = kept.size(sha256), workspace.home() / relative
            if size is not None and ((path.exists() if certain else workspace.holds(path, sha256, size)) or kept.write(sha256)):
                found.append(path)
    return found


def finish(project_id: str, *, certain: bool = False) -> None:
    """Let go of the zips of a project whose import lock the caller holds, once all their pictures are files on the disk.

    Args:
        project_id: the project.
        certain: no process was killed since they were put aside, so a file that is there is whole.

    Raises:
        StudioError: if the disk is full.
    """
    for folder in _folders(workspace.project_folder(project_id)):
        workspace.flush(_bring_all(folder, certain=certain), workspace.project_folder(project_id, "images"))
        with _opening:
            _forget()
        shutil.rmtree(folder, ignore_errors=True)


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
