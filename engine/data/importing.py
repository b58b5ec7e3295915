"""Bringing pictures into a project, in two stages: they enter it by their headers, then each is looked at.

They are read by threads and entered in one transaction: an import that is killed before leaves nothing in the database, and what it left on
disk is used by the next try. From then on they are in the project, to be seen and labelled, while they are decoded one by one. An import
that is killed there leaves the rest to whoever needs it. What a source is, is told by `formats`; reading is for `reading`, entering for
`entering`, the second stage for `looking`.
"""

from __future__ import annotations

import gc
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from subprocess import Popen
from typing import Literal

from engine import locks, workspace
from engine.data import arrivals, entering, formats, looking, projects, sampling, scanner, sources, splits, store
from engine.data.alongside import Alongside
from engine.data.archives import Archive
from engine.data.entering import Entered, Mapping_
from engine.data.fitting import Fit, fit, kinds_of
from engine.data.formats import DataSet, Found, Skipped
from engine.data.formats.base import Tally
from engine.data.looking import TakenOut
from engine.data.marks import TAGGING
from engine.data.reading import Reader, Taken, none_readable, read_all, stopped
from engine.data.sampling import Sample
from engine.errors import StudioError

__all__ = ["Findings", "ImportReport", "Sample", "Skipped", "Stage", "import_path", "inspect"]

Stage = Literal["earlier", "enter", "look"]
"""What an import does: finish what an earlier one left, bring pictures in, look through them."""

EXAMPLES = 6


@dataclass(frozen=True)
class Findings:
    """What a source holds, before anything is saved.

    Attributes:
        kind: the form's key, such as 'class folders' or 'coco'.
        title: what the form is called.
        task: what the data set is for.
        pictures: how many pictures.
        classes: class names, sorted; those that no picture has, too.
        counts: pictures of each class, or labels where they are drawn; empty where only reading the masks would tell.
        labels: how many labels are drawn in pictures.
        kinds: which kinds of label there are ('class', 'box', 'polygon', 'mask', 'point').
        splits: pictures of each given split.
        unlabelled: pictures without any label.
        examples: a few picture names of each class ('' for none).
        skipped: files that will be left out, with the reason.
        problems: oddities in words.
        in_place: whether the pictures can stay where they are.
        samples: a few pictures with their labels, to be looked at.
    """

    kind: str
    title: str
    task: str
    pictures: int
    classes: list[str]
    counts: dict[str, int]
    labels: int
    kinds: list[str]
    splits: dict[str, int]
    unlabelled: int
    examples: dict[str, list[str]]
    skipped: list[Skipped]
    problems: list[str]
    in_place: bool
    samples: list[Sample] = field(default_factory=list)


@dataclass
class ImportReport:
    """What an import did.

    `classes` counts the pictures it added, or the labels where they are drawn; `splits` counts pictures; `skipped` also names each
    duplicate; `format` is what the source was, `task` what the project now learns, `labels` how many labels were entered.
    """

    added: int = 0
    duplicates: int = 0
    relabelled: int = 0
    labels: int = 0
    classes: dict[str, int] = field(default_factory=dict)
    splits: dict[str, int] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    kind: str = ""
    format: str = ""
    task: str = ""
    seconds: float = 0.0


def _read_source(source: sources.Source, only: str | None, task: str | None) -> DataSet:
    data = formats.read(list(source.files), source.open, only, task)
    data.skipped = source.skipped + data.skipped
    return data


def inspect(path: Path | str, project_id: str | None = None, samples: int = 0) -> Findings:
    """Say what a folder, archive or label file holds. Nothing is saved.

    Args:
        path: what `import_path` takes.
        project_id: the project it is meant for: what does not fit is then said, too.
        samples: how many pictures to read, with their labels.

    Raises:
        StudioError: if it holds no picture, is not safe to read, or its labels do not fit the project.
    """
    with sources.opened(Path(path).expanduser()) as (source, only):
        data = _read_source(source, only, _settled(project_id) if project_id is not None else None)
        shown = sampling.sample(source, data, samples)
        in_place = isinstance(source, sources.Folder)
    if project_id is not None:
        words = _fitted(project_id, data, {}).words
        data.problems = ([words] if words else []) + data.problems
    return _findings(data, in_place, shown)


def _findings(data: DataSet, in_place: bool, shown: list[Sample]) -> Findings:
    examples: dict[str, list[str]] = defaultdict(list)
    counts: Counter[str] = Counter()
    unlabelled = 0
    for found in data.pictures:
        labels = [*(mark.label for mark in found.marks), *found.labels]
        counts.update(labels)
        unlabelled += not labels and not found.reviewed
        for label in dict.fromkeys(labels) or ("",):
            if len(examples[label]) < EXAMPLES:
                examples[label].append(found.name)
    return Findings(
        kind=data.kind,
        title=formats.titles().get(data.kind, data.kind),
        task=data.task,
        pictures=len(data.pictures),
        classes=sorted({*counts, *data.classes}),
        counts=dict(sorted(counts.items())),
        labels=sum(len(found.marks) for found in data.pictures),
        kinds=sorted(kinds_of(data)),
        splits=dict(Counter(picture.split for picture in data.pictures if picture.split)),
        unlabelled=unlabelled,
        examples=dict(examples),
        skipped=data.skipped,
        problems=data.problems,
        in_place=in_place,
        samples=shown,
    )


def _settled(project_id: str, asked: str | None = None) -> str | None:
    """Return the task that labels are read for, where it is settled: a person asked for it, the project holds pictures, or is for tagging.

    An empty project of the usual kind takes whatever task its first labels are for.
    """
    task = projects.get(project_id).task
    with store.session() as connection:
        return task if asked or task == TAGGING or not entering.is_empty(connection, project_id) else None


def _fitted(project_id: str, data: DataSet, mapping: Mapping_) -> Fit:
    """Decide how a data set goes into the project, classes that are left out not counted."""
    with store.session() as connection:
        empty = entering.is_empty(connection, project_id)
    if mapping and all(mapping.get(label, label) is None for label in {*data.classes, *(mark.label for found in data.pictures for mark in found.marks)}):
        task = TAGGING if data.task == TAGGING else "image-classification"
        data = DataSet(data.kind, [replace(found, marks=(), masks=None) for found in data.pictures], task=task)
    return fit(projects.get(project_id).task, empty, data)


def import_path(
    project_id: str,
    path: Path | str,
    *,
    in_place: bool | None = None,
    mapping: Mapping_ | None = None,
    task: str | None = None,
    report: Callable[[int, int], None] = lambda _done, _total: None,
    stage: Callable[[Stage], None] = lambda _stage: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> ImportReport:
    """Add the pictures of a folder, archive or label file to a project, with their labels.

    Args:
        project_id: the project.
        path: a folder, a .zip, a .tar (also packed), one picture, or a label file beside its pictures, on this machine.
        in_place: leave the pictures where they are; by default so for a folder, never for an archive.
        mapping: class in the data set -> class in the project; two to one are merged, None leaves a class out.
        task: of the project, where a person asked for it: then one picture keeps one class, or several, whatever the labels look like.
        report: hears (done, total) pictures of a stage several times a second.
        stage: hears 'enter' before pictures are read, and 'look' when they are in the project and are now looked at; before
            both 'earlier' where a stopped import left something to look at.
        should_stop: asked between pictures.

    Raises:
        StudioError: if it holds no picture, is not safe to read, does not fit the project, the disk is full, or it was stopped.
            Nothing is added then, unless it was stopped in the second stage: then all pictures are in, but for those found damaged.
    """
    begun = time.monotonic()
    before = projects.get(project_id).task
    with _alone(project_id), _full_disk_said(project_id):
        left = _left_by_earlier(project_id, report, stage, should_stop)
        stage("enter")
        with _without_cycle_search():
            into = _entered(project_id, Path(path).expanduser().absolute(), in_place, mapping or {}, task, report, should_stop)
        looking.forget(project_id)
        stage("look")
        gone = _looked_through(project_id, report, should_stop)
        arrivals.finish(project_id, certain=True)
        assigned = splits.assign(project_id)
    if gone:
        into = _without_damaged(into, gone)
    counts = entering.count(into.entered, gone, assigned)
    if gone:
        entering.drop_classes(project_id, into.entered.made - set(counts.classes))
    if not into.taken:
        projects.set_task_if_empty(project_id, before)
        raise none_readable(len(into.pictures), into.skipped[0].reason)
    return ImportReport(
        **vars(counts),
        duplicates=len(into.entered.skipped),
        skipped=left + into.data.skipped + into.dropped + into.skipped + into.entered.skipped,
        problems=([into.fitted.words] if into.fitted.words else []) + into.data.problems + Tally.of(one.odd for one in into.taken).sentences(),
        kind=into.data.kind,
        format=formats.titles().get(into.data.kind, into.data.kind),
        task=into.fitted.task,
        seconds=time.monotonic() - begun,
    )


@dataclass(frozen=True)
class _In:
    """What the first stage of an import did: `dropped` are pictures of classes that were left out, `skipped` those that cannot be read."""

    data: DataSet
    fitted: Fit
    pictures: list[Found]
    dropped: list[Skipped]
    taken: list[Taken]
    skipped: list[Skipped]
    entered: Entered


def _entered(
    project_id: str,
    path: Path,
    in_place: bool | None,
    mapping: Mapping_,
    task: str | None,
    report: Callable[[int, int], None],
    should_stop: Callable[[], bool],
) -> _In:
    """Read pictures and enter them into the project."""
    with scanner.expected(path) as process, sources.opened(path) as (source, only):
        is_folder = isinstance(source, sources.Folder)
        if in_place and not is_folder:
            raise StudioError("pictures in an archive cannot be used in place", "Import them by copy, or unpack it and choose its folder.")
        copy = not (is_folder if in_place is None else in_place)
        with _helped(project_id, source, process, copy=copy) as (helper, arrival):  # which reads pictures while the labels are read
            data = _read_source(source, only, _settled(project_id, task))
            fitted = _fitted(project_id, data, mapping)
            pictures, dropped = _renamed(data, fitted, mapping)
            with Reader(project_id, source, data, copy=copy, scanner=helper, arrival=arrival) as reader, Alongside(project_id, data, fitted, mapping) as entry:
                skipped = read_all(reader, pictures, entry.take, report, should_stop)
                reader.flush()
                entered = entry.end()
                reader.keep()
    return _In(data, fitted, pictures, dropped, entry.taken, skipped, entered)


@contextmanager
def _helped(
    project_id: str, source: sources.Source, process: Popen[bytes] | None, *, copy: bool
) -> Iterator[tuple[scanner.Scanner | None, arrivals.Arrival | None]]:
    """Give a helper process for pictures that need not be copied now: those of a folder that stay there, and of a zip that can be put aside."""
    if isinstance(source, Archive):
        with scanner.started(source, process) as helper:
            try:
                arrival = arrivals.Arrival(project_id, source.path) if helper is not None else None
            except OSError:
                helper = arrival = None
            with arrival or nullcontext():
                yield helper, arrival
    elif isinstance(source, sources.Folder) and not copy:
        with scanner.started(source) as helper:
            yield helper, None
    else:
        yield None, None


def _left_by_earlier(project_id: str, report: Callable[[int, int], None], stage: Callable[[Stage], None], should_stop: Callable[[], bool]) -> list[Skipped]:
    """Finish what an earlier import was stopped in, and return the pictures that were taken out."""
    if looking.left(project_id):
        stage("earlier")
        if looking.finish(project_id, report, should_stop) is None:
            raise stopped()
    arrivals.finish(project_id)
    found = looking.taken_out(project_id)
    return [Skipped(one.name, one.problem) for one in found]


def _looked_through(project_id: str, report: Callable[[int, int], None], should_stop: Callable[[], bool]) -> dict[str, TakenOut]:
    """Look at the pictures that are in now, and return those that were taken out by their sha256."""
    if looking.finish(project_id, report, should_stop) is None:
        raise StudioError(
            "the pictures are in the project, but looking through them was stopped", "Nothing is lost: the rest is looked through when it is needed."
        )
    found = {one.sha256: one for one in looking.taken_out(project_id)}
    looking.forget(project_id)
    return found


def _without_damaged(into: _In, gone: Mapping[str, TakenOut]) -> _In:
    """Return what an import did as if the damaged pictures had never entered: left out, in the source's order, and no picture's double."""
    out = {one.found.name: gone[one.sha256] for one in into.taken if one.sha256 in gone}
    reasons = {one.name: one for one in into.skipped}
    for name, found in out.items():
        reasons[name] = Skipped(name, name + found.problem.removeprefix(found.name))
    return replace(
        into,
        taken=[one for one in into.taken if one.sha256 not in gone],
        skipped=[reasons[one.name] for one in into.pictures if one.name in reasons],
        entered=replace(into.entered, skipped=[one for one in into.entered.skipped if one.name not in out]),
    )


def _renamed(data: DataSet, fitted: Fit, mapping: Mapping_) -> tuple[list[Found], list[Skipped]]:
    """Give whole pictures their class in the project; those of a class that is left out stay out."""
    kept, left = [], []
    for found in data.pictures:
        if found.label is None or not fitted.whole:
            kept.append(found if found.label is None else replace(found, label=None, more=()))
            continue
        if fitted.task == TAGGING:
            kept.append(_retagged(found, mapping))
            continue
        label = entering.renamed(found.label, mapping)
        if label is None:
            left.append(Skipped(found.name, f"its class '{found.label}' was left out"))
        else:
            kept.append(found if label == found.label and not found.more else replace(found, label=label, more=()))
    if not kept:
        raise StudioError("every class was left out, so no picture is left", "Keep at least one.")
    return kept, left


def _retagged(found: Found, mapping: Mapping_) -> Found:
    """Rename a picture's classes. One whose classes are all left out shows none of those that stay, which is an answer, too."""
    names = [name for label in found.labels if (name := entering.renamed(label, mapping)) is not None]
    first, *more = dict.fromkeys(names) or (None,)
    return replace(found, label=first, more=tuple(str(one) for one in more), reviewed=found.reviewed or first is None)


@contextmanager
def _alone(project_id: str) -> Iterator[None]:
    """One import a project at a time."""
    lock = locks.hold(workspace.project_folder(project_id) / arrivals.IMPORT_LOCK, blocking=False)
    if lock is None:
        raise StudioError("another import into this project is under way", "Wait for it to end.")
    with lock:
        yield


@contextmanager
def _without_cycle_search() -> Iterator[None]:
    """Spare Python the search for circles of objects: an import makes hundreds of thousands that it keeps, and searching them took a fifth of it."""
    searched = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searched:
            if not gc.get_freeze_count():
                gc.freeze()  # and now they count as old: else the next object that is made would have them all searched
                gc.unfreeze()
            gc.enable()


@contextmanager
def _full_disk_said(project_id: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise workspace.disk_error(error, workspace.home() / "projects" / project_id / "images") from error
