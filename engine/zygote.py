"""The warm worker: one process that has torch imported and forks a child for each run it is handed. Linux only.

A fork copies one thread and all the memory, so this process must have no second thread and no open CUDA context
when it forks: it imports, and never computes. A child is a worker like any other, in a session of its own; nothing
that happens to this process touches it. See `engine.warm` for the other side.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from engine import locks, runs, warm, worker

__all__ = ["IMPORTS", "main"]

IMPORTS = ("torch", "torchvision.transforms.v2.functional", "timm", "onnx", "safetensors.torch", "engine.training.session", "engine.models.build")
"""What a run needs, slowest first. Not onnxruntime: importing it starts a thread."""

IDLE_S = 600.0
_TICK_S = 1.0


def main(arguments: list[str] | None = None) -> int:
    """Import, then serve until nobody has asked for it for ten minutes, or the code on disk is another."""
    parser = argparse.ArgumentParser(prog="python -m engine.zygote")
    parser.add_argument("--lock", type=int, required=True)
    parser.add_argument("--name", required=True)
    given = parser.parse_args(arguments)
    lock = locks.adopt(given.lock)
    for module in IMPORTS:
        importlib.import_module(module)
    threads = _threads()
    if threads != 1:
        sys.stderr.write(f"there are {threads} threads after the imports; runs start cold\n")
        return 1
    gc.collect()
    gc.freeze()  # the collector then leaves these pages alone, so that children go on sharing them
    with _listening(given.name) as listener:
        _serve(listener, lock, given.name)
    return 0


def _threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


@contextlib.contextmanager
def _listening(name: str) -> Iterator[socket.socket]:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with warm.address(name) as path:
        Path(path).unlink(missing_ok=True)
        before = os.umask(0o177)
        listener.bind(path)
        os.umask(before)
    listener.listen(8)
    listener.settimeout(_TICK_S)
    try:
        yield listener
    finally:
        listener.close()
        with contextlib.suppress(OSError), warm.address(name) as path:
            Path(path).unlink(missing_ok=True)


def _serve(listener: socket.socket, lock: IO[bytes], name: str) -> None:
    while _is_wanted(name):
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        finally:
            _reap()
        with connection:
            connection.settimeout(_TICK_S)
            try:
                _take(connection, (listener, connection, lock))
            except (OSError, ValueError) as error:
                sys.stderr.write(f"a run could not be taken: {error}\n")


def _is_wanted(name: str) -> bool:
    try:
        return time.time() - warm.keep_alive_path().stat().st_mtime < IDLE_S and name.startswith(warm.code_print())
    except FileNotFoundError:  # the workspace or the code is gone
        return False


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _take(connection: socket.socket, ours: tuple[IO[bytes] | socket.socket, ...]) -> None:
    """Receive one run and fork its worker, which begins only once the launcher has been told that it will."""
    connection.sendall(warm.GREETING)
    message, descriptors, _, _ = socket.recv_fds(connection, 65536, 1)
    if not message or not descriptors:
        return
    descriptor = descriptors[0]
    run = runs.Run(Path(json.loads(message)["folder"]))
    gate_out, gate_in = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(gate_in)
        _become_worker(run, descriptor, gate_out, ours)
    os.close(gate_out)
    os.close(descriptor)
    try:
        connection.sendall(warm.ACKNOWLEDGED)
        os.write(gate_in, b"1")
    finally:
        os.close(gate_in)  # unwritten, it tells the child that the launcher has given up


def _become_worker(run: runs.Run, descriptor: int, gate: int, ours: tuple[IO[bytes] | socket.socket, ...]) -> None:
    """Be the worker, and end. Never returns."""
    code = 1
    try:
        for each in ours:
            each.close()
        if os.read(gate, 1):
            os.close(gate)
            os.setsid()
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            log = os.open(run.path("log.txt"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.close(log)
            code = worker.work(run, locks.adopt(descriptor))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # not through the exit handlers of the process it was forked from


if __name__ == "__main__":
    sys.exit(main())
