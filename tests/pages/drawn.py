"""Pictures and data sets drawn for the page tests."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageDraw

from engine.data import samples
from engine.data.sample_pictures import ClassFolders

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


def damaged_inside(jpeg: bytes) -> bytes:
    """Spoil a JPEG where only decoding finds it: header, size and end are right, a table cannot be."""
    content = bytearray(jpeg)
    table = content.index(b"\xff\xc4")
    content[table + 5 : table + 21] = b"\xff" * 16
    return bytes(content)


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


THINGS = ("circle", "square")


def things_in(number: int) -> tuple[str, ...]:
    """What `things` draws in the picture of that number: each of four by turns, neither, one, the other, both."""
    return tuple(name for place, name in enumerate(THINGS) if number >> place & 1)


def things(root: Path, count: int, first: int = 0) -> Path:
    """Draw pictures of a large blue circle, a large red square, both or neither; no two are alike."""
    for number in range(first, first + count):
        chance = random.Random(number)
        picture = Image.new("RGB", (96, 96), (chance.randrange(190, 215),) * 3)
        pen = ImageDraw.Draw(picture)
        left, top = chance.randrange(4, 12), chance.randrange(4, 12)
        if "circle" in things_in(number):
            pen.ellipse((left, top, left + 40, top + 40), fill=(40, 60, 200))
        if "square" in things_in(number):
            pen.rectangle((left + 42, top + 40, left + 78, top + 76), fill=(200, 40, 40))
        for _ in range(4):
            x, y = chance.randrange(90), chance.randrange(90)
            pen.rectangle((x, y, x + 4, y + 4), fill=(chance.randrange(255),) * 3)
        path = root / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
    return root


def sorted_pictures(sample: str) -> Iterator[tuple[str, str, Image.Image]]:
    """Yield (split, class, picture) of a sample whose pictures are sorted into classes."""
    pictures = samples.sample(sample).pictures
    assert isinstance(pictures, ClassFolders)
    return pictures.pictures()
