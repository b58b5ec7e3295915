"""The workspace's database: its tables, its connections, and bringing it up to date.

SQLite in WAL mode by default (`graft.db` in the workspace); GRAFT_DATABASE_URL names another, such as PostgreSQL.
What the rows mean is for `projects`, `items`, `splits` and `versions`; this module only knows their form.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    Engine,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    inspect,
    select,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError

from engine import locks, workspace
from engine.errors import StudioError

__all__ = ["HEAD", "classes", "dismissed", "engine", "exists", "explained", "items", "marks", "metadata", "projects", "session", "versions"]

HEAD = "0002"
"""The newest migration in migrations/versions. Compared as a string, so that opening a current database never imports alembic."""

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_MS = 20_000

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

projects = Table(
    "projects",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("task", String(60), nullable=False),
    Column("created", Float, nullable=False),
    Column("deleted", Float),
    Column("start", Text, nullable=False, default=""),
    Column("sample", String(60), nullable=False, default=""),
    Column("settings", JSON(none_as_null=True)),  # how its data are split: see `splits`
)

classes = Table(
    "classes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("project_id", ForeignKey("projects.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(200), nullable=False),
    UniqueConstraint("project_id", "name"),
)

items = Table(
    "items",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("project_id", ForeignKey("projects.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),  # as the user knows it: the path inside the folder or zip it came from
    Column("path", Text, nullable=False),  # relative to the workspace when copied, absolute when used in place
    Column("sha256", String(64), nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("split", String(8)),
    Column("split_given", Boolean, nullable=False, default=False),  # the data set said so itself
    Column("excluded", Boolean, nullable=False, default=False),
    Column("revision", Integer, nullable=False, default=0),  # counts edits: two browsers editing one picture notice each other
    Column("added", Float, nullable=False),
    Column("reviewed", Boolean, nullable=False, default=False),  # its marks are complete, even where it has none
    Column("group_name", Text),  # pictures of one group (a scene, a patient) stay in one split
    Column("fingerprint", String(16)),  # a perceptual hash, 64 bits in hexadecimal, once it was computed
    UniqueConstraint("project_id", "sha256"),
    Index(None, "project_id", "excluded", "id"),
    Index(None, "project_id", "excluded", "split", "id"),
)

marks = Table(
    "annotations",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("item_id", ForeignKey("items.id", ondelete="CASCADE"), nullable=False),
    Column("class_id", ForeignKey("classes.id", ondelete="CASCADE"), nullable=False),
    Column("kind", String(16), nullable=False),  # 'class' says what the whole picture shows; 'box', 'polygon', 'mask', 'point' have a geometry (see `shapes`)
    Column("geometry", JSON(none_as_null=True)),
    Column("by", String(16), nullable=False),  # 'person', 'import' or 'model'
    Column("score", Float),
    Column("created", Float, nullable=False),
    Index(None, "item_id", "kind"),
    Index(None, "class_id", "kind", "item_id"),
)

versions = Table(
    "versions",
    metadata,
    Column("project_id", ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True),
    Column("id", String(64), primary_key=True),
    Column("created", Float, nullable=False),
    Column("pictures", Integer, nullable=False),
)

dismissed = Table(
    "dismissed",
    metadata,
    Column("project_id", ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True),
    Column("kind", String(40), primary_key=True),  # of a finding of the data check that a person waved through
    Column("subject", String(200), primary_key=True),  # what it was about: picture ids, joined by commas
    Column("created", Float, nullable=False),
)

_KEPT_OPEN = 4  # a program has one workspace; a test suite has hundreds, each three open files
_engines: dict[str, Engine] = {}
_opening = threading.Lock()


def _url() -> str:
    return os.environ.get("GRAFT_DATABASE_URL") or f"sqlite:///{workspace.home() / 'graft.db'}"


def engine() -> Engine:
    """Return the open database of the present workspace, brought up to date on first use.

    Raises:
        StudioError: if it cannot be opened, or was made by a newer Graft.
    """
    url = _url()
    found = _engines.get(url)
    if found is None:
        with _opening:
            found = _engines.get(url)
            if found is None:
                found = _open(url)
                _engines[url] = found
                while len(_engines) > _KEPT_OPEN:
                    _engines.pop(next(iter(_engines))).dispose()
    return found


def _forget() -> None:
    """In a forked child: the parent's connections must be neither used nor closed."""
    global _opening
    _opening = threading.Lock()
    for opened in _engines.values():
        opened.dispose(close=False)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _open(url: str) -> Engine:
    try:
        database = make_url(url)
        database.get_dialect().import_dbapi()
    except (ArgumentError, ImportError) as error:
        raise StudioError(
            f"the database that GRAFT_DATABASE_URL names cannot be used ({str(error)[:120]})",
            "Write it as postgresql+psycopg://user:password@host/name and install psycopg, or unset it.",
        ) from error
    if database.get_backend_name() != "sqlite":
        opened = create_engine(database, pool_pre_ping=True)
    else:
        opened = create_engine(database, connect_args={"timeout": BUSY_MS / 1000})
        event.listen(opened, "connect", _tune_sqlite)
    with explained():
        _bring_up_to_date(opened)
    return opened


def _tune_sqlite(connection: Any, _record: Any) -> None:
    """Set what a connection does not inherit from the file. synchronous=FULL: an edit that was acknowledged is on the disk, so that not
    even a power cut takes it back; that costs one flush an edit, and still leaves about a thousand edits a second.
    """
    cursor = connection.cursor()
    for pragma in ("synchronous=FULL", f"busy_timeout={BUSY_MS}", "foreign_keys=ON", "cache_size=-32000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _version_of(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()


def _bring_up_to_date(opened: Engine) -> None:
    """Run the migrations that are missing, in one transaction, one process at a time."""
    with opened.connect() as connection:
        if _version_of(connection) == HEAD:
            return
    lock = locks.hold(workspace.locks_folder() / "database")
    assert lock is not None, "a blocking hold returns only with the lock"
    with lock, opened.connect() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")  # stays with the file; two processes doing this at once would fail
            connection.rollback()
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # sqlite3 alone would not open a transaction before CREATE TABLE
        else:
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7215)")  # the lock file stops at this machine
        now = _version_of(connection)
        if now == HEAD:
            return
        if now is not None and not any((MIGRATIONS / "versions").glob(f"{now}_*.py")):
            raise StudioError(
                f"the workspace's database was made by a newer Graft (its form is '{now}', this one knows up to '{HEAD}')",
                "Update Graft, or choose another folder with GRAFT_HOME.",
            )
        _migrate(connection)
        connection.commit()


def _migrate(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


@contextmanager
def explained() -> Iterator[None]:
    """Turn what the user can mend about the database into a sentence."""
    try:
        yield
    except DatabaseError as error:
        if type(error) not in (OperationalError, DatabaseError):  # a broken constraint and the like are our own faults
            raise
        reason = str(error.orig)
        if "locked" in reason:
            raise StudioError("the workspace's database is busy: another program has held it for too long", "Try again in a moment.") from error
        if "full" in reason:
            raise StudioError("the disk is full: the database could not be written", "Free some space, then try again.") from error
        raise StudioError(
            f"the workspace's database cannot be used ({reason})",
            "Check that the workspace folder can be written to and GRAFT_DATABASE_URL is right.",
        ) from error


@contextmanager
def session() -> Iterator[Connection]:
    """Give a connection in one transaction: committed at the end, rolled back on any error."""
    opened = engine()
    with explained(), opened.begin() as connection:
        yield connection


def exists(connection: Connection, table: Table, **values: Any) -> bool:
    """Tell whether a row with these values is there."""
    wanted = [table.c[key] == value for key, value in values.items()]
    return connection.execute(select(1).select_from(table).where(*wanted).limit(1)).first() is not None
