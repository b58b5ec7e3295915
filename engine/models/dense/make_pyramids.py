"""Make assets/catalog/pyramids.csv: which maps each catalogued backbone gives, found by building it without memory and sending a picture through.

    python -m engine.models.dense.make_pyramids [NAME ...]

With names only those rows are made anew. Rows are kept in the catalogue's order, so that the file's history is readable.
"""

from __future__ import annotations

import csv
import sys
import warnings
from pathlib import Path

import timm
import torch

from engine.errors import StudioError
from engine.models import catalogue
from engine.models.build import ARCHITECTURES as TIMM_NAMES
from engine.models.dense.backbones import MapSource, create

__all__ = ["main", "probe"]

TARGET = Path(__file__).resolve().parents[3] / "assets" / "catalog" / "pyramids.csv"
COLUMNS = ("name", "strides", "channels", "size_step", "fixed", "reason")
STEPS = (32, 64, 128)
"""Multiples that are tried, the most useful first; each by pictures of 5 and 6 of them a side (of 2 and 3 where that would be large)."""

UNWRITTEN = ("csatv2", "volo")
"""Beginnings of names whose networks the ONNX exporter cannot write inside a detector: found by benchmarks.cells."""

FAULTS = (RuntimeError, AssertionError, ValueError, TypeError, AttributeError, IndexError, KeyError, NotImplementedError, StudioError)


class _UnevenError(ValueError):
    """Maps come, but the picture's sides are no multiples of theirs."""


def _maps(timm_name: str, size: int) -> tuple[list[int], list[int]]:
    """Return strides and channels as they come out for pictures of a size."""
    with torch.device("meta"), torch.no_grad():
        net = create(timm_name, (size, size)).eval()
        given = range(len(net.feature_info.channels()))  # type: ignore[union-attr, operator, arg-type]
        maps = MapSource(net, given, given)(torch.zeros(1, 3, size, size))
    shapes = [tuple(one.shape) for one in maps]
    if any(len(shape) != 4 or shape[2] != shape[3] or size % shape[2] for shape in shapes):
        raise _UnevenError(f"maps {shapes}")
    channels = [int(count) for count in net.feature_info.channels()]  # type: ignore[union-attr, operator]
    if channels != [shape[1] for shape in shapes]:
        raise ValueError(f"channels {channels}, maps {shapes}")
    return [size // shape[2] for shape in shapes], channels


def _patches(side: int) -> str:
    fine = "which do not line up with halves and quarters of the picture" if side % 8 else "too coarse to tell where things are"
    return f"looks at pictures in patches of {side} px, {fine}"


def probe(name: str) -> dict[str, str]:
    """Return one row of the table."""
    row = catalogue.backbone(name)
    timm_name = TIMM_NAMES.get(row.name, row.name)
    config = timm.models.get_pretrained_cfg(timm_name)
    fixed = bool(config is not None and config.fixed_input_size)
    answer = dict.fromkeys(COLUMNS, "") | {"name": row.name, "size_step": "32", "fixed": str(int(fixed))}
    if row.name.startswith(UNWRITTEN):
        return answer | {"reason": "cannot be written as an ONNX file with a head that needs maps"}
    faults = []
    for step in STEPS:
        try:
            found = [_maps(timm_name, step * count) for count in ((9, 10) if step == 32 else (3, 5) if step == 64 else (2, 3))]
        except FAULTS as fault:
            faults.append(str(fault))
            continue
        strides, channels = found[0]
        if found[1][0] != strides:
            faults.append("maps do not follow the picture's size")
            continue
        if len(set(strides)) == 1 and strides[0] not in (8, 16):
            return answer | {"reason": _patches(strides[0])}
        last = {stride: index for index, stride in enumerate(strides)}
        if len(set(strides)) > 1 and 32 not in strides:
            return answer | {"reason": f"gives maps at {', '.join(f'1/{one}' for one in sorted(last))} of the picture's size, none at 1/32"}
        return answer | {"strides": " ".join(map(str, strides)), "channels": " ".join(map(str, channels)), "size_step": str(step)}
    try:
        strides, _ = _maps(timm_name, row.image_size)
    except _UnevenError:
        return answer | {"reason": "gives maps that do not divide the picture evenly"}
    except FAULTS:
        return answer | {"reason": "does not give its inner maps out"}
    if len(set(strides)) == 1:
        return answer | {"reason": _patches(strides[0])}
    print(name, faults, file=sys.stderr)  # noqa: T201
    return answer | {"reason": f"gives maps for pictures of {row.image_size} px only"}


def main(names: list[str]) -> None:
    """Probe the named backbones, or all."""
    warnings.simplefilter("ignore")
    rows: dict[str, dict[str, str]] = {}
    if TARGET.exists():
        with TARGET.open(newline="", encoding="utf-8") as file:
            rows = {row["name"]: row for row in csv.DictReader(file)}
    order = sorted(row.name for row in catalogue.backbones())
    for number, name in enumerate(names or order):
        rows[name] = probe(name)
        if number % 50 == 0:
            print(number, name, rows[name], file=sys.stderr)  # noqa: T201
    with TARGET.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[name] for name in order if name in rows)


if __name__ == "__main__":
    main(sys.argv[1:])
