"""What an open Train page asks every few seconds, drawn by its own script: no page is run again while nothing but figures moves.

GET /graft/live/RUN?at=OFFSET&marks=MARKS: the run's figures, and its charts if there are new points.
GET /graft/live?marks=MARKS: only whether those runs still stand as they did.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from engine import runs, warm
from engine.errors import StudioError
from pages.parts.live_state import changed, live_json

__all__ = ["ROUTES"]

_FRESH = {"cache-control": "no-store"}
_MOST_MARKS = 4000  # letters; a page names the runs of its list and the one it watches


def live(request: Request) -> Response:
    """Answer a page that is being looked at, which also keeps the warm worker."""
    warm.ensure()
    marks = request.query_params.get("marks", "")[:_MOST_MARKS]
    if "run" not in request.path_params:
        return JSONResponse({"changed": changed(marks)}, headers=_FRESH)
    try:
        run = runs.find(request.path_params["run"])
    except StudioError as error:
        return JSONResponse({"problem": error.problem, "remedy": error.remedy}, 404, headers=_FRESH)
    at = request.query_params.get("at", "")
    known = int(at) if at.isdecimal() and len(at) < 16 else -1
    return Response(live_json(run, runs.state(run), known, changed(marks)), media_type="application/json", headers=_FRESH)


ROUTES = [Route("/graft/live/{run}", live), Route("/graft/live", live)]
