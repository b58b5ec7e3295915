"""From events to the figures of the live page."""

from __future__ import annotations

import pytest

from engine import events
from engine.events import Ended, Epoch, History, Paused, Phase, Plan, Progress, Queued, Started, Step, Usable
from pages.parts.progress import charts_of, plan_words, read_now


def _history(*said: events.Event) -> History:
    return events.fold(History(), list(said))


START = (Queued(t=100.0, device="cpu"), Started(t=101.0, pid=1, device="cpu"))


@pytest.mark.parametrize(
    ("said", "words", "share"),
    [
        ((), "Getting ready", 0.0),
        (START[:1], "Waiting for the device", 0.0),
        ((*START, Phase(name="read", title="Reading"), Progress(done=30, total=120)), "Part 1 of 6: Reading · 30 of 120", 0.25),
        (
            (*START, Phase(name="finetune", title="Fine-tuning"), Step(phase="finetune", step=5, steps=20, loss=1.0)),
            "Part 4 of 6: Fine-tuning · step 5 of 20",
            0.25,
        ),
        ((*START, Phase(name="head", title="Head"), Paused(step=3)), "Paused; everything is saved", 0.0),
        ((*START, Ended(outcome="finished")), "Finished", 1.0),
    ],
)
def test_where_it_stands(said, words: str, share: float) -> None:
    now = read_now(_history(*said), "head_then_all")
    assert (now.words, now.share) == (words, share)


def test_time_left_goes_by_the_pace_of_the_last_steps() -> None:
    steps = [Step(t=200.0 + 2 * i, phase="finetune", step=i, steps=100, loss=1.0, images_per_s=16.0, memory_mb=500.0) for i in range(1, 11)]
    now = read_now(_history(*START, Phase(name="finetune", title="Fine-tuning"), *steps), "head_then_all")
    assert now.seconds_left == pytest.approx(2 * 90)
    assert (now.images_per_s, now.memory_mb) == (16.0, 500.0)


def test_a_pause_is_not_counted_into_the_pace() -> None:
    before = [Step(t=200.0 + i, phase="finetune", step=i, steps=100, loss=1.0) for i in range(1, 11)]
    after = [Step(t=9000.0 + i, phase="finetune", step=i, steps=100, loss=1.0) for i in range(11, 16)]
    history = _history(*START, Phase(name="finetune", title="F"), *before, Paused(t=300.0, step=10), Started(t=8999.0, pid=2, device="cpu", step=10), *after)
    assert read_now(history, "head_then_all").seconds_left == pytest.approx(85)


def test_the_accuracy_shown_is_that_of_the_model_that_is_kept() -> None:
    epochs = [
        Epoch(phase="finetune", epoch=n, epochs=3, step=n * 10, train_loss=0.5, metrics={"accuracy": a}, seconds=1, best=best)
        for n, a, best in ((1, 0.7, True), (2, 0.9, True), (3, 0.8, False))
    ]
    now = read_now(_history(*START, *epochs), "all")
    assert (now.score, now.epoch, now.epochs) == (0.9, 3, 3)


def test_charts_mark_where_fine_tuning_began_and_skip_what_was_redone() -> None:
    said = [Step(phase="head", step=n, steps=20, loss=float(n)) for n in range(1, 6)]
    said += [Phase(name="finetune", title="F", step=5)]  # type: ignore[list-item]
    said += [Step(phase="finetune", step=n, steps=20, loss=float(n)) for n in range(6, 9)]
    history = _history(*START, *said, Started(pid=2, device="cpu", step=6), Step(phase="finetune", step=7, steps=20, loss=7.5))
    loss = charts_of(history)[0]
    assert loss.marks == ((5, "fine-tuning"),)
    assert list(loss.lines[0].xs) == [1, 2, 3, 4, 5, 6, 7]
    assert loss.lines[0].ys[-1] == 7.5


def test_a_resume_begins_fine_tuning_again_and_is_not_marked_again() -> None:
    said = [Phase(name="finetune", title="F", step=5), Step(phase="finetune", step=6, steps=20, loss=1.0)]
    history = _history(*START, *said, Started(pid=2, device="cpu", step=6), Phase(name="finetune", title="F", step=6))
    assert charts_of(history)[0].marks == ((5, "fine-tuning"),)


def test_what_the_dry_run_chose_is_said_in_words() -> None:
    history = _history(Plan(values={"batch_size": 32, "precision": "bf16", "layout": "channels_last", "threads": 2}), Usable(seconds=2.0, metrics={}))
    assert plan_words(history) == "batches of 32 pictures, bf16, channels last, 2 threads"


def test_a_run_that_only_solves_for_the_head_has_no_learning_rate_to_show() -> None:
    assert [chart.id for chart in charts_of(_history(*START), "head")] == ["loss", "accuracy"]
    assert [chart.id for chart in charts_of(_history(*START), "all")] == ["loss", "accuracy", "rate", "speed"]


def test_the_passes_of_a_part_that_is_over_are_not_shown_for_the_next_one() -> None:
    head = Epoch(phase="head", epoch=14, epochs=14, step=14, train_loss=0.5, metrics={"accuracy": 0.8}, seconds=1, best=True)
    begun = _history(*START, Phase(name="head", title="Head"), head, Phase(name="finetune", title="Fine-tuning", step=14))
    assert (read_now(begun, "head_then_all").epoch, read_now(begun, "head_then_all").score) == (None, 0.8)
    first = Epoch(phase="finetune", epoch=1, epochs=30, step=20, train_loss=0.4, metrics={"accuracy": 0.85}, seconds=1, best=True)
    now = read_now(events.fold(begun, [first, Phase(name="evaluate", title="Testing", step=20)]), "head_then_all")
    assert (now.epoch, now.epochs) == (1, 30)
