"""A network past protobuf's 2 GB, from the file to the file: made, X-rayed, retrained and run, all through the shell's commands.

    python -m benchmarks.onnx_large [--gigabytes 2.2] [--width 8192] [--epochs 1] [--json FILE]

Writes an ONNX file with external data (a few convolutions, then fully connected layers of that width until the size is reached) and small
pictures, to a temporary folder that needs five times the size and is removed afterwards. Prints seconds and peak memory of each step.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
from onnx import TensorProto, helper

__all__ = ["make"]

_SIDE, _CLASSES = 64, 12
_ROOT = Path(__file__).resolve().parents[1]


def make(path: Path, gigabytes: float, width: int = 8192) -> Path:
    """Write the network; its numbers go to `path`.data one layer at a time, so that making it takes no memory worth naming."""
    chance, layers, stored = np.random.default_rng(0), max(1, round(gigabytes * 1e9 / 4 / width**2)), []
    data = path.with_name(f"{path.name}.data")
    with data.open("wb") as stream:

        def store(name: str, *shape: int) -> str:
            array = chance.standard_normal(shape, np.float32)
            array *= np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.01
            tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)
            for key, value in (("location", data.name), ("offset", stream.tell()), ("length", array.nbytes)):
                tensor.external_data.add(key=key, value=str(value))
            array.tofile(stream)
            stored.append(tensor)
            return name

        nodes, last, channels = [], "images", 3
        for depth, out in enumerate((16, 32, 64)):
            inputs = [last, store(f"stem.{depth}.weight", out, channels, 3, 3), store(f"stem.{depth}.bias", out)]
            nodes.append(helper.make_node("Conv", inputs, [f"c{depth}"], f"/stem.{depth}/Conv", strides=[2, 2], pads=[1, 1, 1, 1]))
            nodes.append(helper.make_node("Relu", [f"c{depth}"], [f"r{depth}"], f"/stem.{depth}/Relu"))
            last, channels = f"r{depth}", out
        nodes.append(helper.make_node("GlobalAveragePool", [last], ["pooled"], "/pool/GlobalAveragePool"))
        nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"], "/flatten/Flatten"))
        last, features = "flat", channels
        for depth in range(layers + 1):
            inputs = [last, store(f"layers.{depth}.weight", width, features), store(f"layers.{depth}.bias", width)]
            nodes.append(helper.make_node("Gemm", inputs, [f"g{depth}"], f"/layers.{depth}/Gemm", transB=1))
            nodes.append(helper.make_node("Relu", [f"g{depth}"], [f"h{depth}"], f"/layers.{depth}/Relu"))
            last, features = f"h{depth}", width
        nodes.append(helper.make_node("Gemm", [last, store("head.weight", _CLASSES, width), store("head.bias", _CLASSES)], ["scores"], "/head/Gemm", transB=1))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "large", [value("images", TensorProto.FLOAT, [1, 3, _SIDE, _SIDE])], [value("scores", TensorProto.FLOAT, [1, _CLASSES])], stored
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="benchmarks.onnx_large")
    path.write_bytes(model.SerializeToString())
    return path


def pictures(folder: Path, each: int = 20) -> Path:
    """Write small pictures of two kinds: reddish and bluish noise."""
    from PIL import Image

    chance = np.random.default_rng(1)
    for kind, channel in (("red", 0), ("blue", 2)):
        (folder / kind).mkdir(parents=True)
        for number in range(each):
            pixels = chance.integers(0, 120, (_SIDE, _SIDE, 3), np.uint8)
            pixels[..., channel] += 100
            Image.fromarray(pixels).save(folder / kind / f"{number}.png")
    return folder


class Peak:
    """Watches the memory of this program's commands and the workers they start: the largest resident size, and what of it no file backs."""

    def __init__(self, home: Path) -> None:
        self.home, self.resident, self.own, self._over = str(home), 0, 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            for process in psutil.process_iter():
                try:
                    if process.pid != os.getpid() and process.environ().get("GRAFT_HOME") == self.home:
                        found = process.memory_info()
                        self.resident, self.own = max(self.resident, found.rss), max(self.own, found.rss - found.shared)
                except (psutil.Error, OSError):
                    continue


def step(name: str, home: Path, rows: list[dict[str, Any]], *words: str) -> dict[str, Any]:
    """Run one of Graft's shell commands; return what it answers."""
    began = time.perf_counter()
    with Peak(home) as peak:
        command = [sys.executable, "-m", "engine", *words, "--json"]
        done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, env={**os.environ, "GRAFT_HOME": str(home)}, check=False)
    seconds = time.perf_counter() - began
    if done.returncode:
        sys.exit(f"{name}: {done.stdout}{done.stderr}")
    rows.append({"step": name, "seconds": round(seconds, 1), "resident_gb": round(peak.resident / 1e9, 2), "own_gb": round(peak.own / 1e9, 2)})
    print(f"{name:28}{seconds:8.1f} s{peak.resident / 1e9:8.2f} GB resident, {peak.own / 1e9:.2f} GB of it its own", flush=True)
    return json.loads(done.stdout)


def answers(path: Path, pixels: np.ndarray) -> np.ndarray:
    """Run the exported file in ONNX Runtime, by its path, with nothing of Graft around."""
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"images": pixels})[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=2.2)
    parser.add_argument("--width", type=int, default=8192)
    parser.add_argument("--set", nargs="+", default=["phases=head"], help="settings of the training, as the shell's `train --set` takes them")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="graft-large-", ignore_cleanup_errors=True) as name:
        folder, home = Path(name), Path(name) / "home"
        (folder / "upload").mkdir()
        file = make(folder / "upload" / "large.onnx", given.gigabytes, given.width)
        print(f"{file.with_name(file.name + '.data').stat().st_size / 1e9:.2f} GB of weights beside a graph of {file.stat().st_size:,} bytes")
        told = step("X-ray", home, rows, "xray", str(file))
        print(f"  {told['parameters']['total']:,} weights; trainable: {told['trainable']}; parity {told['parity'].get('max_rel')}; cut: {told['cut']['value']}")
        step("pictures", home, rows, "import", str(pictures(folder / "pictures")), "--project", "Large")
        settings = [word for setting in given.set for word in ("--set", setting)]
        told = step("training", home, rows, "train", "--project", "Large", "--start", str(file), *settings, "--wait")
        run = told["id"] if "id" in told else told["run"]
        step("ONNX file", home, rows, "export", run, "-o", str(folder / "retrained.onnx"))
        onnx.checker.check_model(str(folder / "retrained.onnx"))
        pixels = np.random.default_rng(2).integers(0, 256, (2, 3, _SIDE, _SIDE)).astype(np.float32)
        found = answers(folder / "retrained.onnx", pixels)
        print(f"  ONNX Runtime, by path: {found.shape}, sums {found.sum(1).round(4).tolist()}")
        asked = step("predict", home, rows, "predict", str(folder / "retrained.onnx"), str(folder / "pictures" / "red" / "0.png"))
        print(f"  a red picture: {asked['predictions'][0]['top'][0]}")
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1))
    return 0 if np.allclose(found.sum(1), 1, atol=1e-4) else 1


if __name__ == "__main__":
    sys.exit(main())
