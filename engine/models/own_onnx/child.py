"""Checks a file in a child process with a limit on time and memory, so that no file can hang or crash what asked.

    python -m engine.models.own_onnx.child FILE

prints one line of JSON: {"ok": true, "bytes": N} or {"problem", "remedy"}. Torch-free.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from engine.errors import StudioError
from engine.models.own_onnx.limits import CHECK_MEMORY_BYTES, CHECK_SECONDS

__all__ = ["check", "main"]

_ROOT = Path(__file__).resolve().parents[3]
_AGAIN = "Export the model again with its framework's own ONNX exporter, then drop that file here."


def check(path: Path, *, seconds: float = CHECK_SECONDS) -> int:
    """Check a file, in at most so many seconds; return how many bytes it and its external data take.

    Raises:
        StudioError: with one sentence if it is refused; also if checking it takes too long or too much memory.
    """
    command = [sys.executable, "-m", "engine.models.own_onnx.child", str(path.absolute())]
    try:
        done = subprocess.run(command, cwd=_ROOT, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds + _slack(path), check=False)
    except subprocess.TimeoutExpired as error:
        raise StudioError(f"{path.name} could not be checked within {seconds:.0f} seconds", "It may be damaged or made to do harm. " + _AGAIN) from error
    lines = done.stdout.decode(errors="replace").strip().splitlines()
    try:
        answer = json.loads(lines[-1])
    except (IndexError, ValueError) as error:
        raise StudioError(f"{path.name} needs more than a gigabyte just to be looked at, or breaks the reader", _AGAIN) from error
    if "problem" in answer:
        raise StudioError(answer["problem"], answer["remedy"])
    return int(answer["bytes"])


def _slack(path: Path) -> float:
    """A large file takes time to read: a second for every 200 MB."""
    try:
        return path.stat().st_size / 2e8
    except OSError:
        return 0.0


def _limit(path: Path) -> None:
    if sys.platform == "win32":  # no such limits there; the time limit stays
        return
    import resource

    memory = CHECK_MEMORY_BYTES + 3 * (path.stat().st_size if path.is_file() else 0)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    budget = int(CHECK_SECONDS + _slack(path)) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (budget, budget))


def main(path: Path) -> dict[str, object]:
    """Check a file in this process and return the answer."""
    _limit(path)
    try:
        from engine.models.own_onnx.inspect import inspect
        from engine.models.own_onnx.load import external_files, read

        model = read(path, weights=False)
        inspect(model)
        return {"ok": True, "bytes": path.stat().st_size + sum((path.parent / name).stat().st_size for name in external_files(model))}
    except StudioError as error:
        return {"problem": error.problem, "remedy": error.remedy}
    except MemoryError:
        return {"problem": f"{path.name} needs more than a gigabyte just to be looked at", "remedy": _AGAIN}
    except (RecursionError, ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError, StopIteration, UnicodeError, RuntimeError) as error:
        return {"problem": f"{path.name} is damaged ({type(error).__name__} while reading its structure)", "remedy": _AGAIN}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]))) + "\n")
