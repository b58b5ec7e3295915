"""The data side's speed and memory: import, large projects, label edits.

    python -m benchmarks.data                      the figures of RESULTS_DATA.md (about two minutes, on an idle machine)
    python -m benchmarks.data --pictures 500 --large 2000 --edits 200        a smoke test
    python -m benchmarks.data --only imports|memory|large|edits

1. imports: pictures a second from a folder (in place, and by copy), a zip and a COCO folder, of two moments:
   - until they are in the project, listed, shown and to be labelled: everything is read, hashed, measured by its header, copied where a folder
     is, and entered into the database on the disk. A zip is kept as it is until then. This is what is held against the bare cost of the same
     bytes: a loop in one thread that opens, reads and hashes each file or entry and does nothing else. An import has a helper process, so that
     it works on two processors where there are two.
   - until all are looked through, too: a zip's pictures are made files, and each is decoded once, so that a broken one is told now and not while
     training, and near copies are known; then they are divided into training, validation and test. A user need not wait for it.
   Where a folder is copied, the bare cost of also writing each to a file of its own is told, too: most of such an import is the disk's work.
   Figures are medians; each round measures the bare costs and every import once.
2. memory: the peak of a process that imports a zip of large files, and of one with the zip above
3. large: server time of what the Data page asks for, and of the page's whole script, in a project of 100,000 pictures
4. edits: single label edits a second through the store, each in a transaction of its own that has reached the disk
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

CLASSES = 20
BLOCK = 1 << 20


def command_line() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--side", type=int, default=96, help="their width and height in pixels: 96 makes files of 2.7 kB, 256 of 9 kB")
    parser.add_argument("--large", type=int, default=100_000, help="pictures of the large project")
    parser.add_argument("--zip-mb", type=int, default=1500, help="size of the zip of large files")
    parser.add_argument("--edits", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("imports", "memory", "large", "edits"))
    parser.add_argument("--folder", type=Path, help="where to work; its sources are kept and used again")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", nargs=3, metavar=("SOURCE", "WHERE", "HOME"), help=argparse.SUPPRESS)
    return parser.parse_args()


# ---------------------------------------------------------------- sources


def draw(root: Path, count: int, side_px: int) -> None:
    """Draw small JPEGs of blurred noise in class folders; no two are alike."""
    import numpy as np
    from PIL import Image

    chance = np.random.default_rng(0)
    for number in range(count):
        folder = root / f"class_{number % CLASSES:02}"
        folder.mkdir(parents=True, exist_ok=True)
        coarse = chance.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((side_px, side_px), Image.Resampling.BICUBIC).save(folder / f"{number:06}.jpg", quality=90)


def pack(root: Path, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(root.rglob("*.jpg")):
            archive.write(file, file.relative_to(root.parent).as_posix())


def describe(root: Path, coco: Path, side_px: int) -> None:
    """Link the pictures into a COCO folder, with two boxes in each."""
    (coco / "images").mkdir(parents=True)
    images: list[dict[str, Any]] = []
    boxes: list[dict[str, Any]] = []
    chance = random.Random(0)
    for number, file in enumerate(sorted(root.rglob("*.jpg")), 1):
        os.link(file, coco / "images" / file.name)
        images.append({"id": number, "file_name": file.name, "width": side_px, "height": side_px})
        for _ in range(2):
            left, top, wide, high = chance.randrange(60), chance.randrange(60), chance.randrange(8, 36), chance.randrange(8, 36)
            boxes.append(
                {
                    "id": len(boxes) + 1,
                    "image_id": number,
                    "category_id": 1 + number % CLASSES,
                    "bbox": [left, top, wide, high],
                    "area": wide * high,
                    "iscrowd": 0,
                }
            )
    categories = [{"id": place + 1, "name": f"class_{place:02}"} for place in range(CLASSES)]
    (coco / "annotations.json").write_text(json.dumps({"images": images, "annotations": boxes, "categories": categories}))


def sources(root: Path, count: int, side_px: int) -> dict[str, Path]:
    """Return folder, zip and COCO folder of the same pictures, made where they are not there yet."""
    found = {"folder": root / f"pictures-{side_px}-{count}", "zip": root / f"pictures-{side_px}-{count}.zip", "coco": root / f"coco-{side_px}-{count}"}
    if not found["coco"].exists():
        draw(found["folder"], count, side_px)
        pack(found["folder"], found["zip"])
        describe(found["folder"], found["coco"], side_px)
    return found


def large_zip(path: Path, megabytes: int) -> Path:
    """Write a zip of bitmaps of 12 MB each, stored."""
    import numpy as np
    from PIL import Image

    if path.exists():
        return path
    with zipfile.ZipFile(path, "w") as archive, tempfile.TemporaryDirectory(dir=path.parent) as folder:
        for number in range(max(2, megabytes // 12)):
            file = Path(folder) / "one.bmp"
            Image.fromarray(np.random.default_rng(number).integers(0, 256, (2000, 2000, 3), dtype=np.uint8)).save(file)
            archive.write(file, f"{'ab'[number % 2]}/{number}.bmp")
    return path


# ---------------------------------------------------------------- imports and memory


def bare_folder(path: Path) -> float:
    """Return the seconds that reading and hashing every file takes in one thread."""
    start = time.perf_counter()
    for folder, _, names in os.walk(path):
        for name in names:
            with Path(folder, name).open("rb") as file:
                hashlib.sha256(file.read()).digest()
    return time.perf_counter() - start


def bare_zip(path: Path) -> float:
    """Return the seconds that reading and hashing every entry takes in one thread."""
    start = time.perf_counter()
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            with archive.open(info) as file:
                content = hashlib.sha256()
                while block := file.read(BLOCK):
                    content.update(block)
    return time.perf_counter() - start


def writing(path: Path, root: Path) -> float:
    """Return the seconds that reading, hashing and writing every file to one of its own takes in one thread, without a flush."""
    with tempfile.TemporaryDirectory(dir=root) as into:
        for number in range(256):
            Path(into, f"{number:02x}").mkdir()

        start = time.perf_counter()
        for folder, _, names in os.walk(path):
            for name in names:
                content = Path(folder, name).read_bytes()
                named = hashlib.sha256(content).hexdigest()
                with Path(into, named[:2], named).open("xb", buffering=0) as file:
                    file.write(content)
        return time.perf_counter() - start


def import_one(source: str, where: str, home: str) -> None:
    """In a process of its own: import one source, and say how long it took and what memory it needed at most."""
    import resource

    os.environ["GRAFT_HOME"] = home
    from engine.data import importing, projects

    project = projects.create("Measured", "object-detection" if where == "coco" else "image-classification")
    moments: dict[str, tuple[float, float]] = {"start": (time.perf_counter(), time.process_time())}

    def stage(name: str) -> None:
        moments[name] = (time.perf_counter(), time.process_time())

    found = importing.import_path(project.id, Path(source), in_place=where in ("in place", "coco"), stage=stage)
    stage("end")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    row: dict[str, Any] = {"added": found.added, "peak_mb": peak, "kind": found.kind}
    for name, moment in (("in", "look"), ("looked", "end")):
        row[name] = {kind: moments[moment][place] - moments["start"][place] for place, kind in enumerate(("seconds", "processor"))}
    print(json.dumps(row))


def imported(source: Path, where: str, root: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=root) as home:
        done = subprocess.run([sys.executable, "-m", "benchmarks.data", "--one", str(source), where, home], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"importing {source.name} failed:\n{done.stderr[-1500:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def imports(given: argparse.Namespace, root: Path) -> dict[str, Any]:
    """Return for each source the medians of a few rounds."""
    made = sources(root, given.pictures, given.side)
    cases: dict[str, tuple[Path, str, Callable[[Path], float]]] = {
        "folder, in place": (made["folder"], "in place", bare_folder),
        "folder, copied": (made["folder"], "copy", bare_folder),
        "zip": (made["zip"], "copy", bare_zip),
        "COCO, in place": (made["coco"], "coco", bare_folder),
    }
    bares: dict[str, list[float]] = {name: [] for name in cases}
    copies: dict[str, list[float]] = {name: [] for name in cases}
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in cases}
    for _ in range(given.rounds):
        for name, (path, where, bare) in cases.items():
            bares[name].append(bare(path))
            if where == "copy" and path.is_dir():
                copies[name].append(writing(path, root))
            rounds[name].append(imported(path, where, root))
            assert rounds[name][-1]["added"] == given.pictures, f"{name}: {rounds[name][-1]['added']} of {given.pictures} pictures were added"
    return {name: _row_of(given.pictures, bares[name], copies[name], rounds[name]) for name in cases}


def _row_of(pictures: int, bares: list[float], copies: list[float], rounds: list[dict[str, Any]]) -> dict[str, Any]:
    bare = statistics.median(bares)
    row: dict[str, Any] = {"bare_per_s": round(pictures / bare), "peak_mb": round(max(one["peak_mb"] for one in rounds))}
    for name in ("in", "looked"):
        seconds = statistics.median(one[name]["seconds"] for one in rounds)
        processor = statistics.median(one[name]["processor"] for one in rounds)
        if copies and name == "in":
            row["times_bare_copying"] = round(seconds / statistics.median(copies), 2)
        row[name] = {"per_s": round(pictures / seconds), "times_bare": round(seconds / bare, 2), "processor_us_each": round(1e6 * processor / pictures)}
    return row


def memory(given: argparse.Namespace, root: Path) -> dict[str, Any]:
    found = imported(large_zip(root / f"large-{given.zip_mb}.zip", given.zip_mb), "copy", root)
    return {"zip_mb": given.zip_mb, "pictures": found["added"], "peak_mb": round(found["peak_mb"]), "seconds": round(found["looked"]["seconds"], 1)}


# ---------------------------------------------------------------- a large project, and edits


def fill(count: int) -> str:
    """Enter that many pictures into a new project, as an import of them would have left the database; return its id."""
    from sqlalchemy import insert

    from engine.data import items, projects, store

    project = projects.create(f"Large {count}")
    with store.session() as connection:
        class_ids = [items.class_id_of(connection, project.id, f"class_{place:02}") for place in range(CLASSES)]
        for start in range(0, count, 5000):
            numbers = range(start, min(start + 5000, count))
            rows = [_row(project.id, number) for number in numbers]
            ids = list(connection.scalars(insert(store.items).returning(store.items.c.id, sort_by_parameter_order=True), rows))
            marks = [{"item_id": one, "class_id": class_ids[place % CLASSES], "kind": "class", "by": "import", "created": 0.0} for place, one in enumerate(ids)]
            connection.execute(insert(store.marks), marks[: -len(marks) // 50])  # two in a hundred are still to be sorted
    return project.id


def _row(project_id: str, number: int) -> dict[str, Any]:
    split = "test" if number % 7 == 0 else "val" if number % 7 == 1 else "train"
    name = f"class_{number % CLASSES:02}/{number:06}.jpg"
    sha256 = hashlib.sha256(f"{project_id}{number}".encode()).hexdigest()
    size = {"width": 96, "height": 96}
    return {
        "project_id": project_id,
        "name": name,
        "path": f"/nowhere/{name}",
        "sha256": sha256,
        **size,
        "split": split,
        "split_given": False,
        "added": 0.0,
        "fingerprint": sha256[:16],
    }


def timed(work: Callable[[], Any], rounds: int = 7) -> dict[str, float]:
    """Return the median of a few calls in milliseconds, the first left out: by the clock, and of this process's processor time."""
    work()
    took, worked = [], []
    for _ in range(rounds):
        start, began = time.perf_counter(), time.process_time()
        work()
        took.append(time.perf_counter() - start)
        worked.append(time.process_time() - began)
    return {"ms": round(1000 * statistics.median(took), 1), "processor_ms": round(1000 * statistics.median(worked), 1)}


def large(given: argparse.Namespace, root: Path) -> dict[str, Any]:
    from streamlit.testing.v1 import AppTest

    from engine.data import items, projects, versions

    project = fill(given.large)
    deep = given.large - 100
    page = AppTest.from_file(str(Path(__file__).resolve().parents[1] / "pages" / "shell.py"), default_timeout=120)
    page.query_params["project"] = project
    page.run()

    def opened() -> None:
        page.switch_page("data.py").run()
        assert not page.exception, page.exception
        assert any(one.label == "Pictures" and one.value == f"{given.large:,}" for one in page.metric)

    def filtered() -> None:
        next(box for box in page.selectbox if box.label == "Class").select("class_07").run()
        assert not page.exception, page.exception

    def frozen() -> None:
        versions.freeze(project)

    return {
        "summary": timed(lambda: projects.summary(project)),
        "first page of pictures": timed(lambda: items.list_items(project, limit=36)),
        "last page of pictures": timed(lambda: items.list_items(project, offset=deep, limit=36)),
        "one class of one split, listed": timed(lambda: items.list_items(project, label="class_07", split="test", limit=36)),
        "one class of one split, counted": timed(lambda: items.count_items(project, label="class_07", split="test")),
        "still to sort, listed": timed(lambda: items.list_items(project, unlabelled=True, limit=36)),
        "still to sort, counted": timed(lambda: items.count_items(project, unlabelled=True)),
        "Data page opened": timed(opened, 5),
        "Data page filtered by class": timed(filtered, 5),
        "version frozen": timed(frozen, 2),
    }


def edits(given: argparse.Namespace, root: Path) -> dict[str, Any]:
    from engine.data import items, marks, projects

    project = fill(max(given.edits, 5000))
    names = items.classes(project)
    listed = items.list_items(project, limit=given.edits)
    start, began = time.perf_counter(), time.process_time()
    for number, item in enumerate(listed):
        items.set_label(item.id, names[number % CLASSES], item.revision)
    labels, worked = len(listed) / (time.perf_counter() - start), time.process_time() - began
    assert items.get_item(listed[3].id).label == names[3]
    assert projects.summary(project).items == max(given.edits, 5000)
    shape = {"box": [3.0, 4.0, 23.0, 34.0]}
    start = time.perf_counter()
    for number, item in enumerate(listed):
        marks.replace(item.id, [marks.Mark(names[number % CLASSES], "box", shape), marks.Mark(names[0], "box", shape)], item.revision + 1)
    return {
        "labels_per_s": round(labels),
        "by_processor_time_labels_per_s": round(len(listed) / worked),
        "pictures_with_two_boxes_per_s": round(len(listed) / (time.perf_counter() - start)),
    }


# ---------------------------------------------------------------- the whole


def table(found: dict[str, Any]) -> str:
    lines = []
    for name, row in found.get("imports", {}).items():
        into, looked = row["in"], row["looked"]
        copied = f" ({row['times_bare_copying']} x bare copying)" if "times_bare_copying" in row else ""
        words = f"in: {into['per_s']:,}/s, {into['times_bare']} x bare{copied}, {into['processor_us_each']} us of processor"
        lines.append((name, f"{words}; looked through: {looked['per_s']:,}/s, {looked['processor_us_each']} us; peak {row['peak_mb']} MB", "in: 1.5 x"))
    if "memory" in found:
        row = found["memory"]
        lines.append((f"zip of {row['zip_mb']:,} MB", f"peak {row['peak_mb']} MB, {row['seconds']} s", "under 500 MB"))
    lines += [
        (name, f"{took['ms']:,} ms (processor {took['processor_ms']:,} ms)", "" if name == "version frozen" else "under 500 ms")
        for name, took in found.get("large", {}).items()
    ]
    for name, count in found.get("edits", {}).items():
        lines.append((name.replace("_per_s", "").replace("_", " "), f"{count:,} edits/s", "500"))
    width = max(len(line[0]) for line in lines)
    return "\n".join(f"{name:<{width}}  {value:<134}  {goal}" for name, value, goal in lines)


def main() -> None:
    """Measure what was asked for over temporary workspaces and print it."""
    given = command_line()
    if given.one:
        return import_one(*given.one)
    parts = {"imports": imports, "memory": memory, "large": large, "edits": edits}
    with tempfile.TemporaryDirectory(prefix="graft-data-") as folder:
        root = given.folder or Path(folder)
        root.mkdir(parents=True, exist_ok=True)
        os.environ["GRAFT_HOME"] = str(Path(folder) / "home")
        found = {name: measure(given, root) for name, measure in parts.items() if given.only in (None, name)}
    print(json.dumps(found, indent=1) if given.json else table(found))
    return None


if __name__ == "__main__":
    main()
