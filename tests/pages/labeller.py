"""One person labelling over HTTP as the drawing board does, as a process of its own: python labeller.py URL TAG LOG ITEM...

It adds one point after another to pictures that others label too, until it is told to end. A point that was acknowledged is written to the log;
one whose answer got lost is sent again, the same. No two points of all labellers are alike.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ended = False


def end(*_: object) -> None:
    global ended
    ended = True


def ask(url: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
    """Return status and answer; status 0 where there is no answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"}, method="GET" if body is None else "PUT")
    try:
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())
    except (OSError, ValueError, http.client.HTTPException):  # the last: the server died in the middle of its answer
        return 0, None


def patiently(url: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
    while True:
        status, said = ask(url, body)
        if status or ended:
            return status, said
        time.sleep(0.05)


def main(url: str, tag: int, log: str, items: list[str]) -> None:
    signal.signal(signal.SIGTERM, end)
    chance = random.Random(tag)
    number = 0
    with Path(log).open("a") as file:
        while not ended:
            number += 1
            point = [number % 79, round(number // 79 * 0.1 + tag * 0.01, 2)]
            address = f"{url}/graft/marks/{chance.choice(items)}"
            status, now = patiently(address)
            while status == 200 and not ended:
                marks = [*now["marks"], {"label": "seen", "kind": "point", "geometry": {"point": point}}]
                status, said = patiently(address, {"revision": now["item"]["revision"], "marks": marks, "reviewed": None})
                arrived = status == 409 and any(mark["geometry"].get("point") == point for mark in said["marks"])
                if status == 200 or arrived:
                    row = {"item": now["item"]["id"], "point": point, "revision": said["revision"] if status == 200 else None}
                    file.write(json.dumps(row) + "\n")
                    file.flush()
                    os.fsync(file.fileno())
                    break
                if status == 409:
                    file.write(json.dumps({"refused": True}) + "\n")
                    file.flush()
                    status, now = 200, said


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:])
