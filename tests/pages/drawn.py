"""Pictures and data sets drawn for the page tests."""

from __future__ import annotations

import random
from pathlib import Path

from PIL import Image

COLOURS = {"red": (200, 40, 40), "green": (60, 180, 60), "blue": (40, 60, 200)}


def draw(path: Path, colour: tuple[int, int, int], seed: int) -> Path:
    """Draw a small JPEG of that colour with a few grey boxes; no two seeds look alike."""
    chance = random.Random(seed)
    picture = Image.new("RGB", (80, 60), colour)
    for _ in range(5):
        left, top = chance.randrange(60), chance.randrange(40)
        picture.paste((chance.randrange(255),) * 3, (left, top, left + chance.randrange(5, 20), top + chance.randrange(5, 20)))
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, "JPEG")
    return path


def class_folders(root: Path, *names: str, each: int = 8) -> Path:
    """Draw a folder a class."""
    for place, name in enumerate(names):
        for number in range(each):
            draw(root / name / f"{number}.jpg", list(COLOURS.values())[place % 3], 1000 * place + number)
    return root


def flat(root: Path, count: int = 6) -> Path:
    """Draw pictures without classes."""
    for number in range(count):
        draw(root / f"p{number}.jpg", list(COLOURS.values())[number % 2], 7000 + number)
    return root
