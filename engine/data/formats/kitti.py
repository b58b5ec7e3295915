"""KITTI, as TAO takes it: a text file a picture, a line a box with 15 columns (https://docs.nvidia.com/tao)."""

from __future__ import annotations

from engine.data.formats.base import DAMAGE, DataSet, Drawn, Format, Found, Tally, box, label_name, one, split_in
from engine.data.formats.files import Files
from engine.errors import StudioError

__all__ = ["FORMATS"]

_COLUMNS = 15
MOST_BYTES = 16 * 2**20


def _line(line: str) -> bool:
    cells = line.split()
    if len(cells) < _COLUMNS:
        return False
    try:
        [float(cell) for cell in cells[-14:]]
    except ValueError:
        return False
    return not cells[0].replace(".", "").replace("-", "").isdigit()


def _detect(files: Files) -> float:
    texts = files.named(".txt")
    some = texts[:: max(1, len(texts) // 40)][:60]
    lines = [line for name in some for line in files.head(name).decode("latin-1").splitlines()[:3] if line.strip()]
    good = sum(_line(line) for line in lines)
    return 0.92 if good and 2 * good >= len(lines) else 0.0


def _read(files: Files) -> DataSet | None:
    data, tally = DataSet("kitti", task="object-detection"), Tally()
    taken: dict[str, Found] = {}
    for name in files.named(".txt"):
        try:
            text = files.text(name, MOST_BYTES)
        except StudioError as error:
            tally.add(f"a label file was not used: {error.problem}")
            continue
        lines = [line for line in text.splitlines() if line.strip()]
        if lines and not any(_line(line) for line in lines):
            continue
        picture = _picture(files, name)
        if picture is None or picture in taken:
            if lines:
                data.used.add(name)
                tally.add(
                    "a label file has no picture of its name" if picture is None else "two label files are about the same picture; the first counts", name
                )
            continue
        data.used.add(name)
        taken[picture] = Found(picture, None, _split(picture), None, tuple(_marks(lines, name, tally)), True)
    if not taken:
        return None
    data.pictures = [taken[name] for name in sorted(taken)]
    rest = [name for name in files.pictures if name not in taken]
    data.pictures += [Found(name, None, _split(name)) for name in rest]
    if rest:
        data.problems.append(f"{one(len(rest), 'picture has', 'pictures have')} no label file and come{'s' if len(rest) == 1 else ''} without labels")
    data.problems += tally.sentences()
    return data


def _picture(files: Files, name: str) -> str | None:
    parts = name.split("/")
    nearby = [folder.replace("label", "image") for folder in parts[-2:-1]] + ["image_2", "images", "image"]
    return files.finder.same_stem(name, ["/".join([*parts[:-2], folder]) for folder in nearby] + ["/".join(parts[:-1])])


def _split(picture: str) -> str | None:
    return split_in(picture.rpartition("/")[0])


def _marks(lines: list[str], name: str, tally: Tally) -> list[Drawn]:
    marks = []
    for line in lines:
        cells = line.split()
        values = cells[-14:] if len(cells) == _COLUMNS or not _is_score(cells) else cells[-15:-1]
        label = " ".join(cells[: len(cells) - len(values) - (0 if values[-1] is cells[-1] else 1)])
        if label.casefold() == "dontcare":
            tally.add("a 'DontCare' region is not kept", name)
            continue
        try:
            marks.append(box(label_name(label), values[3:7]))
        except DAMAGE as error:
            words = str(error)
            tally.add(words if words.startswith("a box") else "a line is damaged and was left out", name)
    return marks


def _is_score(cells: list[str]) -> bool:
    """Tell whether the last of sixteen columns is a confidence: then the second column is still 'truncated', a number."""
    try:
        return len(cells) == _COLUMNS + 1 and float(cells[1]) >= -1
    except ValueError:
        return False


FORMATS = (Format("kitti", "KITTI", "a text file for each picture with 15 columns", _detect, _read),)
