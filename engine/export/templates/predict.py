"""Ask this model about pictures. Needs Python 3.11 or newer, onnxruntime, numpy and Pillow: pip install -r requirements.txt

python predict.py picture.jpg more/*.png          prints the five best answers for each; of a model that tags pictures, every tag it gives
python predict.py --json picture.jpg              one JSON object on one line for each
"""

# ruff: noqa: T201
from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


class Model:
    """The ONNX file beside this script, with its labels and the way it wants its pictures."""

    def __init__(self, path: str | Path) -> None:
        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        about = self.session.get_modelmeta().custom_metadata_map
        self.labels = json.loads(about["graft.labels"])
        self.thresholds = json.loads(about.get("graft.thresholds", "null"))  # of a model that tags: from which probability on a tag counts
        self.preprocessing = json.loads(about["graft.preprocessing"])
        self.short = max(self.preprocessing["image_size"], round(self.preprocessing["image_size"] / self.preprocessing["crop_share"]))

    def open(self, file: str | Path) -> Image.Image:
        """Open a picture file as RGB: turned upright, transparent places white, 16-bit greys scaled to 8."""
        with Image.open(file) as opened:
            opened.draft(None, (2 * self.short, 2 * self.short))  # a large JPEG is decoded at a half or quarter: much faster
            picture = ImageOps.exif_transpose(opened)
            if picture.mode.startswith(("I", "F")):
                return from_16_bit(picture)
            if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
                layer = picture.convert("RGBA")
                picture = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
            return picture.convert("RGB")

    def prepare(self, picture: Image.Image) -> np.ndarray:
        """Turn an RGB picture into float32 [3, size, size], 0..255: its central square (or all of it, for 'stretch'), resized, and the centre of that."""
        side, size = min(picture.size), self.preprocessing["image_size"]
        across, down = picture.size if self.preprocessing.get("fit") == "stretch" else (side, side)
        left, top = (picture.width - across) // 2, (picture.height - down) // 2
        interpolation = Image.Resampling[self.preprocessing["interpolation"].upper()]
        square = picture.crop((left, top, left + across, top + down)).resize((self.short, self.short), interpolation)
        edge = (self.short - size) // 2
        return np.asarray(square, np.float32)[edge : edge + size, edge : edge + size].transpose(2, 0, 1)

    def __call__(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        """Return one probability for each picture and label: float32 [pictures, labels]."""
        return self.session.run(None, {"images": np.stack([self.prepare(picture) for picture in pictures])})[0]

    def answers(self, picture: Image.Image, top: int) -> list[tuple[str, float]]:
        """Return labels with their probabilities, the most probable first: the `top` best, or every tag that reaches its threshold."""
        probabilities = self([picture])[0]
        order = np.argsort(-probabilities, kind="stable")
        shown = order[:top] if self.thresholds is None else [i for i in order if probabilities[i] >= self.thresholds[i]]
        return [(self.labels[i], float(probabilities[i])) for i in shown]


def from_16_bit(picture: Image.Image) -> Image.Image:
    """Scale grey values beyond 8 bits down to 8 (Pillow alone would cut them off at white)."""
    values = np.nan_to_num(np.asarray(picture).astype(np.float32))
    high = float(values.max(initial=0.0))
    full = 1.0 if high <= 1.0 and picture.mode == "F" else 255.0 if high <= 255.0 else 65535.0 if high <= 65535.0 else high
    return Image.fromarray((np.clip(values / full, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)).convert("RGB")


def main() -> int:
    """Read the command line, print the answers; return 1 if a file could not be read."""
    parser = argparse.ArgumentParser(description="Ask this model about pictures.")
    parser.add_argument("files", nargs="+", help="picture files")
    parser.add_argument("--model", default=Path(__file__).with_name("model.onnx"), help="the ONNX file (default: model.onnx beside this script)")
    parser.add_argument("--top", type=int, default=5, help="how many answers to show for each picture (default: 5); a model that tags shows every tag it gives")
    parser.add_argument("--json", action="store_true", help="print JSON, one line for each picture")
    chosen = parser.parse_args()
    model, failed = Model(chosen.model), False
    for file in chosen.files:
        try:
            best = model.answers(model.open(file), chosen.top)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            print(f"{file}: not a picture that can be read ({error})", file=sys.stderr)
            failed = True
            continue
        if chosen.json:
            key = "top" if model.thresholds is None else "tags"
            print(json.dumps({"file": file, key: [{"label": label, "probability": p} for label, p in best]}, ensure_ascii=False))
        else:
            print(file, *([f"  {p:6.1%}  {label}" for label, p in best] or ["  none of its tags"]), sep="\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
