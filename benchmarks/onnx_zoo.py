"""Door three on real architectures: does each exported network import, agree, learn everywhere, and go out again?

Each architecture (torchvision, timm, transformers where installed; random weights, BatchNorm with random statistics) is
exported in several ways: the older exporter and the newer, fixed and free batch, opsets 11 to 21, float32 and float16.
Every file goes through the same door as a user's: checked in a child process, imported, cut, run, trained a step, written back.
Other files can be added with --files; those that travel inside packages are `benchmarks.onnx_packaged`'s.

    python -m benchmarks.onnx_zoo [--limit N] [--only NAME] [--ways ts,free,dynamo,half] [--json FILE] [--files FILE ...]

Columns: the path (trainable or floor), the largest difference from ONNX Runtime relative to the largest output, whether a
gradient reaches every weight, whether one optimiser step lowers the loss, whether the file written back agrees with torch.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.layers import set_fused_attn
from torch import nn

from benchmarks.onnx_zoo_networks import OPSETS, WAYS, architectures, export, shake

PARITY, PARITY_HALF, REEXPORT = 1e-4, 5e-3, 1e-3
"""Files of half precision compute with three digits themselves."""


@dataclass
class Row:
    """What became of one file."""

    name: str
    way: str
    opset: int = 0
    path: str = ""
    parity: float | None = None
    parity_prepared: float | None = None
    gradient: bool | None = None
    lowers: bool | None = None
    again: float | None = None
    made_for: str = ""
    cut: str = ""
    seconds: float = 0.0
    fault: str = ""


def examine(path: Path, row: Row) -> None:
    """Bring a file through the door and note what held."""
    from engine.models.own_onnx.library import import_file

    found = import_file(path)
    row.path = "trainable" if found.about["trainable"] else "floor"
    row.opset = row.opset or found.about["opset"]
    row.made_for, row.cut = found.about["made_for"], found.about["cut"]["value"]
    row.fault = "; ".join(found.about["why"])
    parity = found.about["parity"]
    row.parity, row.parity_prepared = (
        max((rest["max_rel"] if rest["max_rel"] is not None else float("inf") for rest in parity[key].values()), default=None) if key in parity else None
        for key in ("file", "prepared")
    )
    if row.path == "trainable":
        (learn_pictures if found.about["port"] else learn_anything)(found, row)


def stepped(module: nn.Module, loss_of: Callable[[], torch.Tensor], row: Row) -> None:
    """Send a gradient back, note whom it misses, and take one small step."""
    weights = [item for item in module.parameters() if item.requires_grad]
    before = loss_of()
    before.backward()
    missed = [name for name, item in module.named_parameters() if item.grad is None or not bool(item.grad.abs().sum() > 0)]
    row.gradient = not missed
    if missed:
        row.fault = f"no gradient at {len(missed)} of {len(weights)}: {', '.join(missed[:4])}"
    square = sum(float(item.grad.double().square().sum()) for item in weights if item.grad is not None)
    start = [item.detach().clone() for item in weights]
    row.lowers = False
    for share in (0.02, 0.002, 0.0002):
        with torch.no_grad():
            for item, old in zip(weights, start, strict=True):
                item.copy_(old if item.grad is None else old - share * float(before) / max(square, 1e-30) * item.grad)
            row.lowers = row.lowers or bool(loss_of() < before)
        if row.lowers:
            return


def still(module: nn.Module) -> None:
    """Training mode without chance, so that the loss before and after a step can be compared."""
    module.train()
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.eval()


def learn_pictures(found: Any, row: Row) -> None:
    """One step with a new head, then write the network back and compare."""
    import onnxruntime

    from engine.models.own_onnx.library import load_backbone, reference
    from engine.models.own_onnx.write import write

    torch.manual_seed(0)
    backbone = load_backbone(reference(found, found.cut()))
    head = nn.Linear(backbone.num_features, 4)
    module = nn.Sequential(backbone, head)
    size = found.preparation.image_size
    images, labels = torch.randn(4, 3, size, size), torch.arange(4)
    still(module)
    stepped(module, lambda: nn.functional.cross_entropy(module(images), labels), row)
    module.eval()
    proto = write(backbone, head, found.preparation.mean, found.preparation.std, size)
    pixels = torch.rand(2, 3, size, size) * 255
    mean, std = (255 * torch.tensor(value).view(1, 3, 1, 1) for value in (found.preparation.mean, found.preparation.std))
    with torch.no_grad():
        expected = module((pixels - mean) / std).softmax(1).numpy()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    answer = onnxruntime.InferenceSession(proto.SerializeToString(), options).run(None, {"images": pixels.numpy()})[0]
    row.again = float(np.abs(answer - expected).max())


def learn_anything(found: Any, row: Row) -> None:
    """The same for networks that take no pictures: the loss is on whatever they give out."""
    from engine.models.own_onnx.backbone import session_of
    from engine.models.own_onnx.graph import ImportedGraph
    from engine.models.own_onnx.interface import example, inputs_of
    from engine.models.own_onnx.operators.types import from_numpy
    from engine.models.own_onnx.stored import tensor_of

    model = found.model
    module = ImportedGraph(model)
    arrays = example(inputs_of(model), batch=2, size=found.about["example_size"])
    inputs = [from_numpy(item) for item in arrays]
    torch.manual_seed(0)

    def loss_of() -> torch.Tensor:
        result = module(*inputs)
        first = result[0] if isinstance(result, tuple) else result
        generator = torch.Generator().manual_seed(0)
        return (first - torch.randn(first.shape, generator=generator)).square().mean()

    still(module)
    stepped(module, loss_of, row)
    module.eval()
    values = module.stored_values()
    for item in model.graph.initializer:
        if item.name in values and values[item.name].is_floating_point():
            item.CopyFrom(tensor_of(values[item.name].detach().numpy(), item.name))
    with torch.no_grad():
        result = module(*inputs)
    expected = (result[0] if isinstance(result, tuple) else result).numpy()
    session = session_of(model)
    answer = session.run(None, {port.name: array for port, array in zip(session.get_inputs(), arrays, strict=True)})[0]
    row.again = float(np.abs(answer - expected).max() / max(np.abs(expected).max(), 1e-12))


def attempt(row: Row, make: Callable[[Path], None]) -> Row:
    """Make a file, examine it in a workspace of its own, and keep whatever went wrong as the row's fault."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GRAFT_HOME"] = str(Path(folder) / "home")
        file = Path(folder) / "upload" / "model.onnx"
        file.parent.mkdir()
        try:
            make(file)
        except Exception as error:  # noqa: BLE001 (an exporter's failure is none of ours, and is told apart)
            row.path, row.fault = "not exported", f"{type(error).__name__}: {str(error).splitlines()[0][:120] if str(error) else ''}"
            return row
        began = time.perf_counter()
        try:
            examine(file, row)
        except Exception as error:  # noqa: BLE001 (whatever happens is the result here)
            row.path, row.fault = row.path or "refused", f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"
    row.seconds = round(time.perf_counter() - began, 1)
    gc.collect()
    return row


def shown(row: Row) -> str:
    """Format a row."""

    def mark(value: bool | None) -> str:
        return "-" if value is None else "yes" if value else "NO"

    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.0e}"

    best = min((value for value in (row.parity, row.parity_prepared) if value is not None), default=None)
    figures = f"{number(best):>8}{mark(row.gradient):>6}{mark(row.lowers):>6}{number(row.again):>8}{row.seconds:7.1f}"
    return f"{row.name:42}{row.way:8}{row.opset:5}  {row.path:13}{figures}  {row.made_for:15}{row.fault[:140]}".rstrip()


def agrees(row: Row) -> bool:
    """Tell whether the imported network gives ONNX Runtime's answers."""
    best = min((value for value in (row.parity, row.parity_prepared) if value is not None), default=1.0)
    return best <= (PARITY_HALF if row.way == "half" else PARITY)


def totals(rows: list[Row]) -> Iterator[str]:
    """Sum up."""
    files = [row for row in rows if row.path != "not exported"]
    count = max(len(files), 1)
    trainable = [row for row in files if row.path == "trainable"]
    imported = [row for row in files if row.path in ("trainable", "floor")]
    yield f"{len({row.name for row in files})} networks, {len(files)} files ({len(rows) - len(files)} more their exporter could not write)"
    yield f"imported: {len(imported)} ({100 * len(imported) / count:.1f}%), on the trainable path: {len(trainable)} ({100 * len(trainable) / count:.1f}%)"
    for words, held in (
        (f"agree with ONNX Runtime to {PARITY:g} (half precision: {PARITY_HALF:g})", agrees),
        ("gradient reaches every weight", lambda row: row.gradient),
        ("one step lowers the loss", lambda row: row.lowers),
        (f"written back, agree to {REEXPORT:g}", lambda row: row.again is not None and row.again <= REEXPORT),
    ):
        yield f"{words}: {sum(bool(held(row)) for row in trainable)} of {len(trainable)}"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=int, default=0, help="at most so many architectures")
    parser.add_argument("--only", default="", help="architectures with this in their name")
    parser.add_argument("--ways", default=",".join(WAYS), help="how to export: " + ", ".join(WAYS))
    parser.add_argument("--json", type=Path, help="append each result here, and skip those that are in it already")
    parser.add_argument("--files", nargs="*", type=Path, default=[], help="ONNX files to examine as well")
    parser.add_argument("--seconds", type=float, default=0.0, help="stop after so long; with --json the next call goes on from there")
    parser.add_argument("--none", action="store_true", help="no architectures, only files")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    torch.backends.mha.set_fastpath_enabled(False)  # the older exporter does not know the fused form
    set_fused_attn(False)
    rows = [Row(**json.loads(line)) for line in arguments.json.read_text().splitlines()] if arguments.json and arguments.json.exists() else []
    done = {(row.name, row.way) for row in rows}

    def keep(row: Row) -> None:
        rows.append(row)
        print(shown(row), flush=True)
        if arguments.json:
            with arguments.json.open("a") as file:
                file.write(json.dumps(asdict(row)) + "\n")

    until = time.monotonic() + (arguments.seconds or float("inf"))
    print(f"{'network':42}{'way':8}{'opset':>5}  {'path':13}{'parity':>8}{'grad':>6}{'step':>6}{'again':>8}{'s':>7}")
    chosen = [] if arguments.none else [item for item in architectures() if arguments.only in item[0]]
    ways = arguments.ways.split(",")
    chosen = chosen[: arguments.limit or None]
    for shift in range(len(ways)):  # every network one way, then every network the next: a run that is cut short has seen them all
        for index, (name, build) in enumerate(chosen):
            way = ways[(index + shift) % len(ways)]
            if (name, way) in done or time.monotonic() > until:
                continue
            opset = OPSETS[way][index % len(OPSETS[way])]

            def make(file: Path, build: Any = build, way: str = way, opset: int = opset) -> None:
                module, inputs = build()
                shake(module)
                try:
                    export(module, inputs, way, opset, file)
                except Exception:  # noqa: BLE001 (an operator the exporter knows only in its newest opset)
                    module, inputs = build()
                    shake(module)
                    export(module, inputs, way, max(OPSETS["free"]), file)

            keep(attempt(Row(name, way, opset), make))
    for file in arguments.files:
        if (file.name, "file") not in done:
            keep(attempt(Row(file.name, "file"), lambda target, file=file: shutil.copyfile(file, target)))
    print("\n" + "\n".join(totals(rows)))


if __name__ == "__main__":
    main()
