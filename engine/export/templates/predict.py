"""Sort pictures with this model. Needs Python 3.9 or newer, onnxruntime, numpy and Pillow: pip install -r requirements.txt

python predict.py picture.jpg more/*.png          prints the five best answers for each
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
        self.preprocessing = json.loads(about["graft.preprocessing"])

    def prepare(self, picture: Image.Image) -> np.ndarray:
        """Turn a PIL picture into float32 [3, size, size], RGB, 0..255: resize the short side, cut out the centre."""
        size = self.preprocessing["image_size"]
        short = round(size / self.preprocessing["crop_share"])
        picture = to_rgb(picture)
        scale = short / min(picture.size)
        wide, high = (max(short, round(side * scale)) for side in picture.size)
        picture = picture.resize((wide, high), Image.Resampling[self.preprocessing["interpolation"].upper()])
        left, top = (wide - size) // 2, (high - size) // 2
        return np.asarray(picture.crop((left, top, left + size, top + size)), np.float32).transpose(2, 0, 1)

    def __call__(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        """Return one probability for each picture and label: float32 [pictures, labels]."""
        return self.session.run(None, {"images": np.stack([self.prepare(picture) for picture in pictures])})[0]


def to_rgb(picture: Image.Image) -> Image.Image:
    """Turn the picture upright and into RGB; transparent places become white."""
    picture = ImageOps.exif_transpose(picture)
    return picture.convert("RGB")


def main() -> int:
    """Read the command line, print the answers; return 1 if a file could not be read."""
    parser = argparse.ArgumentParser(description="Sort pictures with this model.")
    parser.add_argument("files", nargs="+", help="picture files")
    parser.add_argument("--model", default=Path(__file__).with_name("model.onnx"), help="the ONNX file (default: model.onnx beside this script)")
    parser.add_argument("--top", type=int, default=5, help="how many answers to show for each picture (default: 5)")
    parser.add_argument("--json", action="store_true", help="print JSON, one line for each picture")
    chosen = parser.parse_args()
    model, failed = Model(chosen.model), False
    for file in chosen.files:
        try:
            with Image.open(file) as picture:
                probabilities = model([picture])[0]
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            print(f"{file}: not a picture that can be read ({error})", file=sys.stderr)
            failed = True
            continue
        best = [(model.labels[i], float(probabilities[i])) for i in np.argsort(-probabilities, kind="stable")[: chosen.top]]
        if chosen.json:
            print(json.dumps({"file": file, "top": [{"label": label, "probability": p} for label, p in best]}, ensure_ascii=False))
        else:
            print(file, *(f"  {p:6.1%}  {label}" for label, p in best), sep="\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
