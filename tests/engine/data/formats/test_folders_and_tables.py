from __future__ import annotations

import contextlib
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data import formats
from engine.errors import StudioError


def _read(names: list[str], tables: dict[str, str] | None = None, only: str | None = None) -> formats.DataSet:
    content = {name: text.encode() for name, text in (tables or {}).items()}
    return formats.read([*names, *content], lambda name: contextlib.nullcontext(io.BytesIO(content.get(name, b""))), only)


def _told(layout: formats.DataSet) -> set[tuple[str, str | None, str | None]]:
    return {(picture.name, picture.label, picture.split) for picture in layout.pictures}


CASES: dict[str, tuple[list[str], str, set[tuple[str, str | None, str | None]]]] = {
    "class folders": (["cat/1.jpg", "dog/1.jpg"], "class folders", {("cat/1.jpg", "cat", None), ("dog/1.jpg", "dog", None)}),
    "seen through": (["a/b/cat/1.jpg", "a/b/dog/1.JPG"], "class folders", {("a/b/cat/1.jpg", "cat", None), ("a/b/dog/1.JPG", "dog", None)}),
    "splits": (
        ["clothing/train/hat/1.jpg", "clothing/Validation/hat/2.jpg", "clothing/test/shoe/3.jpg"],
        "split folders",
        {("clothing/train/hat/1.jpg", "hat", "train"), ("clothing/Validation/hat/2.jpg", "hat", "val"), ("clothing/test/shoe/3.jpg", "shoe", "test")},
    ),
    "splits without classes": (["hat/train/1.jpg", "hat/val/2.jpg"], "split folders", {("hat/train/1.jpg", None, None), ("hat/val/2.jpg", None, None)}),
    "classes then splits": (
        ["hat/train/1.jpg", "hat/valid/2.jpg", "shoe/train/3.jpg"],
        "split folders",
        {("hat/train/1.jpg", "hat", "train"), ("hat/valid/2.jpg", "hat", "val"), ("shoe/train/3.jpg", "shoe", "train")},
    ),
    "only train": (["train/cat/1.jpg", "train/dog/2.jpg"], "class folders", {("train/cat/1.jpg", "cat", None), ("train/dog/2.jpg", "dog", None)}),
    "a class called train": (["train/1.jpg", "bus/1.jpg"], "class folders", {("train/1.jpg", "train", None), ("bus/1.jpg", "bus", None)}),
    "test without classes": (["train/cat/1.jpg", "test/2.jpg"], "split folders", {("train/cat/1.jpg", "cat", "train"), ("test/2.jpg", None, None)}),
    "flat": (["x/1.jpg", "x/2.jpg"], "flat", {("x/1.jpg", None, None), ("x/2.jpg", None, None)}),
    "loose": (["cat/1.jpg", "dog/1.jpg", "2.jpg"], "class folders", {("cat/1.jpg", "cat", None), ("dog/1.jpg", "dog", None), ("2.jpg", None, None)}),
    "deeper": (["cat/old/1.jpg", "dog/1.jpg"], "class folders", {("cat/old/1.jpg", "cat", None), ("dog/1.jpg", "dog", None)}),
}


@pytest.mark.parametrize("case", CASES)
def test_folders(case: str) -> None:
    names, kind, told = CASES[case]
    layout = _read(names)
    assert layout.kind == kind
    assert _told(layout) == told


def test_what_is_left_out_is_listed_with_its_reason() -> None:
    layout = _read(["cat/1.jpg", "dog/1.jpg", "__MACOSX/cat/._1.jpg", "cat/.hidden.png", "Thumbs.db", "notes.txt", "cat/2.HEIC", "logo.svg"])
    reasons = {skipped.name: skipped.reason for skipped in layout.skipped}
    assert set(reasons) == {"__MACOSX/cat/._1.jpg", "cat/.hidden.png", "Thumbs.db", "notes.txt", "cat/2.HEIC", "logo.svg"}
    assert reasons["notes.txt"] == "not a picture"
    assert "HEIC" in reasons["cat/2.HEIC"]
    beside = _read(["train/cat/1.jpg", "test/cat/2.jpg", "extra/3.jpg"])
    assert [skipped.name for skipped in beside.skipped] == ["extra/3.jpg"]


def test_oddities_are_said() -> None:
    assert "'cat'" in _read(["cat/old/1.jpg", "dog/1.jpg"]).problems[0]
    assert "1 picture lies in no class folder" in _read(["cat/1.jpg", "dog/1.jpg", "2.jpg"]).problems[0]


def test_nothing_is_said() -> None:
    with pytest.raises(StudioError, match="no pictures"):
        _read(["readme.txt"])


TABLES: dict[str, tuple[str, set[tuple[str, str | None, str | None]]]] = {
    "plain": ("path,label\nimages/1.jpg,cat\nimages/2.jpg,dog\n", {("images/1.jpg", "cat", None), ("images/2.jpg", "dog", None)}),
    "with split": ("Filename;Class;Subset\n1.jpg;cat;Train\n2.jpg;dog;valid\n", {("images/1.jpg", "cat", "train"), ("images/2.jpg", "dog", "val")}),
    "ids": ("id,breed\n1,cat\n2,dog\n", {("images/1.jpg", "cat", None), ("images/2.jpg", "dog", None)}),
    "no headings": ("images/1.jpg,cat\nimages/2.jpg,dog\n", {("images/1.jpg", "cat", None), ("images/2.jpg", "dog", None)}),
    "quotes and newlines": ('label,image\n"a, b",1.jpg\n"c\nd",2.jpg\n', {("images/1.jpg", "a, b", None), ("images/2.jpg", "c d", None)}),
    "Windows paths": ("path\tlabel\r\nimages\\1.jpg\tcat\r\nC:\\x\\2.jpg\tdog\r\n", {("images/1.jpg", "cat", None), ("images/2.jpg", "dog", None)}),
    "formula": ("path,label\n1.jpg,=1+1\n2.jpg,dog\n", {("images/1.jpg", "=1+1", None), ("images/2.jpg", "dog", None)}),
    "empty cells": ("path,label\n1.jpg,\n\n2.jpg,dog\n", {("images/1.jpg", None, None), ("images/2.jpg", "dog", None)}),
}


@pytest.mark.parametrize("case", TABLES)
def test_tables(case: str) -> None:
    text, told = TABLES[case]
    layout = _read(["images/1.jpg", "images/2.jpg"], {"labels.csv": text})
    assert layout.kind == "table"
    assert _told(layout) == told


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_encodings(encoding: str) -> None:
    content = "path,label\n1.jpg,Kätzchen\n".encode(encoding)
    layout = formats.read(["1.jpg", "labels.csv"], lambda _name: contextlib.nullcontext(io.BytesIO(content)))
    assert _told(layout) == {("1.jpg", "Kätzchen", None)}


def test_paths_in_a_table_only_choose_among_the_pictures_there() -> None:
    layout = _read(["1.jpg", "2.jpg"], {"labels.csv": "path,label\n../../etc/passwd,x\n/etc/shadow.jpg,y\n1.jpg,cat\n"})
    assert _told(layout) == {("1.jpg", "cat", None), ("2.jpg", None, None)}
    assert [(skipped.name, skipped.reason) for skipped in layout.skipped] == [
        ("../../etc/passwd", "listed in labels.csv but not there"),
        ("/etc/shadow.jpg", "listed in labels.csv but not there"),
    ]


def test_a_name_that_two_pictures_share_says_nothing() -> None:
    layout = _read(["a/1.jpg", "b/1.jpg"], {"labels.csv": "path,label\n1.jpg,cat\na/1.jpg,dog\n"})
    assert _told(layout) == {("a/1.jpg", "dog", None), ("b/1.jpg", None, None)}


def test_a_table_that_lists_few_pictures_does_not_outweigh_folders() -> None:
    layout = _read(["cat/1.jpg", "cat/2.jpg", "dog/3.jpg"], {"extra.csv": "path,label\n1.jpg,odd\n"})
    assert layout.kind == "class folders"


def test_a_table_that_was_chosen_leaves_out_what_it_does_not_list() -> None:
    layout = _read(["1.jpg", "2.jpg", "3.jpg"], {"labels.csv": "path,label\n1.jpg,odd\n", "other.csv": "path,label\n1.jpg,a\n2.jpg,a\n3.jpg,a\n"}, "labels.csv")
    assert _told(layout) == {("1.jpg", "odd", None)}
    with pytest.raises(StudioError, match="does not say which picture"):
        _read(["1.jpg"], {"labels.csv": "a,b\nc,d\n"}, "labels.csv")


def test_contradictions_are_said() -> None:
    layout = _read(["1.jpg"], {"labels.csv": "path,label\n1.jpg,cat\n1.jpg,dog\n"})
    assert _told(layout) == {("1.jpg", "cat", None)}
    assert "two different labels" in layout.problems[0]


@pytest.mark.parametrize(("text", "problem"), [("," * 5000, "more than 1000 columns"), ("path,label\n1.jpg," + "x" * 200_000, "not a readable table")])
def test_absurd_tables(text: str, problem: str) -> None:
    with pytest.raises(StudioError, match=problem):
        _read(["1.jpg"], {"labels.csv": text}, "labels.csv")
    beside = _read(["cat/1.jpg", "dog/2.jpg"], {"pixels.csv": text})
    assert beside.kind == "class folders", "a table nobody asked for does not stand in the way"
    assert problem in beside.problems[0]


def test_rubbish_is_no_table() -> None:
    assert _read(["cat/1.jpg", "dog/2.jpg"], {"x.csv": "\0\0\0", "y.csv": "", "z.csv": '"""""\n'}).kind == "class folders"


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=200) | st.text(alphabet='path,labels0|;"\n\r\t1.jpgé\0', max_size=80).map(str.encode))
def test_any_bytes_are_a_table_or_none(content: bytes) -> None:
    with contextlib.suppress(StudioError):
        layout = formats.read(["1.jpg", "labels.csv"], lambda _name: contextlib.nullcontext(io.BytesIO(content)))
        assert [picture.name for picture in layout.pictures] == ["1.jpg"]
