"""What the browser tests share: the running studio, a watcher over a page, waiting, screenshots."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
_IDLE_FRAMES = 6
_TRACEBACK = re.compile(r"Traceback \(most recent call last\)")

expect.set_options(timeout=20_000)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass
class Studio:
    """A studio process: start, stop, kill and start again over the same workspace."""

    home: Path
    app: Path = ROOT / "app.py"
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.home.parent / f"{self.home.name}-server.log"

    def environment(self) -> dict[str, str]:
        return {**os.environ, "GRAFT_HOME": str(self.home), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}

    def start(self) -> Studio:
        command = [sys.executable, "-m", "streamlit", "run", str(self.app), f"--server.port={self.port}", "--server.headless=true"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT, env=self.environment(), start_new_session=True)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"the studio did not start:\n{self.log.read_text()}"
            try:
                with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=2) as answer:
                    if answer.read() == b"ok":
                        return self
            except OSError:
                time.sleep(0.1)
        raise AssertionError(f"the studio did not answer within 60 s:\n{self.log.read_text()}")

    def kill(self) -> None:
        """SIGKILL: what a crash or a power cut does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(15)

    def stop(self) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()

    def engine(self, *arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        """Run `python -m engine ...` in this studio's workspace."""
        return subprocess.run([sys.executable, "-m", "engine", *arguments], cwd=ROOT, env=self.environment(), capture_output=True, text=True, timeout=timeout)

    def tracebacks(self) -> str:
        text = self.log.read_text() if self.log.exists() else ""
        return text if _TRACEBACK.search(text) else ""

    def torch_in_server(self) -> list[str]:
        """Return torch's libraries in the server's memory. There must never be any: only workers import it."""
        if self.process is None or self.process.poll() is not None or not sys.platform.startswith("linux"):
            return []
        maps = Path(f"/proc/{self.process.pid}/maps").read_text()
        return sorted({line.rsplit("/", 1)[-1] for line in maps.splitlines() if "libtorch" in line or "/torch/" in line or "libnvinfer" in line})

    def end_workers(self) -> None:
        """Ask every run that is still going to stop, and end this workspace's own worker processes."""
        import psutil

        mine = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("GRAFT_HOME") == str(self.home) and process.pid != os.getpid():
                    process.kill()
                    mine.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        psutil.wait_procs(mine, timeout=10)


@contextlib.contextmanager
def workspace_of(studio: Studio) -> Iterator[None]:
    """Look into the studio's workspace from this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAFT_HOME", str(studio.home))
        yield


def sample_project(studio: Studio, key: str) -> str:
    """Make a sample project in the studio's workspace; return its id."""
    from engine.data import samples

    with workspace_of(studio):
        return samples.make(key).id


@contextlib.contextmanager
def running(home: Path, *, samples: bool = False) -> Iterator[Studio]:
    """Run a studio over a new workspace; its server must never import torch nor print a traceback.

    `samples` has it make the sample projects, as a fresh workspace does: six seconds of work that most tests have no use for.
    """
    started = Studio(home)
    home.mkdir()
    if not samples:
        (home / "projects").mkdir()
        (home / "projects" / ".samples").touch()
    try:
        yield started.start()
        assert started.torch_in_server() == []
    finally:
        started.stop()
        started.end_workers()
    assert not started.tracebacks(), started.tracebacks()


class Watcher:
    """What went wrong in a page: script errors, and requests that left this machine."""

    def __init__(self, page: Page, own: str) -> None:
        self.errors: list[str] = []
        self.external: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith((own, "data:", "blob:")) else self.external.append(request.url))
        page.on("websocket", lambda socket: None if socket.url.startswith(own.replace("http", "ws", 1)) else self.external.append(socket.url))

    def check(self) -> None:
        assert not self.errors, f"the page threw: {self.errors}"
        assert not self.external, f"requests left this machine: {self.external}"


def ready(page: Page) -> None:
    """Wait until the page is connected and no script has run for a moment; fail where it shows an exception.

    A moment, since a script that a click stops is over before the one that answers the click begins.
    """
    app = page.get_by_test_id("stApp")
    expect(app).to_have_attribute("data-test-connection-state", "CONNECTED")
    expect(app).to_have_attribute("data-test-script-state", "notRunning")
    app.evaluate(
        """(app, needed) => new Promise(done => {
      let idle = 0
      const look = () => {
        const {testConnectionState: wire, testScriptState: script} = app.dataset
        idle = wire === "CONNECTED" && script === "notRunning" ? idle + 1 : 0
        idle < needed ? requestAnimationFrame(look) : done()
      }
      look()
    })""",
        _IDLE_FRAMES,
    )
    expect(page.get_by_test_id("stException")).to_have_count(0)


def at_rest(place: Locator) -> None:
    """Wait until an element has lain still for ten frames: pages slide and charts redraw when the window changes."""
    place.evaluate("""node => new Promise(done => {
      let [last, same] = ["", 0]
      const look = () => {
        const now = JSON.stringify(node.getBoundingClientRect())
        same = now === last ? same + 1 : 0
        last = now
        same < 10 ? requestAnimationFrame(look) : done()
      }
      look()
    })""")


def screenshots(page: Page, name: str) -> None:
    """Keep the page as it is now, where GRAFT_SCREENSHOTS asks for it: light, dark, and at phone width. The page is left as it was."""
    if not os.environ.get("GRAFT_SCREENSHOTS"):
        ready(page)
        return
    folder = HERE / "screenshots"
    folder.mkdir(exist_ok=True)
    before = page.viewport_size
    for look, scheme, size in (("light", "light", None), ("dark", "dark", None), ("phone", "light", PHONE)):
        page.emulate_media(color_scheme=scheme)
        if size:
            page.set_viewport_size(size)
        ready(page)
        page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        page.screenshot(path=str(folder / f"{name}-{look}.png"), full_page=False)
    page.emulate_media(color_scheme="light")
    if before:
        page.set_viewport_size(before)


def key_button(page: Page, key: str) -> Locator:
    """Return the button that the page's script calls so."""
    return page.locator(f".st-key-{key}").get_by_role("button")


def go(page: Page, place: str) -> None:
    """Follow the sidebar to a page, by its address."""
    page.locator(f"[data-testid=stSidebarNavLink][href*='/{place}']").click()
    page.wait_for_url(re.compile(f"/{place}"))
    ready(page)


def quick_run(page: Page, epochs: int = 0) -> str:
    """Train with the quickest goal, where asked for so many passes, and return the run's id once it has finished."""
    go(page, "train")
    if key_button(page, "new-run").count():
        key_button(page, "new-run").click()
        ready(page)
    key_button(page, "goal-quick").click()
    ready(page)
    if epochs:
        page.get_by_role("spinbutton", name=re.compile("^Epochs")).fill(str(epochs))
        page.keyboard.press("Tab")
        ready(page)
    key_button(page, "start").click()
    page.wait_for_url(re.compile("run=run-"))
    expect(page.get_by_text("Finished", exact=True).first).to_be_visible(timeout=240_000)
    ready(page)
    found = re.search(r"run=(run-[^&]+)", page.url)
    assert found
    return found[1]
