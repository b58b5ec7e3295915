"""Zips whose pictures are in a project, though most of them are not files of their own yet.

To write twenty thousand files takes six times as long as to read them, and nothing that a user does next needs them all. So an import keeps
the zip itself, by a second name, and enters the pictures (`Arrival`); the files are made while they are looked through, or as soon as somebody
wants to see one (`bring`). The zip is let go once every file is on the disk (`finish`). Whatever ends a process in between, the zip is still
there, and the next one goes on.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from engine import locks, workspace
from engine.data.scan import WHOLE_BYTES, entry_content
from engine.errors import StudioError

__all__ = ["IMPORT_LOCK", "Arrival", "any_left", "bring", "bring_all", "finish", "finish_unless_importing"]

IMPORT_LOCK = "import.lock"
"""In a project's folder: held by its import, since what that has put aside is no project's yet."""

_FOLDER = "arriving"
_ZIP = "archive.zip"
_GONE = (StudioError, FileNotFoundError)
"""What opening a zip raises that another process let go, or that somebody spoiled."""


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
    """A zip that was put aside, and the copied pictures of its project: sha256 -> name and path. It is not kept open, so that it can be let go."""

    def __init__(self, folder: Path) -> None:
        """Read what is where in it.

        Raises:
            StudioError, FileNotFoundError: if it is not there, or no whole zip.
        """
        from engine.data.archives import Archive  # not needed by the many processes that only decode pictures

        self._folder = folder
        self._home, self._beside = workspace.home().as_posix(), f"{folder.as_posix()}/{os.getpid()}"
        self._writing = Lock()
        self._made: set[str] = set()
        self.pictures: Mapping[str, tuple[str, str]] = {}
        with Archive(folder / _ZIP) as archive:
            self._places = {name: archive.place(name) for name in archive.files}
        self.look_up()

    def file(self) -> BinaryIO:
        """Open it for `write` and `holds`.

        Raises:
            FileNotFoundError: if another process let it go.
        """
        return (self._folder / _ZIP).open("rb", buffering=0)  # type: ignore[return-value]

    def look_up(self) -> None:
        """Look up the pictures anew."""
        from sqlalchemy import select

        from engine.data import store

        table = store.items
        with store.session() as connection:
            query = select(table.c.sha256, table.c.name, table.c.path).where(table.c.project_id == self._folder.parents[1].name)
            self.pictures = {sha256: (name, path) for sha256, name, path in connection.execute(query) if path.startswith("projects/")}

    def path(self, sha256: str) -> str:
        """Return where a picture's file is, or will be."""
        return f"{self._home}/{self.pictures[sha256][1]}"

    def knows(self, sha256: str) -> bool:
        """Tell whether the zip has a picture of this one's name."""
        return sha256 in self.pictures and self.pictures[sha256][0] in self._places

    def write(self, sha256: str, file: BinaryIO) -> bool:
        """Make a picture's file; return False if it is not in the zip.

        Raises:
            StudioError: if the disk is full.
        """
        with self._writing:  # one thread is as fast as several
            content = self._content(sha256, file)
            if content is None:
                return False
            into = self.path(sha256)
            parent = into.rpartition("/")[0]
            try:
                if parent not in self._made:
                    Path(parent).mkdir(exist_ok=True)
                    self._made.add(parent)
                with open(self._beside, "wb") as beside:  # noqa: PTH123 (twenty thousand times, as all that follows)
                    beside.write(content)
                os.replace(self._beside, into)  # noqa: PTH105
            except OSError as error:
                Path(self._beside).unlink(missing_ok=True)
                raise workspace.disk_error(error, Path(into)) from error
            return True

    def _content(self, sha256: str, file: BinaryIO) -> bytes | None:
        """Return a picture; None if the zip has none of its name, or was changed since."""
        if not self.knows(sha256):
            return None
        content = entry_content(file, self._places[self.pictures[sha256][0]], WHOLE_BYTES)
        return content if content is not None and hashlib.sha256(content).hexdigest() == sha256 else None

    def holds(self, sha256: str, file: BinaryIO) -> bool:
        """Tell whether a picture's file is there, and whole."""
        content = self._content(sha256, file)
        return content is not None and workspace.holds(self.path(sha256), sha256, len(content))


_last: dict[Path, _Zip] = {}  # the one that was asked for last
_reading = Lock()


def _read(folder: Path) -> _Zip | None:
    """Return a zip that was put aside; None if it is not there yet, or no longer."""
    with _reading:
        if folder not in _last:
            _last.clear()
            try:
                _last[folder] = _Zip(folder)
            except _GONE:
                return None
        return _last[folder]


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

    Returns:
        Whether it is there now, made by this process or another.

    Raises:
        StudioError: if the disk is full.
    """
    if len(path.parents) < 3 or path.parents[1].name != "images":
        return False
    for folder in _folders(path.parents[2]):
        kept = _read(folder)
        if kept is None:
            continue
        if path.stem not in kept.pictures:  # it was entered since
            kept.look_up()
        with suppress(FileNotFoundError), kept.file() as file:
            if kept.write(path.stem, file):
                break
    return path.exists()


def bring_all(project_id: str, should_stop: Callable[[], bool] = lambda: False) -> None:
    """Make the files of all pictures of a project that have none yet, by one thread: some twenty thousand a second.

    Raises:
        StudioError: if the disk is full.
    """
    for folder in _folders(workspace.project_folder(project_id)):
        _bring_all(folder, certain=True, should_stop=should_stop)


def _bring_all(folder: Path, *, certain: bool, should_stop: Callable[[], bool] = lambda: False) -> list[str]:
    """Make the files that are not there, or torn unless it is `certain` that none is; return all that the zip may have brought."""
    kept, found = _read(folder), []
    if kept is not None:
        kept.look_up()
        with suppress(FileNotFoundError), kept.file() as file:  # or another process has finished meanwhile
            for sha256 in filter(kept.knows, kept.pictures):
                if should_stop():
                    break
                path = kept.path(sha256)
                if (os.path.exists(path) if certain else kept.holds(sha256, file)) or kept.write(sha256, file):  # noqa: PTH110
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
        if _read(folder) is None and (folder / _ZIP).exists():
            continue  # it cannot be read now, and may be all there is of some pictures
        workspace.flush(_bring_all(folder, certain=certain), workspace.project_folder(project_id, "images"))
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
