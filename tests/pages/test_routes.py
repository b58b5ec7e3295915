"""Uploads, pictures and downloads by route: what arrives, what is refused, and that no path leads out of the workspace."""

from __future__ import annotations

import io
import os
import re
import shutil
import time
from pathlib import Path
from urllib.parse import unquote

import pytest
from PIL import Image

from engine import runs, workspace
from engine.data import importing, items, projects
from engine.errors import StudioError
from engine.recipe import Recipe
from pages import routes
from tests.pages.asgi import ask
from tests.pages.drawn import class_folders, draw


def _upload(name: str, blocks: list[bytes], purpose: str = "pictures", **more: object):
    return ask("/graft/upload", method="POST", query=f"name={name}&purpose={purpose}", body=blocks, **more)  # type: ignore[arg-type]


@pytest.fixture
def item(home: Path, tmp_path: Path) -> items.Item:
    project = projects.create("Fruit")
    importing.import_path(project.id, class_folders(tmp_path / "fruit", "red", "green", each=4))
    return items.list_items(project.id)[0]


# ---------------------------------------------------------------- uploads


def test_an_upload_is_on_disk_as_it_was_sent(home: Path) -> None:
    blocks = [os.urandom(700_000) for _ in range(5)]
    answer = _upload("my%20cats.zip", blocks)
    assert answer.status == 200
    assert answer.json["name"] == "my cats.zip"
    assert answer.json["bytes"] == 3_500_000
    assert routes.upload_path(answer.json["upload"]).read_bytes() == b"".join(blocks)


def test_several_files_of_one_drop_keep_their_folders(home: Path) -> None:
    first = _upload("pets/cats %26 dogs/1.jpg", [b"one"]).json
    second = _upload(f"pets/birds/1.jpg&upload={first['upload']}", [b"two"])
    assert second.json["upload"] == first["upload"]
    folder = routes.upload_path(first["upload"])
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == {"pets/cats & dogs/1.jpg", "pets/birds/1.jpg"}


def test_two_files_whose_safe_names_are_the_same_are_both_kept(home: Path) -> None:
    first = _upload("a%3A1.jpg", [b"one"]).json
    _upload(f"a%3F1.jpg&upload={first['upload']}", [b"two"])
    assert sorted(path.read_bytes() for path in (workspace.uploads() / first["upload"]).iterdir()) == [b"one", b"two"]


@pytest.mark.parametrize("name", ["../../../evil.zip", "/etc/passwd", "..%5C..%5Cevil.zip", "..", "%00", "x" * 3000, "a/../../../b.jpg"])
def test_no_name_leads_out_of_the_uploads(home: Path, name: str) -> None:
    answer = _upload(name, [b"content"])
    assert answer.status == 200
    written = [path for path in home.rglob("*") if path.is_file() and path.read_bytes() == b"content"]
    assert len(written) == 1
    assert written[0].resolve().is_relative_to((workspace.uploads() / answer.json["upload"]).resolve())


@pytest.mark.parametrize(
    "query", ["name=a.zip", "name=a.zip&purpose=other", "name=a.zip&purpose=pictures&upload=../../etc", "name=a.zip&purpose=onnx&upload=" + 32 * "a"]
)
def test_an_upload_that_is_not_expected_is_refused(home: Path, query: str) -> None:
    answer = ask("/graft/upload", method="POST", query=query, body=[b"x"])
    assert answer.status == 400
    assert answer.json["remedy"]
    assert not list(workspace.uploads().iterdir())


def test_a_file_over_the_limit_leaves_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(routes.LIMITS, "picture", 1000)
    announced = _upload("big.jpg", [b"x" * 10], purpose="picture", headers={"content-length": "5000"})
    found_out = _upload("big.jpg", [b"x" * 800, b"x" * 800], purpose="picture")
    assert (announced.status, found_out.status) == (413, 413)
    assert "at most" in announced.json["problem"]
    assert not list(workspace.uploads().iterdir())


def test_a_file_larger_than_the_disk_is_refused_before_it_is_sent(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = shutil.disk_usage(home).free
    monkeypatch.setitem(routes.LIMITS, "pictures", 4 * free)
    answer = _upload("big.zip", [b"x" * 10], headers={"content-length": str(2 * free)})
    assert answer.status == 413
    assert re.search(r"the disk of the workspace has [\d.]+ [GM]B left", answer.json["problem"])
    assert "Free some space" in answer.json["remedy"]
    assert not list(workspace.uploads().iterdir())


def test_an_upload_that_breaks_off_leaves_nothing(home: Path) -> None:
    answer = _upload("half.zip", [b"x" * 2_000_000], breaks_off=True)
    assert answer.status == 400
    assert not list(workspace.uploads().iterdir())


def test_old_uploads_go(home: Path) -> None:
    old, new = (_upload("a.zip", [b"x"]).json["upload"] for _ in range(2))
    past = time.time() - 10 * 86400
    os.utime(workspace.uploads() / old, (past, past))
    routes.prune_uploads()
    assert routes.upload_path(new).exists()
    with pytest.raises(StudioError, match="no longer there"):
        routes.upload_path(old)


@pytest.mark.parametrize("upload", ["", "..", "../uploads", "a" * 32, "A" * 32, "x"])
def test_an_unknown_upload_is_a_sentence(home: Path, upload: str) -> None:
    with pytest.raises(StudioError, match="no longer there"):
        routes.upload_path(upload)


# ---------------------------------------------------------------- pictures


def test_a_picture_comes_as_a_small_jpeg_that_may_be_kept(item: items.Item) -> None:
    plain = ask(f"/graft/image/{item.id}/96")
    assert plain.status == 200
    assert max(Image.open(io.BytesIO(plain.body)).size) <= 96
    assert "immutable" not in plain.headers["cache-control"]
    known = ask(f"/graft/image/{item.id}/96", query=f"v={item.sha256[:16]}")
    assert "immutable" in known.headers["cache-control"]
    assert "immutable" not in ask(f"/graft/image/{item.id}/96", query="v=0000000000000000").headers["cache-control"]
    assert ask(f"/graft/image/{item.id}/96", headers={"if-none-match": plain.headers["etag"]}).status == 304


@pytest.mark.parametrize(
    ("path", "status"), [("/graft/image/999999/96", 404), ("/graft/image/1/97", 400), ("/graft/image/../1/96", 404), ("/graft/image/x/96", 404)]
)
def test_pictures_that_are_not_there(item: items.Item, path: str, status: int) -> None:
    assert ask(path).status == status


def test_an_uploaded_picture_is_drawn_anew(home: Path, tmp_path: Path) -> None:
    content = draw(tmp_path / "a.jpg", (10, 200, 10), 1).read_bytes()
    good = _upload("a.jpg", [content], purpose="picture").json["upload"]
    assert Image.open(io.BytesIO(ask(f"/graft/picture/{good}").body)).size == (80, 60)
    page = _upload("a.jpg", [b"<html><script>alert(1)</script>"], purpose="picture").json["upload"]
    refused = ask(f"/graft/picture/{page}")
    assert refused.status == 404
    assert "script" not in refused.body.decode()
    assert ask("/graft/picture/" + "b" * 32).status == 404


def test_plotly_comes_from_the_installed_package(home: Path) -> None:
    answer = ask("/graft/plotly.js")
    assert answer.status == 200
    assert b"plotly.js v" in answer.body[:300]
    assert ask("/graft/plotly.js", headers={"if-none-match": answer.headers["etag"]}).status == 304


# ---------------------------------------------------------------- downloads


def _run(home: Path, name: str = 'my "best" run'):
    project = projects.create("Runs")
    run = runs.create_run(project.id, Recipe(name=name), {"id": "v", "items": []})
    run.path("model.onnx").write_bytes(b"onnx")
    return run


def test_a_runs_files_come_by_name(home: Path) -> None:
    run = _run(home)
    answer = ask(f"/graft/download/{run.id}/model.onnx")
    assert (answer.status, answer.body) == (200, b"onnx")
    assert "attachment" in answer.headers["content-disposition"]
    assert '"best"' not in answer.headers["content-disposition"]


@pytest.mark.parametrize("name", ['"; filename=evil.html', "a\r\nSet-Cookie: x=1", "../../../evil.sh", "<script>", "été 日本", "..", "x" * 500])
def test_no_name_of_a_run_leads_out_of_a_download_header(home: Path, name: str) -> None:
    run = _run(home, name)
    answer = ask(f"/graft/download/{run.id}/model.onnx")
    disposition = answer.headers["content-disposition"]
    assert answer.status == 200
    assert disposition.startswith("attachment; filename")
    assert not set("\r\n<>/\\") & set(disposition)
    assert disposition.count('"') in (0, 2)
    assert unquote(disposition).rstrip('"').endswith("-model.onnx")
    assert "set-cookie" not in answer.headers


def test_what_is_no_picture_never_comes_by_the_picture_routes(item: items.Item) -> None:
    item.path.write_bytes(b"<html><script>alert(1)</script></html>")
    answer = ask(f"/graft/image/{item.id}/96")
    assert answer.status == 404
    assert answer.headers["content-type"] == "application/json"
    assert b"script" not in answer.body


@pytest.mark.parametrize("name", ["last.safetensors", "lock", "nothing.onnx", "..", "../recipe.json", "report.json"])
def test_other_files_of_a_run_do_not(home: Path, name: str) -> None:
    run = _run(home)
    assert ask(f"/graft/download/{run.id}/{name}").status == 404
    assert ask(f"/graft/download/..%2F..%2Fruns%2F{run.id}/{name}").status == 404


def test_a_jobs_file_comes_only_from_the_workspace(home: Path, tmp_path: Path) -> None:
    job = runs.create_job("export", {"run_id": "x"})
    assert ask(f"/graft/download/job/{job.id}").status == 404
    job.path("out.zip").write_bytes(b"zip")
    workspace.write_json(job.path("result.json"), {"file": str(job.path("out.zip"))})
    assert ask(f"/graft/download/job/{job.id}").body == b"zip"
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    for path in (secret, home / ".." / "secret.txt"):
        workspace.write_json(job.path("result.json"), {"file": str(path)})
        assert ask(f"/graft/download/job/{job.id}").status == 404
    link = job.path("link.zip")
    link.symlink_to(secret)
    workspace.write_json(job.path("result.json"), {"file": str(link)})
    assert ask(f"/graft/download/job/{job.id}").status == 404
