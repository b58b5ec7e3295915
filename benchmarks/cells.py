"""Every cell of the table of architectures against backbones: does it build, train three steps, and export to a file that answers the same?

    python -m benchmarks.cells                         each architecture on the smallest backbone of every family
    python -m benchmarks.cells --architectures fcos unet --backbones resnet18 efficientnet_lite0
    python -m benchmarks.cells --each 2 --json         two backbones a family, as JSON
    python -m benchmarks.cells --into cells.csv        keep a row a cell; what has passed by that file is not run again

Random weights and pictures of 128 px: this is about whether things fit, not about how well they learn. A cell passes if the loss on a fixed
batch falls within three steps and ONNX Runtime's answer agrees with torch's for a batch of another size. What does not go together is
counted by its reason. Fails (exit 1) if an offered cell does not pass.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CLASSES, BATCH, STEPS = 3, 3, 3
SIZE_PX = 128
MOST_PARAMS_M = 60
SCORES_WITHIN = 1e-3
"""Largest difference of scores, of class shares, and of mask shares on average."""
LEAST_SCORE = 0.02
"""Boxes that score less are not compared."""
SAME_BOX = 0.98


def scenes(task: str, size: int, batch: int = BATCH, seed: int = 0) -> tuple[Any, Any]:
    """Return noisy pictures with bright rectangles, one class a colour, and their targets; the first picture of a detection batch is empty."""
    import torch

    g = torch.Generator().manual_seed(seed)
    images = torch.randn(batch, 3, size, size, generator=g) * 0.5
    labels_BHW = torch.zeros(batch, size, size, dtype=torch.int64)
    targets = []
    for picture in range(batch):
        boxes, labels = [], []
        for number in range(0 if picture == 0 and task != "semantic-segmentation" else 3):
            width, height = (int(torch.randint(size // 5, size // 2, (), generator=g)) for _ in range(2))
            x, y = (int(torch.randint(0, size - side, (), generator=g)) for side in (width, height))
            kind = (picture + number) % CLASSES
            images[picture, kind, y : y + height, x : x + width] += 2
            labels_BHW[picture, y : y + height, x : x + width] = kind + 1
            boxes.append([x, y, x + width, y + height])
            labels.append(kind)
        masks = torch.zeros(len(boxes), size, size, dtype=torch.bool)
        for number, (x1, y1, x2, y2) in enumerate(boxes):
            masks[number, y1:y2, x1:x2] = True
        row = {"boxes_N4": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), "labels_N": torch.tensor(labels, dtype=torch.int64)}
        targets.append(row | ({"masks_NHW": masks} if task == "instance-segmentation" else {}))
    labels_BHW[:, -4:] = 255
    return images, labels_BHW if task == "semantic-segmentation" else targets


def train(network: Any, images: Any, targets: Any, steps: int = STEPS, rate: float = 5e-4) -> list[float]:
    """Train on one fixed batch; return the loss before each step and after the last. Samplers draw the same each time."""
    import torch

    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), rate)
    losses = []
    for step in range(steps + 1):
        torch.manual_seed(0)
        loss = sum(network.loss(network(images), targets).values())
        losses.append(float(loss.detach()))
        if step < steps:
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
    return losses


def compare(task: str, ours: Sequence[Any], theirs: Sequence[Any]) -> dict[str, Any]:
    """Compare the tensors that `for_export` names. Lists of boxes are compared as sets: each box must find one of its class that lies where it lies
    and scores as it scores. Left out is what scores hardly anything, and what two cut-off lists may disagree on: scores at the cut.

    Returns:
        {"boxes": how many were compared, "unmatched": how many found no partner, "max_score": largest difference of scores of pairs,
        "max_mask": largest mean difference of their masks, "passed"}; for pixels {"max_share", "passed"}.
    """
    import numpy as np

    if task == "semantic-segmentation":
        largest = float(np.abs(ours[0] - theirs[0]).max())
        return {"max_share": largest, "passed": largest <= SCORES_WITHIN}
    answer: dict[str, Any] = {"boxes": 0, "unmatched": 0, "max_score": 0.0, "max_mask": 0.0}
    for picture in range(len(ours[0])):
        for left, right in ((ours, theirs), (theirs, ours)):
            _one_way([part[picture] for part in left], [part[picture] for part in right], answer)
    answer["passed"] = answer["unmatched"] == 0 and answer["max_mask"] <= SCORES_WITHIN
    return answer


def _one_way(left: Sequence[Any], right: Sequence[Any], answer: dict[str, Any]) -> None:
    import numpy as np

    boxes_D6, others_D6 = left[0], right[0]
    cut = max(float(boxes_D6[-1, 4]), float(others_D6[-1, 4]), LEAST_SCORE) + SCORES_WITHIN
    for place in np.flatnonzero(boxes_D6[:, 4] > cut):
        overlap_D = _overlaps(boxes_D6[place], others_D6)
        score_D = np.abs(others_D6[:, 4] - boxes_D6[place, 4])
        fits_D = (others_D6[:, 5] == boxes_D6[place, 5]) & (overlap_D >= SAME_BOX) & (score_D <= SCORES_WITHIN)
        answer["boxes"] += 1
        if not fits_D.any():
            answer["unmatched"] += 1
            continue
        apart_D = score_D - overlap_D
        if len(left) > 1:  # several questions may find the same box with the same score, and outline it differently
            masks_D = np.array([np.abs(left[1][place] - right[1][other]).mean() if fits else np.inf for other, fits in enumerate(fits_D)])
            answer["max_mask"] = max(answer["max_mask"], float(masks_D.min()))
            apart_D = masks_D
        answer["max_score"] = max(answer["max_score"], float(score_D[np.where(fits_D, apart_D, np.inf).argmin()]))


def _overlaps(box_6: Any, others_D6: Any) -> Any:
    """Intersection over union of one box with many; 1 where both are empty at the same place."""
    import numpy as np

    low_D2, high_D2 = np.maximum(box_6[:2], others_D6[:, :2]), np.minimum(box_6[2:4], others_D6[:, 2:4])
    common_D = np.clip(high_D2 - low_D2, 0, None).prod(1)
    areas_D = (others_D6[:, 2:4] - others_D6[:, :2]).prod(1) + (box_6[2:4] - box_6[:2]).prod() - common_D
    same_D = np.abs(others_D6[:, :4] - box_6[:4]).max(1) < 1e-2
    return np.where(same_D, 1.0, common_D / np.maximum(areas_D, 1e-9))


def parity(network: Any, images: Any) -> dict[str, Any]:
    """Export, run in ONNX Runtime on the whole batch (the graph was made from one picture), and compare."""
    import numpy as np
    import onnxruntime
    import torch

    from engine.models.dense import for_export
    from engine.models.dense.onnx_form import to_onnx

    module = for_export(network.eval())
    content = to_onnx(module, images[:1]).SerializeToString()
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    with torch.no_grad():
        ours = [part.numpy() for part in module(images)]
    theirs = [np.asarray(part) for part in session.run(list(module.output_names), {"images": images.numpy()})]
    assert all(np.isfinite(part).all() for part in ours), "not finite"
    return compare(network.task, ours, theirs) | {"mb": round(len(content) / 1e6, 1)}


def run_cell(architecture: str, backbone: str, size: int = SIZE_PX) -> dict[str, Any]:
    """Build, train three steps and export one cell."""
    from engine.models import dense

    seconds = {}
    began = time.perf_counter()
    network = dense.build(architecture, backbone, CLASSES, size)
    seconds["build_s"] = time.perf_counter() - began
    images, targets = scenes(network.task, size)
    began = time.perf_counter()
    losses = train(network, images, targets)
    seconds["step_s"] = (time.perf_counter() - began) / (STEPS + 1)
    began = time.perf_counter()
    found = parity(network, images)
    seconds["export_s"] = time.perf_counter() - began
    rounded = {name: round(value, 2) for name, value in seconds.items()}
    return {"architecture": architecture, "backbone": backbone, "losses": losses, "falls": min(losses[1:]) < losses[0], **found, **rounded}


def smallest(each: int) -> list[str]:
    """Return the names of the smallest backbones of every family."""
    from engine.models import catalogue

    families: dict[str, list[Any]] = {}
    for row in sorted(catalogue.backbones(), key=lambda row: row.params_m):
        if row.params_m <= MOST_PARAMS_M:
            families.setdefault(row.family, []).append(row)
    return [row.name for family in sorted(families) for row in families[family][:each]]


def tell(cell: dict[str, Any]) -> str:
    """Return one line about a cell."""
    if "fault" in cell:
        return f"FAILS {cell['architecture']}/{cell['backbone']}: {cell['fault']}"
    verdict = "ok   " if good(cell) else "FAILS"
    agreed = f"shares within {cell['max_share']:.0e}" if "max_share" in cell else f"{cell['boxes']} boxes, {cell['unmatched']} unmatched"
    losses = f"loss {cell['losses'][0]:.2f} -> {cell['losses'][-1]:.2f}"
    return f"{verdict} {cell['architecture']}/{cell['backbone']}: {losses}; {agreed}; step {cell['step_s']} s, export {cell['export_s']} s, {cell['mb']} MB"


COLUMNS = ("architecture", "backbone", "passed", "loss", "loss_after", "compared", "worst", "step_s", "export_s", "mb", "fault")


def good(cell: dict[str, Any]) -> bool:
    """Tell whether a cell did all that it should."""
    return "fault" not in cell and cell["passed"] and cell["falls"]


def keep(cell: dict[str, Any], into: Path) -> None:
    """Add a cell's row to a file. `compared` are boxes, empty for pixels; `worst` is the largest difference of scores or of shares."""
    row = {"architecture": cell["architecture"], "backbone": cell["backbone"], "passed": "yes" if good(cell) else "no", "fault": cell.get("fault", "")}
    if "fault" not in cell:
        row |= {name: cell[name] for name in ("step_s", "export_s", "mb")}
        row |= {"loss": round(cell["losses"][0], 3), "loss_after": round(cell["losses"][-1], 3)}
        row |= {"compared": cell.get("boxes", ""), "worst": f"{cell.get('max_share', cell.get('max_score')):.0e}"}
    with into.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if not file.tell():
            writer.writeheader()
        writer.writerow(row)


def kept(into: Path | None) -> set[tuple[str, str]]:
    """Return the cells that passed, by a file of earlier ones; those that failed are run again."""
    if into is None or not into.exists():
        return set()
    with into.open(newline="", encoding="utf-8") as file:
        return {(row["architecture"], row["backbone"]) for row in csv.DictReader(file) if row["passed"] == "yes"}


def main() -> int:
    """Run the chosen cells and print what came of them."""
    from engine.models import catalogue
    from engine.models.dense import ARCHITECTURES, pyramid

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architectures", nargs="*", default=list(ARCHITECTURES))
    parser.add_argument("--backbones", nargs="*", default=[])
    parser.add_argument("--each", type=int, default=1, help="backbones a family")
    parser.add_argument("--part", default="1/1", help="such as 2/3: every third backbone, from the second on")
    parser.add_argument("--into", type=Path, help="a CSV file")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    part, parts = map(int, asked.part.split("/"))
    done = kept(asked.into)
    cells: list[dict[str, Any]] = []
    refused: Counter[str] = Counter()
    for name in (asked.backbones or smallest(asked.each))[part - 1 :: parts]:
        for architecture in asked.architectures:
            row = catalogue.backbone(name)
            reason = ARCHITECTURES[architecture].takes(row)
            if reason:
                refused[reason.replace(row.title, "the backbone")] += 1
                continue
            if (architecture, name) in done:
                continue
            try:
                cell = run_cell(architecture, name, max(SIZE_PX, pyramid(name).size_step))
            except Exception as fault:  # noqa: BLE001 (a cell that fails must not hide the others)
                cell = {"architecture": architecture, "backbone": name, "fault": f"{type(fault).__name__}: {str(fault)[:160]}"}
            cells.append(cell)
            if asked.into:
                keep(cell, asked.into)
            if not asked.json:
                print(tell(cell), flush=True)
    bad = [cell for cell in cells if not good(cell)]
    if asked.json:
        print(json.dumps({"cells": cells, "refused": refused}))
    else:
        for reason, count in refused.most_common():
            print(f"not offered, {count} cells: {reason}")
        print(f"{len(cells)} cells, {len(bad)} failed; {sum(refused.values())} not offered")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
