"""Find things with this model. Needs Python 3.11 or newer, onnxruntime, numpy and Pillow: pip install -r requirements.txt

python predict.py picture.jpg more/*.png          prints what it finds in each
python predict.py --json picture.jpg              one JSON object on one line for each
python predict.py --draw out picture.jpg          writes the pictures with what was found drawn in
"""

# ruff: noqa: T201
from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image, ImageDraw, ImageOps

COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000")


class Model:
    """The ONNX file beside this script, with its labels and the way it wants its pictures."""

    def __init__(self, path: str | Path) -> None:
        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        about = self.session.get_modelmeta().custom_metadata_map
        self.labels = json.loads(about["graft.labels"])
        self.preprocessing = json.loads(about["graft.preprocessing"])
        self.outputs = [output.name for output in self.session.get_outputs()]

    def open(self, file: str | Path) -> Image.Image:
        """Open a picture file as RGB: turned upright, transparent places white, 16-bit greys scaled to 8."""
        with Image.open(file) as opened:
            picture = ImageOps.exif_transpose(opened)
            if picture.mode.startswith(("I", "F")):
                return from_16_bit(picture)
            if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
                layer = picture.convert("RGBA")
                picture = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
            return picture.convert("RGB")

    def prepare(self, picture: Image.Image) -> tuple[np.ndarray, tuple[int, int]]:
        """Turn an RGB picture into float32 [3, height, width], 0..255, and say how many of its pixels, across and down, the picture fills."""
        height, width = self.preprocessing["height"], self.preprocessing["width"]
        scale = min(width / picture.width, height / picture.height)
        content = (min(width, max(1, round(picture.width * scale))), min(height, max(1, round(picture.height * scale))))
        frame = np.full((height, width, 3), self.preprocessing["fill"], np.float32)
        frame[: content[1], : content[0]] = np.asarray(picture.resize(content, Image.Resampling[self.preprocessing["interpolation"].upper()]), np.float32)
        return frame.transpose(2, 0, 1), content

    def __call__(self, picture: Image.Image, least: float = 0.3) -> list[dict[str, Any]]:
        """Return the things found in a picture: label, score, box (x1 y1 x2 y2 in its pixels), and mask (bool [height, width]) where there is one."""
        frame, content = self.prepare(picture)
        found = [output[0] for output in self.session.run(self.outputs, {"images": frame[None]})]
        if self.outputs == ["probabilities"]:
            return self.areas(found[0], picture.size, content)
        scale = np.tile(np.array(content) / picture.size, 2)
        things = []
        for place, (*corners, score, label) in enumerate(found[0]):
            if score < least or score <= 0:
                continue
            box = (np.array(corners) / scale).clip(0, np.tile(picture.size, 2)).tolist()
            thing = {"label": self.labels[int(label)], "score": float(score), "box": box}
            if len(found) > 1:
                thing["mask"] = resized(found[1][place] > 0.5, picture.size, content)
            things.append(thing)
        return things

    def areas(self, probabilities: np.ndarray, size: tuple[int, int], content: tuple[int, int]) -> list[dict[str, Any]]:
        """Return one thing for each class that occurs: all its pixels."""
        classes, sure = resized(probabilities.argmax(0), size, content), resized(probabilities.max(0), size, content)
        things = []
        for value in np.unique(classes[classes > 0]):
            mask = classes == value
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            box = [float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)]
            things.append({"label": self.labels[int(value) - 1], "score": float(sure[mask].mean()), "box": box, "mask": mask})
        return sorted(things, key=lambda thing: -thing["score"])


def resized(frame: np.ndarray, size: tuple[int, int], content: tuple[int, int]) -> np.ndarray:
    """Bring what the model says of its frame back to the picture: each pixel takes the one under its centre."""
    columns, rows = (((np.arange(side) + 0.5) * (inside / side)).astype(int) for side, inside in zip(size, content, strict=True))
    return frame[rows[:, None], columns[None, :]]


def from_16_bit(picture: Image.Image) -> Image.Image:
    """Scale grey values beyond 8 bits down to 8 (Pillow alone would cut them off at white)."""
    values = np.nan_to_num(np.asarray(picture).astype(np.float32))
    high = float(values.max(initial=0.0))
    full = 1.0 if high <= 1.0 and picture.mode == "F" else 255.0 if high <= 255.0 else 65535.0 if high <= 65535.0 else high
    return Image.fromarray((np.clip(values / full, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)).convert("RGB")


def drawn(picture: Image.Image, things: list[dict[str, Any]], labels: list[str]) -> Image.Image:
    """Draw boxes, names and masks into a picture."""
    for thing in reversed(things):
        colour = COLOURS[labels.index(thing["label"]) % len(COLOURS)]
        if "mask" in thing:
            shade = Image.fromarray((thing["mask"] * 110).astype(np.uint8))
            picture.paste(Image.new("RGB", picture.size, colour), (0, 0), shade)
        brush = ImageDraw.Draw(picture)
        brush.rectangle(thing["box"], outline=colour, width=max(2, picture.width // 300))
        brush.text((thing["box"][0] + 4, thing["box"][1] + 2), f"{thing['label']} {thing['score']:.0%}", fill=colour)
    return picture


def main() -> int:
    """Read the command line, print the answers; return 1 if a file could not be read."""
    parser = argparse.ArgumentParser(description="Find things with this model.")
    parser.add_argument("files", nargs="+", help="picture files")
    parser.add_argument("--model", default=Path(__file__).with_name("model.onnx"), help="the ONNX file (default: model.onnx beside this script)")
    parser.add_argument("--least", type=float, default=0.3, help="how sure it must be of a thing, 0 to 1 (default: 0.3)")
    parser.add_argument("--json", action="store_true", help="print JSON, one line for each picture")
    parser.add_argument("--draw", type=Path, metavar="FOLDER", help="write the pictures there, with what was found drawn in")
    chosen = parser.parse_args()
    model, failed = Model(chosen.model), False
    for file in chosen.files:
        try:
            picture = model.open(file)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            print(f"{file}: not a picture that can be read ({error})", file=sys.stderr)
            failed = True
            continue
        things = model(picture, chosen.least)
        if chosen.draw:
            chosen.draw.mkdir(parents=True, exist_ok=True)
            drawn(picture, things, model.labels).save(chosen.draw / f"{Path(file).stem}.png")
        plain = [{key: value for key, value in thing.items() if key != "mask"} for thing in things]
        if chosen.json:
            print(json.dumps({"file": file, "things": plain}, ensure_ascii=False))
        else:
            print(file, *(f"  {one['score']:6.1%}  {one['label']}  at {', '.join(f'{edge:.0f}' for edge in one['box'])}" for one in plain), sep="\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
