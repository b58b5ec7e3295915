"""What pages fetch and send beside Streamlit: uploads streamed to disk, pictures, downloads, the chart library.

Ids are opaque and looked up; no path from a request is ever joined to a folder. `pages.gate` has checked who asks.
"""

from __future__ import annotations

import io
import re
import secrets
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import plotly
from PIL import Image
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from engine import runs, workspace
from engine.data import images, items
from engine.errors import StudioError
from engine.models.own_onnx.beside import data_path
from pages import answer_routes, label_routes, live_routes

__all__ = ["DOWNLOADS", "LIMITS", "ROUTES", "prune_uploads", "safe_name", "upload_path"]

LIMITS = {"pictures": 64 << 30, "onnx": 16 << 30, "picture": 64 << 20}
"""Purpose of an upload -> the most bytes."""

DOWNLOADS = {
    "model.onnx": "application/octet-stream",
    "model.onnx.data": "application/octet-stream",
    "report.json": "application/json",
    "recipe.json": "application/json",
    "version.json": "application/json",
    "parity.json": "application/json",
    "predictions.npz": "application/octet-stream",
    "best.safetensors": "application/octet-stream",
    "log.txt": "text/plain",
}
"""The files of a run that may be downloaded."""

SIZES = images.THUMBNAIL_SIZES
_PLOTLY = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
_UPLOAD = re.compile(r"[0-9a-f]{32}")
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\/]')
_LONGEST = 60  # letters, which may be four bytes each; file systems take 255 bytes
_LONGEST_DATA = 200  # bytes; an ONNX file calls its external data by name, so that is changed only where it must be
_DEEPEST = 8
_TOGETHER = ("pictures", "onnx")  # purposes that take several files into one upload
_SPARE_BYTES = 512 << 20
_PREVIEW_PX = 1024
_FOREVER = "private, max-age=31536000, immutable"


def safe_name(name: str) -> str:
    """Return the last part of a name, with nothing in it that a file system or a header minds.

    >>> safe_name("../../etc/passwd"), safe_name("C:\\\\my cats.zip"), safe_name("..")
    ('passwd', 'my cats.zip', 'file')
    """
    return _safe_part(re.split(r"[/\\]", name)[-1]).lstrip(".") or "file"


def _safe_part(part: str, longest: int = _LONGEST) -> str:
    """Return one part of a path without what file systems forbid, short enough, and never '.' or '..'."""
    clean = _FORBIDDEN.sub("_", part).rstrip(" .").lstrip(" ")
    stem, dot, suffix = clean.rpartition(".")
    if len(clean.encode()) <= longest:
        return clean
    return f"{stem[:_LONGEST]}{dot}{suffix[-16:]}" if stem else clean[:_LONGEST]


def _safe_path(name: str, longest: int = _LONGEST) -> str:
    """Return a relative path in which every part is safe: a dropped folder keeps its class folders."""
    parts = [safe for part in name.split("/") if (safe := _safe_part(part, longest))]
    return "/".join(parts[-_DEEPEST:]) or "file"


def upload_path(upload: str) -> Path:
    """Return the file that an upload left, or the folder where it was several.

    Raises:
        StudioError: if there is none.
    """
    folder = workspace.uploads() / upload
    if _UPLOAD.fullmatch(upload) and folder.is_dir():
        inside = [path for path in folder.iterdir() if not path.name.endswith(".part")]
        if inside:
            return inside[0] if len(inside) == 1 and inside[0].is_file() else folder
    raise StudioError("this upload is no longer there", "Drop the file again.")


def prune_uploads(older_than_s: float = 3 * 86400) -> None:
    """Remove uploads nobody came back for."""
    for folder in workspace.uploads().iterdir():
        if folder.is_dir() and time.time() - folder.stat().st_mtime > older_than_s:
            shutil.rmtree(folder, ignore_errors=True)


def _refused(error: StudioError, status: int) -> JSONResponse:
    return JSONResponse({"problem": error.problem, "remedy": error.remedy}, status)


def _size(count: int) -> str:
    return f"{count / (1 << 30):.1f} GB" if count >= 1 << 30 else f"{count / (1 << 20):.0f} MB"


def _check_room(announced: int, limit: int) -> None:
    if announced > limit:
        raise StudioError(f"this file has {_size(announced)}; at most {_size(limit)} can be taken", "Use a folder on this machine instead, or split the file.")
    free = shutil.disk_usage(workspace.uploads()).free
    if announced + _SPARE_BYTES > free:
        raise StudioError(
            f"this file has {_size(announced)}, and the disk of the workspace has {_size(free)} left",
            "Free some space, or use a folder on this machine in place.",
        )


async def upload(request: Request) -> Response:
    """Stream one file to disk, in constant memory: POST /graft/upload?name=NAME&purpose=PURPOSE[&upload=ID to add it to an earlier one]."""
    purpose, earlier = request.query_params.get("purpose", ""), request.query_params.get("upload", "")
    limit = LIMITS.get(purpose)
    folder = workspace.uploads() / (earlier or secrets.token_hex(16))
    if limit is None or (earlier and (purpose not in _TOGETHER or not _UPLOAD.fullmatch(earlier) or not folder.is_dir())):
        return _refused(StudioError("this upload is not expected", "Load the page again."), 400)
    given = request.query_params.get("name", "")
    name = _safe_path(given, _LONGEST if purpose == "pictures" else _LONGEST_DATA) if purpose in _TOGETHER else safe_name(given)
    announced = request.headers.get("content-length", "")
    try:
        _check_room(int(announced) if announced.isdigit() else 0, limit)
        count = await _stream(request, folder, name, limit)
    except StudioError as error:
        shutil.rmtree(folder, ignore_errors=True)
        return _refused(error, 413)
    except (ClientDisconnect, OSError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        said = workspace.disk_error(error, folder / name) if isinstance(error, OSError) else error
        return _refused(said, 507) if isinstance(said, StudioError) else _refused(StudioError("the upload was broken off", "Drop the file again."), 400)
    return JSONResponse({"upload": folder.name, "name": name, "bytes": count})


async def _stream(request: Request, folder: Path, name: str, limit: int) -> int:
    """Write a request's body beside its final name, then move it there. Return how many bytes came."""
    beside, count = folder / f"{name}.part", 0
    beside.parent.mkdir(parents=True, exist_ok=True)
    async with await anyio.open_file(beside, "wb") as file:
        async for block in _blocks(request):
            count += len(block)
            if count > limit:
                raise StudioError(f"this file is larger than {_size(limit)}", "Use a folder on this machine instead, or split the file.")
            await file.write(block)
    beside.replace(_free(folder / name))
    return count


def _free(path: Path) -> Path:
    """Return the path, or one with a number where two names of an upload became the same."""
    number = 2
    while path.exists():
        path, number = path.with_name(f"{path.stem} ({number}){path.suffix}"), number + 1
    return path


async def _blocks(request: Request, size: int = 1 << 20) -> AsyncIterator[bytes]:
    """Gather the small chunks of a body into blocks, so that a disk write is worth its thread."""
    gathered = bytearray()
    async for chunk in request.stream():
        gathered += chunk
        if len(gathered) >= size:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)


def image(request: Request) -> Response:
    """Serve a picture of a project in one of a few sizes: GET /graft/image/ITEM/SIZE."""
    size = int(request.path_params["size"])
    if size not in SIZES:
        return _refused(StudioError(f"pictures come in {SIZES} pixels", "Ask for one of these sizes."), 400)
    try:
        item = items.get_item(int(request.path_params["item"]))
        path = images.thumbnail(item.id, size)
    except StudioError as error:
        return _refused(error, 404)
    known = request.query_params.get("v", "")
    forever = len(known) >= 8 and item.sha256.startswith(known)
    tag = f'"{item.sha256[:32]}-{size}"'
    headers = {"cache-control": _FOREVER if forever else "private, max-age=60", "etag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return FileResponse(path, media_type="image/jpeg", headers=headers)


def picture(request: Request) -> Response:
    """Serve an uploaded picture, drawn anew as a JPEG so that nothing but pixels reaches the browser: GET /graft/picture/UPLOAD."""
    try:
        drawn = images.open_rgb(upload_path(request.path_params["upload"]), _PREVIEW_PX)
    except StudioError as error:
        return _refused(error, 404)
    return Response(_jpeg(drawn), media_type="image/jpeg", headers={"cache-control": _FOREVER})


def _jpeg(picture_: Image.Image) -> bytes:
    memory = io.BytesIO()
    picture_.save(memory, "JPEG", quality=88)
    return memory.getvalue()


def plotly_js(request: Request) -> Response:
    """Serve Plotly's script from the installed package: GET /graft/plotly.js."""
    headers = {"cache-control": "private, max-age=86400", "etag": f'"{plotly.__version__}"'}
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    return FileResponse(_PLOTLY, media_type="text/javascript", headers=headers)


def download(request: Request) -> Response:
    """Serve one of a run's files: GET /graft/download/RUN/NAME."""
    name = request.path_params["name"]
    try:
        run = runs.find(request.path_params["run"])
        if name not in DOWNLOADS or not run.path(name).is_file():
            raise StudioError(f"this run has no {safe_name(name)} to download", "Wait for the run to end, or choose another.")
    except StudioError as error:
        return _refused(error, 404)
    together = name.startswith("model.onnx") and data_path(run.path("model.onnx")).exists()  # the graph calls its weights by this very name
    called = name if together else f"{safe_name(run.name)}-{name}"
    return FileResponse(run.path(name), media_type=DOWNLOADS[name], filename=called, headers={"cache-control": "no-store"})


def job_download(request: Request) -> Response:
    """Serve the file that a job made, if it lies in the workspace: GET /graft/download/job/JOB."""
    try:
        path = _job_file(request.path_params["job"])
    except StudioError as error:
        return _refused(error, 404)
    return FileResponse(path, media_type="application/octet-stream", filename=safe_name(path.name), headers={"cache-control": "no-store"})


def _job_file(job_id: str) -> Path:
    result: dict[str, Any] = runs.result_of(runs.find_job(job_id)) or {}
    made = result.get("file")
    path = (workspace.home() / str(made)).resolve() if made else workspace.home()
    if not path.is_file() or not path.is_relative_to(workspace.home().resolve()):
        raise StudioError("this job has left no file to download", "Wait for it to end, or start it again.")
    return path


ROUTES = [
    Route("/graft/upload", upload, methods=["POST"]),
    Route("/graft/image/{item:int}/{size:int}", image),
    Route("/graft/picture/{upload}", picture),
    Route("/graft/plotly.js", plotly_js),
    Route("/graft/download/job/{job}", job_download),
    Route("/graft/download/{run}/{name}", download),
    *answer_routes.ROUTES,
    *label_routes.ROUTES,
    *live_routes.ROUTES,
]
