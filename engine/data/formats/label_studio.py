"""Label Studio's JSON export, whole or 'min' (https://labelstud.io/guide/export). Coordinates there are percents of the picture."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from engine.data import shapes
from engine.data.formats import tags
from engine.data.formats.base import DAMAGE, DataSet, Drawn, Format, Found, Skipped, Tally, box, label_name, one, point, polygon, split_in
from engine.data.formats.files import Files
from engine.data.formats.json_stream import elements
from engine.data.measured import MAX_PIXELS
from engine.errors import StudioError

__all__ = ["FORMATS"]

_HINTS = (b'"annotations"', b'"completions"', b'"original_width"', b'"from_name"', b'"annotator"', b'"lead_time"', b'"rectanglelabels"')
_ELLIPSE_CORNERS = 48


def _candidates(files: Files) -> list[str]:
    found = []
    for name in files.named(".json")[:20]:
        head = files.head(name, 20_000).lstrip(b"\xef\xbb\xbf \r\n\t")
        if head.startswith(b"[") and any(hint in head for hint in _HINTS):
            found.append(name)
    return found


def _detect(files: Files) -> float:
    return 0.95 if _candidates(files) else 0.0


def _read(files: Files) -> DataSet | None:
    data, tally = DataSet("label studio"), Tally()
    taken: dict[str, Found] = {}
    for name in _candidates(files):
        data.used.add(name)
        try:
            with files.open(name) as stream:
                for _, task in elements(stream):
                    _take(task, files, name, data, taken, tally)
        except (ValueError, RecursionError) as error:
            if not taken:
                raise StudioError(f"{name} is not a readable Label Studio export ({str(error)[:80]})", "Export it again as JSON.") from error
            tally.add("the export is damaged; what could be read of it was used", name)
    if not taken:
        return None
    data.pictures = [taken[name] for name in sorted(taken)]
    rest = [] if files.only else [name for name in files.pictures if name not in taken]
    data.pictures += [Found(name) for name in rest]
    if rest:
        data.problems.append(f"{one(len(rest), 'picture is', 'pictures are')} not in the export and come{'s' if len(rest) == 1 else ''} without labels")
    data.problems += tally.sentences()
    kinds = {mark.kind for found in data.pictures for mark in found.marks}
    if kinds & {"polygon", "mask"}:
        data.task = "instance-segmentation"
    elif kinds:
        data.task = "object-detection"
    tags.settle(data, files.task)
    return data


def _take(task: Any, files: Files, json_name: str, data: DataSet, taken: dict[str, Found], tally: Tally) -> None:
    try:
        where = _address(task)
        picture = files.finder.find(where, json_name, split_in(json_name)) if where else None
        if picture is None:
            data.skipped.append(Skipped(where[:200] or "(no picture)", f"listed in {json_name} but not there"))
            return
        if picture in taken:
            tally.add("two tasks are about the same picture; the first counts", picture)
            return
        results, done = _results(task, tally, picture)
        labels: list[str] = []
        marks: list[Drawn] = []
        for result in results:
            chosen = _choices(result)
            labels += chosen
            marks += () if chosen else _drawn(result, tally, picture)
        label, *more = tuple(dict.fromkeys(labels)) or (None,)
        taken[picture] = Found(picture, label, None, None, tuple(marks), done and label is None, more=tuple(map(str, more)))
    except DAMAGE as error:
        tally.add("a task is damaged and was left out", str(error)[:60])


def _address(task: dict[str, Any]) -> str:
    """Return what a task calls its picture: the value under `data` (or at the top, in the 'min' form) that looks like one."""
    inside = task.get("data")
    fields = inside if isinstance(inside, dict) else task
    named = [fields.get(key) for key in ("image", "img", "picture", "photo", "image_url", "url")]
    found = next((value for value in named if isinstance(value, str) and value), None)
    if found is None:
        found = next((value for value in fields.values() if isinstance(value, str) and re.search(r"\.[A-Za-z]{3,4}($|\?)", value)), None)
    if found is not None:
        return found
    return str(task.get("file_upload") or "")


def _results(task: dict[str, Any], tally: Tally, picture: str) -> tuple[list[dict[str, Any]], bool]:
    """Return the results of the first annotation that was not cancelled, and whether there was one."""
    listed = task.get("annotations", task.get("completions"))
    if isinstance(listed, list):
        kept = [each for each in listed if isinstance(each, dict) and not each.get("was_cancelled")]
        if len(kept) > 1:
            tally.add("a picture was labelled several times; the first counts", picture)
        return [each for each in (kept[0].get("result") or [] if kept else []) if isinstance(each, dict)], bool(kept)
    flat: list[dict[str, Any]] = []
    for key, value in task.items():
        if isinstance(value, list):
            flat += [each for each in value if isinstance(each, dict)]
        elif key in ("choice", "choices") and value:
            flat.append({"type": "choices", "value": {"choices": [value] if isinstance(value, str) else value}})
    return flat, bool(flat) or "lead_time" in task


def _choices(result: dict[str, Any]) -> list[str]:
    chosen = (result.get("value") or {}).get("choices") if isinstance(result.get("value"), dict) else result.get("choices")
    if isinstance(chosen, dict):
        chosen = chosen.get("choices")
    return [label_name(each) for each in chosen] if isinstance(chosen, list) else [label_name(chosen)] if isinstance(chosen, str) and chosen else []


def _drawn(result: dict[str, Any], tally: Tally, picture: str) -> Iterator[Drawn]:
    value = result.get("value") if isinstance(result.get("value"), dict) else result
    assert isinstance(value, dict)
    kind = next((key for key in _READERS if key in value), None)
    if kind is None:
        if result.get("type") not in (None, "choices", "labels", "relation", "textarea", "rating", "number"):
            tally.add(f"a label of the kind '{str(result.get('type'))[:30]}' is not kept", picture)
        return
    try:
        labels = value[kind] if isinstance(value[kind], list) else [value[kind]]
        for label in labels[:1] or ["unnamed"]:
            yield _READERS[kind](label_name(label), value, result)
    except DAMAGE as error:
        words = str(error)
        tally.add(words if words.startswith(("a box", "a polygon")) else "a label is damaged and was left out", picture)


def _rectangle(label: str, value: dict[str, Any], result: dict[str, Any]) -> Drawn:
    x, y, width, height = (float(value[key]) / 100 for key in ("x", "y", "width", "height"))
    angle = float(value.get("rotation") or 0)
    if not angle:
        return box(label, (x, y, x + width, y + height), relative=True)
    wide, high = float(value.get("original_width") or result["original_width"]), float(value.get("original_height") or result["original_height"])
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    corners = []
    for across, down in ((0.0, 0.0), (width, 0.0), (width, height), (0.0, height)):  # it turns about its upper left corner, in pixels
        corners += [x + (across * wide * cos - down * high * sin) / wide, y + (across * wide * sin + down * high * cos) / high]
    return polygon(label, [corners], relative=True)


def _polygon(label: str, value: dict[str, Any], _result: dict[str, Any]) -> Drawn:
    return polygon(label, [[float(part) / 100 for corner in value["points"] for part in corner]], relative=True)


def _ellipse(label: str, value: dict[str, Any], _result: dict[str, Any]) -> Drawn:
    turns = np.linspace(0, 2 * np.pi, _ELLIPSE_CORNERS, endpoint=False)
    x = float(value["x"]) + float(value["radiusX"]) * np.cos(turns)
    y = float(value["y"]) + float(value["radiusY"]) * np.sin(turns)
    return polygon(label, [(np.stack([x, y], 1) / 100).ravel().tolist()], relative=True)


def _point(label: str, value: dict[str, Any], _result: dict[str, Any]) -> Drawn:
    return point(label, float(value["x"]) / 100, float(value["y"]) / 100, relative=True)


def _brush(label: str, value: dict[str, Any], result: dict[str, Any]) -> Drawn:
    width, height = int(value.get("original_width") or result["original_width"]), int(value.get("original_height") or result["original_height"])
    inside = _unpacked(value["rle"], width, height) > 127
    kept = shapes.mask_from(inside)
    return Drawn(label, "mask", (height, width, kept["counts"]))


_READERS = {"rectanglelabels": _rectangle, "polygonlabels": _polygon, "ellipselabels": _ellipse, "keypointlabels": _point, "brushlabels": _brush}


def _unpacked(packed: list[int], width: int, height: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Unpack a brush's run lengths (Label Studio's own: https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack) to alpha [height, width]."""
    data = bytes(packed)
    at = 0

    def take(bits: int) -> int:
        nonlocal at
        first, last = at // 8, (at + bits + 7) // 8
        if last > len(data):
            raise ValueError("a brush is cut short")
        found = int.from_bytes(data[first:last], "big") >> (8 * last - at - bits)
        at += bits
        return found & ((1 << bits) - 1)

    count = take(32)
    if count != 4 * width * height or not 0 < width * height <= MAX_PIXELS // 4:
        raise ValueError("a brush does not fill its picture")
    word = take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    flat = np.zeros(count, np.uint8)
    place = 0
    while place < count:
        same = take(1)
        end = place + 1 + take(sizes[take(2)])
        if end > count:
            raise ValueError("a brush runs over its picture")
        if same:
            flat[place:end] = take(word) & 255
        else:
            flat[place:end] = [take(word) & 255 for _ in range(end - place)]
        place = end
    return flat.reshape(height, width, 4)[..., 3]


FORMATS = (Format("label studio", "Label Studio", "its JSON export", _detect, _read),)
