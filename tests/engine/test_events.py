"""engine.events: appended by one, read from an offset, folded; a torn line costs nothing but itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine import events
from engine.events import Ended, Epoch, History, Message, Paused, Phase, Plan, Progress, Queued, Started, Step, Usable

ONE_OF_EACH = [
    Queued(device="cpu"),
    Started(pid=1, device="cpu"),
    Plan(values={"precision": "bf16"}),
    Phase(name="read", title="Reading pictures"),
    Progress(done=1, total=2),
    Step(phase="head", step=1, steps=10, loss=0.5),
    Epoch(phase="head", epoch=1, epochs=2, step=5, train_loss=0.4, metrics={"accuracy": 0.9}, seconds=1.0, best=True),
    Usable(seconds=2.0, metrics={"accuracy": 0.9}),
    Message(level="info", text="ä"),
    Paused(step=5),
    Ended(outcome="finished", metrics={"accuracy": 0.9}),
]


def test_every_kind_reads_back_as_it_was_written(tmp_path: Path) -> None:
    assert {event.kind for event in ONE_OF_EACH} == set(events.KINDS)
    path = tmp_path / "events.jsonl"
    for event in ONE_OF_EACH:
        events.append(path, event)
    assert events.read_from(path)[0] == ONE_OF_EACH
    assert events.last(path) == ONE_OF_EACH[-1]


def test_reading_goes_on_from_an_offset_and_leaves_half_a_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    assert events.read_from(path) == ([], 0)
    events.append(path, ONE_OF_EACH[0])
    _, offset = events.read_from(path)
    line = json.dumps({"kind": "message", "t": 1.0, "level": "info", "text": "x"}) + "\n"
    with path.open("a") as file:
        file.write(line[:20])
    assert events.read_from(path, offset) == ([], offset)
    with path.open("a") as file:
        file.write(line[20:])
    new, _ = events.read_from(path, offset)
    assert [event.text for event in new if isinstance(event, Message)] == ["x"]


@pytest.mark.parametrize("torn", [b'{"kind": "st', b'{"kind": "nobody knows"}\n', b'{"kind": "step"}\n', b"\x00\xff\x00", b"[]\n", b"\n\n"])
def test_a_torn_or_foreign_line_costs_only_itself(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "events.jsonl"
    events.append(path, ONE_OF_EACH[0])
    with path.open("ab") as file:
        file.write(torn)
    assert events.last(path) == ONE_OF_EACH[0]
    events.append(path, ONE_OF_EACH[1])
    assert events.read_from(path)[0] == ONE_OF_EACH[:2]


def test_not_a_number_never_reaches_a_browser(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    events.append(path, Epoch(phase="head", epoch=1, epochs=1, step=1, train_loss=float("nan"), metrics={"loss": float("inf")}, seconds=1.0))
    event = events.last(path)
    assert isinstance(event, Epoch)
    assert (event.train_loss, event.metrics) == (None, {"loss": None})
    assert b"NaN" not in path.read_bytes()


def test_last_looks_only_after_a_place(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    assert events.last(path) is None
    events.append(path, ONE_OF_EACH[0])
    place = path.stat().st_size
    assert events.last(path, after=place) is None
    assert events.last(path, after=place + 1000) is None
    events.append(path, ONE_OF_EACH[1])
    assert events.last(path, after=place) == ONE_OF_EACH[1]


@pytest.mark.parametrize("size", [10, 1_000, 1_024, 70_000])
def test_last_finds_an_event_of_any_length(tmp_path: Path, size: int) -> None:
    path = tmp_path / "events.jsonl"
    for event in (*ONE_OF_EACH, Message(level="info", text="x" * size)):
        events.append(path, event)
    with path.open("ab") as file:
        file.write(b'{"torn' + b"y" * size)
    event = events.last(path)
    assert isinstance(event, Message)
    assert len(event.text) == size


def test_a_second_start_voids_the_points_past_it() -> None:
    def epoch(step: int) -> Epoch:
        return Epoch(phase="finetune", epoch=step // 5, epochs=4, step=step, train_loss=1.0, metrics={}, seconds=1.0, best=step == 5)

    steps = [Step(phase="finetune", step=step, steps=20, loss=1.0) for step in range(1, 13)]
    told = [Queued(device="cpu"), Started(pid=1, device="cpu", t=5.0), *steps, epoch(5), epoch(10), Ended(outcome="failed", problem="x")]
    history = events.fold(History(), told)
    assert history.ended is not None
    events.fold(history, [Started(pid=2, device="cpu", step=7, attempt=2, t=50.0)])
    assert [point.step for point in history.steps] == list(range(1, 8))
    assert [point.step for point in history.epochs] == [5]
    assert (history.ended, history.first_started_t) == (None, 5.0)
    assert history.best is not None
    assert history.best.step == 5
