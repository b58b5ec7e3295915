"""The laws of ARCHITECTURE.md and the house rules, held by reading the code (and once by running it)."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"torch", "torchvision", "timm", "transformers", "tensorrt", "tensorrt_rtx", "torchmetrics", "safetensors.torch", "onnxscript"}
"""What the UI process must never import."""

BASE = {f"engine.{name}" for name in ("errors", "events", "locks", "recipe", "runs", "workspace", "devices", "warm", "work")}
"""The torch-free ground. Everything may import it; it imports nothing above itself."""

ARROWS = {
    "engine.data": BASE,
    "engine.tasks": BASE | {"engine.data", "engine.evaluation"},  # what labels are, how figures are defined and reports written: no torch
    "engine.models": BASE | {"engine.data", "engine.tasks"},
    "engine.training": BASE | {"engine.data", "engine.tasks", "engine.models", "engine.evaluation"},
    "engine.evaluation": BASE | {"engine.data", "engine.export"},  # explanations run the exported file
    "engine.export": BASE | {"engine.data", "engine.tasks", "engine.models", "engine.evaluation.answers", "engine.evaluation.boxes"},  # what answers are
    **dict.fromkeys(BASE, BASE),
}
"""Which part may import which. Parts that are not listed (worker, jobs, zygote, cli) join the others together and may import all of the engine."""

BROAD_EXCEPTS = {"engine/worker.py": 1, "pages/parts/state.py": 1}
LONG_LINES = 400
LONG_FUNCTION = 60
REASON = re.compile(r"[Ll]onger than 400 lines because")


def sources(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py")) if "migrations" not in path.parts]
    return [*found, ROOT / "app.py"] if "pages" in folders and (ROOT / "app.py").exists() else found


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.with_suffix(".py").exists() or path.is_dir()


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Yield each imported module and its line, wherever in the file it stands. `from engine import runs` is engine.runs."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield (full if is_module(full) or full in HEAVY else node.module), node.lineno


def within(module: str, parts: set[str]) -> bool:
    return any(module == part or module.startswith(part + ".") for part in parts)


def named(path: Path, line: int, words: str) -> str:
    return f"{path.relative_to(ROOT)}:{line} {words}"


def test_the_engine_never_imports_the_user_interface() -> None:
    wrong = [named(path, line, name) for path in sources("engine") for name, line in imports(path) if within(name, {"streamlit", "pages", "app"})]
    assert wrong == []


def test_pages_never_import_torch_and_friends() -> None:
    wrong = [named(path, line, name) for path in sources("pages") for name, line in imports(path) if within(name, HEAVY)]
    assert wrong == []


def test_imports_are_absolute() -> None:
    wrong = [
        named(path, node.lineno, "is a relative import")
        for path in sources("engine", "pages")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert wrong == []


@pytest.mark.parametrize("part", sorted(ARROWS))
def test_arrows_run_one_way(part: str) -> None:
    wrong = []
    for path in sources("engine"):
        if not within(module_of(path), {part}):
            continue
        for name, line in imports(path):
            if within(name, {"engine"}) and name != "engine" and not within(name, ARROWS[part] | {part}):
                wrong.append(named(path, line, f"imports {name}"))
    assert wrong == []


def test_every_arrow_is_about_something_that_exists() -> None:
    assert [name for name in ARROWS if not is_module(name)] == []


@pytest.mark.parametrize(
    "module",
    ["engine.models.catalogue", "engine.models.dense.table", "engine.models.weights", "engine.tasks", "engine.data", "engine.evaluation", *sorted(BASE)],
)
def test_the_torch_free_part_names_no_torch_at_its_top(module: str) -> None:
    wrong = []
    for path in sources("engine"):
        if within(module_of(path), {module}):
            top = [node for node in parsed(path).body if isinstance(node, ast.Import | ast.ImportFrom)]
            names = {alias.name for node in top if isinstance(node, ast.Import) for alias in node.names}
            names |= {node.module or "" for node in top if isinstance(node, ast.ImportFrom)}
            wrong += [named(path, 1, name) for name in names if within(name, HEAVY)]
    if module == "engine.tasks":  # heads are networks; the tasks import them where they build one
        wrong = [words for words in wrong if not words.startswith("engine/tasks/heads.py")]
    assert wrong == []


def test_all_that_pages_import_runs_without_torch() -> None:
    """Import every engine module and every part that any page names, in a fresh process, and look at what came with them."""
    names = sorted({name for path in sources("pages") for name, _ in imports(path) if within(name, {"engine", "pages"}) and not name.startswith("pages.shell")})
    assert "engine.runs" in names
    pages = {module_of(path) for path in sources("pages") if path.parent.name == "pages"}
    names = [name for name in names if name not in pages or name in ("pages.gate", "pages.routes")]  # a page script runs when imported
    code = (
        f"import importlib, sys\nfor name in {names!r}:\n    importlib.import_module(name)\n"
        f"came = sorted({HEAVY!r} & set(sys.modules))\nassert not came, came\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]


def test_no_file_is_long_without_a_reason() -> None:
    long = {}
    for path in sources("engine", "pages"):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > LONG_LINES and not REASON.search(ast.get_docstring(parsed(path)) or ""):
            long[str(path.relative_to(ROOT))] = lines
    assert long == {}


def test_no_function_is_long() -> None:
    long = [
        named(path, node.lineno, f"{node.name} has {node.end_lineno - node.lineno + 1} lines")
        for path in sources("engine", "pages")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno and node.end_lineno - node.lineno + 1 > LONG_FUNCTION
    ]
    assert long == []


def broad(node: ast.ExceptHandler) -> bool:
    caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    return any(one is None or (isinstance(one, ast.Name) and one.id in ("Exception", "BaseException")) for one in caught)


def test_everything_is_caught_in_two_places_only() -> None:
    found: dict[str, int] = {}
    for path in sources("engine", "pages"):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ExceptHandler) and broad(node):
                name = str(path.relative_to(ROOT))
                found[name] = found.get(name, 0) + 1
    assert {name: count for name, count in found.items() if count > BROAD_EXCEPTS.get(name, 0)} == {}


def test_nothing_is_unpickled() -> None:
    wrong = []
    for path in sources("engine", "pages"):
        wrong += [named(path, line, name) for name, line in imports(path) if within(name, {"pickle", "joblib", "dill", "cloudpickle", "shelve", "marshal"})]
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load" and "weights_only=True" not in ast.unparse(node):
                wrong.append(named(path, node.lineno, "torch.load without weights_only"))
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False":
                wrong.append(named(path, node.value.lineno, "allow_pickle"))
    assert wrong == []


def public_surface(path: Path) -> tuple[set[str] | None, set[str], set[str]]:
    """Return (__all__ or None, every name the module binds at its top, its own public functions and classes)."""
    stated: set[str] | None = None
    bound, own = set(), set()
    for node in ast.walk(ast.Module([node for node in parsed(path).body if not isinstance(node, ast.FunctionDef | ast.ClassDef)], [])):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
        elif isinstance(node, ast.alias):
            bound.add(node.asname or node.name.split(".")[0])
    for node in parsed(path).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bound.add(node.name)
            own |= {node.name} if not node.name.startswith("_") else set()
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            stated = set(ast.literal_eval(node.value))
    return stated, bound, own


def with_surface() -> list[Path]:
    left_out = {"__main__.py", "templates"}
    return [path for path in sources("engine") if not left_out & set(path.parts)]


def test_every_module_states_its_surface_truly() -> None:
    wrong = []
    for path in with_surface():
        stated, bound, own = public_surface(path)
        if path.name == "__init__.py" and stated is None and not own:
            continue
        if stated is None:
            wrong.append(named(path, 1, "has no __all__"))
            continue
        wrong += [named(path, 1, f"__all__ names {name}, which is not there") for name in sorted(stated - bound)]
        wrong += [named(path, 1, f"{name} is public but not in __all__") for name in sorted(own - stated)]
    assert wrong == []


def test_every_module_says_what_it_owns() -> None:
    assert [str(path.relative_to(ROOT)) for path in sources("engine", "pages") if not ast.get_docstring(parsed(path)) and path.read_text().strip()] == []


def test_no_file_names_a_place_on_one_machine() -> None:
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    places = ["/wo" + "rk/", "/ro" + "ot/", f"{ROOT}/", f"{Path.home()}/"]  # cut in two: this file is tracked as well
    place = re.compile("|".join(rf"(?<![\w.~]){re.escape(one)}[\w.]" for one in places if len(one) > 4))
    wrong = []
    for name in tracked.stdout.split("\0"):
        path = ROOT / name
        if name and path.is_file() and path.suffix not in (".png", ".jpg", ".ico", ".zip", ".onnx"):
            for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
                if place.search(line):
                    wrong.append(named(path, number, line.strip()[:80]))
    assert wrong == []


def test_streamlit_is_told_to_stay_on_this_machine() -> None:
    import tomllib

    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())
    assert config["server"]["address"] == "127.0.0.1"
    assert config["browser"]["gatherUsageStats"] is False
    assert config["server"]["fileWatcherType"] == "none"


def test_requirements_are_pinned_exactly() -> None:
    for file in ("requirements.txt", "requirements-dev.txt"):
        for line in (ROOT / file).read_text().splitlines():
            if line and not line.startswith(("#", "-r")):
                assert re.match(r"[\w.-]+(\[[\w,]+\])?==[\w.]+(; .+)?$", line), f"{file}: {line}"
