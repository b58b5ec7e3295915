"""Where the drawing board saves: a picture's marks, read and replaced as a whole on the revision they were seen at.

    GET /graft/marks/ITEM   -> {"item": {...}, "marks": [...]}
    PUT /graft/marks/ITEM   {"revision": 3, "marks": [...], "reviewed": true | false | null} -> {"revision": 4}

200 means: it is on the disk. 409 means: somebody else was faster, nothing was written, and here is (as GET says it) what is there now. An edit that is sent
again because its answer got lost is found to be there already, and gets its 200. `pages.gate` has checked who asks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from anyio import to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from engine.data import items, marks
from engine.data.marks import Mark
from engine.errors import ConflictError, StudioError

__all__ = ["MOST_BYTES", "ROUTES", "described"]

MOST_BYTES = 16 << 20
"""Most bytes of one save: five thousand marks, or masks of the most ragged kind, take a few MB."""

_NOT_KEPT = {"cache-control": "no-store"}
_WHO = ("person", "import", "model")


def described(item_id: int) -> dict[str, Any]:
    """Return a picture and its marks as the drawing board takes them.

    Raises:
        StudioError: if it is gone.
    """
    item = items.get_item(item_id)  # before its marks: a revision older than them only leads to a refusal, a newer one would overwrite
    found = marks.of_items([item_id])[item_id]
    return {
        "item": {
            "id": item.id,
            "name": item.name,
            "width": item.width,
            "height": item.height,
            "sha256": item.sha256,
            "revision": item.revision,
            "reviewed": item.reviewed,
        },
        "marks": [{"label": mark.label, "kind": mark.kind, "geometry": mark.geometry, "by": mark.by, "score": mark.score} for mark in found],
    }


async def marks_of(request: Request) -> Response:
    """Read or replace the marks of one picture."""
    item_id = int(request.path_params["item"])
    try:
        if request.method != "PUT":
            return JSONResponse(await to_thread.run_sync(described, item_id), headers=_NOT_KEPT)
        sent = _read(await _body(request))
    except StudioError as error:
        return _refused(error, 404 if request.method != "PUT" else 400)
    except ClientDisconnect:
        return Response(status_code=400)
    return await to_thread.run_sync(_save, item_id, sent)


async def _body(request: Request) -> bytes:
    """Gather a body, as far as it is JSON (which no foreign form can send) and of a size that a hand draws."""
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise StudioError("marks are sent as JSON", "Load the page again.")
    gathered = bytearray()
    async for chunk in request.stream():
        gathered += chunk
        if len(gathered) > MOST_BYTES:
            raise StudioError(f"the labels of this picture take more than {MOST_BYTES >> 20} MB", "Draw them more simply, or fewer.")
    return bytes(gathered)


def _read(body: bytes) -> dict[str, Any]:
    try:
        sent = json.loads(body)
        revision, reviewed = sent["revision"], sent.get("reviewed")
        if type(revision) is not int or reviewed not in (None, True, False):
            raise ValueError("no revision")
        return {"revision": revision, "reviewed": reviewed, "marks": [_mark(row) for row in sent["marks"]]}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StudioError("what the page sent cannot be read", "Load the page again.") from error


def _mark(row: Mapping[str, Any]) -> Mark:
    by, score = row.get("by", "person"), row.get("score")
    if by not in _WHO or not isinstance(row["label"], str) or not isinstance(row["kind"], str) or row["kind"] == "class":
        raise ValueError("no mark")
    return Mark(row["label"], row["kind"], row["geometry"], by, None if score is None else float(score))


def _save(item_id: int, sent: dict[str, Any]) -> Response:
    try:
        revision = marks.replace(item_id, sent["marks"], sent["revision"], reviewed=sent["reviewed"])
    except ConflictError as error:
        now = described(item_id)
        if sent["reviewed"] in (None, now["item"]["reviewed"]) and marks.holds(items.get_item(item_id), sent["marks"]):
            return JSONResponse({"revision": now["item"]["revision"]}, headers=_NOT_KEPT)
        return JSONResponse({"problem": error.problem, "remedy": error.remedy, **now}, 409, headers=_NOT_KEPT)
    except StudioError as error:
        return _refused(error, 400)
    return JSONResponse({"revision": revision}, headers=_NOT_KEPT)


def _refused(error: StudioError, status: int) -> JSONResponse:
    return JSONResponse({"problem": error.problem, "remedy": error.remedy}, status, headers=_NOT_KEPT)


ROUTES = [Route("/graft/marks/{item:int}", marks_of, methods=["GET", "PUT"])]
