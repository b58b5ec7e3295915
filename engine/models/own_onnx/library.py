"""Imports a file once and keeps what came of it in the workspace, so that runs can be built from it again.

models/<id>/model.onnx   the graph, normalised and with a free batch size (or as it came, where it cannot be trained); its large tensors beside it
models/<id>/cuts.json    the cuts that were used, by the short name a run knows them by
models/<id>/about.json   what the X-ray shows, and the shapes that choosing another cut needs

The id is a hash of the file and its external data. Runs refer to it and a cut by name
(`reference`), never to the dropped file.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import ModelProto

from engine import workspace
from engine.errors import StudioError
from engine.models.own_onnx.backbone import FrozenFeatures, TrainableBackbone, session_of
from engine.models.own_onnx.batch import Freed, free_batch
from engine.models.own_onnx.child import check
from engine.models.own_onnx.cut import Cut, Cuts, choose, find_cuts
from engine.models.own_onnx.drawing import summary
from engine.models.own_onnx.graph import ImportedGraph
from engine.models.own_onnx.interface import Port, example, inputs_of, outputs_of, picture_input, sizes_to_try
from engine.models.own_onnx.load import external_files, read
from engine.models.own_onnx.normalise import Prepared, prepare
from engine.models.own_onnx.operators import OperatorError
from engine.models.own_onnx.parity import RUNTIME_FAULTS, compare, finite, real_picture, real_pictures, rounding, run_session
from engine.models.own_onnx.preparation import Preparation, guess
from engine.models.own_onnx.restored import restore
from engine.models.own_onnx.roles import weights_inside
from engine.models.own_onnx.stored import apart, check_weight, map_beside, save, too_large, weight_bytes

__all__ = ["PREFIX", "Imported", "Named", "import_file", "load_backbone", "looked_at", "named", "open_imported", "reference"]

PREFIX = "onnx-"
"""How the name of an imported backbone begins."""

_VERSION = 2
_AGREES = 1e-3
"""Largest difference from ONNX Runtime, relative to the largest output."""

_ROUNDING, _EXPLAINED = 1e-2, 0.3
"""A network that makes much of the last digit may differ by so much, where single precision alone moves its own answer by this share of that."""

Report = Callable[[str, float], None]


@dataclass(frozen=True)
class Imported:
    """An imported file: where it lies and what is known about it."""

    id: str
    folder: Path
    about: dict[str, Any]

    @property
    def model(self) -> ModelProto:
        """The kept graph with its weights."""
        return map_beside(self.folder / "model.onnx")

    @property
    def preparation(self) -> Preparation | None:
        """How it wants its pictures; None if it takes none."""
        row = self.about["preparation"]
        return Preparation.from_json(row) if row else None

    def cut(self, wanted: str = "") -> Cut:
        """Return the proposed cut, or the one asked for.

        Raises:
            StudioError: if that one cannot be used.
        """
        if not wanted or wanted == self.about["cut"]["value"]:
            row = self.about["cut"]
            return Cut(**{**row, "shape": tuple(row["shape"])})
        return choose(self.model, {name: tuple(shape) for name, shape in self.about["shapes"].items()}, wanted)


def _digest(path: Path, model: ModelProto) -> str:
    state = hashlib.sha256(str(_VERSION).encode())
    for file in [path, *(path.parent / name for name in external_files(model))]:
        with file.open("rb") as stream:
            while block := stream.read(1 << 22):
                state.update(block)
    return state.hexdigest()[:20]


def _folder(model_id: str) -> Path:
    return workspace.home() / "models" / model_id


def open_imported(model_id: str) -> Imported:
    """Return an imported file by its id.

    Raises:
        StudioError: if it is not in the workspace.
    """
    folder = _folder(model_id)
    if Path(model_id).name != model_id or not (folder / "about.json").exists():
        raise StudioError("the ONNX file this started from is not in the workspace", "Drop the file again on the Start page.")
    return Imported(model_id, folder, workspace.read_json(folder / "about.json"))


def _remembered(path: Path) -> Imported | None:
    """A file that was imported and is gone since, or unchanged: found by its path, time and size."""
    index = workspace.home() / "models" / "paths.json"
    row = workspace.read_json(index).get(str(path.absolute())) if index.exists() else None
    if row is None or not (_folder(row["id"]) / "about.json").exists():
        return None
    if path.exists() and (path.stat().st_mtime_ns, path.stat().st_size) != tuple(row["stat"]):
        return None
    return open_imported(row["id"])


def _remember(path: Path, model_id: str) -> None:
    index = workspace.home() / "models" / "paths.json"
    rows = workspace.read_json(index) if index.exists() else {}
    stat = path.stat()
    rows[str(path.absolute())] = {"id": model_id, "stat": [stat.st_mtime_ns, stat.st_size]}
    workspace.write_json(index, rows)


def looked_at(path: Path) -> int:
    """Check a file, if it is not known, and return how many bytes it and its external data take.

    Raises:
        StudioError: if it is refused.
    """
    known = _remembered(path)
    return int(known.about["bytes"]) if known is not None else check(path)


def import_file(path: Path, *, checked: bool = False, report: Report = lambda _words, _share: None) -> Imported:
    """Check, understand and keep a file; a file that is known is found at once.

    Args:
        checked: `looked_at` has just seen it.

    Raises:
        StudioError: if it is refused, cannot be run, or nothing in it can describe a picture.
    """
    known = _remembered(path)
    if known is not None:
        return known
    report("Checking the file", 0.05)
    if not checked:
        check(path)
    light = read(path, weights=False)
    held = weight_bytes(light)
    check_weight(light, held)
    model_id = _digest(path, light)
    if not (_folder(model_id) / "about.json").exists():
        scratch = _folder(f"{model_id}.making")
        try:
            with apart(scratch if too_large(held) else None):
                _analyse(path, model_id, report)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    _remember(path, model_id)
    return open_imported(model_id)


def _analyse(path: Path, model_id: str, report: Report) -> None:
    report("Reading the network", 0.15)
    model = read(path)
    file_bytes = path.stat().st_size + sum((path.parent / name).stat().st_size for name in external_files(read(path, weights=False)))
    facts = summary(model, file_bytes)
    dtypes = {port.name: port.dtype for port in inputs_of(model)}
    report("Turning it into something that can learn", 0.3)
    prepared = prepare(model)
    ports = inputs_of(prepared.model)
    port = picture_input(ports)
    preparation = guess(prepared.model, port, dtypes.get(port.name)) if port is not None else None
    freed, why, size = _trained(prepared, ports, preparation)
    preparation = replace(preparation, image_size=size) if preparation is not None and size else preparation
    restored, cuts = 0, find_cuts(freed.model, freed.shapes) if freed is not None else None
    if freed is not None and port is not None and preparation is not None:
        restored = restore(
            freed.model, real_pictures(preparation, port) or [example([port], seed=seed, batch=1, size=preparation.image_size)[0] for seed in range(8)]
        )
    report("Comparing it with ONNX Runtime", 0.6)
    parity: dict[str, Any] = {}
    if freed is not None:
        parity, disagreement = _parity(path, prepared, freed, inputs_of(model), preparation if port is not None else None, size)
        if disagreement:
            freed, why, cuts = None, [disagreement], None
    if freed is None:
        kept, shapes, outputs = _floor(path, prepared.model)
    else:
        kept, shapes, outputs = freed.model, freed.shapes, None
    report("Finding where to cut", 0.85)
    cuts = cuts or find_cuts(kept, shapes)
    about = _about(path, facts, prepared, ports, port, preparation, kept, shapes, freed, why, parity, outputs, cuts)
    about["example_size"] = size
    if parity.get("rounding"):
        about["notes"].append(
            f"the network makes much of the last digit: full precision alone moves its answers by {parity['rounding']:.0e}, in ONNX Runtime too"
        )
    if freed is not None and restored:
        about["notes"].append(f"the exporter had merged BatchNorm into {restored} convolutions; it is a layer of its own again, with the same answers")
    folder = _folder(model_id)
    folder.mkdir(parents=True, exist_ok=True)
    save(kept, folder / "model.onnx", split=True)
    workspace.write_json(folder / "about.json", about)


def _trained(prepared: Prepared, ports: list[Port], preparation: Preparation | None) -> tuple[Freed | None, list[str], int]:
    """Try the trainable way: run it, and free its batch. Where the file leaves the size open, sizes are tried until one runs.

    Returns:
        The freed model, why there is none, and the size at which it ran.
    """
    faults = []
    inside = weights_inside(prepared.model.graph)
    if inside:
        return None, [f"its weights lie inside '{inside}', a part that runs or does not run depending on the input"], 0
    for size in sizes_to_try(ports, preparation.image_size if preparation else 0):
        try:
            return free_batch(prepared.model, example(ports, size=size), [port.batch_axis for port in ports]), [], size
        except OperatorError as error:
            faults.append(str(error))
    return None, faults[:1], 0


def _parity(path: Path, prepared: Prepared, freed: Freed, ports: list[Port], preparation: Preparation | None, size: int) -> tuple[dict[str, Any], str]:
    """Compare with ONNX Runtime on the dropped file; where that was quantised or half precision, also on the prepared graph."""
    module = ImportedGraph(freed.model)
    feeds = {"random": example(ports, seed=7, size=size)}
    port, batch = picture_input(inputs_of(freed.model)), feeds["random"][0].shape[0]
    picture = real_picture(preparation, port, batch) if port is not None and preparation is not None and port.channels in (1, 3, 4, None) else None
    if picture is not None:
        feeds["picture"] = [picture]
    result: dict[str, Any] = {}
    fault = ""
    for name, source in (("file", str(path)), ("prepared", prepared.model)):
        if name == "file" and prepared.counts.get("training_form"):
            continue
        if name == "prepared" and result.get("file") and max(row["max_rel"] for row in result["file"].values()) <= _AGREES:
            break
        try:
            session = session_of(source)
            result[name] = {kind: compare(module, session, feed) for kind, feed in feeds.items()}
        except RUNTIME_FAULTS as error:
            fault = str(error).splitlines()[0][:200]
    worst = {name: max(row["max_rel"] for row in rows.values()) for name, rows in result.items()}
    flat = {"runtime": "ok" if result else f"ONNX Runtime cannot run this file ({fault})", **result}
    if result:
        rows = result["file"] if np.isfinite(worst.get("file", np.inf)) or "prepared" not in result else result["prepared"]
        flat |= {"max_abs": max(row["max_abs"] for row in rows.values()), "max_rel": max(row["max_rel"] for row in rows.values())}
    least = min(worst.values(), default=0.0)
    words = f"the imported network and ONNX Runtime give different answers (by {least:.1e})" if np.isfinite(least) else "its answers are no finite numbers"
    if _AGREES < least <= _ROUNDING and (share := rounding(freed.model, feeds.values())) >= _EXPLAINED * least:
        return finite({**flat, "rounding": share}), ""
    return finite(flat), words if least > _AGREES else ""


def _floor(path: Path, prepared: ModelProto) -> tuple[ModelProto, dict[str, tuple[int, ...]], dict[str, Any]]:
    """The frozen way: ONNX Runtime must at least run the file. Returns the graph it runs, and shapes of its values."""
    original = read(path)
    faults = []
    for model in (original, prepared):
        own = inputs_of(model)
        session = None
        for size in sizes_to_try(own):
            inputs = example(own, size=size)
            try:
                session = session or session_of(model)
                run_session(session, inputs)
                shapes = _shapes_by_runtime(model, inputs)
            except RUNTIME_FAULTS as error:
                faults.append(str(error).splitlines()[0][:200])
                continue
            batch = own[0].shape[0] if own and own[0].shape else None
            return model, shapes, {"fixed_batch": batch, "ports": own}
    raise StudioError(
        f"neither Graft nor ONNX Runtime can run this network ({faults[0]})", "Export the model again, for opset 17 if your tool lets you choose."
    )


def _shapes_by_runtime(model: ModelProto, inputs: list[np.ndarray]) -> dict[str, tuple[int, ...]]:
    """Shapes of all values, by asking for every one of them."""
    open_model = ModelProto.FromString(model.SerializeToString())
    given = {value.name for value in open_model.graph.output}
    open_model.graph.output.extend(onnx.ValueInfoProto(name=name) for node in model.graph.node for name in node.output if name and name not in given)
    session = session_of(open_model)
    names = [item.name for item in session.get_outputs()]
    values = run_session(session, inputs, names)
    return {name: tuple(value.shape) for name, value in zip(names, values, strict=True) if isinstance(value, np.ndarray)}


def _about(
    path: Path,
    facts: dict[str, Any],
    prepared: Prepared,
    ports: list[Port],
    port: Port | None,
    preparation: Preparation | None,
    kept: ModelProto,
    shapes: dict[str, tuple[int, ...]],
    freed: Freed | None,
    why: list[str],
    parity: dict[str, Any],
    floor: dict[str, Any] | None,
    cuts: Cuts,
) -> dict[str, Any]:
    parameters = _parameters(kept) if freed is not None else {"total": 0, "trainable": 0}
    notes = list(prepared.notes) if freed is not None else []
    if freed is not None and freed.mended:
        notes.append(f"the batch size was fixed in {freed.mended} places and is free now")
    return {
        "file": path.name,
        **facts,
        "trainable": freed is not None,
        "why": why,
        "notes": notes,
        "inputs": [item.to_json() for item in ports],
        "outputs": [item.to_json() for item in outputs_of(prepared.model)],
        "port": (floor["ports"][0] if floor and floor["ports"] else port).to_json() if port is not None else None,  # type: ignore[union-attr]
        "fixed_batch": floor["fixed_batch"] if floor else None,
        "preparation": preparation.to_json() if preparation else None,
        "parameters": parameters,
        "made_for": cuts.made_for,
        "classes": cuts.classes,
        "cut": cuts.proposed.to_json(),
        "alternatives": [cut.to_json() for cut in cuts.alternatives],
        "parity": parity,
        "shapes": {name: list(shape) for name, shape in shapes.items() if isinstance(shape, tuple)},
    }


def _parameters(model: ModelProto) -> dict[str, Any]:
    module = ImportedGraph(model)
    weights = list(module.parameters())
    return {"total": sum(item.numel() for item in weights), "tensors": len(weights), "statistics": sum(1 for _ in module.buffers())}


def reference(imported: Imported, cut: Cut, fed: Mapping[str, str] | None = None) -> str:
    """Return what a model spec calls this backbone: a name that can be a file's, under which the cut is noted.

    Args:
        fed: what differs from the file in how pictures go in: "layout", "colours" ("bgr").
    """
    noted = {"value": cut.value, **fed} if fed else cut.value
    key = hashlib.sha256((json.dumps(noted, sort_keys=True) if fed else cut.value).encode()).hexdigest()[:8]
    index = imported.folder / "cuts.json"
    rows = workspace.read_json(index) if index.exists() else {}
    if rows.get(key) != noted:
        workspace.write_json(index, {**rows, key: noted})
    return f"{PREFIX}{imported.id}-{key}"


@dataclass(frozen=True)
class Named:
    """What a backbone's name in a model spec stands for: a file, a cut, and how pictures go in."""

    imported: Imported
    cut: Cut
    port: Port
    bgr: bool


def named(name: str) -> Named:
    """Return what a model spec names (see `reference`).

    Raises:
        StudioError: if it is not in the workspace, takes no pictures, or the cut is no longer in it.
    """
    model_id, _, key = name.removeprefix(PREFIX).partition("-")
    imported = open_imported(model_id)
    noted = workspace.read_json(imported.folder / "cuts.json").get(key, "")
    value, fed = (noted["value"], noted) if isinstance(noted, dict) else (noted, {})
    row = imported.about["port"]
    if row is None:
        raise StudioError("this network does not take pictures", "Choose a network with one picture input.")
    port = Port(row["name"], tuple(row["shape"]), row["dtype"], row["kind"], fed.get("layout", row["layout"]))
    return Named(imported, imported.cut(value), port, fed.get("colours") == "bgr")


def load_backbone(name: str) -> torch.nn.Module:
    """Build the backbone that a model spec names (see `reference`).

    Raises:
        StudioError: as `named` does.
    """
    found = named(name)
    model, about = found.imported.model, found.imported.about
    if about["trainable"]:
        return TrainableBackbone(model, found.cut, found.port, bgr=found.bgr)
    return FrozenFeatures(model, found.cut, found.port, about["fixed_batch"], bgr=found.bgr)
