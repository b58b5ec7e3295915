"""The user interface's speed, in a real browser: bar 3 of the README.

    python -m benchmarks.ui                     the figures the README quotes (about fourteen minutes, on an idle machine)
    python -m benchmarks.ui --only watching             one part: first, pages, chart, watching
    python -m benchmarks.ui --runs 20 --points 20000 --seconds 12 --turn 4 --rounds 1       a smoke test

1. first page: from starting the server until the first page stands still, in a workspace full of runs and in a new one, whose samples are made
   then; beside it the same of a server whose one page is a title, which is what server and browser take by themselves
2. page change: from the click on a page's link until that page stands still and is painted
3. live chart: while a real training draws into it, its node is watched in every animation frame, after the user zoomed in
4. how long a step of training takes with two browsers on the Train page, over how long with none: the same run, in many short turns, alone,
   watched, watched, alone. For a turn alone the browsers are held still as they stand (SIGSTOP), so that no page has to be loaded between
   turns. Browsers draw on this machine's own processor, so their share is printed beside
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import Browser, Page, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from benchmarks.quietness import Others, undisturbed_median
from tests.e2e.conftest import FLAGS, find_browser
from tests.e2e.steps import DESKTOP, Studio, at_rest, ready

CHANGE_PAGE = """async title => {
  const state = () => document.querySelector('[data-testid=stApp]')?.dataset.testScriptState
  const heading = () => document.querySelector('[data-testid=stMain] h1')?.innerText
  const link = [...document.querySelectorAll('[data-testid=stSidebarNavLink]')].find(one => one.innerText.trim().endsWith(title))
  const [from, address] = [heading(), new URL(link.href).pathname]
  let ran = false
  const rest = new Promise((resolve, reject) => {
    const look = () => {
      if (state() !== 'notRunning') ran = true
      else if (location.pathname === address && (ran || (heading() && heading() !== from))) { watch.disconnect(); resolve() }
    }
    const watch = new MutationObserver(look)  // over the whole page: a change of page may put new nodes in place of old ones
    watch.observe(document.body, { subtree: true, childList: true, attributes: true, attributeFilter: ['data-test-script-state'] })
    setTimeout(() => { watch.disconnect(); reject(new Error(`no change to ${title} within 20 s: ran ${ran}, ${state()}, ${location.href}`)) }, 20000)
  })
  const start = performance.now()
  link.click()
  await rest
  await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))
  return performance.now() - start
}"""

WATCH_CHART = """async seconds => {
  const first = document.querySelector('.graft-live-chart')
  const zoom = JSON.stringify(first.zoom)
  const seen = { frames: 0, blank: 0, other_node: 0, updates: 0, zoom_kept: true, longest_gap_ms: 0 }
  const newest = chart => JSON.stringify(chart.data.map(line => [line.x.length, line.x.at(-1), line.y.at(-1)]))
  const coloured = canvas => {  // a line is there: axes and words are grey
    const { width, height } = canvas
    if (!width || !height) return false
    const pixels = canvas.getContext('2d').getImageData(0, 0, width, height).data
    for (let at = 0; at < pixels.length; at += 4) {
      const [red, green, blue, alpha] = pixels.subarray(at, at + 4)
      if (alpha > 80 && Math.max(red, green, blue) - Math.min(red, green, blue) > 50) return true
    }
    return false
  }
  let last = newest(first)
  const end = performance.now() + seconds * 1000
  let before = performance.now()
  while (performance.now() < end) {
    await new Promise(done => requestAnimationFrame(done))
    const now = performance.now()
    seen.longest_gap_ms = Math.max(seen.longest_gap_ms, Math.round(now - before))
    before = now
    seen.frames += 1
    const chart = document.querySelector('.graft-live-chart')
    if (chart !== first) seen.other_node += 1
    if (!chart || chart.getBoundingClientRect().height < 50 || !coloured(chart.querySelector('canvas'))) seen.blank += 1
    if (!chart) continue
    const state = newest(chart)
    if (state !== last) { seen.updates += 1; last = state }
  }
  seen.zoom_kept = JSON.stringify(document.querySelector('.graft-live-chart').zoom) === zoom
  return seen
}"""

PARTS = ("first", "pages", "chart", "watching")
SETTLE_SECONDS = 24.0
"""From opening a page on a run until it looks at the calm pace that it keeps from then on (pages/parts/live_run.js)."""
CATCH_UP_SECONDS = 2.0
"""What was held still does at once what it missed."""


def command_line() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ui", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--points", type=int, default=1_000_000, help="in all runs together")
    parser.add_argument("--starts", type=int, default=5, help="of the server, for the first page")
    parser.add_argument("--seconds", type=float, default=25, help="of watching the chart")
    parser.add_argument("--turn", type=float, default=10, help="seconds of each turn of the slow-down")
    parser.add_argument("--rounds", type=int, default=12, help="of the slow-down, four turns each")
    parser.add_argument("--image-size", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def fill(studio: Studio, runs_wanted: int, points: int) -> tuple[str, str]:
    """Train one real run on a sample, then copy it until the workspace holds as many runs and points; return project and run."""
    os.environ["GRAFT_HOME"] = str(studio.home)
    from engine import runs
    from engine.data import samples

    samples.ensure()
    project = samples.make("surfaces")
    done = studio.engine("train", "--project", project.name, "--preset", "quick", "--wait", "--json")
    assert done.returncode == 0, done.stderr
    real = runs.find(json.loads(done.stdout)["run"])
    lines = real.events_path.read_text().splitlines(keepends=True)
    steps = -(-points // runs_wanted)
    template = {"kind": "step", "t": 0.0, "phase": "finetune", "step": 0, "steps": steps, "loss": 1.0, "learning_rate": 2e-4, "images_per_s": 50.0}
    began = float(json.loads(lines[0])["t"])
    many = [json.dumps({**template, "t": began + i / 10, "step": i, "loss": round(2 / (1 + i / 50), 4)}) + "\n" for i in range(1, steps + 1)]
    text = "".join([*lines[:-1], *many, lines[-1]])
    for number in range(runs_wanted - 1):
        copy = real.folder.parent / f"run-000101-{number:06d}-000"
        copy.mkdir()
        for file in real.folder.iterdir():
            if file.suffix in (".safetensors", ".onnx", ".npz") or file.name == "version.json":
                os.link(file, copy / file.name)
            elif file.name != "events.jsonl":
                shutil.copy(file, copy / file.name)
        (copy / "events.jsonl").write_text(text)
    return project.id, real.id


def first_pages(studio: Studio, browser: Browser, rounds: int) -> dict[str, dict[str, float]]:
    """Return medians of `first_page` for the workspace, for a new one and for a page with nothing on it, all in turn."""
    taken: dict[str, list[tuple[float, float]]] = {"full": [], "new": [], "bare": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="graft-bench-") as folder:
            bare = Path(folder) / "bare.py"
            bare.write_text("import streamlit as st\n\nst.title('Bare')\n")
            for name, one in {"full": studio, "new": Studio(Path(folder) / "new"), "bare": Studio(Path(folder) / "new", bare)}.items():
                one.home.mkdir(exist_ok=True)
                taken[name].append(first_page(one, browser))
                one.stop()
                one.end_workers()
    medians = {name: [round(statistics.median(part), 2) for part in zip(*all_, strict=True)] for name, all_ in taken.items()}
    return {name: {"answers": answers, "stands": stands} for name, (answers, stands) in medians.items()}


def first_page(studio: Studio, browser: Browser) -> tuple[float, float]:
    """Return seconds from starting the server until it answers, and until the first page stands still."""
    page = browser.new_page(viewport=DESKTOP)
    start = time.perf_counter()
    studio.start()
    answers = time.perf_counter() - start
    page.goto(studio.url)
    ready(page)
    page.get_by_test_id("stMain").get_by_role("heading").first.wait_for()
    seconds = time.perf_counter() - start
    page.close()
    return answers, seconds


def page_changes(studio: Studio, browser: Browser, project: str, run: str, rounds: int) -> dict[str, list[float]]:
    """Return for each page the seconds of each change to it, in a session that looks at one project and run."""
    page = browser.new_page(viewport=DESKTOP)
    page.goto(f"{studio.url}/?project={project}&run={run}")
    ready(page)
    titles = [text.strip().splitlines()[-1] for text in page.get_by_test_id("stSidebarNavLink").all_inner_texts()]
    found: dict[str, list[float]] = {title: [] for title in titles}
    for _ in range(rounds):
        for title in [*titles[1:], titles[0]]:
            found[title].append(page.evaluate(CHANGE_PAGE, title) / 1000)
            ready(page)
    page.close()
    return found


@contextmanager
def training(studio: Studio, image_size: int) -> Iterator[Any]:
    """Keep a real training going (a small network: many steps a second show a slow-down best); give its run."""
    from engine import runs

    size = [f"--set=image_size={image_size}"] if image_size else []
    arguments = ["--start=mobilenetv3_small_100", "--preset=balanced", "--set=phases=all", "--set=epochs=1000", *size, "--json"]
    done = studio.engine("train", "--project", "Surfaces", *arguments)
    assert done.returncode == 0, done.stderr
    run = runs.find(json.loads(done.stdout)["run"])
    deadline = time.monotonic() + 180
    while not run.events_path.exists() or b'"kind": "step"' not in run.events_path.read_bytes():
        assert time.monotonic() < deadline, f"no step of training was seen: {run.path('log.txt').read_text()[-500:]}"
        time.sleep(0.2)
    try:
        yield run
    finally:
        studio.engine("stop", run.id)
        while runs.state(run) == "running" and time.monotonic() < deadline + 60:
            time.sleep(0.2)


def watched(page: Page, studio: Studio, project: str, run: str) -> None:
    """Open the Train page on a run and wait for its charts."""
    page.goto(f"{studio.url}/train?project={project}&run={run}")
    ready(page)
    try:
        page.wait_for_function("() => document.querySelector('.graft-live-chart')?.data?.some(line => line.x.length >= 3)", timeout=90_000)
    except PlaywrightTimeout as error:
        from engine import runs

        found = runs.find(run)
        words = f"the run is {runs.state(found)}; its log ends: {found.path('log.txt').read_text()[-400:]}; the server's: {studio.log.read_text()[-400:]}"
        raise SystemExit(f"no chart with three points within 90 s: {words}") from error


def live_chart(studio: Studio, browser: Browser, project: str, run: str, seconds: float) -> dict[str, Any]:
    """Zoom into the first chart with the mouse, then watch it in every frame."""
    page = browser.new_page(viewport=DESKTOP)
    watched(page, studio, project, run)
    stage = page.locator(".graft-live-chart canvas").first
    stage.scroll_into_view_if_needed()
    at_rest(stage)
    box = stage.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.95, box["y"] + box["height"] / 2, steps=8)
    page.mouse.up()
    page.wait_for_timeout(500)
    found: dict[str, Any] = page.evaluate(WATCH_CHART, seconds)
    page.close()
    return found


def step_seconds(run: Any, turns: list[tuple[float, float]]) -> list[float]:
    """Return how long a step took on average in each turn, by the run's own events. What lies between two epochs is left out: that is validation."""
    from engine import events

    seen, _ = events.read_from(run.events_path)
    took: list[list[float]] = [[] for _ in turns]
    before = None
    for event in seen:
        if isinstance(event, events.Step):
            for (start, end), found in zip(turns, took, strict=True):
                if before is not None and start <= before and event.t <= end:
                    found.append(event.t - before)
            before = event.t
        elif isinstance(event, events.Epoch):
            before = None
    assert all(took), "a turn without a whole step: give it more seconds"
    return [statistics.mean(found) for found in took]


def processor_seconds(processes: list[psutil.Process]) -> float:
    total = 0.0
    for process in processes:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def browsers() -> list[psutil.Process]:
    return [one for one in psutil.Process().children(recursive=True) if "chrom" in one.name()]


class Strangers:
    """Tells how many cores were taken, since it was made, by what is neither the browsers nor at work in this studio's workspace."""

    def __init__(self, studio: Studio) -> None:
        self._known = [*browsers(), *(one for one in psutil.process_iter() if self._at_work(one, studio))]
        self._used, self._began, self._others = processor_seconds(self._known), time.monotonic(), Others()

    @staticmethod
    def _at_work(process: psutil.Process, studio: Studio) -> bool:
        try:
            return process.environ().get("GRAFT_HOME") == str(studio.home) and process.pid != os.getpid()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return False

    def took(self) -> float:
        """Return the cores (1 = one whole core); call it once."""
        own = (processor_seconds(self._known) - self._used) / (time.monotonic() - self._began)
        return max(0.0, self._others.took() - own)


def slowdown(studio: Studio, browser: Browser, project: str, run: Any, seconds: float, rounds: int) -> dict[str, Any]:
    """Take turns of two browsers that stand still and that look at the Train page; return what a step took in each, and who used the processor.

    They are open throughout, and turns begin once their pages are at the pace that they keep: it is watching that is measured, not loading.
    """
    assert studio.process
    server = [psutil.Process(studio.process.pid)]
    pages = [browser.new_context(viewport=DESKTOP).new_page() for _ in range(2)]
    for page in pages:
        watched(page, studio, project, run.id)
    time.sleep(SETTLE_SECONDS)
    watching_turns = (False, True, True, False)  # a drift of the machine's speed falls on both alike
    turns: list[tuple[float, float]] = []
    spent: list[float] = [0.0, 0.0]
    disturbed = []
    for _ in range(rounds):
        strangers = Strangers(studio)
        for watching in watching_turns:
            own = browsers()
            for process in own:
                process.send_signal(signal.SIGCONT if watching else signal.SIGSTOP)
            time.sleep(CATCH_UP_SECONDS)
            used = processor_seconds(server), processor_seconds(own)
            start = time.time()
            time.sleep(seconds)
            turns.append((start, time.time()))
            if watching:
                spent = [spent[0] + processor_seconds(server) - used[0], spent[1] + processor_seconds(own) - used[1]]
        disturbed.append(strangers.took())
    for process in browsers():
        process.send_signal(signal.SIGCONT)
    time.sleep(2)  # the last events reach the disk
    took = step_seconds(run, turns)
    for page in pages:
        page.context.close()
    ratios = [(took[at + 1] + took[at + 2]) / (took[at] + took[at + 3]) for at in range(0, len(took), 4)]
    ratio, quiet = undisturbed_median(ratios, disturbed)
    return {
        "step_s": [round(value, 4) for value in took],
        "slower_by": [round(value - 1, 4) for value in ratios],
        "slower_share": round(ratio - 1, 4),
        "quartiles": [round(value - 1, 4) for value in statistics.quantiles(ratios, n=4)[::2]] if rounds > 1 else [],
        "undisturbed_rounds": quiet,
        "server_cores": round(spent[0] / (2 * rounds * seconds), 4),
        "browsers_cores": round(spent[1] / (2 * rounds * seconds), 4),
        "others_cores": [round(value, 3) for value in disturbed],
    }


def measure(given: argparse.Namespace, studio: Studio, browser: Browser) -> dict[str, Any]:
    found: dict[str, Any] = {"runs": given.runs, "points": given.points}
    project, run = fill(studio, given.runs, given.points)
    if "first" in given.only:
        found["first_page_s"] = first_pages(studio, browser, given.starts)
    studio.start()
    if "pages" in given.only:
        others = Strangers(studio)
        changes = page_changes(studio, browser, project, run, rounds=5)
        found["page_change_others_cores"] = round(others.took(), 3)
        found["page_change_s"] = {title: {"median": round(statistics.median(all_), 3), "worst": round(max(all_), 3)} for title, all_ in changes.items()}
    if not {"chart", "watching"} & set(given.only):
        return found
    with training(studio, given.image_size) as real:
        if "chart" in given.only:
            found["live_chart"] = live_chart(studio, browser, project, real.id, given.seconds)
        if "watching" in given.only:
            found["watching"] = slowdown(studio, browser, project, real, given.turn, given.rounds)
    return found


def table(found: dict[str, Any]) -> str:
    rows: list[tuple[str, str, str]] = []
    if first := found.get("first_page_s"):
        for name, took in first.items():
            words = f"{took['stands']:.2f} s (server answers after {took['answers']:.2f} s), {took['stands'] / first['bare']['stands']:.2f} x the bare page"
            rows.append((f"first page, {name}", words, "" if name == "bare" else "under 3 s"))
    if changes := found.get("page_change_s"):
        slowest = max(changes.items(), key=lambda entry: entry[1]["median"])
        rows += [(f"change to {title}", f"{took['median']:.3f} s (worst {took['worst']:.3f})", "under 0.5 s") for title, took in changes.items()]
        rows.append(("slowest page", f"{slowest[0]}, {slowest[1]['median']:.3f} s", "under 0.5 s"))
        rows.append(("other processes", f"{found['page_change_others_cores']:.2f} cores", "none"))
    if chart := found.get("live_chart"):
        words = f"{chart['updates']} updates in {chart['frames']} frames: {chart['blank']} blank, {chart['other_node']} in another node"
        rows += [("live chart", words, "0 blank, 0 other"), ("its zoom", "kept" if chart["zoom_kept"] else "lost", "kept")]
    if watching := found.get("watching"):
        rows += [
            ("two browsers watching", f"steps take {watching['slower_share']:.1%} longer ({watching['undisturbed_rounds']} quiet rounds)", "under 3 %"),
            ("half of the rounds", " to ".join(f"{value:.1%}" for value in watching["quartiles"]), ""),
            ("processor meanwhile", f"server {watching['server_cores']:.3f} cores, browsers {watching['browsers_cores']:.3f} cores", ""),
            ("other processes", f"{max(watching['others_cores']):.2f} cores at most", "none"),
        ]
    width = max(len(row[0]) for row in rows)
    head = f"workspace: {found['runs']:,} runs, {found['points']:,} points; {os.cpu_count()} cores"
    return "\n".join([head, *(f"{name:<{width}}  {value:<58}  {goal}" for name, value, goal in rows)])


def main() -> None:
    """Measure everything over one temporary workspace and print it."""
    given = command_line()
    path = find_browser()
    if path is None:
        raise SystemExit("no Chromium found: install it, for example with `apt-get install chromium`")
    with tempfile.TemporaryDirectory(prefix="graft-bench-") as folder, sync_playwright() as playwright:
        studio = Studio(Path(folder) / "graft")
        studio.home.mkdir()
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        try:
            found = measure(given, studio, browser)
        finally:
            browser.close()
            studio.stop()
            studio.end_workers()
    print(json.dumps(found) if given.json else table(found))


if __name__ == "__main__":
    main()
