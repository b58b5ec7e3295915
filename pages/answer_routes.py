"""Held-out pictures with a run's answers drawn over them: GET /graft/answer/RUN/ITEM/SIZE?confidence=&overlap=&show=."""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from engine import runs
from engine.data import images, items
from engine.errors import StudioError
from engine.evaluation import shown
from engine.evaluation.drawn import Evidence, evidence

__all__ = ["ROUTES"]

_SHOWS = ("answer", "truth", "errors")


@lru_cache(maxsize=4)
def _evidence(folder: Path, mtime_ns: int) -> Evidence:  # noqa: ARG001 (the cache's key)
    return evidence(folder)


def _share(request: Request, name: str, otherwise: float) -> float:
    try:
        return min(1.0, max(0.0, float(request.query_params.get(name, otherwise))))
    except ValueError:
        return otherwise


def answer(request: Request) -> Response:
    """Draw one picture. Ids are looked up; the size is one of the thumbnails'."""
    try:
        run = runs.find(request.path_params["run"])
        size = int(request.path_params["size"])
        if size not in images.THUMBNAIL_SIZES:
            raise StudioError(f"pictures come in {images.THUMBNAIL_SIZES} pixels", "Ask for one of these sizes.")
        path = run.path("predictions.npz")
        if not path.is_file():
            raise StudioError("this run has not answered on any picture yet", "Wait for it to end.")
        seen = _evidence(run.folder, path.stat().st_mtime_ns)
        place = next((row for row, entry in enumerate(seen.entries) if entry["id"] == int(request.path_params["item"])), None)
        if place is None:
            raise StudioError("this picture is not among those the run was judged on", "Load the page again.")
        picture = images.open_rgb(items.get_item(seen.entries[place]["id"]).path)
    except StudioError as error:
        return JSONResponse({"problem": error.problem, "remedy": error.remedy}, 404)
    show = request.query_params.get("show", "errors")
    drawn = shown.compared_over(
        picture,
        seen,
        place,
        confidence=_share(request, "confidence", 0.0),
        overlap=_share(request, "overlap", 0.5),
        show=show if show in _SHOWS else "errors",  # type: ignore[arg-type]
        size_px=size,
    )
    memory = io.BytesIO()
    drawn.save(memory, "JPEG", quality=88)
    return Response(memory.getvalue(), media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})


ROUTES = [Route("/graft/answer/{run}/{item:int}/{size:int}", answer)]
