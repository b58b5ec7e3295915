"""What training an imported network costs against the same architecture built natively: pictures a second, and memory.

    python -m benchmarks.onnx_speed [--models resnet18 ...] [--rounds 7] [--batch 16] [--json FILE] [--quick]

Native and imported take turns in one process, a step each (forward, backward, AdamW) on the same pictures, in the layout Graft picks most
often (channels last), fp32; the figure is the median over rounds of one's time over the other's. Memory is the peak of a process of its own
that builds the network and trains a few steps, as a worker does. Some five minutes in all. Bars: speed at least 0.95, memory at most 1.1.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import photographs

MODELS = ("resnet18", "resnet50", "mobilenetv3_small_100", "tf_efficientnet_lite0", "convnext_atto", "vit_tiny_patch16_224")
BARS = {"speed": 0.95, "memory": 1.1}
_BATCH, _SIZE, _STEPS = 16, 224, 3


def native(name: str) -> Any:
    """Build the architecture without a head."""
    import timm
    import torch
    from timm.layers import set_fused_attn

    set_fused_attn(True)
    torch.manual_seed(0)
    return timm.create_model(name, num_classes=0)


def exported(name: str, folder: Path) -> str:
    """Export it with a head, import the file, and return the backbone's name."""
    import timm
    import torch
    from timm.layers import set_fused_attn

    from benchmarks.onnx_zoo_networks import export, shake
    from engine.models.own_onnx.library import import_file, reference

    set_fused_attn(False)  # the older exporter does not know the fused form
    torch.manual_seed(0)
    made = timm.create_model(name, num_classes=10)
    shake(made)
    path = folder / f"{name}.onnx"
    export(made, (torch.randn(1, 3, _SIZE, _SIZE),), "ts", 17, path)
    found = import_file(path)
    assert found.about["trainable"], found.about["why"]
    return reference(found, found.cut())


class Trained:
    """A network that can be trained one step at a time."""

    def __init__(self, backbone: Any, batch: int) -> None:
        import torch
        from torch import nn

        from engine.models.build import Network, _width
        from engine.training import optim

        self.network = Network(backbone, nn.Linear(_width(backbone), 10)).to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), 1e-4, fused=True)
        self.images = torch.randn(batch, 3, _SIZE, _SIZE).contiguous(memory_format=torch.channels_last)
        self.labels = torch.arange(batch) % 10
        optim.training_mode(self.network, keep_statistics=True)

    def step(self) -> float:
        """Train one step; return its seconds."""
        from torch import nn

        began = time.perf_counter()
        self.optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(self.network(self.images), self.labels).backward()
        self.optimizer.step()
        return time.perf_counter() - began


def speed(name: str, backbone: str, rounds: int, batch: int) -> tuple[float, float]:
    """Return native seconds a step, and the median of native over imported."""
    from engine.models.own_onnx.library import load_backbone

    both = (Trained(native(name), batch), Trained(load_backbone(backbone), batch))
    for one in both:
        one.step()
    pairs = []
    for index in range(rounds):
        order = both if index % 2 else both[::-1]
        seconds = {id(one): one.step() for one in order}
        pairs.append((seconds[id(both[0])], seconds[id(both[1])]))
    return median(first for first, _ in pairs), median(first / second for first, second in pairs)


def memory(which: str, batch: int) -> int:
    """Return this process's peak in bytes after training a few steps of a network: a timm name, or an imported one."""
    from engine.models.own_onnx.library import PREFIX, load_backbone

    one = Trained(load_backbone(which) if which.startswith(PREFIX) else native(which), batch)
    for _ in range(_STEPS):
        one.step()
    row = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(row.split()[1]) * 1024


def in_its_own_process(which: str, batch: int) -> int:
    """Return `memory` of a fresh process."""
    command = [sys.executable, "-m", "benchmarks.onnx_speed", "--memory", which, "--batch", str(batch)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ).stdout.split()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=_BATCH)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="two networks, two rounds, batch 4: does it run?")
    given = parser.parse_args()
    photographs.like_a_worker("benchmarks.onnx_speed")
    if given.memory:
        print(memory(given.memory, given.batch))
        return 0
    names, rounds, batch = (given.models[:2], 2, 4) if given.quick else (given.models, given.rounds, given.batch)
    rows = []
    print(f"{'network':34}{'native':>10}{'speed':>8}{'native':>10}{'memory':>8}")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GRAFT_HOME"] = folder
        for name in names:
            backbone = exported(name, Path(folder))
            seconds, ratio = speed(name, backbone, rounds, batch)
            own, theirs = in_its_own_process(name, batch), in_its_own_process(backbone, batch)
            rows.append(
                {"network": name, "native_step_s": round(seconds, 3), "speed": round(ratio, 3), "native_mb": own >> 20, "memory": round(theirs / own, 3)}
            )
            print(f"{name:34}{seconds:8.2f} s{ratio:8.2f}{own >> 20:7} MB{theirs / own:8.2f}", flush=True)
    totals = {key: median(row[key] for row in rows) for key in BARS}
    print(f"median: speed {totals['speed']:.2f} (bar {BARS['speed']}), memory {totals['memory']:.2f} (bar {BARS['memory']})")
    if given.json:
        given.json.write_text(json.dumps({"rows": rows, "median": totals}, indent=1))
    return 0 if given.quick or (totals["speed"] >= BARS["speed"] and totals["memory"] <= BARS["memory"]) else 1


if __name__ == "__main__":
    sys.exit(main())
