from __future__ import annotations

import importlib.util
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from engine.data import projects, store
from engine.errors import StudioError


def test_migrations_make_the_tables_that_the_code_describes(home: Path) -> None:
    with store.session() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, store.metadata) == []


def test_head_is_the_newest_migration() -> None:
    assert ScriptDirectory(str(store.MIGRATIONS)).get_current_head() == store.HEAD


def test_sqlite_is_tuned(home: Path) -> None:
    with store.session() as connection:
        found = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "foreign_keys", "busy_timeout")}
    assert found == {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": store.BUSY_MS}


def test_opening_a_current_database_does_not_import_alembic(home: Path) -> None:
    projects.create("Pets")
    code = "import sys; from engine.data import projects; assert len(projects.list_projects()) == 1; print('alembic' in sys.modules, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_processes_opening_a_fresh_workspace_at_once(home: Path) -> None:
    code = "import sys; from engine.data import projects; projects.create(sys.argv[1]); print(len(projects.list_projects()))"
    started = [subprocess.Popen([sys.executable, "-c", code, f"P{number}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) for number in range(4)]
    for process in started:
        _, problems = process.communicate(timeout=120)
        assert process.returncode == 0, problems.decode()
    assert sorted(project.name for project in projects.list_projects()) == ["P0", "P1", "P2", "P3"]


def test_a_newer_database_is_refused(home: Path) -> None:
    with store.session() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    store._engines.clear()
    with pytest.raises(StudioError, match="newer Graft"):
        store.engine()


def test_a_file_that_is_no_database_is_said(home: Path) -> None:
    (home / "graft.db").write_bytes(b"this is not a database, but it is long enough to be looked at" * 100)
    with pytest.raises(StudioError, match="cannot be used"):
        projects.list_projects()


def test_a_database_that_another_program_holds_is_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "BUSY_MS", 200)
    projects.create("Pets")
    holder = sqlite3.connect(home / "graft.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StudioError, match="database is busy"):
        projects.create("Zoo")
    assert len(projects.list_projects()) == 1, "reading goes on meanwhile"
    holder.close()
    projects.create("Zoo")


def test_another_workspace_is_another_database(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    projects.create("Here")
    monkeypatch.setenv("GRAFT_HOME", str(tmp_path / "there"))
    assert projects.list_projects() == []
    monkeypatch.setenv("GRAFT_DATABASE_URL", f"sqlite:///{home / 'graft.db'}")
    assert [project.name for project in projects.list_projects()] == ["Here"]


def test_an_error_rolls_everything_back(home: Path) -> None:
    def half_done() -> None:
        with store.session() as connection:
            connection.execute(store.projects.insert().values(id="x", name="x", task="t", created=time.time()))
            _ = 1 // 0

    with pytest.raises(ZeroDivisionError):
        half_done()
    assert projects.list_projects() == []


def test_a_forked_child_opens_connections_of_its_own(home: Path) -> None:
    code = """
import os, sys
from engine.data import projects, store
projects.create("Parent")
before = store.engine().pool.checkedin()
child = os.fork()
if child == 0:
    fresh = store.engine().pool.checkedin()
    projects.create("Child")
    os._exit(0 if before == 1 and fresh == 0 else 1)
_, status = os.waitpid(child, 0)
assert status == 0, status
print(len(projects.list_projects()))
"""
    if not hasattr(__import__("os"), "fork"):
        pytest.skip("no fork on this system")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "2", done.stderr


@pytest.mark.parametrize("url", ["not a url", "nosuchdatabase://x/y", "postgresql+psycopg://x/y" if not importlib.util.find_spec("psycopg") else "x"])
def test_a_database_that_cannot_be_is_said(home: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("GRAFT_DATABASE_URL", url)
    with pytest.raises(StudioError, match="GRAFT_DATABASE_URL"):
        store.engine()
